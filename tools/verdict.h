/*
 * Which member waits for which, and whether that can end.
 *
 * A member is able if it lives and does not wait, or waits and an able member can wake it, or has a
 * deadline.
 *   deadlocked   the holder of the lock that it waits for, that one's, and so on come back to one
 *                of them: a circle, which deadlines may end one day, or not
 *   stranded     not able, and the member that would have woken it is known to have died; or the
 *                holder of its lock is stranded. Where there are producers or consumers by role,
 *                the last of them
 *   stalled      able only if a process goes on that does not run: stopped, traced, frozen, or in
 *                disk sleep
 *   waiting      all else. If it is not able, nothing is attached at the moment that could wake it;
 *                but a program may come that does: shell commands are members for the moment of a
 *                put
 *
 * What could wake it: the holder of a lock, or any of the processes that have permits of a
 * semaphore with owners; for all else an able member of the segment, if the
 * object is open in other processes than those that are stuck on it.
 *
 * A holder may wait for a child, as 'shmctl lock' for its command. Then the members among the
 * child's descendants count as the holder's: it waits for those, if all processes below it are
 * blocked members or wait for such. So the circle that two scripts make of nested commands is seen,
 * whatever shells stand between.
 *
 * The holder may be the process that holds a lock by a descriptor of a script (hold.h). Then the
 * processes that have that descriptor open are what it waits for, as for a child.
 *
 * One snapshot may show two states that were never together: one member is woken, another falls
 * asleep. So it takes two. What both show, with the first wait still going on in the second, was so
 * all the time in between; what else sleeps counts as able.
 */
#ifndef SHMCTL_VERDICT_H
#define SHMCTL_VERDICT_H

#include "common.h"
#include "descriptor.h"
#include "process.h"

/* From good to bad. */
enum verdict {
    VERDICT_AWAKE,
    VERDICT_WAITING,
    VERDICT_STALLED,
    VERDICT_STRANDED,
    VERDICT_DEADLOCKED
};

/* A thread, which may be a member of several segments. */
struct thread {
    uint64_t pid_namespace;
    int32_t pid, tid;
    /* where it waits; if it does not, any of its records */
    const struct shk_member_info *member;
    const struct shk_snapshot *snapshot; /* in which that is */
    struct thread **by_member; /* the threads of that snapshot, in its order; NULL: dead */
    const struct shk_object_info *object; /* that it waits on; NULL: none, or it has been removed */
    struct thread *holder;                /* of the lock that it waits for; NULL: none */
    struct thread *command;               /* one of the following; NULL: none */
    /*
     * the blocked members among the descendants that it waits for; or the members of the processes
     * that have permits of the semaphore with owners that it waits for, of which the holder is one
     */
    struct thread **leaves;
    size_t n_leaves;
    size_t owners;         /* of permits that it waits for: processes */
    bool owners_are_known; /* all of them, and all of their threads are members */
    /* a process that holds a lock by a descriptor: the script that has it; pid 0: not known */
    struct opener script;
    bool is_command_itself; /* the command is its child, and not a child's child */
    /* a descendant that it waits for, and that is stopped; pid 0: none */
    struct process stopped;
    uint64_t tree_switches; /* of its descendants that are no members */
    enum activity activity; /* what /proc says */
    uint64_t switches;
    bool settled; /* its wait may be taken for lasting */
    bool stalled; /* it, or what it waits for, does not run */
    bool able;    /* even those that are stalled counting as able */
    bool moves;   /* able without them */
    /* 0: its holders and commands all lead into circles; else, how many steps lead out of them */
    size_t escapes;
    enum verdict verdict;
    bool in_circle;
};

struct world {
    struct shk_snapshot **snapshots;
    struct thread *threads; /* by namespace, pid and tid */
    size_t n;
    struct thread **by_member; /* one a member of each snapshot */
    uint64_t here;             /* the pid namespace of this process; 0: /proc has not been asked */
    struct processes processes;
};

/*
 * Take a snapshot of all segments, or two if need be, and judge. on_etcd: a segment there, too, or
 * all of them ("etcd:"); NULL: none. Returns 0, or an error, for snapshots_failed(). The world is
 * to be given back in any case.
 */
int judge_world(struct world *, const char *on_etcd);
void drop_world(struct world *);

/* Whether it waits for permits that belong to processes. */
bool waits_for_owners(const struct thread *);

/*
 * Find the scripts of the processes that hold locks by descriptors, which is done already if a
 * member waits. With world.processes.
 */
void find_scripts(struct world *);

/* The one that it waits for: the holder of a lock, or the command. */
struct thread *next_in_chain(const struct thread *);

/* What could wake this one: the next from *at on, which is to be 0 at first; NULL: no more. */
const struct thread *possible_waker(const struct world *, const struct thread *, size_t *at);

/*
 * What has become of those by role that would wake it (enum shk_line_state): the producers of what
 * it waits to get, the consumers of what it waits to put.
 */
uint32_t line_of_wakers(const struct thread *);

/* The dead member that would have woken this one, which is no link of a chain; 0: none is known. */
uint64_t lost_waker(const struct thread *);

#endif
