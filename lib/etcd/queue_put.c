/*
 * Putting.
 *
 * A put compares the .state as it was written last, so that the queue is there and open; the
 * producer's key, so that a request that is sent twice happens once; and that each place is free. A
 * queue without a limit has names for its items that are used once: there is nothing to compare.
 * The producer's key becomes a nonce, a colon, and the places: see queue_places.c.
 */
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = SHKE_NOT_PUT };

/* ---- One transaction ---- */

struct put {
    struct shke_queue *queue;
    struct shk_queue *handle;
    const struct iovec *items;
    unsigned n;
    int64_t priority;
    struct shke_actor *producer;
    const struct shke_at *at; /* NULL: of no source */
    int64_t state;            /* mod_revision of .state */
    long places[SHKE_BATCH];  /* of a queue with a limit */
    bool has_stolen;          /* they are of another producer's region */
    char keys[SHKE_BATCH][SHKE_KEY_MAX];
};

/* With the object's lock: places for up to p->n items: for how many. */
static unsigned choose(struct put *p, bool any)
{
    struct shke_queue *q = p->queue;

    if (q->capacity > 0)
        p->n = shke_places_choose(q, p->producer, any, p->places, p->n, &p->has_stolen);
    for (unsigned i = 0; i < p->n; i++)
        if (q->capacity > 0)
            shke_key(p->keys[i], &q->object, "slot/%05ld", p->places[i]);
        else
            shke_key(p->keys[i], &q->object, "slot/%s-%llu", p->producer->id,
                     (unsigned long long)p->producer->count++);
    return p->n;
}

static void write_item(const struct put *p, unsigned i, struct shke_buffer *b)
{
    struct shke_header header = {.version = 1, .number = {(uint8_t)(i >> 8), (uint8_t)i}};
    uint64_t priority = (uint64_t)p->priority ^ UINT64_C(1) << 63;

    for (unsigned k = 0; k < 8; k++)
        header.priority[k] = (uint8_t)(priority >> (56 - 8 * k));
    b->length = 0;
    shke_add(b, &header, sizeof(header));
    shke_add(b, p->items[i].iov_base, p->items[i].iov_len);
}

/* What the producer's key becomes: it is known by what stands before the colon. */
static void write_cursor(const struct put *p, const char *known_by, struct shke_buffer *b)
{
    b->length = 0;
    shke_add_string(b, known_by);
    shke_add(b, ":", 1);
    for (unsigned i = 0; p->queue->capacity > 0 && i < p->n; i++)
        shke_addf(b, "%s%ld", i ? "," : "", p->places[i]);
}

static int send_put(struct put *p, const char *known_by, const struct shke_trial *trial,
                    struct shke_reply *reply)
{
    struct shke_queue *q = p->queue;
    struct shke_buffer value = {0};
    struct shke_txn t = {0};
    char state[SHKE_KEY_MAX];

    shke_key(state, &q->object, ".state");
    shke_if_written(&t, state, p->state);
    shke_if_written(&t, p->producer->key, p->producer->mod);
    pthread_mutex_lock(&q->object.lock);
    shke_roles_compare(&t, &q->object, &q->roles, &p->handle->roles);
    pthread_mutex_unlock(&q->object.lock);
    for (unsigned i = 0; i < p->n; i++) {
        write_item(p, i, &value);
        if (q->capacity > 0)
            shke_if_created(&t, p->keys[i], 0);
        shke_then_put(&t, p->keys[i], value.bytes, value.length, 0);
    }
    write_cursor(p, known_by, &value);
    shke_then_put(&t, p->producer->key, value.bytes, value.length, 0);
    t.success.failed = t.success.failed || value.failed;
    shke_buffer_free(&value);
    return shke_txn_run(shke_object_client(&q->object), &t, trial, reply);
}

