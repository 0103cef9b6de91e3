#include "queue/queue.h"

#include "segment/pool.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

#define CAPACITY_MAX (UINT64_C(1) << 31)
#define ITEM_MAX     (UINT64_C(1) << 31)
#define ITEM_DEFAULT 1024u
#define SLOT_ALIGN   8u
/* capacity 0: so much memory is kept though nothing is in it, but at least a chunk … */
#define SPARE      (UINT64_C(1) << 20)
#define SPARE_LIST (UINT64_C(128) << 10) /* … PRIORITY: of each list */
/*
 * … it comes and goes in pieces of so many bytes, where chunks are not given and taken as a whole
 */
#define PIECE          (UINT64_C(64) << 10)
#define GATE_LIMIT     SHK_SEC(10) /* a lock is held for one copy; who has it longer is stopped */
#define FETCH_AHEAD    2048u       /* bytes: measured */
#define FETCH_MAX      4096u       /* bytes of a large item: enough to keep a processor busy */
#define LONGEST_RECORD 32u         /* bytes: what a record, and its chunk, have beside the item */
/* slots: both ends of such a ring are close together, so each slot has a cache line of its own */
#define CLOSE_ENDS 64u

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

#ifdef SHKI_TEST_HOOKS
unsigned shki_test_no_spare;
#endif

/* ---- Size classes: 64, 96, 128, 192, 256 … bytes ---- */

unsigned shki_size_class(size_t length)
{
    uint64_t need = length + sizeof(uint64_t) + sizeof(struct shki_slot);
    unsigned power;

    if (need <= 64)
        return 0;
    /* need is above 2^power, and at most twice that */
    power = 63 - (unsigned)__builtin_clzll(need - 1);
    return 2 * (power - 6) + (need <= UINT64_C(3) << (power - 1) ? 1 : 2);
}

uint64_t shki_class_slot(unsigned class)
{
    return (class % 2 ? UINT64_C(96) : UINT64_C(64)) << class / 2;
}

/*
 * Where everything lies; the only place that computes it. `blocks`: of the segment, for a queue
 * that grows.
 */
struct layout {
    uint64_t stride, entry, slots, chunk_size, chunks, tasks_at, lists_at, map_at, map_size,
        slots_at, size;
};

static struct layout lay_out(uint32_t order, uint64_t capacity, uint64_t item_size,
                             uint32_t members, uint32_t blocks)
{
    struct layout l = {.chunks = 1};

    l.tasks_at = shki_round_up(sizeof(struct shki_queue_shared), 64);
    l.lists_at = l.map_at = shki_round_up(l.tasks_at + members * sizeof(struct shki_task), 64);
    if (capacity) {
        l.stride = shki_round_up(sizeof(struct shki_slot) + item_size, SLOT_ALIGN);
        if (order == SHK_FIFO && capacity <= CLOSE_ENDS && l.stride < SHKI_LINE)
            l.stride = SHKI_LINE;
        l.entry = order == SHK_PRIORITY ? sizeof(struct shki_heap_entry) : 0;
        l.slots = order == SHK_FIFO ? power_of_two(capacity) : capacity;
        l.chunk_size = l.slots * (l.stride + l.entry); /* below 2^63 */
        l.slots_at = l.map_at;
        l.size = l.slots_at + l.chunk_size;
        return l;
    }
    l.slots = order == SHK_PRIORITY ? 2 + shki_size_class(item_size) : 1;
    l.chunks = blocks ? blocks : 1;
    l.chunk_size = SHKI_BLOCK;
    while (order != SHK_PRIORITY && l.chunk_size < item_size + LONGEST_RECORD)
        l.chunk_size *= 2;
    l.map_at = shki_round_up(l.lists_at + l.slots * sizeof(struct shki_list_shared), SHKI_PAGE);
    l.map_size = shki_round_up(l.chunks * sizeof(uint32_t), SHKI_PAGE);
    l.slots_at = l.map_at + l.slots * l.map_size;
    l.size = l.slots_at;
    return l;
}

