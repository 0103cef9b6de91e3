/*
 * A semaphore: permits under the mutex of a waitlist.
 *
 *     acquire of n permits                         release of n permits
 *     lock the waitlist                            lock the waitlist
 *     n <= free? SM1: value -= n                   SM1: value += n
 *     else enter; unlock; sleep until notified     promise: notify the first waiters, as many as
 *       lock; resume; promised -= n;                 there are permits for; promised += their n
 *       SM1: value -= n                            unlock; PW4, PW5: watchers
 *     unlock
 *
 * A notify does not hand permits over, it promises them: until its waiter has resumed, they are
 * still in `value`, and no other thread may take them. So a waiter that dies on its way loses
 * nothing: recovery counts the promises anew, and promises the permits to the next waiters. With
 * the permits taken from `value` by the notifier, they would be lost with the waiter.
 *
 * First come, first served: if there are fewer permits than the first waiter wants, they are
 * withheld for it. Else it would wait for ever where others acquire one permit after another. The
 * free permits are those that are neither promised nor withheld.
 *
 * `value`, `promised` and `withheld` are written with the mutex, which orders them. They are read
 * without it as a hint.
 *
 * With owners the processes' holdings are the truth, and `value` follows from them: holdings.h.
 *
 * The model: tests/model/semaphore.pml.
 */
#include "object/semaphore.h"

#include "object/remote.h"
#include "object/watch.h"

#include <shmkit/inspect.h>

static struct shki_semaphore_shared *semaphore_of(const struct shki_waitlist *l)
{
    return (void *)((char *)l->shared - offsetof(struct shki_semaphore_shared, waiters));
}

static struct shki_holdings holdings_of(const struct shki_waitlist *l)
{
    struct shki_semaphore_shared *shared = semaphore_of(l);

    return shki_holdings_at(l->segment, shared->owners,
                            l->offset - offsetof(struct shki_semaphore_shared, waiters) +
                                SHKI_HOLDINGS_OFFSET);
}

/*
 * With the mutex: promise the permits that are not promised yet to the waiters that came first, and
 * withhold what is too little for the next one.
 */
static void promise(struct shki_semaphore_shared *shared, struct shki_waitlist *l)
{
    uint32_t value = load_relaxed(&shared->value), promised = load_relaxed(&shared->promised),
             withheld = 0;

    /* Killed in here: recovery counts anew and goes on. */
    if (value > promised && !shki_waitlist_is_empty(l)) {
        promised += shki_waitlist_notify(l, value - promised);
        store_relaxed(&shared->promised, promised);
        if (value > promised && shki_waitlist_next_wants(l) != 0)
            withheld = value - promised;
    }
    if (load_relaxed(&shared->withheld) != withheld)
        store_relaxed(&shared->withheld, withheld);
}

/* PW4, PW5: permits have become free. */
static void wake_watchers(struct shk_segment *s, struct shki_semaphore_shared *shared)
{
    atomic_thread_fence(memory_order_seq_cst); /* PW4 */
    shki_watched_wake(s, &shared->watched);
}

/* With the mutex: what is in `value` follows from what the processes hold, the dead nothing. */
static void settle_holdings(struct shki_waitlist *l)
{
    struct shki_semaphore_shared *shared = semaphore_of(l);
    const struct shki_holdings holdings = holdings_of(l);
    uint64_t held;
    uint32_t value;

    if (holdings.shared == NULL)
        return;
    held = shki_holdings_settle(&holdings);
    value = held < shared->max ? shared->max - (uint32_t)held : 0;
    if (load_relaxed(&shared->value) == value)
        return;
    store_relaxed(&shared->value, value); /* SM1 */
    wake_watchers(l->segment, shared);
}

void shki_semaphore_recover(struct shki_waitlist *l)
{
    struct shki_semaphore_shared *shared = semaphore_of(l);

    settle_holdings(l);
    store_relaxed(&shared->promised, shki_waitlist_notified(l));
    promise(shared, l);
}

bool shki_semaphore_is_due(const struct shki_waitlist *l)
{
    const struct shki_holdings holdings = holdings_of(l);

    return shki_holdings_are_due(&holdings);
}

