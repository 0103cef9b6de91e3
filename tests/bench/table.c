/* The table on standard output. */
#include "report.h"

#include <math.h>

static void print_number(double value)
{
    if (isnan(value))
        printf("%10s", "-");
    else if (fabs(value) >= 1000)
        printf("%10.0f", value);
    else if (fabs(value) >= 10)
        printf("%10.1f", value);
    else
        printf("%10.3f", value);
}

static void print_ratio(const struct series *s, const struct series *to)
{
    if (to && s->rounds)
        printf("  %9.2f", series_ratio(s, to, 0));
    else
        printf("  %9s", "");
}

static void print_series(const struct series *s, const struct series *peer,
                         const struct series *limit)
{
    printf("  %-32s", s->subject);
    if (!s->rounds) {
        printf("  -  %s\n", s->trouble[0] ? s->trouble : "not measured");
        return;
    }
    print_number(series_median(s, 0) / s->unit->scale);
    printf("  %4.0f %%", 100 * series_spread(s));
    print_ratio(s, peer);
    print_ratio(s, limit);
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (!s->unit->also[i])
            continue;
        printf("  ");
        print_number(series_median(s, (unsigned)i + 1));
    }
    if (s->trouble[0])
        printf("  (%u of %u failed: %s)", s->failures, s->failures + s->rounds, s->trouble);
    printf("\n");
}

static void print_row(const struct series *first)
{
    const struct series *peer = series_best(first, PEER, SPINS), *limit = series_limit(first), *s;

    printf("\n%s  %s, %s\n", first->workload, first->row, first->place);
    printf("  %-32s%10s  %6s  %9s  %9s", "", first->unit->name, "spread", "best peer", "limit");
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (first->unit->also[i])
            printf("  %10s", first->unit->also[i]);
    }
    printf("\n");
    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (series_same_row(s, first))
            print_series(s, peer, limit);
    }
}

void report_table(void)
{
    const struct series *s;

    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (series_is_first_of_row(s))
            print_row(s);
    }
}

void report_spreads(void)
{
    const struct series *s;
    unsigned all = 0, wide = 0;
    char cause[200];

    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (!(s->is & OURS) || s->rounds < 2)
            continue;
        all++;
        if (series_spread(s) <= SPREAD_MAX)
            continue;
        if (wide++ == 0)
            printf("\nSpreads above %.0f %%\n", 100 * SPREAD_MAX);
        report_cause(s, cause, sizeof(cause));
        printf("  %-3s %s, %s: %s: %.0f %%; %s\n", s->workload, s->row, s->place, s->subject,
               100 * series_spread(s), cause);
    }
    if (all)
        printf("\nOf %u series of shmkit, %u have a spread above %.0f %%\n", all, wide,
               100 * SPREAD_MAX);
}

unsigned report_failures(void)
{
    const struct series *s;
    unsigned failed = 0;

    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (!s->trouble[0])
            continue;
        fprintf(stderr, "bench: %s %s, %s: %s: %s\n", s->workload, s->row, s->place, s->subject,
                s->trouble);
        failed += s->is & OURS ? 1 : 0;
    }
    return failed;
}
