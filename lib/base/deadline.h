/*
 * What ends a wait in vain: a deadline, an interrupt flag or call, the close of the segment in this
 * process. A wait is cut into slices, so that no sleep goes unchecked for long.
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
 * No sleep is longer than this; whatever a death has left half done, a sleeper finds it after that
 * time at the latest.
 */
#ifdef SHKI_TEST_HOOKS
#define SHKI_RECHECK shki_test_recheck
#else
#define SHKI_RECHECK SHK_MS(100)
#endif

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
 * waiter finds out a slice later.
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
    bool nested;                          /* the caller is an interrupt call */
    const char *segment, *object, *state; /* for the sentence, see struct shki_unmet */
};

int64_t shki_now(void);

/*
 * Patience begins when it is needed: no clock is read in calls that need not wait. The time of a
 * negative timeout is over already: the call tries once, and then gives -ETIMEDOUT.
 */
struct shki_deadline shki_deadline(int64_t timeout, const volatile sig_atomic_t *interrupt);

/*
 * 0 if there is deadline left; -EAGAIN, -ETIMEDOUT, -EINTR; -EBADF: closed; -EDEADLK: an interrupt
 * call has to wait.
 */
int shki_deadline_check(const struct shki_deadline *);

/* The same question, without a sentence about it: the call may still succeed. */
bool shki_deadline_has_passed(const struct shki_deadline *);

/*
 * After a sleep that a signal or the end of a slice has ended: calls the interrupt call. No lock is
 * held.
 */
void shki_deadline_slept(const struct shki_deadline *);

/* When to look up again: after `slice` at the latest, and never after the deadline. */
struct timespec shki_deadline_recheck_at(const struct shki_deadline *, int64_t slice);

#endif
