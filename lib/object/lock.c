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

#include "segment/image.h"
#include "segment/recover.h"
#include "sync/park.h"

#include <shmkit/inspect.h>
#include <stdlib.h>
#include <string.h>

/*
 * The backoff of a new lock's spinner: it does not spin at first, since with many locks the first
 * spins add up. At a lock that is waited for often a probe finds that spinning pays.
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
    l->waits_for = SHK_WAITS_TO_ACQUIRE;
    l->held = "the lock is held";
    atomic_init(&l->spinner.backoff, shki_policy(SHKI_POLICY_LOCK_FIRST) ? SPIN_FIRST : 0);
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

int shk_lock_open(struct shk_segment *segment, const char *name, unsigned flags,
                  const struct shk_lock_options *options, struct shk_lock **out)
{
    struct shki_plan plan = {.kind = &shki_lock_kind};
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
    return r == SHKI_REMOTE ? segment->remote->lock->open(segment, name, flags, options, out) : r;
}

int shk_lock_close(struct shk_lock *l)
{
    if (l == NULL)
        return 0;
    if (l->object.segment->remote)
        return l->object.segment->remote->lock->close(l);
    if (l->object.segment->base && shki_lock_is_mine(l, shki_member_find(l->object.segment)))
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

/*
 * The mutex alone: the thread's count of what it holds stays. Inlined, because every release ends
 * with it.
 */
static inline __attribute__((always_inline)) void unlock_mutex(struct shk_lock *l,
                                                               struct shki_member *m)
{
    /* Killed before, between or after: the next owner gets the mutex, as a dead holder's or not. */
    store_relaxed(&l->shared->mutex.holder, 0);
    shki_mutex_unlock(&l->shared->mutex);
    shki_unpark_released(m);
}

static inline __attribute__((always_inline)) void unlock(struct shk_lock *l, struct shki_member *m)
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
                 shki_segment_is_closed(m->segment)))
        return acquire_first(l, timeout);
    /* The holder's own try fails like any other: only then is it asked which member holds it. */
    r = shki_mutex_try(&l->shared->mutex, m->id);
    if (unlikely(r != 0))
        return acquire_second(l, m, timeout, r);
    m->held++;
    return settle(l->shared, m, 0);
}

/* All but the last release of an owner that used this segment last. */
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

    if (unlikely(!shki_lock_is_mine(l, m) || load_relaxed(&l->shared->mutex.state) > 0))
        return release_first(l);
    unlock(l, m);
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

static void wake_at_unlink(struct shki_object *o)
{
    shki_lock_unlinked((void *)o->shared);
}

uint64_t shki_lock_owner(const struct shki_image *image, const struct shki_entry *e,
                         uint64_t offset)
{
    struct shki_lock_shared lock;

    if (!shki_image_has(image, e, offset + sizeof(lock)) ||
        !shki_image_read(image, e->offset + offset, &lock, sizeof(lock)))
        return 0;
    return shki_robust_is_held(&lock.mutex.robust) ? load_relaxed(&lock.mutex.holder) : 0;
}

static uint64_t owner(const struct shki_image *image, const struct shki_entry *e, uint64_t waiter,
                      unsigned n)
{
    (void)waiter;
    return n == 0 ? shki_lock_owner(image, e, 0) : 0;
}

void shki_lock_describe(const struct shki_lock_shared *lock, struct shk_object_info *info)
{
    uint32_t state = load_relaxed(&lock->mutex.state);

    info->holder = shki_robust_is_held(&lock->mutex.robust) ? load_relaxed(&lock->mutex.holder) : 0;
    info->as.lock.recursive = lock->recursive != 0;
    info->as.lock.depth = info->holder ? (state & SHKI_AGAIN) + 1 : 0;
    info->as.lock.orphaned = state & SHKI_OWNER_DIED || shki_robust_owner_died(&lock->mutex.robust);
    info->as.lock.no_deadlock_check = lock->no_deadlock_check != 0;
}

int64_t shki_lock_held_for(const struct shki_image *image, const struct shki_mutex *mutex,
                           uint64_t holder, uint64_t serial)
{
    struct shki_member_shared m;
    int64_t since, now = shki_now();

    if (holder == 0 || !shki_image_member(image, shki_member_index(holder), &m) ||
        load_relaxed(&m.id) != holder)
        return 0;
    since = load_relaxed(&m.held_since);
    /*
     * WT2: no second read: a note that changes meanwhile is about another turn of the holder, or of
     * another serial.
     */
    if (since <= 0 || since >= now || load_relaxed(&m.held_serial) != serial ||
        load_relaxed(&m.held_releases) != load_relaxed(&mutex->releases))
        return 0;
    return now - since;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_lock_shared *lock = shared;

    shki_lock_describe(lock, info);
    info->held = shki_lock_held_for(image, &lock->mutex, info->holder, e->serial);
}

const struct shki_kind shki_lock_kind = {
    .number = SHK_KIND_LOCK,
    .name = "a lock",
    .size = sizeof(struct shki_lock_shared),
    .remote = offsetof(struct shki_remote, lock),
    .mutex_offset = {offsetof(struct shki_lock_shared, mutex)},
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .owner = owner,
    .describe = describe,
};
