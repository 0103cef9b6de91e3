#include "sync/waitlist.h"

#include "base/error.h"
#include "base/name.h"
#include "segment/recover.h"
#include "sync/leader.h"
#include "sync/park.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* the mutex is held for microseconds; who has it longer is stopped */
#define LOCK_LIMIT SHK_SEC(10)

/* Under the mutex, which orders them, relaxed accesses are enough; `get` and `set` are those. */

int shki_waitlist_init(struct shki_waitlist_shared *w)
{
    store_relaxed(&w->next_ticket, 1);
    return shki_robust_init(&w->mutex.robust);
}

int shki_waitlist_open(struct shki_waitlist *l)
{
    l->order = calloc(l->segment->max_members, sizeof(*l->order));
    return l->order ? 0 : shki_say(-ENOMEM, "out of memory");
}

void shki_waitlist_close(struct shki_waitlist *l)
{
    free(l->order);
    l->order = NULL;
}

static void count_repair(_Atomic uint64_t *counter)
{
    fetch_add_relaxed(counter, 1);
}

static struct shki_node *node_of_link(const struct shki_waitlist *l, uint32_t link)
{
    return link ? shki_node_at(l->segment, link - 1) : NULL;
}

static uint32_t link_of(const struct shki_waitlist *l, const struct shki_node *n)
{
    return (uint32_t)(n - shki_node_at(l->segment, 0)) + 1;
}

static bool is_released(const struct shki_waitlist *l, const struct shki_node *n)
{
    /*
     * L2, L3: acquire; pair with the releases in notify and notify_all: who resumes sees what was
     * done before it was released.
     */
    return load_acquire(&n->state) == SHKI_NODE_NOTIFIED ||
           load_relaxed(&n->ticket) < load_acquire(&l->shared->released);
}

static bool is_dead(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !shki_member_is_alive(l->segment, load_relaxed(&n->owner));
}

/*
 * With the mutex, before the release. Not stored where it is right already: the owner may be
 * spinning on that line.
 */
static void set_verdict(struct shki_node *n, enum shki_verdict verdict)
{
    /*
     * Relaxed: L2 or L3, whose release follows, publishes it. Killed after: the node still waits,
     * and its next release has a verdict of its own.
     */
    if (load_relaxed(&n->verdict) != verdict)
        store_relaxed(&n->verdict, verdict);
}

enum shki_verdict shki_waitlist_verdict(const struct shki_member *m)
{
    /* relaxed: is_released(), which was true, has acquired it */
    return load_relaxed(&m->node->verdict);
}

static void append(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *last = node_of_link(l, load_relaxed(&w->last));

    /* killed between any two of these: rebuilt */
    n->next = 0;
    n->previous = load_relaxed(&w->last);
    if (last)
        last->next = link_of(l, n);
    else
        store_relaxed(&w->first, link_of(l, n));
    store_relaxed(&w->last, link_of(l, n));
}

/* Where its ticket belongs. The bound is for damaged links. */
static void insert(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *before = NULL, *next = node_of_link(l, load_relaxed(&w->first));

    for (uint32_t i = 0; next && load_relaxed(&next->ticket) < load_relaxed(&n->ticket) &&
                         i < l->segment->max_members;
         i++) {
        before = next;
        next = node_of_link(l, next->next);
    }
    /* killed between any two of these: rebuilt */
    n->previous = before ? link_of(l, before) : 0;
    n->next = next ? link_of(l, next) : 0;
    if (before)
        before->next = link_of(l, n);
    else
        store_relaxed(&w->first, link_of(l, n));
    if (next)
        next->previous = link_of(l, n);
    else
        store_relaxed(&w->last, link_of(l, n));
}

static void unlink_node(struct shki_waitlist *l, struct shki_node *n)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *previous = node_of_link(l, n->previous), *next = node_of_link(l, n->next);

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
 * Release: not before the store that tells that somebody waits no more; see
 * shki_waitlist_is_empty().
 */
static void set_lower_count(struct shki_waitlist *l, uint32_t count)
{
    store_release(&l->shared->count, count);
}

static void lower_count(struct shki_waitlist *l)
{
    set_lower_count(l, load_relaxed(&l->shared->count) - 1);
}

/*
 * All nodes that are in this list, into l->order. An owner that has been released leaves without
 * the mutex, and may be entering another list: what was read of such a node holds only if it still
 * is in this one afterwards. (It cannot have come back, for that needs the mutex.)
 */
