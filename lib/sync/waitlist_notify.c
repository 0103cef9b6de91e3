/* Releasing the waiters of a waitlist: the first ones, or all. With its mutex. */
#include "sync/waitlist_nodes.h"

#include "base/probe.h"
#include "sync/park.h"

/*
 * Before the release. Not stored where it is right already: the owner may be spinning on that line.
 */
static void set_verdict(struct shki_node *n, enum shki_verdict verdict)
{
    /*
     * Relaxed: WL2 or WL3, whose release follows, publishes it. Killed after: the node still waits,
     * and its next release has a verdict of its own.
     */
    if (load_relaxed(&n->verdict) != verdict)
        store_relaxed(&n->verdict, verdict);
}

enum shki_verdict shki_waitlist_verdict(const struct shki_member *m)
{
    /* relaxed: shki_node_is_released(), which was true, has acquired it */
    return load_relaxed(&m->node->verdict);
}

/* When the mutex is free: a waiter that wakes may lock it next, and would sleep again. */
static void unpark_later(struct shki_waitlist *l, uint32_t member_index)
{
    const struct shki_node *n = shki_node_at(l->segment, member_index);

    if (n && load_relaxed(&n->leads) && l->n_leaders < 2)
        l->leaders[l->n_leaders++] = member_index;
    else if (l->n_to_unpark < SHKI_UNPARK_LATER)
        l->to_unpark[l->n_to_unpark++] = member_index;
    else
        shki_unpark(l->segment, member_index);
}

/*
 * Whether the links to and from a node of the list, or the end of the list, are in order. Those of
 * a released node are not, so a walk along damaged links ends. `passed` nodes that wait stay ahead
 * of it; the last of them is `previous`.
 */
static bool is_in_order(const struct shki_waitlist *l, const struct shki_node *previous,
                        uint32_t passed, const struct shki_node *n)
{
    if (n == NULL)
        return load_relaxed(&l->shared->count) <= passed;
    return n->previous == (previous ? shki_link_of(l, previous) : 0) &&
           n->next != shki_link_of(l, n) && load_relaxed(&n->list) == l->offset &&
           !shki_node_is_released(l, n);
}

/* A dead waiter, which is unlinked, leaves the list. */
static void drop(struct shki_waitlist *l, struct shki_node *node)
{
    store_relaxed(&node->list, 0);
    shki_waitlist_lower_count(l);
    SHKI_PROBE2(repair, "dead waiter taken out", l->repairs);
    shki_count_repair(&l->repairs->waiters_buried);
}

/* A waiter, which is unlinked, is released. */
static void notify(struct shki_waitlist *l, struct shki_node *node, uint64_t notify_bound,
                   int64_t now)
{
    store_relaxed(&node->notified_at, now);
    store_relaxed(&node->notify_bound, notify_bound);
    set_verdict(node, SHKI_GO);
    /*
     * WL2: commits. Killed before: rebuilt as waiting. Killed after: the waiter sees it at the end
     * of its recheck interval, or is unparked by the rebuild.
     */
    store_release(&node->state, SHKI_NODE_NOTIFIED);
    shki_waitlist_lower_count(l);
    unpark_later(l, shki_member_index(load_relaxed(&node->owner)));
}

unsigned shki_waitlist_release_first(struct shki_waitlist *l, unsigned n, uint64_t notify_bound)
{
    struct shki_node *node = NULL, *previous = NULL, *next = shki_first_node(l);
    int64_t now = l->takes_back && next ? shki_now() : 0;
    uint32_t passed = 0, wants;
    unsigned woken = 0;
    bool rebuilt = false;

    while (woken < n) {
        node = next;
        if (!is_in_order(l, previous, passed, node)) { /* damaged bytes */
            if (rebuilt || !shki_repair_enabled(SHKI_REPAIR_REBUILD))
                break;
            shki_waitlist_rebuild(l);
            rebuilt = true;
            previous = NULL;
            passed = 0;
            next = shki_first_node(l);
            continue;
        }
        if (node == NULL || shki_node_ticket(node) >= notify_bound)
            break;
        next = shki_node_of_link(l, node->next);
        if (shki_node_is_dead(l, node)) {
            shki_node_unlink(l, node);
            drop(l, node);
            continue;
        }
        if (load_relaxed(&node->taken_back)) {
            previous = node;
            passed++;
            continue;
        }
        wants = shki_node_wants(node);
        if (wants > n - woken) /* first come, first served: those behind it wait, too */
            break;
        shki_node_unlink(l, node);
        notify(l, node, notify_bound, now);
        woken += wants;
    }
    return woken;
}

unsigned shki_waitlist_notify(struct shki_waitlist *l, unsigned n)
{
    return shki_waitlist_release_first(l, n, load_relaxed(&l->shared->next_ticket));
}

uint32_t shki_waitlist_next_wants(const struct shki_waitlist *l)
{
    const struct shki_node *node = shki_first_node(l);

    /* The bound is for damaged links. */
    for (uint32_t i = 0; node && i < l->segment->max_members;
         i++, node = shki_node_of_link(l, node->next))
        if (!load_relaxed(&node->taken_back))
            return shki_node_wants(node);
    return 0;
}

unsigned shki_waitlist_notify_all(struct shki_waitlist *l, enum shki_verdict verdict)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *node = shki_first_node(l);
    uint32_t n = 0;
    unsigned living = 0;

    /*
     * Their numbers first: once released, a node may be linked into another list. The bound is for
     * damaged links.
     */
    for (; node && n < l->segment->max_members; node = shki_node_of_link(l, node->next)) {
        set_verdict(node, verdict);
        l->order[n++] = shki_link_of(l, node) - 1;
    }
    store_relaxed(&w->first, 0);
    store_relaxed(&w->last, 0);
    /*
     * WL3: commits, for all of them at once. Killed before: rebuilt as waiting. Killed after: each
     * sees it at the end of its recheck interval, or is unparked by the rebuild.
     */
    store_release(&w->released, load_relaxed(&w->next_ticket));
    shki_waitlist_set_lower_count(l, 0);
    for (uint32_t i = 0; i < n; i++) {
        const struct shki_member_shared *m = shki_record_at(l->segment, l->order[i]);

        living += shki_robust_is_held(&m->life);
        unpark_later(l, l->order[i]);
    }
    return living;
}
