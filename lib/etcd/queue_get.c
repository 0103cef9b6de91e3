/*
 * Getting.
 *
 * A get that is given up, because no majority answers, may have taken its items, or may still take
 * them. Its consumer keeps them as doubtful, and the next get of this process settles that before
 * anything else: it writes the consumer's key, compared with what it was. Either that succeeds:
 * then the earlier request has not been carried out, and never will be. Or the key has the nonce of
 * that request: then the items are this process's, and the call returns them.
 */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = 1 };

/* ---- One transaction ---- */

struct get {
    struct shke_queue *queue;
    struct shke_actor *consumer;
    struct shke_item **items; /* of the consumer */
    unsigned n;
};

static void keys_of(const struct shke_queue *q, const struct shke_item *i, char slot[SHKE_KEY_MAX],
                    char claim[SHKE_KEY_MAX])
{
    shke_key(slot, &q->object, "slot/%s", i->slot);
    shke_key(claim, &q->object, "slot.claim/%s", i->slot);
}

static int send_get(struct get *g, const char *nonce, const struct shke_trial *trial,
                    struct shke_reply *reply)
{
    char slot[SHKE_KEY_MAX], claim[SHKE_KEY_MAX];
    struct shke_queue *q = g->queue;
    struct shke_txn t = {0};

    shke_if_there(&t, &q->object);
    shke_if_written(&t, g->consumer->key, g->consumer->mod);
    shke_else_get(&t, g->consumer->key);
    for (unsigned i = 0; i < g->n; i++) {
        keys_of(q, g->items[i], slot, claim);
        shke_if_written(&t, slot, g->items[i]->mod);
        shke_if_created(&t, claim, 0);
        shke_then_delete(&t, slot);
        shke_else_get_key(&t, slot);
        shke_else_get(&t, claim);
    }
    shke_then_put(&t, g->consumer->key, nonce, strlen(nonce), 0);
    return shke_txn_run(shke_object_client(&q->object), &t, trial, reply);
}

/* With the object's lock: what the servers say of an item that could not be taken. */
static int learn_item(struct shke_queue *q, struct shke_item *i, const struct shke_reply *reply,
                      unsigned answer)
{
    struct shke_kv slot = {0}, claim = {0};
    int r = shke_reply_kv(reply, answer, &slot);

    if (r == 0)
        r = shke_reply_kv(reply, answer + 1, &claim);
    if (r == 0 && slot.mod != i->mod)
        shke_view_drop(q, i);
    else if (r == 0)
        shke_item_learn_claim(i, claim.create, claim.lease, reply->revision);
    shke_kv_free(&slot);
    shke_kv_free(&claim);
    return r;
}

static int read_failure(struct get *g, const char *nonce, const struct shke_reply *reply)
{
    struct shke_queue *q = g->queue;
    struct shke_kv last = {0};
    int r = shke_check_there(&q->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &last);
    if (r < 0)
        return r;
    g->consumer->mod = last.mod;
    r = last.value && strcmp((char *)last.value, nonce) == 0 ? 0 : TRY_AGAIN;
    shke_kv_free(&last);
    pthread_mutex_lock(&q->object.lock);
    for (unsigned i = 0; r == TRY_AGAIN && i < g->n; i++)
        if (learn_item(q, g->items[i], reply, 2 + 2 * i) < 0)
            r = -ENOMEM;
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

/* Without the object's lock: 0: the items are this process's; TRY_AGAIN: another one has one. */
static int get_some(struct get *g, const struct shke_trial *trial)
{
    struct shke_actor *c = g->consumer;
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    int r;

    shke_nonce(nonce);
    r = send_get(g, nonce, trial, &reply);
    if (r == 0 && reply.succeeded)
        c->mod = reply.revision;
    if (r == 0 && !reply.succeeded)
        r = read_failure(g, nonce, &reply);
    if (r == -EHOSTUNREACH)
        memcpy(c->doubtful, nonce, sizeof(nonce));
    shke_reply_free(&reply);
    return r;
}

/* What has come of a get that was given up: 0: it took its items; TRY_AGAIN: it never will. */
static int settle_doubt(struct shke_queue *q, struct shke_actor *c, const struct shke_trial *trial)
{
    char nonce[SHKE_NONCE_SIZE];
    struct shke_kv last = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_nonce(nonce);
    shke_if_there(&t, &q->object);
    shke_if_written(&t, c->key, c->mod);
    shke_then_put(&t, c->key, nonce, strlen(nonce), 0);
    shke_else_get(&t, c->key);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        c->mod = reply.revision;
        r = TRY_AGAIN;
    } else {
        r = shke_check_there(&q->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &last);
        if (r == 0) {
            c->mod = last.mod;
            r = last.value && strcmp((char *)last.value, c->doubtful) == 0 ? 0 : TRY_AGAIN;
        }
    }
    shke_kv_free(&last);
    shke_reply_free(&reply);
    return r;
}

/* ---- A call ---- */

static void give_up_items(struct shke_actor *c)
{
    for (unsigned i = 0; i < c->n_items; i++)
        shke_item_release(c->items[i]);
    c->n_items = 0;
    c->doubtful[0] = '\0';
}

/*
 * With the object's lock: up to n items come to the consumer: how many it has; 0: none can be had
 * now, wait; or, `again`, another process has taken one: look what is next. Or an error.
 */