/* Why it has not succeeded: 0: it had happened before; TRY_AGAIN; -EPIPE, -ESTALE. */
static int read_failure(struct put *p, const char *known_by, const struct shke_reply *reply)
{
    struct shke_queue *q = p->queue;
    struct shke_kv state = {0}, cursor = {0};
    unsigned places = q->capacity > 0 ? p->n : 0;
    bool was_moved;
    int r = shke_check_there(&q->object, reply);

    if (r == 0)
        r = shke_reply_kv(reply, 1, &state);
    if (r == 0)
        r = shke_reply_kv(reply, 2, &cursor);
    if (r < 0)
        goto done;
    was_moved = cursor.mod != p->producer->mod;
    p->producer->mod = cursor.mod;
    pthread_mutex_lock(&q->object.lock);
    shke_queue_learn_state(q, &state, reply->revision);
    if (shke_begins_with(&cursor, known_by))
        r = 0;
    else if (p->at && was_moved)
        r = shke_at_stale(q, p->at);
    else if (q->is_shut)
        r = -EPIPE;
    else
        r = TRY_AGAIN;
    for (unsigned i = 0; r == TRY_AGAIN && i < places; i++)
        shke_place_learn(q, p->places[i], shke_reply_count(reply, 3 + i) > 0, reply->revision);
    if (r == TRY_AGAIN &&
        shke_roles_learn_why(&q->object, &q->roles, &p->handle->roles, reply, 3 + places) < 0)
        r = -ENOMEM;
    pthread_mutex_unlock(&q->object.lock);
done:
    shke_kv_free(&state);
    shke_kv_free(&cursor);
    return r;
}

/* Most puts succeed, so why one has not is asked by itself; see queue_get.c. */
static int ask_why(struct put *p, const char *known_by, const struct shke_trial *trial)
{
    struct shke_queue *q = p->queue;
    char record[SHKE_KEY_MAX], state[SHKE_KEY_MAX];
    struct shke_reply reply;
    struct shke_txn t = {0};
    int r;

    shke_key(record, &q->object, ".object");
    shke_key(state, &q->object, ".state");
    shke_then_get(&t, record);
    shke_then_get(&t, state);
    shke_then_get(&t, p->producer->key);
    for (unsigned i = 0; q->capacity > 0 && i < p->n; i++)
        shke_then_get_key(&t, p->keys[i]);
    pthread_mutex_lock(&q->object.lock);
    shke_roles_ask_why(&t, &q->object, &q->roles, &p->handle->roles, false);
    pthread_mutex_unlock(&q->object.lock);
    r = shke_txn_run(shke_object_client(&q->object), &t, trial, &reply);
    if (r == 0)
        r = read_failure(p, known_by, &reply);
    shke_reply_free(&reply);
    return r;
}

/*
 * Without the object's lock; p->n items at p->keys. A put that is given up may still be carried
 * out, and so may an earlier sending of one that was refused: its producer is not used again, so
 * that no later put is taken for it.
 */
static int put_some(struct put *p, const struct shke_trial *trial)
{
    struct shke_queue *q = p->queue;
    char known_by[SHKE_CURSOR_SIZE];
    bool was_refused, is_doubtful;
    struct shke_reply reply;
    int r;

    shke_nonce(known_by);
    if (p->at)
        shke_at_write(p->at, p->n, known_by);
    r = send_put(p, known_by, trial, &reply);
    was_refused = r == 0 && !reply.succeeded;
    if (r == 0 && reply.succeeded)
        p->producer->mod = reply.revision;
    if (was_refused)
        r = ask_why(p, known_by, trial);
    else if (!p->at && (r == -ENOSPC || (r < 0 && r != -EHOSTUNREACH && reply.sent > 1)))
        r = shke_put_find(q, p->producer, known_by, trial, r);
    if (r == TRY_AGAIN && reply.sent > 1 && !p->at) /* at: the next put finds its cursor moved */
        r = shke_put_settle(q, p->producer, known_by, trial);
    pthread_mutex_lock(&q->object.lock);
    for (unsigned i = 0; q->capacity > 0 && i < p->n; i++) {
        q->places[p->places[i]].is_tried = false;
        if (r == 0)
            shke_place_learn(q, p->places[i], true,
                             reply.succeeded ? reply.revision : p->producer->mod);
    }
    if (p->has_stolen)
        shke_places_adjust(q, r == TRY_AGAIN);
    pthread_mutex_unlock(&q->object.lock);
    is_doubtful = r < 0 && r != -EPIPE && r != -ESTALE && (r == -EHOSTUNREACH || reply.sent > 1);
    if (is_doubtful && !p->at) {
        free(p->producer);
        p->producer = NULL;
    }
    shke_reply_free(&reply);
    return r;
}

