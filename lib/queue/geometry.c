/*
 * Where everything of a queue lies, and how one is made and checked.
 *
 * The geometry follows from the order, the limits, the item size and the segment. It is computed in
 * one place, lay_out(), when a queue is made, and again when it is opened: a queue whose bytes say
 * otherwise is damaged.
 *
 * Slots, or items at their length? A slot is as large as the largest item. Slots are the faster
 * store, and a put into them cannot find the memory used up. A queue has slots if it is limited in
 * items alone, and
 *   - they are small, so that an item of any length takes little more than it needs; or
 *   - all of them take no more memory than a queue that grows keeps though nothing is in it.
 * Any other queue grows: its memory follows what is in it. So item_size may be as large as an item
 * can ever be, and costs nothing.
 */
#include "base/permits.h"
#include "queue/lease_records.h"
#include "queue/side.h"

#include <shmkit/inspect.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY_MAX (UINT64_C(1) << 31) /* items */
#define ITEM_MAX     (UINT64_C(1) << 31) /* bytes */
#define BYTES_MAX    (UINT64_C(1) << 40) /* of all items: the largest segment */
#define ITEM_DEFAULT 1024u               /* bytes */
#define SLOT_ALIGN   8u                  /* bytes */
/* Bytes, item_size: up to the default one they are worth their memory: bench row W1, 1 KiB. */
#define ITEM_SMALL ITEM_DEFAULT
/*
 * Bytes, of a queue that grows: so much memory is kept though nothing is in it, but at least a
 * chunk.
 */
#define SPARE (UINT64_C(1) << 20)
/*
 * The same of a queue that is limited to more than that: as much as it may have, up to this. An
 * item of 64 KiB whose memory is given back and taken again costs eight times as much.
 */
#define SPARE_MOST (UINT64_C(8) << 20)
/* The same of each list of a PRIORITY queue, which has some twenty. */
#define SPARE_LIST (UINT64_C(128) << 10)
/* Bytes: memory comes and goes in such pieces, where chunks are not given and taken as a whole. */
#define PIECE (UINT64_C(64) << 10)
/*
 * Slots: both ends of such a ring are close together, so each slot has a cache line of its own:
 * bench row W3.
 */
#define CLOSE_ENDS 64u
/*
 * Bytes that each side of a ring fetches ahead: a line that the other side has had is there when
 * it is needed. Twice as many items a second in bench row W1/8 B, 1.4 times as many in W1/64 B,
 * where a round trip (W3) takes half a microsecond; hardly more where it takes a fifth.
 */
#define FETCH_AHEAD 2048u

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

/* What the creator has chosen. */
struct choice {
    uint64_t capacity, capacity_bytes, item_size;
    uint32_t order;
};

static struct choice choice_of(const struct shk_queue_options *o)
{
    return (struct choice){o->capacity, o->capacity_bytes,
                           o->item_size ? o->item_size : ITEM_DEFAULT, o->order};
}

struct layout {
    bool grows;
    uint64_t item_most, stride, entry, slots, chunk_size, chunks, tasks_at, lists_at, map_at,
        map_size, slots_at, leases_at, lease_slot, lease_chunk, lease_chunks, size;
};

static uint64_t stride_of(const struct choice *c)
{
    uint64_t stride = shki_round_up(sizeof(struct shki_slot) + c->item_size, SLOT_ALIGN);

    return c->order == SHK_FIFO && c->capacity <= CLOSE_ENDS && stride < SHKI_CACHE_LINE
               ? SHKI_CACHE_LINE
               : stride;
}

static bool grows(const struct choice *c)
{
    return c->capacity == 0 || c->capacity_bytes > 0 ||
           (c->item_size > ITEM_SMALL && c->capacity * stride_of(c) > SPARE); /* below 2^63 */
}

/* Behind all else: the area of leases. A record has room for the largest item. */
static void lay_out_leases(struct layout *l, uint32_t blocks)
{
    l->lease_slot = shki_lease_slot(l->item_most);
    l->lease_chunk = shki_lease_chunk(l->lease_slot);
    l->lease_chunks = blocks / (l->lease_chunk / SHKI_BLOCK);
    if (l->lease_chunks > SHKI_LEASES_MAX)
        l->lease_chunks = SHKI_LEASES_MAX;
    l->leases_at = shki_round_up(l->size, SHKI_PAGE);
    l->size = l->leases_at + sizeof(struct shki_lease_area) + l->lease_chunks * sizeof(uint32_t);
}

/* `blocks`: of the segment, for a queue that grows. */
static struct layout lay_out_items(const struct choice *c, uint32_t members, uint32_t blocks)
{
    struct layout l = {.grows = grows(c), .item_most = c->item_size, .chunks = 1};

