#include "etcd/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void shke_line_init(struct shke_line *l, struct shke_object *o, const char *part)
{
    l->object = o;
    l->part = part;
}

void shke_line_free(struct shke_line *l)
{
    struct shke_spot *s;

    while ((s = l->head) != NULL) {
        l->head = s->next;
        free(s);
    }
    l->tail = NULL;
    l->n = 0;
}

/* ---- What is told ---- */

struct shke_spot *shke_line_find(const struct shke_line *l, const char *name)
{
    struct shke_spot *s = l->tail;

    while (s && strcmp(s->name, name) != 0)
        s = s->previous;
    return s;
}

/* Behind all that were created before it. */
static void insert(struct shke_line *l, struct shke_spot *s)
{
    struct shke_spot *before = l->tail;

    while (before && before->create > s->create)
        before = before->previous;
    s->previous = before;
    s->next = before ? before->next : l->head;
    *(s->next ? &s->next->previous : &l->tail) = s;
    *(before ? &before->next : &l->head) = s;
    l->n++;
}

static void take_out(struct shke_line *l, struct shke_spot *s)
{
    *(s->next ? &s->next->previous : &l->tail) = s->previous;
    *(s->previous ? &s->previous->next : &l->head) = s->next;
    l->n--;
}

static int64_t read_number(const struct shke_kv *kv)
{
    json_object *value = kv->value ? json_tokener_parse((const char *)kv->value) : NULL;
    int64_t n = json_object_is_type(value, json_type_object) ? shke_number(value, "n") : 0;

    json_object_put(value);
    return n;
}

/* A key with its value, which is newer than what is known of it. */
static int note(struct shke_line *l, const char *name, const struct shke_kv *kv)
{
    struct shke_spot *s = shke_line_find(l, name);

    if (s && s->create != kv->create) { /* deleted, and put anew */
        take_out(l, s);
        free(s);
        s = NULL;
    }
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL)
            return shke_fail(-ENOMEM, "out of memory");
        snprintf(s->name, sizeof(s->name), "%s", name);
        s->create = kv->create;
        insert(l, s);
    }
    s->mod = kv->mod;
    s->lease = kv->lease;
    s->number = read_number(kv);
    s->is_found = true;
    return 0;
}

/* The name behind the part; NULL: it is none of its keys, or a foreign one. */
static const char *name_in(const struct shke_line *l, const struct shke_kv *kv)
{
    const char *rest = kv->key + strlen(l->object->prefix);
    size_t length = strlen(l->part);

    return strncmp(rest, l->part, length) == 0 && strlen(rest + length) < SHKE_SPOT_MAX
               ? rest + length
               : NULL;
}

bool shke_line_event(struct shke_line *l, const struct shke_kv *kv, bool deleted)
{
    const char *name = name_in(l, kv);
    struct shke_spot *s;

    if (name == NULL)
        return false;
    if (kv->mod <= l->read)
        return true;
    if (deleted) {
        s = shke_line_find(l, name);
        if (s && s->mod <= kv->mod) {
            take_out(l, s);
            free(s);
        }
    } else {
        note(l, name, kv);
    }
    if (kv->mod > l->seen)
        l->seen = kv->mod;
    return true;
}

int shke_line_read(struct shke_line *l, const struct shke_reply *reply, unsigned n)
{
    struct shke_spot *s, *next;
    struct shke_kv kv;
    int r = 0;

    if (reply->revision <= l->seen)
        return 0; /* more is known already */
    for (s = l->head; s; s = s->next)
        s->is_found = false;
    for (size_t i = 0; r == 0 && i < shke_reply_n(reply, n); i++) {
        r = shke_reply_kv_at(reply, n, i, &kv);
        if (r == 0 && name_in(l, &kv))
            r = note(l, name_in(l, &kv), &kv);
        shke_kv_free(&kv);
    }
    if (r < 0)
        return r;
    for (s = l->head; s; s = next) {
        next = s->next;
        if (!s->is_found) {
            take_out(l, s);
            free(s);
        }
    }
    l->read = l->seen = reply->revision;
    return 0;
}

/* ---- Tickets ---- */

