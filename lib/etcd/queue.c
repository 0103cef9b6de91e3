/* The queue as a kind of objects on etcd: its record, opening and closing, its state and size. */
#include "etcd/queue.h"

#include <stdlib.h>
#include <string.h>

/* ---- The kind ---- */

static void describe(struct shke_buffer *b, const void *options)
{
    const struct shk_queue_options *o = options;

    shke_addf(b, ",\"order\":%u,\"capacity\":%zu,\"item_size\":%zu", o ? o->order : SHK_FIFO,
              o ? o->capacity : 0, o && o->item_size ? o->item_size : 1024);
}

static void create(struct shke_object *o, struct shke_txn *t)
{
    char key[SHKE_KEY_MAX];

    shke_key(key, o, ".state");
    shke_then_put(t, key, "open", 4, 0);
}

static int check(struct shke_object *o, json_object *record, const void *options)
{
    const struct shk_queue_options *wanted = options;
    struct shke_queue *q = (struct shke_queue *)o;
    int64_t order = shke_number(record, "order"), capacity = shke_number(record, "capacity"),
            item_size = shke_number(record, "item_size");

    if (order < SHK_FIFO || order > SHK_PRIORITY || capacity < 0 || capacity > SHKE_CAPACITY_MAX ||
        item_size < 1 || item_size > SHKE_ITEM_MAX)
        return shke_fail(-EPROTO, "%s/%s is damaged: its record in etcd", o->segment->segment.name,
                         o->name);
    q->order = (uint32_t)order;
    q->capacity = (size_t)capacity;
    q->item_size = (size_t)item_size;
    if (wanted &&
        (wanted->order != q->order || (wanted->capacity && wanted->capacity != q->capacity) ||
         (wanted->item_size && wanted->item_size != q->item_size)))
        return shke_fail(-EPROTOTYPE,
                         "%s/%s is of another order, capacity or item size (order %u, capacity "
                         "%zu, item size %zu)",
                         o->segment->segment.name, o->name, q->order, q->capacity, q->item_size);
    return 0;
}

/* ---- The state, watched ---- */

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_queue *q = arg;

    pthread_mutex_lock(&q->object.lock);
    if (shke_is_record(&q->object, kv) && deleted)
        shke_object_is_gone(&q->object);
    else if (!deleted && strcmp(kv->key + strlen(q->object.prefix), ".state") == 0)
        shke_queue_learn_state(q, kv, kv->mod);
    else
        shke_roles_event(&q->object, &q->roles, kv, deleted);
    pthread_mutex_unlock(&q->object.lock);
}

static void told(void *arg)
{
    (void)arg; /* each event has woken what waits for it */
}

static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_queue *q = arg;
    struct shke_look look;
    int r = shke_queue_look(q, &trial, &look);

    if (r == -ESTALE) {
        pthread_mutex_lock(&q->object.lock);
        shke_object_is_gone(&q->object);
        pthread_mutex_unlock(&q->object.lock);
        return INT64_MAX - 1; /* nothing comes any more */
    }
    return r < 0 ? r : look.revision;
}

static int start(struct shke_object *o)
{
    static const struct shke_watcher watcher = {.event = see_event, .told = told, .reload = reload};
    struct shke_queue *q = (struct shke_queue *)o;
    char prefix[SHKE_KEY_MAX];

    pthread_mutex_init(&q->starting, NULL);
    q->told = shke_claims_give_back_strays;
    shke_key(prefix, o, ".");
    q->control = shke_watch_start(shke_session_watches(o->segment->session), prefix, o->revision,
                                  false, &watcher, q);
    if (q->control)
        return 0;
    pthread_mutex_destroy(&q->starting);
    return -ENOMEM;
}

/*
 * What this process's puts and gets have left behind, for requests that are sent twice. A key that
 * may still be written stays, and one with tasks, which a join waits for as long as the process is
 * a member.
 */
