#include "queue/chunk_list.h"

#define step() atomic_signal_fence(memory_order_seq_cst)

static uint64_t word_of(const struct shk_queue *q, const struct shki_list *list, uint64_t chunk)
{
    return shki_block_word(q->object.index, list->number, chunk);
}

static _Atomic uint32_t *place_in_map(const struct shki_list *list, uint64_t chunk)
{
    return &list->map[chunk % list->chunks];
}

int shki_list_prepare(struct shk_queue *q, struct shki_list *list, uint64_t chunk)
{
    struct shk_segment *s = q->object.segment;
    uint64_t at = (uintptr_t)place_in_map(list, chunk) - (uintptr_t)s->base, page = at / SHKI_PAGE;
    int r;

    if (list->map_page == page)
        return 0;
    r = shki_allocate(s, page * SHKI_PAGE, SHKI_PAGE, false);
    if (r < 0)
        return shki_no_memory(q, r);
    list->map_page = page;
    return 0;
}

int shki_list_take(struct shk_queue *q, struct shki_list *list, uint64_t chunk)
{
    int r = shki_list_prepare(q, list, chunk);

    return r < 0 ? r
                 : shki_pool_allocate(q->object.segment, list->blocks, word_of(q, list, chunk),
                                      place_in_map(list, chunk));
}

void shki_list_give(struct shk_queue *q, const struct shki_list *list, uint64_t chunk)
{
    shki_pool_free(q->object.segment, load_relaxed(place_in_map(list, chunk)), list->blocks,
                   word_of(q, list, chunk));
}

static bool take_block(struct shk_queue *q, const struct shki_list *list, uint64_t chunk,
                       uint32_t block)
{
    return shki_blocks_claim(q->object.segment, block, 1, word_of(q, list, chunk));
}

int shki_list_take_run(struct shk_queue *q, struct shki_list *list, uint64_t chunk, uint32_t n)
{
    uint32_t block = 0, taken;
    int r = 0;

    for (uint32_t i = 0; i < n && r == 0; i++)
        r = shki_list_prepare(q, list, chunk + i);
    do {
        /* What a dead producer has taken for these chunks; what this one has, in vain. */
        for (uint32_t i = 0; i < n && r == 0; i++)
            shki_list_give(q, list, chunk + i);
        if (r == 0)
            r = shki_pool_find(q->object.segment, n, &block);
        if (r < 0)
            return r;
        /* Killed after: the map leads to blocks that have other words. */
        for (uint32_t i = 0; i < n; i++)
            store_relaxed(place_in_map(list, chunk + i), block + i);
        /* Killed in it: the map leads to those that have been taken. */
        for (taken = 0; taken < n && take_block(q, list, chunk + taken, block + taken); taken++)
            continue;
    } while (taken < n);
    return 0;
}

uint32_t shki_list_run(const struct shk_queue *q, const struct shki_list *list, uint64_t chunk,
                       uint64_t n)
{
    uint32_t first = n > 0 ? load_relaxed(place_in_map(list, chunk)) : 0, i = 0;

    (void)q;
    while (i < n && load_relaxed(place_in_map(list, chunk + i)) == first + i)
        i++;
    return i;
}

bool shki_list_has(const struct shk_queue *q, const struct shki_list *list, uint64_t chunk)
{
    return shki_blocks_are(q->object.segment, load_relaxed(place_in_map(list, chunk)), 1,
                           word_of(q, list, chunk));
}

int shki_list_rename(struct shk_queue *q, struct shki_list *list, uint64_t chunk, uint64_t to)
{
    uint32_t block = load_relaxed(place_in_map(list, chunk));
    int r = shki_list_prepare(q, list, to);

    if (r < 0)
        return r;
    if (!shki_blocks_are(q->object.segment, block, 1, word_of(q, list, chunk)))
        return shki_damaged_place(q);
    store_relaxed(place_in_map(list, to), block);
    shki_block_rename(q->object.segment, block, list->blocks, word_of(q, list, to));
    return 0;
}

unsigned char *shki_list_find(const struct shk_queue *q, const struct shki_list *list,
                              uint64_t chunk)
{
    uint32_t block = load_relaxed(place_in_map(list, chunk)),
             limit = shki_pool_limit(q->object.segment);

    return list->blocks <= limit && block <= limit - list->blocks
               ? shki_block_at(q->object.segment, block)
               : NULL;
}

int shki_list_allocate(struct shk_queue *q, const struct shki_list *list, uint64_t from,
                       uint64_t to)
{
    struct shk_segment *s = q->object.segment;
    int r = 0;

    while (from < to && r == 0) {
        uint64_t chunk = from >> list->shift, offset = from & ((UINT64_C(1) << list->shift) - 1),
                 n = (UINT64_C(1) << list->shift) - offset;
        unsigned char *at = shki_list_find(q, list, chunk);

        if (n > to - from)
            n = to - from;
        if (at == NULL)
            return shki_damaged_place(q);
        r = shki_allocate(s, (uint64_t)(at - s->base) + offset, n, false);
        from += n;
    }
    return r < 0 ? shki_no_memory(q, r) : 0;
}

