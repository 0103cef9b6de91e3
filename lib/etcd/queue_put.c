/*
 * Putting.
 *
 * Producers of a queue with a limit that is full would all try the place that a consumer has just
 * made free, and all but one of them would have asked for nothing. So each has a region of the
 * places of its own, by its rank among the producers, as soon as it has met another one. While half
 * of the places are free it takes any; else only those of its region. It takes one of another
 * region only when it has waited for a while, which becomes longer when another one had it, and
 * shorter when not: the region may be that of a producer that has nothing to put.
 */
#include "etcd/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN = 1 };

#define PRODUCERS_SEEN 64 /* so many ranks are exact */

/* ---- The places of a queue with a limit ---- */

/* The number of a place, from its key; -1: another key. */
static long place_of(const struct shke_queue *q, const char *key)
{
    const char *part = key + strlen(q->object.prefix);
    char *end;
    long n;

    if (strncmp(part, "slot/", 5) != 0)
        return -1;
    n = strtol(part + 5, &end, 10);
    return *end == '\0' && end > part + 5 && n >= 0 && (size_t)n < q->capacity ? n : -1;
}

/* With the object's lock. */
static void learn_place(struct shke_queue *q, long n, bool is_taken, int64_t revision)
{
    struct shke_place *p = &q->places[n];

    if (revision < p->known)
        return;
    p->known = revision;
    if (p->is_taken != is_taken)
        is_taken ? q->n_free-- : q->n_free++;
    p->is_taken = is_taken;
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_queue *q = arg;
    long n = place_of(q, kv->key);

    if (n < 0)
        return;
    pthread_mutex_lock(&q->object.lock);
    learn_place(q, n, !deleted, kv->mod);
    pthread_mutex_unlock(&q->object.lock);
}

static void told(void *arg)
{
    struct shke_queue *q = arg;

    pthread_mutex_lock(&q->object.lock);
    pthread_cond_broadcast(&q->object.changed);
    pthread_mutex_unlock(&q->object.lock);
}

/* Read which places are taken; the revision as of which. */
static int64_t read_places(struct shke_queue *q, const struct shke_trial *trial)
{
    char prefix[SHKE_KEY_MAX];
    const struct shke_range range = {.prefix = prefix, .keys_only = true};
    struct shke_reply reply;
    struct shke_kv kv;
    int64_t revision;
    bool *is_taken;
    long n;
    int r;

    shke_key(prefix, &q->object, "slot/");
    r = shke_range(shke_object_client(&q->object), &range, trial, &reply);
    if (r < 0)
        return r;
    revision = reply.revision;
    is_taken = calloc(q->capacity, sizeof(*is_taken));
    if (is_taken == NULL)
        r = shke_fail(-ENOMEM, "out of memory");
    for (size_t i = 0; r == 0 && i < shke_range_n(&reply); i++) {
        r = shke_range_kv(&reply, i, &kv);
        n = r == 0 ? place_of(q, kv.key) : -1;
        if (n >= 0)
            is_taken[n] = true;
        shke_kv_free(&kv);
    }
    pthread_mutex_lock(&q->object.lock);
    for (n = 0; r == 0 && (size_t)n < q->capacity; n++)
        learn_place(q, n, is_taken[n], revision);
    pthread_mutex_unlock(&q->object.lock);
    free(is_taken);
    shke_reply_free(&reply);
    return r < 0 ? r : revision;
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(2)};

    return read_places(arg, &trial);
}

/* Only deletions are told: puts of others are found when a place is tried. */
static int start_places(struct shke_queue *q, const struct shke_trial *trial)
{
    static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};
    char prefix[SHKE_KEY_MAX];
    int64_t revision;

    pthread_mutex_lock(&q->starting);
    if (q->deletes || q->capacity == 0) {
        pthread_mutex_unlock(&q->starting);
        return 0;
    }
    if (q->places == NULL) {
        q->places = calloc(q->capacity, sizeof(*q->places));
        q->n_free = q->places ? q->capacity : 0;
    }
    revision = q->places ? read_places(q, trial) : shke_fail(-ENOMEM, "out of memory");
    if (revision > 0) {
        shke_key(prefix, &q->object, "slot/");
        q->deletes = shke_watch_start(shke_session_watches(q->object.segment->session), prefix,
                                      revision, true, &watcher, q);
        revision = q->deletes ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&q->starting);
    return (int)revision;
}

