/*
 * Lists of chunks: where a queue without a limit keeps its items. A chunk is one or several
 * consecutive blocks of the segment's pool.
 *
 *     map of a list     | 7 | 3 | 9 | …      chunk c begins at block map[c % chunks]
 *     blocks' words     block 7: this queue, this list, chunk 0
 *
 * What always holds: the words of the blocks are the truth. The map, which is written before a
 * block is taken, says where to find them. So to take chunk c is one call, which the next member
 * with the lock may make again if the first one was killed in it: shki_pool_take() finds what has
 * been taken for c. Likewise shki_list_give().
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

/* ---- PRIORITY: size classes ---- */

/* The class of an item of that length, from 0; and the bytes of that class's slots. */
unsigned shki_size_class(size_t length);
uint64_t shki_class_slot(unsigned class);
/* Of `lists` lists: the bytes of a slot of list i, from 1, if the largest item has so many. */
uint64_t shki_list_slot(uint64_t lists, uint64_t i, uint64_t item_size);

#endif
