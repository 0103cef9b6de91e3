/*
 * The pool: blocks of memory at the end of a segment, for what has no limit of its own. It grows
 * towards the heap when it has no free blocks left. The table of blocks: blocks.h.
 */
#ifndef SHKI_POOL_H
#define SHKI_POOL_H

#include "segment/blocks.h"

/*
 * n consecutive blocks that are free at that moment, of which *block is the first. The pool grows
 * if there are none. Returns 0, -ENOSPC, or what the segment's lock gives.
 */
int shki_pool_find(struct shk_segment *, uint32_t n, uint32_t *block);

/*
 * Take n consecutive blocks, whose memory is not allocated yet. The number of the first one is
 * written to `hint` before they are taken. A caller that was killed is continued by the same call
 * with the same word and the same hint. Returns 0, -ENOSPC, or what the segment's lock gives.
 */
int shki_pool_allocate(struct shk_segment *, uint32_t n, uint64_t word, _Atomic uint32_t *hint);

/*
 * Free those of the n blocks from `block` on that still have that word, and their memory. Killed in
 * it: to be called once more with the same arguments, even if other members have taken some of the
 * blocks by then.
 */
void shki_pool_free(struct shk_segment *, uint32_t block, uint32_t n, uint64_t word);

#endif
