/*
 * Peeking: the item stays in the queue, claimed with the lease of the process that has it.
 *
 *     peek                               consume
 *     compare slot/S is as it was seen,  compare slot/S is as it was, slot.claim/S is mine
 *         slot.claim/S is absent         delete both, put last/CONSUMER
 *     put slot.claim/S with my lease
 *
 * That comparison is the fence: a worker that was stopped for longer than its lease finds the claim
 * gone, or another's, and its item is not consumed a second time.
 *
 * Other members take other items meanwhile: a peek does not keep the consumer's side, as it does in
 * shared memory.
 */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = 1 };

/* With the object's lock: that of the calling thread; NULL: none. */
static struct shke_peek *find_peek(const struct shke_queue *q)
{
    struct shke_peek *p = q->peeks;

    while (p && p->tid != shke_tid())
        p = p->next;
    return p;
}

bool shke_peek_is_open(struct shke_queue *q)
{
    bool is_open;

    pthread_mutex_lock(&q->object.lock);
    is_open = find_peek(q) != NULL;
    pthread_mutex_unlock(&q->object.lock);
    return is_open;
}

/* With the object's lock. */
static void unlist(struct shke_queue *q, struct shke_peek *p)
{
    struct shke_peek **link = &q->peeks;

    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
}

static void discard(struct shke_peek *p)
{
    if (p->item)
        shke_item_release(p->item);
    free(p);
}

void shke_peeks_free(struct shke_queue *q)
{
    struct shke_peek *p;

    while ((p = q->peeks) != NULL) {
        unlist(q, p);
        discard(p);
    }
}

/* ---- Peeking ---- */

static int send_claim(struct shke_queue *q, struct shke_peek *p, const char *nonce,
                      const struct shke_trial *trial, struct shke_reply *reply)
{
    struct shke_txn t = {0};

    shke_key(p->slot, &q->object, "slot/%s", p->item->slot);
    shke_key(p->claim, &q->object, "slot.claim/%s", p->item->slot);
    shke_if_there(&t, &q->object);
    shke_if_written(&t, p->slot, p->item->mod);
    shke_if_created(&t, p->claim, 0);
    shke_then_put(&t, p->claim, nonce, strlen(nonce), p->lease);
    shke_else_get_key(&t, p->slot);
    shke_else_get(&t, p->claim);
    return shke_txn_run(shke_object_client(&q->object), &t, trial, reply);
}

static int read_failure(struct shke_queue *q, struct shke_peek *p, const char *nonce,
                        const struct shke_reply *reply)
{
    struct shke_kv slot = {0}, claim = {0};
    int r = shke_check_there(&q->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &slot);
    if (r == 0)
        r = shke_reply_kv(reply, 2, &claim);
    if (r == 0) {
        p->created = claim.create;
        r = claim.value && strcmp((char *)claim.value, nonce) == 0 ? 0 : TRY_AGAIN;
        pthread_mutex_lock(&q->object.lock);
        shke_item_learn_claim(p->item, claim.create, claim.lease, reply->revision);
        if (slot.mod != p->item->mod)
            shke_view_drop(q, p->item);
        pthread_mutex_unlock(&q->object.lock);
    }
    shke_kv_free(&slot);
    shke_kv_free(&claim);
    return r;
}

/* Without the object's lock: 0: it is claimed; TRY_AGAIN: another process has it. */
static int claim_item(struct shke_queue *q, struct shke_peek *p, const struct shke_trial *trial)
{
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    int r = shke_segment_lease(q->object.segment, trial, &p->lease);

    if (r < 0)
        return r;
    shke_nonce(nonce);
    r = send_claim(q, p, nonce, trial, &reply);
    if (r == -ESTALE) { /* the lease has just ended */
        shke_session_lost(q->object.segment->session, p->lease);
        return TRY_AGAIN;
    }
    if (r == 0 && reply.succeeded)
        p->created = reply.revision;
    if (r == 0 && !reply.succeeded)
        r = read_failure(q, p, nonce, &reply);
    shke_reply_free(&reply);
    return r;
}

static int peek(struct shke_queue *q, struct shke_peek *p, struct shke_wait *w)
{
    const struct shke_trial trial = {.deadline = &w->deadline};
    int r = shke_view_start(q, &trial);

    if (r < 0)
        return r;
    pthread_mutex_lock(&q->object.lock);
    q->peeks_begun++;
    for (;;) {
        if (shke_view_take(q, &p->item, 1) == 0) {
            r = shke_wait_more(q, w);
            if (r < 0)
                break;
            continue;
        }
        pthread_mutex_unlock(&q->object.lock);
        r = claim_item(q, p, &trial);
        pthread_mutex_lock(&q->object.lock);
        if (r <= 0)
            break;
        shke_item_release(p->item);
        p->item = NULL;
    }
    q->peeks_begun--;
    if (r == 0) {
        shke_item_learn_claim(p->item, p->created, p->lease, p->created);
        p->next = q->peeks;
        q->peeks = p;
    } else if (p->item) {
        shke_item_release(p->item);
        p->item = NULL;
    }
    pthread_mutex_unlock(&q->object.lock);
    return r;
}

ssize_t shke_queue_peek(struct shk_queue *base, const void **item, int64_t timeout)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_peek *p;
    struct shke_wait w;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    if (shke_peek_is_open(q))
        return shke_host->object_say(&base->object, -EDEADLK, "the calling thread has a peek open");
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    p->tid = shke_tid();
    shke_host->error_save(&saved);
    w = shke_wait_begin(q, &base->object, timeout);
    r = peek(q, p, &w);
    if (r < 0) {
        free(p);
        return r;
    }
    *item = p->item->bytes;
    return shke_host->error_settle((int)p->item->length, &saved);
}

