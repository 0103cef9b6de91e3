/*
 * What 'shmctl lock' holds: a lock, the lock of a condition, or a rwlock. A kind is a row of the
 * table in lockable.c.
 */
#ifndef SHMCTL_LOCKABLE_H
#define SHMCTL_LOCKABLE_H

#include "open.h"

struct lockable_kind;

struct lockable {
    const struct lockable_kind *kind; /* NULL: none is open */
    void *object;
    bool shared; /* a share of a rwlock is wanted */
};

/* What one of them is called where any of them is meant. */
#define LOCKABLE_KINDS "a lock, a condition or a rwlock"

/* For struct opening; to is a struct lockable *. A lock is created; if shared, a rwlock. */
int lockable_open(struct shk_segment *, const char *name, unsigned flags, void *to);

/*
 * Acquire it, and note the time for ps, why and show. Returns as shk_lock_acquire();
 * lockable_state() says why it had to wait.
 */
int lockable_acquire(const struct lockable *, int64_t timeout);
const char *lockable_state(const struct lockable *);

/* Returns as shk_lock_release(). `mended`: what a former holder left half done is so no more. */
int lockable_release(const struct lockable *, bool mended);

void lockable_close(struct lockable *);

#endif