static void delete_actors(struct shke_queue *q, struct shke_actor *list)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shki_saved_error saved;
    struct shke_reply reply;
    struct shke_txn t = {0};
    struct shke_actor *a;
    unsigned n = 0;

    for (; (a = list) != NULL; free(a)) {
        list = a->next;
        if (a->mod && !*a->doubtful && a->tasks == 0 && n++ < SHKE_OPERATIONS_MAX)
            shke_then_delete(&t, a->key);
        shke_consumer_give_up(a);
    }
    shke_host->error_save(&saved);
    if (n > 0 && shke_session_is_own(q->object.segment->session)) {
        shke_txn_run(shke_object_client(&q->object), &t, &trial, &reply);
        shke_reply_free(&reply);
    }
    shke_txn_free(&t);
    shke_host->error_settle(0, &saved);
}

static void stop(struct shke_object *o)
{
    struct shke_queue *q = (struct shke_queue *)o;

    shke_watch_stop(q->control);
    shke_places_free(q);
    shke_sources_free(q);
    shke_claims_free(q);
    shke_workers_free(q);
    delete_actors(q, q->producers);
    delete_actors(q, q->consumers);
    shke_view_free(q);
    pthread_mutex_destroy(&q->starting);
}

static void leave(struct shke_object *o)
{
    shke_roles_leave(o, &((struct shke_queue *)o)->roles);
}

const struct shke_kind shke_queue_kind = {.number = SHK_KIND_QUEUE,
                                          .name = "queue",
                                          .size = sizeof(struct shke_queue),
                                          .describe = describe,
                                          .create = create,
                                          .check = check,
                                          .leave = leave,
                                          .start = start,
                                          .watch = shke_queue_begin_watch,
                                          .stop = stop,
                                          .looks = SHKE_QUEUE_LOOKS,
                                          .look = shke_queue_look_from_outside,
                                          .tell = shke_queue_tell};

/* ---- Opening and closing ---- */

static int check_options(const char *name, const struct shk_queue_options *o)
{
    if (o && o->capacity_bytes)
        return shke_fail(-ENOTSUP,
                         "%s: a queue on etcd has no limit in bytes: its capacity in items and "
                         "their size limit them",
                         name);
    if (o && (o->capacity > SHKE_CAPACITY_MAX || o->item_size > SHKE_ITEM_MAX))
        return shke_fail(-EINVAL,
                         "%s: a queue on etcd has at most %d items (0: any number), of at most %u "
                         "bytes",
                         name, SHKE_CAPACITY_MAX, SHKE_ITEM_MAX);
    return 0;
}

static int queue_open(struct shk_segment *s, const char *name, unsigned flags,
                      const struct shk_queue_options *options, struct shk_queue **out)
{
    struct shke_queue_handle *h;
    struct shke_object *o;
    int64_t revision;
    int r = check_options(name, options);

    if (r < 0)
        return r;
    h = calloc(1, sizeof(*h));
    r = h ? shke_object_open(s, name, flags & (SHK_CREATE | SHK_EXCL), &shke_queue_kind, options,
                             &o)
          : shke_fail(-ENOMEM, "out of memory");
    if (r < 0) {
        free(h);
        return r;
    }
    h->queue = (struct shke_queue *)o;
    r = shke_roles_open(o, &h->queue->roles, &h->base.roles, flags, "slot/", &revision);
    if (r < 0) {
        shke_object_unref(o);
        free(h);
        return r;
    }
    shke_object_bind(&h->base.object, o);
    h->base.order = h->queue->order;
    *out = &h->base;
    return 0;
}

static int queue_close(struct shk_queue *base)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    int r;

    shke_host->error_save(&saved); /* that it has been unlinked is no failure */
    r = shke_enter(&base->object, &q->object) == 0 && shke_peek_is_open(q)
            ? shke_fail(-EBUSY, "%s/%s: the calling thread has a peek open",
                        q->object.segment->segment.name, q->object.name)
            : shke_roles_close(&q->object, &q->roles, &base->roles);
    if (shke_host->error_settle(r, &saved) < 0)
        return r;
    shke_object_unref(&q->object);
    free(base);
    return 0;
}

/* ---- State and size ---- */

static int ask(struct shk_queue *base, struct shke_look *look)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    return shke_host->error_settle(shke_queue_look(q, &trial, look), &saved);
}

