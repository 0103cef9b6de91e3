/*
 * A condition: a waitlist that is entered with a lock held.
 *
 *     wait, with the lock held                     notify, with the lock held
 *     lock the waitlist; enter; unlock             (change the predicate)
 *     give up the lock                             lock the waitlist; release n waiters; unlock
 *     sleep until released                         (give up the lock)
 *     take the lock back; resume
 *
 * The waiter is in the waitlist before it gives up the lock. In the other order a notifier that
 * gets the lock in between would find no waiter, and the waiter would sleep on a predicate that
 * holds.
 *
 * The waiter resumes after it has taken the lock back. Killed before that, its wake-up goes to the
 * next waiter. Resumed earlier, it could die with the wake-up while it waits for the lock.
 *
 * A condition of kind SHK_COND_PTHREAD has a pthread_cond_t instead, which programs may use too. It
 * does not survive kills: see wait_native().
 *
 * The model: tests/model/cond.pml.
 */
#include "object/cond.h"

#include "base/name.h"
#include "object/remote.h"
#include "segment/image.h"
#include "sync/park.h"

#include <shmkit/inspect.h>

#define THREADS_MAX (1u << 22) /* in one pid namespace: proc(5), pid_max */

static int build_native(pthread_cond_t *c)
{
    pthread_condattr_t a;
    int r = pthread_condattr_init(&a);

    if (r)
        return -r;
    pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    r = pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
    return -r;
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_cond_options *options = plan->options;
    struct shki_cond_shared *shared = (void *)o->shared;
    int r;

    shared->kind = options ? options->kind : SHK_COND_ROBUST;
    if (options && options->lock) {
        if (shki_object_is_stale(&options->lock->object))
            return shki_stale(&options->lock->object);
        shared->lock_entry = options->lock->object.index;
        shared->lock_serial = options->lock->object.serial;
    }
    r = shki_waitlist_init(&shared->waiters);
    if (r == 0)
        r = shki_lock_build(&shared->lock, true, false);
    return r == 0 && shared->kind == SHK_COND_PTHREAD ? build_native(&shared->native) : r;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_cond_options *options = plan->options;
    struct shk_cond *c = (struct shk_cond *)o;
    struct shki_cond_shared *shared = (void *)o->shared;
    uint64_t lock = shared->lock_serial;

    if (shared->kind > SHK_COND_PTHREAD)
        return shki_fail(-EPROTO, "%s/%s is damaged: its kind", o->segment->name, o->name);
    if (options && options->kind != shared->kind)
        return shki_fail(-EPROTOTYPE, "%s/%s is a condition of %s kind", o->segment->name, o->name,
                         shared->kind == SHK_COND_ROBUST ? "robust" : "pthread");
    if (options && (options->lock ? options->lock->object.serial : 0) != lock)
        return shki_fail(-EPROTOTYPE, "%s/%s goes with another lock", o->segment->name, o->name);
    c->shared = shared;
    c->native = shared->kind == SHK_COND_PTHREAD;
    c->own_lock = lock == 0;
    return shki_object_waitlist(o, &shki_cond_kind, &c->line);
}

/* The lock, as a handle of its own. */
static int open_lock(struct shk_cond *c)
{
    static const struct shki_plan as_it_is = {.kind = &shki_lock_kind};

    if (c->own_lock) {
        c->lock.object = c->object;
        return shki_lock_adopt(&c->lock, &c->shared->lock);
    }
    return shki_object_open_serial(c->object.segment, c->shared->lock_entry, c->shared->lock_serial,
                                   &as_it_is, &c->lock.object);
}

static int check_options(struct shk_segment *segment, const struct shk_cond_options *options)
{
    if (options->kind > SHK_COND_PTHREAD || options->reserved_32)
        return shki_say(
            -EINVAL,
            "the condition's kind is neither SHK_COND_ROBUST nor SHK_COND_PTHREAD, or a reserved "
            "option is not zero");
    if (options->lock && segment && options->lock->object.segment != segment)
        return shki_say(-EXDEV, "the condition's lock is of another segment");
    /*
     * Whether the lock has been unlinked is for build() to check: here the segment may not even be
     * mapped.
     */
    if (options->lock && segment && shki_segment_is_closed(segment))
        return shki_stale(&options->lock->object);
    return shki_check_reserved(options->reserved, 8);
}

