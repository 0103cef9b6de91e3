/*
 * Staying awake for a moment before going to sleep. On a virtual machine a hand-off to a sleeper on
 * another CPU costs 60 us, one to a spinner 0.4 us. Spinning is bounded (20 us, or SHK_SPIN
 * nanoseconds from the environment), shrinks while it does not pay, and is off on a machine with
 * one CPU. Who may run on one CPU only gives way once where it does not pay: the other side may be
 * on the same.
 */
#ifndef SHKI_SPIN_H
#define SHKI_SPIN_H

#include "base/atomic.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * One per handle, private to the process. Zero: not used yet. Threads race on it harmlessly: it is
 * a guess.
 */
struct shki_spinner {
    /* the budget is the maximum >> shift; relaxed, nothing depends on it */
    _Atomic uint32_t backoff;
    _Atomic uint32_t misses; /* how often it has been tried with hardly any */
    /* for what giving way has lost, in calls that make it good; below 0: made good in advance */
    _Atomic int32_t yield_debt;
    /*
     * the latest try has succeeded: who can tell by one load what it waits for may look a few times
     * before it comes here
     */
    _Atomic uint32_t hit;
};

static inline void shki_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

/*
 * Have the cache line of what is to be written soon to oneself. What compilers make of
 * __builtin_prefetch() for any x86 only reads it.
 */
static inline __attribute__((always_inline)) void shki_prefetch_write(const void *at)
{
#if defined(__x86_64__)
    /* a processor that does not know it takes it for a nop */
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* Give the cache line of what has been written away, to where another processor gets it sooner. */
static inline __attribute__((always_inline)) void shki_demote_line(const void *at)
{
#if defined(__x86_64__)
    /* a nop, likewise, where it is not known */
    __asm__ __volatile__("cldemote %0" : : "m"(*(const char *)at));
#else
    (void)at;
#endif
}

/* ns, 0: never. Found out by who spins first in the process; for the tests to change after that. */
extern int64_t shki_spin_longest;

/* Spin until ready(arg), or the budget is used up. Returns what ready() said last. */
bool shki_spin(struct shki_spinner *, bool (*ready)(const void *arg), const void *arg);
/*
 * The same with a ready() that takes its time, for one whose holder may be waiting for this CPU:
 * where it does not pay, give way once instead.
 */
bool shki_spin_at_mutex(struct shki_spinner *, bool (*ready)(const void *arg), const void *arg);

/*
 * A few looks, where that is not in vain as a rule: whether somebody who is awake does it
 * meanwhile, so that nobody who is asleep has to.
 */
bool shki_spin_short(struct shki_spinner *, bool (*done)(const void *arg), const void *arg);

/*
 * shki_spin() without learning, for moments that must end soon: at most about `ns`, whatever the
 * number of CPUs, yielding now and then.
 */
bool shki_spin_for(int64_t ns, bool (*ready)(const void *arg), const void *arg);

#endif
