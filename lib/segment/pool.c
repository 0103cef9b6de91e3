#include "segment/pool.h"

#include "base/error.h"
#include "segment/directory.h"
#include "segment/member.h"

#include <errno.h>
#include <string.h>

#define STEP_BLOCKS 64u /* the floor goes down by so many blocks at least, if there is room, … */
#define STEP_PART   8u  /* … and by one in so many of those that there are */

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
    /* PB2: acquire; pairs with the release in set_floor(): the words above it have memory. */
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

bool shki_blocks_are(const struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    if (block < floor_of(s) || n > shki_pool_limit(s) - block)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (load(s, block + i) != word)
            return false;
    return true;
}

/* ---- Taking and giving back ---- */

/* The highest n consecutive free blocks at or below `from`. Or SHKI_BLOCK_NONE. */
static uint32_t find_free(const struct shk_segment *s, uint32_t n, uint32_t from)
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

/* Back to the pool, those that have that word, the last first. */
static void free_words(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint32_t high = load_relaxed(&s->header->pool_hint);

    for (uint32_t i = n; i-- > 0;)
        if (load(s, block + i) == word)
            /* PB1: commits */
            store_release(word_of(s, block + i), SHKI_BLOCK_FREE);
    if (block + n > high) /* a hint: all searches end with one that does without */
        store_relaxed(&s->header->pool_hint, block + n);
}

/* Take exactly these, as far as they have not been taken for the same already. */
static bool claim(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint64_t was;

    for (uint32_t i = 0; i < n; i++) {
        was = SHKI_BLOCK_FREE;
        /*
         * PB1: commits. Killed after: the word says for what it was taken; the next one that wants
         * it for the same goes on here.
         */
        if (!compare_exchange_acq_rel(word_of(s, block + i), &was, word) && was != word) {
            free_words(s, block, i, word);
            return false;
        }
    }
    return true;
}

static int say_full(const struct shk_segment *s)
{
    return shki_fail(
        -ENOSPC,
        "segment /%s is full: its size is %llu KiB of address space; create it with a larger "
        "shk_segment_options.size "
        "(shmctl create --segment-size)",
        s->name, (unsigned long long)(s->size >> 10));
}

/* Under the lock. `top`: where the heap ends, at least. */
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
     * The words get memory before they are used. Whole pages: those around are words as well, or
     * nothing.
     */
    from = (s->geometry.blocks_offset + (floor - step) * sizeof(uint64_t)) / SHKI_PAGE * SHKI_PAGE;
    r = shki_allocate(
        s, from,
        shki_round_up(s->geometry.blocks_offset + floor * sizeof(uint64_t), SHKI_PAGE) - from,
        false);
    if (r < 0)
        return r;
    /* What the heap, or a process killed in it, may have left there. */
    shki_punch(s, (floor - step) * SHKI_BLOCK, step * SHKI_BLOCK);
    /*
     * PB2: commits. Killed after: the heap has given them up, and no one can take them yet:
     * shki_pool_repair().
     */
    set_floor(s, floor - step);
    for (uint32_t b = floor; b-- > floor - step;)
        store_release(word_of(s, b), SHKI_BLOCK_FREE); /* PB1 */
    return 0;
}

/* Free blocks that are next to the floor count, too. */
static uint32_t missing(const struct shk_segment *s, uint32_t n)
{
    uint32_t floor = floor_of(s), limit = shki_pool_limit(s), there = 0;

    while (there < n && floor + there < limit && load(s, floor + there) == SHKI_BLOCK_FREE)
        there++;
    return n - there;
}

int shki_pool_reserve(struct shk_segment *s, uint32_t n, uint64_t top)
{
    uint64_t heap = shki_directory_top(s);
    int r;

    if (find_free(s, n, SHKI_BLOCK_NONE) != SHKI_BLOCK_NONE)
        return 0;
    r = lower_floor(s, missing(s, n), heap > top ? heap : top);
    if (r == -ENOSPC)
        return say_full(s);
    return r < 0 ? shki_fail(r, "segment /%s: out of memory for more blocks: %s", s->name,
                             strerror(-r))
                 : 0;
}

