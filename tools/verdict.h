/*
 * Who waits for whom, and whether it can end.
 *
 * A member is able if it lives and does not sleep, or sleeps and somebody able can wake it, or has a deadline.
 *   deadlocked   the holder of the lock that it waits for, that one's, and so on come back to one of them: a circle, which
 *                deadlines may end one day, or not
 *   stranded     otherwise not able: no live member is left that could wake it, or the holder of its lock is stranded
 * Blocked is not deadlocked: the members of a circle wait for each other, the stranded for somebody who has gone.
 *
 * Who could wake it: the holder of a lock; for all else an able member of the segment, if the object is open in other
 * processes than those that are stuck on it. 'shmctl lock', which holds a lock while its command runs, waits for the command,
 * as long as that is a process of one thread: so the circle that two scripts make of nested commands is seen. (Of a shell
 * in between nobody knows what it waits for.)
 *
 * One look may show two states that were never together: somebody is woken, another falls asleep. So it takes two. What both
 * show, with the first wait still going on in the second, was so all the time in between; what else sleeps counts as able.
 */
#ifndef SHMCTL_VERDICT_H
#define SHMCTL_VERDICT_H

#include "common.h"

enum verdict { VERDICT_AWAKE, VERDICT_WAITING, VERDICT_STRANDED, VERDICT_DEADLOCKED };

/* A thread, which may be a member of several segments. */
struct thread {
    uint64_t pid_namespace;
    int32_t pid, tid;
    const struct shk_member_info
        *member;                     /* where it waits; if it does not, any of its memberships */
    const struct shk_snapshot *look; /* in which that is */
    struct thread **seats;           /* the threads of that look, in its order; NULL: dead */
    const struct shk_object_info *object; /* that it waits on; NULL: none, or it has been removed */
    struct thread *holder;                /* of the lock that it waits for; NULL: none */
    struct thread *command;               /* of 'shmctl lock': what it waits for; NULL: none */
    bool settled;                         /* its wait may be taken for lasting */
    enum verdict verdict;
    bool in_circle;
};

struct world {
    struct shk_snapshot **looks;
    struct thread *threads; /* by namespace, pid and tid */
    size_t n;
    struct thread **seats; /* one a member of each look */
};

/* Look at all segments, twice if need be, and judge. Returns an exit status; to be given back in any case. */
int look_at_world(struct world *);
void drop_world(struct world *);

/* Whom it waits for, if that is one: the holder of a lock, or the command. */
struct thread *next_in_chain(const struct thread *);

/* Who could wake this one: the next from *at on, which is to be 0 at first; NULL: nobody more. */
const struct thread *possible_waker(const struct world *, const struct thread *, size_t *at);

#endif
