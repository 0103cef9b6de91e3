/* Waiting for an item, of a get or a peek. */
#include "etcd/queue.h"

/* A consumer that has lost its role is one again, if it can be: the wait does not depend on it. */
struct shke_wait shke_wait_begin(struct shke_queue *q, const struct shki_object *handle,
                                 int64_t timeout)
{
    struct shk_queue *base = (struct shk_queue *)(uintptr_t)handle; /* begins with it */
    struct shke_wait w = {.handle = handle,
                          .roles = &base->roles,
                          .deadline = shke_host->deadline(handle, timeout, "the queue is empty")};
    const struct shke_trial trial = {.deadline = &w.deadline};

    shke_roles_keep(&q->object, &q->roles, &trial);
    pthread_mutex_lock(&q->object.lock);
    w.shutdowns = q->shutdowns;
    /* the watches tell a call that may wait; one that must not asks, and so does the first */
    w.has_looked = !w.deadline.nowait && q->state_known > 0 && !q->is_shut &&
                   !shke_roles_has_ended(&q->roles, w.roles, SHKI_PRODUCERS);
    pthread_mutex_unlock(&q->object.lock);
    return w;
}

/* There are items that the watch has not told of yet. It comes within moments, or is cut off. */
static int wait_for_view(struct shke_queue *q, struct shke_wait *w)
{
    struct shki_deadline moment = w->deadline;

    if (w->behind == 0)
        w->behind = shke_now();
    if (shke_host->deadline_has_passed(&w->deadline) && shke_now() - w->behind > SHKE_GRACE)
        return shke_fail(-EHOSTUNREACH, "%s/%s: etcd does not tell of the items that there are",
                         q->object.segment->segment.name, q->object.name);
    moment.nowait = false;
    moment.interrupt = NULL;
    moment.call = NULL;
    moment.at = shke_now() + SHK_MS(20) + (shke_now() - w->behind) / 4;
    w->has_looked = false;
    shke_object_wait(&q->object, &moment);
    return 0;
}

/* A leased item is no item of the queue until it comes back. */
static bool is_peeked(const struct shke_queue *q)
{
    const struct shke_item *i = q->head;

    while (i && !(i->claim && !i->was_leased))
        i = i->next;
    return i != NULL;
}

/* It is empty: -EPIPE or -EOWNERDEAD if it stays so; else 0. */
static int say_over(const struct shke_queue *q, struct shke_wait *w, const struct shke_look *there)
{
    if (there->is_shut || w->shutdowns != q->shutdowns)
        return shke_host->object_say(w->handle, -EPIPE,
                                     "the queue has been shut down and is drained");
    if (shke_side_has_ended(there->sides, w->roles, SHKI_PRODUCERS))
        return shke_roles_say_ended(w->handle, &there->sides[SHKI_PRODUCERS], &w->roles->told,
                                    "the last producer has gone, and the queue is drained",
                                    "the queue is drained, and a producer of it has died");
    return 0;
}

/* Ask the servers whether it is empty, or drained. The object's lock is not held over it. */
static int look(struct shke_queue *q, struct shke_wait *w)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    struct shke_look there;
    int r;

    w->has_looked = true;
    pthread_mutex_unlock(&q->object.lock);
    r = shke_queue_look(q, &trial, &there);
    pthread_mutex_lock(&q->object.lock);
    if (r < 0)
        return r;
    if (there.items == 0)
        return say_over(q, w, &there);
    if ((size_t)there.items != q->n_items)
        return wait_for_view(q, w);
    if (w->deadline.nowait && there.claims > 0 && is_peeked(q))
        return shke_host->object_say(w->handle, -EBUSY,
                                     "each item of the queue is peeked by another member");
    return 0;
}

int shke_wait_more(struct shke_queue *q, struct shke_wait *w)
{
    bool asks = !w->has_looked;
    int r;

    if (load_relaxed(&q->object.is_gone))
        return shke_stale(&q->object);
    if (asks) {
        r = look(q, w);
        if (r == 0 && w->has_looked && w->deadline.nowait)
            r = shke_object_wait(&q->object, &w->deadline);
        return r;
    }
    w->behind = 0;
    shke_roles_keep_waiting(&q->object, &q->roles);
    r = shke_object_wait(&q->object, &w->deadline);
    /* what has been shut down, or has no producer any more, may be drained now */
    if (r == 0 && q->n_items == 0 &&
        (q->is_shut || w->shutdowns != q->shutdowns ||
         shke_roles_has_ended(&q->roles, w->roles, SHKI_PRODUCERS)))
        w->has_looked = false;
    return r;
}