static int extend(struct shk_segment *s, uint32_t n)
{
    struct shki_member *m = shki_member_find(s);
    int r = shki_segment_lock(s);

    if (r < 0)
        return r;
    if (m && shki_directory_collect(s, m->id)) { /* it may be the blocks of objects that are gone */
        shki_segment_unlock(s);
        shki_directory_reclaim(s, m->id);
        r = shki_segment_lock(s);
        if (r < 0)
            return r;
    }
    r = shki_pool_reserve(s, n, 0);
    shki_segment_unlock(s);
    return r;
}

int shki_pool_allocate(struct shk_segment *s, uint32_t n, uint64_t word, _Atomic uint32_t *hint)
{
    uint32_t block = load_relaxed(hint), from;
    int r;

    /* What a dead one has begun to take for the same. */
    if (shki_blocks_are(s, block, 1, word) && n <= shki_pool_limit(s) - block &&
        claim(s, block, n, word))
        return 0;
    for (;;) {
        from = load_relaxed(&s->header->pool_hint);
        block = find_free(s, n, from);
        if (block == SHKI_BLOCK_NONE)
            block = find_free(s, n, SHKI_BLOCK_NONE);
        if (block == SHKI_BLOCK_NONE) {
            r = extend(s, n);
            if (r < 0)
                return r;
            continue;
        }
        /* Killed before the first word is taken: the hint leads to blocks that have other words. */
        store_relaxed(hint, block);
        if (claim(s, block, n, word))
            break;
    }
    store_relaxed(&s->header->pool_hint, block);
    return 0;
}

void shki_pool_free(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint32_t still = 0;

    if (block < floor_of(s) || n > shki_pool_limit(s) - block)
        return; /* damaged bytes */
    /*
     * Of the blocks that a killed thread has freed some may be others' by now. It frees the last
     * first.
     */
    while (still < n && load(s, block + still) == word)
        still++;
    if (still == 0)
        return;
    shki_punch(s, block * SHKI_BLOCK, still * SHKI_BLOCK);
    free_words(s, block, still, word);
}

void shki_block_rename(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    for (uint32_t i = block >= floor_of(s) && n <= shki_pool_limit(s) - block ? n : 0; i-- > 0;)
        store_release(word_of(s, block + i), word);
}

/* ---- Under the segment's lock ---- */

bool shki_pool_shrink(struct shk_segment *s, uint64_t end)
{
    uint32_t floor = floor_of(s), limit = shki_pool_limit(s), to = floor;
    uint64_t was;

    while (to < limit && to * SHKI_BLOCK < end) {
        was = SHKI_BLOCK_FREE;
        /*
         * Killed after: the block is the pool's, and its word does not say so: shki_pool_repair().
         */
        if (!compare_exchange_acq_rel(word_of(s, to), &was, 0))
            break;
        to++;
    }
    if (to != floor)
        set_floor(s, to); /* PB2: commits */
    return shki_heap_end(s) >= end;
}

void shki_pool_reclaim(struct shk_segment *s, uint32_t entry)
{
    uint32_t limit = shki_pool_limit(s), first = 0, n = 0;

    for (uint32_t b = floor_of(s); b <= limit; b++) {
        if (b < limit && shki_block_is_of(load(s, b), entry)) {
            first = n++ ? first : b;
            continue;
        }
        if (n > 0) /* before their words: then they may be others' */
            shki_punch(s, first * SHKI_BLOCK, n * SHKI_BLOCK);
        for (; n > 0; n--)
            /* PB1 */
            store_release(word_of(s, first + n - 1), SHKI_BLOCK_FREE);
    }
    store_relaxed(&s->header->pool_hint, limit);
}

void shki_pool_repair(struct shk_segment *s)
{
    for (uint32_t b = floor_of(s), limit = shki_pool_limit(s); b < limit; b++)
        if (load(s, b) == 0)
            store_release(word_of(s, b), SHKI_BLOCK_FREE); /* PB1 */
}
