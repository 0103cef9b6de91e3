/*
 * Claims: an item that is peeked, or leased, stays in the queue, claimed with the lease of the
 * process that has it.
 *
 *     claim                              consume
 *     compare slot/S is as it was seen,  compare slot/S is as it was, slot.claim/S is mine
 *         slot.claim/S is absent         delete both, and slot.tries/S; put last/CONSUMER
 *     put slot.claim/S with my lease
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

static void write_tries(const struct shke_claim *c, unsigned tries, int64_t delay,
                        const char *nonce, struct shke_txn *t)
{
    char value[SHKE_TRIES_MAX];
    int n = snprintf(value, sizeof(value), "%lld %u %lld %s", (long long)c->item->mod, tries,
                     (long long)delay, nonce);

    shke_then_put(t, c->tries, value, (size_t)n, 0);
}

static int send_claim(struct shke_queue *q, struct shke_claim *c, const char *nonce,
                      const struct shke_trial *trial, struct shke_reply *reply)
{
    struct shke_txn t = {0};

    shke_key(c->slot, &q->object, "slot/%s", c->item->slot);
    shke_key(c->claim, &q->object, "slot.claim/%s", c->item->slot);
    shke_key(c->tries, &q->object, "slot.tries/%s", c->item->slot);
    shke_if_there(&t, &q->object);
    shke_if_written(&t, c->slot, c->item->mod);
    shke_if_created(&t, c->claim, 0);
    shke_then_put(&t, c->claim, nonce, strlen(nonce), c->lease);
    shke_else_get_key(&t, c->slot);
    shke_else_get(&t, c->claim);
    if (c->is_lease) {
        shke_if_written(&t, c->tries, c->item->tries_mod);
        write_tries(c, c->attempts, 0, nonce, &t);
        shke_else_get(&t, c->tries);
    }
    return shke_txn_run(shke_object_client(&q->object), &t, trial, reply);
}

static int read_failure(struct shke_queue *q, struct shke_claim *c, const char *nonce,
                        const struct shke_reply *reply)
{
    struct shke_kv slot = {0}, claim = {0}, tries = {0};
    int r = shke_check_there(&q->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &slot);
    if (r == 0)
        r = shke_reply_kv(reply, 2, &claim);
    if (r == 0 && c->is_lease)
        r = shke_reply_kv(reply, 3, &tries);
    if (r == 0) {
        c->created = claim.create;
        r = claim.value && strcmp((char *)claim.value, nonce) == 0 ? 0 : TRY_AGAIN;
        pthread_mutex_lock(&q->object.lock);
        shke_item_learn_claim(c->item, claim.create, claim.lease, reply->revision);
        if (c->is_lease)
            shke_item_learn_tries(q, c->item, &tries, reply->revision);
        if (slot.mod != c->item->mod)
            shke_view_drop(q, c->item);
        pthread_mutex_unlock(&q->object.lock);
    }
    shke_kv_free(&slot);
    shke_kv_free(&claim);
    shke_kv_free(&tries);
    return r;
}

/* Without the object's lock: 0: it is claimed; TRY_AGAIN: another process has it. */
static int claim_item(struct shke_queue *q, struct shke_claim *c, const struct shke_trial *trial)
{
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    int r = shke_segment_lease(q->object.segment, trial, &c->lease);

    if (r < 0)
        return r;
    shke_nonce(nonce);
    c->attempts = c->item->tries + 1;
    r = send_claim(q, c, nonce, trial, &reply);
    if (r == -ESTALE) { /* the lease has just ended */
        shke_session_lost(q->object.segment->session, c->lease);
        return TRY_AGAIN;
    }
    if (r == 0 && reply.succeeded)
        c->created = reply.revision;
    if (r == 0 && !reply.succeeded)
        r = read_failure(q, c, nonce, &reply);
    shke_reply_free(&reply);
    return r;
}

/* With the object's lock, which is not held over the request. As claim_item(). */
static int try_item(struct shke_queue *q, struct shke_claim *c, const struct shke_trial *trial)
{
    int r;

    q->claims_moving++;
    pthread_mutex_unlock(&q->object.lock);
    r = claim_item(q, c, trial);
    pthread_mutex_lock(&q->object.lock);
    q->claims_moving--;
    if (r == 0) {
        shke_item_learn_claim(c->item, c->created, c->lease, c->created);
        if (c->is_lease)
            shke_item_set_tries(q, c->item, c->attempts, 0, c->created);
        list(q, c);
    } else {
        shke_item_release(c->item);
        c->item = NULL;
    }
    return r;
}

int shke_claim_next(struct shke_queue *q, struct shke_claim *c, size_t room, struct shke_wait *w)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    int r = shke_view_start(q, &trial);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    do {
        if (shke_view_take(q, &c->item, 1) == 0) {
            r = shke_wait_more(q, w);
            if (r == 0)
                r = TRY_AGAIN;
        } else if (c->item->length > room) {
            r = shke_say_small(q, c->item, room);
            shke_item_release(c->item);
        } else {
            r = try_item(q, c, &trial);
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
    if (r == -EHOSTUNREACH)
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
    write_tries(c, tries, delay < 0 ? 0 : delay, nonce, &t);
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
