/*
 * What deaths, and waiters that do not run, leave in a waitlist. With its mutex, unless said
 * otherwise.
 */
#include "sync/waitlist_nodes.h"

#include "base/probe.h"
#include "segment/recover.h"
#include "sync/park.h"

/*
 * A dead waiter's notification goes to one that was waiting when the dead one was notified. Killed
 * after it: forwarded once more, since a wake-up too many is better than one too few.
 */
static void forward(struct shki_waitlist *l, const struct shki_node *dead)
{
    bool was_broadcast = shki_node_ticket(dead) < load_relaxed(&l->shared->released);

    if (!was_broadcast && shki_repair_enabled(SHKI_REPAIR_FORWARD) &&
        shki_waitlist_release_first(l, shki_node_wants(dead), shki_node_notify_bound(dead))) {
        SHKI_PROBE2(repair, "wake-up passed on", l->repairs);
        shki_count_repair(&l->repairs->wakeups_passed_on);
    }
}

static bool is_dead_and_waiting(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !shki_node_is_released(l, n) && shki_node_is_dead(l, n);
}

void shki_waitlist_reap(struct shki_waitlist *l)
{
    bool reaped = false;
    uint32_t n;

    if (l->on_leave && shki_waitlist_collect(l, is_dead_and_waiting))
        l->on_leave(l);
    /* Only a holder of the mutex changes these any more. */
    n = shki_waitlist_collect(l, shki_node_is_dead);
    /* The earlier notification first: a later one may be forwarded to more waiters. */
    shki_waitlist_sort(l, n, shki_node_notify_bound);
    /* First those that wait, so that nothing is forwarded to a dead one. */
    for (int released = 0; released < 2; released++) {
        for (uint32_t i = 0; i < n; i++) {
            struct shki_node *node = shki_node_at(l->segment, l->order[i]);

            /* the last: damaged bytes */
            if (load_relaxed(&node->list) != l->offset ||
                shki_node_is_released(l, node) != released || !shki_node_is_dead(l, node))
                continue;
            if (released)
                forward(l, node);
            else
                shki_node_unlink(l, node);
            /* killed before this: found again, by the rebuild or the next to reap */
            store_relaxed(&node->list, 0);
            if (!released)
                shki_waitlist_lower_count(l);
            SHKI_PROBE2(repair, "dead waiter taken out", l->repairs);
            shki_count_repair(&l->repairs->waiters_buried);
            reaped = true;
        }
    }
    if (reaped && l->recover)
        l->recover(l);
}

/* ---- Notifications whose waiters do not run ---- */

static bool is_overdue(const struct shki_waitlist *l, const struct shki_node *n)
{
    return shki_node_is_notified(l, n) && shki_now() - load_relaxed(&n->notified_at) > SHKI_RECHECK;
}

void shki_waitlist_take_back(struct shki_waitlist *l)
{
    uint32_t n = l->takes_back ? shki_waitlist_collect(l, is_overdue) : 0;

    for (uint32_t i = 0; i < n; i++) {
        struct shki_node *node = shki_node_at(l->segment, l->order[i]);

        /*
         * Its owner leaves such a list with the mutex only. Killed before the second store:
         * notified as before. Killed after: rebuilt as waiting.
         */
        store_relaxed(&node->taken_back, 1);
        store_relaxed(&node->state, SHKI_NODE_WAITING);
        shki_node_insert(l, node);
        shki_waitlist_raise_count(l);
    }
    if (n > 0 && l->recover)
        l->recover(l);
}

/* Its owner runs again, and can be notified from its old place. */
static void come_back(struct shki_waitlist *l, struct shki_node *mine)
{
    if (load_relaxed(&mine->taken_back) == 0)
        return;
    store_relaxed(&mine->taken_back, 0); /* killed after: dead, as any waiter */
    if (l->recover)
        l->recover(l);
}

bool shki_waitlist_was_taken_back(struct shki_waitlist *l, struct shki_member *m)
{
    if (shki_node_is_released(l, m->node))
        return false;
    come_back(l, m->node);
    return true;
}

uint32_t shki_waitlist_notified(struct shki_waitlist *l)
{
    uint32_t n = shki_waitlist_collect(l, shki_node_is_notified), wanted = 0;

    for (uint32_t i = 0; i < n; i++)
        wanted += shki_node_wants(shki_node_at(l->segment, l->order[i]));
    return wanted;
}

void shki_waitlist_recover(struct shki_waitlist *l)
{
    uint32_t n = shki_waitlist_collect(l, shki_node_is_notified);

    for (uint32_t i = 0; i < n; i++)
        shki_recover_one(l->segment, load_relaxed(&shki_node_at(l->segment, l->order[i])->owner));
}

/* ---- At the end of a recheck interval ---- */

void shki_waitlist_unpark_released(const struct shki_waitlist *l, const struct shki_node *mine)
{
    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        const struct shki_node *n = shki_node_at(l->segment, i);

        if (n != mine && load_relaxed(&n->list) == l->offset && shki_node_is_released(l, n))
            shki_unpark(l->segment, i);
    }
}

bool shki_waitlist_needs_repair(struct shki_waitlist *l, const struct shki_node *mine, bool leads)
{
    const struct shki_node *first = shki_first_node(l);

    if (shki_robust_owner_died(&l->shared->mutex.robust) || first == NULL ||
        shki_waitlist_is_requested(l))
        return true;
    if (load_relaxed(&mine->taken_back))
        return true;
    /* The first waiter checks; if it has not done so for long, being stopped, any other does. */
    if (first != mine && !leads &&
        shki_now() - load_relaxed(&l->shared->checked_at) < 2 * SHKI_RECHECK)
        return shki_node_is_dead(l, first);
    store_relaxed(&l->shared->checked_at, shki_now()); /* a hint, which nothing else depends on */
    if (l->is_due && l->is_due(l))
        return true;
    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        const struct shki_node *n = shki_node_at(l->segment, i);

        if (load_relaxed(&n->list) == l->offset &&
            (shki_node_is_dead(l, n) || (l->takes_back && is_overdue(l, n))))
            return true;
    }
    return false;
}

void shki_waitlist_repair(struct shki_waitlist *l, struct shki_node *mine)
{
    if (shki_first_node(l) == NULL && !shki_node_is_released(l, mine) &&
        shki_repair_enabled(SHKI_REPAIR_REBUILD))
        shki_waitlist_rebuild(l); /* damaged bytes: one waits, the caller */
    come_back(l, mine);
    shki_waitlist_take_back(l);
    shki_waitlist_reap(l);
    if (l->is_due && l->is_due(l))
        l->recover(l);
}
