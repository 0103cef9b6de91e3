/*
 * Consumers: what each writes to its key last/CONSUMER, and requests of which it is not known what
 * has come.
 *
 * A request that is given up, because no majority answers, may have been carried out, or may still
 * be. Its consumer keeps the items that it named, as doubtful, and the next call of this process
 * that takes items, or ends a task, settles that before anything else: it writes the consumer's
 * key, compared with what it was. Either that succeeds: then the earlier request has not been
 * carried out, and never will be. Or the key has the nonce of that request: then the items are this
 * process's, and the next get returns them.
 */
#include "etcd/queue.h"

#include <stdio.h>
#include <string.h>

/* ---- The value of the key ---- */

static size_t write_last(char to[SHKE_LAST_MAX], const struct shke_last *last)
{
    return (size_t)snprintf(to, SHKE_LAST_MAX, "%s %u %u %016llx", last->nonce, last->index,
                            last->tasks, (unsigned long long)last->lease);
}

bool shke_last_read(const struct shke_kv *kv, struct shke_last *last)
{
    unsigned long long lease = 0;

    *last = (struct shke_last){0};
    if (kv->value == NULL || sscanf((const char *)kv->value, "%32s %u %u %llx", last->nonce,
                                    &last->index, &last->tasks, &lease) != 4)
        return false;
    last->lease = (int64_t)lease;
    return true;
}

void shke_consumer_write(const struct shke_actor *c, const char *nonce, unsigned index, unsigned n,
                         int64_t lease, struct shke_txn *t)
{
    struct shke_last last = {.index = index, .tasks = c->tasks + n, .lease = lease};
    char value[SHKE_LAST_MAX];

    memcpy(last.nonce, nonce, sizeof(last.nonce));
    shke_then_put(t, c->key, value, write_last(value, &last), 0);
}

/* ---- The items that it has named ---- */

/* Only the first of several, of which it wants one, is marked as tried. */
static void leave(const struct shke_actor *c, struct shke_item *item, bool is_first)
{
    if (!is_first && c->takes_first)
        shke_item_unref(item);
    else
        shke_item_release(item);
}

void shke_consumer_choose(struct shke_actor *c, unsigned index)
{
    struct shke_item *chosen = c->items[index];

    for (unsigned i = 0; i < c->n_items; i++)
        if (i != index)
            leave(c, c->items[i], i == 0);
    c->items[0] = chosen;
    c->n_items = 1;
}

void shke_consumer_give_up(struct shke_actor *c)
{
    for (unsigned i = 0; i < c->n_items; i++)
        leave(c, c->items[i], i == 0);
    c->n_items = 0;
    c->owns = false;
    c->doubtful[0] = '\0';
}

bool shke_consumer_read(struct shke_queue *q, struct shke_actor *c, const struct shke_kv *kv,
                        const char *nonce)
{
    struct shke_last last;
    bool is_known = shke_last_read(kv, &last);

    c->mod = kv->mod;
    if (!is_known || strcmp(last.nonce, nonce) != 0)
        return false;
    pthread_mutex_lock(&q->object.lock);
    if (c->n_items > 0)
        c->tasks = last.tasks;
    if (c->takes_first && last.index < c->n_items)
        shke_consumer_choose(c, last.index);
    pthread_mutex_unlock(&q->object.lock);
    return true;
}

/* ---- Writing nothing but the key ---- */

enum { WRITTEN, FOUND, CHANGED };

/*
 * WRITTEN now, with that nonce; FOUND to have been written by an `earlier` one; or CHANGED by
 * another one, and `c` has learnt how. Or an error.
 */
static int write_key(struct shke_queue *q, struct shke_actor *c, const char *nonce,
                     const char *earlier, const struct shke_trial *trial)
{
    struct shke_kv last = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t lease;
    int r = shke_segment_lease(q->object.segment, trial, &lease);

    if (r < 0)
        return r;
    shke_if_there(&t, &q->object);
    shke_if_written(&t, c->key, c->mod);
    shke_consumer_write(c, nonce, 0, 0, lease, &t);
    shke_else_get(&t, c->key);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        c->mod = reply.revision;
        r = WRITTEN;
    } else {
        r = shke_check_there(&q->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &last);
        if (r == 0)
            r = shke_consumer_read(q, c, &last, earlier) ? FOUND : CHANGED;
    }
    shke_kv_free(&last);
    shke_reply_free(&reply);
    return r;
}

/*
 * WRITTEN: the request has not been carried out, and never will be. CHANGED: likewise, an earlier
 * settling, which was given up itself, has come through.
 */
int shke_consumer_settle(struct shke_queue *q, struct shke_actor *c, const struct shke_trial *trial)
{
    char nonce[SHKE_NONCE_SIZE];
    int r;

    shke_nonce(nonce);
    do
        r = write_key(q, c, nonce, c->doubtful, trial);
    while (r == FOUND && c->n_items == 0); /* a consume: the key has a task that is none */
    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    c->doubtful[0] = '\0';
    if (r == FOUND)
        c->owns = c->n_items > 0;
    else if (!c->owns)
        shke_consumer_give_up(c);
    pthread_mutex_unlock(&q->object.lock);
    return 0;
}

int shke_consumer_note(struct shke_queue *q, struct shke_actor *c, const struct shke_trial *trial)
{
    char nonce[SHKE_NONCE_SIZE];
    int r;

    do {
        shke_nonce(nonce);
        r = write_key(q, c, nonce, nonce, trial);
    } while (r == CHANGED);
    if (r == -EHOSTUNREACH)
        memcpy(c->doubtful, nonce, sizeof(nonce));
    return r < 0 ? r : 0;
}

/* ---- Of this process ---- */

/*
 * A consumer with items, or in doubt, comes first; then the calling thread's, which has its tasks.
 */
struct shke_actor *shke_consumer_take(struct shke_queue *q, bool settled)
{
    struct shke_actor **best = NULL, *c;

    for (struct shke_actor **link = &q->consumers; (c = *link) != NULL; link = &c->next) {
        if (*c->doubtful || c->n_items > 0) {
            if (settled)
                continue;
            best = link;
            break;
        }
        if (c->tid == shke_tid() || (best == NULL && c->tasks == 0))
            best = link;
    }
    if (best == NULL) {
        c = shke_actor_new(q, false);
    } else {
        c = *best;
        *best = c->next;
    }
    if (c && c->tasks == 0)
        c->tid = shke_tid();
    return c;
}

struct shke_actor *shke_consumer_take_busy(struct shke_queue *q)
{
    struct shke_actor **best = NULL, *c;

    for (struct shke_actor **link = &q->consumers; (c = *link) != NULL; link = &c->next)
        if (c->tasks > 0 && (best == NULL || c->tid == shke_tid()))
            best = link;
    if (best == NULL)
        return NULL;
    c = *best;
    *best = c->next;
    return c;
}