static uint32_t collect(struct shki_waitlist *l,
                        bool (*want)(const struct shki_waitlist *, const struct shki_node *))
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        struct shki_node *node = shki_node_at(l->segment, i);

        /* L1: acquire; pairs with the release in enter. */
        if (load_acquire(&node->list) != l->offset || !want(l, node))
            continue;
        /* L4: reads in want() before this read of `list`; pairs with the fence in enter */
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed(&node->list) == l->offset)
            l->order[n++] = i;
    }
    return n;
}

static bool is_waiting(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !is_released(l, n);
}

static bool is_dead_or_released(const struct shki_waitlist *l, const struct shki_node *n)
{
    return is_released(l, n) || is_dead(l, n);
}

static uint64_t ticket_of(const struct shki_node *n)
{
    return load_relaxed(&n->ticket);
}

static uint64_t notify_bound(const struct shki_node *n)
{
    return load_relaxed(&n->notify_bound);
}

static void sort(struct shki_waitlist *l, uint32_t n, uint64_t (*key)(const struct shki_node *))
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

/*
 * Somebody died with the mutex. Wake again whoever was released but perhaps not woken, link the
 * others by ticket.
 */
static void rebuild(struct shki_waitlist *l)
{
    struct shki_waitlist_shared *w = l->shared;
    uint64_t ticket = load_relaxed(&w->next_ticket);
    uint32_t n;

    n = collect(l, is_dead_or_released);
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(l->segment, l->order[i]); /* for nothing, if it is awake already */
    n = collect(l, is_waiting);
    sort(l, n, ticket_of);
    store_relaxed(&w->count, n); /* at once: it is read without the mutex */
    store_relaxed(&w->first, 0);
    store_relaxed(&w->last, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct shki_node *node = shki_node_at(l->segment, l->order[i]);

        append(l, node);
        if (load_relaxed(&node->ticket) >= ticket) /* killed in enter before it was counted on */
            ticket = load_relaxed(&node->ticket) + 1;
    }
    store_relaxed(&w->next_ticket, ticket);
    count_repair(&l->repairs->rebuilds);
}

/* The mutex has been tried. */
static int repair(struct shki_waitlist *l, int r)
{
    if (r == 1 && shki_repair_enabled(SHKI_REPAIR_REBUILD)) {
        rebuild(l);
        if (l->finish)
            l->finish(l);
    }
    return r < 0 ? r : 0;
}

static int say_busy(const struct shki_waitlist *l)
{
    char name[SHK_NAME_MAX + 1] = "";

    if (l->entry)
        shki_copy_label(name, sizeof(name), l->entry->name, sizeof(l->entry->name));
    return shki_fail(
        -EBUSY, "%s%s%s: thread %d has been in the middle of a change for 10 s; it may be stopped",
        l->segment->name, *name ? "/" : "", name,
        (int)shki_robust_holder(&l->shared->mutex.robust));
}

int shki_waitlist_lock(struct shki_waitlist *l)
{
    const struct shki_member *m = shki_member_cached(l->segment);
    /* for fairness; the caller is most often a member, and was the last time */
    uint64_t me = m ? m->id : 0;
    struct shki_deadline deadline;
    int r = shki_mutex_trylock(&l->shared->mutex, me);

    if (r < 0) {
        deadline = shki_deadline(LOCK_LIMIT, NULL);
        r = shki_mutex_lock(&l->shared->mutex, &deadline, me, NULL, &l->segment->recovery, NULL,
                            NULL);
    }
    r = repair(l, r);
    if (r == -ETIMEDOUT)
        return say_busy(l);
    return r;
}

/* Unlock, and wake those that have been released meanwhile. */
static void unlock_and_unpark(struct shki_waitlist *l)
{
    uint32_t to_unpark[SHKI_UNPARK_LATER + 2], n = l->n_to_unpark;

    /* The view's own lists are for the thread that has the mutex. */
    for (uint32_t i = 0; i < n; i++)
        to_unpark[i] = l->to_unpark[i];
    l->n_to_unpark = 0;
    for (; l->n_leaders > 0; l->n_leaders--)
        to_unpark[n++] = l->leaders[l->n_leaders - 1];
    shki_mutex_unlock(&l->shared->mutex);
    /* killed before one of these: it sees that it has been released at the end of its slice */
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(l->segment, to_unpark[i]);
}

