/*
 * Adaptive spinning: a waiter stays awake for a moment before it sleeps. On a virtual machine a
 * wake-up of a sleeper on another CPU takes 60 us, a store that a spinner sees 0.4 us.
 *
 *     while (!ready && !shki_spin(&spinner, ready, arg))
 *         sleep
 *
 *   - A spin is bounded by a budget: 20 us, or SHK_SPIN nanoseconds from the environment.
 *   - The budget is halved by each spin that was in vain, down to an eighth, and doubled by each
 *     hit. Without that a waiter whose other side is slow would burn 20 us before each sleep.
 *   - On a machine with one CPU there is no spin. There, and in a process that may run on one CPU
 *     only, a waiter yields the CPU once instead: the other side may be on the same CPU.
 */
#ifndef SHKI_SPIN_H
#define SHKI_SPIN_H

#include "base/atomic.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * One per handle and side, private to the process; zero at first. Relaxed, and threads race on it:
 * it only guides a guess, and nothing depends on it.
 */
struct shki_spinner {
    /* the budget is the maximum >> backoff */
    _Atomic uint32_t backoff;
    _Atomic uint32_t misses; /* spins since a hit, with the smallest budget */
    /* time lost by yields, in calls of YIELD_REPAID that repay it; below 0: repaid in advance */
    _Atomic int32_t yield_debt;
    /*
     * 1: the latest spin was a hit. A caller that can check its condition by one load may then
     * check a few times before it calls shki_spin().
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
 * Fetch a cache line exclusively, for a store that follows soon. On x86 compilers make a prefetch
 * for reading of __builtin_prefetch(), hence the instruction.
 */
static inline __attribute__((always_inline)) void shki_prefetch_write(const void *at)
{
#if defined(__x86_64__)
    /* a nop on a processor that does not have it */
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}

/* ns, 0: never spin. Set by the process's first spin; tests change it after that. */
extern int64_t shki_spin_longest;

/* Spin until ready(arg), or the budget is used up. Returns the last result of ready(). */
bool shki_spin(struct shki_spinner *, bool (*ready)(const void *arg), const void *arg);
/*
 * The same for a mutex: ready() takes its time, and the holder may be waiting for this CPU. Where
 * spins are in vain it yields the CPU once instead.
 */
bool shki_spin_at_mutex(struct shki_spinner *, bool (*ready)(const void *arg), const void *arg);

/*
 * For a notifier, before it wakes a sleeper: check a few times whether a member that is awake does
 * the work meanwhile. Rarely where that was in vain.
 */
bool shki_spin_short(struct shki_spinner *, bool (*done)(const void *arg), const void *arg);

/*
 * shki_spin() without adaption, for a condition that is about to come true: about `ns` at most,
 * whatever the number of CPUs, with a yield now and then.
 */
bool shki_spin_for(int64_t ns, bool (*ready)(const void *arg), const void *arg);

#endif
