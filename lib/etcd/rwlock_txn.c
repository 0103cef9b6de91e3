/* The transactions of a rwlock on etcd. See rwlock.h. */
#include "etcd/rwlock.h"

#include <stdio.h>
#include <string.h>

/* ---- What is known ---- */

static void learn_writer(struct shke_rwlock *l, const struct shke_kv *kv, int64_t revision)
{
    if (revision < l->writer_known)
        return;
    l->writer_known = revision;
    l->writer_created = kv->create;
    l->writer_lease = kv->lease;
    if (kv->create == 0)
        return;
    shke_read_thread(kv, l->writer_name, &l->writer_pid);
    shke_read_nonce(kv, l->writer_nonce, sizeof(l->writer_nonce));
}

static void learn_turn(struct shke_rwlock *l, int64_t turn, int64_t revision)
{
    if (revision < l->turn_known)
        return;
    l->turn_known = revision;
    l->turn = turn;
}

void shke_rwlock_event(struct shke_rwlock *l, const struct shke_kv *kv, bool deleted)
{
    const char *part = kv->key + strlen(l->object.prefix);

    if (shke_line_event(&l->line, kv, deleted) || shke_line_event(&l->readers, kv, deleted))
        return;
    if (strcmp(part, "writer") == 0)
        learn_writer(l, kv, kv->mod); /* a key that is deleted has no create_revision */
    else if (strcmp(part, "turn") == 0)
        learn_turn(l, deleted ? 0 : kv->mod, kv->mod);
}

static bool is_writer(const struct shke_spot *s)
{
    return s->name[0] == 'w';
}

bool shke_rwlock_may_enter(const struct shke_rwlock *l, bool writes,
                           const struct shke_ticket *place)
{
    bool is_before;

    if (l->writer_created || (writes && l->readers.n > 0))
        return false;
    if (!writes && place && l->turn > place->created)
        return true;
    for (const struct shke_spot *s = l->line.head; s; s = s->next) {
        if (place && s->create == place->created)
            continue;
        is_before = place == NULL || s->create < place->created;
        if (writes ? is_before || (!is_writer(s) && s->create < l->turn)
                   : is_before && is_writer(s))
            return false;
    }
    return true;
}

int64_t shke_rwlock_key(const struct shke_rwlock *l, const struct shke_rw_holder *h)
{
    const struct shke_spot *s = h->writes ? NULL : shke_line_find(&l->readers, h->ticket.name);
    bool is_writer = h->writes && l->writer_created && strcmp(l->writer_nonce, h->ticket.name) == 0;
    int64_t created = s ? s->create : is_writer ? l->writer_created : 0;

    return shke_session_has(l->object.segment->session, s ? s->lease : l->writer_lease) ? created
                                                                                        : 0;
}

/* ---- Looking ---- */

/* writer, turn */
static int read_answers(struct shke_rwlock *l, const struct shke_reply *reply, unsigned n)
{
    struct shke_kv writer, turn = {0};
    int r = shke_reply_kv(reply, n, &writer);

    if (r == 0)
        r = shke_reply_kv(reply, n + 1, &turn);
    if (r == 0) {
        learn_writer(l, &writer, reply->revision);
        learn_turn(l, turn.mod, reply->revision);
    }
    shke_kv_free(&writer);
    shke_kv_free(&turn);
    return r;
}

