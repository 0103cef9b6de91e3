/*
 * Where everything of a queue lies, and how one is made and checked.
 *
 * The geometry follows from the order, the capacity, the item size and the segment. It is computed
 * in one place, lay_out(), when a queue is made, and again when it is opened: a queue whose bytes
 * say otherwise is damaged.
 */
#include "queue/chunk_list.h"
#include "queue/side.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

#define CAPACITY_MAX (UINT64_C(1) << 31) /* items */
#define ITEM_MAX     (UINT64_C(1) << 31) /* bytes */
#define ITEM_DEFAULT 1024u               /* bytes */
#define SLOT_ALIGN   8u                  /* bytes */
/* Bytes, capacity 0: so much memory is kept though nothing is in it, but at least a chunk. */
#define SPARE (UINT64_C(1) << 20)
/* The same of each list of a PRIORITY queue, which has some twenty. */
#define SPARE_LIST (UINT64_C(128) << 10)
/* Bytes: memory comes and goes in such pieces, where chunks are not given and taken as a whole. */
#define PIECE (UINT64_C(64) << 10)
/* Bytes: what a record, and its chunk, have beside the item. */
#define LONGEST_RECORD 32u
/*
 * Slots: both ends of such a ring are close together, so each slot has a cache line of its own:
 * bench row W3.
 */
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

struct layout {
    uint64_t stride, entry, slots, chunk_size, chunks, tasks_at, lists_at, map_at, map_size,
        slots_at, size;
};

/* `blocks`: of the segment, for a queue that grows. */
static struct layout lay_out(uint32_t order, uint64_t capacity, uint64_t item_size,
                             uint32_t members, uint32_t blocks)
{
    struct layout l = {.chunks = 1};

    l.tasks_at = shki_round_up(sizeof(struct shki_queue_shared), 64);
    l.lists_at = l.map_at = shki_round_up(l.tasks_at + members * sizeof(struct shki_task), 64);
    if (capacity) {
        l.stride = shki_round_up(sizeof(struct shki_slot) + item_size, SLOT_ALIGN);
        if (order == SHK_FIFO && capacity <= CLOSE_ENDS && l.stride < SHKI_CACHE_LINE)
            l.stride = SHKI_CACHE_LINE;
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

/* The last one is no larger than the largest item wants. */
uint64_t shki_list_slot(uint64_t lists, uint64_t i, uint64_t item_size)
{
    uint64_t slot =
        i < lists - 1
            ? shki_class_slot((unsigned)i - 1)
            : shki_round_up(item_size + sizeof(uint64_t) + sizeof(struct shki_slot), SLOT_ALIGN);

    return slot < 64 ? 64 : slot;
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

        if (i > 0) {
            list->slot = shki_list_slot(q->n_lists, i, q->item_size);
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

static const struct shki_order *order_of(const struct shk_queue *q)
{
    switch (q->order) {
    case SHK_FIFO:
        return q->grows ? &shki_chunks : &shki_ring;
    case SHK_LIFO:
        return q->grows ? &shki_stack : &shki_lifo;
    default:
        return &shki_priority;
    }
}

/* The validated copies. */
static int adopt(struct shk_queue *q, const struct layout *l)
{
    struct shki_queue_shared *shared = (void *)q->object.shared;

    q->shared = shared;
    shki_side_init(q);
    q->ops = order_of(q);
    q->stride = l->stride;
    q->slots = q->object.shared + l->slots_at;
    q->chunks = l->chunks;
    q->tasks = (struct shki_task *)(void *)(q->object.shared + l->tasks_at);
    if (q->grows)
        return adopt_lists(q, l);
    q->entries_size = l->slots * l->entry;
    q->limit = q->capacity;
    q->fast_below = q->ring && q->asymmetric ? q->item_size + 1 : 0;
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

int shki_queue_plan(const struct shk_segment *segment, const struct shk_queue_options *options,
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
