/*
 * The process-shared semaphore that waiters sleep on: libc's, or where libc has no sem_clockwait()
 * (musl, glibc before 2.30) one of its own in the same bytes. sem_timedwait() would not do: it
 * sleeps by CLOCK_REALTIME, and a step of that clock backwards stretches the sleep.
 *
 * Either of them survives a kill of either side at every instruction. A process that posts and is
 * killed may have left a permit without waking the waiter.
 *
 * The two do not understand each other: shki_fingerprint() tells them apart.
 */
#ifndef SHKI_PERMITS_H
#define SHKI_PERMITS_H

#include <semaphore.h>
#include <stdbool.h>
#include <time.h>

#ifdef HAVE_SEM_CLOCKWAIT

/* In zeroed shared memory. Returns 0, or -1 with errno. */
static inline int shki_permits_init(sem_t *s)
{
    return sem_init(s, 1, 0);
}

/* One permit more; wakes one waiter. */
static inline void shki_permits_post(sem_t *s)
{
    sem_post(s);
}

/* Take a permit if there is one. */
static inline bool shki_permits_try(sem_t *s)
{
    return sem_trywait(s) == 0;
}

/* Take a permit, by `until` (CLOCK_MONOTONIC). False: a signal came, or the time is over. */
static inline bool shki_permits_wait(sem_t *s, const struct timespec *until)
{
    return sem_clockwait(s, CLOCK_MONOTONIC, until) == 0;
}

#else

#include "base/atomic.h"
#include "base/futex.h"

#include <limits.h>

_Static_assert(sizeof(sem_t) >= sizeof(uint32_t), "the permits lie in the bytes of libc's");

static inline _Atomic uint32_t *shki_permits_word(sem_t *s)
{
    return (_Atomic uint32_t *)(void *)s;
}

static inline int shki_permits_init(sem_t *s)
{
    store_relaxed(shki_permits_word(s), 0); /* before the object is published */
    return 0;
}

static inline void shki_permits_post(sem_t *s)
{
    _Atomic uint32_t *word = shki_permits_word(s);
    uint32_t n = load_relaxed(word); /* the exchange compares it again */

    do {
        if (n >= INT_MAX)
            return; /* enough to wake every waiter */
    } while (!compare_exchange_weak_release(word, &n, n + 1));
    /* killed here: the waiter finds the permit at the end of its recheck interval */
    shki_futex_wake(word, 1);
}

static inline bool shki_permits_try(sem_t *s)
{
    _Atomic uint32_t *word = shki_permits_word(s);
    uint32_t n = load_relaxed(word); /* the exchange compares it again */

    while (n > 0)
        if (compare_exchange_acq_rel(word, &n, n - 1))
            return true;
    return false;
}

static inline bool shki_permits_wait(sem_t *s, const struct timespec *until)
{
    do {
        if (shki_permits_try(s))
            return true;
    } while (shki_futex_wait(shki_permits_word(s), 0, until));
    return shki_permits_try(s);
}

#endif
#endif
