/*
 * Recovery from deaths that the kernel has not marked: see base/thread.h.
 *
 * A waiter asks at the end of a slice, where time does not matter, and where it gives up. For a
 * member whose thread is gone it does what the kernel would have done, to each robust mutex of the
 * segment that bears the thread's number: FUTEX_OWNER_DIED in place of the number, FUTEX_WAITERS
 * stays, one waiter is woken. From there on it is a death like any other.
 *
 *     shki_park(m, &until);
 *     shki_recover(segment);      (at most one sweep in half a slice for the whole segment)
 *     … look at what is orphaned, and at which members are alive …
 *
 * Why a number that is used again does no harm. Each holder in a segment is a member, or holds the
 * segment's lock in order to join. A member's `life` is marked after all its other mutexes, so as
 * long as one of those is not marked, its record says which thread the number belonged to. A thread
 * that joins first recovers what a dead one has left under the joining thread's own number. All of
 * that is done under the segment's lock, so nothing joins between the question and the mark.
 *
 * The segment's lock itself has the number and the start time of its holder beside it. It is marked
 * without a lock: the number must be the same before and after the question, and so must be the
 * count of releases. The kernel may mark the same mutexes at the same time: both do so by an
 * exchange of the number, which succeeds once.
 *
 * Nothing is recovered where the pid namespace of the segment or of the caller is not known.
 */
#ifndef SHKI_RECOVER_H
#define SHKI_RECOVER_H

#include "segment/segment.h"

/*
 * Look at all members, unless that was done a moment ago. Takes the segment's lock if one is gone.
 */
void shki_recover(struct shk_segment *);

/*
 * The same at once, under the segment's lock: whether there was anything to recover. `thoroughly`:
 * with a file of /proc for each member, because of numbers that are used again.
 */
bool shki_recover_locked(struct shk_segment *, bool thoroughly);

/* Look at one member, whenever that was done before. */
void shki_recover_one(struct shk_segment *, uint64_t id);

/*
 * Under the segment's lock, before the calling thread joins: what has been left under its number.
 */
void shki_recover_own_tid(struct shk_segment *);

/* For shki_mutex_lock(): look at the holder of this mutex. */
void shki_recover_mutex(void *segment, struct shki_mutex *);

/*
 * Whether the holder of a mutex is gone, without doing anything about it. Cheap; not for numbers
 * used again.
 */
bool shki_holder_is_gone(const struct shk_segment *, const struct shki_mutex *);

#endif
