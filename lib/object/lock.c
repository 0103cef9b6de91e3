#include "object/lock.h"

#include <shmkit/inspect.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX (UINT32_C(1) << 31)

_Static_assert(sizeof(struct shki_lock_shared) == 128, "one line that is mostly read, one that changes");

int shki_lock_build(struct shki_lock_shared *shared, bool recursive, bool no_deadlock_check)
{
    shared->recursive = recursive;
    shared->no_deadlock_check = no_deadlock_check;
    return shki_robust_init(&shared->mutex.robust);
}

int shki_lock_adopt(struct shk_lock *l, struct shki_lock_shared *shared)
{
    l->shared = shared;
    l->recursive = shared->recursive != 0;
    l->no_deadlock_check = shared->no_deadlock_check != 0;
    return shared->recursive > 1 || shared->no_deadlock_check > 1 ? shki_fail(-EPROTO, "%s/%s is damaged", l->object.segment->name, l->object.name) : 0;
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;

    return shki_lock_build((void *)o->shared, options && options->recursive, options && options->no_deadlock_check);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;
    struct shk_lock *l = (struct shk_lock *)o;
    int r = shki_lock_adopt(l, (void *)o->shared);

    if (r == 0 && options && (options->recursive != l->recursive || options->no_deadlock_check != l->no_deadlock_check))
        r = shki_fail(-EPROTOTYPE, "%s/%s is %srecursive and is%s checked for deadlocks", o->segment->name, o->name, l->recursive ? "" : "not ",
                      l->no_deadlock_check ? " not" : "");
    return r;
}

const struct shki_plan shki_lock_as_it_is = { .kind = SHK_KIND_LOCK, .size = sizeof(struct shki_lock_shared), .build = build, .check = check };

int shk_lock_open(struct shk_segment *segment, const char *name, unsigned flags, const struct shk_lock_options *options, struct shk_lock **out)
{
    struct shki_plan plan = shki_lock_as_it_is;
    struct shk_lock *l;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options;
    if (options && (options->recursive > 1 || options->no_deadlock_check > 1))
        return shki_say(-EINVAL, "an option of the lock is neither 0 nor 1");
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return shki_say(-ENOMEM, "no memory");
    r = shki_object_open(segment, name, flags, &plan, &l->object);
    if (r < 0)
        free(l);
    else
        *out = l;
    return r;
}

int shk_lock_close(struct shk_lock *l)
{
    if (l == NULL)
        return 0;
    if (l->object.segment->base && shki_lock_is_mine(l, shki_membership_find(l->object.segment)))
        return shki_fail(-EBUSY, "the calling thread holds %s/%s", l->object.segment->name, l->object.name);
    shki_object_close(&l->object);
    free(l);
    return 0;
}

int shki_lock_settle(struct shk_lock *l, struct shki_membership *m, uint32_t depth, int r)
{
    struct shki_lock_shared *shared = l->shared;

    /*
     * Relaxed, all of them: only who has the mutex changes them, and the mutex orders them. Killed before or after any: the mutex is a dead
     * holder's again, and the next one comes here with r == 1.
     */
    if (r == 1) {
        atomic_store_explicit(&shared->orphaned, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&shared->repairs.holders_lost, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&shared->mutex.holder, m->id, memory_order_relaxed);
    atomic_store_explicit(&shared->depth, depth, memory_order_relaxed);
    if (__builtin_expect(atomic_load_explicit(&shared->orphaned, memory_order_relaxed) == 0, 1))
        return 0;
    /* Cleared only by telling the caller. Killed after this: it dies holding the lock, and that is told. */
    atomic_store_explicit(&shared->orphaned, 0, memory_order_relaxed);
    return shki_repairs(SHKI_REPAIR_ORPHANED) ? SHK_ORPHANED : 0;
}

/* The mutex alone: the thread's count of what it holds is the caller's affair. */
static void unlock_mutex(struct shk_lock *l)
{
    /* Killed before, between or after: the mutex is the next one's, as a dead holder's or not. */
    atomic_store_explicit(&l->shared->mutex.holder, 0, memory_order_relaxed);
    shki_mutex_unlock(&l->shared->mutex);
}

static void unlock(struct shk_lock *l, struct shki_membership *m)
{
    unlock_mutex(l);
    shki_held_less(m);
}

struct waiting {
    struct shk_lock *lock;
    struct shki_membership *member;
    bool check; /* for deadlocks */
};

static int each_slice(void *arg)
{
    const struct waiting *w = arg;

    if (shki_object_is_stale(&w->lock->object))
        return shki_stale(&w->lock->object);
    return w->check ? shki_deadlock_check(&w->lock->object, w->member) : 0;
}

/* Somebody else has it. */
static int acquire_slow(struct shk_lock *l, struct shki_membership *m, int64_t timeout)
{
    struct shki_patience patience = shki_object_patience(&l->object, timeout);
    struct waiting w = { l, m, timeout == SHK_FOREVER && !l->no_deadlock_check };
    enum shki_waits_how how = timeout != SHK_FOREVER ? SHKI_WAITS_A_WHILE : w.check ? SHKI_WAITS_CHECKED : SHKI_WAITS_UNCHECKED;
    int r;

    if (timeout != SHK_NOWAIT)
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE, how);
    r = shki_mutex_lock(&l->shared->mutex, &patience, m->id, &l->spinner, each_slice, &w);
    if (timeout != SHK_NOWAIT)
        shki_member_is_awake();
    return r;
}

