/*
 * What the objects are in shared memory. Each lies at the start of its extent and begins with its repair counters. Whatever is not said to
 * change was written before the object was published.
 */
#ifndef SHKI_SHARED_H
#define SHKI_SHARED_H

#include "segment/layout.h"

struct shki_lock_shared {
    struct shki_repairs repairs;
    uint32_t recursive;
    uint32_t no_deadlock_check;
    _Atomic uint32_t orphaned; /* a holder died, and nobody has been told yet; changed by the holder */
    _Atomic uint32_t depth;    /* how often the holder has it; changed by the holder; what a dead one left means nothing */
    uint64_t reserved[2];
    struct shki_mutex mutex;   /* .holder is who has it */
};

struct shki_cond_shared {
    struct shki_repairs repairs;
    uint32_t kind;
    uint32_t lock_entry;            /* of a given lock */
    uint64_t lock_number;           /* its serial; 0: its own lock */
    uint64_t reserved[2];
    struct shki_waitlist waiters;   /* SHK_COND_ROBUST; entered only with the lock held */
    struct shki_lock_shared lock;   /* its own, if so */
    alignas(64) pthread_cond_t native; /* SHK_COND_PTHREAD */
    _Atomic uint32_t native_waiters;   /* how many are in shk_cond_wait(); changed with the lock held; a killed one is counted for ever */
};

struct shki_event_shared {
    struct shki_repairs repairs;
    alignas(64) _Atomic uint32_t is_set; /* changed with the waitlist's mutex, read by anybody: V1 */
    struct shki_waitlist waiters;
};

struct shki_semaphore_shared {
    struct shki_repairs repairs;
    uint32_t max;
    uint32_t reserved_32;
    uint64_t reserved[3];
    struct shki_waitlist waiters;
    /* With the waitlist's mutex; read by anybody. */
    alignas(64) _Atomic uint32_t value; /* permits, those promised included: commits acquire and release: P1 */
    _Atomic uint32_t promised;          /* to waiters that have been notified and have not resumed; follows from the nodes */
};

struct shki_barrier_shared {
    struct shki_repairs repairs;
    uint32_t parties;
    uint32_t reserved_32;
    uint64_t reserved[3];
    struct shki_waitlist waiters; /* who has arrived */
    /* With the waitlist's mutex; `broken` is read by anybody. */
    alignas(64) _Atomic uint32_t broken;
    uint32_t reserved_32_too;
    _Atomic uint64_t completed; /* who has a lower ticket has met the others: commits the last arrival: B1 */
};

struct shki_stream_shared {
    struct shki_repairs repairs;
    uint64_t sample_size, history, slots, samples_at;
    struct shki_mutex gate;             /* one writer at a time; the marks are changed with it */
    alignas(64) _Atomic uint64_t claimed;   /* may have been written up to here: T1 */
    _Atomic uint64_t published;             /* has been written up to here: T2 */
    struct shki_waitlist waiters;       /* readers asleep */
};

struct shki_region_shared {
    struct shki_repairs repairs;
    uint64_t size, align;
    uint64_t data_at; /* from the start of the extent */
    uint64_t reserved;
};

/* Why the other side of a queue has to do more than its own work. */
enum {
    SHKI_SLEEPER = 1, /* somebody sleeps, or did not long ago */
    SHKI_WATCHERS = 2 /* kept for waiting for any of several objects */
};

/* Where one side of a queue sleeps when it cannot go on. */
struct shki_bed {
    alignas(64) _Atomic uint32_t flags; /* set by who goes to sleep, cleared by who wakes: F1, F2 */
    _Atomic uint32_t sleepers;          /* a hint: never too low; a killed sleeper is counted for ever, which costs a needless post now and then */
    sem_t semaphore;                    /* permits may be too many after a crash; the truth is looked at each time */
};

_Static_assert(sizeof(struct shki_bed) == 64, "the other side reads one line");

struct shki_queue_shared {
    struct shki_repairs repairs;
    uint32_t order;
    _Atomic uint32_t shut_down; /* 0, then 1: Q3 */
    uint64_t capacity, slots, item_size, stride, slots_at;
    uint64_t reserved[9];

    /* The producers: what they write is changed with the put gate. */
    struct shki_mutex put_gate;
    alignas(64) uint64_t head_seen;    /* a late copy of head, so that its line is fetched once a lap */
    alignas(64) _Atomic uint64_t tail; /* items put so far; commits a put: Q1 */

    /* The consumers: with the get gate. */
    struct shki_mutex get_gate;
    alignas(64) uint64_t tail_seen;
    alignas(64) _Atomic uint64_t head; /* items taken so far; commits a get: Q2 */

    struct shki_bed empty; /* consumers sleep here */
    struct shki_bed full;  /* producers */
};

/* A place for one item. Written by the producer before Q1, read by the consumer after it. */
struct shki_slot {
    uint32_t length;
    uint32_t reserved;
    unsigned char bytes[];
};

#endif
