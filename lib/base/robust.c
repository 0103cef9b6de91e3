#include "base/robust.h"

#include "base/error.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* so long a waiter sleeps before it looks whether BARGING_MAX have gone before it */
#define STARVING_AFTER SHK_MS(2)
/*
 * more than where it is one of many locks: there most who wait wait for a CPU, and looks would only
 * take it from others
 */
#define BARGING_MAX   1500
#define BETWEEN_LOOKS 32 /* pauses */
/*
 * … and so long after that, to see whether anybody has; and before the first look, if the latest
 * was in vain
 */
#define STARVING_RECHECK SHK_MS(10)
#define HANDOFF_LIMIT    SHK_MS(5) /* so long the others let a handoff_target go first */
#define HANDOFF_NAP      50000     /* ns */

_Static_assert(EBUSY == 16 && EOWNERDEAD == 130, "spelled out in robust.h");

#ifdef SHKI_TEST_HOOKS
unsigned shki_test_disable, shki_test_without;
int64_t shki_test_recheck = SHK_MS(100);
#endif

int shki_robust_init(pthread_mutex_t *m)
{
    pthread_mutexattr_t a;
    int r = pthread_mutexattr_init(&a);

    if (r)
        return -r;
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    r = pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
    return -r;
}

static unsigned word_offset;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/*
 * Ask the kernel: a thread's robust list starts with the mutex that it locked last, and
 * `futex_offset` leads from a list entry to the word. Source: get_robust_list(2),
 * Documentation/locking/robust-futex-ABI.rst.
 */
static void find_word(void)
{
    pthread_mutex_t probe;
    struct robust_list_head *head = NULL;
    size_t length;

    memset(&probe, 0, sizeof(probe));
    if (shki_robust_init(&probe) < 0)
        return;
    pthread_mutex_lock(&probe);
    if (syscall(SYS_get_robust_list, 0, &head, &length) == 0 && head) {
        /* bit 0 means priority inheritance */
        uintptr_t entry = (uintptr_t)head->list.next & ~(uintptr_t)1;
        uintptr_t offset = entry + (uintptr_t)head->futex_offset - (uintptr_t)&probe;

        if (offset <= sizeof(probe) - sizeof(uint32_t))
            word_offset = (unsigned)offset;
    }
    pthread_mutex_unlock(&probe);
    pthread_mutex_destroy(&probe);
}

/* A fresh mutex is zero but for its kind, which never changes. */
bool shki_robust_is_intact(const pthread_mutex_t *m)
{
    uint32_t fresh[sizeof(pthread_mutex_t) / sizeof(uint32_t)],
        found[sizeof(fresh) / sizeof(fresh[0])];
    pthread_mutex_t one;

    memset(&one, 0, sizeof(one));
    if (shki_robust_init(&one) < 0)
        return true;
    memcpy(fresh, &one, sizeof(fresh));
    memcpy(found, m, sizeof(found));
    for (size_t i = 0; i < sizeof(fresh) / sizeof(fresh[0]); i++)
        if (fresh[i] != 0 && found[i] != fresh[i])
            return false;
    return true;
}

unsigned shki_robust_word_offset(void)
{
    pthread_once(&once, find_word);
    return word_offset;
}

