/*
 * What a large spread goes with: the circumstance that tells the slower rounds from the faster
 * ones. A rank correlation, so that one odd round does not decide; with few rounds it is a hint.
 */
#include "report.h"

#include <math.h>

#define GOES_WITH 0.6 /* of the rank correlation, at least */

/* Where each value stands, from 0; equals share their place. */
static void rank(const double *values, unsigned n, double *ranks)
{
    for (unsigned i = 0; i < n; i++) {
        double below = 0, equal = -1;
        for (unsigned k = 0; k < n; k++) {
            below += values[k] < values[i];
            equal += values[k] == values[i];
        }
        ranks[i] = below + equal / 2;
    }
}

static double correlation(const double *a, const double *b, unsigned n)
{
    double x[ROUNDS_MAX], y[ROUNDS_MAX], middle = (n - 1) / 2.0, xy = 0, xx = 0, yy = 0;

    rank(a, n, x);
    rank(b, n, y);
    for (unsigned i = 0; i < n; i++) {
        xy += (x[i] - middle) * (y[i] - middle);
        xx += (x[i] - middle) * (x[i] - middle);
        yy += (y[i] - middle) * (y[i] - middle);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* One circumstance, round by round. False: it is not known, or hardly differs. */
static bool column(const struct series *s, int which, double *values)
{
    double least = INFINITY, most = -INFINITY;

    for (unsigned i = 0; i < s->rounds; i++) {
        values[i] = s->circumstances[i].value[which];
        if (isnan(values[i]))
            return false;
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
    }
    return most - least >= circumstance[which].matters_from;
}

/* Its mean in the rounds whose figure is above the median, or not. */
static double mean_of_half(const struct series *s, const double *values, bool above)
{
    double sum = 0, middle = series_median(s, 0);
    unsigned n = 0;

    for (unsigned i = 0; i < s->rounds; i++) {
        if ((s->figure[0][i] > middle) == above)
            sum += values[i], n++;
    }
    return n ? sum / n : NAN;
}

bool report_cause(const struct series *s, char *text, size_t size)
{
    double values[ROUNDS_MAX], best = 0;
    int cause = -1;

    for (int which = 0; which < CIRCUMSTANCES && s->rounds >= 3; which++) {
        if (!column(s, which, values))
            continue;
        double r = fabs(correlation(s->figure[0], values, s->rounds));
        if (r > best)
            best = r, cause = which;
    }
    if (best < GOES_WITH) {
        snprintf(text, size, "cause not found");
        return false;
    }
    column(s, cause, values);
    bool slower = !s->unit->more_is_better; /* the slower rounds have the larger figures */
    snprintf(text, size, "goes with this: %s: %.3g in the slower rounds, %.3g in the faster",
             circumstance[cause].cause, mean_of_half(s, values, slower),
             mean_of_half(s, values, !slower));
    return true;
}
