/*
 * A lock: a robust mutex with the member that holds it, a count of its acquires, and a note when a
 * holder has died.
 *
 *     acquire                                      release
 *     lock the mutex; was its owner dead?          state > 0? state -= 1; done
 *       then state = OWNER_DIED                    holder = 0
 *     holder = this member                         unlock the mutex
 *     state = 0; was it OWNER_DIED?
 *       then SHK_ORPHANED
 *
 * OWNER_DIED is stored before the caller is told, and cleared by telling. So a new owner that dies
 * before it has been told leaves it to the next one. Cleared first, the death would be forgotten
 * with a second one.
 *
 * The holder alone writes `holder` and `state`, and the mutex orders them: all accesses are
 * relaxed.
 */
#include "object/lock.h"

#include "object/remote.h"
#include "segment/recover.h"
#include "sync/park.h"

#include <shmkit/inspect.h>
#include <string.h>

/*
 * The mutex has just been given to the calling thread; r is 1 for EOWNERDEAD. Inlined, because
 * every acquire ends with it.
 */
static inline __attribute__((always_inline)) int settle(struct shki_lock_shared *shared,
                                                        const struct shki_member *m, int r)
{
    struct shki_mutex *mutex = &shared->mutex;

    /*
     * Relaxed: see above. Killed before or after any of them: the mutex is a dead holder's again,
     * and the next owner comes here with r == 1.
     */
    if (unlikely(r == 1)) {
        store_relaxed(&mutex->state, SHKI_OWNER_DIED);
        fetch_add_relaxed(&shared->repairs.holders_lost, 1);
    }
    store_relaxed(&mutex->holder, m->id);
    if (likely(load_relaxed(&mutex->state) == 0))
        return 0;
    /* Cleared by telling the caller. Killed after this: that death is told to the next owner. */
    store_relaxed(&mutex->state, 0);
    return shki_repair_enabled(SHKI_REPAIR_OWNER_DIED) ? SHK_ORPHANED : 0;
}

int shki_lock_settle(struct shk_lock *l, struct shki_member *m, int r)
{
    return settle(l->shared, m, r);
}

/* The mutex alone: the thread's count of what it holds stays. */
static void unlock_mutex(struct shk_lock *l, struct shki_member *m)
{
    /* Killed before, between or after: the next owner gets the mutex, as a dead holder's or not. */
    store_relaxed(&l->shared->mutex.holder, 0);
    shki_mutex_unlock(&l->shared->mutex);
    shki_unpark_released(m);
}

static void unlock(struct shk_lock *l, struct shki_member *m)
{
    unlock_mutex(l, m);
    shki_held_less(m);
}

struct waiting {
    struct shk_lock *lock;
    struct shki_member *member;
    bool check; /* for deadlocks */
};

static int recheck(void *arg)
{
    const struct waiting *w = arg;

    if (shki_object_is_stale(&w->lock->object) || shki_segment_is_lost(w->lock->object.segment))
        return shki_stale(&w->lock->object);
    return w->check ? shki_deadlock_check(&w->lock->object, w->member) : 0;
}

/* The lock has been held all the time: note by which member, as far as that can be read. */
static void note_holder(const struct shk_lock *l)
{
    const struct shk_segment *s = l->object.segment;
    /* Relaxed: all of this is a hint. */
    uint64_t id = load_relaxed(&l->shared->mutex.holder);
    const struct shki_member_shared *m = id ? shki_record_at(s, shki_member_index(id)) : NULL;

    if (m && shki_member_is_alive(s, id))
        shki_note_holder(m->names[load_acquire(&m->renames) % 2], m->pid);
}