static uint32_t word_of(const pthread_mutex_t *m)
{
    const char *at = (const char *)m + shki_robust_word_offset();

    /*
     * Acquire: who sees a thread dead also sees all that it had stored before. Pairs with the
     * kernel's and libc's exchange.
     */
    return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

bool shki_robust_word_is_held(uint32_t word)
{
    return (word & FUTEX_TID_MASK) && !(word & FUTEX_OWNER_DIED);
}

bool shki_robust_is_held(const pthread_mutex_t *m)
{
    return shki_robust_word_is_held(word_of(m));
}

int32_t shki_robust_holder(const pthread_mutex_t *m)
{
    uint32_t word = word_of(m);

    return shki_robust_word_is_held(word) ? (int32_t)(word & FUTEX_TID_MASK) : 0;
}

bool shki_robust_owner_died(const pthread_mutex_t *m)
{
    return word_of(m) & FUTEX_OWNER_DIED;
}

int shki_mutex_recover(struct shki_mutex *m)
{
    /*
     * killed before this: the kernel marks it again, the next one comes here. Killed after:
     * likewise, as for any holder.
     */
    if (shki_repair_enabled(SHKI_REPAIR_CONSISTENT))
        pthread_mutex_consistent(&m->robust);
    return 1;
}

/* Each look takes the line from the holder, who writes to it: not too often. */
static bool looks_free(const void *arg)
{
    for (int i = 0; i < BETWEEN_LOOKS && shki_policy(SHKI_POLICY_PAUSES); i++)
        shki_pause();
    return !(word_of(arg) & FUTEX_TID_MASK);
}

/*
 * Let the handoff_target go first; strike it out if it does not come. Whose deadline ends meanwhile
 * tries nevertheless: the mutex may be free, or a dead holder's.
 */
static void yield_to_handoff(struct shki_mutex *m, const struct shki_deadline *deadline,
                             uint64_t me)
{
    static const struct timespec nap = {.tv_nsec = HANDOFF_NAP};
    uint64_t handoff_target = load_relaxed(&m->handoff_target);
    uint64_t seen = handoff_target;
    int64_t end;

    if (handoff_target == 0 || handoff_target == me || me == 0 || deadline->nowait)
        return;
    end = shki_now() + HANDOFF_LIMIT;
    while (handoff_target == seen && shki_now() < end) {
        if (shki_deadline_has_passed(deadline))
            return;
        nanosleep(&nap, NULL);
        handoff_target = load_relaxed(&m->handoff_target);
    }
    /*
     * Relaxed: a hint that protects nothing. Killed around it: the next one who stands back strikes
     * it out.
     */
    if (handoff_target == seen)
        compare_exchange_relaxed(&m->handoff_target, &seen, 0);
}

/* Relaxed: a hint; read late, it only delays a favour. */
static uint32_t releases_of(const struct shki_mutex *m)
{
    return load_relaxed(&m->releases);
}

static bool is_soon_over(const struct shki_deadline *deadline)
{
    return deadline->at != SHKI_NEVER && deadline->at - shki_now() < STARVING_RECHECK;
}

/*
 * Whether others go before one who came at turn `since` and has looked so often already. Not if it
 * has been the same one's turn all the time: where there are many threads for few CPUs most holders
 * that keep somebody waiting wait for a CPU themselves, and if the others stood back then, all
 * would wait.
 */
static bool is_starving(const struct shki_mutex *m, uint32_t since, unsigned looks,
                        const struct shki_deadline *deadline)
{
    return releases_of(m) - since >= (looks > 0 || is_soon_over(deadline) ? 1 : BARGING_MAX);
}

/* Of the process: it depends on how busy the CPUs are. Relaxed: a guess. */
static _Atomic bool looked_in_vain;

static void request_handoff(struct shki_mutex *m, uint64_t me)
{
    uint64_t nobody = 0;

    if (shki_policy(SHKI_POLICY_HANDOFF))
        compare_exchange_relaxed(&m->handoff_target, &nobody, me);
}

static void cancel_handoff(struct shki_mutex *m, uint64_t me)
{
    uint64_t mine = me;

    if (load_relaxed(&m->handoff_target) == me && me != 0)
        compare_exchange_relaxed(&m->handoff_target, &mine, 0);
}

/* For SHK_NOWAIT: the holder may only be busy for a moment. Short, because the caller said so. */
static int try_briefly(struct shki_mutex *m, struct shki_spinner *spinner)
{
    int r = EBUSY;

    if (spinner == NULL || shki_spin_at_mutex(spinner, looks_free, &m->robust))
        r = pthread_mutex_trylock(&m->robust);
    return r;
}

int shki_mutex_lock(struct shki_mutex *m, const struct shki_deadline *deadline, uint64_t me,
                    struct shki_spinner *spinner, const struct shki_recovery *recovery,
                    int (*slice)(void *arg), void *arg)
{
    struct shki_saved_error saved;
    int64_t length = STARVING_AFTER;
    struct timespec until;
    unsigned looks = 0;
    bool starving;
    uint32_t since;
    int r, over;

    r = shki_mutex_trylock(m, me);
    if (r >= 0)
        return r;
    yield_to_handoff(m, deadline, me);
    since = releases_of(m);
    r = try_briefly(m, spinner);
    if (r == EBUSY && load_relaxed(&looked_in_vain) && !is_soon_over(deadline) &&
        shki_policy(SHKI_POLICY_RECHECK))
        length = STARVING_RECHECK;
    while (r == EBUSY || r == ETIMEDOUT) {
        if (r == ETIMEDOUT)
            shki_deadline_slept(deadline);
        shki_error_save(&saved);
        over = shki_deadline_check(deadline);
        if (over != 0 || (r == ETIMEDOUT && looks > 1))
            /* if it has marked the mutex, the next try gets it */
            recovery->recover(recovery->arg, m);
        if (over == 0 && r == ETIMEDOUT && looks > 1 && slice)
            over = slice(arg);
        if (over != 0) {
            /* once more: what a dead holder left comes before the end of deadline */
            r = pthread_mutex_trylock(&m->robust);
            if (r != EBUSY) {
                shki_error_settle(0, &saved);
                break;
            }
            cancel_handoff(m, me);
            return over;
        }
        if (r == ETIMEDOUT) {
            starving = is_starving(m, since, looks, deadline);
            if (looks == 0 && me != 0 && !is_soon_over(deadline))
                store_relaxed(&looked_in_vain, !starving);
            if (me != 0 && starving) {
                r = try_briefly(m, spinner); /* it changes hands: who is awake may well get it */
                if (r != EBUSY)
                    break;
                request_handoff(m, me);
            }
            length = looks++ == 0 ? STARVING_RECHECK : SHKI_RECHECK;
        }
        until = shki_deadline_recheck_at(deadline, length < SHKI_RECHECK ? length : SHKI_RECHECK);
        r = pthread_mutex_clocklock(&m->robust, CLOCK_MONOTONIC, &until);
    }
    cancel_handoff(m, me);
    if (r == EOWNERDEAD)
        return shki_mutex_recover(m);
    /* 0; ENOTRECOVERABLE only where a repair was switched off; EINVAL for damaged bytes */
    return -r;
}
