/* A waitlist: its mutex and requests, entering, and sleeping until released. */
#include "sync/waitlist_nodes.h"

#include "base/error.h"
#include "base/name.h"
#include "segment/recover.h"
#include "sync/leader.h"
#include "sync/park.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The mutex is held for microseconds: a thread that has it longer is stopped. */
#define LOCK_LIMIT SHK_SEC(10)

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

bool shki_waitlist_is_stale(const struct shki_waitlist *l)
{
    return l->entry ? shki_is_stale(l->segment, l->entry, l->serial)
                    : shki_segment_is_retired(l->segment);
}

/* ---- The mutex, and requests ---- */

/* The mutex has been tried: 0 or -errno. */
static int repair_after_death(struct shki_waitlist *l, int r)
{
    if (r == 1 && shki_repair_enabled(SHKI_REPAIR_REBUILD)) {
        shki_waitlist_rebuild(l);
        if (l->recover)
            l->recover(l);
    }
    return r < 0 ? r : 0;
}

/* Why the mutex was not to be had: -EBUSY, or damaged bytes. */
static int say_why(const struct shki_waitlist *l, int r)
{
    char name[SHK_NAME_MAX + 1] = "";

    if (l->entry)
        shki_copy_label(name, sizeof(name), l->entry->name, sizeof(l->entry->name));
    if (r != -ETIMEDOUT)
        return shki_fail(r, "%s%s%s is damaged: the mutex of its waiters; remove and create it",
                         l->segment->name, *name ? "/" : "", name);
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
    r = repair_after_death(l, r);
    return r < 0 ? say_why(l, r) : 0;
}

/* Unlock, and unpark those that have been released meanwhile. */
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
    /* killed before one of these: it sees its release at the end of its recheck interval */
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(l->segment, to_unpark[i]);
}

/*
 * WL6, behind a fence. The count is read before the release: a later request is answered anew.
 */
static void answer(struct shki_waitlist *l)
{
    struct shki_waitlist_shared *w = l->shared;
    uint64_t requested;

    while (shki_waitlist_is_requested(l) &&
           repair_after_death(l, shki_mutex_trylock(&w->mutex, 0)) == 0) {
        /*
         * WL5: acquire; pairs with the release in request: a waiter that this releases sees what
         * the requester did.
         */
        requested = load_acquire(&w->requested);
        /* killed before the second: all are released once more, for nothing */
        shki_waitlist_notify_all(l, SHKI_GO);
        store_relaxed(&w->answered, requested);
        unlock_and_unpark(l);
        atomic_thread_fence(memory_order_seq_cst); /* WL6 */
    }
}

void shki_waitlist_request(struct shki_waitlist *l)
{
    fetch_add_release(&l->shared->requested, 1); /* WL5 */
    atomic_thread_fence(memory_order_seq_cst);   /* WL6 */
    answer(l);
}