/* Another thread holds the lock. */
static int wait_for_mutex(struct shk_lock *l, struct shki_member *m, int64_t timeout)
{
    struct shki_deadline deadline = shki_object_deadline(&l->object, timeout, l->held);
    struct waiting w = {l, m, timeout == SHK_FOREVER && !l->no_deadlock_check};
    enum shki_waits_how how = timeout != SHK_FOREVER ? SHKI_WAITS_TIMED
                              : w.check              ? SHKI_WAITS_CHECKED
                                                     : SHKI_WAITS_UNCHECKED;
    int r;

    if (timeout != SHK_NOWAIT)
        shki_object_sleeps(&l->object, m, l->waits_for, how);
    r = shki_mutex_lock(&l->shared->mutex, &deadline, m->id, &l->spinner,
                        &l->object.segment->recovery, recheck, &w);
    if (timeout != SHK_NOWAIT)
        shki_member_is_awake();
    if (r == -EAGAIN || r == -ETIMEDOUT)
        note_holder(l);
    return r;
}

/* By the holder. */
static int acquire_again(struct shk_lock *l)
{
    struct shki_mutex *mutex = &l->shared->mutex;
    uint32_t again = load_relaxed(&mutex->state);

    if (!l->recursive)
        return shki_object_say(
            &l->object, -EDEADLK,
            "the calling thread holds the lock already, and it is not recursive");
    if (again >= SHKI_AGAIN)
        return shki_object_say(&l->object, -EOVERFLOW,
                               "the calling thread has acquired the lock 2^31 times");
    store_relaxed(&mutex->state, again + 1);
    return 0;
}

int shki_lock_refuse(const struct shk_lock *l)
{
    if (l->object.segment->remote)
        return SHKI_REMOTE;
    if (shki_segment_is_closed(l->object.segment))
        return shki_say_closed(l->object.segment);
    return shki_object_say(&l->object, -EPERM, "the calling thread does not hold the lock");
}

uint32_t shki_lock_release_all(struct shk_lock *l, struct shki_member *m)
{
    struct shki_mutex *mutex = &l->shared->mutex;
    uint32_t again = load_relaxed(&mutex->state);

    /* Killed after: the next owner is told of a dead holder. */
    store_relaxed(&mutex->state, 0);
    unlock_mutex(l, m); /* it stays counted, so that acquiring it again does not fail */
    return again;
}

int shki_lock_reacquire(struct shk_lock *l, struct shki_member *m, uint32_t again)
{
    struct shki_deadline deadline = shki_deadline(SHK_FOREVER, NULL);
    int r = shki_mutex_trylock(&l->shared->mutex, m->id);

    if (r < 0) {
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE, SHKI_WAITS_UNINTERRUPTIBLE);
        r = shki_mutex_lock(&l->shared->mutex, &deadline, m->id, &l->spinner,
                            &l->object.segment->recovery, NULL, NULL);
        shki_member_is_awake();
    }
    if (r < 0) /* only for damaged bytes */
        return shki_fail(r, "%s/%s: the lock is damaged: %s", l->object.segment->name,
                         l->object.name, strerror(-r));
    r = settle(l->shared, m, r);
    store_relaxed(&l->shared->mutex.state, again);
    return r;
}

void shki_lock_unlinked(struct shki_lock_shared *shared)
{
    uint64_t not_unlinked = 0, note = SHKI_UNLINKED_AFTER + load_relaxed(&shared->mutex.releases);

    /*
     * The first note stays. Killed before: waiters that are given the mutex return 0; the others
     * find it stale at the end of their recheck interval.
     */
    compare_exchange_relaxed(&shared->unlinked_after, &not_unlinked, note);
}

/*
 * By a waiter that has been given the mutex. Relaxed: the holder alone changes `releases`. A note
 * that comes late is that of an unlink that has not returned.
 */
static bool was_released_before_the_unlink(const struct shk_lock *l)
{
    uint64_t note = load_relaxed(&l->shared->unlinked_after);

    return note == 0 || (uint32_t)note == load_relaxed(&l->shared->mutex.releases);
}

/* The first try has failed, r being negative, or has found a dead holder, r being 1. */
static __attribute__((noinline)) int acquire_slow(struct shk_lock *l, struct shki_member *m,
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

/* A thread that is no member yet, or not of the segment that it used last; and all errors. */
static __attribute__((noinline)) int acquire_first(struct shk_lock *l, int64_t timeout)
{
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, lock, acquire, (l, timeout));
    r = m->held != m->may_hold ? shki_mutex_trylock(&l->shared->mutex, m->id) : -EBUSY;
    if (r != 0)
        return acquire_slow(l, m, timeout, r);
    m->held++;
    return settle(l->shared, m, 0);
}