static ssize_t queue_size(struct shk_queue *base)
{
    struct shke_look look;
    int r = ask(base, &look);

    return r < 0 ? r : (ssize_t)look.items;
}

static ssize_t queue_capacity(struct shk_queue *base)
{
    int r = shke_enter(&base->object, &shke_queue_of(base)->object);

    return r < 0 ? r : (ssize_t)shke_queue_of(base)->capacity;
}

static ssize_t queue_item_size(struct shk_queue *base)
{
    int r = shke_enter(&base->object, &shke_queue_of(base)->object);

    return r < 0 ? r : (ssize_t)shke_queue_of(base)->item_size;
}

static int queue_full(struct shk_queue *base)
{
    const struct shke_queue *q = shke_queue_of(base);
    struct shke_look look;
    int r = ask(base, &look);

    return r < 0 ? r : q->capacity > 0 && (size_t)look.items >= q->capacity;
}

static int queue_is_shut_down(struct shk_queue *base)
{
    struct shke_look look;
    int r = ask(base, &look);

    return r < 0 ? r : look.is_shut;
}

/*
 * 1: it was changed between; again. The value is compared by when it was written, so a request that
 * is carried out late changes nothing.
 */
static int change_state(struct shke_queue *q, const char *to, int64_t *seen)
{
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_kv state = {0};
    struct shke_reply reply;
    struct shke_txn t = {0};
    char key[SHKE_KEY_MAX];
    int r;

    shke_key(key, &q->object, ".state");
    shke_if_there(&t, &q->object);
    shke_if_written(&t, key, *seen);
    shke_then_put(&t, key, to, 4, 0);
    shke_then_get(&t, key);
    shke_else_get(&t, key);
    r = shke_txn_run(shke_object_client(&q->object), &t, &trial, &reply);
    if (r == 0)
        r = reply.succeeded ? 0 : shke_check_there(&q->object, &reply);
    if (r == 0)
        r = shke_reply_kv(&reply, 1, &state);
    if (r == 0) {
        *seen = state.mod;
        r = state.value == NULL || memcmp(state.value, to, 4) != 0;
        pthread_mutex_lock(&q->object.lock);
        shke_queue_learn_state(q, &state, reply.revision);
        pthread_mutex_unlock(&q->object.lock);
    }
    shke_kv_free(&state);
    shke_reply_free(&reply);
    return r;
}

static int set_state(struct shk_queue *base, const char *to)
{
    struct shke_queue *q = shke_queue_of(base);
    struct shki_saved_error saved;
    int64_t seen = -1; /* the first try only reads */
    int r = shke_enter(&base->object, &q->object);

    if (r < 0)
        return r;
    shke_host->error_save(&saved);
    do
        r = change_state(q, to, &seen);
    while (r == 1);
    return shke_host->error_settle(r, &saved);
}

static int queue_shutdown(struct shk_queue *base)
{
    return set_state(base, "shut");
}

static int queue_reopen(struct shk_queue *base)
{
    return set_state(base, "open");
}

const struct shki_queue_calls shke_queue_calls = {.open = queue_open,
                                                  .close = queue_close,
                                                  .put = shke_queue_put,
                                                  .put_many = shke_queue_put_many,
                                                  .get = shke_queue_get,
                                                  .get_many = shke_queue_get_many,
                                                  .peek = shke_queue_peek,
                                                  .consume = shke_queue_consume,
                                                  .unpeek = shke_queue_unpeek,
                                                  .size = queue_size,
                                                  .capacity = queue_capacity,
                                                  .item_size = queue_item_size,
                                                  .full = queue_full,
                                                  .shutdown = queue_shutdown,
                                                  .is_shut_down = queue_is_shut_down,
                                                  .reopen = queue_reopen,
                                                  .task_done = shke_queue_task_done,
                                                  .join = shke_queue_join,
                                                  .unfinished = shke_queue_unfinished,
                                                  .lease = shke_queue_lease,
                                                  .ack = shke_queue_ack,
                                                  .nack = shke_queue_nack,
                                                  .lease_info = shke_queue_lease_info,
                                                  .put_at = shke_queue_put_at,
                                                  .cursor = shke_queue_cursor,
                                                  .set_cursor = shke_queue_set_cursor};
