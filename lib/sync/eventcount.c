#include "sync/eventcount.h"

#include "base/permits.h"
#include "segment/recover.h"
#include "sync/leader.h"
#include "sync/park.h"

/*
 * Commits in a row without a waiter, after which NEED_FENCE is cleared. The next waiter then pays a
 * heavy fence, which costs as much as hundreds of full ones: so it is cleared where at least as
 * many were spared. Bench row W1/8 B: a third fewer items a second if it is never cleared.
 */
#define QUIET_COMMITS 1000u

uint32_t shki_eventcount_wake_one(struct shki_eventcount_shared *e)
{
    /*
     * Ordered by EC1, the caller's fence, or by an acquire after a release of the caller's (LS5).
     * EC2: acquire; pairs with the release in prepare_wait(): the waiter that this
     * wakes sees the sleepers that were counted before it.
     */
    uint32_t were = fetch_and_acquire(&e->flags, SHKI_NEED_FENCE);

    if (were & SHKI_NEED_WAKEUP)
        shki_permits_post(&e->semaphore);
    return were & ~(uint32_t)(SHKI_NEED_WAKEUP | SHKI_NEED_FENCE);
}

static void post(struct shki_eventcount_shared *e, uint32_t first, uint32_t sleepers,
                 uint32_t sleepers_max)
{
    for (uint32_t n = first; n < sleepers && n < sleepers_max; n++)
        shki_permits_post(&e->semaphore);
}

void shki_eventcount_post_all(struct shki_eventcount_shared *e, uint32_t first,
                              uint32_t sleepers_max)
{
    post(e, first, load_relaxed(&e->sleepers), sleepers_max);
}

uint32_t shki_eventcount_wake_all(struct shki_eventcount_shared *e, uint32_t sleepers_max)
{
    uint32_t of_object, sleepers;

    atomic_thread_fence(memory_order_seq_cst); /* EC1 */
    /*
     * Read before the first post: the waiter that this wakes subtracts itself, and the cascade that
     * it starts ends at a condition that has changed back.
     */
    sleepers = load_relaxed(&e->sleepers);
    of_object = shki_eventcount_wake_one(e);
    post(e, 1, sleepers, sleepers_max);
    return of_object;
}

uint32_t shki_eventcount_notify(struct shki_eventcount_shared *e, bool asymmetric,
                                _Atomic uint32_t *quiet_commits, bool (*is_used_up)(void *arg),
                                void *arg)
{
    uint32_t quiet = 0, need_fence = SHKI_NEED_FENCE, flags, of_object = 0;

    if (asymmetric)
        atomic_thread_fence(memory_order_seq_cst); /* EC1: a flag is set */
    flags = load_relaxed(&e->flags);
    if ((flags & ~need_fence) == SHKI_NEED_WAKEUP && is_used_up && is_used_up(arg))
        return 0;
    if (flags != SHKI_NEED_FENCE)
        of_object = shki_eventcount_wake_one(e);
    else
        quiet = load_relaxed(quiet_commits) + 1;
    /*
     * Fails if a waiter has set NEED_WAKEUP meanwhile. One that does so later finds NEED_FENCE
     * clear, and executes a heavy fence.
     */
    if (quiet >= QUIET_COMMITS && shki_policy(SHKI_POLICY_NEED_FENCE))
        /* relaxed: it orders nothing, see above */
        compare_exchange_relaxed(&e->flags, &need_fence, 0);
    store_relaxed(quiet_commits, quiet);
    return of_object;
}

/* EC2 and EC1: after it, the waiter checks its condition. */
static void prepare_wait(struct shki_eventcount_shared *e, bool asymmetric)
{
    /* EC2: release: the count of sleepers before the flag; pairs with the acquire in wake_one() */
    uint32_t were = fetch_or_release(&e->flags, asymmetric ? SHKI_NEED_WAKEUP | SHKI_NEED_FENCE
                                                           : SHKI_NEED_WAKEUP);

    /* EC1: the flags before the check; pairs with the fence of a notifier */
    shki_fence_heavy(asymmetric && !(were & SHKI_NEED_FENCE));
}

int shki_eventcount_wait(struct shki_eventcount_shared *e, struct shk_segment *s,
                         const struct shki_member *m, const struct shki_deadline *deadline,
                         bool (*holds)(const void *arg), void (*recheck)(const void *arg),
                         const void *arg)
{
    struct shki_role role = {s, m, e->leaders, &e->followers, 0, false, false};
    struct timespec until;
    int r = 0;

    fetch_add_relaxed(&e->sleepers, 1); /* EC2: before the flag */
    for (;;) {
        /*
         * The permits first, as in park.h. Here a permit may have been posted for another waiter.
         * That one is not forgotten: NEED_WAKEUP is set below, so the next commit posts again; and
         * this waiter, when its call ends, notifies the next one (cascade).
         */
        shki_take_permits(&e->semaphore);
        prepare_wait(e, s->asymmetric);
        if (holds(arg) || r != 0)
            break;
        until = shki_deadline_recheck_at(deadline, shki_role_interval(&role, deadline));
        if (!shki_sleep_on(&e->semaphore, &until)) {
            role.rechecks++;
            shki_deadline_slept(deadline);
            shki_recover(s);
            if (recheck)
                recheck(arg);
        }
        if (holds(arg))
            break;
        r = shki_deadline_check(deadline);
    }
    fetch_sub_relaxed(&e->sleepers, 1);
    if (shki_role_end(&role))
        /* a waiter takes over; killed before: the other leader rechecks */
        shki_permits_post(&e->semaphore);
    return r;
}

uint32_t shki_eventcount_cascade(struct shki_eventcount_shared *e, bool asymmetric,
                                 bool (*holds)(const void *arg), const void *arg)
{
    /* Relaxed: a waiter that is not counted yet has still to check for itself. */
    if (load_relaxed(&e->sleepers) == 0)
        return 0;
    prepare_wait(e, asymmetric);
    return holds(arg) ? shki_eventcount_wake_one(e) : 0;
}
