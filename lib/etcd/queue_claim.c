/*
 * Claims: an item that is peeked, or leased, stays in the queue, claimed with the lease of the
 * process that has it.
 *
 *     claim                              consume
 *     compare last/CONSUMER is as I      compare slot/S is as it was, slot.claim/S is mine
 *         left it                        delete both, and slot.tries/S; put last/CONSUMER
 *     of the first items in the order
 *         that are seen, the first of
 *         which slot/S is as it was
 *         seen, and slot.claim/S is
 *         absent:
 *     put slot.claim/S with my lease,
 *         put last/CONSUMER
 *
 * As with a get, workers want the same item: each is given one by one request, whatever the others
 * have claimed meanwhile; and the consumer's key makes it one, also if the request is sent twice.
 *
 * That comparison is the fence: a worker that was stopped for longer than its lease finds the claim
 * gone, or another's, and its item is not consumed a second time.
 *
 * A lease also compares slot.tries/S, and puts it: how often this item has been handed out. That
 * stays when the claim goes with its process. It names the item by its mod_revision, so one that is
 * left behind says nothing of a later item in the same place.
 */
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = 1 };

/* ---- The claims of this process ---- */

static void list(struct shke_queue *q, struct shke_claim *c)
{
    struct shke_claim **all = c->is_lease ? &q->leases : &q->peeks;

    c->next = *all;
    *all = c;
    c->item->held = c->created;
}

struct shke_claim *shke_claim_unlist(struct shke_queue *q, struct shke_claim *c)
{
    struct shke_claim **link = c->is_lease ? &q->leases : &q->peeks;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    q->claims_moving++; /* its claim is not a stray until it is gone */
    return c;
}

void shke_claim_discard(struct shke_queue *q, struct shke_claim *c)
{
    q->claims_moving--;
    c->item->held = 0;
    shke_item_release(c->item);
    free(c);
}

void shke_claims_free(struct shke_queue *q)
{
    while (q->peeks)
        shke_claim_discard(q, shke_claim_unlist(q, q->peeks));
    while (q->leases)
        shke_claim_discard(q, shke_claim_unlist(q, q->leases));
}

/* ---- Claiming ---- */

static void write_tries(struct shke_txn *t, const char *key, int64_t mod, unsigned tries,
                        int64_t delay, const char *nonce)
{
    char value[SHKE_TRIES_MAX];
    int n = snprintf(value, sizeof(value), "%lld %u %lld %s", (long long)mod, tries,
                     (long long)delay, nonce);

    shke_then_put(t, key, value, (size_t)n, 0);
}

/* A request for one of the items that its consumer names. */
struct claiming {
    struct shke_queue *queue;
    struct shke_claim *claim; /* what it comes to */
    struct shke_actor *consumer;
    char nonce[SHKE_NONCE_SIZE];
    bool is_doubtful; /* a sending of it may still come through */
    /* What is known of the items' slot.tries/S, as of one moment. */
    struct {
        const struct shke_item *item;
        int64_t mod;
        unsigned tries;
    } before[SHKE_NAMED_MAX];
};

/* For shke_first_add(). */
static void claim_one(void *arg, unsigned n, struct shke_txn *t)
{
    const struct claiming *a = arg;
    const struct shke_item *i = a->consumer->items[n];
    char key[SHKE_KEY_MAX];

    shke_key(key, &a->queue->object, "slot/%s", i->slot);
    shke_if_written(t, key, i->mod);
    shke_key(key, &a->queue->object, "slot.claim/%s", i->slot);
    shke_if_created(t, key, 0);
    shke_then_put(t, key, a->nonce, strlen(a->nonce), a->claim->lease);
    if (a->claim->is_lease) {
        shke_key(key, &a->queue->object, "slot.tries/%s", i->slot);
        shke_if_written(t, key, a->before[n].mod);
        write_tries(t, key, i->mod, a->before[n].tries + 1, 0, a->nonce);
    }
    shke_consumer_write(a->consumer, a->nonce, n, 0, a->claim->lease, t);
}

