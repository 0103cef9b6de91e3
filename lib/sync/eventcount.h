/*
 * An eventcount: waiters sleep until a condition holds that other threads make true without a lock,
 * and a notifier that finds no waiter pays one load.
 *
 * Source: Reed and Kanodia, "Synchronization with Eventcounts and Sequencers" (CACM 1979); ck_ec of
 * Concurrency Kit; folly EventCount. The flag by which a notifier knows that it must make a system
 * call is NEED_WAKEUP, as in io_uring's rings.
 *
 * What always holds: if a waiter sleeps and its condition holds, then one of these is still to
 * come:
 *   - the flags are read by a notifier that has changed the condition;
 *   - the post of the notifier that has cleared NEED_WAKEUP, or its permit;
 *   - the cascade of the waiter that this post wakes;
 *   - the heavy fence of the waiter that has set NEED_FENCE, and then its cascade;
 *   - the end of the waiter's recheck interval, if a thread was killed.
 *
 * The loop to write:
 *
 *     waiter                                        notifier
 *     sleepers++                                    change the condition (with a release)
 *     do                                            EC1: light fence
 *       take the permits                            EC1: flags == 0? then done
 *       EC2: flags |= NEED_WAKEUP | NEED_FENCE      EC1: full fence
 *       EC1: heavy fence                            EC2: flags &= ~NEED_WAKEUP;
 *       condition holds? then stop                       was it set? then post once
 *       wait for the semaphore, for a recheck
 *         interval at most
 *     while the condition does not hold
 *     sleepers--
 *     ... use it ...
 *     has waited, and sleepers > 0? then EC2, EC1:
 *       condition holds? then notify
 *
 * Both sides store, fence and load (EC1), so either the waiter's check sees the change, or the
 * notifier sees the flag.
 *
 * One post wakes one waiter and leaves the flag clear. So permits do not accumulate, and a waiter
 * that has been through the loop, asleep or not, sets the flag again before it returns, on behalf
 * of the waiters still asleep, and notifies the next one if the condition holds (cascading
 * wake-up).
 *
 * The fences are asymmetric. The first waiter after a busy time pays for the heavy fence. Then
 * NEED_FENCE is set, and notifiers execute full fences, and waiters too, until one handle of a side
 * has committed QUIET_COMMITS times in a row without a waiter: then its notifier clears NEED_FENCE.
 * Where the segment is not asymmetric all of these fences are full ones, and NEED_FENCE is not
 * used.
 *
 * Why a full fence is enough for a waiter that finds NEED_FENCE set, though the waiter that has set
 * it may not have executed its heavy fence yet. A notifier may have read 0 before NEED_FENCE was
 * set, and its change may not be visible. The second waiter misses it, and sleeps. The first sees
 * the change after its heavy fence, and its cascade wakes the second if there is more than it
 * needs.
 *
 * A notifier may leave EC2 out, with the flag set, if it sees after EC1 that the condition does not
 * hold any more: a thread that is awake has used the change. Whatever makes the condition hold
 * again ends in a notify.
 *
 * There is no cancel. A flag that a waiter leaves set costs the next notifier one needless post.
 *
 * What another order would cause:
 *   - The condition checked before the flag is set, or no fence between them: a change between the
 *     two is seen by neither side, and the waiter sleeps.
 *   - The permits taken after the check: see shki_take_permits().
 *   - sleepers counted after the flag (EC2 is a release, and the clearing an acquire): the waiter
 *     that is woken does not see the next one, and the cascade ends.
 *
 * Killed where:
 *   - A waiter after EC2, asleep or not: a needless post.
 *   - A notifier after its change and before EC2, or between clearing the flag and the post; a
 *     waiter that was woken: another waiter finds out at the end of its recheck interval.
 *
 * The model: tests/model/eventcount.pml.
 */
#ifndef SHKI_EVENTCOUNT_H
#define SHKI_EVENTCOUNT_H

#include "base/deadline.h"
#include "base/fence.h"
#include "segment/member.h"
#include "sync/layout.h"

/* After a change: whether there may be a waiter, so that the notifier must notify. */
static inline __attribute__((always_inline)) bool
shki_eventcount_has_waiter(const struct shki_eventcount_shared *e, bool asymmetric)
{
    /*
     * EC1: the change before this load; pairs with the fence of a waiter, which is heavy unless
     * NEED_FENCE is read here
     */
    shki_fence_light(asymmetric);
    return unlikely(load_relaxed(&e->flags) != 0);
}

/*
 * Notify, if that said so. `quiet_commits`: of the calling side, private to the process.
 * `is_used_up`, if not NULL, is asked whether the waiter need not be woken, since a thread that is
 * awake has used the change. Returns the object's flags that it has cleared.
 */
uint32_t shki_eventcount_notify(struct shki_eventcount_shared *, bool asymmetric,
                                _Atomic uint32_t *quiet_commits, bool (*is_used_up)(void *arg),
                                void *arg);

/*
 * Clear all flags but NEED_FENCE, and post if a waiter needs it. Returns the object's flags that
 * were set.
 */
uint32_t shki_eventcount_wake_one(struct shki_eventcount_shared *);

/*
 * After a change: the same, and wake all waiters. Not by the cascade: the condition may change back
 * before the first waiter runs, which then would not notify the next.
 */
uint32_t shki_eventcount_wake_all(struct shki_eventcount_shared *, uint32_t sleepers_max);

/*
 * Post for each sleeper, but `first` of them that have been posted for; sleepers_max times at most,
 * whatever the bytes say. Those that wake check their condition.
 */
void shki_eventcount_post_all(struct shki_eventcount_shared *, uint32_t first,
                              uint32_t sleepers_max);

/*
 * Sleep until holds(arg), or the end of the deadline: 0 or -errno. At the end of each recheck
 * interval the dead of the segment are recovered, and then recheck(arg), if it is not NULL, finds
 * what a death has changed.
 */
int shki_eventcount_wait(struct shki_eventcount_shared *, struct shk_segment *,
                         const struct shki_member *, const struct shki_deadline *,
                         bool (*holds)(const void *arg), void (*recheck)(const void *arg),
                         const void *arg);

/*
 * By a waiter that has waited, asleep or not, when its call ends, with whatever result. Returns the
 * object's flags that it has cleared.
 */
uint32_t shki_eventcount_cascade(struct shki_eventcount_shared *, bool asymmetric,
                                 bool (*holds)(const void *arg), const void *arg);

#endif
