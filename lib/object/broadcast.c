#include "object/broadcast.h"

#include "object/watch.h"
#include "sync/leader.h"
#include "sync/park.h"

uint64_t shki_broadcast_count(struct shki_broadcast_shared *b, uint64_t object)
{
    uint64_t before = load_relaxed(&b->state), after; /* relaxed: the exchange checks it */

    /*
     * EV1: release; committed, and all waiters are released. Killed before: nothing has happened.
     * Killed after: waiters that sleep find out at the end of their recheck interval.
     */
    do
        after = before & object ? before
                                : ((before | object) & ~(uint64_t)SHKI_BROADCAST_NEED_WAKEUP) +
                                      SHKI_BROADCAST_ONCE;
    while (!compare_exchange_weak_release(&b->state, &before, after));
    return before;
}

void shki_broadcast_wake(struct shk_segment *s, struct shki_broadcast_shared *b, uint64_t before)
{
    if (before & SHKI_BROADCAST_NEED_WAKEUP)
        shki_wake_all_at(&b->state);
    atomic_thread_fence(memory_order_seq_cst); /* PW4 */
    shki_watched_wake(s, &b->watched);
}

void shki_broadcast_unlink(struct shki_broadcast_shared *b)
{
    /* Killed before or after: waiters find it stale at the end of their recheck interval. */
    fetch_or_release(&b->state, SHKI_BROADCAST_UNLINKED);
    shki_wake_all_at(&b->state);
}

void shki_broadcast_wake_all(struct shki_broadcast_shared *b)
{
    shki_wake_all_at(&b->state);
}

struct waiting {
    const struct shki_object *object;
    struct shki_broadcast_shared *shared;
    uint64_t since; /* the state when the wait began, without NEED_WAKEUP */
};

static bool was_released(const void *arg)
{
    const struct waiting *w = arg;

    return shki_broadcast_has_come(shki_broadcast_state(w->shared), w->since);
}

/*
 * Sleep for a recheck interval, unless it has come. Returns whether the thread was woken, or need
 * not sleep; false: a signal or the end of the interval has ended the sleep.
 */
static bool sleep_once(const struct waiting *w, const struct shki_deadline *deadline,
                       struct shki_role *role)
{
    const uint64_t asleep = w->since | SHKI_BROADCAST_NEED_WAKEUP;
    uint64_t state = w->since;
    struct timespec until;

    /* Relaxed: was_released() checks with EV1. Killed after: the flag stays. */
    if (!compare_exchange_relaxed(&w->shared->state, &state, asleep) && state != asleep)
        return true;
    until = shki_deadline_recheck_at(deadline, shki_role_interval(role, deadline));
    if (shki_sleep_at(&w->shared->state, asleep, &until))
        return true;
    role->rechecks++;
    shki_deadline_slept(deadline);
    shki_segment_is_lost(w->object->segment); /* it is stale then */
    return false;
}

static int sleep_until_released(const struct waiting *w, const struct shki_deadline *deadline,
                                const struct shki_member *m)
{
    struct shki_broadcast_shared *b = w->shared;
    struct shki_role role = {m->segment, m, b->leaders, &b->followers, 0, false, false};
    bool woken = true, leader_missing;
    int r = 0;

    do {
        bool ends = shki_object_is_stale(w->object) || shki_deadline_has_passed(deadline);

        /*
         * Checked last: a waiter of the moment when it was sent is released, however late it runs
         * and whatever came after.
         */
        if (was_released(w))
            break;
        if (ends)
            r = shki_object_is_stale(w->object) ? shki_stale(w->object)
                                                : shki_deadline_check(deadline);
        if (r == 0)
            woken = sleep_once(w, deadline, &role);
    } while (r == 0);
    leader_missing = shki_role_end(&role);
    /*
     * It was sent, and this waiter was not woken: the sender may have died, so the other waiters
     * are woken. If it was not, one of them has to become the leader.
     */
    if (r == 0 ? !woken : leader_missing)
        shki_wake_all_at(&b->state);
    return r;
}

int shki_broadcast_wait(struct shki_object *o, struct shki_broadcast_shared *b,
                        struct shki_spinner *spinner, const struct shki_member *m,
                        uint32_t waits_for, uint64_t since, const struct shki_deadline *deadline)
{
    const uint64_t flags = SHKI_BROADCAST_NEED_WAKEUP | SHKI_BROADCAST_UNLINKED;
    struct waiting w = {o, b, since & ~flags};
    int r = shki_deadline_check(deadline);

    if (r < 0)
        return r;
    /* Where other waiters sleep, spinning has been in vain for them: no spin then. */
    if (since & SHKI_BROADCAST_NEED_WAKEUP || !shki_spin(spinner, was_released, &w)) {
        shki_object_sleeps(o, m, waits_for, shki_waits_how(deadline));
        r = sleep_until_released(&w, deadline, m);
        shki_member_is_awake();
    }
    return r;
}