static int send_claim(struct claiming *a, const struct shke_trial *trial, struct shke_reply *reply)
{
    struct shke_txn t = {0};

    shke_if_there(&t, &a->queue->object);
    shke_if_written(&t, a->consumer->key, a->consumer->mod);
    shke_first_add(&t, a->queue, a->consumer, a->claim->is_lease, claim_one, a);
    shke_else_get(&t, a->consumer->key);
    return shke_txn_run(shke_object_client(&a->queue->object), &t, trial, reply);
}

/*
 * The consumer's key was not as it had left it: 0: an earlier sending of the same request has
 * claimed an item, of which the consumer knows now; TRY_AGAIN.
 */
static int read_failure(struct claiming *a, const struct shke_reply *reply)
{
    struct shke_kv last = {0};
    int r = shke_check_there(&a->queue->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &last);
    if (r == 0)
        r = shke_consumer_read(a->queue, a->consumer, &last, a->nonce) ? 0 : TRY_AGAIN;
    shke_kv_free(&last);
    return r;
}

/*
 * Without the object's lock: 0: the first of the consumer's items is claimed; TRY_AGAIN: other
 * processes have all that it named.
 */
static int claim_some(struct claiming *a, const struct shke_trial *trial)
{
    struct shke_queue *q = a->queue;
    struct shke_actor *c = a->consumer;
    struct shke_reply reply;
    int r = shke_segment_lease(q->object.segment, trial, &a->claim->lease);

    if (r < 0)
        return r;
    shke_nonce(a->nonce);
    r = send_claim(a, trial, &reply);
    a->is_doubtful = r == 0 ? reply.sent > 1 : r < 0 && r != -ESTALE;
    if (r == -ESTALE) { /* the lease has just ended */
        shke_session_lost(q->object.segment->session, a->claim->lease);
        return TRY_AGAIN;
    }
    if (r < 0)
        return r;
    if (reply.succeeded) {
        pthread_mutex_lock(&q->object.lock);
        r = shke_first_read(q, c, a->claim->is_lease, &reply);
        pthread_mutex_unlock(&q->object.lock);
        if (r == 0)
            c->mod = reply.revision;
    } else {
        r = read_failure(a, &reply);
    }
    shke_reply_free(&reply);
    return r;
}

/*
 * With the object's lock: a consumer without items, and not in doubt: 0 or an error. The lock is
 * not held over a request.
 */
static int take_consumer(struct shke_queue *q, const struct shke_trial *trial,
                         struct shke_actor **out)
{
    struct shke_actor *c = shke_consumer_take(q, false);
    int r = c ? 0 : -ENOMEM;

    if (c && *c->doubtful) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_consumer_settle(q, c, trial);
        pthread_mutex_lock(&q->object.lock);
    }
    if (c && (r < 0 || c->n_items > 0)) { /* those of a get, which wait for the next one */
        shke_actor_give(q, c, false);
        c = NULL;
    }
    if (r == 0 && c == NULL)
        c = shke_consumer_take(q, true);
    *out = c;
    return r < 0 ? r : c ? 0 : -ENOMEM;
}

/* With the object's lock: the consumer has claimed its first item, as of its key's revision. */
static void have(const struct claiming *a)
{
    struct shke_queue *q = a->queue;
    struct shke_claim *p = a->claim;
    struct shke_actor *c = a->consumer;
    struct shke_item *i = c->items[0];
    unsigned n = 0;

    while (a->before[n].item != i)
        n++;
    p->attempts = a->before[n].tries + 1;
    c->n_items = 0;
    i->is_tried = true;
    p->item = i;
    p->created = c->mod;
    shke_key(p->slot, &q->object, "slot/%s", i->slot);
    shke_key(p->claim, &q->object, "slot.claim/%s", i->slot);
    shke_key(p->tries, &q->object, "slot.tries/%s", i->slot);
    shke_item_learn_claim(i, p->created, p->lease, p->created);
    if (p->is_lease)
        shke_item_set_tries(q, i, p->attempts, 0, p->created);
    list(q, p);
}

