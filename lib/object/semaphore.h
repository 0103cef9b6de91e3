/* A semaphore in shared memory: see semaphore.c, and holdings.h for owners. */
#ifndef SHKI_SEMAPHORE_H
#define SHKI_SEMAPHORE_H

#include "object/holdings.h"
#include "object/object.h"

/* What is not said to change was written before the semaphore was published. */
struct shki_semaphore_shared {
    struct shki_repairs repairs;
    uint32_t max;    /* with owners: the number of all permits */
    uint32_t owners; /* 1: processes own permits, and struct shki_holdings_shared follows */
    uint64_t reserved[3];
    struct shki_waitlist_shared waiters;

    /* Written with the waitlist's mutex, read without it: */
    alignas(64) _Atomic uint32_t value; /* permits, promised ones too. SM1: commits both ways */
    /* permits of waiters that were notified and have not resumed; can be counted from the nodes */
    _Atomic uint32_t promised;
    /*
     * permits that are there for the first waiter, which wants more than there are: an acquire that
     * comes later does not take them. Follows from the rest
     */
    _Atomic uint32_t withheld;

    _Atomic uint32_t watched; /* SHKI_WATCHERS or 0: see watch.h */
};

#define SHKI_HOLDINGS_OFFSET ((sizeof(struct shki_semaphore_shared) + 63) / 64 * 64)

extern const struct shki_kind shki_semaphore_kind;

#endif
