/*
 * Switches that turn single repair steps off, to show that the kill tests notice, and the recheck
 * interval. Only the library that the tests build for themselves (-DSHKI_TEST_HOOKS) has them;
 * elsewhere shki_repair_enabled() is the constant 1.
 */
#ifndef SHKI_HOOKS_H
#define SHKI_HOOKS_H

enum shki_repair {
    SHKI_REPAIR_BACKSTOP = 1 << 0, /* a waiter checks again after each recheck interval */
    /* a waitlist is rebuilt after a death in the middle of a change */
    SHKI_REPAIR_REBUILD = 1 << 1,
    SHKI_REPAIR_FORWARD = 1 << 2,       /* a dead waiter's notification goes to the next */
    SHKI_REPAIR_OWNER_DIED = 1 << 3,    /* the mark that a lock's holder died is sticky */
    SHKI_REPAIR_FINISH_UNLINK = 1 << 4, /* a retired segment whose unlinker died loses its name */
    SHKI_REPAIR_CONSISTENT = 1 << 5,    /* a robust mutex whose holder died is made usable again */
    SHKI_REPAIR_REAP = 1 << 6,          /* the records of dead members are used again */
    /* what a dead member has committed in a queue is done: PRIORITY; FIFO: the tail */
    SHKI_REPAIR_FINISH_QUEUE = 1 << 7,
    SHKI_REPAIR_UNMARKED = 1 << 8, /* a death that the kernel has not marked is found */
    SHKI_REPAIR_ALL = (1 << 9) - 1,
    /* the kernel allocates through a mapping; see segment/memory.c */
    SHKI_POPULATE = 1 << 16
};

/*
 * The heuristics, each to be switched off to show what it brings: tests/bench/without.c says what.
 */
enum shki_policy {
    SHKI_POLICY_SPIN = 1 << 0,
    SHKI_POLICY_BACKOFF = 1 << 1,
    SHKI_POLICY_PROBE = 1 << 2,
    SHKI_POLICY_YIELD = 1 << 3,
    SHKI_POLICY_SPARED = 1 << 4,
    SHKI_POLICY_LOCK_FIRST = 1 << 5,
    SHKI_POLICY_PAUSES = 1 << 6,
    SHKI_POLICY_HANDOFF = 1 << 7,
    SHKI_POLICY_SLIP = 1 << 8,
    SHKI_POLICY_POLL = 1 << 9,
    SHKI_POLICY_TURN = 1 << 10,
    SHKI_POLICY_NEED_FENCE = 1 << 11,
    SHKI_POLICY_BIAS = 1 << 12,
    SHKI_POLICY_FETCH_PUT = 1 << 13,
    SHKI_POLICY_FETCH_GET = 1 << 14,
};

#ifdef SHKI_TEST_HOOKS
#include <stdint.h>
extern unsigned shki_test_disable; /* a set of the above; defined in robust.c */
/* ns: with a short one, what is done once a recheck interval happens all the time */
extern int64_t shki_test_recheck;
/* queues that grow, when opened: memory in pieces of a page, and none to spare */
extern unsigned shki_test_no_spare;
#define shki_repair_enabled(step) (!(shki_test_disable & (step)))
extern unsigned shki_test_without; /* a set of heuristics; defined in robust.c */
#define shki_policy(heuristic) (!(shki_test_without & (heuristic)))
#else
#define shki_repair_enabled(step) 1
#define shki_policy(heuristic)    1
#endif

#endif
