/* A lock in shared memory, and what a condition does with one: release it and acquire it again. */
#ifndef SHKI_LOCK_H
#define SHKI_LOCK_H

#include "object/object.h"

#include <shmkit/lock.h>

/* What is not said to change was written before the lock was published. */
struct shki_lock_shared {
    struct shki_repairs repairs;
    uint32_t recursive;
    uint32_t no_deadlock_check;
    /*
     * 0: not unlinked. Else SHKI_UNLINKED_AFTER + mutex.releases as it was when the lock was
     * unlinked, written by the unlinker.
     */
    _Atomic uint64_t unlinked_after;
    _Atomic uint64_t token; /* that was given last; the holder's */
    uint64_t reserved[1];
    /*
     * .holder is the member that holds the lock, .state as below. An acquire touches no other line.
     */
    struct shki_mutex mutex;
};

/*
 * A waiter that is given the mutex after the unlink returns 0 if the mutex has not been released
 * since the unlink: then the release that let it in came before.
 */
#define SHKI_UNLINKED_AFTER (UINT64_C(1) << 32)

/*
 * The state of a lock's mutex, most of the time 0. AGAIN: how often the holder has acquired it
 * besides the first time; a new owner zeroes what a dead one left. OWNER_DIED: a holder died, and
 * no later holder has been told yet.
 */
#define SHKI_AGAIN      UINT32_C(0x7fffffff)
#define SHKI_OWNER_DIED UINT32_C(0x80000000)

extern const struct shki_kind shki_lock_kind;

struct shk_lock {
    struct shki_object object;
    struct shki_lock_shared *shared;
    bool recursive, no_deadlock_check;
    uint32_t waits_for; /* of a waiter: SHK_WAITS_TO_ACQUIRE, unless it is a part of another kind */
    const char *held;   /* what a waiter waits to change, in words */
    struct shki_spinner spinner;
};

int shki_lock_build(struct shki_lock_shared *, bool recursive, bool no_deadlock_check);
/* Copy the geometry; 0 or -EPROTO. */
int shki_lock_adopt(struct shk_lock *, struct shki_lock_shared *);

static inline bool shki_lock_is_mine(const struct shk_lock *l, const struct shki_member *m)
{
    /* Relaxed: if it is this thread's id, this thread wrote it. */
    return m && load_relaxed(&l->shared->mutex.holder) == m->id;
}

/* The lock has just been unlinked: note after how many releases. */
void shki_lock_unlinked(struct shki_lock_shared *);

/*
 * What inspection and the search for deadlocks read of a lock; `offset` is in the entry's extent.
 */
uint64_t shki_lock_owner(const struct shki_image *, const struct shki_entry *, uint64_t offset);
void shki_lock_describe(const struct shki_lock_shared *, struct shk_object_info *);

/* How long the holder has had the lock; 0: it has not noted it, or not about this time. */
int64_t shki_lock_held_for(const struct shki_image *, const struct shki_mutex *, uint64_t holder,
                           uint64_t serial);

/* For a caller that does not hold it: -EPERM, or -EBADF because the segment has been closed. */
int shki_lock_refuse(const struct shk_lock *);

/*
 * Release it, however often it has been acquired `again`; acquire it as often, whatever happens
 * meanwhile: 0 or SHK_ORPHANED.
 */
uint32_t shki_lock_release_all(struct shk_lock *, struct shki_member *);
int shki_lock_reacquire(struct shk_lock *, struct shki_member *, uint32_t again);

/*
 * The mutex has been given to the calling thread by other means, r being 0 or 1 for EOWNERDEAD: 0
 * or SHK_ORPHANED.
 */
int shki_lock_settle(struct shk_lock *, struct shki_member *, int r);

/*
 * For a thread that waits without a deadline for the lock of that object (a lock, or a condition
 * that has its own): -EDEADLK if it is in a cycle of such waits and is the one to give way; else 0.
 * See deadlock.c.
 */
int shki_deadlock_check(const struct shki_object *, const struct shki_member *);

#endif