/* Loads only, without the mutex: relaxed, since a fence comes before them. */
static bool is_asked(const struct shki_waitlist *l)
{
    return l->asks && load_relaxed(&l->shared->asked) != load_relaxed(&l->shared->answered);
}

/* L6, after a fence. The count is read before the release: a later request is answered anew. */
static void answer(struct shki_waitlist *l)
{
    struct shki_waitlist_shared *w = l->shared;
    uint64_t asked;

    while (is_asked(l) && repair(l, shki_mutex_trylock(&w->mutex, 0)) == 0) {
        /*
         * L5: acquire; pairs with the release in ask: a waiter that this releases sees what the
         * asker did.
         */
        asked = load_acquire(&w->asked);
        /* killed before the second: all are released once more, for nothing */
        shki_waitlist_notify_all(l, SHKI_GO);
        store_relaxed(&w->answered, asked);
        unlock_and_unpark(l);
        atomic_thread_fence(memory_order_seq_cst);
    }
}

void shki_waitlist_request(struct shki_waitlist *l)
{
    fetch_add_release(&l->shared->asked, 1); /* L5 */
    atomic_thread_fence(memory_order_seq_cst);
    answer(l);
}

void shki_waitlist_unlock(struct shki_waitlist *l)
{
    unlock_and_unpark(l);
    if (l->asks) {
        atomic_thread_fence(memory_order_seq_cst);
        answer(l);
    }
}

void shki_waitlist_unlock_quietly(struct shki_waitlist *l, struct shki_member *m)
{
    uint32_t n = l->n_to_unpark;

    if (n + l->n_leaders <= SHKI_UNPARK_LATER - m->n_to_unpark) {
        memcpy(m->to_unpark + m->n_to_unpark, l->to_unpark, n * sizeof(*l->to_unpark));
        m->n_to_unpark += n;
        l->n_to_unpark = 0;
        for (; l->n_leaders > 0; l->n_leaders--)
            m->to_unpark[m->n_to_unpark++] = l->leaders[l->n_leaders - 1];
    }
    shki_waitlist_unlock(l);
}

void shki_waitlist_enter(struct shki_waitlist *l, struct shki_member *m)
{
    struct shki_node *n = m->node;
    uint64_t ticket = load_relaxed(&l->shared->next_ticket);

    atomic_thread_fence(memory_order_release); /* L4: `list` was 0 before what follows is stored */
    store_relaxed(&n->owner, m->id);
    store_relaxed(&n->ticket, ticket);
    store_relaxed(&n->state, SHKI_NODE_WAITING);
    store_relaxed(&n->leads, 0);
    store_relaxed(&n->verdict, SHKI_GO);
    store_relaxed(&n->away, 0);
    /*
     * L1: commits. Killed before: not in. Killed after: in, dead, and found so by whoever walks or
     * rebuilds the list.
     */
    store_release(&n->list, l->offset);
    store_relaxed(&l->shared->next_ticket, ticket + 1);
    append(l, n);
    store_relaxed(&l->shared->count, load_relaxed(&l->shared->count) + 1);
}

void shki_waitlist_resume(struct shki_member *m)
{
    /* Not linked any more. Killed before: buried, and the wake-up passed on. */
    store_release(&m->node->list, 0);
}

/* Leave as one who was not released. Returns 0 if it was, at the last moment. */
static int withdraw(struct shki_waitlist *l, struct shki_member *m, int why)
{
    while (shki_waitlist_lock(l) < 0)
        ; /* it must be left: the record belongs to a thread that will wait elsewhere */
    if (is_released(l, m->node)) {
        why = 0;
    } else {
        bool linked;

        if (l->left)
            l->left(l);
        linked = !is_released(l, m->node); /* left() may have released all */
        if (linked)
            unlink_node(l, m->node);
        shki_waitlist_resume(m);
        if (linked)
            lower_count(l);
    }
    shki_waitlist_unlock(l);
    return why;
}

/* When the mutex is free: who is woken may want it at once, and would go to sleep again. */
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
 * Whether the links to and from a node of the line, or the end of it, are in order. Of one that has
 * been released they are not, so a walk along damaged links ends. `passed`: so many that wait stay
 * ahead of it, the last is `previous`.
 */
static bool is_in_order(const struct shki_waitlist *l, const struct shki_node *previous,
                        uint32_t passed, const struct shki_node *n)
{
    if (n == NULL)
        return load_relaxed(&l->shared->count) <= passed;
    return n->previous == (previous ? link_of(l, previous) : 0) && n->next != link_of(l, n) &&
           load_relaxed(&n->list) == l->offset && !is_released(l, n);
}

