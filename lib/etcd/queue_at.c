/*
 * Puts of a source of items, each once: a program that carries the items of another queue here, and
 * may be killed at any moment.
 *
 *     cursor/at-SOURCE   "POSITION BEFORE NONCE": how many items of the source have been put; how
 *                        many before the last put of it
 *
 *     put_at             compare cursor/at-SOURCE is as it was when its position was read
 *                        put slots, put cursor/at-SOURCE
 *
 * So the cursor is what a producer's key is to any other put, but it belongs to the source, and not
 * to a process: a request of a dead process that is carried out late moves it, or finds it moved.
 * It stays until the queue is unlinked.
 *
 * When the position is not what the caller expects, the cursor is read anew: the caller's news may
 * be younger than this process's, never older.
 */
#include "etcd/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a cursor; with the object's lock. Comparisons tell for sure. */
struct shke_source {
    struct shke_source *next;
    uint64_t position;
    int64_t mod; /* of its key */
    char name[];
};

/* What has been read. */
struct cursor {
    bool is_there;
    uint64_t position, before;
    int64_t mod;
    char nonce[SHKE_NONCE_SIZE];
};

/* ---- What is known ---- */

/* With the object's lock; NULL: nothing. */
static struct shke_source *find(struct shke_queue *q, const char *name)
{
    struct shke_source *s = q->sources;

    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

/* If there is no memory for it the cursor is read again. */
static void learn(struct shke_queue *q, const char *name, uint64_t position, int64_t mod)
{
    struct shke_source *s;

    pthread_mutex_lock(&q->object.lock);
    s = find(q, name);
    if (s == NULL) {
        s = calloc(1, sizeof(*s) + strlen(name) + 1);
        if (s) {
            memcpy(s->name, name, strlen(name) + 1);
            s->next = q->sources;
            q->sources = s;
        }
    }
    if (s && mod >= s->mod) {
        s->position = position;
        s->mod = mod;
    }
    pthread_mutex_unlock(&q->object.lock);
}

void shke_sources_free(struct shke_queue *q)
{
    struct shke_source *s;

    while ((s = q->sources) != NULL) {
        q->sources = s->next;
        free(s);
    }
}

/* ---- Reading ---- */

static int check_source(const struct shke_queue *q, const char *source)
{
    if (source == NULL)
        return shke_fail(-EINVAL, "%s/%s: the source's name is NULL",
                         q->object.segment->segment.name, q->object.name);
    return shke_host->check_name("the source's name", source, SHK_NAME_MAX);
}

static void cursor_key(char key[SHKE_KEY_MAX], const struct shke_queue *q, const char *source)
{
    shke_key(key, &q->object, "cursor/at-%s", source);
}

static int parse(const struct shke_queue *q, const char *source, const struct shke_kv *kv,
                 struct cursor *c)
{
    char end = '\0';

    *c = (struct cursor){.is_there = kv->create > 0, .mod = kv->mod};
    if (c->is_there && (strlen((char *)kv->value) != kv->length ||
                        sscanf((char *)kv->value, "%" SCNu64 " %" SCNu64 " %32[0-9a-f]%c",
                               &c->position, &c->before, c->nonce, &end) < 3 ||
                        (end != '\0' && end != ':')))
        return shke_fail(-EPROTO, "%s/%s is damaged: the cursor of %s",
                         q->object.segment->segment.name, q->object.name, source);
    return 0;
}

static int read_cursor(struct shke_queue *q, const char *source, const struct shke_trial *trial,
                       struct cursor *c)
{
    char key[SHKE_KEY_MAX];
    struct shke_kv kv = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    cursor_key(key, q, source);
    shke_if_there(&t, &q->object);
    shke_then_get(&t, key);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r < 0)
        return r;
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &kv) : shke_stale(&q->object);
    if (r == 0)
        r = parse(q, source, &kv, c);
    if (r == 0)
        learn(q, source, c->position, c->mod);
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

