/*
 * What else went on during a measurement: the causes of a spread that can be told from outside.
 * Each is one number; NAN: not known.
 */
#ifndef BENCH_CIRCUMSTANCES_H
#define BENCH_CIRCUMSTANCES_H

#include <sys/types.h>

enum {
    ONE_CPU,    /* % of the samples in which the two roles were on the same CPU */
    STEAL,      /* % of the CPUs' time that the host gave to other machines */
    OTHERS,     /* % of the CPUs' time that other processes took */
    SLOWNESS,   /* time of a fixed loop before and after, as a multiple of the fastest ever */
    WAY,        /* ns: of a cache line, there and back between the two CPUs, before and after */
    SWITCHES,   /* involuntary context switches of the team a second */
    MIGRATIONS, /* of the team, from CPU to CPU, a second */
    CIRCUMSTANCES
};

struct circumstances {
    double value[CIRCUMSTANCES];
};

extern const struct circumstance {
    const char *name;    /* with its unit, for a table */
    const char *cause;   /* "… on one CPU" */
    double matters_from; /* rounds that differ by less do not differ */
} circumstance[CIRCUMSTANCES];

/* Around a measurement. */
void circumstances_begin(void);
void circumstances_end(struct circumstances *);
/* Meanwhile, some times. 0: no such role. */
void circumstances_sample(pid_t first, pid_t second);

#endif
