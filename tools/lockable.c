#include "lockable.h"

#include <errno.h>

struct lockable_kind {
    const char *state; /* why an acquire has to wait */
    int (*open)(struct shk_segment *, const char *name, unsigned flags, void **out);
    int (*acquire)(void *, int64_t timeout);
    int (*release)(void *);
    int (*stamp)(void *); /* NULL: it has no such note */
    int (*close)(void *);
    int (*acquire_shared)(void *, int64_t timeout); /* NULL: it has no shares */
    int (*recover)(void *); /* NULL: the mark of a death goes with telling */
};

/* ---- a lock ---- */

static int open_lock(struct shk_segment *segment, const char *name, unsigned flags, void **out)
{
    struct shk_lock *lock = NULL;
    int r = shk_lock_open(segment, name, flags, NULL, &lock);

    *out = lock;
    return r;
}

static int acquire_lock(void *lock, int64_t timeout)
{
    return shk_lock_acquire(lock, timeout);
}

static int release_lock(void *lock)
{
    return shk_lock_release(lock);
}

static int stamp_lock(void *lock)
{
    return shk_lock_stamp(lock);
}

static int close_lock(void *lock)
{
    return shk_lock_close(lock);
}

/* ---- the lock of a condition ---- */

static int open_cond(struct shk_segment *segment, const char *name, unsigned flags, void **out)
{
    struct shk_cond *cond = NULL;
    int r = shk_cond_open(segment, name, flags, NULL, &cond);

    *out = cond;
    return r;
}

static int acquire_cond(void *cond, int64_t timeout)
{
    return shk_cond_acquire(cond, timeout);
}

static int release_cond(void *cond)
{
    return shk_cond_release(cond);
}

static int stamp_cond(void *cond)
{
    return shk_cond_stamp(cond);
}

static int close_cond(void *cond)
{
    return shk_cond_close(cond);
}

/* ---- a rwlock ---- */

static int open_rwlock(struct shk_segment *segment, const char *name, unsigned flags, void **out)
{
    struct shk_rwlock *rwlock = NULL;
    int r = shk_rwlock_open(segment, name, flags, NULL, &rwlock);

    *out = rwlock;
    return r;
}

static int acquire_rwlock(void *rwlock, int64_t timeout)
{
    return shk_rwlock_acquire(rwlock, timeout);
}

static int acquire_share(void *rwlock, int64_t timeout)
{
    return shk_rwlock_acquire_shared(rwlock, timeout);
}

static int release_rwlock(void *rwlock)
{
    return shk_rwlock_release(rwlock);
}

static int recover_rwlock(void *rwlock)
{
    return shk_rwlock_recover(rwlock);
}

static int close_rwlock(void *rwlock)
{
    return shk_rwlock_close(rwlock);
}

/* The first that fits is what is created. */
static const struct lockable_kind kinds[] = {
    {"the lock is held", open_lock, acquire_lock, release_lock, stamp_lock, close_lock, NULL, NULL},
    {"its lock is held", open_cond, acquire_cond, release_cond, stamp_cond, close_cond, NULL, NULL},
    {"the rwlock is held", open_rwlock, acquire_rwlock, release_rwlock, NULL, close_rwlock,
     acquire_share, recover_rwlock},
};

/* ---- */

int lockable_open(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct lockable *l = to;
    int r = -EPROTOTYPE;

    for (size_t i = 0; r == -EPROTOTYPE && i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (l->shared && !kinds[i].acquire_shared)
            continue;
        r = kinds[i].open(segment, name, flags, &l->object);
        l->kind = r >= 0 ? &kinds[i] : NULL;
        flags = 0;
    }
    return r;
}

int lockable_acquire(const struct lockable *l, int64_t timeout)
{
    int r = l->shared ? l->kind->acquire_shared(l->object, timeout)
                      : l->kind->acquire(l->object, timeout);

    if (r >= 0 && l->kind->stamp)
        l->kind->stamp(l->object);
    return r;
}

const char *lockable_state(const struct lockable *l)
{
    return l->kind->state;
}

int lockable_release(const struct lockable *l, bool mended)
{
    if (mended && !l->shared && l->kind->recover)
        l->kind->recover(l->object);
    return l->kind->release(l->object);
}

void lockable_close(struct lockable *l)
{
    if (l->kind)
        l->kind->close(l->object);
    l->kind = NULL;
}
