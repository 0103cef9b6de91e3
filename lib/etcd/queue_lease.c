/*
 * Leases: claims of the process, as many as it wants, each with a ticket: the create_revision of
 * the claim. See queue_claim.c.
 *
 * An item that comes back goes before the others: in a FIFO queue, and among items of one priority,
 * it is the oldest anyway; in a LIFO queue one that has been handed out comes first.
 *
 * A delay counts from the moment at which a process learns that the item has come back: clocks of
 * machines are not compared. A process that opens the queue meanwhile counts from then.
 *
 * Killed with a lease: the claim goes with the lease of the process in etcd, and the item is back.
 */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

/* Once it is the process's, it is copied: it stays in the view as long as it is leased. */
ssize_t shke_queue_lease(struct shk_queue *base, void *buf, size_t size, int64_t timeout,
                         uint64_t *ticket)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_waiting waiting;
    struct shke_claim *c;
    struct shke_wait w;
    ssize_t length;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    if (ticket == NULL || (buf == NULL && size > 0))
        return shke_fail(-EINVAL, "the %s is NULL", ticket ? "buffer" : "ticket");
    if (shke_peek_is_open(q))
        return shke_host->object_say(&base->object, -EDEADLK, "the calling thread has a peek open");
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    c->tid = shke_tid();
    c->is_lease = true;
    shke_host->error_save(&saved);
    w = shke_wait_begin(q, &base->object, timeout);
    shke_waiting_begin(&waiting, &q->object, SHK_WAITS_TO_GET, &w.deadline);
    r = shke_claim_next(q, c, size, &w);
    shke_waiting_end(&waiting);
    if (r < 0) {
        free(c);
        return r;
    }
    pthread_mutex_lock(&q->object.lock);
    c->since = shke_now();
    length = (ssize_t)c->item->length;
    if (length > 0)
        memcpy(buf, c->item->bytes, (size_t)length);
    *ticket = (uint64_t)c->created;
    pthread_mutex_unlock(&q->object.lock);
    return shke_host->error_settle((int)length, &saved);
}

/* With the object's lock. */
static struct shke_claim *find_lease(const struct shke_queue *q, uint64_t ticket)
{
    struct shke_claim *c = q->leases;

    while (c && (uint64_t)c->created != ticket)
        c = c->next;
    return c;
}

static int say_none(const struct shke_queue *q)
{
    return shke_fail(-ENOENT,
                     "%s/%s: the ticket is not that of a leased item: it has been acknowledged or "
                     "given back, or the lease of this process has ended",
                     q->object.segment->segment.name, q->object.name);
}

/* With the object's lock: no thread of this process has leased it. */
static int say_not_ours(const struct shke_queue *q, uint64_t ticket)
{
    for (const struct shke_item *i = q->head; i; i = i->next)
        if (i->claim && (uint64_t)i->claim == ticket)
            return shke_fail(-EPERM, "%s/%s: the item is leased to another process",
                             q->object.segment->segment.name, q->object.name);
    return say_none(q);
}

/* *lease: taken out of the list. 0 or an error. */
static int end_lease(struct shk_queue *base, uint64_t ticket, struct shke_claim **lease)
{
    struct shke_queue *q = shke_queue_of(base);
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    *lease = find_lease(q, ticket);
    if (*lease)
        shke_claim_unlist(q, *lease);
    else
        r = say_not_ours(q, ticket);
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

int shke_queue_ack(struct shk_queue *base, uint64_t ticket)
{
    struct shki_saved_error saved;
    struct shke_claim *c;
    int r = end_lease(base, ticket, &c);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_claim_consume(shke_queue_of(base), c);
    return shke_host->error_settle(r == 1 ? say_none(shke_queue_of(base)) : r, &saved);
}

int shke_queue_nack(struct shk_queue *base, uint64_t ticket, int64_t delay)
{
    struct shki_saved_error saved;
    struct shke_claim *c;
    int r = end_lease(base, ticket, &c);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = shke_claim_give_back(shke_queue_of(base), c, delay);
    return shke_host->error_settle(r == -ENOENT ? say_none(shke_queue_of(base)) : r, &saved);
}

int shke_queue_lease_info(struct shk_queue *base, uint64_t ticket, struct shk_lease_info *info)
{
    struct shke_queue *q = shke_queue_of(base);
    const struct shke_claim *c;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    c = find_lease(q, ticket);
    if (c && !shke_session_has(q->object.segment->session, c->lease))
        r = say_none(q);
    else if (c)
        *info = (struct shk_lease_info){.ticket = ticket,
                                        .member = (uint64_t)c->lease,
                                        .pid = (int32_t)getpid(),
                                        .attempts = c->attempts,
                                        .priority = c->item->priority,
                                        .length = c->item->length,
                                        .since = shke_now() - c->since};
    else
        r = say_not_ours(q, ticket);
    pthread_mutex_unlock(&q->object.lock);
    return r;
}
