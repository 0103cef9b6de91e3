/*
 * The pool: blocks of memory at the end of a segment, for what has no limit of its own. Heap and
 * pool share the segment's address space: extents are taken from the bottom, blocks from the top,
 * and the floor, where the two meet, moves with what is needed.
 *
 *     | tables | heap: extents →            floor            ← pool: blocks |
 *                                              0 0 0 free taken free taken    block words
 *
 * Each block has a word in a table of its own (blocks_offset), which is the truth about it:
 *
 *     0                    it is the heap's
 *     SHKI_BLOCK_FREE      it is the pool's
 *     else                 it is part `number` of list `list` of the object at entry `entry`
 *
 * A block is taken and given back by one atomic operation on its word each, without any lock. Only
 * the floor is moved under the segment's lock. The word says for what the block was taken. So a
 * process that was killed with a block half taken, or half given back, leaves a question that its
 * successor answers by a look at the word; and when an object is gone its blocks are found.
 */
#ifndef SHKI_POOL_H
#define SHKI_POOL_H

#include "segment/segment.h"

#define SHKI_BLOCK_FREE        UINT64_C(1)
#define SHKI_BLOCK_NONE        UINT32_MAX /* no block has that number */
#define SHKI_BLOCK_NUMBER_BITS 39
#define SHKI_BLOCK_NUMBER_MASK ((UINT64_C(1) << SHKI_BLOCK_NUMBER_BITS) - 1)

/* The word of a taken block. */
static inline uint64_t shki_block_word(uint32_t entry, unsigned list, uint64_t number)
{
    return UINT64_C(1) << 63 | (uint64_t)(entry & 0xffff) << 47 |
           (uint64_t)(list & 0xff) << SHKI_BLOCK_NUMBER_BITS | (number & SHKI_BLOCK_NUMBER_MASK);
}

/* Whether it is that of a block of the object at that entry. */
static inline bool shki_block_is_of(uint64_t word, uint32_t entry)
{
    return word >> 47 == (UINT64_C(1) << 16 | (entry & 0xffff));
}

/* The entry of the object that has the block; UINT64_MAX: none. */
static inline uint64_t shki_block_entry(uint64_t word)
{
    return word >> 63 ? word >> 47 & 0xffff : UINT64_MAX;
}

/* How many blocks the segment could have: their numbers are below it. */
uint32_t shki_pool_limit(const struct shk_segment *);

/* Where the heap ends: no extent reaches beyond it. Under the segment's lock, or as a hint. */
uint64_t shki_heap_end(const struct shk_segment *);

/* The memory of a block whose number is below the limit. */
static inline unsigned char *shki_block_at(const struct shk_segment *s, uint32_t block)
{
    return s->base + (uint64_t)block * SHKI_BLOCK;
}

/* Whether the n blocks from `block` on all have that word. False beyond the limit. */
bool shki_blocks_are(const struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/*
 * Take n consecutive blocks, none of which has memory yet. `hint`: where the caller writes down,
 * before it takes them, which ones it is about to take. A caller that was killed is continued by
 * the same call with the same word and the same hint.
 * Returns 0, -ENOSPC, or what the segment's lock gives.
 */
int shki_pool_allocate(struct shk_segment *, uint32_t n, uint64_t word, _Atomic uint32_t *hint);

/*
 * Give back those of the n blocks from `block` on that still have that word, and their memory.
 * Killed in it: to be called once more with the same arguments, even if some of the blocks are
 * taken by others by then.
 */
void shki_pool_free(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/*
 * Let the n blocks from `block` on, which are the caller's, have another word, the first one last.
 * Killed in it: to be called once more.
 */
void shki_block_rename(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/* ---- Under the segment's lock ---- */

/*
 * Whether n consecutive blocks are free, or could be made so above `top`, where the heap is to end:
 * 0 or -ENOSPC with a sentence.
 */
int shki_pool_reserve(struct shk_segment *, uint32_t n, uint64_t top);

/*
 * Give free blocks at the floor to the heap, so that it ends at `end` or higher. False if they are
 * taken.
 */
bool shki_pool_shrink(struct shk_segment *, uint64_t end);

/*
 * By the keeper of an entry, with or without the lock: its object is gone, and so are its blocks,
 * and their memory. Killed in it: to be called once more.
 */
void shki_pool_reclaim(struct shk_segment *, uint32_t entry);

/* After a death under the lock: finish a move of the floor. */
void shki_pool_repair(struct shk_segment *);

#endif
