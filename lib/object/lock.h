/* A lock as the other objects see it: a condition gives it up and takes it back. */
#ifndef SHKI_LOCK_H
#define SHKI_LOCK_H

#include "object/object.h"

#include <shmkit/lock.h>

struct shk_lock {
    struct shki_object object;
    struct shki_lock_shared *shared;
    bool recursive, no_deadlock_check;
    struct shki_spinner spinner;
};

int shki_lock_build(struct shki_lock_shared *, bool recursive, bool no_deadlock_check);
/* Copy the geometry; 0 or -EPROTO. */
int shki_lock_adopt(struct shk_lock *, struct shki_lock_shared *);
/* for shki_object_open_serial(): whatever lock is there */
extern const struct shki_plan shki_lock_as_it_is;

static inline bool shki_lock_is_mine(const struct shk_lock *l, const struct shki_member *m)
{
    /* Relaxed: if it is this thread's id, this thread wrote it. */
    return m && load_relaxed(&l->shared->mutex.holder) == m->id;
}

/* The lock has just been unlinked: note after how many releases. */
void shki_lock_unlinked(struct shki_lock_shared *);

/* For a caller who does not hold it: -EPERM, or -EBADF because the segment has been closed. */
int shki_lock_refuse(const struct shk_lock *);

/*
 * Give it up, however often it was acquired `again`. Take it back, whatever happens meanwhile: 0 or
 * SHK_ORPHANED.
 */
uint32_t shki_lock_give_up(struct shk_lock *, struct shki_member *);
int shki_lock_take_back(struct shk_lock *, struct shki_member *, uint32_t again);

/*
 * Told that the mutex has been given to the calling thread by other means, r being 0 or 1 for
 * EOWNERDEAD: 0 or SHK_ORPHANED.
 */
int shki_lock_settle(struct shk_lock *, struct shki_member *, int r);

/*
 * For a thread that waits without a deadline for the lock of that object (a lock, or a condition
 * that has its own): -EDEADLK if it is in a cycle of such waits and is the one to give way; else 0.
 * See deadlock.c.
 */
int shki_deadlock_check(const struct shki_object *, const struct shki_member *);

#endif
