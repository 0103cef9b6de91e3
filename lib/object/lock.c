#include "object/lock.h"

#include "segment/recover.h"
#include "wait/park.h"

#include <shmkit/inspect.h>
#include <stdlib.h>
#include <string.h>

/*
 * none to begin with: with many locks the first tries add up. At one that is waited for often a
 * probe finds out that it pays
 */
#define SPIN_FIRST 3

_Static_assert(sizeof(struct shki_lock_shared) == sizeof(struct shki_mutex) + 64,
               "one line that is mostly read, one that changes");

int shki_lock_build(struct shki_lock_shared *shared, bool recursive, bool no_deadlock_check)
{
    shared->recursive = recursive;
    shared->no_deadlock_check = no_deadlock_check;
    return shki_robust_init(&shared->mutex.robust);
}

int shki_lock_adopt(struct shk_lock *l, struct shki_lock_shared *shared)
{
    l->shared = shared;
    atomic_init(&l->spinner.shift, SPIN_FIRST);
    l->recursive = shared->recursive != 0;
    l->no_deadlock_check = shared->no_deadlock_check != 0;
    return shared->recursive > 1 || shared->no_deadlock_check > 1
               ? shki_fail(-EPROTO, "%s/%s is damaged", l->object.segment->name, l->object.name)
               : 0;
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;

    return shki_lock_build((void *)o->shared, options && options->recursive,
                           options && options->no_deadlock_check);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_lock_options *options = plan->options;
    struct shk_lock *l = (struct shk_lock *)o;
    int r = shki_lock_adopt(l, (void *)o->shared);

    if (r == 0 && options &&
        (options->recursive != l->recursive || options->no_deadlock_check != l->no_deadlock_check))
        r = shki_fail(-EPROTOTYPE, "%s/%s is %srecursive and is%s checked for deadlocks",
                      o->segment->name, o->name, l->recursive ? "" : "not ",
                      l->no_deadlock_check ? " not" : "");
    return r;
}

const struct shki_plan shki_lock_as_it_is = {.kind = SHK_KIND_LOCK,
                                             .size = sizeof(struct shki_lock_shared),
                                             .mutex_at = {offsetof(struct shki_lock_shared, mutex)},
                                             .build = build,
                                             .check = check};

int shk_lock_open(struct shk_segment *segment, const char *name, unsigned flags,
                  const struct shk_lock_options *options, struct shk_lock **out)
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
        return shki_say(-ENOMEM, "out of memory");
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
        return shki_fail(-EBUSY, "%s/%s: the calling thread holds the lock",
                         l->object.segment->name, l->object.name);
    shki_object_close(&l->object);
    free(l);
    return 0;
}

/*
 * The mutex has just been given to the calling thread; r is 1 for EOWNERDEAD. Inlined, because
 * every acquire ends with it.
 */
