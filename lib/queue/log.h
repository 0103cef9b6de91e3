/*
 * The chunks of a FIFO queue that grows: mapped by producers, released by consumers. What is in
 * them: chunks.c.
 *
 *     chunks    … | spare  spare | consumed … producers' | not mapped yet
 *                 recycled       released                mapped
 *
 * A producer maps the next chunk: it gives the oldest spare chunk's blocks the new chunk's number,
 * or takes blocks from the pool. One store commits that (CH3: `mapped`, and how many there are from
 * `recycled` on, in one word). A consumer gives a chunk that has been consumed back to the pool,
 * or, if there are few spare ones, leaves it to the producers: then it is spare. CH4, `released`,
 * says that no consumer touches it any more: a release, which pairs with the acquire of the
 * producer that recycles it. So in a steady flow no memory is given back and taken all the time.
 *
 * A run is taken from the pool, and all spare chunks go back to it before: their numbers would
 * otherwise fall behind for ever. A chunk gets memory as far as it is written, and as much ahead as
 * the queue has at that moment. That is noted for one row of chunks only, those that the producers
 * are in; a producer that goes to other ones, or back, has their memory given once more.
 */
#ifndef SHKI_LOG_H
#define SHKI_LOG_H

#include "queue/chunk_list.h"

static inline __attribute__((always_inline)) struct shki_list *
shki_log_of(const struct shk_queue *q)
{
    return &q->lists[0];
}

/* How many chunks have been mapped so far, as put_lock.chunks says. */
static inline uint64_t shki_log_mapped(uint64_t memory)
{
    return memory >> SHKI_NOT_RECYCLED_BITS;
}

/* ---- With the put lock ---- */

/*
 * Blocks for one more chunk, or for a run of n: 0; 1: it was a spare chunk, which has memory; or an
 * error. Killed in it: to be called once more, with any n.
 */
int shki_log_map(struct shk_queue *, uint32_t n);
/* In chunks that are mapped: memory from `at` on, or from where it ends already, to `to`. */
int shki_log_give_memory(struct shk_queue *, uint64_t at, uint64_t to);
/* Likewise: up to `end`, and some ahead. */
int shki_log_need_memory(struct shk_queue *, uint64_t at, uint64_t end);

/* ---- With the get lock ---- */

/*
 * What lies before a place has been consumed. Killed anywhere in it: done once more by the next
 * member with the lock.
 */
void shki_log_give_back(struct shk_queue *, uint64_t at);

#endif