void shke_ticket_take(struct shke_line *l, struct shke_ticket *t, const char *prefix)
{
    char name[SHKE_OWN_SIZE];

    shke_own_name(l->object, name);
    *t = (struct shke_ticket){.next = l->tickets};
    snprintf(t->name, sizeof(t->name), "%s%s", prefix, name);
    l->tickets = t;
}

bool shke_ticket_give(struct shke_line *l, struct shke_ticket *t)
{
    const struct shke_spot *s = shke_line_find(l, t->name);
    struct shke_ticket **link = &l->tickets;

    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    return s && s->create != t->created;
}

bool shke_line_has_lost(const struct shke_line *l, const struct shke_ticket *t)
{
    const struct shke_spot *s;

    if (t->created == 0 || l->seen < t->created)
        return false;
    s = shke_line_find(l, t->name);
    return s == NULL || s->create != t->created;
}

bool shke_line_has_ticket(const struct shke_line *l, const char *name)
{
    const struct shke_ticket *t = l->tickets;

    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t != NULL;
}

const struct shke_spot *shke_line_stray(const struct shke_line *l)
{
    const struct shke_spot *s = l->head;
    const char *name;

    for (; s; s = s->next) {
        name = s->name[0] && s->name[1] == '.' ? s->name + 2 : s->name; /* "w." */
        if (shke_is_own_name(l->object, name) && !shke_line_has_ticket(l, s->name))
            break;
    }
    return s;
}

/* ---- Transactions ---- */

void shke_line_key(char key[SHKE_KEY_MAX], const struct shke_line *l, const char *name)
{
    shke_key(key, l->object, "%s%s", l->part, name);
}

/* The ticket's name is a nonce: whatever has that name is this call's. */
static int try_to_enter(struct shke_line *l, struct shke_ticket *t, const struct shke_buffer *value,
                        const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn txn = {0};
    char key[SHKE_KEY_MAX];
    struct shke_kv kv = {0};
    int r;

    shke_line_key(key, l, t->name);
    shke_if_there(&txn, l->object);
    shke_if_created(&txn, key, 0);
    shke_then_put(&txn, key, value->bytes, value->length, t->lease);
    shke_else_get_key(&txn, key);
    r = shke_txn_run(shke_object_client(l->object), &txn, trial, &reply);
    if (r < 0)
        return r;
    t->created = reply.revision;
    if (!reply.succeeded) {
        r = shke_check_there(l->object, &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &kv);
        t->created = kv.create;
        shke_kv_free(&kv);
    }
    shke_reply_free(&reply);
    return r;
}

int shke_line_enter(struct shke_line *l, struct shke_ticket *t, const char *more,
                    const struct shke_trial *trial)
{
    struct shke_buffer value = {0};
    int r = shke_segment_lease(l->object->segment, trial, &t->lease);

    if (r < 0)
        return r;
    shke_segment_describe_thread(l->object->segment, &value);
    shke_add_string(&value, more);
    r = value.failed ? shke_fail(-ENOMEM, "out of memory") : try_to_enter(l, t, &value, trial);
    shke_buffer_free(&value);
    if (r == -ESTALE && !load_relaxed(&l->object->is_gone))
        shke_session_lost(l->object->segment->session, t->lease);
    return r;
}

int shke_line_leave(struct shke_line *l, const char *name, int64_t created,
                    const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn txn = {0};
    char key[SHKE_KEY_MAX];
    int r;

    shke_line_key(key, l, name);
    shke_if_created(&txn, key, created);
    shke_then_delete(&txn, key);
    r = shke_txn_run(shke_object_client(l->object), &txn, trial, &reply);
    if (r == 0)
        shke_reply_free(&reply);
    return r;
}

bool shke_line_mend(struct shke_line *l)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    const struct shke_spot *stray;
    char name[SHKE_SPOT_MAX];
    int64_t created;

    pthread_mutex_lock(&l->object->lock);
    stray = shke_line_stray(l);
    if (stray) {
        memcpy(name, stray->name, sizeof(name));
        created = stray->create;
    }
    pthread_mutex_unlock(&l->object->lock);
    /* its deletion is told by the watch: then the next one is looked for */
    return stray == NULL || shke_line_leave(l, name, created, &trial) == 0;
}
