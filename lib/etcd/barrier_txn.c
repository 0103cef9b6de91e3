/* The transactions of a barrier on etcd, and what is seen of it from outside. See barrier.h. */
#include "etcd/barrier.h"
#include "etcd/sight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is known ---- */

struct round {
    int64_t number, failed;
    bool is_broken;
};

static struct round read_round(const struct shke_kv *kv)
{
    struct round round = {.number = 1};
    json_object *value = kv->value ? json_tokener_parse((const char *)kv->value) : NULL;

    if (json_object_is_type(value, json_type_object)) {
        round.number = shke_number(value, "round");
        round.failed = shke_number(value, "failed");
        round.is_broken = shke_number(value, "broken") != 0;
    }
    json_object_put(value);
    return round;
}

static void learn_round(struct shke_barrier *b, const struct shke_kv *kv, int64_t revision)
{
    struct round round = read_round(kv);

    if (revision < b->round_known)
        return;
    b->round_known = revision;
    b->round_mod = kv->mod;
    b->round = round.number;
    b->failed = round.failed;
    b->is_broken = round.is_broken;
}

static bool is_of(const char *name, int64_t round)
{
    return strtoll(name, NULL, 10) == round;
}

void shke_barrier_event(struct shke_barrier *b, const struct shke_kv *kv, bool deleted)
{
    const char *part = kv->key + strlen(b->object.prefix);

    if (strcmp(part, "round") == 0 && !deleted) /* it is deleted with the barrier only */
        learn_round(b, kv, kv->mod);
    else if (shke_line_event(&b->arrived, kv, deleted) && deleted &&
             strncmp(part, "party/", 6) == 0 && is_of(part + 6, b->round))
        b->death = b->round;
}

uint32_t shke_barrier_count(const struct shke_barrier *b)
{
    uint32_t n = 0;

    for (const struct shke_spot *s = b->arrived.head; s; s = s->next)
        n += is_of(s->name, b->round);
    return n;
}

/* ---- Looking ---- */

/* round, all of party/: of which the first is the n-th answer. With the lock. */
static int read_answers(struct shke_barrier *b, const struct shke_reply *reply, unsigned n)
{
    uint32_t before = shke_barrier_count(b);
    int64_t round = b->round;
    struct shke_kv kv;
    int r = shke_reply_kv(reply, n, &kv);

    if (r == 0)
        learn_round(b, &kv, reply->revision);
    if (r == 0)
        r = shke_line_read(&b->arrived, reply, n + 1);
    if (b->round == round && shke_barrier_count(b) < before)
        b->death = round;
    shke_kv_free(&kv);
    return r;
}

static void add_questions(struct shke_txn *t, const struct shke_barrier *b,
                          void (*get)(struct shke_txn *, const char *),
                          void (*get_all)(struct shke_txn *, const char *))
{
    char key[SHKE_KEY_MAX];

    shke_key(key, &b->object, "round");
    get(t, key);
    shke_key(key, &b->object, "party/");
    get_all(t, key);
}

