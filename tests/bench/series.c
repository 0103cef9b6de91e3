/* Keeping what has been measured, and its statistics. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 2000

static struct series all[SERIES_MAX];
static unsigned count;

struct series *series_at(unsigned i)
{
    return i < count ? &all[i] : NULL;
}

struct series *series_find(const char *workload, const char *row, const char *place,
                           const char *subject)
{
    for (struct series *s = all; s < all + count; s++) {
        if (strcmp(s->workload, workload) == 0 && strcmp(s->row, row) == 0 &&
            strcmp(s->place, place) == 0 && strcmp(s->subject, subject) == 0)
            return s;
    }
    return NULL;
}

struct series *series_of(const struct contest *contest, const struct subject *subject)
{
    struct series *s = series_find(contest->workload, contest->row, contest->place, subject->name);

    if (s)
        return s;
    if (count == SERIES_MAX) {
        fprintf(stderr, "bench: more than %d series\n", SERIES_MAX);
        exit(1);
    }
    s = &all[count++];
    *s = (struct series){.workload = contest->workload,
                         /* for as long as the run: rows may be made up on the way */
                         .row = strdup(contest->row),
                         .place = contest->place,
                         .subject = strdup(subject->name),
                         .is = subject->is,
                         .unit = contest->unit};
    return s;
}

void series_add(struct series *s, const double figures[FIGURES], const struct circumstances *c)
{
    if (s->rounds == ROUNDS_MAX)
        return;
    for (int i = 0; i < FIGURES; i++)
        s->figure[i][s->rounds] = figures[i];
    s->circumstances[s->rounds] = *c;
    s->rounds++;
}

bool series_same_row(const struct series *a, const struct series *b)
{
    return strcmp(a->workload, b->workload) == 0 && strcmp(a->row, b->row) == 0 &&
           strcmp(a->place, b->place) == 0;
}

bool series_is_first_of_row(const struct series *s)
{
    for (const struct series *t = all; t < s; t++) {
        if (series_same_row(s, t))
            return false;
    }
    return true;
}

const struct series *series_limit(const struct series *of)
{
    for (const struct series *s = all; s < all + count; s++) {
        if (s->is & LIMIT && s->rounds && series_same_row(s, of))
            return s;
    }
    return NULL;
}

const struct series *series_best(const struct series *of, unsigned with, unsigned without)
{
    const struct series *best = NULL;

    for (const struct series *s = all; s < all + count; s++) {
        if ((s->is & with) != with || s->is & without || !s->rounds || !series_same_row(s, of))
            continue;
        if (!best || (of->unit->more_is_better ? series_median(s, 0) > series_median(best, 0)
                                               : series_median(s, 0) < series_median(best, 0)))
            best = s;
    }
    return best;
}

/* ---- Statistics ---- */

int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which `part` of them are. */
static double quantile(const double *values, unsigned n, double part)
{
    double sorted[ROUNDS_MAX];
    unsigned kept = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!isnan(values[i]))
            sorted[kept++] = values[i];
    }
    if (kept == 0)
        return NAN;
    qsort(sorted, kept, sizeof(*sorted), compare_doubles);
    double place = part * (kept - 1);
    unsigned low = (unsigned)place;
    return low + 1 < kept ? sorted[low] + (place - low) * (sorted[low + 1] - sorted[low])
                          : sorted[low];
}

double series_median(const struct series *s, unsigned figure)
{
    return quantile(s->figure[figure], s->rounds, 0.5);
}

double result_median(const char *workload, const char *row, const char *place, const char *subject,
                     unsigned figure)
{
    const struct series *s = series_find(workload, row, place, subject);

    return s && s->rounds ? series_median(s, figure) : NAN;
}

double series_spread(const struct series *s)
{
    double middle = series_median(s, 0);

    if (s->rounds == 0 || middle == 0)
        return 0;
    return (quantile(s->figure[0], s->rounds, 0.75) - quantile(s->figure[0], s->rounds, 0.25)) /
           middle;
}

double series_ratio(const struct series *a, const struct series *to, unsigned figure)
{
    double ratios[ROUNDS_MAX];
    unsigned n = a->rounds < to->rounds ? a->rounds : to->rounds;

    for (unsigned i = 0; i < n; i++)
        ratios[i] = a->figure[figure][i] / to->figure[figure][i];
    return quantile(ratios, n, 0.5);
}