static int take(struct shke_queue *q, struct shke_actor *c, unsigned n,
                const struct shke_trial *trial, bool *again)
{
    struct get g = {.queue = q, .consumer = c, .items = c->items};
    int r;

    if (*c->doubtful) {
        pthread_mutex_unlock(&q->object.lock);
        r = settle_doubt(q, c, trial);
        pthread_mutex_lock(&q->object.lock);
        if (r == TRY_AGAIN)
            give_up_items(c);
        else if (r == 0)
            c->doubtful[0] = '\0';
        if (r < 0)
            return r;
        *again = r == TRY_AGAIN;
    } else if (c->n_items == 0) {
        g.n = c->n_items = shke_view_take(q, c->items, n);
        if (g.n == 0)
            return 0;
        pthread_mutex_unlock(&q->object.lock);
        r = get_some(&g, trial);
        pthread_mutex_lock(&q->object.lock);
        if (r != 0 && *c->doubtful == '\0')
            give_up_items(c);
        if (r < 0)
            return r;
        *again = r == TRY_AGAIN;
    }
    for (unsigned i = 0; i < c->n_items; i++)
        shke_view_drop(q, c->items[i]);
    return (int)c->n_items;
}

/* A consumer with items, or in doubt, comes first. */
static struct shke_actor *take_consumer(struct shke_queue *q)
{
    struct shke_actor **link = &q->consumers, *c;

    for (; (c = *link) != NULL; link = &c->next)
        if (*c->doubtful || c->n_items > 0) {
            *link = c->next;
            return c;
        }
    return shke_actor_take(q, false);
}

static int say_small(const struct shke_queue *q, const struct shke_item *i, size_t size)
{
    return shke_fail(-EMSGSIZE, "the next item of %s/%s has %zu bytes, the buffer %zu",
                     q->object.segment->segment.name, q->object.name, i->length, size);
}

/*
 * Items that an earlier get took in doubt, more than it had buffers, stay for the next one.
 *
 * Copy the first items out, as far as they fit: how many; -EMSGSIZE: not even the first does.
 */
static int deliver(const struct shke_queue *q, struct shke_actor *c, struct iovec *bufs, unsigned n,
                   int64_t *priority)
{
    unsigned done = 0;

    if (c->items[0]->length > bufs[0].iov_len)
        return say_small(q, c->items[0], bufs[0].iov_len);
    while (done < n && done < c->n_items && c->items[done]->length <= bufs[done].iov_len) {
        struct shke_item *i = c->items[done];

        if (i->length > 0)
            memcpy(bufs[done].iov_base, i->bytes, i->length);
        bufs[done].iov_len = i->length;
        if (priority)
            *priority = i->priority;
        shke_item_release(i);
        done++;
    }
    c->n_items -= done;
    memmove(c->items, c->items + done, c->n_items * sizeof(c->items[0]));
    return (int)done;
}

/*
 * With the object's lock. The lengths of the items are known before they are taken: n is what fits,
 * 0: there is none; -EMSGSIZE.
 */
static int fit(struct shke_queue *q, const struct iovec *bufs, unsigned n)
{
    struct shke_item *i = q->order == SHK_LIFO ? q->tail : q->head;
    unsigned k = 0;

    for (; i && k < n && k < SHKE_BATCH; i = q->order == SHK_LIFO ? i->previous : i->next) {
        if (!shke_item_is_free(i))
            continue;
        if (i->length > bufs[k].iov_len)
            return k ? (int)k : say_small(q, i, bufs[0].iov_len);
        k++;
    }
    return (int)k;
}

static int get(struct shke_queue *q, struct shke_wait *w, struct iovec *bufs, unsigned n,
               int64_t *priority)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    struct shke_actor *c;
    bool again;
    int r = shke_view_start(q, &trial);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    do {
        again = false;
        c = take_consumer(q);
        r = c ? 0 : -ENOMEM;
        if (r == 0 && c->n_items == 0)
            r = fit(q, bufs, n);
        if (r > 0 || (r == 0 && c->n_items > 0))
            r = take(q, c, (unsigned)r, &trial, &again);
        if (r > 0)
            r = deliver(q, c, bufs, n, priority);
        if (c)
            shke_actor_give(q, c, false);
        if (r == 0 && !again)
            r = shke_wait_more(q, w);
    } while (r == 0);
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

static int get_checked(struct shk_queue *base, struct iovec *bufs, unsigned n, int64_t timeout,
                       int64_t *priority)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_wait w;
    int r = shke_enter(&base->object, &q->object);

    for (unsigned i = 0; r == 0 && i < n; i++)
        if (bufs[i].iov_base == NULL && bufs[i].iov_len > 0)
            r = shke_fail(-EINVAL, "the buffer is NULL");
    if (r < 0)
        return r;
    if (shke_peek_is_open(q))
        return shke_host->object_say(&base->object, -EDEADLK, "the calling thread has a peek open");
    shke_host->error_save(&saved);
    w = shke_wait_begin(q, &base->object, timeout);
    r = get(q, &w, bufs, n, priority);
    return shke_host->error_settle(r, &saved);
}

ssize_t shke_queue_get(struct shk_queue *base, void *buf, size_t size, int64_t timeout,
                       int64_t *priority)
{
    struct iovec one = {buf, size};
    int r = get_checked(base, &one, 1, timeout, priority);

    return r < 0 ? r : (ssize_t)one.iov_len;
}

int shke_queue_get_many(struct shk_queue *base, struct iovec *bufs, unsigned n, int64_t timeout)
{
    struct shki_saved_error saved;
    int done = get_checked(base, bufs, n, timeout, NULL), r = done;

    if (done < 0)
        return done;
    shke_host->error_save(&saved);
    while (r == SHKE_BATCH && (unsigned)done < n) {
        r = get_checked(base, bufs + done, n - (unsigned)done, SHK_NOWAIT, NULL);
        done += r > 0 ? r : 0;
    }
    return shke_host->error_settle(done, &saved);
}