/* ---- Ending a peek ---- */

static int say_lost(const struct shke_queue *q)
{
    return shke_fail(-ESTALE,
                     "%s/%s: the lease of this process has ended, and the peek with it: the item "
                     "is another member's",
                     q->object.segment->segment.name, q->object.name);
}

static int send_consume(struct shke_queue *q, const struct shke_peek *p, struct shke_actor *c,
                        const char *nonce, struct shke_reply *reply)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_txn t = {0};

    shke_if_there(&t, &q->object);
    shke_if_written(&t, p->slot, p->item->mod);
    shke_if_created(&t, p->claim, p->created);
    shke_then_delete(&t, p->slot);
    shke_then_delete(&t, p->claim);
    shke_then_put(&t, c->key, nonce, strlen(nonce), 0);
    shke_else_get(&t, c->key);
    return shke_txn_run(shke_object_client(&q->object), &t, &trial, reply);
}

/* Without the object's lock. Tried as long as the lease lasts. */
static int consume(struct shke_queue *q, struct shke_peek *p, struct shke_actor *c)
{
    struct shke_kv last = {0};
    char nonce[SHKE_NONCE_SIZE];
    struct shke_reply reply;
    int r;

    shke_nonce(nonce);
    do
        r = send_consume(q, p, c, nonce, &reply);
    while (r == -EHOSTUNREACH && shke_session_has(q->object.segment->session, p->lease));
    if (r < 0)
        return r;
    if (reply.succeeded) {
        c->mod = reply.revision;
    } else {
        r = shke_check_there(&q->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &last);
        if (r == 0) {
            c->mod = last.mod;
            r = last.value && strcmp((char *)last.value, nonce) == 0 ? 0 : say_lost(q);
        }
    }
    shke_kv_free(&last);
    shke_reply_free(&reply);
    return r;
}

/* *peek: that of the calling thread, taken out of the list. 0, or an error. */
static int end_peek(struct shk_queue *base, struct shke_queue *q, struct shke_peek **peek)
{
    struct shke_peek *p;

    if (!shke_session_is_own(q->object.segment->session))
        return shke_enter(&base->object, &q->object);
    pthread_mutex_lock(&q->object.lock);
    p = find_peek(q);
    if (p) {
        unlist(q, p);
        q->peeks_begun++; /* its claim is not a stray until it is gone */
    }
    pthread_mutex_unlock(&q->object.lock);
    *peek = p;
    return p ? 0
             : shke_host->object_say(&base->object, -EPERM, "the calling thread has no peek open");
}

int shke_queue_consume(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct shke_actor *c;
    struct shke_peek *p;
    int r = end_peek(base, q, &p);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    pthread_mutex_lock(&q->object.lock);
    c = shke_actor_take(q, false);
    pthread_mutex_unlock(&q->object.lock);
    r = c ? consume(q, p, c) : -ENOMEM;
    pthread_mutex_lock(&q->object.lock);
    if (r == -EHOSTUNREACH)
        free(c); /* its request may still write the key */
    else if (c)
        shke_actor_give(q, c, false);
    if (r == 0)
        shke_view_drop(q, p->item);
    q->peeks_begun--;
    discard(p);
    pthread_mutex_unlock(&q->object.lock);
    return shke_host->error_settle(r, &saved);
}

/*
 * Delete a claim, if it is still the one that was created then: the revision as of which it is
 * gone.
 */
static int64_t give_back(struct shke_queue *q, const char *claim, int64_t created,
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

/* With no majority the item comes back when the lease ends, or with the next event: as a stray. */
int shke_queue_unpeek(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shki_saved_error saved;
    struct shke_peek *p;
    int64_t r = end_peek(base, q, &p);

    if (r < 0)
        return (int)r;
    shke_host->error_save(&saved);
    r = give_back(q, p->claim, p->created, &trial);
    pthread_mutex_lock(&q->object.lock);
    q->peeks_begun--;
    if (r > 0 && p->item->claim == p->created)
        shke_item_learn_claim(p->item, 0, 0, r);
    discard(p);
    pthread_cond_broadcast(&q->object.changed);
    pthread_mutex_unlock(&q->object.lock);
    return shke_host->error_settle(r < 0 ? (int)r : 0, &saved);
}

/* ---- Strays ---- */

/* With the object's lock: a claim of this process that none of its threads knows. */
static bool is_stray(struct shke_queue *q, const struct shke_item *i)
{
    if (i->claim == 0 || !shke_session_has(q->object.segment->session, i->claim_lease))
        return false;
    for (const struct shke_peek *p = q->peeks; p; p = p->next)
        if (p->item == i && p->created == i->claim)
            return false;
    return true;
}

/* A peek that was given up while its request was under way has come through after all. */
void shke_peek_give_back_strays(struct shke_queue *q)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    char claim[SHKE_KEY_MAX];
    const struct shke_item *first = NULL;
    int64_t created = 0;

    pthread_mutex_lock(&q->object.lock);
    if (q->may_have_stray && !q->peeks_begun) {
        q->may_have_stray = false;
        first = q->head;
    }
    for (const struct shke_item *i = first; i && !created; i = i->next)
        if (is_stray(q, i)) {
            created = i->claim;
            q->may_have_stray = true; /* there may be another one */
            shke_key(claim, &q->object, "slot.claim/%s", i->slot);
        }
    pthread_mutex_unlock(&q->object.lock);
    if (created)
        give_back(q, claim, created, &trial);
}