/* ---- A call ---- */

/* How many of the items go into one transaction. */
static unsigned batch_of(const struct iovec *items, unsigned n)
{
    size_t bytes = 0;
    unsigned k = 0;

    while (k < n && k < SHKE_BATCH && (k == 0 || bytes + items[k].iov_len <= SHKE_BATCH_BYTES))
        bytes += items[k++].iov_len;
    return k;
}

/*
 * With the object's lock: no place is free for this producer as far as is known. The watch tells a
 * call that may wait of the next one. One that must not asks the servers, which may know of one
 * already.
 */
static int wait_for_place(struct shke_queue *q, const struct shki_deadline *deadline,
                          bool *has_looked)
{
    const struct shke_trial trial = {.deadline = deadline};
    struct shki_deadline moment = *deadline;
    struct shke_look look;
    int r;

    shke_roles_keep_waiting(&q->object, &q->roles);
    if (q->n_free > 0 && !deadline->nowait) { /* of other regions */
        r = shke_host->deadline_check(deadline);
        moment.at = shke_now() + shke_places_wait(q);
        moment.at = moment.at < deadline->at ? moment.at : deadline->at;
        return r < 0 ? r : shke_object_sleep(&q->object, &moment);
    }
    if (*has_looked || !deadline->nowait)
        return shke_object_wait(&q->object, deadline);
    *has_looked = true;
    pthread_mutex_unlock(&q->object.lock);
    r = shke_queue_look(q, &trial, &look);
    if (r == 0 && (size_t)look.items < q->capacity)
        r = shke_places_read(q, &trial) < 0 ? -EHOSTUNREACH : 0;
    pthread_mutex_lock(&q->object.lock);
    return r;
}

/*
 * With the object's lock: the .state that is to be compared: 0, or -EPIPE: it is shut, as the
 * servers say now: it may have been reopened.
 */
static int find_state(struct put *p, const struct shke_trial *trial)
{
    struct shke_queue *q = p->queue;
    struct shke_look look;
    int r = 0;

    if (q->state_mod == 0 || q->is_shut) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_queue_look(q, trial, &look);
        pthread_mutex_lock(&q->object.lock);
    }
    p->state = q->state_mod;
    return r < 0 ? r : q->is_shut ? -EPIPE : 0;
}

/* With the object's lock: the role that is to be compared is there: 0, or an error. */
static int find_role(const struct put *p, const struct shke_trial *trial)
{
    struct shke_queue *q = p->queue;
    int r;

    if (p->handle->roles.roles == 0)
        return 0;
    pthread_mutex_unlock(&q->object.lock);
    r = shke_roles_keep(&q->object, &q->roles, trial);
    pthread_mutex_lock(&q->object.lock);
    return r;
}

/*
 * With the object's lock: *is_alone: the consumers whose end the put minds have gone, as the
 * servers say now: there may be new ones. 0 or an error.
 */
static int find_consumers(const struct put *p, const struct shke_trial *trial, bool *is_alone)
{
    struct shke_queue *q = p->queue;
    struct shke_look look;
    int r = 0;

    if (shke_roles_is_alone(&q->roles, &p->handle->roles)) {
        pthread_mutex_unlock(&q->object.lock);
        r = shke_queue_look(q, trial, &look);
        pthread_mutex_lock(&q->object.lock);
    }
    *is_alone = r == 0 && shke_roles_is_alone(&q->roles, &p->handle->roles);
    return *is_alone ? -EPIPE : r;
}

static int say_shut(const struct shki_object *handle)
{
    return shke_host->object_say(handle, -EPIPE, "the queue has been shut down");
}

