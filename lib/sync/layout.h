/*
 * What a biased lock and an eventcount are in shared memory. An object embeds them in its own
 * struct. The waitlist's struct is in segment/layout.h, since the header of a segment embeds one.
 */
#ifndef SHKI_SYNC_LAYOUT_H
#define SHKI_SYNC_LAYOUT_H

#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

/*
 * The bias of a lock: see sync/biased.h. It lies in the cache line behind the lock's mutex, so that
 * an owner that enters by its bias does not touch the mutex's line. The object may put 32 bytes of
 * its own, which are read and written with the lock, into the rest of that line.
 *
 * All of it is written with the mutex, never by the bias.
 */
struct shki_biased_shared {
    _Atomic uint64_t owner;     /* member id, 0: none: BL1, BL3 */
    _Atomic uint64_t revoking;  /* a former owner that may still be in the lock: BL3 */
    _Atomic uint64_t last;      /* the member that last locked the mutex */
    _Atomic uint32_t streak;    /* times in a row that it did so */
    _Atomic uint32_t forbidden; /* 1: no member becomes the owner; without the mutex a hint */
};

_Static_assert(sizeof(struct shki_biased_shared) == 32, "it shares its line with 32 bytes more");

/*
 * Flags of an eventcount: see sync/eventcount.h. The bits that are not named here are the object's:
 * a notifier clears them with NEED_WAKEUP, and is told which of them were set.
 */
enum {
    SHKI_NEED_WAKEUP = 1, /* a waiter has prepared to sleep since a notifier last cleared it */
    SHKI_NEED_FENCE = 4   /* a waiter has slept lately: notifiers execute a full fence */
};

/* Where waiters sleep until another thread changes what they wait for. */
struct shki_eventcount_shared {
    alignas(64) _Atomic uint32_t flags; /* set by waiters, cleared by notifiers: EC1, EC2 */
    /*
     * Never too low. A killed waiter is counted for ever, which costs a needless post now and then.
     */
    _Atomic uint32_t sleepers;
    sem_t semaphore; /* its permits may be too many: a waiter that wakes checks its condition */
    _Atomic uint64_t leaders[2]; /* of the waiters: see sync/leader.h */
    _Atomic uint32_t followers;
};

_Static_assert(sizeof(struct shki_eventcount_shared) == 64, "a notifier reads one line");

#endif