/* With the mutex, n permits are there: take them. */
static void take(struct shk_semaphore *s, const struct shki_member *m, uint32_t n)
{
    if (s->holdings.shared)
        shki_holdings_take(&s->holdings, m->id, n); /* SM2: commits; killed after: come back */
    /* SM1: commits. Killed before: they are there. Killed after: they went with the dead. */
    store_relaxed(&s->shared->value, load_relaxed(&s->shared->value) - n);
}

uint32_t shki_semaphore_free(const struct shk_semaphore *s)
{
    uint32_t value = load_relaxed(&s->shared->value),
             kept = load_relaxed(&s->shared->promised) + load_relaxed(&s->shared->withheld);

    return value > kept ? value - kept : 0;
}

/* With the mutex: take n permits that are free, or none. */
static bool take_free(struct shk_semaphore *s, const struct shki_member *m, uint32_t n)
{
    if (shki_semaphore_free(s) < n)
        return false;
    take(s, m, n);
    return true;
}

/*
 * With the mutex, having been notified: take the permits that were promised. False: they are not
 * there any more, after deaths in between.
 */
static bool take_promised(struct shk_semaphore *s, struct shki_member *m, uint32_t n)
{
    uint32_t promised = load_relaxed(&s->shared->promised);

    /* Killed after this: the promise is void, and recovery promises the permits to the next. */
    shki_waitlist_resume(m);
    store_relaxed(&s->shared->promised, promised > n ? promised - n : 0);
    if (load_relaxed(&s->shared->value) < n)
        return false;
    take(s, m, n);
    return true;
}

/* With the mutex: enter the waitlist; what is there and not promised is withheld then. */
static void enter(struct shk_semaphore *s, struct shki_member *m, uint32_t n)
{
    shki_waitlist_enter_for(&s->line, m, n);
    promise(s->shared, &s->line);
}

static int wait_for_permits(struct shk_semaphore *s, struct shki_member *m, uint32_t n,
                            const struct shki_deadline *deadline)
{
    bool taken = false;
    int r;

    /* with the mutex */
    enter(s, m, n);
    for (;;) {
        shki_waitlist_unlock(&s->line);
        shki_object_sleeps(&s->object, m, SHK_WAITS_FOR_PERMIT, shki_waits_how(deadline));
        r = shki_waitlist_sleep(&s->line, m, deadline);
        shki_member_is_awake();
        if (r < 0) {
            if (n > 1) /* it has left, and what was withheld for it is free */
                wake_watchers(s->object.segment, s->shared);
            return r;
        }
        r = shki_waitlist_lock_again(&s->line); /* permits that were promised must be taken */
        if (r < 0) {
            shki_waitlist_resume(m);
            return r;
        }
        if (shki_waitlist_was_taken_back(&s->line, m))
            continue;
        taken = take_promised(s, m, n);
        if (taken || shki_object_is_stale(&s->object))
            break;
        enter(s, m, n);
    }
    shki_waitlist_unlock(&s->line);
    return taken ? 0 : shki_stale(&s->object);
}

/*
 * With the mutex, by a caller that would have to wait: permits may be promised to a dead waiter or
 * to a stopped one, or be withheld for it, or held by a process that is over.
 */
static void recover_dead(struct shk_semaphore *s)
{
    if (load_relaxed(&s->shared->value) > 0) {
        shki_waitlist_take_back(&s->line);
        shki_waitlist_reap(&s->line);
    }
    if (shki_holdings_are_due(&s->holdings))
        shki_semaphore_recover(&s->line);
}

/* The same, by a caller that would have to give up: the kernel has not marked all deaths. */
static void recover_unmarked(struct shk_semaphore *s)
{
    if (!s->holdings.shared && load_relaxed(&s->shared->value) == 0)
        return;
    shki_waitlist_recover(&s->line);
    shki_holdings_recover(&s->holdings);
    recover_dead(s);
}

/* With the mutex: take n, after repairs if need be: 0; 1: to be waited for; -errno. */
static int try(struct shk_semaphore *s, const struct shki_member *m, uint32_t n,
               struct shki_deadline *deadline, int64_t timeout)
{
    int r;

