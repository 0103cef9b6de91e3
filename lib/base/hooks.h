/*
 * Switches that turn single repair steps off, to show that the kill tests notice, and the length of
 * a slice. Only the library that the tests build for themselves (-DSHKI_TEST_HOOKS) has them;
 * elsewhere shki_repair_enabled() is the constant 1.
 */
#ifndef SHKI_HOOKS_H
#define SHKI_HOOKS_H

enum shki_repair {
    SHKI_REPAIR_BACKSTOP = 1 << 0, /* a sleeper looks at the truth again after each slice */
    /* a line of waiters is rebuilt after a death in the middle of a change */
    SHKI_REPAIR_REBUILD = 1 << 1,
    SHKI_REPAIR_FORWARD = 1 << 2,       /* a dead waiter's wake-up goes to the next */
    SHKI_REPAIR_OWNER_DIED = 1 << 3,    /* the mark that a lock's holder died is sticky */
    SHKI_REPAIR_FINISH_UNLINK = 1 << 4, /* a retired segment whose unlinker died loses its name */
    SHKI_REPAIR_CONSISTENT = 1 << 5,    /* a robust mutex whose holder died is made usable again */
    SHKI_REPAIR_REAP = 1 << 6,          /* the records of dead members are used again */
    /* a committed change of a queue whose author died is finished: PRIORITY; FIFO: the tail */
    SHKI_REPAIR_FINISH_QUEUE = 1 << 7,
    SHKI_REPAIR_UNMARKED = 1 << 8, /* a death that the kernel has not marked is found */
    SHKI_REPAIR_ALL = (1 << 9) - 1,
    /* the kernel gives memory through a mapping; see segment/memory.c */
    SHKI_POPULATE = 1 << 16
};

#ifdef SHKI_TEST_HOOKS
#include <stdint.h>
extern unsigned shki_test_disable; /* a set of the above; defined in robust.c */
/* ns: a short one makes what is done once a slice happen all the time */
extern int64_t shki_test_recheck;
/* queues without a limit, when opened: memory in pieces of a page, and none to spare */
extern unsigned shki_test_no_spare;
#define shki_repair_enabled(step) (!(shki_test_disable & (step)))
#else
#define shki_repair_enabled(step) 1
#endif

#endif