    l.tasks_at = shki_round_up(sizeof(struct shki_queue_shared), 64);
    l.lists_at = l.map_at = shki_round_up(l.tasks_at + members * sizeof(struct shki_task), 64);
    if (!l.grows) {
        l.stride = stride_of(c);
        l.entry = c->order == SHK_PRIORITY ? sizeof(struct shki_heap_entry) : 0;
        l.slots = c->order == SHK_FIFO ? power_of_two(c->capacity) : c->capacity;
        l.chunk_size = l.slots * (l.stride + l.entry); /* below 2^63 */
        l.slots_at = l.map_at;
        l.size = l.slots_at + l.chunk_size;
        return l;
    }
    l.chunks = blocks ? blocks : 1;
    l.chunk_size = SHKI_BLOCK;
    l.item_most = shki_list_item_most(c->item_size, c->capacity_bytes, l.chunks);
    l.slots = c->order == SHK_PRIORITY ? 2 + shki_size_class(l.item_most) : 1;
    l.map_at = shki_round_up(l.lists_at + l.slots * sizeof(struct shki_list_shared), SHKI_PAGE);
    l.map_size = shki_round_up(l.chunks * sizeof(uint32_t), SHKI_PAGE);
    l.slots_at = l.map_at + l.slots * l.map_size;
    l.size = l.slots_at;
    return l;
}

static struct layout lay_out(const struct choice *c, uint32_t members, uint32_t blocks)
{
    struct layout l = lay_out_items(c, members, blocks);

    lay_out_leases(&l, blocks);
    return l;
}

