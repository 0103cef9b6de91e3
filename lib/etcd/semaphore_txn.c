/* The transactions of a semaphore on etcd. See semaphore.h. */
#include "etcd/semaphore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void own_key(char key[SHKE_KEY_MAX], const struct shke_semaphore *s)
{
    shke_key(key, &s->object, "%s/%s", s->owners ? "held" : "did",
             shke_session_process(s->object.segment->session));
}

/* ---- What is known ---- */

static void learn_value(struct shke_semaphore *s, const struct shke_kv *kv, int64_t revision)
{
    if (revision < s->value_known)
        return;
    s->value_known = revision;
    s->value_mod = kv->mod;
    s->value = kv->value ? strtoll((const char *)kv->value, NULL, 10) : s->initial;
    if (s->value < 0 || s->value > s->max)
        s->value = 0; /* no value of shmkit's: there is none to be taken */
    pthread_cond_broadcast(&s->object.changed);
}

static void learn_own(struct shke_semaphore *s, const struct shke_kv *kv, int64_t revision)
{
    json_object *value, *nonce;

    if (revision < s->own_known)
        return;
    s->own_known = revision;
    s->own_mod = kv->mod;
    s->own_lease = kv->lease;
    s->own_took = s->own_n = 0;
    s->own_nonce[0] = '\0';
    value = kv->value ? json_tokener_parse((const char *)kv->value) : NULL;
    if (json_object_is_type(value, json_type_object) &&
        json_object_object_get_ex(value, "nonce", &nonce)) {
        s->own_took = shke_number(value, "took");
        s->own_n = shke_number(value, "n");
        snprintf(s->own_nonce, sizeof(s->own_nonce), "%s", json_object_get_string(nonce));
    }
    json_object_put(value);
}

bool shke_semaphore_event(struct shke_semaphore *s, const struct shke_kv *kv, bool deleted)
{
    struct shke_kv none = {.mod = 0};
    char key[SHKE_KEY_MAX];

    if (strcmp(kv->key + strlen(s->object.prefix), "value") == 0) {
        learn_value(s, deleted ? &none : kv, kv->mod);
        return true;
    }
    own_key(key, s);
    if (strcmp(kv->key, key) != 0)
        return false;
    learn_own(s, deleted ? &none : kv, kv->mod);
    return !s->owners; /* else it is one of the line of holders, too */
}

int64_t shke_semaphore_free(const struct shke_semaphore *s)
{
    int64_t n = s->owners ? s->max : s->value;

    for (const struct shke_spot *h = s->held.head; s->owners && h; h = h->next)
        n -= h->number > 0 ? h->number : 0;
    return n > 0 ? n : 0;
}

bool shke_semaphore_has_lease(struct shke_semaphore *s)
{
    if (s->mine > 0 && !shke_session_has(s->object.segment->session, s->lease)) {
        s->lost += s->mine;
        s->mine = 0;
    }
    return s->mine > 0;
}

bool shke_semaphore_has_stray(const struct shke_semaphore *s)
{
    return !s->is_trying && s->own_took > 0 && strcmp(s->own_nonce, s->last_nonce) != 0;
}

/* ---- Looking ---- */

/* The questions of both branches, in this order: value or all of held/; the own key. */
static void add_questions(struct shke_txn *t, const struct shke_semaphore *s, const char *own,
                          void (*get)(struct shke_txn *, const char *),
                          void (*get_all)(struct shke_txn *, const char *))
{
    char key[SHKE_KEY_MAX];

    shke_key(key, &s->object, s->owners ? "held/" : "value");
    if (s->owners)
        get_all(t, key);
    else
        get(t, key);
    get(t, own);
}

/* Their answers, of which the first is the n-th; with the lock. */
static int read_answers(struct shke_semaphore *s, const struct shke_reply *reply, unsigned n)
{
    struct shke_kv value = {0}, own = {0};
    int r = s->owners ? shke_line_read(&s->held, reply, n) : shke_reply_kv(reply, n, &value);

    if (r == 0)
        r = shke_reply_kv(reply, n + 1, &own);
    if (r == 0 && !s->owners)
        learn_value(s, &value, reply->revision);
    if (r == 0)
        learn_own(s, &own, reply->revision);
    shke_kv_free(&value);
    shke_kv_free(&own);
    return r;
}