static inline __attribute__((always_inline)) int settle(struct shki_lock_shared *shared,
                                                        const struct shki_membership *m, int r)
{
    struct shki_mutex *mutex = &shared->mutex;

    /*
     * Relaxed, all of them: only who has the mutex changes them, and the mutex orders them. Killed
     * before or after any: the mutex is a dead holder's again, and the next one comes here with r
     * == 1.
     */
    if (__builtin_expect(r == 1, 0)) {
        atomic_store_explicit(&mutex->state, SHKI_ORPHANED, memory_order_relaxed);
        atomic_fetch_add_explicit(&shared->repairs.holders_lost, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&mutex->holder, m->id, memory_order_relaxed);
    if (__builtin_expect(atomic_load_explicit(&mutex->state, memory_order_relaxed) == 0, 1))
        return 0;
    /*
     * Cleared only by telling the caller. Killed after this: it dies holding the lock, and that is
     * told.
     */
    atomic_store_explicit(&mutex->state, 0, memory_order_relaxed);
    return shki_repairs(SHKI_REPAIR_ORPHANED) ? SHK_ORPHANED : 0;
}

int shki_lock_settle(struct shk_lock *l, struct shki_membership *m, int r)
{
    return settle(l->shared, m, r);
}

/* The mutex alone: the thread's count of what it holds is the caller's affair. */
static void unlock_mutex(struct shk_lock *l, struct shki_membership *m)
{
    /* Killed before, between or after: the mutex is the next one's, as a dead holder's or not. */
    atomic_store_explicit(&l->shared->mutex.holder, 0, memory_order_relaxed);
    shki_mutex_unlock(&l->shared->mutex);
    shki_unpark_released(m);
}

static void unlock(struct shk_lock *l, struct shki_membership *m)
{
    unlock_mutex(l, m);
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

    if (shki_object_is_stale(&w->lock->object) || shki_segment_is_lost(w->lock->object.segment))
        return shki_stale(&w->lock->object);
    return w->check ? shki_deadlock_check(&w->lock->object, w->member) : 0;
}

/* It was held all the time: by which member, as far as that is to be seen. */
static void note_holder(const struct shk_lock *l)
{
    const struct shk_segment *s = l->object.segment;
    /* a hint, all of this */
    uint64_t id = atomic_load_explicit(&l->shared->mutex.holder, memory_order_relaxed);
    const struct shki_member *m = id ? shki_member_at(s, shki_member_index(id)) : NULL;

    if (m && shki_member_is_alive(s, id))
        shki_note_holder(m->names[atomic_load_explicit(&m->renames, memory_order_acquire) % 2],
                         m->pid);
}

/* Another thread has it. */
static int wait_for_mutex(struct shk_lock *l, struct shki_membership *m, int64_t timeout)
{
    struct shki_patience patience = shki_object_patience(&l->object, timeout, "the lock is held");
    struct waiting w = {l, m, timeout == SHK_FOREVER && !l->no_deadlock_check};
    enum shki_waits_how how = timeout != SHK_FOREVER ? SHKI_WAITS_A_WHILE
                              : w.check              ? SHKI_WAITS_CHECKED
                                                     : SHKI_WAITS_UNCHECKED;
    int r;

    if (timeout != SHK_NOWAIT)
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE, how);
    r = shki_mutex_lock(&l->shared->mutex, &patience, m->id, &l->spinner,
                        &l->object.segment->recovery, each_slice, &w);
    if (timeout != SHK_NOWAIT)
        shki_member_is_awake();
    if (r == -EAGAIN || r == -ETIMEDOUT)
        note_holder(l);
    return r;
}

/* Who has it already. */
static int acquire_again(struct shk_lock *l)
{
    struct shki_mutex *mutex = &l->shared->mutex;
    uint32_t again = atomic_load_explicit(&mutex->state, memory_order_relaxed);

    if (!l->recursive)
        return shki_object_say(
            &l->object, -EDEADLK,
            "the calling thread holds the lock already, and it is not recursive");
    if (again >= SHKI_AGAIN)
        return shki_object_say(&l->object, -EOVERFLOW,
                               "the calling thread has acquired the lock 2^31 times");
    atomic_store_explicit(&mutex->state, again + 1, memory_order_relaxed);
    return 0;
}

int shki_lock_refuse(const struct shk_lock *l)
{
    if (shki_segment_is_closed(l->object.segment))
        return shki_say_closed(l->object.segment);
    return shki_object_say(&l->object, -EPERM, "the calling thread does not hold the lock");
}

uint32_t shki_lock_give_up(struct shk_lock *l, struct shki_membership *m)
{
    struct shki_mutex *mutex = &l->shared->mutex;
    uint32_t again = atomic_load_explicit(&mutex->state, memory_order_relaxed);

    /* killed after: a dead holder's */
    atomic_store_explicit(&mutex->state, 0, memory_order_relaxed);
    unlock_mutex(l, m); /* it stays counted: taking it back must not fail */
    return again;
}

int shki_lock_take_back(struct shk_lock *l, struct shki_membership *m, uint32_t again)
{
    struct shki_patience patience = shki_patience(SHK_FOREVER, NULL);
    int r = shki_mutex_trylock(&l->shared->mutex, m->id);

    if (r < 0) {
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE, SHKI_WAITS_FIRMLY);
        r = shki_mutex_lock(&l->shared->mutex, &patience, m->id, &l->spinner,
                            &l->object.segment->recovery, NULL, NULL);
        shki_member_is_awake();
    }
    if (r < 0) /* only for damaged bytes */
        return shki_fail(r, "%s/%s: the lock is damaged: %s", l->object.segment->name,
                         l->object.name, strerror(-r));
    r = settle(l->shared, m, r);
    atomic_store_explicit(&l->shared->mutex.state, again, memory_order_relaxed);
    return r;
}

