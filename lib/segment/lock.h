/*
 * The segment's lock, and the repair of what a dead holder left. It protects the directory, joins
 * and retirement, and is held for microseconds.
 */
#ifndef SHKI_SEGMENT_LOCK_H
#define SHKI_SEGMENT_LOCK_H

#include "segment/map.h"

/*
 * Acquire the lock, waiting at most 10 s: 0, -EBUSY; -ESTALE if the segment is retired. Repairs
 * what a dead holder left.
 */
int shki_segment_lock(struct shk_segment *);
/* The same, of a segment that may be retired. */
int shki_segment_lock_in_any_state(struct shk_segment *);
/* The same, waiting at most that long, without a sentence. */
int shki_segment_lock_within(struct shk_segment *, int64_t limit);
/* Whether the calling thread has it. */
bool shki_segment_lock_is_mine(const struct shk_segment *);
void shki_segment_unlock(struct shk_segment *);

#endif