int shk_cond_open(struct shk_segment *segment, const char *name, unsigned flags,
                  const struct shk_cond_options *options, struct shk_cond **out)
{
    const struct shki_plan plan = {.kind = &shki_cond_kind, .options = options};
    struct shk_cond *c;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = options ? check_options(segment, options) : 0;
    if (r < 0)
        return r;
    c = shki_handle_open(segment, name, flags, &plan, sizeof(*c), &r);
    if (c == NULL)
        return r == SHKI_REMOTE ? segment->remote->cond->open(segment, name, flags, options, out)
                                : r;
    r = open_lock(c);
    if (r < 0) {
        shki_waitlist_close(&c->line);
        shki_handle_close(&c->object);
        return r;
    }
    *out = c;
    return 0;
}

int shk_cond_close(struct shk_cond *c)
{
    if (c == NULL)
        return 0;
    if (c->object.segment->remote)
        return c->object.segment->remote->cond->close(c);
    if (c->own_lock && c->object.segment->base &&
        shki_lock_is_mine(&c->lock, shki_member_find(c->object.segment)))
        return shki_fail(-EBUSY, "%s/%s: the calling thread holds the condition's lock",
                         c->object.segment->name, c->object.name);
    shki_waitlist_close(&c->line);
    if (!c->own_lock)
        shki_object_close(&c->lock.object);
    shki_handle_close(&c->object);
    return 0;
}

int shk_cond_acquire(struct shk_cond *c, int64_t timeout)
{
    return c ? shk_lock_acquire(&c->lock, timeout) : SHKI_NO_HANDLE;
}

int shk_cond_release(struct shk_cond *c)
{
    return c ? shk_lock_release(&c->lock) : SHKI_NO_HANDLE;
}

int shk_cond_stamp(struct shk_cond *c)
{
    return c ? shk_lock_stamp(&c->lock) : SHKI_NO_HANDLE;
}

/*
 * The first line of wait and notify: the caller must hold the lock. -ESTALE comes after -EPERM,
 * since a holder must know that it has to release the lock.
 */
static int enter(struct shk_cond *c, struct shki_member **m)
{
    if (c == NULL)
        return SHKI_NO_HANDLE;
    *m = shki_member_find(c->object.segment); /* not NULL: the segment is mapped */
    if (unlikely(!shki_lock_is_mine(&c->lock, *m)))
        return shki_lock_refuse(&c->lock);
    return unlikely(shki_object_is_stale(&c->object)) ? shki_stale(&c->object) : 0;
}

static int wait_robust(struct shk_cond *c, struct shki_member *m,
                       const struct shki_deadline *deadline)
{
    uint32_t again;
    int r = shki_waitlist_lock(&c->line), orphaned;

    if (r < 0)
        return r;
    /* Before the lock is given up: a notifier holds the lock, so it finds this waiter. */
    shki_waitlist_enter(&c->line, m);
    shki_waitlist_unlock(&c->line);
    again = shki_lock_release_all(&c->lock, m);
    shki_object_sleeps(&c->object, m, SHK_WAITS_FOR_NOTIFY, shki_waits_how(deadline));
    r = shki_waitlist_sleep(&c->line, m, deadline);
    shki_member_is_awake();
    orphaned = shki_lock_reacquire(&c->lock, m, again);
    /* With the lock: killed while it waits for that, its wake-up is forwarded. */
    if (r == 0)
        shki_waitlist_resume(m);
    m->notified = r == 0;
    return orphaned ? orphaned : r;
}

static int sleep_native(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
#ifdef HAVE_PTHREAD_COND_CLOCKWAIT
    return pthread_cond_clockwait(c, m, CLOCK_MONOTONIC, until);
#else
    return pthread_cond_timedwait(c, m, until); /* by the clock that build_native() gave it */
#endif
}

/*
 * A native wait, a recheck interval at a time, so that it can be interrupted.
 *
 * A waiter whose interval ends while a notifier holds the mutex is none of those that
 * pthread_cond_signal() finds. So it checks whether there has been a notification meanwhile, and
 * takes that for its own: a wake-up too many does less harm than one too few.
 *
 * A program that calls pthread_cond_signal() itself does not count its notifications. Where there
 * may be such a program (native_shown), the end of each interval ends the wait.
 */
