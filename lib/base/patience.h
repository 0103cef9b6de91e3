/* How long a call may wait: a deadline, a flag that interrupts it, and slices, so that no sleep goes unchecked for long. */
#ifndef SHKI_PATIENCE_H
#define SHKI_PATIENCE_H

#include "base/hooks.h"

#include <shmkit/common.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

/* No sleep is longer than this; whatever a death has left half done, a sleeper finds it after that time at the latest. */
#ifdef SHKI_TEST_HOOKS
#define SHKI_SLICE shki_test_slice
#else
#define SHKI_SLICE SHK_MS(100)
#endif

#define SHKI_NEVER INT64_MAX

struct shki_patience {
    int64_t deadline; /* in nanoseconds of CLOCK_MONOTONIC, SHKI_NEVER */
    const volatile sig_atomic_t *interrupt;
    bool nowait;
};

int64_t shki_now(void);

/*
 * Patience begins when it is needed: no clock is read in calls that need not wait. The time of a negative timeout is
 * over already: the call tries once, and then gives -ETIMEDOUT.
 */
struct shki_patience shki_patience(int64_t timeout, const volatile sig_atomic_t *interrupt);

/* 0 if there is patience left; -EAGAIN, -ETIMEDOUT or -EINTR. */
int shki_patience_over(const struct shki_patience *);

/* The same question, without a sentence about it: the call may still succeed. */
bool shki_patience_is_over(const struct shki_patience *);

/* When to look up again: after `slice` at the latest, and never after the deadline. */
struct timespec shki_patience_slice(const struct shki_patience *, int64_t slice);

#endif