void shki_list_punch(struct shk_queue *q, const struct shki_list *list, uint64_t from, uint64_t to)
{
    struct shk_segment *s = q->object.segment;

    while (from < to) {
        uint64_t chunk = from >> list->shift, offset = from & ((UINT64_C(1) << list->shift) - 1),
                 n = (UINT64_C(1) << list->shift) - offset;

        if (n > to - from)
            n = to - from;
        if (shki_list_has(q, list, chunk))
            shki_punch(s, (uint64_t)(shki_list_find(q, list, chunk) - s->base) + offset, n);
        from += n;
    }
}

/* ---- Lists that grow and shrink at their end ---- */

static uint64_t chunks_of(const struct shki_list *list)
{
    uint64_t n = list->shared->chunks;

    return n <= list->chunks ? n : list->chunks;
}

/* How far it has memory: within its chunks, whatever the bytes are. */
static uint64_t memory_of(const struct shki_list *list)
{
    uint64_t n = list->shared->memory, most = chunks_of(list) << list->shift;

    return n <= most ? n : most;
}

int shki_list_grow(struct shk_queue *q, struct shki_list *list, uint64_t bytes)
{
    uint64_t chunks, memory = memory_of(list), to;
    int r;

    while ((chunks = chunks_of(list)) << list->shift < bytes) {
        if (chunks >= list->chunks)
            return shki_too_many(q);
        r = shki_list_take(q, list, chunks);
        if (r < 0)
            return r;
        list->shared->chunks = chunks + 1; /* killed before: taken once more, that is, found */
        step();
    }
    if (memory >= bytes)
        return 1;
    to = shki_list_memory(bytes, bytes, list->piece);
    if (to > chunks << list->shift)
        to = chunks << list->shift;
    r = shki_list_allocate(q, list, memory, to);
    if (r < 0)
        return r;
    list->shared->memory = to; /* killed before: allocated once more */
    step();
    return 1;
}

/* The list has no more than n chunks; back to the pool with the others, in which nothing is. */
static void cut(struct shk_queue *q, struct shki_list *list, uint64_t n)
{
    uint64_t chunks;

    while ((chunks = chunks_of(list)) > n) {
        list->shared->chunks = chunks - 1;
        step(); /* killed here: it keeps its blocks; given back by shki_list_repair() */
        shki_list_give(q, list, chunks - 1);
    }
}

int shki_list_grow_run(struct shk_queue *q, struct shki_list *list, uint64_t chunk, uint64_t bytes)
{
    uint64_t end = (bytes - 1) >> list->shift, n = end + 1 - chunk, chunks = chunks_of(list);
    int r;

    if (end >= list->chunks)
        return shki_too_many(q);
    if (chunks < chunk) { /* up to the run */
        r = shki_list_grow(q, list, chunk << list->shift);
        if (r < 0)
            return r;
        chunks = chunks_of(list);
    }
    if (chunks <= end || shki_list_run(q, list, chunk, n) < n) {
        if (memory_of(list) > chunk << list->shift)
            list->shared->memory = chunk << list->shift;
        step(); /* killed here: the chunks keep their memory, which is given once more */
        cut(q, list, chunk);
        r = shki_list_take_run(q, list, chunk, (uint32_t)n);
        if (r < 0)
            return r;
        /* killed before: taken once more, or given back by shki_list_repair() */
        list->shared->chunks = end + 1;
        step();
    }
    return shki_list_grow(q, list, bytes);
}

void shki_list_shrink(struct shk_queue *q, struct shki_list *list, uint64_t bytes)
{
    uint64_t keep = shki_round_up(bytes + list->spare, list->piece), memory = memory_of(list);

    if (memory <= keep + list->spare)
        return;
    list->shared->memory = keep;
    step(); /* killed here: it keeps its memory; given back by shki_list_repair() */
    shki_list_punch(q, list, keep, memory);
    cut(q, list, (keep + (UINT64_C(1) << list->shift) - 1) >> list->shift);
}

void shki_list_repair(struct shk_queue *q, struct shki_list *list)
{
    uint64_t chunks = chunks_of(list), end = chunks;

    shki_list_punch(q, list, memory_of(list), chunks << list->shift);
    /* A chunk, or a run, of a dead member. The last one first: the others are found once more. */
    while (end < list->chunks && shki_list_prepare(q, list, end) == 0 &&
           shki_list_has(q, list, end))
        end++;
    while (end-- > chunks)
        shki_list_give(q, list, end);
}

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