int shki_lock_acquire(struct shk_lock *l, struct shki_membership *m, int64_t timeout)
{
    struct shki_lock_shared *shared = l->shared;
    uint32_t depth;
    int r;

    if (shki_lock_is_mine(l, m)) {
        depth = atomic_load_explicit(&shared->depth, memory_order_relaxed);
        if (!l->recursive)
            return shki_say(-EDEADLK, "the calling thread holds the lock already");
        if (depth >= DEPTH_MAX)
            return shki_say(-EOVERFLOW, "the lock has been acquired too often");
        atomic_store_explicit(&shared->depth, depth + 1, memory_order_relaxed);
        return 0;
    }
    r = shki_held_more(m);
    if (r < 0)
        return r;
    r = shki_mutex_trylock(&shared->mutex, m->id);
    if (r < 0)
        r = acquire_slow(l, m, timeout);
    if (r < 0) {
        shki_held_less(m);
        return r;
    }
    r = shki_lock_settle(l, m, 1, r);
    if (__builtin_expect(shki_object_is_stale(&l->object), 0)) {
        unlock(l, m);
        return shki_stale(&l->object);
    }
    return r;
}

int shki_lock_refuse(const struct shk_lock *l)
{
    if (shki_segment_is_closed(l->object.segment))
        return shki_say(-EBADF, "the segment has been closed");
    return shki_say(-EPERM, "the calling thread does not hold the lock");
}

int shki_lock_release(struct shk_lock *l, struct shki_membership *m)
{
    uint32_t depth;

    if (!shki_lock_is_mine(l, m))
        return shki_lock_refuse(l);
    depth = atomic_load_explicit(&l->shared->depth, memory_order_relaxed);
    if (depth > 1)
        atomic_store_explicit(&l->shared->depth, depth - 1, memory_order_relaxed);
    else
        unlock(l, m);
    return 0;
}

uint32_t shki_lock_give_up(struct shk_lock *l)
{
    uint32_t depth = atomic_load_explicit(&l->shared->depth, memory_order_relaxed);

    unlock_mutex(l); /* it stays counted: taking it back must not fail */
    return depth;
}

int shki_lock_take_back(struct shk_lock *l, struct shki_membership *m, uint32_t depth)
{
    struct shki_patience patience = shki_patience(SHK_FOREVER, NULL);
    int r = shki_mutex_trylock(&l->shared->mutex, m->id);

    if (r < 0) {
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE, SHKI_WAITS_FIRMLY);
        r = shki_mutex_lock(&l->shared->mutex, &patience, m->id, &l->spinner, NULL, NULL);
        shki_member_is_awake();
    }
    if (r < 0) /* only for damaged bytes */
        return shki_fail(r, "the lock of %s/%s is damaged: %s", l->object.segment->name, l->object.name, strerror(-r));
    return shki_lock_settle(l, m, depth, r);
}

int shk_lock_acquire(struct shk_lock *l, int64_t timeout)
{
    struct shki_membership *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    return shki_lock_acquire(l, m, timeout);
}

int shk_lock_release(struct shk_lock *l)
{
    if (l == NULL)
        return SHKI_NO_HANDLE;
    return shki_lock_release(l, l->object.segment->base ? shki_membership_find(l->object.segment) : NULL);
}