/*
 * With the object's lock, which is not held over the request. As claim_some(). Given up, or refused
 * after an earlier sending, it may still be carried out: then the consumer is in doubt, and the
 * claim a stray.
 */
static int try_to_claim(struct shke_queue *q, struct shke_claim *p, size_t room,
                        const struct shke_trial *trial)
{
    struct claiming a = {.queue = q, .claim = p};
    int r = take_consumer(q, trial, &a.consumer);
    struct shke_actor *c = a.consumer;

    if (r < 0)
        return r;
    c->n_items = shke_view_name(q, c->items, room);
    c->takes_first = true;
    for (unsigned i = 0; i < c->n_items; i++) {
        a.before[i].item = c->items[i];
        a.before[i].mod = c->items[i]->tries_mod;
        a.before[i].tries = c->items[i]->tries;
    }
    r = TRY_AGAIN;
    if (c->n_items > 0) {
        q->claims_moving++;
        pthread_mutex_unlock(&q->object.lock);
        r = claim_some(&a, trial);
        pthread_mutex_lock(&q->object.lock);
        q->claims_moving--;
    }
    if (r == 0)
        have(&a);
    else
        shke_consumer_give_up(c);
    if (r != 0 && a.is_doubtful)
        memcpy(c->doubtful, a.nonce, sizeof(a.nonce));
    if (r == TRY_AGAIN && a.is_doubtful) { /* at once: it would be an attempt that is none */
        pthread_mutex_unlock(&q->object.lock);
        r = shke_consumer_settle(q, c, trial);
        pthread_mutex_lock(&q->object.lock);
        r = r < 0 ? r : TRY_AGAIN;
    }
    shke_actor_give(q, c, false);
    return r;
}

int shke_claim_next(struct shke_queue *q, struct shke_claim *c, size_t room, struct shke_wait *w)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    const struct iovec one = {.iov_len = room};
    int r = shke_view_start(q, &trial);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    do {
        r = shke_view_fit(q, &one, 1);
        if (r > 0) {
            r = try_to_claim(q, c, room, &trial);
        } else if (r == 0) {
            r = shke_wait_more(q, w);
            r = r == 0 ? TRY_AGAIN : r;
        }
    } while (r == TRY_AGAIN);
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

/* ---- Consuming ---- */

static int send_consume(struct shke_queue *q, const struct shke_claim *p,
                        const struct shke_actor *c, const char *nonce, struct shke_reply *reply)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_txn t = {0};

    shke_if_there(&t, &q->object);
    shke_if_written(&t, p->slot, p->item->mod);
    shke_if_created(&t, p->claim, p->created);
    shke_then_delete(&t, p->slot);
    shke_then_delete(&t, p->claim);
    if (p->is_lease || p->item->tries_mod)
        shke_then_delete(&t, p->tries);
    shke_consumer_write(c, nonce, 0, p->is_lease ? 0 : 1, p->lease, &t);
    shke_else_get(&t, c->key);
    return shke_txn_run(shke_object_client(&q->object), &t, &trial, reply);
}

/* Without the object's lock: 1: the claim is not this process's any more. */
static int consume(struct shke_queue *q, const struct shke_claim *p, struct shke_actor *c)
{
    struct shke_kv last = {0};
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    int r;

    shke_nonce(nonce);
    do
        r = send_consume(q, p, c, nonce, &reply);
    while (r == -EHOSTUNREACH && shke_session_has(q->object.segment->session, p->lease));
    if (r < 0 && r != -ESTALE)
        memcpy(c->doubtful, nonce, sizeof(nonce)); /* it may still write the key */
    if (r < 0)
        return r;
    if (reply.succeeded) {
        c->mod = reply.revision;
    } else {
        r = shke_check_there(&q->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &last);
        if (r == 0)
            r = shke_consumer_read(q, c, &last, nonce) ? 0 : 1;
    }
    if (r == 0 && !p->is_lease)
        c->tasks++;
    shke_kv_free(&last);
    shke_reply_free(&reply);
    return r;
}