int shki_queue_build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_queue_options *options = plan->options;
    struct shki_queue_shared *shared = (void *)o->shared;
    uint64_t item_size = options->item_size ? options->item_size : ITEM_DEFAULT;
    struct layout l = lay_out(options->order, options->capacity, item_size, o->segment->max_members,
                              shki_pool_limit(o->segment));
    int r;

    /* room for one item, at this moment; then it is as much as there is */
    if (options->capacity == 0) {
        r = shki_segment_lock(o->segment);
        if (r < 0)
            return r;
        r = shki_pool_reserve(o->segment, (uint32_t)(l.chunk_size / SHKI_BLOCK),
                              o->offset + o->size);
        shki_segment_unlock(o->segment);
        if (r < 0)
            return r;
    }
    shared->order = options->order;
    shared->capacity = options->capacity;
    shared->slots = l.slots;
    shared->item_size = item_size;
    shared->stride = l.stride;
    shared->tasks_at = l.tasks_at;
    shared->lists_at = l.lists_at;
    shared->map_at = l.map_at;
    shared->slots_at = l.slots_at;
    shared->chunks = l.chunks;
    shared->chunk_size = l.chunk_size;
    if (sem_init(&shared->not_empty.semaphore, 1, 0) != 0 ||
        sem_init(&shared->not_full.semaphore, 1, 0) != 0 ||
        sem_init(&shared->tasks.semaphore, 1, 0) != 0)
        return -errno;
    r = shki_robust_init(&shared->put_lock.mutex.robust);
    return r < 0 ? r : shki_robust_init(&shared->get_lock.mutex.robust);
}

static const char *order_name(uint32_t order)
{
    return order == SHK_FIFO ? "FIFO" : order == SHK_LIFO ? "LIFO" : "PRIORITY";
}

static unsigned log_2(uint64_t power)
{
    return (unsigned)__builtin_ctzll(power);
}

/* Of a queue that grows: the lists of its chunks. */
static int adopt_lists(struct shk_queue *q, const struct layout *l)
{
    struct shki_list_shared *shared = (void *)(q->object.shared + l->lists_at);
    uint32_t limit = shki_pool_limit(q->object.segment);

    q->lists = calloc(l->slots, sizeof(*q->lists));
    if (q->lists == NULL)
        return shki_say(-ENOMEM, "out of memory");
    q->n_lists = (unsigned)l->slots;
    for (unsigned i = 0; i < q->n_lists; i++) {
        struct shki_list *list = &q->lists[i];
        uint64_t size = l->chunk_size;

        if (i > 0) { /* the last one is no larger than the largest item wants */
            list->slot =
                i < q->n_lists - 1
                    ? shki_class_slot(i - 1)
                    : shki_round_up(q->item_size + sizeof(uint64_t) + sizeof(struct shki_slot),
                                    SLOT_ALIGN);
            if (list->slot < 64)
                list->slot = 64;
            while (size < list->slot)
                size *= 2;
            list->per_chunk = size / list->slot;
        }
        list->shared = &shared[i];
        list->map = (_Atomic uint32_t *)(void *)(q->object.shared + l->map_at + i * l->map_size);
        list->number = i;
        list->shift = log_2(size);
        list->blocks = (uint32_t)(size / SHKI_BLOCK);
        list->last_block = limit > list->blocks ? limit - list->blocks : 0;
        list->piece = q->order == SHK_LIFO && list->blocks == 1 ? SHKI_BLOCK : PIECE;
        list->spare = q->order == SHK_LIFO ? SPARE : SPARE_LIST;
    }
    q->shift = q->lists[0].shift;
    q->chunk_mask = (UINT64_C(1) << q->shift) - 1;
    q->spare = SPARE / l->chunk_size ? SPARE / l->chunk_size : 1;
#ifdef SHKI_TEST_HOOKS
    for (unsigned i = 0; shki_test_no_spare && i < q->n_lists; i++) {
        q->lists[i].piece = SHKI_PAGE;
        q->lists[i].spare = 0;
        q->spare = 1;
    }
#endif
    q->limit =
        l->chunks * (SHKI_BLOCK / 32) < UINT32_MAX ? l->chunks * (SHKI_BLOCK / 32) : UINT32_MAX;
    return 0;
}

/* The validated copies. */
static int adopt(struct shk_queue *q, const struct layout *l)
{
    struct shki_queue_shared *shared = (void *)q->object.shared;

    q->shared = shared;
    q->stride = l->stride;
    q->slots = q->object.shared + l->slots_at;
    q->chunks = l->chunks;
    shki_side_init(q);
    q->tasks = (struct shki_task *)(void *)(q->object.shared + l->tasks_at);
    if (q->grows)
        return adopt_lists(q, l);
    q->entries_size = l->slots * l->entry;
    q->limit = q->capacity;
    q->put_ahead = FETCH_AHEAD / l->stride;
    if (q->capacity <= CLOSE_ENDS && q->put_ahead > 1)
        q->put_ahead = 1;
    q->get_ahead = q->put_ahead ? q->put_ahead : 1;
    q->fetch = l->stride < FETCH_MAX ? l->stride : FETCH_MAX;
    q->share_mask = l->stride <= SHKI_LINE / 4 ? 3 : l->stride <= SHKI_LINE / 2 ? 1 : 0;
    q->usual_below = q->ring && q->asymmetric ? q->item_size + 1 : 0;
    q->mask = q->order == SHK_FIFO ? l->slots - 1 : UINT64_MAX >> 1;
    return 0;
}

