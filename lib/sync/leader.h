/*
 * Leaders and followers: of the threads that sleep at one place, two look each 100 ms whether a
 * death has left something undone there; the others look after ever longer slices. So many idle
 * sleepers wake no oftener than two.
 *
 *     sleeper, before each sleep                    leader, when its wait ends
 *     L7: followers++                               L8: leaders[i] = 0
 *     L8: a leader is missing? lead, followers--    L7: followers > 0? wake one, which takes over
 *     sleep: a leader 100 ms, a follower longer
 *
 * Both are sequentially consistent: either the follower finds the place free or the leader finds
 * the follower. The two leaders are of different processes where there are several, since threads
 * of one die together: what a leader's death leaves is the other's to find. A thread begins to
 * follow when it has slept for some slices: busy places know neither.
 *
 * The waker wakes leaders last. Killed before it has woken all that it has released, it leaves a
 * leader asleep, which finds out at the end of its slice and wakes the others. Killed anywhere in
 * here: a dead leader, which the next sleeper replaces; a follower counted for ever, which costs a
 * needless wake-up. Source: Schmidt, Stal, Rohnert, Buschmann, Pattern-Oriented Software
 * Architecture 2 (2000), "Leader/Followers".
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
    unsigned slices; /* slept to their end */
    bool leads, follows;
};

/* How long to sleep now. */
int64_t shki_role_interval(struct shki_role *, const struct shki_deadline *);

/* The wait is over. True: the caller has led, and must wake a sleeper, which takes over. */
bool shki_role_end(struct shki_role *);

/* The process of a leader that is alive; 0: there is none. */
int32_t shki_role_process(const struct shki_role *);

#endif
