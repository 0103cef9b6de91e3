#include "segment/blocks.h"

#include "base/error.h"
#include "segment/tables.h"

#include <errno.h>
#include <string.h>

/*
 * The floor is lowered by at least this many blocks, if there is room, and by at least one in
 * STEP_PART of the blocks that there are.
 */
#define STEP_BLOCKS 64u
#define STEP_PART   8u

uint32_t shki_pool_limit(const struct shk_segment *s)
{
    return (uint32_t)(s->size / SHKI_BLOCK);
}

static _Atomic uint64_t *word_of(const struct shk_segment *s, uint32_t block)
{
    return (_Atomic uint64_t *)(void *)(s->base + s->geometry.blocks_offset) + block;
}

/* PB1: acquire; pairs with the releases that free a block, and that lower the floor. */
static uint64_t load(const struct shk_segment *s, uint32_t block)
{
    return load_acquire(word_of(s, block));
}

/*
 * The number of the lowest block of the pool; the limit if there is none, or if the bytes are
 * damaged.
 */
static uint32_t floor_of(const struct shk_segment *s)
{
    /* PB2: acquire; pairs with the release in set_floor(). The words above it have memory. */
    uint32_t n = load_acquire(&s->header->pool_floor), limit = shki_pool_limit(s);

    return n < limit && n > s->geometry.heap_offset / SHKI_BLOCK ? n : limit;
}

static void set_floor(struct shk_segment *s, uint32_t block)
{
    store_release(&s->header->pool_floor, block);
}

uint64_t shki_heap_end(const struct shk_segment *s)
{
    uint32_t n = floor_of(s);

    return n < shki_pool_limit(s) ? n * SHKI_BLOCK : s->size;
}

bool shki_heap_has(const struct shk_segment *s, const struct shki_entry *e)
{
    uint64_t end = shki_heap_end(s);

    return e->offset >= s->geometry.heap_offset && e->offset <= end && e->size <= end - e->offset;
}

uint64_t shki_heap_top(struct shk_segment *s)
{
    uint64_t top = s->geometry.heap_offset;

    for (uint32_t i = 0; i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);

        if (shki_entry_has_extent(e) && shki_heap_has(s, e) && e->offset + e->size > top)
            top = e->offset + e->size;
    }
    return top;
}

bool shki_blocks_exist(const struct shk_segment *s, uint32_t block, uint32_t n)
{
    return block >= floor_of(s) && n <= shki_pool_limit(s) - block;
}

uint32_t shki_blocks_count(const struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint32_t count = 0;

    while (count < n && load(s, block + count) == word)
        count++;
    return count;
}

bool shki_blocks_are(const struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    return shki_blocks_exist(s, block, n) && shki_blocks_count(s, block, n, word) == n;
}

/* ---- Taking and freeing ---- */

uint32_t shki_blocks_find(const struct shk_segment *s, uint32_t n, uint32_t from)
{
    uint32_t lowest = floor_of(s), run = 0;

    for (uint32_t b = from < shki_pool_limit(s) ? from + 1 : shki_pool_limit(s); b > lowest;) {
        b--;
        run = load(s, b) == SHKI_BLOCK_FREE ? run + 1 : 0;
        if (run == n)
            return b;
    }
    return SHKI_BLOCK_NONE;
}

void shki_blocks_free(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint32_t high = load_relaxed(&s->header->pool_hint);

    for (uint32_t i = n; i-- > 0;)
        if (load(s, block + i) == word)
            store_release(word_of(s, block + i), SHKI_BLOCK_FREE); /* PB1: commits */
    if (block + n > high) /* a hint: a search that fails is repeated without it */
        store_relaxed(&s->header->pool_hint, block + n);
}

bool shki_blocks_claim(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint64_t was;

    for (uint32_t i = 0; i < n; i++) {
        was = SHKI_BLOCK_FREE;
        /*
         * PB1: commits. Killed after: the word says what the block was taken for; the next member
         * that takes it for the same continues here.
         */
        if (!compare_exchange_acq_rel(word_of(s, block + i), &was, word) && was != word) {
            shki_blocks_free(s, block, i, word);
            return false;
        }
    }
    return true;
}

void shki_block_rename(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    for (uint32_t i = shki_blocks_exist(s, block, n) ? n : 0; i-- > 0;)
        store_release(word_of(s, block + i), word); /* PB1 */
}

/* ---- Under the segment's lock ---- */

