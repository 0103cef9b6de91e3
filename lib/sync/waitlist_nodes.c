/* The nodes of a waitlist: their links, and how links are made anew from what the nodes say. */
#include "sync/waitlist_nodes.h"

#include "base/probe.h"
#include "sync/park.h"

void shki_node_append(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *last = shki_node_of_link(l, load_relaxed(&w->last));

    /* killed between any two of these: rebuilt */
    n->next = 0;
    n->previous = load_relaxed(&w->last);
    if (last)
        last->next = shki_link_of(l, n);
    else
        store_relaxed(&w->first, shki_link_of(l, n));
    store_relaxed(&w->last, shki_link_of(l, n));
}

void shki_node_insert(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *before = NULL, *next = shki_first_node(l);

    /* The bound is for damaged links. */
    for (uint32_t i = 0;
         next && shki_node_ticket(next) < shki_node_ticket(n) && i < l->segment->max_members; i++) {
        before = next;
        next = shki_node_of_link(l, next->next);
    }
    /* killed between any two of these: rebuilt */
    n->previous = before ? shki_link_of(l, before) : 0;
    n->next = next ? shki_link_of(l, next) : 0;
    if (before)
        before->next = shki_link_of(l, n);
    else
        store_relaxed(&w->first, shki_link_of(l, n));
    if (next)
        next->previous = shki_link_of(l, n);
    else
        store_relaxed(&w->last, shki_link_of(l, n));
}

void shki_node_unlink(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *previous = shki_node_of_link(l, n->previous),
                     *next = shki_node_of_link(l, n->next);

    /* killed between any two of these: rebuilt */
    if (previous)
        previous->next = n->next;
    else
        store_relaxed(&w->first, n->next);
    if (next)
        next->previous = n->previous;
    else
        store_relaxed(&w->last, n->previous);
}

/*
 * An owner that has been released leaves without the mutex, and may be entering another list. So
 * what was read of a node holds only if the node is in this list after that read, too. (It cannot
 * have come back in between: that needs the mutex.)
 */
uint32_t shki_waitlist_collect(struct shki_waitlist *l,
                               bool (*want)(const struct shki_waitlist *, const struct shki_node *))
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        struct shki_node *node = shki_node_at(l->segment, i);

        /* WL1: acquire; pairs with the release in enter */
        if (load_acquire(&node->list) != l->offset || !want(l, node))
            continue;
        /* WL4: the reads in want() before this read of `list`; pairs with the fence in enter */
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed(&node->list) == l->offset)
            l->order[n++] = i;
    }
    return n;
}

void shki_waitlist_sort(struct shki_waitlist *l, uint32_t n,
                        uint64_t (*key)(const struct shki_node *))
{
    /* Insertion: members join in the order of their records and mostly wait in that order, too. */
    for (uint32_t i = 1; i < n; i++) {
        uint32_t moved = l->order[i], j = i;

        for (; j > 0 && key(shki_node_at(l->segment, l->order[j - 1])) >
                            key(shki_node_at(l->segment, moved));
             j--)
            l->order[j] = l->order[j - 1];
        l->order[j] = moved;
    }
}

static bool is_waiting(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !shki_node_is_released(l, n);
}

static bool is_dead_or_released(const struct shki_waitlist *l, const struct shki_node *n)
{
    return shki_node_is_released(l, n) || shki_node_is_dead(l, n);
}

void shki_waitlist_rebuild(struct shki_waitlist *l)
{
    struct shki_waitlist_shared *w = l->shared;
    uint64_t ticket = load_relaxed(&w->next_ticket);
    uint32_t n;

    n = shki_waitlist_collect(l, is_dead_or_released);
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(l->segment, l->order[i]); /* for nothing, if it is awake already */
    n = shki_waitlist_collect(l, is_waiting);
    shki_waitlist_sort(l, n, shki_node_ticket);
    store_relaxed(&w->count, n); /* by one store: it is read without the mutex */
    store_relaxed(&w->first, 0);
    store_relaxed(&w->last, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct shki_node *node = shki_node_at(l->segment, l->order[i]);

        shki_node_append(l, node);
        if (shki_node_ticket(node) >= ticket) /* killed in enter before next_ticket was raised */
            ticket = shki_node_ticket(node) + 1;
    }
    store_relaxed(&w->next_ticket, ticket);
    SHKI_PROBE2(repair, "waitlist rebuilt", l->repairs);
    shki_count_repair(&l->repairs->rebuilds);
}