/* As many as go into one transaction: how many. `at`: NULL, or the cursor that moves on. */
static int put(struct shke_queue *q, struct shk_queue *handle, const struct iovec *items,
               unsigned n, int64_t priority, struct shke_at *at,
               const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    struct put *p = calloc(1, sizeof(*p));
    bool has_looked = false, is_alone = false;
    unsigned shutdowns;
    int r = p ? shke_places_start(q, &trial) : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(p);
        return r;
    }
    *p = (struct put){.queue = q, .handle = handle, .items = items, .priority = priority, .at = at};
    p->producer = at ? &at->actor : NULL;
    if (at)
        shke_nonce(at->actor.id); /* for names that are used once, also by another process */
    pthread_mutex_lock(&q->object.lock);
    shutdowns = q->shutdowns;
    do {
        if (p->producer == NULL)
            p->producer = shke_producer_take(q);
        r = p->producer ? find_role(p, &trial) : -ENOMEM;
        if (r == 0)
            r = find_state(p, &trial);
        /* first: an unlink deletes the keys of the consumers, too */
        if (load_relaxed(&q->object.is_gone))
            r = shke_stale(&q->object);
        if (r == 0)
            r = find_consumers(p, &trial, &is_alone);
        if (r < 0)
            break;
        p->n = batch_of(items, n);
        if (choose(p, deadline->nowait) == 0) {
            r = q->shutdowns != shutdowns ? -EPIPE : wait_for_place(q, deadline, &has_looked);
            r = r == 0 ? TRY_AGAIN : r;
        } else {
            pthread_mutex_unlock(&q->object.lock);
            r = put_some(p, &trial);
            pthread_mutex_lock(&q->object.lock);
        }
    } while (r == TRY_AGAIN);
    if (p->producer && !at)
        shke_actor_give(q, p->producer, true);
    pthread_mutex_unlock(&q->object.lock);
    n = p->n;
    free(p);
    if (r == -EPIPE)
        return is_alone ? shke_roles_say_alone(&handle->object) : say_shut(&handle->object);
    return r < 0 ? r : (int)n;
}

static int check_items(const struct shke_queue *q, const struct iovec *items, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (items[i].iov_base == NULL && items[i].iov_len > 0)
            return shke_fail(-EINVAL, "the item is NULL");
        if (items[i].iov_len > q->item_size)
            return shke_fail(-EMSGSIZE,
                             "an item of %zu bytes is too large for %s/%s, which holds items of "
                             "at most %zu",
                             items[i].iov_len, q->object.segment->segment.name, q->object.name,
                             q->item_size);
    }
    return 0;
}

int shke_queue_put_checked(struct shk_queue *base, const struct iovec *items, unsigned n,
                           int64_t priority, struct shke_at *at, int64_t timeout)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_deadline deadline;
    struct shke_waiting waiting;
    struct shki_saved_error saved;
    int r = shke_enter(&base->object, &q->object);

    if (r == 0)
        r = check_items(q, items, n);
    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    deadline = shke_host->deadline(&base->object, timeout, "the queue is full");
    shke_waiting_begin(&waiting, &q->object, SHK_WAITS_TO_PUT, &deadline);
    r = put(q, base, items, n, priority, at, &deadline);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

int shke_queue_put(struct shk_queue *base, const void *item, size_t len, int64_t priority,
                   int64_t timeout)
{
    struct iovec one = {(void *)(uintptr_t)item, len};
    int r;

    if (item == NULL && len > 0)
        return shke_fail(-EINVAL, "the item is NULL");
    r = shke_queue_put_checked(base, &one, 1, priority, NULL, timeout);
    return r < 0 ? r : 0;
}

/* The rest is put as far as there is room, in further transactions. */
int shke_queue_put_many(struct shk_queue *base, const struct iovec *items, unsigned n,
                        int64_t timeout)
{
    struct shki_saved_error saved;
    unsigned whole = batch_of(items, n); /* all that one transaction can have */
    int done = shke_queue_put_checked(base, items, n, 0, NULL, timeout), r = done;

    if (done < 0)
        return done;
    shke_host->error_save(&saved);
    while (r == (int)whole && (unsigned)done < n) {
        whole = batch_of(items + done, n - (unsigned)done);
        r = shke_queue_put_checked(base, items + done, n - (unsigned)done, 0, NULL, SHK_NOWAIT);
        done += r > 0 ? r : 0;
    }
    return shke_host->error_settle(done, &saved);
}
