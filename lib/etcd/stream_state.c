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
    struct shke_kv kv;
    int r = shke_stream_ask(st, "position", &kv, trial, revision);

    pthread_mutex_lock(&st->object.lock);
    if (r == 0)
        shke_stream_learn(st, &kv, *revision);
    pthread_mutex_unlock(&st->object.lock);
    shke_kv_free(&kv);
    return r;
}

void shke_stream_unref(struct shk_stream *handle)
{
    if (!shki_object_unref(&handle->object))
        return;
    shke_object_unref(&shke_stream_of(handle)->object);
    free(handle);
}
