#include "sync/park.h"

#include "base/futex.h"
#include "base/permits.h"

#include <limits.h>

bool shki_sleep_on(sem_t *s, const struct timespec *until)
{
    return shki_permits_wait(s, until);
}

/*
 * Permits taken at a time: others may post faster than they are taken; damaged bytes may say 2^31.
 */
#define PERMITS_MAX 1000

void shki_take_permits(sem_t *s)
{
    for (int i = 0; i < PERMITS_MAX && shki_permits_try(s); i++)
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
        shki_permits_post(&m->park);
}

void shki_unpark_listed(struct shki_member *m)
{
    uint32_t n = m->n_to_unpark;

    m->n_to_unpark = 0;
    /* killed before one of these: it sees its release at the end of its recheck interval */
    for (uint32_t i = 0; i < n; i++)
        shki_unpark(m->segment, m->to_unpark[i]);
}

static _Atomic uint32_t *lower_half(_Atomic uint64_t *word)
{
    return (_Atomic uint32_t *)(uintptr_t)word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

bool shki_sleep_at(_Atomic uint64_t *word, uint64_t value, const struct timespec *until)
{
    return shki_futex_wait(lower_half(word), (uint32_t)value, until);
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* of all machines, Alpha excepted; headers before Linux 5.16 */
#endif

/* What <linux/futex.h> has since Linux 5.16. */
struct wait_at {
    uint64_t value, address;
    uint32_t flags, reserved;
};
#define WAIT_AT_32 2u

/* ns: a sleep without futex_waitv(2) is no longer, since a death does not end it */
#define BESIDE_RECHECK SHK_MS(10)

static bool ends_within(const struct timespec *until, int64_t at)
{
    return (int64_t)until->tv_sec * 1000000000 + until->tv_nsec <= at;
}

static bool sleep_shorter_at(_Atomic uint64_t *word, uint64_t value, const struct timespec *until)
{
    int64_t end = shki_now() + BESIDE_RECHECK;
    const struct timespec sooner = {.tv_sec = (time_t)(end / 1000000000),
                                    .tv_nsec = (long)(end % 1000000000)};
    bool whole = ends_within(until, end);

    return shki_sleep_at(word, value, whole ? until : &sooner) || !whole;
}

bool shki_sleep_beside(struct shk_segment *s, uint64_t member, _Atomic uint64_t *word,
                       uint64_t value, const struct timespec *until)
{
    struct shki_member_shared *m = shki_record_at(s, shki_member_index(member));
    const int64_t at[2] = {until->tv_sec, until->tv_nsec}; /* struct __kernel_timespec */
    struct wait_at waits[2] = {{(uint32_t)value, (uintptr_t)lower_half(word), WAIT_AT_32, 0}};
    uint32_t life;

    if (m == NULL)
        return shki_sleep_at(word, value, until);
    life = shki_robust_expect_death(&m->life);
    if (life == 0 || load_relaxed(&m->id) != member)
        return true;
    waits[1] =
        (struct wait_at){life, (uintptr_t)&m->life + shki_robust_word_offset(), WAIT_AT_32, 0};
    if (syscall(SYS_futex_waitv, waits, 2, 0, at, CLOCK_MONOTONIC) >= 0 || errno == EAGAIN)
        return true;
    return errno == ENOSYS || errno == EPERM ? sleep_shorter_at(word, value, until) : false;
}

void shki_wake_all_at(_Atomic uint64_t *word)
{
    shki_futex_wake(lower_half(word), INT_MAX);
}
