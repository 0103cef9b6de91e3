/* How fast queues and streams move: it takes two snapshots to tell. */
#ifndef SHMCTL_RATES_H
#define SHMCTL_RATES_H

#include "table.h"

#include <shmkit/inspect.h>

#include <stdbool.h>

/*
 * How often something has been put and taken since an object was created, and when that was read.
 */
struct moves {
    uint64_t segment, object; /* which it is: random id, serial */
    uint64_t puts, gets;      /* items; of a stream samples, which are not taken */
    int64_t when;             /* CLOCK_MONOTONIC, nanoseconds */
    bool has_puts, has_gets;
};

/* when: just before the snapshot was taken. */
struct moves moves_of(const struct shk_snapshot *, const struct shk_object_info *, int64_t when);

/* A second; below 0 where there is none: another kind of object, or another object. */
struct rates {
    double put, get;
};
struct rates rates_between(const struct moves *before, const struct moves *after);

/* Columns PUT-RATE and GET-RATE of the last row. */
void add_rates(struct table *, const struct rates *);

#endif
