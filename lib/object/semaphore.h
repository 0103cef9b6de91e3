/* A semaphore in shared memory. */
#ifndef SHKI_SEMAPHORE_H
#define SHKI_SEMAPHORE_H

#include "object/object.h"

/* What is not said to change was written before the semaphore was published. */
struct shki_semaphore_shared {
    struct shki_repairs repairs;
    uint32_t max;
    uint32_t reserved_32;
    uint64_t reserved[3];
    struct shki_waitlist_shared waiters;

    /* Written with the waitlist's mutex, read without it: */
    alignas(64) _Atomic uint32_t value; /* permits, promised ones too. SM1: commits both ways */
    /* permits of waiters that were notified and have not resumed; can be counted from the nodes */
    _Atomic uint32_t promised;

    _Atomic uint32_t watched; /* SHKI_WATCHERS or 0: see watch.h */
};

extern const struct shki_kind shki_semaphore_kind;

#endif