static int say_full(const struct shk_segment *s)
{
    return shki_fail(
        -ENOSPC,
        "segment /%s is full: its size is %llu KiB of address space; create it with a larger "
        "shk_segment_options.size "
        "(shmctl create --segment-size)",
        s->name, (unsigned long long)(s->size >> 10));
}

/* `top`: where the heap ends, at least. */
static int lower_floor(struct shk_segment *s, uint32_t n, uint64_t top)
{
    uint32_t floor = floor_of(s), limit = shki_pool_limit(s), step = (limit - floor) / STEP_PART,
             lowest;
    uint64_t from;
    int r;

    lowest = (uint32_t)((top + SHKI_BLOCK - 1) / SHKI_BLOCK);
    if (lowest <= s->geometry.heap_offset / SHKI_BLOCK)
        lowest = (uint32_t)(s->geometry.heap_offset / SHKI_BLOCK) + 1;
    if (lowest > floor || floor - lowest < n)
        return -ENOSPC;
    step = step > STEP_BLOCKS ? step : STEP_BLOCKS;
    step = step > n ? step : n;
    step = step < floor - lowest ? step : floor - lowest;
    /*
     * The words are allocated before they are used, in whole pages: what else is in these pages is
     * words too, or nothing.
     */
    from = (s->geometry.blocks_offset + (floor - step) * sizeof(uint64_t)) / SHKI_PAGE * SHKI_PAGE;
    r = shki_allocate(
        s, from,
        shki_round_up(s->geometry.blocks_offset + floor * sizeof(uint64_t), SHKI_PAGE) - from,
        false);
    if (r < 0)
        return r;
    /* The heap, or a process that was killed in it, may have left memory there. */
    shki_punch(s, (floor - step) * SHKI_BLOCK, step * SHKI_BLOCK);
    /*
     * PB2: commits. Killed after: the blocks are not the heap's any more, and cannot be taken yet;
     * shki_blocks_repair() frees them.
     */
    set_floor(s, floor - step);
    for (uint32_t b = floor; b-- > floor - step;)
        store_release(word_of(s, b), SHKI_BLOCK_FREE); /* PB1 */
    return 0;
}

/* How many blocks are missing from n at the floor, where some may be free already. */
static uint32_t missing(const struct shk_segment *s, uint32_t n)
{
    uint32_t floor = floor_of(s), above = shki_pool_limit(s) - floor;

    return n - shki_blocks_count(s, floor, n < above ? n : above, SHKI_BLOCK_FREE);
}

int shki_pool_reserve(struct shk_segment *s, uint32_t n, uint64_t top)
{
    uint64_t heap = shki_heap_top(s);
    int r;

    if (shki_blocks_find(s, n, SHKI_BLOCK_NONE) != SHKI_BLOCK_NONE)
        return 0;
    r = lower_floor(s, missing(s, n), heap > top ? heap : top);
    if (r == -ENOSPC)
        return say_full(s);
    return r < 0 ? shki_fail(r, "segment /%s: out of memory for more blocks: %s", s->name,
                             strerror(-r))
                 : 0;
}

bool shki_blocks_shrink(struct shk_segment *s, uint64_t end)
{
    uint32_t floor = floor_of(s), limit = shki_pool_limit(s), to = floor;
    uint64_t was;

    while (to < limit && to * SHKI_BLOCK < end) {
        was = SHKI_BLOCK_FREE;
        /* Killed after: the block is still the pool's; shki_blocks_repair() frees it again. */
        if (!compare_exchange_acq_rel(word_of(s, to), &was, 0))
            break;
        to++;
    }
    if (to != floor)
        set_floor(s, to); /* PB2: commits */
    return shki_heap_end(s) >= end;
}

void shki_blocks_reclaim(struct shk_segment *s, uint32_t entry)
{
    uint32_t limit = shki_pool_limit(s), first = 0, n = 0;

    for (uint32_t b = floor_of(s); b <= limit; b++) {
        if (b < limit && shki_block_is_of(load(s, b), entry)) {
            first = n++ ? first : b;
            continue;
        }
        if (n > 0) /* before their words: afterwards the blocks may be another's */
            shki_punch(s, first * SHKI_BLOCK, n * SHKI_BLOCK);
        for (; n > 0; n--)
            store_release(word_of(s, first + n - 1), SHKI_BLOCK_FREE); /* PB1 */
    }
    store_relaxed(&s->header->pool_hint, limit);
}

void shki_blocks_repair(struct shk_segment *s)
{
    for (uint32_t b = floor_of(s), limit = shki_pool_limit(s); b < limit; b++)
        if (load(s, b) == 0)
            store_release(word_of(s, b), SHKI_BLOCK_FREE); /* PB1 */
}
