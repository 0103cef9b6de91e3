/* Getting: one item, the first that is there of those that it names, or many. */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = 1 };

#define CLAIMS_LAST SHK_SEC(5) /* so long there may be claims, after one has been seen */

/* ---- One transaction ---- */

struct get {
    struct shke_queue *queue;
    struct shke_actor *consumer; /* whose items it wants */
    int64_t lease;
    char nonce[SHKE_NONCE_SIZE];
};

static void keys_of(const struct shke_queue *q, const struct shke_item *i, char slot[SHKE_KEY_MAX],
                    char claim[SHKE_KEY_MAX])
{
    shke_key(slot, &q->object, "slot/%s", i->slot);
    shke_key(claim, &q->object, "slot.claim/%s", i->slot);
}

static void add_taking(const struct get *g, const struct shke_item *i, bool asks_for_claim,
                       struct shke_txn *t)
{
    char slot[SHKE_KEY_MAX], claim[SHKE_KEY_MAX], tries[SHKE_KEY_MAX];

    keys_of(g->queue, i, slot, claim);
    shke_if_written(t, slot, i->mod);
    if (asks_for_claim)
        shke_if_created(t, claim, 0);
    shke_then_delete(t, slot);
    if (i->tries_mod) {
        shke_key(tries, &g->queue->object, "slot.tries/%s", i->slot);
        shke_then_delete(t, tries);
    }
}

/* For shke_first_add(). */
static void take_one(void *arg, unsigned i, struct shke_txn *t)
{
    const struct get *g = arg;

    add_taking(g, g->consumer->items[i], true, t);
    shke_consumer_write(g->consumer, g->nonce, i, 1, g->lease, t);
}

/* No claim at all is one comparison, and not one for each. */
static void add_all(const struct get *g, struct shke_txn *t)
{
    bool each = g->consumer->n_items == 1 || g->queue->claimed_at + CLAIMS_LAST > shke_now();
    char claims[SHKE_KEY_MAX];

    if (!each) {
        shke_key(claims, &g->queue->object, "slot.claim/");
        shke_if_none(t, claims);
    }
    for (unsigned i = 0; i < g->consumer->n_items; i++)
        add_taking(g, g->consumer->items[i], each, t);
    shke_consumer_write(g->consumer, g->nonce, 0, g->consumer->n_items, g->lease, t);
}

/* That the queue is there is known if an item is. */
static int send_get(struct get *g, const struct shke_trial *trial, struct shke_reply *reply)
{
    struct shke_txn t = {0};

    shke_if_written(&t, g->consumer->key, g->consumer->mod);
    if (g->consumer->takes_first)
        shke_first_add(&t, g->queue, g->consumer, false, take_one, g);
    else
        add_all(g, &t);
    return shke_txn_run(shke_object_client(&g->queue->object), &t, trial, reply);
}

/* The consumer's key was as it had left it. 0: it has one of the items; TRY_AGAIN. */
static int read_first(const struct get *g, const struct shke_reply *reply)
{
    int r;

    pthread_mutex_lock(&g->queue->object.lock);
    r = shke_first_read(g->queue, g->consumer, false, reply);
    pthread_mutex_unlock(&g->queue->object.lock);
    return r;
}

/*
 * The consumer's key was not as it had left it, or of all items one was not there: an earlier
 * sending of the same request has taken them, 0; or TRY_AGAIN.
 */