int shke_queue_cursor(struct shk_queue *base, const char *source, uint64_t *position,
                      uint64_t *before)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    struct cursor c;
    int r = shke_enter(&base->object, &q->object);

    if (r == 0)
        r = check_source(q, source);
    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    r = read_cursor(q, source, &trial, &c);
    if (r == 0 && !c.is_there)
        r = shke_fail(-ENOENT, "%s/%s has no cursor of %s", q->object.segment->segment.name,
                      q->object.name, source);
    if (r == 0) {
        *position = c.position;
        *before = c.before;
    }
    return shke_host->error_settle(r, &saved);
}

/* ---- Setting ---- */

/* One try: 0; 1: it was moved meanwhile, and *c tells where to. */
static int set_once(struct shke_queue *q, const char *source, const char *nonce, uint64_t position,
                    struct cursor *c)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    const struct shke_at at = {.source = source, .position = position};
    char key[SHKE_KEY_MAX], written[SHKE_CURSOR_SIZE];
    struct shke_kv kv = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    cursor_key(key, q, source);
    memcpy(written, nonce, SHKE_NONCE_SIZE);
    shke_at_write(&at, 0, written);
    shke_if_there(&t, &q->object);
    shke_if_written(&t, key, c->mod);
    shke_then_put(&t, key, written, strlen(written), 0);
    shke_else_get(&t, key);
    r = shke_txn_run(shke_object_client(&q->object), &t, &trial, &reply);
    if (r == 0 && reply.succeeded) {
        learn(q, source, position, reply.revision);
    } else if (r == 0) {
        r = shke_check_there(&q->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &kv);
        if (r == 0)
            r = parse(q, source, &kv, c);
        if (r == 0)
            r = strcmp(c->nonce, nonce) != 0; /* its own: the reply to an earlier try was lost */
        if (r == 0)
            learn(q, source, position, c->mod);
    }
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

int shke_queue_set_cursor(struct shk_queue *base, const char *source, uint64_t position)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_queue *q = shke_queue_of(base);
    char nonce[SHKE_NONCE_SIZE];
    struct shki_saved_error saved;
    struct cursor c;
    int r = shke_enter(&base->object, &q->object);

    if (r == 0)
        r = check_source(q, source);
    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    shke_nonce(nonce);
    r = read_cursor(q, source, &trial, &c);
    while (r >= 0 && (r = set_once(q, source, nonce, position, &c)) == 1)
        continue;
    return shke_host->error_settle(r, &saved);
}

/* ---- Putting ---- */

/* The cursor, as far as it is known; false: it is not known to be at the caller's position. */
static bool is_known(struct shke_queue *q, struct shke_at *at)
{
    const struct shke_source *s;
    bool is;

    pthread_mutex_lock(&q->object.lock);
    s = find(q, at->source);
    is = s && s->mod > 0 && s->position == at->position;
    if (is)
        at->actor.mod = s->mod;
    pthread_mutex_unlock(&q->object.lock);
    return is;
}

static int find_cursor(struct shk_queue *base, struct shke_queue *q, struct shke_at *at,
                       int64_t timeout)
{
    struct shki_deadline deadline = shke_host->deadline(&base->object, timeout, "etcd is asked");
    const struct shke_trial trial = {.deadline = &deadline};
    struct shki_saved_error saved;
    struct cursor c = {0};
    int r;

    cursor_key(at->actor.key, q, at->source);
    if (is_known(q, at))
        return 0;
    shke_host->error_save(&saved);
    r = read_cursor(q, at->source, &trial, &c);
    if (r == 0 && c.is_there && c.position != at->position)
        r = shke_at_stale(q, at);
    at->actor.mod = c.mod;
    return shke_host->error_settle(r, &saved);
}

int shke_queue_put_at(struct shk_queue *base, const char *source, uint64_t position,
                      const struct iovec *items, unsigned n, int64_t timeout)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shke_at at = {.source = source, .position = position};
    int r = shke_enter(&base->object, &q->object);

    if (r == 0)
        r = check_source(q, source);
    shke_nonce(at.actor.id); /* in the names of its slots: no other put has them */
    if (r == 0)
        r = find_cursor(base, q, &at, timeout);
    if (r == 0)
        r = shke_queue_put_checked(base, items, n, 0, &at, timeout);
    if (r > 0)
        learn(q, source, position + (unsigned)r, at.actor.mod);
    return r;
}
