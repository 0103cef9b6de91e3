/*
 * The key of a producer, by which it is found whether a put has been carried out; of a put of a
 * source, its cursor: see queue_at.c.
 */
#include "etcd/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Of any put ---- */

/*
 * The put has been sent more than once, and the last sending was refused because a place was taken.
 * That place may come free, and an earlier sending be carried out then: after the call has said
 * that the queue is full, or beside its next try. So the producer's key is written by itself.
 *
 * Killed before: the item of a put that has not returned may come; after: it does not.
 */
int shke_put_settle(struct shke_queue *q, struct shke_actor *producer, const char *known_by,
                    const struct shke_trial *trial)
{
    struct shke_kv cursor = {0};
    char value[SHKE_NONCE_SIZE + 1];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_nonce(value);
    strcat(value, ":");
    shke_if_there(&t, &q->object);
    shke_if_written(&t, producer->key, producer->mod);
    shke_then_put(&t, producer->key, value, strlen(value), 0);
    shke_else_get(&t, producer->key);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    if (!reply.succeeded)
        r = shke_check_there(&q->object, &reply);
    if (r == 0 && !reply.succeeded)
        r = shke_reply_kv(&reply, 1, &cursor);
    if (r == 0) {
        producer->mod = reply.succeeded ? reply.revision : cursor.mod;
        r = shke_begins_with(&cursor, known_by) ? 0 : SHKE_NOT_PUT;
    }
    shke_kv_free(&cursor);
    shke_reply_free(&reply);
    return r;
}

/* By no transaction: a full etcd takes none. */
int shke_put_find(struct shke_queue *q, struct shke_actor *producer, const char *known_by,
                  const struct shke_trial *trial, int refusal)
{
    struct shki_saved_error saved;
    struct shke_kv cursor = {0};
    struct shke_reply reply;
    int r;

    shke_host->error_save(&saved);
    r = shke_get(shke_object_client(&q->object), producer->key, trial, &reply);
    if (r == 0)
        r = shke_range_kv(&reply, 0, &cursor);
    if (r == 0 && shke_begins_with(&cursor, known_by))
        producer->mod = cursor.mod;
    else
        r = refusal;
    shke_host->error_settle(0, &saved); /* the sentence of the refusal */
    shke_kv_free(&cursor);
    shke_reply_free(&reply);
    return r;
}

/* ---- Of a source ---- */

void shke_at_write(const struct shke_at *at, unsigned n, char written[SHKE_CURSOR_SIZE])
{
    char nonce[SHKE_NONCE_SIZE];

    memcpy(nonce, written, sizeof(nonce));
    snprintf(written, SHKE_CURSOR_SIZE, "%" PRIu64 " %" PRIu64 " %s", at->position + n,
             at->position, nonce);
}

int shke_at_stale(const struct shke_queue *q, const struct shke_at *at)
{
    return shke_fail(-ESTALE, "%s/%s: the cursor of %s is not at %" PRIu64,
                     q->object.segment->segment.name, q->object.name, at->source, at->position);
}