static int wait_native(struct shk_cond *c, struct shki_member *m,
                       const struct shki_deadline *deadline)
{
    struct shki_cond_shared *shared = c->shared;
    struct shki_mutex *mutex = &c->lock.shared->mutex;
    uint32_t again = load_relaxed(&mutex->state);
    uint32_t notifies = load_relaxed(&shared->native_notifies);
    bool ends = false, woken;
    unsigned rechecks = 0;
    struct timespec until;
    int r, why = 0;

    shki_unpark_released(m); /* by another condition with the same lock */
    fetch_add_relaxed(&shared->native_waiters, 1);
    shki_object_sleeps(&c->object, m, SHK_WAITS_FOR_NOTIFY, shki_waits_how(deadline));
    do {
        until = shki_deadline_recheck_at(
            deadline, shki_recheck_interval(deadline, rechecks++, SHKI_DOUBLINGS));
        store_relaxed(&mutex->state, 0);
        store_relaxed(&mutex->holder, 0);
        shki_mutex_count_release(mutex);
        r = sleep_native(&shared->native, &mutex->robust, &until);
        if (r == EOWNERDEAD)
            r = shki_mutex_recover(mutex);
        store_relaxed(&mutex->holder, m->id);
        if (r == ETIMEDOUT) {
            shki_deadline_slept(deadline);
            shki_segment_is_lost(c->object.segment); /* it is stale then */
        }
        /*
         * Relaxed: the mutex orders them. A native notifier comes after the store of native_shown.
         */
        m->notified = r == 0 || load_relaxed(&shared->native_notifies) != notifies;
        woken = r != ETIMEDOUT || m->notified;
        if (!woken)
            ends = shki_object_is_stale(&c->object) || shki_deadline_has_passed(deadline);
    } while (!woken && !ends && !load_relaxed(&shared->native_shown));
    if (ends)
        why = shki_object_is_stale(&c->object) ? shki_stale(&c->object)
                                               : shki_deadline_check(deadline);
    shki_member_is_awake();
    fetch_sub_relaxed(&shared->native_waiters, 1);
    r = shki_lock_settle(&c->lock, m, r == 1);
    store_relaxed(&mutex->state, again);
    return r ? r : why;
}

int shk_cond_wait(struct shk_cond *c, int64_t timeout)
{
    struct shki_member *m;
    struct shki_deadline deadline;
    int r = enter(c, &m);

    if (r < 0)
        return SHKI_ELSEWHERE(r, c, cond, wait, (c, timeout));
    m->waited_on = c->object.serial;
    m->notified = false;
    deadline = shki_object_deadline(&c->object, timeout, "the condition was not notified");
    r = shki_deadline_check(&deadline);
    if (r < 0)
        return r;
    return c->native ? wait_native(c, m, &deadline) : wait_robust(c, m, &deadline);
}

int shk_cond_was_notified(struct shk_cond *c)
{
    const struct shki_member *m;

    if (c == NULL)
        return SHKI_NO_HANDLE;
    /* the thread's own memory: the object may have been unlinked */
    m = shki_member_find(c->object.segment);
    if (unlikely(m == NULL) && c->object.segment->remote)
        return c->object.segment->remote->cond->was_notified(c);
    return m && m->waited_on == c->object.serial && m->notified;
}

static __attribute__((noinline)) int notify_native(struct shk_cond *c, unsigned n)
{
    struct shki_cond_shared *shared = c->shared;
    uint32_t waiters = load_relaxed(&shared->native_waiters);

    if (n == 0)
        return 0;
    /*
     * Killed before: no waiter is notified. Killed after: all are, at the end of their recheck
     * interval.
     */
    store_relaxed(&shared->native_notifies, load_relaxed(&shared->native_notifies) + 1);
    if (n >= THREADS_MAX)
        pthread_cond_broadcast(&shared->native);
    for (unsigned i = 0; n < THREADS_MAX && i < n; i++)
        pthread_cond_signal(&shared->native);
    return (int)(n < waiters ? n : waiters);
}

static int notify_robust(struct shk_cond *c, struct shki_member *m, unsigned n)
{
    int r = shki_waitlist_lock(&c->line);

    if (r < 0)
        return r;
    r = (int)(n == UINT32_MAX ? shki_waitlist_notify_all(&c->line, SHKI_GO)
                              : shki_waitlist_notify(&c->line, n));
    shki_waitlist_unlock_quietly(&c->line, m);
    return r;
}

/* Without the waitlist's mutex: a waiter enters with the lock held, which the caller holds. */
static bool has_no_waiter(const struct shk_cond *c)
{
    return !c->native && shki_waitlist_is_empty(&c->line);
}

