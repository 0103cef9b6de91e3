/* What must be reached: the table of verdicts. */
#ifndef BENCH_TARGETS_H
#define BENCH_TARGETS_H

#include <stdbool.h>

#define BEST_PEER          "best peer"
#define BEST_SLEEPING_PEER "best sleeping peer"

#define WAKE_ROW "a wake-up across CPUs"
/* ns to and fro, two wake-ups of 20 us: from there on staying awake is worth most */
#define SLOW_WAKE 40e3

struct target {
    const char *workload, *row;
    const char *place; /* NULL: each one in which it was measured */
    const char *subject;
    unsigned figure;
    bool at_least; /* or at most */
    double factor;
    /* instead, where waking a sleeper on another CPU is slow; 0: the same */
    double slow_wake_factor;
    const char *against; /* BEST_…, or a subject's name; NULL: the factor is the bound itself */
    const char *what;    /* of what the bound is, if against nobody */
};

extern const struct target targets[]; /* workload NULL at the end */

#endif