int64_t shke_barrier_look(struct shke_barrier *b, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    int64_t revision;
    int r;

    shke_if_there(&t, &b->object);
    add_questions(&t, b, shke_then_get, shke_then_get_all);
    r = shke_txn_run(shke_object_client(&b->object), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    pthread_mutex_lock(&b->object.lock);
    r = reply.succeeded ? read_answers(b, &reply, 0) : shke_stale(&b->object);
    if (r == -ESTALE)
        shke_object_is_gone(&b->object);
    pthread_mutex_unlock(&b->object.lock);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

/* ---- Arriving, and ending a round ---- */

static void add_round(struct shke_txn *t, const struct shke_barrier *b)
{
    char key[SHKE_KEY_MAX];

    shke_key(key, &b->object, "round");
    shke_if_there(t, &b->object);
    shke_if_written(t, key, b->round_mod);
}

static void add_end(struct shke_txn *t, const struct shke_barrier *b, enum shke_round_end how)
{
    char key[SHKE_KEY_MAX], value[120];

    snprintf(value, sizeof(value), "{\"round\":%lld,\"failed\":%lld,\"broken\":%d}",
             (long long)b->round + 1, (long long)(how == SHKE_MET ? b->failed : b->round),
             how == SHKE_BROKEN);
    shke_key(key, &b->object, "round");
    shke_then_put(t, key, value, strlen(value), 0);
    shke_key(key, &b->object, "party/%lld/", (long long)b->round - 1);
    shke_then_delete_all(t, key);
}

/* With the lock. The key's name tells the round. */
static void write_arrival(struct shke_txn *t, const struct shke_barrier *b,
                          const struct shke_ticket *ticket, bool last)
{
    char key[SHKE_KEY_MAX], all[SHKE_KEY_MAX];
    struct shke_buffer value = {0};

    shke_key(all, &b->object, "party/%lld/", (long long)b->round);
    shke_line_key(key, &b->arrived, ticket->name);
    shke_segment_describe_thread(b->object.segment, &value);
    shke_add_string(&value, "}");
    add_round(t, b);
    shke_if_created(t, key, 0);
    shke_then_put(t, key, value.bytes, value.length, ticket->lease);
    if (last) {
        shke_if_none_written_after(t, all, b->arrived.seen);
        add_end(t, b, SHKE_MET);
    } else {
        shke_then_count(t, all);
    }
    add_questions(t, b, shke_else_get, shke_else_get_all);
    t->success.failed = t->success.failed || value.failed;
    shke_buffer_free(&value);
}

/* With the lock: this process has ended that round. */
static void note_end(struct shke_barrier *b, int64_t round, enum shke_round_end how,
                     int64_t revision)
{
    if (revision <= b->round_known)
        return;
    b->round_known = b->round_mod = revision;
    b->round = round + 1;
    b->is_broken = how == SHKE_BROKEN;
    if (how != SHKE_MET)
        b->failed = round;
}

/* With the lock: its place among those of its round, if the key is there. */
static bool find_place(const struct shke_barrier *b, struct shke_ticket *ticket, int64_t round,
                       uint32_t *index)
{
    *index = 0;
    for (const struct shke_spot *s = b->arrived.head; s; s = s->next) {
        if (strcmp(s->name, ticket->name) == 0) {
            ticket->created = s->create;
            return true;
        }
        *index += is_of(s->name, round);
    }
    return false;
}

int shke_barrier_arrive(struct shke_barrier *b, struct shke_ticket *ticket, bool last,
                        uint32_t *index, const struct shke_trial *trial)
{
    int64_t round = b->round;
    struct shke_reply reply;
    struct shke_txn t = {0};
    char name[SHKE_OWN_SIZE];
    int r;

    shke_own_name(&b->object, name);
    snprintf(ticket->name, sizeof(ticket->name), "%lld/%s", (long long)round, name);
    write_arrival(&t, b, ticket, last);
    pthread_mutex_unlock(&b->object.lock);
    r = shke_txn_run(shke_object_client(&b->object), &t, trial, &reply);
    pthread_mutex_lock(&b->object.lock);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        ticket->created = reply.revision;
        *index = last ? b->parties - 1 : (uint32_t)shke_reply_count(&reply, 1) - 1;
        if (last)
            note_end(b, round, SHKE_MET, reply.revision);
    } else {
        r = shke_check_there(&b->object, &reply);
        if (r == 0)
            r = read_answers(b, &reply, 1);
        if (r == 0)
            r = !find_place(b, ticket, round, index);
    }
    shke_reply_free(&reply);
    return r;
}

int shke_barrier_end(struct shke_barrier *b, enum shke_round_end how,
                     const struct shke_trial *trial)
{
    int64_t round = b->round;
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    add_round(&t, b);
    add_end(&t, b, how);
    add_questions(&t, b, shke_else_get, shke_else_get_all);
    pthread_mutex_unlock(&b->object.lock);
    r = shke_txn_run(shke_object_client(&b->object), &t, trial, &reply);
    pthread_mutex_lock(&b->object.lock);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        note_end(b, round, how, reply.revision);
    } else {
        r = shke_check_there(&b->object, &reply);
        if (r == 0)
            r = read_answers(b, &reply, 1);
        if (r == 0)
            r = 1;
    }
    shke_reply_free(&reply);
    return r;
}

/* ---- From outside ---- */

void shke_barrier_sight_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "round"));
    shke_then_keys(t, shke_part(key, prefix, "party/"), 0);
}

int shke_barrier_sight_tell(struct shke_sight *s, struct shk_object_info *info)
{
    int64_t parties = shke_number(shke_sight_record(s), "parties");
    struct round round = {0};
    const char *name;
    struct shke_kv kv;
    int r = shke_sight_kv(s, 0, 0, &kv);

    if (r == 0)
        round = read_round(&kv);
    shke_kv_free(&kv);
    for (size_t i = 0; r == 0 && i < shke_sight_n(s, 1); i++) {
        r = shke_sight_kv(s, 1, i, &kv);
        name = kv.key ? strstr(kv.key, "/party/") : NULL;
        info->as.barrier.arrived += name && is_of(name + 7, round.number);
        shke_kv_free(&kv);
    }
    info->as.barrier.parties = parties > 0 && parties <= UINT16_MAX ? (uint32_t)parties : 0;
    info->as.barrier.broken = round.is_broken;
    return r;
}