void shke_places_free(struct shke_queue *q)
{
    shke_watch_stop(q->deletes);
    free(q->places);
}

/* ---- One transaction ---- */

struct put {
    struct shke_queue *queue;
    const struct iovec *items;
    unsigned n;
    int64_t priority;
    struct shke_actor *producer;
    const struct shke_at *at; /* NULL: of no source */
    long places[SHKE_BATCH];  /* of a queue with a limit */
    bool has_stolen;          /* they are of another producer's region */
    char keys[SHKE_BATCH][SHKE_KEY_MAX];
};

#define STEAL_FIRST SHK_MS(2)
#define STEAL_MOST  SHK_MS(32)

/* With the object's lock: add free places from `from` to `to`, beginning somewhere among them. */
static void add_places(struct put *p, size_t from, size_t to, unsigned n)
{
    struct shke_queue *q = p->queue;
    static _Thread_local unsigned seed;
    size_t at;

    if (seed == 0)
        seed = (unsigned)shke_tid() ^ (unsigned)(uintptr_t)&seed;
    at = from + (size_t)rand_r(&seed) % (to - from);
    for (size_t i = from; i < to && p->n < n; i++, at = at + 1 < to ? at + 1 : from) {
        if (q->places[at].is_taken || q->places[at].is_tried)
            continue;
        q->places[at].is_tried = true;
        shke_key(p->keys[p->n], &q->object, "slot/%05zu", at);
        p->places[p->n++] = (long)at;
    }
}

/* With the object's lock: up to p->n places that are free: how many. */
static unsigned choose_places(struct put *p, bool steals)
{
    struct shke_queue *q = p->queue;
    size_t all = p->producer->all ? p->producer->all : 1;
    size_t from = q->capacity * p->producer->rank / all,
           to = q->capacity * (p->producer->rank + 1) / all;
    unsigned n = p->n;

    p->n = 0;
    p->has_stolen = false;
    if (q->n_free == 0)
        return 0;
    if (from < to)
        add_places(p, from, to, n);
    if (q->n_free * 2 > q->capacity) {
        add_places(p, 0, q->capacity, n);
    } else if (p->n == 0 && steals) {
        p->has_stolen = true;
        add_places(p, 0, q->capacity, n);
    }
    return p->n;
}

