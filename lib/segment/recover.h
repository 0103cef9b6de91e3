/*
 * Recovery from deaths that the kernel has not marked: see base/thread.h.
 *
 * A waiter checks once per SHKI_RECHECK, where time does not matter, and before it gives up. For a
 * member whose thread is gone it does what the kernel would have done, to each robust mutex of the
 * segment that bears the thread's id: the word becomes FUTEX_OWNER_DIED, FUTEX_WAITERS stays, one
 * waiter is woken. From there on it is a death like any other.
 *
 *     shki_park(m, &until);
 *     shki_recover(segment);      (at most two sweeps per SHKI_RECHECK for the whole segment)
 *     … check for dead owners, and which members are alive …
 *
 * A thread id that is used again does no harm:
 *   - Each holder of a mutex is a member, or holds the segment's lock in order to join.
 *   - A member's `life` is marked after all its other mutexes. As long as one of those is not
 *     marked, its record says which thread the id belonged to.
 *   - A thread that joins first recovers what a dead one left under the joining thread's own id.
 *   - All of that happens under the segment's lock, so no thread joins between check and mark. In
 *     another order a mutex of a living thread could be marked.
 *
 * The segment's lock itself has its holder's thread id and start time beside it. It is marked
 * without a lock: thread id and count of releases must be the same before and after the check.
 *
 * The kernel may mark the same mutexes at the same time. Both do so by an exchange of the thread
 * id, which succeeds once.
 *
 * Nothing is recovered where the pid namespace of the segment or of the caller is not known.
 */
#ifndef SHKI_RECOVER_H
#define SHKI_RECOVER_H

#include "segment/map.h"

/* Have waiters for the segment's mutexes recover them: for a segment that has just been mapped. */
void shki_recover_enable(struct shk_segment *);

/*
 * Check all members, unless that was done within half a SHKI_RECHECK. Takes the segment's lock if
 * one is gone.
 */
void shki_recover(struct shk_segment *);

/*
 * The same at once, under the segment's lock: whether there was anything to recover. `thoroughly`:
 * with a file of /proc for each member, which tells a thread id that is used again.
 */
bool shki_recover_locked(struct shk_segment *, bool thoroughly);

/* Check one member, whenever that was done before. */
void shki_recover_one(struct shk_segment *, uint64_t id);

/*
 * Under the segment's lock, before the calling thread joins: recover what a dead thread left under
 * the same thread id.
 */
void shki_recover_own_tid(struct shk_segment *);

/* For shki_mutex_lock(): check the holder of this mutex. */
void shki_recover_mutex(void *segment, struct shki_mutex *);

/*
 * Whether the holder of a mutex is gone; changes nothing. Cheap: a thread id that is used again
 * counts as its holder.
 */
bool shki_holder_is_gone(const struct shk_segment *, const struct shki_mutex *);

#endif