/*
 * Release the first n living, as long as they have lower tickets than `before`: who came later was
 * not waiting then.
 */
static unsigned release_first(struct shki_waitlist *l, unsigned n, uint64_t before)
{
    struct shki_node *node = NULL, *previous = NULL,
                     *next = node_of_link(l, load_relaxed(&l->shared->first));
    int64_t now = l->takes_back && next ? shki_now() : 0;
    uint32_t passed = 0;
    unsigned woken = 0;
    bool rebuilt = false;

    while (woken < n) {
        node = next;
        if (!is_in_order(l, previous, passed, node)) { /* damaged bytes */
            if (rebuilt || !shki_repair_enabled(SHKI_REPAIR_REBUILD))
                break;
            rebuild(l);
            rebuilt = true;
            previous = NULL;
            passed = 0;
            next = node_of_link(l, load_relaxed(&l->shared->first));
            continue;
        }
        if (node == NULL || load_relaxed(&node->ticket) >= before)
            break;
        next = node_of_link(l, node->next);
        if (load_relaxed(&node->away) && !is_dead(l, node)) {
            previous = node;
            passed++;
            continue;
        }
        unlink_node(l, node);
        if (is_dead(l, node)) {
            store_relaxed(&node->list, 0);
            lower_count(l);
            count_repair(&l->repairs->waiters_buried);
            continue;
        }
        store_relaxed(&node->notified_at, now);
        store_relaxed(&node->notify_bound, before);
        set_verdict(node, SHKI_GO);
        /*
         * L2: commits. Killed before: rebuilt as waiting. Killed after: it sees it at the end of
         * its slice, or is unparked by the rebuild.
         */
        store_release(&node->state, SHKI_NODE_NOTIFIED);
        lower_count(l);
        unpark_later(l, shki_member_index(load_relaxed(&node->owner)));
        woken++;
    }
    return woken;
}

unsigned shki_waitlist_notify(struct shki_waitlist *l, unsigned n)
{
    return release_first(l, n, load_relaxed(&l->shared->next_ticket));
}

unsigned shki_waitlist_notify_all(struct shki_waitlist *l, enum shki_verdict verdict)
{
    struct shki_waitlist_shared *w = l->shared;
    struct shki_node *node = node_of_link(l, load_relaxed(&w->first));
    uint32_t n = 0;
    unsigned living = 0;

    /*
     * Noted first: once released, a node may be linked into another list. The bound is for damaged
     * links.
     */
    for (; node && n < l->segment->max_members; node = node_of_link(l, node->next)) {
        set_verdict(node, verdict);
        l->order[n++] = link_of(l, node) - 1;
    }
    store_relaxed(&w->first, 0);
    store_relaxed(&w->last, 0);
    /*
     * L3: commits, for all of them at once. Killed before: rebuilt as waiting. Killed after: each
     * sees it at the end of its slice, or is unparked by the rebuild.
     */
    store_release(&w->released, load_relaxed(&w->next_ticket));
    set_lower_count(l, 0);
    for (uint32_t i = 0; i < n; i++) {
        const struct shki_member_shared *m = shki_record_at(l->segment, l->order[i]);

        living += shki_robust_is_held(&m->life);
        unpark_later(l, l->order[i]);
    }
    return living;
}

/*
 * To who was waiting when the dead one was notified. Killed after it: passed on once more, since a
 * wake-up too many is better than one too few.
 */
static void forward(struct shki_waitlist *l, const struct shki_node *dead)
{
    bool was_broadcast = load_relaxed(&dead->ticket) < load_relaxed(&l->shared->released);

    if (!was_broadcast && shki_repair_enabled(SHKI_REPAIR_FORWARD) &&
        release_first(l, 1, load_relaxed(&dead->notify_bound)))
        count_repair(&l->repairs->wakeups_passed_on);
}

static bool is_notified(const struct shki_waitlist *l, const struct shki_node *n)
{
    return load_relaxed(&n->state) == SHKI_NODE_NOTIFIED &&
           load_relaxed(&n->ticket) >= load_relaxed(&l->shared->released);
}

void shki_waitlist_recover(struct shki_waitlist *l)
{
    uint32_t n = collect(l, is_notified);

    for (uint32_t i = 0; i < n; i++)
        shki_recover_one(l->segment, load_relaxed(&shki_node_at(l->segment, l->order[i])->owner));
}

