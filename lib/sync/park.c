#include "sync/park.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

bool shki_sleep_on(sem_t *s, const struct timespec *until)
{
    return sem_clockwait(s, CLOCK_MONOTONIC, until) == 0;
}

/*
 * Permits taken at a time: others may post faster than they are taken; damaged bytes may say 2^31.
 */
#define PERMITS_MAX 1000

void shki_take_permits(sem_t *s)
{
    for (int i = 0; i < PERMITS_MAX && sem_trywait(s) == 0; i++)
        ;
}

bool shki_park(struct shki_member *m, const struct timespec *until)
{
    return shki_sleep_on(&m->record->park, until);
}

void shki_unpark(struct shk_segment *s, uint32_t member_index)
{
    struct shki_member_shared *m = shki_record_at(s, member_index);

    if (m)
        sem_post(&m->park);
}

void shki_unpark_listed(struct shki_member *m)
{
    uint32_t n = m->n_to_unpark;

    m->n_to_unpark = 0;
    /* killed before one of these: it sees its release at the end of its recheck interval */
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(m->segment, m->to_unpark[i]);
}

static uint32_t *lower_half(_Atomic uint64_t *word)
{
    return (uint32_t *)(void *)word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

bool shki_sleep_at(_Atomic uint64_t *word, uint64_t value, const struct timespec *until)
{
    /* what this system call takes, whatever time_t is */
    const long at[2] = {(long)until->tv_sec, (long)until->tv_nsec};

    /* by CLOCK_MONOTONIC */
    return syscall(SYS_futex, lower_half(word), FUTEX_WAIT_BITSET, (uint32_t)value, at, NULL,
                   FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno == EAGAIN;
}

void shki_wake_all_at(_Atomic uint64_t *word)
{
    syscall(SYS_futex, lower_half(word), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