    recover_dead(s);
    if (take_free(s, m, n))
        return 0;
    *deadline = shki_object_deadline(&s->object, timeout,
                                     n == 1 ? "no permit is free" : "not so many permits are free");
    if (shki_deadline_has_passed(deadline)) {
        recover_unmarked(s);
        if (take_free(s, m, n))
            return 0;
    }
    r = shki_deadline_check(deadline);
    return r < 0 ? r : 1;
}

/* With owners, with the mutex: whether the process can hold permits. 0, -EUSERS. */
static int check_holding(struct shk_semaphore *s)
{
    int mine = shki_holdings_mine(&s->holdings);

    /* a former process's permits in the same row come back before this one's are noted there */
    if (mine == 0 && shki_holdings_are_due(&s->holdings))
        shki_semaphore_recover(&s->line);
    return mine < 0 ? mine : 0;
}

static int acquire(struct shk_semaphore *s, uint32_t n, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, s, semaphore, acquire_many, (s, n, timeout));
    if (n == 0 || n > s->max)
        return shki_fail(-EINVAL, "%s/%s has at most %u permits, and %u cannot be acquired",
                         s->object.segment->name, s->object.name, s->max, n);
    r = shki_waitlist_lock(&s->line);
    if (r < 0)
        return r;
    if (s->holdings.shared)
        r = check_holding(s);
    if (r == 0 && !take_free(s, m, n))
        r = try(s, m, n, &deadline, timeout);
    if (r == 1)
        return wait_for_permits(s, m, n, &deadline);
    shki_waitlist_unlock(&s->line);
    return r;
}

int shk_semaphore_acquire(struct shk_semaphore *s, int64_t timeout)
{
    return acquire(s, 1, timeout);
}

int shk_semaphore_acquire_many(struct shk_semaphore *s, unsigned n, int64_t timeout)
{
    return acquire(s, n, timeout);
}

/* With the mutex: whether n permits can be given: 0, -EOVERFLOW, -EPERM. */
static int check_release(const struct shk_semaphore *s, uint32_t n)
{
    uint32_t value = load_relaxed(&s->shared->value);
    int mine = s->holdings.shared ? shki_holdings_mine(&s->holdings) : 0;

    if (mine < 0)
        return mine;
    if (s->holdings.shared && n > (uint32_t)mine)
        return shki_fail(-EPERM, "%s/%s: this process holds %d permit%s, and cannot release %u",
                         s->object.segment->name, s->object.name, mine, mine == 1 ? "" : "s", n);
    if (n > s->max || value > s->max - n)
        return shki_fail(-EOVERFLOW, "%s/%s has at most %u permits", s->object.segment->name,
                         s->object.name, s->max);
    return 0;
}

int shk_semaphore_release(struct shk_semaphore *s, unsigned n)
{
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, s, semaphore, release, (s, n));
    if (n == 0)
        return shki_say(-EINVAL, "the number of permits is 0");
    r = shki_waitlist_lock(&s->line);
    if (r < 0)
        return r;
    r = check_release(s, n);
    if (r == 0) {
        if (s->holdings.shared)
            shki_holdings_give(&s->holdings, n); /* SM2: commits */
        /* SM1: commits. Killed after: recovery promises them. */
        store_relaxed(&s->shared->value, load_relaxed(&s->shared->value) + n);
        promise(s->shared, &s->line);
    }
    shki_waitlist_unlock(&s->line);
    if (r == 0)
        wake_watchers(s->object.segment, s->shared);
    return r;
}

int shk_semaphore_held(struct shk_semaphore *s)
{
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, s, semaphore, held, (s));
    return s->holdings.shared
               ? shki_holdings_mine(&s->holdings)
               : shki_object_say(&s->object, -ENOTSUP, "the semaphore has no owners");
}

int shk_semaphore_value(struct shk_semaphore *s)
{
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, s, semaphore, value, (s))
                 : (int)(load_relaxed(&s->shared->value) & SHKI_PERMITS_MAX);
}

void shki_semaphore_repair(struct shk_semaphore *s)
{
    if (shki_semaphore_free(s) > 0 ||
        (!s->holdings.shared && load_relaxed(&s->shared->value) == 0) ||
        shki_waitlist_lock(&s->line) < 0)
        return;
    recover_unmarked(s);
    shki_waitlist_unlock(&s->line);
}