int64_t shke_semaphore_look(struct shke_semaphore *s, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char own[SHKE_KEY_MAX], line[SHKE_KEY_MAX];
    int64_t revision;
    int r;

    own_key(own, s);
    shke_key(line, &s->object, "wait/");
    shke_if_there(&t, &s->object);
    add_questions(&t, s, own, shke_then_get, shke_then_get_all);
    shke_then_get_all(&t, line);
    r = shke_txn_run(shke_object_client(&s->object), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    pthread_mutex_lock(&s->object.lock);
    r = reply.succeeded ? read_answers(s, &reply, 0) : shke_stale(&s->object);
    if (r == 0)
        r = shke_line_read(&s->line, &reply, 2);
    if (r == -ESTALE)
        shke_object_is_gone(&s->object);
    pthread_mutex_unlock(&s->object.lock);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

/* ---- Changing ---- */

static void add_place(struct shke_txn *t, const struct shke_semaphore *s,
                      const struct shke_permits *p)
{
    char line[SHKE_KEY_MAX], mine[SHKE_KEY_MAX];

    shke_key(line, &s->object, "wait/");
    if (p->take < 0)
        return;
    if (p->ticket == NULL) {
        shke_if_none(t, line);
        return;
    }
    shke_line_key(mine, &s->line, p->ticket->name);
    shke_if_created(t, mine, p->ticket->created);
    shke_if_all_created_after(t, line, p->ticket->created - 1);
    shke_then_delete(t, mine);
}

/* With the lock. */
static void write_own(const struct shke_semaphore *s, const struct shke_permits *p,
                      struct shke_buffer *b)
{
    shke_segment_describe_thread(s->object.segment, b);
    shke_addf(b, ",\"n\":%lld,\"took\":%lld,\"nonce\":\"%s\"}", (long long)p->n, (long long)p->take,
              p->nonce);
}

/* With the lock. */
static void write_change(struct shke_txn *t, const struct shke_semaphore *s, const char *own,
                         const struct shke_permits *p)
{
    struct shke_buffer value = {0};
    char key[SHKE_KEY_MAX], number[24];

    shke_if_there(t, &s->object);
    add_place(t, s, p);
    write_own(s, p, &value);
    shke_then_put(t, own, value.bytes, value.length, s->owners ? p->lease : 0);
    if (!s->owners) {
        shke_key(key, &s->object, "value");
        snprintf(number, sizeof(number), "%lld", (long long)(s->value - p->take));
        shke_if_written(t, key, s->value_mod);
        shke_then_put(t, key, number, strlen(number), 0);
    } else if (p->take > 0) {
        shke_key(key, &s->object, "held/");
        shke_if_none_written_after(t, key, s->held.seen);
    } else {
        shke_if_written(t, own, s->own_mod);
    }
    t->success.failed = t->success.failed || value.failed;
    shke_buffer_free(&value);
    add_questions(t, s, own, shke_else_get, shke_else_get_all);
}

/*
 * With the lock: it has happened. A take has compared that no held/ was written since `seen`, so
 * all of them up to the revision are known; a give has not.
 */
static void note_success(struct shke_semaphore *s, const char *key, const struct shke_permits *p,
                         int64_t left, int64_t revision)
{
    const char *name = strrchr(key, '/') + 1;
    struct shke_spot *spot = shke_line_find(&s->held, name);
    struct shke_kv own = {.key = (char *)(uintptr_t)key, .mod = revision, .lease = p->lease};
    char number[32];

    learn_own(s, &own, revision);
    own.value = (unsigned char *)number;
    if (!s->owners) {
        snprintf(number, sizeof(number), "%lld", (long long)left);
        learn_value(s, &own, revision);
    } else if (p->take > 0) {
        snprintf(number, sizeof(number), "{\"n\":%lld}", (long long)p->n);
        own.create = spot ? spot->create : revision;
        shke_line_event(&s->held, &own, false);
    }
}

/*
 * With the lock. It was refused, but not by its comparisons: an earlier sending may have been
 * carried out; also this one, when etcd has just reached its quota. 0: so it is; else `refusal`.
 */
static int find_own(struct shke_semaphore *s, const struct shke_permits *p, const char *own,
                    const struct shke_trial *trial, int refusal)
{
    struct shki_saved_error saved;
    struct shke_reply reply;
    struct shke_kv kv = {0};
    int r;

    shke_host->error_save(&saved);
    pthread_mutex_unlock(&s->object.lock);
    r = shke_get(shke_object_client(&s->object), own, trial, &reply);
    pthread_mutex_lock(&s->object.lock);
    if (r == 0)
        r = shke_range_kv(&reply, 0, &kv);
    if (r == 0)
        learn_own(s, &kv, reply.revision);
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    shke_host->error_settle(0, &saved); /* the sentence of the refusal */
    return r == 0 && strcmp(s->own_nonce, p->nonce) == 0 ? 0 : refusal;
}

int shke_permits_try(struct shke_semaphore *s, const struct shke_permits *p,
                     const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char own[SHKE_KEY_MAX];
    int64_t left =
        s->value - p->take; /* what is told meanwhile may change the value that is known */
    int r;

    own_key(own, s);
    write_change(&t, s, own, p);
    pthread_mutex_unlock(&s->object.lock);
    r = shke_txn_run(shke_object_client(&s->object), &t, trial, &reply);
    pthread_mutex_lock(&s->object.lock);
    if (r < 0 && r != -EHOSTUNREACH && r != -ESTALE) {
        r = find_own(s, p, own, trial, r);
    } else if (r == 0 && reply.succeeded) {
        note_success(s, own, p, left, reply.revision);
    } else if (r == 0) {
        r = shke_check_there(&s->object, &reply);
        if (r == 0)
            r = read_answers(s, &reply, 1);
        if (r == 0)
            r = strcmp(s->own_nonce, p->nonce) != 0;
    }
    if (r == 0) {
        memcpy(s->last_nonce, p->nonce, sizeof(s->last_nonce));
        s->mine = p->n;
    }
    shke_reply_free(&reply);
    return r;
}

/* With the lease of the own key, which may not be that of the permits that the process has. */
int shke_semaphore_give_back_stray(struct shke_semaphore *s, const struct shke_trial *trial)
{
    struct shke_permits p = {.take = -s->own_took, .lease = s->own_lease};
    int r;

    shke_nonce(p.nonce);
    p.n = shke_semaphore_has_lease(s) ? s->mine : 0;
    s->is_trying = true;
    r = shke_permits_try(s, &p, trial);
    s->is_trying = false;
    if (r == -ESTALE && !load_relaxed(&s->object.is_gone)) { /* that has ended, and the key goes */
        s->own_took = 0;
        r = 1;
    }
    pthread_cond_broadcast(&s->object.changed);
    return r;
}

int shke_semaphore_forget(struct shke_semaphore *s, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    char own[SHKE_KEY_MAX];
    int r;

    own_key(own, s);
    shke_if_written(&t, own, s->own_mod);
    shke_then_delete(&t, own);
    r = shke_txn_run(shke_object_client(&s->object), &t, trial, &reply);
    if (r == 0)
        shke_reply_free(&reply);
    return r;
}
