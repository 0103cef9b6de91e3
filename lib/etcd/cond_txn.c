/* The transactions of a condition on etcd, and what is seen of it from outside. See cond.h. */
#include "etcd/cond.h"
#include "etcd/sight.h"

#include <shmkit/cond.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waiters that one transaction marks: two comparisons each, of 128. */
#define BATCH 50

#define OBJECT(c) (&(c)->lock.object)

/* ---- What is known ---- */

static void learn_all(struct shke_cond *c, int64_t all, int64_t revision)
{
    if (revision < c->all_known)
        return;
    c->all_known = revision;
    c->all = all;
}

void shke_cond_event(struct shke_cond *c, const struct shke_kv *kv, bool deleted)
{
    if (strcmp(kv->key + strlen(OBJECT(c)->prefix), "all") == 0)
        learn_all(c, deleted ? 0 : kv->mod, kv->mod);
    else if (!shke_line_event(&c->line, kv, deleted))
        shke_line_event(&c->marks, kv, deleted);
}

bool shke_cond_is_marked(const struct shke_cond *c, const char *name, int64_t created)
{
    return c->all > created || shke_line_find(&c->marks, name) != NULL;
}

/* The first that waited at that revision, and has not been notified. */
static const struct shke_spot *first_since(const struct shke_cond *c, int64_t revision)
{
    const struct shke_spot *s = c->line.head;

    while (s && shke_cond_is_marked(c, s->name, s->create))
        s = s->next;
    return s && s->create < revision ? s : NULL;
}

static int64_t notified_at(const struct shke_spot *mark)
{
    return mark->number > 0 ? mark->number : mark->mod;
}

const struct shke_spot *shke_cond_next(const struct shke_cond *c, const struct shke_spot **mark)
{
    const struct shke_spot *next;

    for (const struct shke_spot *m = c->marks.head; m; m = m->next) {
        if (shke_line_find(&c->line, m->name))
            continue;
        next = first_since(c, notified_at(m));
        if (next) {
            *mark = m;
            return next;
        }
    }
    return NULL;
}

/* ---- Looking ---- */

static void add_questions(struct shke_txn *t, const struct shke_cond *c,
                          void (*get)(struct shke_txn *, const char *),
                          void (*get_all)(struct shke_txn *, const char *))
{
    char key[SHKE_KEY_MAX];

    shke_key(key, OBJECT(c), "all");
    get(t, key);
    shke_key(key, OBJECT(c), "wait/");
    get_all(t, key);
    shke_key(key, OBJECT(c), "mark/");
    get_all(t, key);
}

static int read_answers(struct shke_cond *c, const struct shke_reply *reply, unsigned n)
{
    struct shke_kv all;
    int r = shke_reply_kv(reply, n, &all);

    if (r == 0)
        learn_all(c, all.mod, reply->revision);
    if (r == 0)
        r = shke_line_read(&c->line, reply, n + 1);
    if (r == 0)
        r = shke_line_read(&c->marks, reply, n + 2);
    shke_kv_free(&all);
    return r;
}

