/*
 * Lists of chunks: where a queue keeps items at their length. A chunk is a block of the segment's
 * pool; in a size class of a PRIORITY queue it may be several consecutive blocks.
 *
 *     map of a list     | 7 | 3 | 9 | …      chunk c begins at block map[c % chunks]
 *     blocks' words     block 7: this queue, this list, chunk 0
 *
 * What always holds: the words of the blocks are the truth. The map, which is written before a
 * block is taken, says where to find them. So to take chunk c is one call, which the next member
 * with the lock may make again if the first one was killed in it: shki_pool_take() finds what has
 * been taken for c. Likewise shki_list_give().
 *
 * What is longer than a chunk lies in a run: chunks whose numbers and whose blocks are consecutive.
 * The blocks of a run are taken one by one, from the first, each for its own chunk. A killed
 * producer leaves some of them with the words of chunks that the list does not have yet. They are
 * found by the map when these chunks are taken, alone or as a run.
 *
 * A FIFO queue's chunks are numbered without end (chunks.c). The other orders' lists grow and
 * shrink at their end:
 *
 *     bytes   0 ........................ memory ........ chunks * size of a chunk
 *             used, or spare: has memory  address space only
 *
 * All of it is written with the put lock; a FIFO queue's chunks are given back with the get lock.
 */
#ifndef SHKI_CHUNK_LIST_H
#define SHKI_CHUNK_LIST_H

#include "queue/handle.h"
#include "segment/pool.h"

/* A chunk whose number is below `chunks`, wherever damaged bytes say that it is. */
static inline __attribute__((always_inline)) unsigned char *
shki_list_at(const struct shk_queue *q, const struct shki_list *list, uint64_t chunk)
{
    /* the lock orders it */
    uint32_t block = load_relaxed(&list->map[chunk]);

    return q->object.segment->base +
           (uint64_t)(block <= list->last_block ? block : list->last_block) * SHKI_BLOCK;
}

/*
 * Blocks for a chunk; and back, with their memory. Killed in either: to be called once more.
 * `prepare`: shki_list_has() may be asked.
 */
int shki_list_prepare(struct shk_queue *, struct shki_list *, uint64_t chunk);
int shki_list_take(struct shk_queue *, struct shki_list *, uint64_t chunk);
void shki_list_give(struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* Blocks for a run of n chunks from `chunk` on. Killed in it: to be called once more. */
int shki_list_take_run(struct shk_queue *, struct shki_list *, uint64_t chunk, uint32_t n);
/* How many of the n chunks from `chunk` on, which the list has, are a run. */
uint32_t shki_list_run(const struct shk_queue *, const struct shki_list *, uint64_t chunk,
                       uint64_t n);
/* Whether it has blocks. */
bool shki_list_has(const struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* A chunk of one block becomes another one. */
int shki_list_rename(struct shk_queue *, struct shki_list *, uint64_t chunk, uint64_t to);
/* Where it is; NULL: damaged. */
unsigned char *shki_list_find(const struct shk_queue *, const struct shki_list *, uint64_t chunk);
/* Memory for these bytes of the list, which have blocks; and back. */
int shki_list_allocate(struct shk_queue *, const struct shki_list *, uint64_t from, uint64_t to);
void shki_list_punch(struct shk_queue *, const struct shki_list *, uint64_t from, uint64_t to);

/* ---- Not FIFO ---- */

/* Have memory for the first so many bytes: 1 or an error. */
int shki_list_grow(struct shk_queue *, struct shki_list *, uint64_t bytes);
/* The same, and the chunks from `chunk` on, in which nothing is, become a run. */
int shki_list_grow_run(struct shk_queue *, struct shki_list *, uint64_t chunk, uint64_t bytes);
/* Only so many are used any more. */
void shki_list_shrink(struct shk_queue *, struct shki_list *, uint64_t bytes);
/* After a death with the lock. */
void shki_list_repair(struct shk_queue *, struct shki_list *);

/* Whether it has memory for so many bytes, and need not grow. */
static inline bool shki_list_reaches(const struct shki_list *list, uint64_t bytes)
{
    return bytes <= list->shared->memory && bytes <= list->shared->chunks << list->shift;
}

/* Whether it has more to spare than it keeps. */
static inline bool shki_list_is_long(const struct shki_list *list, uint64_t bytes)
{
    return list->shared->memory > bytes + 2 * list->spare;
}

/*
 * Where memory for a list is to end that needs it up to `end` and has so many bytes in use: it gets
 * as much ahead as it uses, so that few items take little memory, and at most a piece.
 */
static inline uint64_t shki_list_memory(uint64_t end, uint64_t used, uint64_t piece)
{
    return shki_round_up(end + (used < piece ? used : piece), SHKI_PAGE);
}

/* ---- PRIORITY: size classes ---- */

/* The class of an item of that length, from 0; and the bytes of that class's slots. */
unsigned shki_size_class(size_t length);
uint64_t shki_class_slot(unsigned class);
/* Of `lists` lists: the bytes of a slot of list i, from 1, if the largest item has so many. */
uint64_t shki_list_slot(uint64_t lists, uint64_t i, uint64_t item_size);

/* The largest item that may be put, in a segment of so many blocks. */
static inline uint64_t shki_list_item_most(uint64_t item_size, uint64_t capacity_bytes,
                                           uint64_t blocks)
{
    uint64_t most = blocks * SHKI_BLOCK;

    if (capacity_bytes > 0 && capacity_bytes < most)
        most = capacity_bytes;
    return item_size < most ? item_size : most;
}

#endif