static bool is_overdue(const struct shki_waitlist *l, const struct shki_node *n)
{
    return is_notified(l, n) && shki_now() - load_relaxed(&n->notified_at) > SHKI_RECHECK;
}

void shki_waitlist_take_back(struct shki_waitlist *l)
{
    uint32_t n = l->takes_back ? collect(l, is_overdue) : 0;

    for (uint32_t i = 0; i < n; i++) {
        struct shki_node *node = shki_node_at(l->segment, l->order[i]);

        /*
         * Its owner leaves such a line with the mutex only. Killed before the second: notified as
         * before. Killed after: rebuilt as waiting.
         */
        store_relaxed(&node->away, 1);
        store_relaxed(&node->state, SHKI_NODE_WAITING);
        insert(l, node);
        store_relaxed(&l->shared->count, load_relaxed(&l->shared->count) + 1);
    }
    if (n > 0 && l->finish)
        l->finish(l);
}

/* It runs again: it takes part in what there is, from its old place. */
static void come_back(struct shki_waitlist *l, struct shki_node *mine)
{
    if (load_relaxed(&mine->away) == 0)
        return;
    store_relaxed(&mine->away, 0); /* killed after: dead, as any waiter */
    if (l->finish)
        l->finish(l);
}

bool shki_waitlist_has_lost_it(struct shki_waitlist *l, struct shki_member *m)
{
    if (is_released(l, m->node))
        return false;
    come_back(l, m->node);
    return true;
}

uint32_t shki_waitlist_notified(struct shki_waitlist *l)
{
    return collect(l, is_notified);
}

static bool is_dead_and_waiting(const struct shki_waitlist *l, const struct shki_node *n)
{
    return !is_released(l, n) && is_dead(l, n);
}

void shki_waitlist_reap(struct shki_waitlist *l)
{
    bool buried = false;
    uint32_t n;

    if (l->left && collect(l, is_dead_and_waiting))
        l->left(l);
    n = collect(l, is_dead); /* nobody but who has the mutex changes these any more */
    /* The earlier notification first: a later one may be passed on to more waiters. */
    sort(l, n, notify_bound);
    /* First those who still stand in line, so that no dead one inherits. */
    for (int released = 0; released < 2; released++) {
        for (uint32_t i = 0; i < n; i++) {
            struct shki_node *node = shki_node_at(l->segment, l->order[i]);

            /* the last: damaged bytes */
            if (load_relaxed(&node->list) != l->offset || is_released(l, node) != released ||
                !is_dead(l, node))
                continue;
            if (released)
                forward(l, node);
            else
                unlink_node(l, node);
            /* killed before this: found again, by the rebuild or the next to reap */
            store_relaxed(&node->list, 0);
            if (!released)
                lower_count(l);
            count_repair(&l->repairs->waiters_buried);
            buried = true;
        }
    }
    if (buried && l->finish)
        l->finish(l);
}

/*
 * Those that are released and still here. Without the mutex; those that are awake are woken for
 * nothing.
 */
static void unpark_released(const struct shki_waitlist *l, const struct shki_node *mine)
{
    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        const struct shki_node *n = shki_node_at(l->segment, i);

        if (n != mine && load_relaxed(&n->list) == l->offset && is_released(l, n))
            shki_unpark(l->segment, i);
    }
}

/*
 * A waiter takes over from a leader: one of another process than the leader that remains, if there
 * is one.
 */
static void promote(struct shki_waitlist *l, const struct shki_role *role)
{
    int32_t process = shki_role_process(role);
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        const struct shki_node *n = shki_node_at(l->segment, i);

        if (n == role->member->node || load_relaxed(&n->list) != l->offset || is_released(l, n) ||
            load_relaxed(&n->leads) || is_dead(l, n))
            continue;
        best = i;
        if (shki_record_at(l->segment, i)->pid != process)
            break;
    }
    if (best != UINT32_MAX)
        shki_unpark(l->segment, best);
}

