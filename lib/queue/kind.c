/* The queue as a kind of objects: what opens and closes it, wakes it, watches and describes it. */
#include "object/remote.h"
#include "object/watch.h"
#include "queue/lease_image.h"
#include "queue/lease_records.h"
#include "queue/place.h"
#include "queue/side.h"
#include "queue/state.h"
#include "segment/image.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

/* ---- Opening ---- */

static void wake_all(void *object)
{
    struct shki_object *o = object;

    shki_queue_wake(o->segment, (void *)o->shared);
}

int shk_queue_open(struct shk_segment *segment, const char *name, unsigned flags,
                   const struct shk_queue_options *options, struct shk_queue **out)
{
    static const struct shk_queue_options defaults;
    struct shki_plan plan = {.kind = &shki_queue_kind, .options_given = options != NULL};
    const struct shk_queue_options *given_options = options;
    struct shki_roles roles = {0};
    unsigned given_flags = flags;
    struct shk_queue *q;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    r = shki_roles_parse(&roles, &flags);
    if (r == 0)
        r = shki_queue_plan(segment && segment->remote ? NULL : segment, options, &plan);
    if (r < 0)
        return r;
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return shki_say(-ENOMEM, "out of memory");
    q->roles = roles;
    r = shki_object_open(segment, name, flags, &plan, &q->object);
    if (r == 0) {
        r = shki_roles_open(&q->object, &q->roles, !q->ops->has_item(q), wake_all);
        if (r < 0)
            shki_object_close(&q->object);
    }
    if (roles.minds)
        q->fast_below = 0;
    if (r < 0) {
        free(q->lists);
        free(q);
    } else {
        *out = q;
    }
    return r == SHKI_REMOTE
               ? segment->remote->queue->open(segment, name, given_flags, given_options, out)
               : r;
}

int shk_queue_close(struct shk_queue *q)
{
    struct shki_member *m;

    if (q == NULL)
        return 0;
    if (q->object.segment->remote)
        return q->object.segment->remote->queue->close(q);
    m = q->object.segment->base ? shki_member_find(q->object.segment) : NULL;
    if (m && (shki_side_is_kept_by(&q->shared->put_lock, m) ||
              shki_side_is_kept_by(&q->shared->get_lock, m)))
        return shki_fail(-EBUSY,
                         "%s/%s: the calling thread has a claim, a reservation or a peek open",
                         q->object.segment->name, q->object.name);
    if (!shki_object_unref(&q->object))
        return 0;
    shki_roles_close(&q->object, &q->roles);
    shki_object_close(&q->object);
    free(q->lists);
    free(q);
    return 0;
}

/* ---- Waking ---- */

static void wake_at_unlink(struct shki_object *o)
{
    wake_all(o);
}

static void wake_at_close(struct shki_object *o, uint32_t waits_for)
{
    struct shki_queue_shared *q = (void *)o->shared;

    shki_eventcount_post_all(waits_for == SHK_WAITS_TO_GET   ? &q->not_empty
                             : waits_for == SHK_WAITS_TO_PUT ? &q->not_full
                                                             : &q->tasks,
                             0, o->segment->max_members);
}

/* ---- Watching ---- */

/* A shutdown counts for the watchers that waited for the queue when it came, though reopened. */
static uint64_t shutdowns_of(const struct shk_queue *q)
{
    return shki_shut_word(q) & ~SHKI_SHUT_STATE;
}

static void note_shutdowns(struct shki_watch *w)
{
    w->since = shutdowns_of(w->handle);
}

static bool is_readable(const struct shki_watch *w)
{
    return shki_queue_is_readable(w->handle) || shutdowns_of(w->handle) != w->since;
}

static bool is_writable(const struct shki_watch *w)
{
    return shki_queue_is_writable(w->handle) || shutdowns_of(w->handle) != w->since;
}

static bool is_done(const struct shki_watch *w)
{
    return shki_queue_is_done(w->handle);
}

static int64_t ready_at(const struct shki_watch *w)
{
    return shki_lease_due(w->handle);
}

static void take_back(void *queue)
{
    shki_lease_check(queue);
}

static void unref(void *queue)
{
    shk_queue_close(queue);
}

/* Items of the dead come back, and the death of the last producer is found. */
static void find_ends(void *queue)
{
    struct shk_queue *q = queue;

    take_back(q);
    shki_roles_check(&q->object, &q->roles, SHKI_PRODUCERS);
}

static void find_last_consumer_dead(void *queue)
{
    struct shk_queue *q = queue;

    shki_roles_check(&q->object, &q->roles, SHKI_CONSUMERS);
}

/*
 * A death of a member with tasks wakes no watcher, as it wakes no join: a recheck finds it, so the
 * intervals do not grow.
 */
static void watch_tasks(struct shk_queue *q, struct shki_watch *w)
{
    static const _Atomic uint64_t always = 1;

    *w = (struct shki_watch){.object = &q->object,
                             .refs = &q->object.refs,
                             .handle = q,
                             .unref = unref,
                             .watched = &q->shared->tasks.flags,
                             .is_ready = is_done,
                             .prompt = &always};
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_queue *q = handle;
    bool get = want == SHK_READABLE;

    if (want == SHK_ALL_DONE) {
        watch_tasks(q, w);
        return;
    }
    *w = (struct shki_watch){
        .object = &q->object,
        .refs = &q->object.refs,
        .handle = q,
        .unref = unref,
        .watched = get ? &q->shared->not_empty.flags : &q->shared->not_full.flags,
        .note = note_shutdowns,
        .is_ready = get ? is_readable : is_writable,
        .ready_at = get ? ready_at : NULL,
        .repair = get ? find_ends : find_last_consumer_dead,
        .prompt = &q->object.entry->line[get ? SHKI_PRODUCERS : SHKI_CONSUMERS]};
}