int shki_queue_check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_queue_options *options = plan->options;
    struct shk_queue *q = (struct shk_queue *)o;
    const struct shki_queue_shared *shared = (void *)o->shared;
    uint64_t capacity = shared->capacity, item_size = shared->item_size;
    uint32_t order = shared->order;
    struct layout l;

    if (order > SHK_PRIORITY || capacity > CAPACITY_MAX || item_size < 1 || item_size > ITEM_MAX)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    l = lay_out(order, capacity, item_size, o->segment->max_members, shki_pool_limit(o->segment));
    if (shared->slots != l.slots || shared->stride != l.stride || shared->tasks_at != l.tasks_at ||
        shared->lists_at != l.lists_at || shared->map_at != l.map_at ||
        shared->slots_at != l.slots_at || shared->chunks != l.chunks ||
        shared->chunk_size != l.chunk_size || l.size > o->size)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    if (plan->options_given &&
        (options->order != order || (options->capacity && options->capacity != capacity) ||
         (options->item_size && options->item_size != item_size))) {
        if (capacity == 0)
            return shki_fail(
                -EPROTOTYPE, "%s/%s is a %s queue without a limit for items of at most %llu bytes",
                o->segment->name, o->name, order_name(order), (unsigned long long)item_size);
        return shki_fail(-EPROTOTYPE, "%s/%s is a %s queue for %llu items of at most %llu bytes",
                         o->segment->name, o->name, order_name(order), (unsigned long long)capacity,
                         (unsigned long long)item_size);
    }
    q->order = order;
    q->capacity = capacity;
    q->grows = capacity == 0;
    q->ring = !q->grows && order == SHK_FIFO;
    q->asymmetric = o->segment->asymmetric;
    q->item_size = item_size;
    return adopt(q, &l);
}

/* What a creation needs. */
static int make_plan(const struct shk_segment *segment, const struct shk_queue_options *options,
                     struct shki_plan *plan)
{
    uint64_t item_size = options->item_size ? options->item_size : ITEM_DEFAULT;
    struct layout l;
    int r;

    if (options->order > SHK_PRIORITY || options->capacity > CAPACITY_MAX || item_size > ITEM_MAX)
        return shki_say(
            -EINVAL,
            "the queue's order is unknown, or its capacity or item size is more than 2^31");
    if (options->reserved_32)
        return shki_say(-EINVAL, "a reserved option is not zero");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    l = lay_out(options->order, options->capacity, item_size, segment ? segment->max_members : 0,
                segment ? shki_pool_limit(segment) : 0);
    plan->size = l.size;
    plan->memory = options->capacity == 0 ? l.map_at : 0; /* the maps get it as they are used */
    return 0;
}

int shk_queue_open(struct shk_segment *segment, const char *name, unsigned flags,
                   const struct shk_queue_options *options, struct shk_queue **out)
{
    static const struct shk_queue_options defaults;
    struct shki_plan plan = {.kind = &shki_queue_kind, .options_given = options != NULL};
    struct shk_queue *q;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    r = make_plan(segment, options, &plan);
    if (r < 0)
        return r;
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return shki_say(-ENOMEM, "out of memory");
    r = shki_object_open(segment, name, flags, &plan, &q->object);
    if (r < 0) {
        free(q->lists);
        free(q);
    } else {
        *out = q;
    }
    return r;
}

int shk_queue_close(struct shk_queue *q)
{
    struct shki_member *m;

    if (q == NULL)
        return 0;
    m = q->object.segment->base ? shki_member_find(q->object.segment) : NULL;
    if (m && (shki_side_is_held_by(&q->shared->put_lock, m) ||
              shki_side_is_held_by(&q->shared->get_lock, m)))
        return shki_fail(-EBUSY,
                         "%s/%s: the calling thread has a claim, a reservation or a peek open",
                         q->object.segment->name, q->object.name);
    if (!shki_object_unref(&q->object))
        return 0;
    shki_object_close(&q->object);
    free(q->lists);
    free(q);
    return 0;
}