static __attribute__((noinline)) int notify_slow(struct shk_cond *c, unsigned n)
{
    struct shki_member *m;
    int r = enter(c, &m);

    if (r < 0)
        return SHKI_ELSEWHERE(r, c, cond, notify, (c, n));
    if (c->native)
        return notify_native(c, n);
    return shki_waitlist_is_empty(&c->line) ? 0 : notify_robust(c, m, n);
}

int shk_cond_notify(struct shk_cond *c, unsigned n)
{
    /* The usual end, without a call. A holder need not check whether the segment is closed. */
    if (c && shki_lock_is_mine(&c->lock, shki_member_cached(c->object.segment)) &&
        !shki_object_is_stale(&c->object) && has_no_waiter(c))
        return 0;
    return notify_slow(c, n);
}

int shk_cond_notify_all(struct shk_cond *c)
{
    return shk_cond_notify(c, UINT32_MAX);
}

int shk_cond_native(struct shk_cond *c, pthread_cond_t **cond, pthread_mutex_t **mutex)
{
    struct shki_member *m;
    int r = c ? shki_enter(&c->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, c, cond, native, (c, cond, mutex));
    if (!c->native)
        return shki_object_say(&c->object, -ENOTSUP,
                               "the condition is of the robust kind: it has no pthread_cond_t");
    /*
     * Before a program can notify by them. Waits that begin later see it; those that have begun see
     * it at the end of their recheck interval.
     */
    store_relaxed(&c->shared->native_shown, 1);
    if (cond)
        *cond = &c->shared->native;
    if (mutex)
        *mutex = &c->lock.shared->mutex.robust;
    return 0;
}

static void wake_at_unlink(struct shki_object *o)
{
    shki_lock_unlinked(&((struct shki_cond_shared *)(void *)o->shared)->lock);
}

static uint64_t owner(const struct shki_image *image, const struct shki_entry *e, uint64_t waiter,
                      unsigned n)
{
    (void)waiter;
    return n == 0 ? shki_lock_owner(image, e, offsetof(struct shki_cond_shared, lock)) : 0;
}

/* The lock that was given to the condition, as it is now, and its name. */
static bool read_given_lock(const struct shki_image *image, const struct shki_cond_shared *cond,
                            struct shki_lock_shared *lock, struct shki_entry *e)
{
    return shki_image_entry(image, cond->lock_entry, e) && e->serial == cond->lock_serial &&
           shki_image_has(image, e, sizeof(*lock)) &&
           shki_image_read(image, e->offset, lock, sizeof(*lock));
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_cond_shared *cond = shared;
    bool own_lock = cond->lock_serial == 0;
    struct shk_object_info of_lock = {0};
    struct shki_lock_shared lock;
    struct shki_entry given;

    if (own_lock) {
        shki_lock_describe(&cond->lock, &of_lock);
    } else if (read_given_lock(image, cond, &lock, &given)) {
        shki_lock_describe(&lock, &of_lock);
        shki_copy_label(info->as.cond.lock, sizeof(info->as.cond.lock), given.name,
                        sizeof(given.name));
    }
    info->as.cond.kind = cond->kind;
    info->as.cond.own_lock = own_lock;
    info->as.cond.recursive = of_lock.as.lock.recursive;
    info->as.cond.depth = of_lock.as.lock.depth;
    info->as.cond.orphaned = of_lock.as.lock.orphaned;
    if (own_lock) { /* the holder of a given lock is shown with that lock */
        info->holder = of_lock.holder;
        info->holders_lost = load_relaxed(&cond->lock.repairs.holders_lost);
        info->held = shki_lock_held_for(image, &cond->lock.mutex, info->holder, e->serial);
    }
}

const struct shki_kind shki_cond_kind = {
    .number = SHK_KIND_COND,
    .name = "a condition",
    .size = sizeof(struct shki_cond_shared),
    .mutex_offset = {offsetof(struct shki_cond_shared, waiters),
                     offsetof(struct shki_cond_shared, lock.mutex)},
    .remote = offsetof(struct shki_remote, cond),
    .build = build,
    .check = check,
    .waitlist = {.offset = offsetof(struct shki_cond_shared, waiters)},
    .wake_at_unlink = wake_at_unlink,
    .owner = owner,
    .describe = describe,
};
