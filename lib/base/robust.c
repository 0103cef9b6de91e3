#include "base/robust.h"

#include "base/error.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* so long a waiter sleeps before it looks whether MANY have gone before it */
#define BEARS SHK_MS(2)
/*
 * more than where it is one of many locks: there most who wait wait for a CPU, and looks would only
 * take it from others
 */
#define MANY          1500
#define BETWEEN_LOOKS 32 /* pauses */
/*
 * … and so long after that, to see whether anybody has; and before the first look, if the latest
 * was in vain
 */
#define BEARS_LONGER   SHK_MS(10)
#define STAND_BACK     SHK_MS(5) /* so long the others let a favourite go first */
#define STAND_BACK_NAP 50000     /* ns */

_Static_assert(EBUSY == 16 && EOWNERDEAD == 130, "spelled out in robust.h");

#ifdef SHKI_TEST_HOOKS
unsigned shki_test_disable;
int64_t shki_test_slice = SHK_MS(100);
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

bool shki_robust_is_orphaned(const pthread_mutex_t *m)
{
    return word_of(m) & FUTEX_OWNER_DIED;
}

int shki_mutex_inherit(struct shki_mutex *m)
{
    /*
     * killed before this: the kernel marks it again, the next one comes here. Killed after:
     * likewise, as for any holder.
     */
    if (shki_repairs(SHKI_REPAIR_CONSISTENT))
        pthread_mutex_consistent(&m->robust);
    return 1;
}

/* Each look takes the line from the holder, who writes to it: not too often. */
static bool looks_free(const void *arg)
{
    for (int i = 0; i < BETWEEN_LOOKS; i++)
        shki_pause();
    return !(word_of(arg) & FUTEX_TID_MASK);
}

/*
 * Let the favourite go first; strike it out if it does not come. Whose patience ends meanwhile
 * tries nevertheless: the mutex may be free, or a dead holder's.
 */
static void stand_back(struct shki_mutex *m, const struct shki_patience *patience, uint64_t me)
{
    static const struct timespec nap = {.tv_nsec = STAND_BACK_NAP};
    uint64_t favourite = atomic_load_explicit(&m->favourite, memory_order_relaxed);
    uint64_t seen = favourite;
    int64_t end;

    if (favourite == 0 || favourite == me || me == 0 || patience->nowait)
        return;
    end = shki_now() + STAND_BACK;
    while (favourite == seen && shki_now() < end) {
        if (shki_patience_is_over(patience))
            return;
        nanosleep(&nap, NULL);
        favourite = atomic_load_explicit(&m->favourite, memory_order_relaxed);
    }
    /*
     * Relaxed: a hint that protects nothing. Killed around it: the next one who stands back strikes
     * it out.
     */
    if (favourite == seen)
        atomic_compare_exchange_strong_explicit(&m->favourite, &seen, 0, memory_order_relaxed,
                                                memory_order_relaxed);
}

/* Relaxed: a hint; read late, it only delays a favour. */
static uint32_t turns_of(const struct shki_mutex *m)
{
    return atomic_load_explicit(&m->turns, memory_order_relaxed);
}

static bool is_soon_over(const struct shki_patience *patience)
{
    return patience->deadline != SHKI_NEVER && patience->deadline - shki_now() < BEARS_LONGER;
}

/*
 * Whether others go before one who came at turn `since` and has looked so often already. Not if it
 * has been the same one's turn all the time: where there are many threads for few CPUs most holders
 * that keep somebody waiting wait for a CPU themselves, and if the others stood back then, all
 * would wait.
 */
static bool is_passed_over(const struct shki_mutex *m, uint32_t since, unsigned looks,
                           const struct shki_patience *patience)
{
    return turns_of(m) - since >= (looks > 0 || is_soon_over(patience) ? 1 : MANY);
}

/* Of the process: it depends on how busy the CPUs are. Relaxed: a guess. */
static _Atomic bool looked_in_vain;

static void ask_for_favour(struct shki_mutex *m, uint64_t me)
{
    uint64_t nobody = 0;

    atomic_compare_exchange_strong_explicit(&m->favourite, &nobody, me, memory_order_relaxed,
                                            memory_order_relaxed);
}

static void give_up_favour(struct shki_mutex *m, uint64_t me)
{
    uint64_t mine = me;

    if (atomic_load_explicit(&m->favourite, memory_order_relaxed) == me && me != 0)
        atomic_compare_exchange_strong_explicit(&m->favourite, &mine, 0, memory_order_relaxed,
                                                memory_order_relaxed);
}

/* For SHK_NOWAIT: the holder may only be busy for a moment. Short, because the caller said so. */
static int try_briefly(struct shki_mutex *m, struct shki_spinner *spinner)
{
    int r = EBUSY;

    if (spinner == NULL || shki_spin_at_mutex(spinner, looks_free, &m->robust))
        r = pthread_mutex_trylock(&m->robust);
    return r;
}

int shki_mutex_lock(struct shki_mutex *m, const struct shki_patience *patience, uint64_t me,
                    struct shki_spinner *spinner, const struct shki_recovery *recovery,
                    int (*slice)(void *arg), void *arg)
{
    struct shki_saved_error saved;
    int64_t length = BEARS;
    struct timespec until;
    unsigned looks = 0;
    bool passed_over;
    uint32_t since;
    int r, over;

    r = shki_mutex_trylock(m, me);
    if (r >= 0)
        return r;
    stand_back(m, patience, me);
    since = turns_of(m);
    r = try_briefly(m, spinner);
    if (r == EBUSY && atomic_load_explicit(&looked_in_vain, memory_order_relaxed) &&
        !is_soon_over(patience))
        length = BEARS_LONGER;
    while (r == EBUSY || r == ETIMEDOUT) {
        if (r == ETIMEDOUT)
            shki_patience_slept(patience);
        shki_error_save(&saved);
        over = shki_patience_over(patience);
        if (over != 0 || (r == ETIMEDOUT && looks > 1))
            /* if it has marked the mutex, the next try gets it */
            recovery->recover(recovery->arg, m);
        if (over == 0 && r == ETIMEDOUT && looks > 1 && slice)
            over = slice(arg);
        if (over != 0) {
            /* once more: what a dead holder left comes before the end of patience */
            r = pthread_mutex_trylock(&m->robust);
            if (r != EBUSY) {
                shki_error_settle(0, &saved);
                break;
            }
            give_up_favour(m, me);
            return over;
        }
        if (r == ETIMEDOUT) {
            passed_over = is_passed_over(m, since, looks, patience);
            if (looks == 0 && me != 0 && !is_soon_over(patience))
                atomic_store_explicit(&looked_in_vain, !passed_over, memory_order_relaxed);
            if (me != 0 && passed_over) {
                r = try_briefly(m, spinner); /* it changes hands: who is awake may well get it */
                if (r != EBUSY)
                    break;
                ask_for_favour(m, me);
            }
            length = looks++ == 0 ? BEARS_LONGER : SHKI_SLICE;
        }
        until = shki_patience_slice(patience, length < SHKI_SLICE ? length : SHKI_SLICE);
        r = pthread_mutex_clocklock(&m->robust, CLOCK_MONOTONIC, &until);
    }
    give_up_favour(m, me);
    if (r == EOWNERDEAD)
        return shki_mutex_inherit(m);
    /* 0; ENOTRECOVERABLE only where a repair was switched off; EINVAL for damaged bytes */
    return -r;
}