int64_t shke_cond_look(struct shke_cond *c, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_kv holder = {0};
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    int64_t revision;
    int r;

    shke_key(key, OBJECT(c), "holder");
    shke_if_there(&t, OBJECT(c));
    shke_then_get(&t, key);
    add_questions(&t, c, shke_then_get, shke_then_get_all);
    r = shke_txn_run(shke_object_client(OBJECT(c)), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    pthread_mutex_lock(&OBJECT(c)->lock);
    r = reply.succeeded ? shke_reply_kv(&reply, 0, &holder) : shke_stale(OBJECT(c));
    if (r == 0)
        r = read_answers(c, &reply, 1);
    if (r == 0)
        shke_lock_learn(&c->lock, &holder, revision);
    if (r == -ESTALE)
        shke_object_is_gone(OBJECT(c));
    pthread_mutex_unlock(&OBJECT(c)->lock);
    shke_kv_free(&holder);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

/* ---- Waiting ---- */

/*
 * It was refused, but not by its comparisons. Whether the lock is held still, and will be: an
 * earlier sending may have given it up, or do so yet; also this one, when etcd has just reached its
 * quota.
 */
static bool still_holds(struct shke_lock *l, const char *holder, int64_t token, int refusal,
                        unsigned sent, const struct shke_trial *trial)
{
    struct shki_saved_error saved;
    struct shke_reply reply;
    struct shke_kv kv = {0};
    bool holds;

    if (sent > 1 || refusal != -ENOSPC)
        return sent <= 1;
    shke_host->error_save(&saved);
    holds = shke_get(shke_object_client(&l->object), holder, trial, &reply) == 0 &&
            shke_range_kv(&reply, 0, &kv) == 0 && kv.create == token;
    shke_host->error_settle(0, &saved); /* the sentence of the refusal */
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return holds;
}

/* The record of an object is compared, and asked for if not all holds. */
int shke_cond_enter(struct shke_cond *c, struct shke_lock *l, int64_t token,
                    struct shke_ticket *ticket, const struct shke_trial *trial, int64_t *revision)
{
    char holder[SHKE_KEY_MAX], held[SHKE_KEY_MAX], key[SHKE_KEY_MAX];
    struct shke_buffer value = {0};
    struct shke_kv mine = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_key(holder, &l->object, "holder");
    shke_key(held, &l->object, "held");
    shke_line_key(key, &c->line, ticket->name);
    shke_segment_describe_thread(OBJECT(c)->segment, &value);
    shke_add_string(&value, "}");
    shke_if_there(&t, OBJECT(c));
    shke_if_created(&t, holder, token);
    shke_if_created(&t, key, 0);
    shke_then_delete(&t, holder);
    shke_then_delete(&t, held);
    shke_then_put(&t, key, value.bytes, value.length, ticket->lease);
    shke_else_get_key(&t, key);
    t.success.failed = t.success.failed || value.failed;
    shke_buffer_free(&value);
    r = shke_txn_run(shke_object_client(OBJECT(c)), &t, trial, &reply);
    if (r < 0 && r != -EHOSTUNREACH && r != -ESTALE)
        return still_holds(l, holder, token, r, reply.sent, trial) ? r : 1;
    if (r < 0)
        return r;
    *revision = reply.revision;
    mine.create = reply.revision;
    if (!reply.succeeded) {
        mine.create = 0;
        r = shke_check_there(OBJECT(c), &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &mine);
    }
    ticket->created = mine.create;
    if (!reply.succeeded)
        shke_kv_free(&mine);
    shke_reply_free(&reply);
    return r < 0 ? r : ticket->created == 0;
}

int shke_cond_take_over(struct shke_cond *c, const struct shke_spot *mark,
                        const struct shke_ticket *ticket, const struct shke_trial *trial)
{
    char dead[SHKE_KEY_MAX], dead_mark[SHKE_KEY_MAX], mine[SHKE_KEY_MAX], my_mark[SHKE_KEY_MAX],
        value[40];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_line_key(dead, &c->line, mark->name);
    shke_line_key(dead_mark, &c->marks, mark->name);
    shke_line_key(mine, &c->line, ticket->name);
    shke_line_key(my_mark, &c->marks, ticket->name);
    snprintf(value, sizeof(value), "{\"n\":%lld}", (long long)notified_at(mark));
    shke_if_there(&t, OBJECT(c));
    shke_if_created(&t, dead, 0);
    shke_if_created(&t, dead_mark, mark->create);
    shke_if_created(&t, mine, ticket->created);
    shke_if_created(&t, my_mark, 0);
    shke_then_delete(&t, dead_mark);
    shke_then_put(&t, my_mark, value, strlen(value), 0);
    pthread_mutex_unlock(&OBJECT(c)->lock);
    r = shke_txn_run(shke_object_client(OBJECT(c)), &t, trial, &reply);
    pthread_mutex_lock(&OBJECT(c)->lock);
    if (r == 0)
        shke_reply_free(&reply);
    return r;
}

int shke_cond_leave(struct shke_cond *c, const struct shke_ticket *ticket, bool *marked,
                    const struct shke_trial *trial)
{
    char mine[SHKE_KEY_MAX], mark[SHKE_KEY_MAX], all[SHKE_KEY_MAX];
    struct shke_kv my_mark = {0}, last = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_line_key(mine, &c->line, ticket->name);
    shke_line_key(mark, &c->marks, ticket->name);
    shke_key(all, OBJECT(c), "all");
    shke_if_created(&t, mine, ticket->created);
    shke_then_get(&t, mark);
    shke_then_get(&t, all);
    shke_then_delete(&t, mine);
    shke_then_delete(&t, mark);
    pthread_mutex_unlock(&OBJECT(c)->lock);
    r = shke_txn_run(shke_object_client(OBJECT(c)), &t, trial, &reply);
    pthread_mutex_lock(&OBJECT(c)->lock);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        r = shke_reply_kv(&reply, 0, &my_mark);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &last);
        *marked = my_mark.create || last.mod > ticket->created;
    }
    shke_kv_free(&my_mark);
    shke_kv_free(&last);
    shke_reply_free(&reply);
    return r < 0 ? r : !reply.succeeded && shke_line_find(&c->line, ticket->name);
}

/* ---- Notifying ---- */

/* With the lock: the marks that no waiter is left for. */
static void delete_old_marks(struct shke_txn *t, const struct shke_cond *c)
{
    char key[SHKE_KEY_MAX];
    unsigned n = 0;

    for (const struct shke_spot *m = c->marks.head; m && n < 8; m = m->next) {
        if (shke_line_find(&c->line, m->name) || first_since(c, notified_at(m)))
            continue;
        shke_line_key(key, &c->marks, m->name);
        shke_then_delete(t, key);
        n++;
    }
}

