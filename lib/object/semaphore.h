/* A semaphore in shared memory: see semaphore.c, and holdings.h for owners. */
#ifndef SHKI_SEMAPHORE_H
#define SHKI_SEMAPHORE_H

#include "object/holdings.h"
#include "object/object.h"

#include <shmkit/semaphore.h>

#define SHKI_PERMITS_MAX ((uint32_t)INT32_MAX)

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

struct shk_semaphore {
    struct shki_object object;
    struct shki_semaphore_shared *shared;
    uint32_t max; /* a validated copy */
    struct shki_holdings holdings;
    struct shki_waitlist line;
};

/* Permits that the next acquire may take. */
uint32_t shki_semaphore_free(const struct shk_semaphore *);

/*
 * With the mutex of its waitlist, after deaths: count anew what the processes hold, what is
 * promised and what is withheld. Killed in it: to be called once more.
 */
void shki_semaphore_recover(struct shki_waitlist *);

/* Whether a process that is over holds permits, so that recover() is worth the mutex. */
bool shki_semaphore_is_due(const struct shki_waitlist *);

/* By a thread that watches it: permits may be lost with deaths that the kernel has not marked. */
void shki_semaphore_repair(struct shk_semaphore *);

#endif
