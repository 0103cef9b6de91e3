#include "base/deadline.h"

#include "base/error.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)

int64_t shki_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t add(int64_t a, int64_t b)
{
    return b > INT64_MAX - a ? SHKI_NEVER : a + b;
}

struct shki_deadline shki_deadline(int64_t timeout, const volatile sig_atomic_t *interrupt)
{
    struct shki_deadline p = {.at = SHKI_NEVER,
                              .timeout = timeout,
                              .interrupt = interrupt,
                              .nowait = timeout == SHK_NOWAIT};

    if (timeout > 0)
        p.at = add(shki_now(), timeout); /* SHK_FOREVER, too, comes to SHKI_NEVER */
    else if (timeout < 0)
        p.at = 0;
    return p;
}

static bool is_interrupted(const struct shki_deadline *p)
{
    /*
     * Atomic, since another thread may set it as well as a handler; relaxed, since nothing else is
     * read by it.
     */
    return (p->interrupt && load_relaxed((const volatile _Atomic sig_atomic_t *)p->interrupt)) ||
           (p->call && p->call->interrupted);
}

static bool is_closed(const struct shki_deadline *p)
{
    const struct shki_openness *o = p->openness;

    return o && (load_relaxed(&o->opens) == 0 || load_relaxed(&o->closes) != p->closes);
}

static bool is_past(int64_t deadline)
{
    return deadline != SHKI_NEVER && shki_now() >= deadline;
}

int shki_deadline_check(const struct shki_deadline *p)
{
    struct shki_unmet unmet = {p->segment, p->object, p->state, 0};

    if (p->nowait)
        return shki_say_unmet(-EAGAIN, &unmet);
    if (is_closed(p)) {
        unmet.object = NULL;
        unmet.state = "it has been closed in this process";
        return shki_say_unmet(-EBADF, &unmet);
    }
    if (is_interrupted(p)) {
        unmet.state = "the wait was interrupted";
        return shki_say_unmet(-EINTR, &unmet);
    }
    if (is_past(p->at)) {
        unmet.timeout = p->timeout;
        return shki_say_unmet(-ETIMEDOUT, &unmet);
    }
    if (p->nested) {
        unmet.state = "an interrupt call must not wait";
        return shki_say_unmet(-EDEADLK, &unmet);
    }
    return 0;
}

void shki_deadline_slept(const struct shki_deadline *p)
{
    struct shki_interrupt_call *call = p->call;
    struct shki_saved_error saved;

    if (call == NULL || call->check == NULL || call->running)
        return;
    shki_error_save(&saved);
    call->running = true;
    if (call->check(call->arg) != 0)
        call->interrupted = true;
    call->running = false;
    shki_error_settle(0, &saved);
}

bool shki_deadline_has_passed(const struct shki_deadline *p)
{
    return p->nowait || p->nested || is_closed(p) || is_interrupted(p) || is_past(p->at);
}

struct timespec shki_deadline_recheck_at(const struct shki_deadline *p, int64_t interval)
{
    int64_t at = add(shki_now(), interval);

    if (at > p->at)
        at = p->at;
    return (struct timespec){.tv_sec = at / SECOND, .tv_nsec = at % SECOND};
}

int64_t shki_recheck_interval(const struct shki_deadline *p, unsigned quiet, unsigned doublings)
{
    unsigned more = quiet < SHKI_QUIET_RECHECKS ? 0 : quiet - SHKI_QUIET_RECHECKS + 1;

    if ((p->interrupt || p->call) && doublings > SHKI_INTERRUPT_DOUBLINGS)
        doublings = SHKI_INTERRUPT_DOUBLINGS;
    return SHKI_RECHECK << (more < doublings ? more : doublings);
}

struct shki_deadline shki_deadline_within_recheck(const struct shki_deadline *p, unsigned quiet)
{
    struct shki_deadline within = *p;
    int64_t end = add(shki_now(), shki_recheck_interval(p, quiet, SHKI_DOUBLINGS));

    if (within.at > end && shki_repair_enabled(SHKI_REPAIR_BACKSTOP))
        within.at = end;
    within.is_recheck = true;
    return within;
}
