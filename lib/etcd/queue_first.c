/*
 * Which items a call takes, and a transaction that takes the first of several that is there.
 *
 * Several consumers want the same item, the next one. So each names the first few, one within the
 * other: if the first is there, it is taken; else if the second is there ... By one request each is
 * given one, and what has become of those before it. How many are named follows from how often the
 * first one was there.
 */
#include "etcd/queue.h"

enum { TRY_AGAIN = 1 };

/* ---- Which ---- */

static struct shke_item *first_of(const struct shke_queue *q)
{
    return q->order == SHK_LIFO ? q->tail : q->head;
}

static struct shke_item *behind(const struct shke_queue *q, const struct shke_item *i)
{
    return q->order == SHK_LIFO ? i->previous : i->next;
}

int shke_say_small(const struct shke_queue *q, const struct shke_item *i, size_t size)
{
    return shke_fail(-EMSGSIZE, "the next item of %s/%s has %zu bytes, the buffer %zu",
                     q->object.segment->segment.name, q->object.name, i->length, size);
}

int shke_view_fit(struct shke_queue *q, const struct iovec *bufs, unsigned n)
{
    struct shke_item *i = first_of(q);
    unsigned k = 0;

    for (; i && k < n && k < SHKE_BATCH; i = behind(q, i)) {
        if (!shke_item_is_free(i))
            continue;
        if (i->length > bufs[k].iov_len)
            return k ? (int)k : shke_say_small(q, i, bufs[0].iov_len);
        k++;
    }
    return (int)k;
}

unsigned shke_view_take(struct shke_queue *q, struct shke_item **items, unsigned n)
{
    struct shke_item *i = first_of(q);
    size_t bytes = 0;
    unsigned found = 0;

    for (; i && found < n && found < SHKE_BATCH; i = behind(q, i)) {
        if (!shke_item_is_free(i))
            continue;
        bytes += i->length;
        if (found > 0 && bytes > SHKE_BATCH_BYTES)
            break;
        i->is_tried = true;
        i->refs++;
        items[found++] = i;
    }
    return found;
}

unsigned shke_view_name(struct shke_queue *q, struct shke_item **items, size_t room)
{
    struct shke_item *i = first_of(q);
    unsigned found = 0, most = q->named ? q->named : 1;

    for (; i && found < most; i = behind(q, i)) {
        /* behind the first, one that another thread tries may be left by it */
        if (found == 0 ? !shke_item_is_free(i) : !shke_item_may_be_named(i))
            continue;
        if (i->length > room)
            break;
        i->is_tried = i->is_tried || found == 0;
        i->refs++;
        items[found++] = i;
    }
    return found;
}

#define STREAK 32 /* so many firsts: one fewer is named; each costs a little, in each request */

void shke_view_learn_rivals(struct shke_queue *q, unsigned index, unsigned n)
{
    unsigned wanted = index + 2 < SHKE_NAMED_MAX ? index + 2 : SHKE_NAMED_MAX;

    if (index > 0 && wanted > q->named)
        q->named = wanted;
    else if (index >= n) /* all were gone */
        q->named = SHKE_NAMED_MAX;
    q->streak = index == 0 ? q->streak + 1 : 0;
    if (q->streak >= STREAK && q->named > 1) {
        q->named--;
        q->streak = 0;
    }
}

/* ---- The transaction ---- */

void shke_first_add(struct shke_txn *t, const struct shke_queue *q, const struct shke_actor *c,
                    bool asks_for_tries, shke_first_take *take, void *arg)
{
    char key[SHKE_KEY_MAX];
    struct shke_txn inner = {0}, one;

    for (unsigned i = c->n_items; i-- > 0; inner = one) {
        one = (struct shke_txn){0};
        take(arg, i, &one);
        shke_key(key, &q->object, "slot/%s", c->items[i]->slot);
        shke_else_get_key(&one, key);
        shke_key(key, &q->object, "slot.claim/%s", c->items[i]->slot);
        shke_else_get(&one, key);
        if (asks_for_tries) {
            shke_key(key, &q->object, "slot.tries/%s", c->items[i]->slot);
            shke_else_get(&one, key);
        }
        if (i + 1 < c->n_items)
            shke_else_txn(&one, &inner);
    }
    shke_then_txn(t, &inner);
}

int shke_item_learn(struct shke_queue *q, struct shke_item *i, const struct shke_reply *reply,
                    unsigned answer, bool has_tries)
{
    struct shke_kv slot = {0}, claim = {0}, tries = {0};
    int r = shke_reply_kv(reply, answer, &slot);

    if (r == 0)
        r = shke_reply_kv(reply, answer + 1, &claim);
    if (r == 0 && has_tries)
        r = shke_reply_kv(reply, answer + 2, &tries);
    if (r == 0 && slot.mod != i->mod) {
        shke_view_drop(q, i);
    } else if (r == 0) {
        shke_item_learn_claim(i, claim.create, claim.lease, reply->revision);
        if (has_tries)
            shke_item_learn_tries(q, i, &tries, reply->revision);
    }
    shke_kv_free(&slot);
    shke_kv_free(&claim);
    shke_kv_free(&tries);
    return r;
}

int shke_first_read(struct shke_queue *q, struct shke_actor *c, bool asks_for_tries,
                    const struct shke_reply *reply)
{
    struct shke_reply one, next;
    unsigned i = 0, n = c->n_items;
    int r = 0;

    shke_reply_inner(reply, 0, &one);
    while (i < n && !one.succeeded && r == 0) {
        r = shke_item_learn(q, c->items[i++], &one, 0, asks_for_tries);
        shke_reply_inner(&one, asks_for_tries ? 3 : 2, &next);
        one = next;
    }
    shke_view_learn_rivals(q, i, n);
    if (r == 0 && i < n)
        shke_consumer_choose(c, i);
    return r < 0 ? r : i < n ? 0 : TRY_AGAIN;
}
