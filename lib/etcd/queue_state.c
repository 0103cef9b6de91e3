/* The state of a queue, as the servers have it, and what threads of this process put and get as. */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

/* ---- The state ---- */

void shke_queue_learn_state(struct shke_queue *q, const struct shke_kv *kv, int64_t revision)
{
    bool is_shut = kv->value && kv->length == 4 && memcmp(kv->value, "shut", 4) == 0;

    if (revision < q->state_known)
        return;
    q->state_known = revision;
    q->state_mod = kv->mod;
    if (is_shut && !q->is_shut)
        q->shutdowns++;
    q->is_shut = is_shut;
    pthread_cond_broadcast(&q->object.changed);
}

int shke_queue_look(struct shke_queue *q, const struct shke_trial *trial, struct shke_look *look)
{
    char state[SHKE_KEY_MAX], slots[SHKE_KEY_MAX], claims[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_kv kv;
    int r;

    shke_key(state, &q->object, ".state");
    shke_key(slots, &q->object, "slot/");
    shke_key(claims, &q->object, "slot.claim/");
    shke_if_there(&t, &q->object);
    shke_then_get(&t, state);
    shke_then_count(&t, slots);
    shke_then_count(&t, claims);
    shke_roles_ask(&t, q->object.prefix, false);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = reply.succeeded ? shke_roles_read(&reply, 3, look->sides) : shke_stale(&q->object);
    if (r == 0)
        r = shke_reply_kv(&reply, 0, &kv);
    if (r == 0) {
        pthread_mutex_lock(&q->object.lock);
        shke_queue_learn_state(q, &kv, reply.revision);
        shke_roles_learn(&q->object, &q->roles, look->sides, reply.revision);
        look->is_shut = q->is_shut;
        pthread_mutex_unlock(&q->object.lock);
        look->items = shke_reply_count(&reply, 1);
        look->claims = shke_reply_count(&reply, 2);
        look->revision = reply.revision;
        shke_kv_free(&kv);
    }
    shke_reply_free(&reply);
    return r;
}

int shke_queue_watch(struct shke_queue *q, struct shke_watch **watch, const char *part,
                     int64_t revision, bool deletes, const struct shke_watcher *watcher)
{
    char prefix[SHKE_KEY_MAX];

    if (*watch)
        return 0;
    shke_key(prefix, &q->object, "%s", part);
    *watch = shke_watch_start(shke_session_watches(q->object.segment->session), prefix, revision,
                              deletes, watcher, q);
    return *watch ? 0 : -ENOMEM;
}

int shke_queue_begin(struct shke_queue *q,
                     int (*begin)(struct shke_queue *, const struct shke_trial *),
                     const struct shke_trial *trial)
{
    const struct shke_trial brief = shke_brief(trial);
    int r;

    do {
        pthread_mutex_lock(&q->starting);
        r = begin(q, &brief);
        pthread_mutex_unlock(&q->starting);
    } while (shke_again(trial, r));
    return r;
}

/* ---- Actors ---- */

struct shke_actor *shke_actor_new(struct shke_queue *q, bool producer)
{
    struct shke_actor *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        shke_fail(-ENOMEM, "out of memory");
        return NULL;
    }
    shke_nonce(a->id);
    shke_key(a->key, &q->object, "%s/%s", producer ? "cursor" : "last", a->id);
    return a;
}

struct shke_actor *shke_producer_take(struct shke_queue *q)
{
    struct shke_actor *a = q->producers;

    if (a == NULL)
        return shke_actor_new(q, true);
    q->producers = a->next;
    return a;
}

void shke_actor_give(struct shke_queue *q, struct shke_actor *a, bool producer)
{
    struct shke_actor **list = producer ? &q->producers : &q->consumers;

    a->next = *list;
    *list = a;
}
