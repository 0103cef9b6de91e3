/*
 * The table of blocks. Heap and pool share the segment's address space: extents are allocated from
 * the bottom, blocks from the top. The floor, where the two meet, moves with what is needed.
 *
 *     | tables | heap: extents →            floor            ← pool: blocks |
 *                                              0 0 0 free taken free taken    block words
 *
 * Each block has a word in the table, which is the truth about it:
 *
 *     0                    the block is the heap's
 *     SHKI_BLOCK_FREE      it is the pool's
 *     else                 it is part `number` of list `list` of the object at entry `entry`
 *
 * One atomic operation on its word takes a block, and one frees it, without a lock. The word says
 * what the block was taken for. So a process that is killed with some of its blocks taken, or
 * freed, leaves words from which its successor sees how far it came; and the blocks of an object
 * that is gone are found.
 *
 *     PB1: the word of a block. A release frees a block or gives it a new word, an exchange takes
 *          it; both pair with the acquire of the next member that reads the word, so that member
 *          sees the block's memory punched.
 *     PB2: the floor. Moved under the segment's lock. The release pairs with the acquire of each
 *          reader: the words above the floor have memory. In another order a search would read, and
 *          an exchange write, words that are not allocated: SIGBUS in a full file system.
 */
#ifndef SHKI_BLOCKS_H
#define SHKI_BLOCKS_H

#include "segment/map.h"

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

/* Whether an entry's extent lies in the heap, whatever the bytes are. */
bool shki_heap_has(const struct shk_segment *, const struct shki_entry *);

/* Where the highest extent ends. Under the segment's lock. */
uint64_t shki_heap_top(struct shk_segment *);

/* The memory of a block whose number is below the limit. */
static inline unsigned char *shki_block_at(const struct shk_segment *s, uint32_t block)
{
    return s->base + (uint64_t)block * SHKI_BLOCK;
}

/* Whether the n blocks from `block` on are the pool's: false for damaged bytes. */
bool shki_blocks_exist(const struct shk_segment *, uint32_t block, uint32_t n);

/* How many of the n blocks from `block` on, in a row, have that word. They exist. */
uint32_t shki_blocks_count(const struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/* Whether the n blocks from `block` on exist, and all have that word. */
bool shki_blocks_are(const struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/* The highest n consecutive free blocks that begin at `from` or below it; or SHKI_BLOCK_NONE. */
uint32_t shki_blocks_find(const struct shk_segment *, uint32_t n, uint32_t from);

/*
 * Take exactly these blocks, as far as they do not have the word already. False, with none of them
 * taken, if one is another's.
 */
bool shki_blocks_claim(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/* Free those of these blocks that have the word, the last first. Their memory has been punched. */
void shki_blocks_free(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/*
 * Give the n blocks from `block` on, which are the caller's, another word, the first one last.
 * Killed in it: to be called once more.
 */
void shki_block_rename(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

/* ---- Under the segment's lock ---- */

/*
 * Make sure that n consecutive blocks are free. The floor is lowered if need be, not below `top`,
 * where the heap is to end at least. 0 or -ENOSPC, -ENOMEM with a sentence.
 */
int shki_pool_reserve(struct shk_segment *, uint32_t n, uint64_t top);

/*
 * Give free blocks at the floor to the heap, so that it ends at `end` or above. False if they are
 * taken.
 */
bool shki_blocks_shrink(struct shk_segment *, uint64_t end);

/*
 * Free all blocks of the object at an entry, and their memory. By the entry's owner, which needs no
 * lock. Killed in it: to be called once more.
 */
void shki_blocks_reclaim(struct shk_segment *, uint32_t entry);

/* After a death under the lock: complete a move of the floor. */
void shki_blocks_repair(struct shk_segment *);

#endif