/* Loads only: is there anything to do for the first living waiter? */
static bool needs_repair(struct shki_waitlist *l, const struct shki_node *mine, bool leads)
{
    const struct shki_node *first = node_of_link(l, load_relaxed(&l->shared->first));

    if (shki_robust_owner_died(&l->shared->mutex.robust) || first == NULL || is_asked(l))
        return true;
    if (load_relaxed(&mine->away))
        return true;
    /* The first, or, if it has not done so for long, being stopped, whichever comes. */
    if (first != mine && !leads &&
        shki_now() - load_relaxed(&l->shared->patrolled) < 2 * SHKI_RECHECK)
        return is_dead(l, first);
    store_relaxed(&l->shared->patrolled, shki_now()); /* a hint, which nothing else depends on */
    for (uint32_t i = 0; i < shki_members_ready(l->segment); i++) {
        const struct shki_node *n = shki_node_at(l->segment, i);

        if (load_relaxed(&n->list) == l->offset &&
            (is_dead(l, n) || (l->takes_back && is_overdue(l, n))))
            return true;
    }
    return false;
}

/*
 * At the end of each slice: whatever a death has left half done is found here. The fast paths never
 * depend on it. A leader does it for all waiters: it looks at each node, and wakes those that are
 * released and still here, whose waker may have died before it woke them.
 */
static void backstop(struct shki_waitlist *l, struct shki_node *mine, bool leads)
{
    bool needed = needs_repair(l, mine, leads);

    if (leads)
        unpark_released(l, mine);
    if (!needed || shki_waitlist_lock(l) < 0)
        return;
    if (node_of_link(l, load_relaxed(&l->shared->first)) == NULL && !is_released(l, mine) &&
        shki_repair_enabled(SHKI_REPAIR_REBUILD))
        rebuild(l); /* damaged bytes: there is one that waits, the caller */
    come_back(l, mine);
    shki_waitlist_take_back(l);
    shki_waitlist_reap(l);
    shki_waitlist_unlock(l);
}

bool shki_waitlist_is_stale(const struct shki_waitlist *l)
{
    return l->entry ? shki_is_stale(l->segment, l->entry, l->serial)
                    : shki_segment_is_retired(l->segment);
}

struct waiting {
    const struct shki_waitlist *line;
    const struct shki_node *node;
};

static bool was_released(const void *arg)
{
    const struct waiting *w = arg;

    return is_released(w->line, w->node);
}

static int say_stale(void)
{
    return shki_say(-ESTALE, "the object has been unlinked");
}

/* Released: 0, and its node stays until it resumes; or there is nothing that could be passed on. */
static int settle(struct shki_member *m)
{
    if (shki_waitlist_verdict(m) != SHKI_UNLINKED)
        return 0;
    shki_waitlist_resume(m);
    return say_stale();
}

/* In line, and not released by spinning. */
static int sleep_until_released(struct shki_waitlist *l, struct shki_member *m,
                                const struct shki_deadline *deadline, struct shki_role *role)
{
    struct shki_saved_error saved;
    struct timespec until;
    bool late = false;
    int64_t slice;
    int r;

    while (shki_take_permits(&m->record->park), !is_released(l, m->node)) {
        shki_error_save(&saved);
        r = shki_waitlist_is_stale(l) ? say_stale() : shki_deadline_check(deadline);
        if (r < 0) {
            r = shki_error_settle(withdraw(l, m, r), &saved);
            if (r < 0)
                return r;
            break; /* released at the last moment */
        }
        slice = shki_repair_enabled(SHKI_REPAIR_BACKSTOP) ? shki_role_interval(role, deadline)
                                                          : SHK_SEC(3600);
        store_relaxed(&m->node->leads, role->leads);
        until = shki_deadline_recheck_at(deadline, slice);
        late = !shki_park(m, &until);
        if (!late)
            continue;
        role->slices++;
        shki_deadline_slept(deadline);
        if (shki_repair_enabled(SHKI_REPAIR_BACKSTOP)) {
            shki_recover(l->segment);
            backstop(l, m->node, role->leads);
        }
    }
    if (late && role->leads)
        /* their waker has not come to the leaders, which it wakes last: it may be dead */
        unpark_released(l, m->node);
    return settle(m);
}

int shki_waitlist_sleep(struct shki_waitlist *l, struct shki_member *m,
                        const struct shki_deadline *deadline)
{
    struct waiting waiting = {l, m->node};
    struct shki_role role = {l->segment, m,    l->shared->leaders, &l->shared->followers, 0,
                             false,      false};
    int r;

    if (shki_spin(&l->spinner, was_released, &waiting))
        return settle(m);
    r = sleep_until_released(l, m, deadline, &role);
    if (shki_role_end(&role))
        promote(l, &role);
    return r;
}
