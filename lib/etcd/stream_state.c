/* What is known of a stream on etcd, and asked of it. See stream.h. */
#include "etcd/stream.h"

#include <stdlib.h>

void shke_stream_read_position(const struct shke_kv *kv, int64_t *position, int64_t *stamp,
                               char nonce[SHKE_NONCE_SIZE])
{
    json_object *value = kv->value ? json_tokener_parse((const char *)kv->value) : NULL;

    *position = *stamp = 0;
    if (json_object_is_type(value, json_type_object)) {
        *position = shke_number(value, "position");
        *stamp = shke_number(value, "stamp");
    }
    if (*position < 0)
        *position = 0;
    shke_read_nonce(kv, nonce, SHKE_NONCE_SIZE);
    json_object_put(value);
}

void shke_stream_learn(struct shke_stream *st, const struct shke_kv *kv, int64_t revision)
{
    char nonce[SHKE_NONCE_SIZE];

    if (revision < st->position_known)
        return;
    st->position_known = revision;
    st->position_mod = kv->mod;
    shke_stream_read_position(kv, &st->position, &st->stamp, nonce);
}

/* One key of the stream: it is the caller's to free. */
int shke_stream_ask(struct shke_stream *st, const char *part, struct shke_kv *kv,
                    const struct shke_trial *trial, int64_t *revision)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    int r;

    *kv = (struct shke_kv){0};
    shke_key(key, &st->object, "%s", part);
    shke_if_there(&t, &st->object);
    shke_then_get(&t, key);
    r = shke_txn_run(shke_object_client(&st->object), &t, trial, &reply);
    if (r < 0)
        return r;
    *revision = reply.revision;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, kv) : shke_stale(&st->object);
    shke_reply_free(&reply);
    return r;
}

int shke_stream_look(struct shke_stream *st, const struct shke_trial *trial, int64_t *revision)
{
    struct shke_side sides[SHKI_SIDES];
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    struct shke_kv kv = {0};
    int r;

    shke_key(key, &st->object, "position");
    shke_if_there(&t, &st->object);
    shke_then_get(&t, key);
    shke_roles_ask(&t, st->object.prefix, false);
    r = shke_txn_run(shke_object_client(&st->object), &t, trial, &reply);
    if (r < 0)
        return r;
    *revision = reply.revision;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : shke_stale(&st->object);
    if (r == 0)
        r = shke_roles_read(&reply, 1, sides);
    if (r == 0) {
        pthread_mutex_lock(&st->object.lock);
        shke_stream_learn(st, &kv, *revision);
        shke_roles_learn(&st->object, &st->roles, sides, *revision);
        pthread_mutex_unlock(&st->object.lock);
    }
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

int shke_stream_unref(struct shk_stream *handle)
{
    struct shke_stream *st = shke_stream_of(handle);
    struct shki_saved_error saved;
    int r;

    if (!shki_object_unref(&handle->object))
        return 0;
    shke_host->error_save(&saved);
    r = shke_host->error_settle(shke_roles_close(&st->object, &st->roles, &handle->roles), &saved);
    if (r < 0) {
        shki_object_ref(&handle->object);
        return r;
    }
    shke_object_unref(&st->object);
    free(handle);
    return 0;
}