int shki_too_large(const struct shk_queue *q, size_t length)
{
    return shki_fail(
        -EMSGSIZE, "an item of %zu bytes is too large for %s/%s, which holds items of at most %zu",
        length, q->object.segment->name, q->object.name, q->item_size);
}

int shki_damaged_item(const struct shk_queue *q, size_t length)
{
    return shki_fail(-EPROTO, "%s/%s is damaged: an item of %zu bytes", q->object.segment->name,
                     q->object.name, length);
}

int shki_damaged_place(const struct shk_queue *q)
{
    return shki_fail(-EPROTO, "%s/%s is damaged: the places of its items", q->object.segment->name,
                     q->object.name);
}

int shki_small_buffer(const struct shk_queue *q, size_t length, size_t size)
{
    return shki_fail(-EMSGSIZE, "the next item of %s/%s has %zu bytes, the buffer %zu",
                     q->object.segment->name, q->object.name, length, size);
}

/*
 * ---- Putting and getting: shk_queue_put() and shk_queue_get() themselves stand in ring.c,
 * where the usual way of a ring is ----
 */

static int put(struct shk_queue *q, struct shki_work *w, int64_t timeout)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    for (unsigned i = 0; i < w->n; i++) {
        if (w->items[i].iov_base == NULL && w->items[i].iov_len > 0)
            return shki_say(-EINVAL, "the item is NULL");
        if (w->items[i].iov_len > q->item_size)
            return shki_too_large(q, w->items[i].iov_len);
    }
    if (q->order != SHK_FIFO)
        return shki_ordered_put(q, m, w, timeout);
    return shki_fifo_put(q, m, w, timeout);
}

int shki_queue_put_slowly(struct shk_queue *q, const void *item, size_t len, int64_t priority,
                          int64_t timeout)
{
    struct iovec one = {(void *)(uintptr_t)item, len};
    struct shki_work w = {.items = &one, .n = 1, .priority = priority};
    int r = put(q, &w, timeout);

    return r < 0 ? r : 0;
}

/* Whatever the queue, and whether the thread has been here before. */
int shki_queue_put_anyhow(struct shk_queue *q, const void *item, size_t len, int64_t priority,
                          int64_t timeout)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (unlikely(r < 0))
        return r;
    if (likely(item && len <= q->item_size)) {
        if (q->ring)
            return shki_ring_put(q, m, item, len, timeout);
        r = q->order == SHK_FIFO ? 0 : shki_ordered_put_one(q, m, item, len, priority);
        if (likely(r != 0))
            return r < 0 ? r : 0;
    }
    return shki_queue_put_slowly(q, item, len, priority, timeout);
}

int shk_queue_put_priority(struct shk_queue *q, const void *item, size_t len, int64_t priority,
                           int64_t timeout)
{
    if (q && q->order != SHK_PRIORITY)
        return shki_say(
            -ENOTSUP,
            "the order of a FIFO or LIFO queue is the order of arrival: there is no place for a priority");
    return shki_queue_put_anyhow(q, item, len, priority, timeout);
}

static int get(struct shk_queue *q, struct shki_work *w, int64_t timeout)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    for (unsigned i = 0; i < w->n; i++)
        if (w->buffers[i].iov_base == NULL && w->buffers[i].iov_len > 0)
            return shki_say(-EINVAL, "the buffer is NULL");
    if (q->order != SHK_FIFO)
        return shki_ordered_get(q, m, w, timeout);
    return shki_fifo_get(q, m, w, timeout);
}

ssize_t shki_queue_get_slowly(struct shk_queue *q, void *buf, size_t size, int64_t timeout)
{
    struct iovec one = {buf, size};
    struct shki_work w = {.buffers = &one, .n = 1};
    int r = get(q, &w, timeout);

    return r < 0 ? r : (ssize_t)one.iov_len;
}

ssize_t shki_queue_get_anyhow(struct shk_queue *q, void *buf, size_t size, int64_t timeout)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    size_t length = size;

    if (unlikely(r < 0))
        return r;
    if (likely(buf != NULL)) {
        if (q->ring)
            return shki_ring_get(q, m, buf, size, timeout);
        r = q->order == SHK_FIFO ? 0 : shki_ordered_get_one(q, m, buf, &length);
        if (likely(r != 0))
            return r < 0 ? r : (ssize_t)length;
    }
    return shki_queue_get_slowly(q, buf, size, timeout);
}