int shke_claim_consume(struct shke_queue *q, struct shke_claim *p)
{
    struct shke_worker *worker;
    struct shke_actor *c;
    int r;

    pthread_mutex_lock(&q->object.lock);
    worker = shke_worker(q);
    c = worker ? shke_consumer_take(q, true) : NULL;
    pthread_mutex_unlock(&q->object.lock);
    r = c ? consume(q, p, c) : -ENOMEM;
    pthread_mutex_lock(&q->object.lock);
    if (c)
        shke_actor_give(q, c, false);
    if (r == 0) {
        worker->tasks += !p->is_lease;
        shke_view_drop(q, p->item);
    }
    shke_claim_discard(q, p);
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

/* ---- Giving back ---- */

static int64_t delete_claim(struct shke_queue *q, const char *claim, int64_t created,
                            const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t r;

    shke_if_created(&t, claim, created);
    shke_then_delete(&t, claim);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r == 0)
        r = reply.revision;
    shke_reply_free(&reply);
    return r;
}

static int64_t send_nack(struct shke_queue *q, struct shke_claim *c, int64_t delay,
                         const struct shke_trial *trial)
{
    unsigned tries = delay < 0 ? c->attempts - 1 : c->attempts;
    struct shke_kv there = {0};
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t r;

    shke_nonce(nonce);
    shke_if_there(&t, &q->object);
    shke_if_created(&t, c->claim, c->created);
    shke_then_delete(&t, c->claim);
    write_tries(&t, c->tries, c->item->mod, tries, delay < 0 ? 0 : delay, nonce);
    shke_else_get(&t, c->tries);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = reply.succeeded ? 0 : shke_check_there(&q->object, &reply);
    if (r == 0 && !reply.succeeded)
        r = shke_reply_kv(&reply, 1, &there);
    /* an earlier sending may have done it */
    if (r == 0 && !reply.succeeded && !(there.value && strstr((char *)there.value, nonce)))
        r = -ENOENT;
    if (r == 0)
        r = reply.revision;
    shke_kv_free(&there);
    shke_reply_free(&reply);
    return r;
}

int shke_claim_give_back(struct shke_queue *q, struct shke_claim *c, int64_t delay)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    int64_t r = c->is_lease ? send_nack(q, c, delay, &trial)
                            : delete_claim(q, c->claim, c->created, &trial);

    pthread_mutex_lock(&q->object.lock);
    if (r > 0 && c->is_lease)
        shke_item_set_tries(q, c->item, delay < 0 ? c->attempts - 1 : c->attempts, delay, r);
    if (r > 0 && c->item->claim == c->created)
        shke_item_learn_claim(c->item, 0, 0, r);
    shke_claim_discard(q, c);
    pthread_cond_broadcast(&q->object.changed);
    pthread_mutex_unlock(&q->object.lock);
    return r < 0 ? (int)r : 0;
}

/* ---- Strays ---- */

/* A claim that was given up while its request was under way has come through after all. */
void shke_claims_give_back_strays(struct shke_queue *q)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    char claim[SHKE_KEY_MAX];
    const struct shke_item *first = NULL;
    int64_t created = 0;

    pthread_mutex_lock(&q->object.lock);
    if (q->may_have_stray && !q->claims_moving) {
        q->may_have_stray = false;
        first = q->head;
    }
    for (const struct shke_item *i = first; i && !created; i = i->next)
        if (i->claim && i->held != i->claim &&
            shke_session_has(q->object.segment->session, i->claim_lease)) {
            created = i->claim;
            q->may_have_stray = true; /* there may be another one */
            shke_key(claim, &q->object, "slot.claim/%s", i->slot);
        }
    pthread_mutex_unlock(&q->object.lock);
    if (created)
        delete_claim(q, claim, created, &trial);
}