void shki_lock_unlinked(struct shki_lock_shared *shared)
{
    uint64_t not_unlinked = 0,
             note = SHKI_UNLINKED_AFTER +
                    atomic_load_explicit(&shared->mutex.turns, memory_order_relaxed);

    /*
     * The first note stays. Killed before: waiters that are given the mutex return 0, those that
     * are not find it stale at the end of their slice.
     */
    atomic_compare_exchange_strong_explicit(&shared->unlinked_after, &not_unlinked, note,
                                            memory_order_relaxed, memory_order_relaxed);
}

/*
 * By a waiter that has been given the mutex. Relaxed: the holder alone changes `turns`; a note that
 * is late belongs to an unlink that is not over.
 */
static bool was_released_before_the_unlink(const struct shk_lock *l)
{
    uint64_t note = atomic_load_explicit(&l->shared->unlinked_after, memory_order_relaxed);

    return note == 0 ||
           (uint32_t)note == atomic_load_explicit(&l->shared->mutex.turns, memory_order_relaxed);
}

/*
 * Who has not been given it at the first try, r being negative, or must repair what a dead holder
 * left, r being 1.
 */
static __attribute__((noinline)) int acquire_slowly(struct shk_lock *l, struct shki_membership *m,
                                                    int64_t timeout, int r)
{
    int more;

    if (r < 0 && shki_lock_is_mine(l, m))
        return acquire_again(l);
    more = shki_held_more(m);
    if (more < 0) /* then r is negative: the mutex has not been tried */
        return more;
    if (r < 0)
        r = wait_for_mutex(l, m, timeout);
    if (r < 0) {
        shki_held_less(m);
        return r;
    }
    r = settle(l->shared, m, r);
    if (shki_object_is_stale(&l->object) && !was_released_before_the_unlink(l)) {
        unlock(l, m);
        return shki_stale(&l->object);
    }
    return r;
}

int shk_lock_acquire(struct shk_lock *l, int64_t timeout)
{
    struct shki_membership *m;
    int r;

    if (__builtin_expect(!l, 0))
        return SHKI_NO_HANDLE;
    shki_fetch_to_write(&l->shared->mutex); /* on its way while the rest is looked at */
    r = shki_enter(&l->object, &m);
    if (__builtin_expect(r < 0, 0))
        return r;
    /* A holder's own mutex is refused like anybody's: whose it is is asked only then. */
    r = __builtin_expect(m->held != m->may_hold, 1) ? shki_mutex_trylock(&l->shared->mutex, m->id)
                                                    : -EBUSY;
    if (__builtin_expect(r != 0, 0))
        return acquire_slowly(l, m, timeout, r);
    m->held++;
    return settle(l->shared, m, 0);
}

int shk_lock_release(struct shk_lock *l)
{
    /* who is a member has the segment mapped */
    struct shki_membership *m = l ? shki_membership_find(l->object.segment) : NULL;
    uint32_t again;

    if (__builtin_expect(!l, 0))
        return SHKI_NO_HANDLE;
    if (__builtin_expect(!shki_lock_is_mine(l, m), 0))
        return shki_lock_refuse(l);
    /* who holds it has been told of the dead */
    again = atomic_load_explicit(&l->shared->mutex.state, memory_order_relaxed);
    if (__builtin_expect(again > 0, 0))
        atomic_store_explicit(&l->shared->mutex.state, again - 1, memory_order_relaxed);
    else
        unlock(l, m);
    return 0;
}

int shk_lock_is_held(struct shk_lock *l)
{
    struct shki_membership *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (shki_lock_is_mine(l, m))
        return 2;
    return shki_robust_is_held(&l->shared->mutex.robust) &&
           !shki_holder_is_gone(l->object.segment, &l->shared->mutex);
}

int shk_lock_depth(struct shk_lock *l)
{
    struct shki_membership *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;
    uint32_t again;

    if (r < 0 || !shki_lock_is_mine(l, m))
        return r;
    /* written by the caller alone */
    again = atomic_load_explicit(&l->shared->mutex.state, memory_order_relaxed) & SHKI_AGAIN;
    return again < INT32_MAX ? (int)again + 1 : INT32_MAX;
}

int shk_lock_stamp(struct shk_lock *l)
{
    struct shki_membership *m = l ? shki_membership_find(l->object.segment) : NULL;

    if (__builtin_expect(!l, 0))
        return SHKI_NO_HANDLE;
    if (__builtin_expect(!shki_lock_is_mine(l, m), 0))
        return shki_lock_refuse(l);
    shki_member_holds(m, l->object.serial,
                      /* written by the holder, which is this thread */
                      atomic_load_explicit(&l->shared->mutex.turns, memory_order_relaxed));
    return 0;
}
