/*
 * Park and unpark: put one member to sleep and wake exactly that one. It sleeps on a process-shared
 * semaphore in its record: of the primitives of libc the only one that survives a kill of either
 * side at every instruction.
 *
 * Source: park and permit of java.util.concurrent's LockSupport; here permits may accumulate.
 *
 * State, not permits, is the truth: a waiter that is unparked checks what it waits for, and sleeps
 * again if it was unparked for nothing. A waker that is killed inside shki_permits_post() may have
 * left a permit without waking the waiter, which finds out at the end of its recheck interval.
 */
#ifndef SHKI_PARK_H
#define SHKI_PARK_H

#include "segment/member.h"

/*
 * Sleep until unparked, a signal comes, or `until` (CLOCK_MONOTONIC). True: unparked. False: time
 * to check for deaths. A signal counts as the end of the interval. Otherwise a thread that gets one
 * every few milliseconds would never check.
 */
bool shki_park(struct shki_member *, const struct timespec *until);

void shki_unpark(struct shk_segment *, uint32_t member_index);

/*
 * Unpark the members that the calling thread has released while it held the lock that they want. It
 * has unlocked that now.
 */
void shki_unpark_listed(struct shki_member *) __attribute__((cold));
static inline void shki_unpark_released(struct shki_member *m)
{
    if (unlikely(m->n_to_unpark > 0))
        shki_unpark_listed(m);
}

/* Sleep on another process-shared semaphore with the same rules. */
bool shki_sleep_on(sem_t *, const struct timespec *until);

/*
 * Take the permits that are there, before a waiter checks what it waits for and goes to sleep. A
 * waiter that was awake when it was released has left its permit behind; without this they add up,
 * and each ends a later sleep at once, for nothing.
 *
 *     waiter                                  waker
 *     take the permits                        change the state
 *     state has changed? then go on           post
 *     sleep
 *
 * A permit taken here was posted before, so the check that follows sees the change that it stands
 * for. In the other order the permit of a change that the check has missed would be taken, and the
 * waiter would sleep.
 */
void shki_take_permits(sem_t *);

/*
 * For many waiters that are all woken by one call (futex(2)): sleep at a word as long as its lower
 * half is that of `value`, until `until` at the latest. The waker has changed that half before. The
 * kernel compares and puts to sleep in one step, so no wake-up is missed. A waker killed before it
 * wakes them: they find out at the end of their recheck interval. False: a signal came, or the time
 * is over.
 */
bool shki_sleep_at(_Atomic uint64_t *, uint64_t value, const struct timespec *until);
void shki_wake_all_at(_Atomic uint64_t *);

/*
 * Sleep at a word, as shki_sleep_at(), and beside a member that is to change it: the death of that
 * member ends the sleep, too. Of several threads that sleep beside one member the kernel wakes one
 * at the death, which has to wake the others. Before Linux 5.16 (futex_waitv(2)), and where the
 * call is forbidden, the sleep ends after BESIDE_RECHECK instead. True: the word may have changed,
 * or the member is dead.
 *
 * The kernel wakes for a robust mutex that says that a thread waits for it: the sleeper sets
 * FUTEX_WAITERS in the member's `life`, as a thread that locks it would. Killed after: the kernel
 * wakes a waiter that is not there.
 */
bool shki_sleep_beside(struct shk_segment *, uint64_t member, _Atomic uint64_t *word,
                       uint64_t value, const struct timespec *until);

#endif