static unsigned choose(struct put *p, bool steals)
{
    if (p->queue->capacity > 0)
        return choose_places(p, steals);
    for (unsigned i = 0; i < p->n; i++)
        shke_key(p->keys[i], &p->queue->object, "slot/%s-%llu", p->producer->id,
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

/* `written`: what the producer's key becomes, and is known by. */
static int send_put(struct put *p, const char *written, const struct shke_trial *trial,
                    struct shke_reply *reply)
{
    struct shke_queue *q = p->queue;
    struct shke_buffer value = {0};
    struct shke_txn t = {0};
    char state[SHKE_KEY_MAX], cursors[SHKE_KEY_MAX];

    shke_key(state, &q->object, ".state");
    shke_key(cursors, &q->object, "cursor/");
    shke_if_there(&t, &q->object);
    shke_if_value(&t, state, "open", 4);
    shke_if_written(&t, p->producer->key, p->producer->mod);
    shke_else_get(&t, state);
    shke_else_get(&t, p->producer->key);
    shke_else_keys(&t, cursors, PRODUCERS_SEEN);
    for (unsigned i = 0; i < p->n; i++) {
        write_item(p, i, &value);
        shke_if_created(&t, p->keys[i], 0);
        shke_then_put(&t, p->keys[i], value.bytes, value.length, 0);
        shke_else_count(&t, p->keys[i]);
    }
    shke_then_put(&t, p->producer->key, written, strlen(written), 0);
    t.success.failed = t.success.failed || value.failed;
    shke_buffer_free(&value);
    return shke_txn_run(shke_object_client(&q->object), &t, trial, reply);
}

/* The producer's rank among all, from their keys in a reply; more of them than came: any rank. */
static void learn_rank(struct shke_actor *a, const struct shke_reply *reply, unsigned answer)
{
    unsigned rank = 0, n = (unsigned)shke_reply_n(reply, answer);
    bool is_there = false;
    struct shke_kv kv;

    for (unsigned i = 0; i < n; i++) {
        if (shke_reply_kv_at(reply, answer, i, &kv) < 0)
            return;
        rank += strcmp(kv.key, a->key) < 0;
        is_there = is_there || strcmp(kv.key, a->key) == 0;
        shke_kv_free(&kv);
    }
    a->all = (unsigned)shke_reply_count(reply, answer) + !is_there;
    a->rank = n == PRODUCERS_SEEN && !is_there ? (unsigned)a->id[0] % a->all : rank;
}

/* It did not succeed: 0: it had happened before; TRY_AGAIN; -EPIPE, -ESTALE. */
static int read_failure(struct put *p, const char *written, const struct shke_reply *reply)
{
    struct shke_queue *q = p->queue;
    struct shke_kv state = {0}, cursor = {0};
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
    learn_rank(p->producer, reply, 3);
    pthread_mutex_lock(&q->object.lock);
    shke_queue_learn_state(q, &state, reply->revision);
    if (cursor.value && strcmp((char *)cursor.value, written) == 0)
        r = 0;
    else if (p->at && was_moved)
        r = shke_at_stale(q, p->at);
    else if (q->is_shut)
        r = -EPIPE;
    else
        r = TRY_AGAIN;
    for (unsigned i = 0; r == TRY_AGAIN && q->capacity > 0 && i < p->n; i++)
        learn_place(q, p->places[i], shke_reply_count(reply, 4 + i) > 0, reply->revision);
    pthread_mutex_unlock(&q->object.lock);
done:
    shke_kv_free(&state);
    shke_kv_free(&cursor);
    return r;
}

/* With the object's lock. */
static void adjust_delay(struct shke_queue *q, bool was_taken)
{
    if (!was_taken)
        q->steal_delay /= 2;
    else if (q->steal_delay < STEAL_FIRST)
        q->steal_delay = STEAL_FIRST;
    else if (q->steal_delay < STEAL_MOST)
        q->steal_delay *= 2;
}

/*
 * Without the object's lock; p->n items at p->keys. A put that is given up may still be carried
 * out: its producer is not used again, so that no later put is taken for it.
 */
static int put_some(struct put *p, const struct shke_trial *trial)
{
    struct shke_queue *q = p->queue;
    char written[SHKE_CURSOR_SIZE];
    struct shke_reply reply;
    int r;

    shke_nonce(written);
    if (p->at)
        shke_at_write(p->at, p->n, written);
    r = send_put(p, written, trial, &reply);
    if (r == 0 && reply.succeeded)
        p->producer->mod = reply.revision;
    if (r == 0 && !reply.succeeded)
        r = read_failure(p, written, &reply);
    pthread_mutex_lock(&q->object.lock);
    for (unsigned i = 0; q->capacity > 0 && i < p->n; i++) {
        q->places[p->places[i]].is_tried = false;
        if (r == 0)
            learn_place(q, p->places[i], true, reply.revision);
    }
    if (p->has_stolen)
        adjust_delay(q, r == TRY_AGAIN);
    pthread_mutex_unlock(&q->object.lock);
    if (r == -EHOSTUNREACH && !p->at) {
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
 * With the object's lock: no place is free as far as is known. The watch tells a call that may wait
 * of the next one. One that must not asks the servers, which may know of one already.
 */
static int wait_for_place(struct shke_queue *q, const struct shki_deadline *deadline,
                          bool *has_looked, int64_t steal_at)
{
    const struct shke_trial trial = {.deadline = deadline};
    struct shki_deadline moment = *deadline;
    struct shke_look look;
    int r;

    if (q->n_free > 0 && !deadline->nowait) { /* of other regions */
        r = shke_host->deadline_check(deadline);
        moment.at = steal_at < deadline->at ? steal_at : deadline->at;
        return r < 0 || shke_now() >= moment.at ? r : shke_object_sleep(&q->object, &moment);
    }
    if (*has_looked || !deadline->nowait)
        return shke_object_wait(&q->object, deadline);
    *has_looked = true;
    pthread_mutex_unlock(&q->object.lock);
    r = shke_queue_look(q, &trial, &look);
    if (r == 0 && (size_t)look.items < q->capacity)
        r = read_places(q, &trial) < 0 ? -EHOSTUNREACH : 0;
    pthread_mutex_lock(&q->object.lock);
    return r;
}

static int say_shut(const struct shki_object *handle)
{
    return shke_host->object_say(handle, -EPIPE, "the queue has been shut down");
}

/* As many as go into one transaction: how many. `at`: NULL, or the cursor that moves on. */
static int put(struct shke_queue *q, const struct shki_object *handle, const struct iovec *items,
               unsigned n, int64_t priority, struct shke_at *at,
               const struct shki_deadline *deadline)
{
    const struct shke_trial trial = {.deadline = deadline};
    struct put *p = calloc(1, sizeof(*p));
    bool has_looked = false;
    int64_t steal_at = 0; /* 0: no place is free */
    unsigned shutdowns;
    int r = p ? start_places(q, &trial) : shke_fail(-ENOMEM, "out of memory");

    if (r < 0) {
        free(p);
        return r;
    }
    *p = (struct put){.queue = q, .items = items, .priority = priority, .at = at};
    p->producer = at ? &at->actor : NULL;
    pthread_mutex_lock(&q->object.lock);
    shutdowns = q->shutdowns;
    do {
        if (p->producer == NULL)
            p->producer = shke_producer_take(q);
        p->n = batch_of(items, n);
        if (q->n_free == 0)
            steal_at = 0;
        else if (steal_at == 0)
            steal_at = shke_now() + q->steal_delay;
        p->n = p->producer ? choose(p, deadline->nowait || shke_now() >= steal_at) : 0;
        if (p->producer == NULL) {
            r = -ENOMEM;
        } else if (load_relaxed(&q->object.is_gone)) {
            r = shke_stale(&q->object);
        } else if (p->n == 0) {
            r = q->is_shut || q->shutdowns != shutdowns
                    ? -EPIPE
                    : wait_for_place(q, deadline, &has_looked, steal_at);
            r = r == 0 ? TRY_AGAIN : r;
        } else {
            pthread_mutex_unlock(&q->object.lock);
            r = put_some(p, &trial);
            steal_at = 0;
            pthread_mutex_lock(&q->object.lock);
        }
    } while (r == TRY_AGAIN);
    if (p->producer && !at)
        shke_actor_give(q, p->producer, true);
    pthread_mutex_unlock(&q->object.lock);
    n = p->n;
    free(p);
    return r == -EPIPE ? say_shut(handle) : r < 0 ? r : (int)n;
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
    r = put(q, &base->object, items, n, priority, at, &deadline);
    shke_waiting_end(&waiting);
    return shke_host->error_settle(r, &saved);
}

int shke_queue_put(struct shk_queue *base, const void *item, size_t len, int64_t priority,
                   int64_t timeout)
{
    struct iovec one = {(void *)(uintptr_t)item, len};
    int r = shke_queue_put_checked(base, &one, 1, priority, NULL, timeout);

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
