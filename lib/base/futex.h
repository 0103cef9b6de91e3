/* Sleeping at a word of shared memory: futex(2). */
#ifndef SHKI_FUTEX_H
#define SHKI_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Sleep as long as the word is `value`, until `until` (CLOCK_MONOTONIC) at the latest. The kernel
 * compares and puts to sleep in one step. True: woken, or the word is another; false, with errno: a
 * signal came, or the time is over.
 */
static inline bool shki_futex_wait(_Atomic uint32_t *word, uint32_t value,
                                   const struct timespec *until)
{
    /* what this system call takes, whatever time_t is */
    const long at[2] = {(long)until->tv_sec, (long)until->tv_nsec};

    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, at, NULL, FUTEX_BITSET_MATCH_ANY) ==
               0 ||
           errno == EAGAIN;
}

static inline void shki_futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

#endif