void shki_waitlist_unlock(struct shki_waitlist *l)
{
    unlock_and_unpark(l);
    if (l->takes_requests) {
        atomic_thread_fence(memory_order_seq_cst); /* WL6 */
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

/* ---- Entering, and leaving ---- */

void shki_waitlist_enter_for(struct shki_waitlist *l, struct shki_member *m, uint32_t wants)
{
    struct shki_node *n = m->node;
    uint64_t ticket = load_relaxed(&l->shared->next_ticket);

    atomic_thread_fence(memory_order_release); /* WL4: `list` was 0 before what follows */
    store_relaxed(&n->owner, m->id);
    store_relaxed(&n->ticket, ticket);
    store_relaxed(&n->state, SHKI_NODE_WAITING);
    store_relaxed(&n->wants, wants);
    store_relaxed(&n->leads, 0);
    store_relaxed(&n->verdict, SHKI_GO);
    store_relaxed(&n->taken_back, 0);
    /*
     * WL1: commits. Killed before: not in the list. Killed after: in it, dead, and found so by each
     * thread that walks or rebuilds the list.
     */
    store_release(&n->list, l->offset);
    store_relaxed(&l->shared->next_ticket, ticket + 1);
    shki_node_append(l, n);
    shki_waitlist_raise_count(l);
}

void shki_waitlist_resume(struct shki_member *m)
{
    /* Not linked any more. Killed before: reaped, and the notification forwarded. */
    store_release(&m->node->list, 0);
}

int shki_waitlist_lock_again(struct shki_waitlist *l)
{
    int r;

    do
        r = shki_waitlist_lock(l);
    while (r == -EBUSY);
    return r;
}

/* Leave without having been released. Returns 0 if the waiter was, at the last moment. */
static int withdraw(struct shki_waitlist *l, struct shki_member *m, int why)
{
    /* The node must leave: its owner will wait in other lists. */
    int r = shki_waitlist_lock_again(l);

    if (r < 0) { /* no thread walks that list any more */
        shki_waitlist_resume(m);
        return r;
    }
    if (shki_node_is_released(l, m->node)) {
        why = 0;
    } else {
        bool linked;

        if (l->on_leave)
            l->on_leave(l);
        linked = !shki_node_is_released(l, m->node); /* on_leave() may have released all */
        if (linked)
            shki_node_unlink(l, m->node);
        shki_waitlist_resume(m);
        if (linked)
            shki_waitlist_lower_count(l);
        /* those behind it, or that come later, may want less than it did */
        if (linked && l->recover)
            l->recover(l);
    }
    shki_waitlist_unlock(l);
    return why;
}

/* ---- Sleeping ---- */

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

        if (n == role->member->node || load_relaxed(&n->list) != l->offset ||
            shki_node_is_released(l, n) || load_relaxed(&n->leads) || shki_node_is_dead(l, n))
            continue;
        best = i;
        if (shki_record_at(l->segment, i)->pid != process)
            break;
    }
    if (best != UINT32_MAX)
        shki_unpark(l->segment, best);
}

/*
 * At the end of each recheck interval: what a death has left half done is found here. The fast
 * paths never depend on it. A leader does it for all waiters: it checks each node, and unparks
 * those that are released and still here, whose notifier may have died before it unparked them.
 */
static void recheck(struct shki_waitlist *l, struct shki_node *mine, bool leads)
{
    bool needed = shki_waitlist_needs_repair(l, mine, leads);

    if (leads)
        shki_waitlist_unpark_released(l, mine);
    if (!needed || shki_waitlist_lock(l) < 0)
        return;
    shki_waitlist_repair(l, mine);
    shki_waitlist_unlock(l);
}

struct waiting {
    const struct shki_waitlist *list;
    const struct shki_node *node;
};

static bool was_released(const void *arg)
{
    const struct waiting *w = arg;

    return shki_node_is_released(w->list, w->node);
}

static int say_stale(void)
{
    return shki_say(-ESTALE, "the object has been unlinked");
}

/* Released: 0, and its node stays until it resumes; or there is nothing that could be forwarded. */
static int settle(struct shki_member *m)
{
    if (shki_waitlist_verdict(m) != SHKI_UNLINKED)
        return 0;
    shki_waitlist_resume(m);
    return say_stale();
}

/* In the list, and not released by spinning. */
static int sleep_until_released(struct shki_waitlist *l, struct shki_member *m,
                                const struct shki_deadline *deadline, struct shki_role *role)
{
    struct shki_saved_error saved;
    struct timespec until;
    bool late = false;
    int64_t interval;
    int r;

    while (shki_take_permits(&m->record->park), !shki_node_is_released(l, m->node)) {
        shki_error_save(&saved);
        r = shki_waitlist_is_stale(l) ? say_stale() : shki_deadline_check(deadline);
        if (r < 0) {
            r = shki_error_settle(withdraw(l, m, r), &saved);
            if (r < 0)
                return r;
            break; /* released at the last moment */
        }
        interval = shki_role_interval(role, deadline);
        store_relaxed(&m->node->leads, role->leads);
        until = shki_deadline_recheck_at(deadline, interval);
        late = !shki_park(m, &until);
        if (!late)
            continue;
        role->rechecks++;
        shki_deadline_slept(deadline);
        if (shki_repair_enabled(SHKI_REPAIR_BACKSTOP)) {
            shki_recover(l->segment);
            recheck(l, m->node, role->leads);
        }
    }
    if (late && role->leads)
        /* its notifier has not come to the leaders, which it unparks last: it may be dead */
        shki_waitlist_unpark_released(l, m->node);
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