static int read_failure(const struct get *g, const struct shke_reply *reply)
{
    struct shke_queue *q = g->queue;
    struct shke_actor *c = g->consumer;
    struct shke_kv last = {0};
    int r = shke_check_there(&q->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &last);
    if (r == 0)
        r = shke_consumer_read(q, c, &last, g->nonce) ? 0 : TRY_AGAIN;
    shke_kv_free(&last);
    pthread_mutex_lock(&q->object.lock);
    for (unsigned i = 0; r == TRY_AGAIN && i < c->n_items; i++)
        if (shke_item_learn(q, c->items[i], reply, 2 + 2 * i, false) < 0)
            r = -ENOMEM;
    if (r == TRY_AGAIN && c->n_items == 1)
        shke_view_learn_rivals(q, 1, 1);
    if (r == TRY_AGAIN && shke_reply_count(reply, 2 + 2 * c->n_items) > 0)
        q->claimed_at = shke_now();
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

/*
 * Most gets succeed, so why one has not is asked by itself. What is read then is of a later moment,
 * and no less true: the consumer's key, which no other process writes, and what has become of the
 * items.
 */
static int ask_why(const struct get *g, const struct shke_trial *trial)
{
    char slot[SHKE_KEY_MAX], claim[SHKE_KEY_MAX], record[SHKE_KEY_MAX], claims[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_key(record, &g->queue->object, ".object");
    shke_key(claims, &g->queue->object, "slot.claim/");
    shke_then_get(&t, record);
    shke_then_get(&t, g->consumer->key);
    for (unsigned i = 0; i < g->consumer->n_items; i++) {
        keys_of(g->queue, g->consumer->items[i], slot, claim);
        shke_then_get_key(&t, slot);
        shke_then_get(&t, claim);
    }
    shke_then_count(&t, claims);
    r = shke_txn_run(shke_object_client(&g->queue->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = read_failure(g, &reply);
    shke_reply_free(&reply);
    return r;
}

/*
 * Without the object's lock: 0: the items are this process's; TRY_AGAIN: another one has one, or
 * the consumer is in doubt.
 */
static int get_some(struct get *g, const struct shke_trial *trial)
{
    struct shke_actor *c = g->consumer;
    struct shke_reply reply;
    int r = shke_segment_lease(g->queue->object.segment, trial, &g->lease);

    if (r < 0)
        return r;
    shke_nonce(g->nonce);
    r = send_get(g, trial, &reply);
    if (r == 0 && !reply.succeeded)
        r = ask_why(g, trial);
    else if (r == 0) {
        r = c->takes_first ? read_first(g, &reply) : 0;
        if (r == 0) {
            c->mod = reply.revision;
            c->tasks += c->n_items;
        }
    }
    c->owns = r == 0;
    /*
     * Whatever refused it: one of its sendings may come through. So may an earlier one if the last
     * found all claimed: when a claim is given back.
     */
    if (r == TRY_AGAIN ? reply.sent > 1 : r < 0 && r != -ESTALE)
        memcpy(c->doubtful, g->nonce, sizeof(g->nonce));
    shke_reply_free(&reply);
    return r;
}

/* ---- A call ---- */

/*
 * With the object's lock: up to n items, of at most `room` bytes if it is one, come to the
 * consumer: how many it has; 0: none can be had now, wait; or, `again`, another process has taken
 * one: look what is next. Or an error.
 */
static int take(struct shke_queue *q, struct shke_actor *c, unsigned n, size_t room,
                const struct shke_trial *trial, bool *again)
{
    struct get g = {.queue = q, .consumer = c};
    int r;

    if (*c->doubtful) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_consumer_settle(q, c, trial);
        pthread_mutex_lock(&q->object.lock);
        if (r < 0)
            return r;
        *again = c->n_items == 0;
    } else if (c->n_items == 0) {
        c->n_items = n == 1 ? shke_view_name(q, c->items, room) : shke_view_take(q, c->items, n);
        c->takes_first = n == 1 && c->n_items > 1;
        if (c->n_items == 0)
            return 0;
        pthread_mutex_unlock(&q->object.lock);
        r = get_some(&g, trial);
        pthread_mutex_lock(&q->object.lock);
        if (r != 0 && *c->doubtful == '\0')
            shke_consumer_give_up(c);
        if (r < 0)
            return r;
        *again = r == TRY_AGAIN;
        if (*again)
            return 0;
    }
    for (unsigned i = 0; i < c->n_items; i++)
        shke_view_drop(q, c->items[i]);
    return (int)c->n_items;
}

/*
 * Items that an earlier get took in doubt, more than it had buffers, stay for the next one.
 *
 * Copy the first items out, as far as they fit: how many; -EMSGSIZE: not even the first does.
 */
static int deliver(struct shke_queue *q, struct shke_actor *c, struct shke_worker *worker,
                   struct iovec *bufs, unsigned n, int64_t *priority)
{
    unsigned done = 0;

    if (c->items[0]->length > bufs[0].iov_len)
        return shke_say_small(q, c->items[0], bufs[0].iov_len);
    while (done < n && done < c->n_items && c->items[done]->length <= bufs[done].iov_len) {
        struct shke_item *i = c->items[done];

        if (i->length > 0)
            memcpy(bufs[done].iov_base, i->bytes, i->length);
        bufs[done].iov_len = i->length;
        if (priority)
            *priority = i->priority;
        shke_item_release(i);
        done++;
        worker->tasks++;
    }
    c->n_items -= done;
    c->owns = c->n_items > 0;
    memmove(c->items, c->items + done, c->n_items * sizeof(c->items[0]));
    return (int)done;
}

static int get(struct shke_queue *q, struct shke_wait *w, struct iovec *bufs, unsigned n,
               int64_t *priority)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    struct shke_worker *worker;
    struct shke_actor *c;
    bool again;
    int r = shke_view_start(q, &trial);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    worker = shke_worker(q);
    r = worker ? 0 : -ENOMEM;
    while (r == 0) {
        again = false;
        c = shke_consumer_take(q, false);
        r = c ? 0 : -ENOMEM;
        if (r == 0 && c->n_items == 0)
            r = shke_view_fit(q, bufs, n); /* lengths are known before items are taken */
        if (r > 0 || (r == 0 && c->n_items > 0))
            r = take(q, c, (unsigned)r, bufs[0].iov_len, &trial, &again);
        if (r > 0)
            r = deliver(q, c, worker, bufs, n, priority);
        if (c)
            shke_actor_give(q, c, false);
        if (r == 0 && !again)
            r = shke_wait_more(q, w);
    }
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

static int get_checked(struct shk_queue *base, struct iovec *bufs, unsigned n, int64_t timeout,
                       int64_t *priority)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_waiting waiting;
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
    shke_waiting_begin(&waiting, &q->object, SHK_WAITS_TO_GET, &w.deadline);
    r = get(q, &w, bufs, n, priority);
    shke_waiting_end(&waiting);
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
