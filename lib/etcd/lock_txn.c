/* The transactions of a lock on etcd, and what is known of its holder. */
#include "etcd/lock.h"

#include <string.h>
#include <time.h>

void shke_lock_learn(struct shke_lock *l, const struct shke_kv *holder, int64_t revision)
{
    if (revision < l->known)
        return;
    l->known = revision;
    l->holder_created = holder->create;
    l->holder_lease = holder->lease;
    if (holder->create)
        shke_read_thread(holder, l->holder_name, &l->holder_pid);
    else
        pthread_cond_broadcast(&l->object.changed);
}

/* With the time, for shmctl: beside a request it costs nothing. */
static void write_holder(const struct shke_lock *l, const char *nonce, struct shke_buffer *b)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    shke_segment_describe_thread(l->object.segment, b);
    shke_addf(b, ",\"nonce\":\"%s\",\"since\":%lld}", nonce,
              (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static bool has_nonce(const struct shke_kv *kv, const char *nonce)
{
    return kv->value && *nonce && strstr((const char *)kv->value, nonce);
}

static int read_attempt(struct shke_lock *l, const struct shke_reply *reply, const char *nonce,
                        struct shke_attempt *a)
{
    struct shke_kv held;
    int r = reply->succeeded ? 0 : shke_check_there(&l->object, reply);

    a->revision = reply->revision;
    if (r < 0)
        return r;
    if (reply->succeeded) { /* put holder, put held, get held */
        r = shke_reply_kv(reply, 2, &held);
        a->has_it = true;
        a->created = reply->revision;
    } else { /* get record, get holder, get held */
        r = shke_reply_kv(reply, 1, &a->holder);
        if (r == 0)
            r = shke_reply_kv(reply, 2, &held);
        a->created = a->holder.create;
        a->has_it = has_nonce(&a->holder, nonce);
    }
    if (r == 0) {
        a->is_orphaned = held.version > 1;
        shke_kv_free(&held);
    }
    return r;
}

int shke_lock_try(struct shke_lock *l, const char *nonce, const struct shke_trial *trial,
                  int64_t lease, struct shke_attempt *a)
{
    char holder[SHKE_KEY_MAX], held[SHKE_KEY_MAX];
    struct shke_buffer value = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    *a = (struct shke_attempt){0};
    shke_key(holder, &l->object, "holder");
    shke_key(held, &l->object, "held");
    write_holder(l, nonce, &value);
    shke_if_there(&t, &l->object);
    shke_if_created(&t, holder, 0);
    shke_then_put(&t, holder, value.bytes, value.length, lease);
    shke_then_put(&t, held, nonce, strlen(nonce), 0);
    shke_then_get(&t, held);
    shke_else_get(&t, holder);
    shke_else_get(&t, held);
    shke_buffer_free(&value);
    r = shke_txn_run(shke_object_client(&l->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = read_attempt(l, &reply, nonce, a);
    shke_reply_free(&reply);
    return r;
}

int shke_lock_give_back(struct shke_lock *l, int64_t created, bool unused,
                        const struct shke_trial *trial, struct shke_reply *reply)
{
    char holder[SHKE_KEY_MAX], held[SHKE_KEY_MAX];
    struct shke_txn t = {0}, with_it = {0};

    shke_key(holder, &l->object, "holder");
    shke_key(held, &l->object, "held");
    shke_if_there(&t, &l->object);
    shke_if_created(&t, holder, created);
    shke_then_delete(&t, holder);
    if (unused) {
        shke_if_created(&with_it, held, created);
        shke_then_delete(&with_it, held);
        shke_then_txn(&t, &with_it);
    } else {
        shke_then_delete(&t, held);
    }
    shke_else_get(&t, holder);
    return shke_txn_run(shke_object_client(&l->object), &t, trial, reply);
}

int64_t shke_lock_look(struct shke_lock *l, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    struct shke_kv kv = {0};
    int64_t revision;
    int r;

    shke_key(key, &l->object, "holder");
    shke_if_there(&t, &l->object);
    shke_then_get(&t, key);
    r = shke_txn_run(shke_object_client(&l->object), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : 0;
    pthread_mutex_lock(&l->object.lock);
    if (!reply.succeeded)
        shke_object_is_gone(&l->object);
    else if (r == 0)
        shke_lock_learn(l, &kv, revision);
    pthread_mutex_unlock(&l->object.lock);
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

int shke_lock_ask(struct shke_lock *l)
{
    const struct shke_trial trial = {.limit = SHKE_GRACE};
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    struct shke_kv kv;
    int r;

    shke_key(key, &l->object, "holder");
    shke_if_there(&t, &l->object);
    shke_then_get(&t, key);
    r = shke_txn_run(shke_object_client(&l->object), &t, &trial, &reply);
    if (r < 0)
        return r;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : shke_stale(&l->object);
    shke_reply_free(&reply);
    if (r < 0)
        return r;
    r = kv.create != 0;
    shke_kv_free(&kv);
    return r;
}