int64_t shke_rwlock_look(struct shke_rwlock *l, const struct shke_trial *trial)
{
    static const char *const parts[] = {"writer", "turn"};
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    int64_t revision;
    int r;

    shke_if_there(&t, &l->object);
    for (unsigned i = 0; i < 2; i++) {
        shke_key(key, &l->object, "%s", parts[i]);
        shke_then_get(&t, key);
    }
    shke_key(key, &l->object, "wait/");
    shke_then_get_all(&t, key);
    shke_key(key, &l->object, "reader/");
    shke_then_get_all(&t, key);
    r = shke_txn_run(shke_object_client(&l->object), &t, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    pthread_mutex_lock(&l->object.lock);
    r = reply.succeeded ? read_answers(l, &reply, 0) : shke_stale(&l->object);
    if (r == 0)
        r = shke_line_read(&l->line, &reply, 2);
    if (r == 0)
        r = shke_line_read(&l->readers, &reply, 3);
    if (r == -ESTALE)
        shke_object_is_gone(&l->object);
    pthread_mutex_unlock(&l->object.lock);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

/* ---- Entering ---- */

static bool has_waiting(const struct shke_rwlock *l, bool writers)
{
    const struct shke_spot *s = l->line.head;

    while (s && is_writer(s) != writers)
        s = s->next;
    return s != NULL;
}

/* No key of this part, or none that was created until then: as there are some, or not. */
static void add_none_before(struct shke_txn *t, const char *prefix, bool there_are, int64_t created)
{
    if (there_are)
        shke_if_all_created_after(t, prefix, created);
    else
        shke_if_none(t, prefix);
}

/* With the lock. */
static void add_turn_to_read(struct shke_txn *t, const struct shke_rwlock *l,
                             const struct shke_ticket *place)
{
    char writers[SHKE_KEY_MAX], turn[SHKE_KEY_MAX];

    shke_key(writers, &l->object, "wait/w.");
    shke_key(turn, &l->object, "turn");
    if (place == NULL)
        shke_if_none(t, writers);
    else if (l->turn > place->created)
        shke_if_written_after(t, turn, place->created);
    else
        add_none_before(t, writers, has_waiting(l, true), place->created);
}

static void add_turn_to_write(struct shke_txn *t, const struct shke_rwlock *l,
                              const struct shke_ticket *place)
{
    char all[SHKE_KEY_MAX], readers[SHKE_KEY_MAX], turn[SHKE_KEY_MAX];

    shke_key(all, &l->object, "reader/");
    shke_if_none(t, all);
    shke_key(all, &l->object, "wait/");
    if (place == NULL) {
        shke_if_none(t, all);
        return;
    }
    shke_key(turn, &l->object, "turn");
    shke_key(readers, &l->object, "wait/r.");
    shke_if_all_created_after(t, all, place->created - 1);
    shke_if_written(t, turn, l->turn);
    if (l->turn > place->created)
        add_none_before(t, readers, has_waiting(l, false), l->turn);
}

/* With the lock. */
static void write_entry(struct shke_txn *t, const struct shke_rwlock *l,
                        const struct shke_rw_holder *h, const struct shke_ticket *place)
{
    char writer[SHKE_KEY_MAX], writing[SHKE_KEY_MAX], mine[SHKE_KEY_MAX], turn[SHKE_KEY_MAX],
        waits[SHKE_KEY_MAX];
    struct shke_buffer value = {0};

    shke_key(writer, &l->object, "writer");
    shke_key(writing, &l->object, "writing");
    shke_key(turn, &l->object, "turn");
    shke_line_key(mine, &l->readers, h->ticket.name);
    shke_segment_describe_thread(l->object.segment, &value);
    shke_addf(&value, ",\"nonce\":\"%s\"}", h->ticket.name);
    shke_if_there(t, &l->object);
    shke_if_created(t, writer, 0);
    shke_if_created(t, mine, 0);
    shke_then_put(t, h->writes ? writer : mine, value.bytes, value.length, h->ticket.lease);
    if (h->writes) {
        add_turn_to_write(t, l, place);
        shke_then_put(t, writing, h->ticket.name, strlen(h->ticket.name), 0);
    } else {
        add_turn_to_read(t, l, place);
    }
    shke_then_get(t, writing);
    if (place) {
        shke_line_key(waits, &l->line, place->name);
        shke_if_created(t, waits, place->created);
        shke_then_delete(t, waits);
    }
    shke_else_get(t, writer);
    shke_else_get(t, turn);
    shke_else_get_key(t, mine);
    shke_else_get_key(t, writing);
    t->success.failed = t->success.failed || value.failed;
    shke_buffer_free(&value);
}

/* With the lock: 0: it has entered; 1: not. */
static int read_entry(struct shke_rwlock *l, struct shke_rw_holder *h,
                      const struct shke_reply *reply)
{
    struct shke_kv mine = {0}, writing = {0};
    int r = reply->succeeded ? 0 : shke_check_there(&l->object, reply);

    if (r == 0 && reply->succeeded) {
        mine.create = reply->revision;
        r = shke_reply_kv(reply, h->writes ? 2 : 1, &writing);
    } else if (r == 0) { /* record, writer, turn, mine, writing */
        r = read_answers(l, reply, 1);
        if (r == 0)
            r = shke_reply_kv(reply, 3, &mine);
        if (r == 0)
            r = shke_reply_kv(reply, 4, &writing);
        if (h->writes) {
            mine.create = strcmp(l->writer_nonce, h->ticket.name) == 0 ? l->writer_created : 0;
            mine.lease = l->writer_lease;
        }
        if (mine.lease != h->ticket.lease) /* it goes with a lease that has ended */
            mine.create = 0;
        h->was_in = mine.create != 0;
    }
    if (r == 0 && mine.create) {
        h->ticket.created = mine.create;
        h->is_orphaned = writing.create && writing.create != (h->writes ? mine.create : 0);
    }
    r = r < 0 ? r : mine.create == 0;
    shke_kv_free(&mine);
    shke_kv_free(&writing);
    return r;
}

/* As a writer, the caller is one now, which its next calls need not learn from the watch. */
static void note_entry(struct shke_rwlock *l, const struct shke_rw_holder *h)
{
    struct shke_kv writer = {.create = h->ticket.created, .lease = h->ticket.lease};

    if (!h->writes)
        return;
    learn_writer(l, &writer, h->ticket.created);
    snprintf(l->writer_nonce, sizeof(l->writer_nonce), "%s", h->ticket.name);
}

int shke_rwlock_enter(struct shke_rwlock *l, struct shke_rw_holder *h,
                      const struct shke_ticket *place, const struct shke_trial *trial)
{
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    write_entry(&t, l, h, place);
    pthread_mutex_unlock(&l->object.lock);
    r = shke_txn_run(shke_object_client(&l->object), &t, trial, &reply);
    pthread_mutex_lock(&l->object.lock);
    if (r < 0)
        return r;
    r = read_entry(l, h, &reply);
    if (r == 0)
        note_entry(l, h);
    shke_reply_free(&reply);
    return r;
}

/* ---- Finishing ---- */

int shke_rwlock_finish(struct shke_rwlock *l, struct shke_rw_holder *h, bool to_reader,
                       const struct shke_trial *trial)
{
    char writer[SHKE_KEY_MAX], writing[SHKE_KEY_MAX], mine[SHKE_KEY_MAX], turn[SHKE_KEY_MAX];
    struct shke_buffer value = {0};
    struct shke_kv kv = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_key(writer, &l->object, "writer");
    shke_key(writing, &l->object, "writing");
    shke_key(turn, &l->object, "turn");
    shke_line_key(mine, &l->readers, h->ticket.name);
    shke_if_there(&t, &l->object);
    shke_if_created(&t, writer, h->ticket.created);
    shke_then_delete(&t, writer);
    shke_then_put(&t, turn, h->ticket.name, strlen(h->ticket.name), 0);
    if (!h->is_orphaned)
        shke_then_delete(&t, writing);
    if (to_reader) {
        shke_segment_describe_thread(l->object.segment, &value);
        shke_addf(&value, ",\"nonce\":\"%s\"}", h->ticket.name);
        shke_then_put(&t, mine, value.bytes, value.length, h->ticket.lease);
        shke_else_get_key(&t, mine);
    }
    t.success.failed = t.success.failed || value.failed;
    shke_buffer_free(&value);
    pthread_mutex_unlock(&l->object.lock);
    r = shke_txn_run(shke_object_client(&l->object), &t, trial, &reply);
    pthread_mutex_lock(&l->object.lock);
    if (r < 0)
        return r;
    if (!reply.succeeded)
        r = shke_check_there(&l->object, &reply);
    if (r == 0 && to_reader && !reply.succeeded)
        r = shke_reply_kv(&reply, 1, &kv);
    if (r == 0 && to_reader && (reply.succeeded || kv.create))
        h->ticket.created = reply.succeeded ? reply.revision : kv.create;
    if (r == 0)
        r = !reply.succeeded && kv.create == 0;
    if (r >= 0)
        learn_writer(l, &(struct shke_kv){0}, reply.revision);
    shke_kv_free(&kv);
    shke_reply_free(&reply);
    return r;
}

bool shke_rwlock_mend(struct shke_rwlock *l)
{
    const struct shke_trial trial = {.limit = SHK_MS(500)};
    struct shke_rw_holder stray = {.writes = true};
    char writing[SHKE_KEY_MAX], writer[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    bool is_stray;

    pthread_mutex_lock(&l->object.lock);
    is_stray = l->writer_created && shke_is_own_name(&l->object, l->writer_nonce) &&
               !shke_line_has_ticket(&l->readers, l->writer_nonce);
    stray.ticket.created = l->writer_created;
    memcpy(stray.ticket.name, l->writer_nonce, sizeof(stray.ticket.name));
    pthread_mutex_unlock(&l->object.lock);
    if (!is_stray)
        return true;
    /* it has written nothing: `writing` goes with it, unless that was there before */
    shke_key(writer, &l->object, "writer");
    shke_key(writing, &l->object, "writing");
    shke_if_created(&t, writer, stray.ticket.created);
    shke_if_created(&t, writing, stray.ticket.created);
    shke_then_delete(&t, writing);
    if (shke_txn_run(shke_object_client(&l->object), &t, &trial, &reply) < 0)
        return false;
    shke_reply_free(&reply);
    stray.is_orphaned = true; /* what is there now stays */
    pthread_mutex_lock(&l->object.lock);
    is_stray = shke_rwlock_finish(l, &stray, false, &trial) < 0;
    pthread_mutex_unlock(&l->object.lock);
    return !is_stray;
}
