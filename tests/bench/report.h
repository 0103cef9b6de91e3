/*
 * What has been measured, series by series: for the files that print it (table.c, verdict.c,
 * json.c, results.c, plot.c).
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench.h"
#include "circumstances.h"
#include "targets.h"

#include <stdio.h>

#define ROUNDS_MAX 64
#define SPREAD_MAX 0.3 /* above that, report_cause() says why */

/* What one subject has shown in one row, round by round. */
struct series {
    const char *workload, *row, *place, *subject;
    unsigned is;
    const struct unit *unit;
    unsigned rounds;
    double figure[FIGURES][ROUNDS_MAX];
    struct circumstances circumstances[ROUNDS_MAX];
    unsigned failures;
    char trouble[100]; /* the last failure */
};

/* In the order in which they were first measured; NULL at the end. */
struct series *series_at(unsigned i);
struct series *series_find(const char *workload, const char *row, const char *place,
                           const char *subject);
struct series *series_of(const struct contest *, const struct subject *);
void series_add(struct series *, const double figures[FIGURES], const struct circumstances *);

bool series_same_row(const struct series *, const struct series *);
bool series_is_first_of_row(const struct series *);
/* The limit that a row is compared with is its first one; NULL: none. */
const struct series *series_limit(const struct series *of);
/* The best of a row among those that are all of `with` and nothing of `without`, or NULL. */
const struct series *series_best(const struct series *of, unsigned with, unsigned without);

double series_median(const struct series *, unsigned figure);
/* Between the quarters, as a part of the median. */
double series_spread(const struct series *);
/*
 * Of two series: of each round by itself, because what disturbs a round disturbs both; then the
 * median.
 */
double series_ratio(const struct series *, const struct series *to, unsigned figure);

/* What a large spread goes with, as a sentence. False: not found, and the sentence says so. */
bool report_cause(const struct series *, char *text, size_t size);

/* ---- Verdicts ---- */

struct verdict {
    const struct target *target;
    const struct series *ours, *against; /* against NULL: the factor is the bound itself */
    double value;
    bool reached;
};

/* Calls `each` with all that can be judged; returns how many could not. */
unsigned verdicts(void (*each)(const struct verdict *, void *arg), void *arg);
/* "shmkit, 8 B, pinned"; ">= 0.95 x best sleeping peer (pipe)". */
void verdict_names(const struct verdict *, char *what, size_t what_size, char *bound,
                   size_t bound_size);
/* Why an aim is missed: the target's own reason, or that of the spread; "": not known. */
void verdict_why(const struct verdict *, char *text, size_t size);

#endif