/* r: what pthread said to the first try. */
static __attribute__((noinline)) int acquire_second(struct shk_lock *l, struct shki_member *m,
                                                    int64_t timeout, int r)
{
    return acquire_slow(l, m, timeout,
                        r == EOWNERDEAD ? shki_mutex_recover(&l->shared->mutex) : -EBUSY);
}

int shk_lock_acquire(struct shk_lock *l, int64_t timeout)
{
    struct shki_member *m = l ? shki_member_cached(l->object.segment) : NULL;
    int r;

    if (unlikely(!m || m->held == m->may_hold || shki_object_is_stale(&l->object) ||
                 shki_segment_is_closed(l->object.segment)))
        return acquire_first(l, timeout);
    /* The holder's own try fails like any other: only then is it asked which member holds it. */
    r = shki_mutex_try(&l->shared->mutex, m->id);
    if (unlikely(r != 0))
        return acquire_second(l, m, timeout, r);
    m->held++;
    return settle(l->shared, m, 0);
}

/* All but the last release of an owner that used this segment last and has no member to unpark. */
static __attribute__((noinline)) int release_first(struct shk_lock *l)
{
    /* a member has the segment mapped */
    struct shki_member *m = l ? shki_member_find(l->object.segment) : NULL;
    uint32_t again;

    if (!l)
        return SHKI_NO_HANDLE;
    if (!shki_lock_is_mine(l, m))
        return SHKI_ELSEWHERE(shki_lock_refuse(l), l, lock, release, (l));
    /* OWNER_DIED is clear, the holder has been told: only SHKI_AGAIN is left. */
    again = load_relaxed(&l->shared->mutex.state);
    if (again > 0)
        store_relaxed(&l->shared->mutex.state, again - 1);
    else
        unlock(l, m);
    return 0;
}

int shk_lock_release(struct shk_lock *l)
{
    struct shki_member *m = l ? shki_member_cached(l->object.segment) : NULL;
    struct shki_mutex *mutex;

    if (unlikely(!shki_lock_is_mine(l, m) || m->n_to_unpark > 0))
        return release_first(l);
    mutex = &l->shared->mutex;
    if (unlikely(load_relaxed(&mutex->state) > 0))
        return release_first(l);
    /*
     * unlock(), in an order in which no register has to be saved: what the thread holds is its own
     * count. Killed anywhere: see there.
     */
    shki_held_less(m);
    store_relaxed(&mutex->holder, 0);
    shki_mutex_unlock(mutex);
    return 0;
}

int shk_lock_is_held(struct shk_lock *l)
{
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, lock, is_held, (l));
    if (shki_lock_is_mine(l, m))
        return 2;
    return shki_robust_is_held(&l->shared->mutex.robust) &&
           !shki_holder_is_gone(l->object.segment, &l->shared->mutex);
}

int shk_lock_depth(struct shk_lock *l)
{
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;
    uint32_t again;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, lock, depth, (l));
    if (!shki_lock_is_mine(l, m))
        return 0;
    /* Relaxed: written by the caller alone. */
    again = load_relaxed(&l->shared->mutex.state) & SHKI_AGAIN;
    return again < INT32_MAX ? (int)again + 1 : INT32_MAX;
}

int shk_lock_stamp(struct shk_lock *l)
{
    struct shki_member *m = l ? shki_member_find(l->object.segment) : NULL;

    if (unlikely(!l))
        return SHKI_NO_HANDLE;
    if (unlikely(!shki_lock_is_mine(l, m)))
        return SHKI_ELSEWHERE(shki_lock_refuse(l), l, lock, stamp, (l));
    shki_member_holds(m, l->object.serial,
                      /* written by the holder, which is this thread */
                      load_relaxed(&l->shared->mutex.releases));
    return 0;
}
