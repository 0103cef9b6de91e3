/* A condition in shared memory. */
#ifndef SHKI_COND_H
#define SHKI_COND_H

#include "object/lock.h"

#include <shmkit/cond.h>

/* What is not said to change was written before the condition was published. */
struct shki_cond_shared {
    struct shki_repairs repairs;
    uint32_t kind;
    uint32_t lock_entry;  /* of a given lock */
    uint64_t lock_serial; /* its serial; 0: the condition has its own lock */
    uint64_t reserved[2];
    struct shki_waitlist_shared waiters; /* SHK_COND_ROBUST; entered only with the lock held */
    struct shki_lock_shared lock;        /* its own; unused if a lock was given */
    alignas(64) pthread_cond_t native;   /* SHK_COND_PTHREAD */

    /* Changed with the lock held: */
    _Atomic uint32_t native_waiters;  /* in shk_cond_wait(); a killed one is counted for ever */
    _Atomic uint32_t native_notifies; /* notifications so far that released at least one waiter */

    /*
     * 1, once and for ever: a program has been given `native` and may notify by
     * pthread_cond_signal(), which is not counted
     */
    _Atomic uint32_t native_shown;
};

extern const struct shki_kind shki_cond_kind;

struct shk_cond {
    struct shki_object object;
    struct shki_cond_shared *shared;
    struct shk_lock lock; /* a view of its own lock, or of the given one */
    bool own_lock, native;
    struct shki_waitlist line;
};

#endif