/* With the lock: how many are to be marked now. */
static unsigned add_marks(struct shke_txn *t, const struct shke_cond *c, unsigned n,
                          const char *nonce)
{
    char wait[SHKE_KEY_MAX], mark[SHKE_KEY_MAX];
    bool all = n == UINT32_MAX;
    unsigned found = 0;

    for (const struct shke_spot *s = c->line.head; s && found < n; s = s->next) {
        if (shke_cond_is_marked(c, s->name, s->create))
            continue;
        if (!all && found == BATCH)
            break;
        found++;
        if (all)
            continue;
        shke_line_key(wait, &c->line, s->name);
        shke_line_key(mark, &c->marks, s->name);
        shke_if_created(t, wait, s->create);
        shke_if_created(t, mark, 0);
        shke_then_put(t, mark, "{}", 2, 0);
    }
    if (all && found > 0) {
        shke_key(mark, OBJECT(c), "all");
        shke_then_put(t, mark, nonce, strlen(nonce), 0);
    }
    return found;
}

/* Whether the last notify was that one; then how many it has marked. */
static bool is_of(const struct shke_kv *notified, const char *nonce, unsigned *found)
{
    if (!shke_begins_with(notified, nonce))
        return false;
    *found = (unsigned)strtoul((const char *)notified->value + strlen(nonce) + 1, NULL, 10);
    return true;
}

int shke_cond_mark(struct shke_cond *c, const struct shke_lock *l, int64_t token, unsigned n,
                   const char *nonce, bool *holds, const struct shke_trial *trial)
{
    char holder[SHKE_KEY_MAX], notified[SHKE_KEY_MAX], line[SHKE_KEY_MAX],
        value[SHKE_NONCE_SIZE + 12];
    struct shke_kv owner = {0}, last = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    unsigned found;
    int r;

    shke_key(holder, &l->object, "holder");
    shke_key(notified, OBJECT(c), "notified");
    shke_key(line, OBJECT(c), "wait/");
    shke_if_there(&t, OBJECT(c));
    shke_if_created(&t, holder, token);
    shke_if_none_written_after(&t, line, c->line.seen);
    found = add_marks(&t, c, n, nonce);
    delete_old_marks(&t, c);
    snprintf(value, sizeof(value), "%s:%u", nonce, found);
    shke_then_put(&t, notified, value, strlen(value), 0);
    shke_else_get(&t, holder);
    shke_else_get(&t, notified);
    add_questions(&t, c, shke_else_get, shke_else_get_all);
    pthread_mutex_unlock(&OBJECT(c)->lock);
    r = shke_txn_run(shke_object_client(OBJECT(c)), &t, trial, &reply);
    pthread_mutex_lock(&OBJECT(c)->lock);
    if (r < 0)
        return r;
    if (reply.succeeded) {
        if (n == UINT32_MAX && found > 0)
            learn_all(c, reply.revision, reply.revision);
    } else {
        r = shke_check_there(OBJECT(c), &reply);
        if (r == 0)
            r = shke_reply_kv(&reply, 1, &owner);
        if (r == 0)
            r = shke_reply_kv(&reply, 2, &last);
        if (r == 0)
            r = read_answers(c, &reply, 3);
        *holds = r < 0 || owner.create == token;
        if (r == 0 && !is_of(&last, nonce, &found))
            r = -EAGAIN;
        shke_kv_free(&owner);
        shke_kv_free(&last);
    }
    shke_reply_free(&reply);
    return r < 0 ? r : (int)found;
}

/* ---- From outside ---- */

void shke_cond_sight_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "holder"));
    shke_then_get(t, shke_part(key, prefix, "held"));
}

/* The holder of a given lock is shown with that lock. */
int shke_cond_sight_tell(struct shke_sight *s, struct shk_object_info *info)
{
    json_object *record = shke_sight_record(s);
    struct shke_kv holder, held = {0};
    int r = shke_sight_kv(s, 0, 0, &holder);

    if (r == 0)
        r = shke_sight_kv(s, 1, 0, &held);
    shke_copy_text(info->as.cond.lock, sizeof(info->as.cond.lock), record, "lock");
    info->as.cond.kind = SHK_COND_ROBUST;
    info->as.cond.own_lock = info->as.cond.lock[0] == '\0';
    info->as.cond.recursive = info->as.cond.own_lock;
    info->holder = shke_sight_member(s, &holder);
    info->held = info->holder ? shke_sight_held(&holder) : 0;
    info->as.cond.depth = holder.create != 0;
    info->as.cond.orphaned = held.create != 0 && holder.create == 0;
    shke_kv_free(&holder);
    shke_kv_free(&held);
    return r;
}
