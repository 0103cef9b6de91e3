/*
 * Leaders and followers: of the waiters that sleep at one place, at most two, of different
 * processes, recheck each 100 ms whether a death has left something undone there; the others do so
 * after ever longer intervals. So a place with many idle waiters costs no more wake-ups than one
 * with two.
 *
 * Source: Schmidt, Stal, Rohnert, Buschmann, Pattern-Oriented Software Architecture 2 (2000),
 * "Leader/Followers".
 *
 *     waiter, before each sleep                     leader, when its wait ends
 *     LF1: followers++                              LF2: leaders[i] = 0
 *     LF2: a leader is missing? then lead,          LF1: followers > 0? then wake one, which
 *          and followers--                               takes over
 *     sleep: a leader 100 ms, a follower longer
 *
 * All four are sequentially consistent: either the follower finds the place free, or the leader
 * finds the follower. If the follower read the places before it was counted, both could miss each
 * other, and the place would have no leader.
 *
 * The two leaders are of different processes, since the threads of a process die together: what a
 * leader's death leaves is the other leader's to find. If all waiters are of one process there is
 * one leader. A waiter begins to follow when it has slept for some recheck intervals: busy places
 * have neither role.
 *
 * In a waitlist the notifier wakes leaders last. Killed before it has woken all that it has
 * released, it leaves a leader asleep, which finds out at the end of its interval and wakes the
 * others.
 *
 * Killed anywhere in here: a dead leader, which the next waiter that sleeps replaces; or a follower
 * that is counted for ever, which costs a needless wake-up now and then.
 */
#ifndef SHKI_LEADER_H
#define SHKI_LEADER_H

#include "base/deadline.h"
#include "segment/member.h"

/* What a thread is during one wait. Zero, but for the first four. */
struct shki_role {
    const struct shk_segment *segment;
    const struct shki_member *member;
    _Atomic uint64_t *leaders; /* ids of two members, 0: none */
    _Atomic uint32_t *followers;
    unsigned rechecks; /* intervals slept to their end */
    bool leads, follows;
};

/* How long to sleep now, in ns, if nothing wakes the thread. */
int64_t shki_role_interval(struct shki_role *, const struct shki_deadline *);

/* The wait is over. True: the caller has led, and must wake a waiter, which takes over. */
bool shki_role_end(struct shki_role *);

/* The process of a leader that is alive; 0: there is none. */
int32_t shki_role_process(const struct shki_role *);

#endif