int shki_queue_build(struct shki_object *o, const struct shki_plan *plan)
{
    struct choice c = choice_of(plan->options);
    struct shki_queue_shared *shared = (void *)o->shared;
    struct layout l = lay_out(&c, o->segment->max_members, shki_pool_limit(o->segment));
    int r;

    /* room for the first items, at this moment; then it is as much as there is */
    if (l.grows) {
        r = shki_segment_lock(o->segment);
        if (r < 0)
            return r;
        r = shki_pool_reserve(o->segment, (uint32_t)(l.chunk_size / SHKI_BLOCK),
                              o->offset + o->size);
        shki_segment_unlock(o->segment);
        if (r < 0)
            return r;
    }
    shared->order = c.order;
    shared->capacity = c.capacity;
    shared->capacity_bytes = c.capacity_bytes;
    shared->slots = l.slots;
    shared->item_size = c.item_size;
    shared->stride = l.stride;
    shared->tasks_at = l.tasks_at;
    shared->lists_at = l.lists_at;
    shared->map_at = l.map_at;
    shared->slots_at = l.slots_at;
    shared->leases_at = l.leases_at;
    shared->chunks = l.chunks;
    shared->chunk_size = l.chunk_size;
    if (shki_permits_init(&shared->not_empty.semaphore) != 0 ||
        shki_permits_init(&shared->not_full.semaphore) != 0 ||
        shki_permits_init(&shared->tasks.semaphore) != 0)
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

/* Bytes: of one that is limited as much as it may have, within limits. */
static uint64_t spare_of(const struct shk_queue *q)
{
    uint64_t most = q->capacity ? q->capacity * q->item_size : 0; /* at most 2^62 */

    if (q->capacity_bytes && (most == 0 || q->capacity_bytes < most))
        most = q->capacity_bytes;
    return most > SPARE_MOST ? SPARE_MOST : most > SPARE ? most : SPARE;
}

/* Of a queue that grows: the lists of its chunks. */
static int adopt_lists(struct shk_queue *q, const struct layout *l)
{
    struct shki_list_shared *shared = (void *)(q->object.shared + l->lists_at);
    uint32_t limit = shki_pool_limit(q->object.segment);
    uint64_t spare = spare_of(q);

    q->lists = calloc(l->slots, sizeof(*q->lists));
    if (q->lists == NULL)
        return shki_say(-ENOMEM, "out of memory");
    q->n_lists = (unsigned)l->slots;
    for (unsigned i = 0; i < q->n_lists; i++) {
        struct shki_list *list = &q->lists[i];
        uint64_t size = l->chunk_size;

        if (i > 0) {
            list->slot = shki_list_slot(q->n_lists, i, q->item_most);
            while (size < list->slot)
                size *= 2;
            list->per_chunk = size / list->slot;
        }
        list->shared = &shared[i];
        list->map = (_Atomic uint32_t *)(void *)(q->object.shared + l->map_at + i * l->map_size);
        list->number = i;
        list->shift = log_2(size);
        list->chunks = l->chunks;
        list->blocks = (uint32_t)(size / SHKI_BLOCK);
        list->last_block = limit > list->blocks ? limit - list->blocks : 0;
        list->piece = q->order == SHK_LIFO ? SHKI_BLOCK : PIECE;
        list->spare = q->order == SHK_LIFO ? spare : SPARE_LIST;
    }
    q->shift = q->lists[0].shift;
    q->chunk_mask = (UINT64_C(1) << q->shift) - 1;
    q->spare = spare / l->chunk_size;
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

static void adopt_leases(struct shk_queue *q, const struct layout *l)
{
    uint32_t limit = shki_pool_limit(q->object.segment),
             blocks = (uint32_t)(l->lease_chunk / SHKI_BLOCK);
    uint64_t most = l->lease_chunks * (l->lease_chunk / l->lease_slot);

    q->leases = (struct shki_lease_area *)(void *)(q->object.shared + l->leases_at);
    q->lease_limit = most < SHKI_LEASES_MAX ? (uint32_t)most : SHKI_LEASES_MAX;
    q->lease_list = (struct shki_list){.shared = &q->shared->leases.list,
                                       .map = q->leases->map,
                                       .piece = PIECE,
                                       .spare = SPARE_LIST,
                                       .number = SHKI_LEASE_LIST,
                                       .blocks = blocks,
                                       .last_block = limit > blocks ? limit - blocks : 0,
                                       .chunks = l->lease_chunks,
                                       .shift = log_2(l->lease_chunk),
                                       .slot = l->lease_slot,
                                       .per_chunk = l->lease_chunk / l->lease_slot};
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
    adopt_leases(q, l);
    if (q->grows)
        return adopt_lists(q, l);
    q->entries_size = l->slots * l->entry;
    q->limit = q->capacity;
    q->ahead = FETCH_AHEAD / l->stride;
    if (q->capacity <= CLOSE_ENDS && q->ahead > 1)
        q->ahead = 1;
    q->share_mask = l->stride <= SHKI_CACHE_LINE / 4 ? 3 : l->stride <= SHKI_CACHE_LINE / 2 ? 1 : 0;
    q->fast_below = q->ring && q->asymmetric ? q->item_size + 1 : 0;
    q->mask = q->order == SHK_FIFO ? l->slots - 1 : UINT64_MAX >> 1;
    return 0;
}

static bool is_wanted(const struct choice *c, const struct shk_queue_options *o)
{
    return o->order == c->order && (o->capacity == 0 || o->capacity == c->capacity) &&
           (o->capacity_bytes == 0 || o->capacity_bytes == c->capacity_bytes) &&
           (o->item_size == 0 || o->item_size == c->item_size);
}

static int say_other(const struct shki_object *o, const struct choice *c)
{
    char items[32] = "", bytes[48] = "";

    if (c->capacity > 0)
        snprintf(items, sizeof(items), "for %llu items ", (unsigned long long)c->capacity);
    if (c->capacity_bytes > 0)
        snprintf(bytes, sizeof(bytes), "%s %llu bytes ", c->capacity > 0 ? "and" : "for",
                 (unsigned long long)c->capacity_bytes);
    return shki_fail(-EPROTOTYPE, "%s/%s is a %s queue %s%s%sof at most %llu bytes each",
                     o->segment->name, o->name, order_name(c->order), items, bytes,
                     c->capacity > 0 || c->capacity_bytes > 0 ? "" : "without a limit for items ",
                     (unsigned long long)c->item_size);
}

int shki_queue_check(struct shki_object *o, const struct shki_plan *plan)
{
    struct shk_queue *q = (struct shk_queue *)o;
    const struct shki_queue_shared *shared = (void *)o->shared;
    const struct choice c = {shared->capacity, shared->capacity_bytes, shared->item_size,
                             shared->order};
    struct layout l;

    if (c.order > SHK_PRIORITY || c.capacity > CAPACITY_MAX || c.item_size < 1 ||
        c.item_size > ITEM_MAX || c.capacity_bytes > BYTES_MAX)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    l = lay_out(&c, o->segment->max_members, shki_pool_limit(o->segment));
    if (shared->slots != l.slots || shared->stride != l.stride || shared->tasks_at != l.tasks_at ||
        shared->lists_at != l.lists_at || shared->map_at != l.map_at ||
        shared->slots_at != l.slots_at || shared->leases_at != l.leases_at ||
        shared->chunks != l.chunks || shared->chunk_size != l.chunk_size || l.size > o->size)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    if (plan->options_given && !is_wanted(&c, plan->options))
        return say_other(o, &c);
    q->order = c.order;
    q->capacity = c.capacity;
    q->capacity_bytes = c.capacity_bytes;
    q->limited = c.capacity > 0 || c.capacity_bytes > 0;
    q->grows = l.grows;
    q->ring = !q->grows && c.order == SHK_FIFO;
    q->asymmetric = o->segment->asymmetric;
    q->item_size = c.item_size;
    q->item_most = l.item_most;
    return adopt(q, &l);
}

int shki_queue_plan(const struct shk_segment *segment, const struct shk_queue_options *options,
                    struct shki_plan *plan)
{
    struct choice c = choice_of(options);
    struct layout l;
    int r;

    if (c.order > SHK_PRIORITY || c.capacity > CAPACITY_MAX || c.item_size > ITEM_MAX ||
        c.capacity_bytes > BYTES_MAX)
        return shki_say(
            -EINVAL,
            "the queue's order is unknown, or its capacity or item size is more than 2^31, or its "
            "capacity in bytes more than 2^40");
    if (options->reserved_32)
        return shki_say(-EINVAL, "a reserved option is not zero");
    r = shki_check_reserved(options->reserved, 7);
    if (r < 0)
        return r;
    l = lay_out(&c, segment ? segment->max_members : 0, segment ? shki_pool_limit(segment) : 0);
    plan->size = l.size;
    /* the maps, and the area of leases, get it as they are used */
    plan->memory = l.grows ? l.map_at : l.leases_at;
    return 0;
}
