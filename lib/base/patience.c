#include "base/patience.h"

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

struct shki_patience shki_patience(int64_t timeout, const volatile sig_atomic_t *interrupt)
{
    struct shki_patience p = { .deadline = SHKI_NEVER, .interrupt = interrupt, .nowait = timeout == SHK_NOWAIT };

    if (timeout > 0)
        p.deadline = add(shki_now(), timeout); /* SHK_FOREVER, too, comes to SHKI_NEVER */
    else if (timeout < 0)
        p.deadline = 0;
    return p;
}

static bool is_interrupted(const struct shki_patience *p)
{
    /* Atomic, since another thread may set it as well as a handler; relaxed, since nothing else is read by it. */
    return p->interrupt && __atomic_load_n(p->interrupt, __ATOMIC_RELAXED);
}

static bool is_past(int64_t deadline)
{
    return deadline != SHKI_NEVER && shki_now() >= deadline;
}

int shki_patience_over(const struct shki_patience *p)
{
    if (p->nowait)
        return shki_say(-EAGAIN, "the call would have to wait");
    if (is_interrupted(p))
        return shki_say(-EINTR, "the wait was interrupted");
    if (is_past(p->deadline))
        return shki_say(-ETIMEDOUT, "the time is over");
    return 0;
}

bool shki_patience_is_over(const struct shki_patience *p)
{
    return p->nowait || is_interrupted(p) || is_past(p->deadline);
}

struct timespec shki_patience_slice(const struct shki_patience *p, int64_t slice)
{
    int64_t at = add(shki_now(), slice);

    if (at > p->deadline)
        at = p->deadline;
    return (struct timespec){ .tv_sec = at / SECOND, .tv_nsec = at % SECOND };
}
