/* What must be reached: the table of verdicts. */
#ifndef BENCH_TARGETS_H
#define BENCH_TARGETS_H

#include <stdbool.h>

/* The best peer of the row, without those that only spin: ck_ring. */
#define BEST_SLEEPING_PEER "best sleeping peer"

struct target {
    const char *workload;
    const char *row, *place; /* NULL: each one in which the subject was measured */
    const char *subject;
    unsigned figure;
    bool at_least; /* or at most */
    double factor;
    const char *against; /* BEST_SLEEPING_PEER, or a subject; NULL: the factor is the bound */
    const char *what;    /* of what the factor is the bound */
    const char *why;     /* the reason, where it is known why the aim is missed; or NULL */
};

extern const struct target targets[]; /* workload NULL at the end */

#endif
