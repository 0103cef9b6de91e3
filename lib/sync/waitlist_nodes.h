/*
 * The nodes of a waitlist and their links, for the files waitlist*.c alone. All of it is done with
 * the mutex of the list, unless said otherwise; the mutex orders it, so relaxed accesses are
 * enough.
 *
 * The nodes are the truth; links, first, last and count follow from them. A thread that dies
 * between any two stores here leaves the mutex marked, and shki_waitlist_rebuild() makes the rest
 * anew.
 */
#ifndef SHKI_WAITLIST_NODES_H
#define SHKI_WAITLIST_NODES_H

#include "sync/waitlist.h"

static inline struct shki_node *shki_node_of_link(const struct shki_waitlist *l, uint32_t link)
{
    return link ? shki_node_at(l->segment, link - 1) : NULL;
}

static inline uint32_t shki_link_of(const struct shki_waitlist *l, const struct shki_node *n)
{
    return (uint32_t)(n - shki_node_at(l->segment, 0)) + 1;
}

static inline struct shki_node *shki_first_node(const struct shki_waitlist *l)
{
    return shki_node_of_link(l, load_relaxed(&l->shared->first));
}

/* Whether the node has been released. Loads only, without the mutex, too. */
static inline bool shki_node_is_released(const struct shki_waitlist *l, const struct shki_node *n)
{
    /*
     * WL2, WL3: acquire; pair with the releases in notify and notify_all: a waiter that resumes
     * sees what was done before it was released.
     */
    return load_acquire(&n->state) == SHKI_NODE_NOTIFIED ||
           load_relaxed(&n->ticket) < load_acquire(&l->shared->released);
}

/* Whether its owner has died. Loads only, without the mutex, too. */
static inline bool shki_node_is_dead(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !shki_member_is_alive(l->segment, load_relaxed(&n->owner));
}

/* Released by a notification of its own, and not by a broadcast. */
static inline bool shki_node_is_notified(const struct shki_waitlist *l, const struct shki_node *n)
{
    return load_relaxed(&n->state) == SHKI_NODE_NOTIFIED &&
           load_relaxed(&n->ticket) >= load_relaxed(&l->shared->released);
}

static inline uint64_t shki_node_ticket(const struct shki_node *n)
{
    return load_relaxed(&n->ticket);
}

static inline uint64_t shki_node_notify_bound(const struct shki_node *n)
{
    return load_relaxed(&n->notify_bound);
}

/* Never 0: damaged bytes. */
static inline uint32_t shki_node_wants(const struct shki_node *n)
{
    uint32_t wants = load_relaxed(&n->wants);

    return wants ? wants : 1;
}

/* Link at the end; where its ticket belongs; and unlink. */
void shki_node_append(struct shki_waitlist *, struct shki_node *);
void shki_node_insert(struct shki_waitlist *, struct shki_node *);
void shki_node_unlink(struct shki_waitlist *, struct shki_node *);

static inline void shki_waitlist_raise_count(struct shki_waitlist *l)
{
    store_relaxed(&l->shared->count, load_relaxed(&l->shared->count) + 1);
}

/*
 * Release: not before the store that says that a waiter waits no more; see
 * shki_waitlist_is_empty().
 */
static inline void shki_waitlist_set_lower_count(struct shki_waitlist *l, uint32_t count)
{
    store_release(&l->shared->count, count);
}

static inline void shki_waitlist_lower_count(struct shki_waitlist *l)
{
    shki_waitlist_set_lower_count(l, load_relaxed(&l->shared->count) - 1);
}

/* The numbers of all nodes of the list that are wanted, into l->order. Returns how many. */
uint32_t shki_waitlist_collect(struct shki_waitlist *, bool (*want)(const struct shki_waitlist *,
                                                                    const struct shki_node *));

/* Sort the first n numbers in l->order. */
void shki_waitlist_sort(struct shki_waitlist *, uint32_t n,
                        uint64_t (*key)(const struct shki_node *));

/*
 * After a death with the mutex: unpark again all that have been released, since their waker may
 * have died before it did so, and link the others by ticket.
 */
void shki_waitlist_rebuild(struct shki_waitlist *);

static inline void shki_count_repair(_Atomic uint64_t *counter)
{
    fetch_add_relaxed(counter, 1);
}

/*
 * waitlist_notify.c: release the first living that want n together and have lower tickets than the
 * bound.
 */
unsigned shki_waitlist_release_first(struct shki_waitlist *, unsigned n, uint64_t notify_bound);

/*
 * waitlist_repair.c. Whether there is anything to repair for this waiter. Loads only, without the
 * mutex.
 */
bool shki_waitlist_needs_repair(struct shki_waitlist *, const struct shki_node *mine, bool leads);
/* With the mutex: repair it. */
void shki_waitlist_repair(struct shki_waitlist *, struct shki_node *mine);
/*
 * Unpark those that are released and have not left the list. Without the mutex; those that are
 * awake are unparked for nothing.
 */
void shki_waitlist_unpark_released(const struct shki_waitlist *, const struct shki_node *mine);

/* Whether a request has not been answered. Loads only, without the mutex, behind a fence. */
static inline bool shki_waitlist_is_requested(const struct shki_waitlist *l)
{
    return l->takes_requests &&
           load_relaxed(&l->shared->requested) != load_relaxed(&l->shared->answered);
}

#endif
