/*
 * What ends a wait without success: a deadline, an interrupt flag or call, the close of the segment
 * in this process. A waiter sleeps for a recheck interval at a time.
 */
#ifndef SHKI_DEADLINE_H
#define SHKI_DEADLINE_H

#include "base/atomic.h"
#include "base/hooks.h"

#include <shmkit/common.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

/*
 * The recheck interval, in ns. A waiter sleeps so long at most, and then finds what a death has
 * left half done. Longer sleep a follower (sync/leader.h) and a waiter for a mutex
 * (SHKI_DOUBLINGS).
 */
#ifdef SHKI_TEST_HOOKS
#define SHKI_RECHECK shki_test_recheck
#else
#define SHKI_RECHECK SHK_MS(100)
#endif

/* Where the tests have switched the recheck off: longer than any of them waits. */
#define SHKI_NO_RECHECK SHK_SEC(3600)

#define SHKI_NEVER INT64_MAX

/* A thread's interrupt call, see shk_set_interrupt_call(). Touched by that thread alone. */
struct shki_interrupt_call {
    int (*check)(void *arg); /* NULL: none */
    void *arg;
    bool running;     /* the thread is in check(): what it calls from there must not wait */
    bool interrupted; /* the wait has to end: check() has said so */
};

/*
 * How often a segment is open in this process, and how often it was closed for good. Relaxed: a
 * waiter finds out a recheck interval later.
 */
struct shki_openness {
    _Atomic unsigned opens, closes;
};

struct shki_deadline {
    int64_t at;      /* in nanoseconds of CLOCK_MONOTONIC, SHKI_NEVER */
    int64_t timeout; /* as it was given */
    const volatile sig_atomic_t *interrupt;
    struct shki_interrupt_call *call;     /* NULL: none */
    const struct shki_openness *openness; /* NULL: the wait has nothing to do with that */
    unsigned closes;                      /* … when the wait began */
    bool nowait;
    bool is_recheck; /* the caller rechecks at its end: no recheck is needed before */
    bool nested;     /* the caller is an interrupt call */
    const char *segment, *object, *state; /* for the sentence, see struct shki_unmet */
};

int64_t shki_now(void);

/*
 * Made when a call begins to wait: calls that need not wait read no clock. The time of a negative
 * timeout is over already: the call tries once, and then gives -ETIMEDOUT.
 */
struct shki_deadline shki_deadline(int64_t timeout, const volatile sig_atomic_t *interrupt);

/*
 * 0: go on waiting; -EAGAIN, -ETIMEDOUT, -EINTR; -EBADF: closed; -EDEADLK: an interrupt call has to
 * wait.
 */
int shki_deadline_check(const struct shki_deadline *);

/* The same question, without a sentence about it: the call may still succeed. */
bool shki_deadline_has_passed(const struct shki_deadline *);

/*
 * After a sleep that a signal or the end of a recheck interval has ended: calls the interrupt call.
 * No lock is held.
 */
void shki_deadline_slept(const struct shki_deadline *);

/*
 * When a sleep that begins now ends: after `interval` at the latest, and never after the deadline.
 */
struct timespec shki_deadline_recheck_at(const struct shki_deadline *, int64_t interval);

/*
 * How long to sleep before the next recheck, ns: a waiter for which nothing changes wakes ever more
 * seldom. `quiet`: rechecks in a row that have found no change. SHKI_RECHECK for the first of them;
 * then doubled each time, `doublings` times at most. A thread with an interrupt flag or call may
 * find its interrupt at a recheck only, so its interval grows less.
 */
#define SHKI_QUIET_RECHECKS      3
#define SHKI_DOUBLINGS           3 /* 0.8 s, where no leader checks on behalf of the others */
#define SHKI_INTERRUPT_DOUBLINGS 2 /* 0.4 s: a person that presses Ctrl-C does not wait longer */
int64_t shki_recheck_interval(const struct shki_deadline *, unsigned quiet, unsigned doublings);

/* The same deadline, but such an interval from now at the latest. */
struct shki_deadline shki_deadline_within_recheck(const struct shki_deadline *, unsigned quiet);

#endif
