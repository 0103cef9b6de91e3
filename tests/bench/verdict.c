/* Whether the aims of targets.c are reached. */
#include "report.h"

#include <math.h>
#include <string.h>

/* The series that a target compares with, or NULL: it was not measured. */
static const struct series *opponent(const struct target *t, const struct series *ours)
{
    if (strcmp(t->against, BEST_SLEEPING_PEER) == 0)
        return series_best(ours, PEER, SPINS);
    const struct series *s = series_find(ours->workload, ours->row, ours->place, t->against);
    return s && s->rounds ? s : NULL;
}

static bool judge(const struct target *t, const struct series *ours, struct verdict *v)
{
    *v = (struct verdict){.target = t, .ours = ours};
    if (!t->against) {
        v->value = series_median(ours, t->figure);
    } else {
        v->against = opponent(t, ours);
        v->value = v->against ? series_ratio(ours, v->against, t->figure) : NAN;
    }
    v->reached = t->at_least ? v->value >= t->factor : v->value <= t->factor;
    return !isnan(v->value);
}

static bool applies(const struct target *t, const struct series *s)
{
    return s->rounds && strcmp(s->workload, t->workload) == 0 &&
           strcmp(s->subject, t->subject) == 0 && (!t->row || strcmp(s->row, t->row) == 0) &&
           (!t->place || strcmp(s->place, t->place) == 0);
}

unsigned verdicts(void (*each)(const struct verdict *, void *arg), void *arg)
{
    unsigned unjudged = 0;

    for (const struct target *t = targets; t->workload; t++) {
        const struct series *s;
        struct verdict v;
        bool found = false;
        for (unsigned i = 0; (s = series_at(i)); i++) {
            if (!applies(t, s))
                continue;
            found = true;
            if (judge(t, s, &v))
                each(&v, arg);
            else
                unjudged++;
        }
        unjudged += !found;
    }
    return unjudged;
}

void verdict_names(const struct verdict *v, char *what, size_t what_size, char *bound,
                   size_t bound_size)
{
    const struct target *t = v->target;

    snprintf(what, what_size, "%s, %s: %s", v->ours->row, v->ours->place, t->subject);
    snprintf(bound, bound_size, "%s %.4g%s%s", t->at_least ? ">=" : "<=", t->factor,
             v->against ? " x " : " ", v->against ? v->against->subject : t->what);
}

void verdict_why(const struct verdict *v, char *text, size_t size)
{
    if (v->target->why)
        snprintf(text, size, "%s", v->target->why);
    else if (series_spread(v->ours) <= SPREAD_MAX || !report_cause(v->ours, text, size))
        text[0] = '\0';
}

struct tally {
    unsigned judged, reached;
};

static void print_verdict(const struct verdict *v, void *arg)
{
    struct tally *tally = arg;
    char what[100], bound[80], why[200];

    verdict_names(v, what, sizeof(what), bound, sizeof(bound));
    printf("  %-4s %-58s %-36s %8.4g  ", v->ours->workload, what, bound, v->value);
    tally->judged++;
    tally->reached += v->reached;
    if (v->reached) {
        printf("reached\n");
        return;
    }
    verdict_why(v, why, sizeof(why));
    if (v->target->at_least)
        printf("SHORT by %.0f %%", 100 * (1 - v->value / v->target->factor));
    else
        printf("SHORT: %.0f %% too much", 100 * (v->value / v->target->factor - 1));
    printf("%s%s\n", why[0] ? ": " : "", why);
}

void report_verdicts(void)
{
    struct tally tally = {0, 0};

    printf("\nVerdicts (ratios are medians of the rounds' own; what only spins is not judged)\n");
    unsigned unjudged = verdicts(print_verdict, &tally);
    printf("  %u of %u reached%s\n", tally.reached, tally.judged,
           unjudged ? "; the others were not measured" : "");
}