ssize_t shk_queue_get_priority(struct shk_queue *q, void *buf, size_t size, int64_t timeout,
                               int64_t *priority)
{
    struct iovec one = {buf, size};
    struct shki_work w = {.buffers = &one, .n = 1};
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (q->order != SHK_PRIORITY)
        return shki_say(-ENOTSUP, "the items of a FIFO or LIFO queue have no priority");
    if ((buf == NULL && size > 0) || priority == NULL)
        return shki_say(-EINVAL, "the buffer, or the pointer to the priority, is NULL");
    r = shki_priority_get(q, m, &w, timeout);
    if (r < 0)
        return r;
    *priority = w.priority;
    return (ssize_t)one.iov_len;
}

int shk_queue_put_many(struct shk_queue *q, const struct iovec *items, unsigned n, int64_t timeout)
{
    struct shki_work w = {.items = items, .n = n < SHKI_BATCH_MAX ? n : SHKI_BATCH_MAX};

    if (items == NULL || n == 0)
        return shki_say(-EINVAL, "the items are NULL, or there are none");
    return put(q, &w, timeout);
}

int shk_queue_get_many(struct shk_queue *q, struct iovec *bufs, unsigned n, int64_t timeout)
{
    struct shki_work w = {.buffers = bufs, .n = n < SHKI_BATCH_MAX ? n : SHKI_BATCH_MAX};

    if (bufs == NULL || n == 0)
        return shki_say(-EINVAL, "the buffers are NULL, or there are none");
    return get(q, &w, timeout);
}

/* ---- Looks ---- */

ssize_t shk_queue_size(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    uint64_t size;

    if (r < 0)
        return r;
    size = shki_queue_items(q);
    return (ssize_t)(q->grows || size < q->capacity ? size : q->capacity);
}

ssize_t shk_queue_capacity(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)q->capacity;
}

ssize_t shk_queue_item_size(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)q->item_size;
}

int shk_queue_empty(struct shk_queue *q)
{
    ssize_t n = shk_queue_size(q);

    return n < 0 ? (int)n : n == 0;
}

int shk_queue_full(struct shk_queue *q)
{
    ssize_t n = shk_queue_size(q);

    return n < 0 ? (int)n : !q->grows && (uint64_t)n == q->capacity;
}

int shk_queue_is_shut_down(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    /* Q3: acquire: what was put before it was shut down can be seen. */
    return r < 0 ? r : shki_shut_down(q) != SHKI_OPEN;
}

/* ---- Shutting down ---- */

static uint64_t living_holder(const struct shk_queue *q)
{
    uint64_t holder = load_acquire(&q->shared->put_lock.mutex.holder);

    return shki_member_is_alive(q->object.segment, holder) ? holder : 0;
}

static int is_kept(void *queue)
{
    return living_holder(queue) ? -EALREADY : 0;
}

/* Q3: release: a consumer that sees it sees what was put before. */
static void shut(struct shk_queue *q, uint32_t state)
{
    /* a guess, which the exchange checks */
    uint32_t before = load_relaxed(&q->shared->shut_down), once;

    do
        once = (before & SHKI_SHUT_STATE) == SHKI_OPEN ? SHKI_SHUT_ONCE : 0;
    while (!compare_exchange_weak_release(&q->shared->shut_down, &before,
                                          (before & ~SHKI_SHUT_STATE) + once + state));
}

int shk_queue_shutdown(struct shk_queue *q)
{
    struct shki_member *m;
    struct shki_call c;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    /*
     * With the put lock: no put is half way, so whoever sees the queue shut down and empty knows
     * that nothing more comes.
     */
    c = shki_put_call(q, m, GATE_LIMIT);
    c.deadline = shki_deadline(GATE_LIMIT, NULL); /* not to be interrupted */
    c.begun = true;
    r = is_kept(q);
    if (r == 0)
        r = shki_call_lock(&c, is_kept, q);
    if (r == 0) {
        /* Q3: commits. Killed after: the sleepers see it at the end of their slice. */
        shut(q, SHKI_SHUT_DOWN);
        shki_side_unlock(q, m, c.lock, false);
    } else if (r == -EALREADY) {
        /*
         * Q3: commits. Somebody keeps the lock: whether it is in the middle of a put is for those
         * who get to see: shki_queue_is_over().
         */
        shut(q, SHKI_SHUT_FOR_PUTS);
    } else {
        return shki_fail(
            -EBUSY, "%s/%s: a thread has been in the middle of a put for 10 s; it may be stopped",
            q->object.segment->name, q->object.name);
    }
    shki_queue_wake(q->object.segment, q->shared);
    return 0;
}

int shk_queue_reopen(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    /* Q3: commits. The count stays */
    fetch_and_release(&q->shared->shut_down, ~SHKI_SHUT_STATE);
    return 0;
}