/* ---- Inspection ---- */

/* The member that keeps a side: it has claimed it, or has a reservation or a peek open there. */
static uint64_t kept_by(const struct shki_mutex *lock)
{
    return shki_robust_is_held(&lock->robust) ? load_relaxed(&lock->holder) : 0;
}

/* The member that had a side last, by the lock or as its bias owner; 0: not known. */
static uint64_t last_at(const struct shki_side_lock *lock)
{
    uint64_t owner = load_relaxed(&lock->bias.owner);

    return owner ? owner : load_relaxed(&lock->bias.last);
}

/* How many bytes are in it, as far as the copy is of one moment. */
static uint64_t bytes_in(const struct shki_queue_shared *q)
{
    uint64_t put, taken = 0;

    if (q->order == SHK_FIFO
            ? !shki_place_bytes(&q->get_places, &q->head, 0, &taken) ||
                  !shki_place_bytes(&q->put_places, &q->tail, 0, &put)
            : !shki_place_bytes(&q->put_places, &q->ordered.state, SHKI_INTENT_BITS, &put))
        return 0;
    return put > taken ? put - taken : 0;
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_queue_shared *q = shared;
    bool fifo = q->order == SHK_FIFO;
    uint64_t puts = load_relaxed(&q->tail), high_water = load_relaxed(&q->high_water),
             count = shki_state_count(load_relaxed(&q->ordered.state));
    uint64_t gets = fifo ? load_relaxed(&q->head) : puts >= count ? puts - count : 0;
    uint64_t size = puts - gets;

    if (puts < gets || (q->capacity != 0 && size > q->capacity))
        size = 0;
    if (high_water < size)
        high_water = size;
    if (q->capacity != 0 && high_water > q->capacity)
        high_water = q->capacity;
    info->as.queue.order = q->order;
    info->as.queue.shut_down = (load_relaxed(&q->shut_down) & SHKI_SHUT_STATE) != SHKI_OPEN;
    info->as.queue.capacity = q->capacity;
    info->as.queue.item_size = q->item_size;
    info->as.queue.size = size;
    info->as.queue.high_water = high_water;
    info->as.queue.puts = puts;
    info->as.queue.gets = gets;
    info->as.queue.producer = kept_by(&q->put_lock.mutex);
    info->as.queue.consumer = kept_by(fifo ? &q->get_lock.mutex : &q->put_lock.mutex);
    info->as.queue.capacity_bytes = q->capacity_bytes;
    info->as.queue.at_length = q->stride == 0;
    if (q->stride == 0)
        info->as.queue.bytes = bytes_in(q);
    shki_lease_describe(image, e, q, info);
    if (fifo) { /* both are alive, for all that is known here: inspection drops the living */
        info->dead_giver = last_at(&q->put_lock);
        info->dead_taker = last_at(&q->get_lock);
    }
    if (q->stride == 0 && q->map_at < e->size)
        info->size = q->map_at; /* behind it is address space; inspection adds the pool's blocks */
}

#define TASKS_BATCH 64 /* counts that are read at a time */

static void add_tasks(const struct shki_image *image, const struct shki_entry *e,
                      const void *shared, struct shk_member_info *members, size_t n)
{
    const struct shki_queue_shared *q = shared;
    struct shki_task tasks[TASKS_BATCH];
    uint32_t first = 0, there = 0; /* the records whose counts are in `tasks` */
    uint64_t at;

    shki_lease_add(image, e, q, members, n);
    if (q->tasks_at > e->size)
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t record = shki_member_index(members[i].id);

        if (record - first >= there) {
            first = record;
            at = q->tasks_at + (uint64_t)first * sizeof(*tasks);
            there = image->members_ready - first < TASKS_BATCH ? image->members_ready - first
                                                               : TASKS_BATCH;
            if (record >= image->members_ready || at > e->size ||
                !shki_image_read(image, e->offset + at, tasks, there * sizeof(*tasks)))
                return;
        }
        /* of a former member of that record: no more */
        if (load_relaxed(&tasks[record - first].member) == members[i].id)
            members[i].tasks += load_relaxed(&tasks[record - first].count);
    }
}

const struct shki_kind shki_queue_kind = {
    .number = SHK_KIND_QUEUE,
    .name = "a queue",
    .size = sizeof(struct shki_queue_shared),
    .mutex_offset = {offsetof(struct shki_queue_shared, put_lock.mutex),
                     offsetof(struct shki_queue_shared, get_lock.mutex)},
    .uses_pool = true,
    .remote = offsetof(struct shki_remote, queue),
    .build = shki_queue_build,
    .check = shki_queue_check,
    .wake_at_unlink = wake_at_unlink,
    .wake_at_close = wake_at_close,
    .watchable = SHK_READABLE | SHK_WRITABLE | SHK_ALL_DONE,
    .watch = watch,
    .describe = describe,
    .add_tasks = add_tasks,
    .items = shki_queue_list_items,
};
