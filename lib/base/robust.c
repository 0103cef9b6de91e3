#include "base/robust.h"

#include "base/error.h"
#include "base/futex.h"
#include "base/probe.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ns: a waiter sleeps so long before it checks whether it is starving: longest waits of W2, W6 */
#define STARVING_AFTER SHK_MS(2)
/*
 * Releases in that time from which on it is starving. More than there are where the lock is one of
 * many (bench row W6): there most waiters wait for a CPU, and checks would only take it from
 * others.
 */
#define BARGING_MAX 1500
/* ns: it sleeps so long before it checks the second time: then one release is enough */
#define STARVING_RECHECK SHK_MS(10)
/* ns: the others wait so long for a handoff target to lock */
#define HANDOFF_LIMIT SHK_MS(5)
/* ns: they check so often whether it has; with 300000, 48 processes at one lock are as fast */
#define HANDOFF_NAP 50000
/*
 * Pauses between two checks of a spinner, each of which takes the line from the holder: bench row
 * W6 with 1 lock, a quarter more.
 */
#define PAUSES_BETWEEN_CHECKS 32

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

static bool list_is_missing(void)
{
    struct robust_list_head *head = NULL;
    size_t length;

    return syscall(SYS_get_robust_list, 0, &head, &length) == 0 && head == NULL;
}

static unsigned word_offset;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#ifdef __GLIBC__
static void learn_distance(const struct robust_list_head *head)
{
    (void)head;
}

void shki_robust_after_fork(void)
{
    /* fork(3) has emptied the child's list. */
}
#else
#define DISTANCE_MAX 4096 /* bytes: both are in what the C library knows of a thread */

/* From pthread_self() to the head of the thread's list, which musl has at a fixed place. */
static ptrdiff_t head_distance;

static void learn_distance(const struct robust_list_head *head)
{
    uintptr_t distance = (uintptr_t)head - (uintptr_t)pthread_self();

    if (distance <= DISTANCE_MAX)
        head_distance = (ptrdiff_t)distance;
}

/*
 * musl leaves the parent's mutexes in the child's list. The first mutex that the child locks would
 * be linked to the one that the parent locked last, which lies in shared memory: the parent would
 * store to an address of the child when it unlocks. None of them can be unlocked by the child,
 * whose thread id is another, so nothing is lost.
 */
void shki_robust_after_fork(void)
{
    struct robust_list_head *head;

    if (head_distance == 0 || !list_is_missing())
        return;
    head = (struct robust_list_head *)((uintptr_t)pthread_self() + (uintptr_t)head_distance);
    head->list.next = &head->list;
}
#endif

bool shki_robust_list_is_missing(void)
{
#ifndef __GLIBC__
    /* musl tells the kernel when a thread first locks such a mutex, glibc when a thread starts. */
    pthread_mutex_t probe;

    shki_robust_after_fork(); /* _Fork(3) calls no handlers */
    memset(&probe, 0, sizeof(probe));
    if (list_is_missing() && shki_robust_init(&probe) == 0) {
        pthread_mutex_lock(&probe);
        pthread_mutex_unlock(&probe);
        pthread_mutex_destroy(&probe);
    }
#endif
    return list_is_missing();
}

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
        /* bit 0 marks a PI futex */
        uintptr_t entry = (uintptr_t)head->list.next & ~(uintptr_t)1;
        uintptr_t offset = entry + (uintptr_t)head->futex_offset - (uintptr_t)&probe;

        if (offset <= sizeof(probe) - sizeof(uint32_t))
            word_offset = (unsigned)offset;
        learn_distance(head);
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
     * Acquire: a thread that sees another one dead also sees all that it had stored before. Pairs
     * with the kernel's and libc's exchange.
     */
    return load_acquire((const _Atomic uint32_t *)(const void *)at);
}

/*
 * With musl a new owner has FUTEX_OWNER_DIED beside its id until pthread_mutex_consistent(), and a
 * mutex that cannot be recovered has all bits of an id.
 */
bool shki_robust_word_is_held(uint32_t word)
{
    uint32_t tid = word & FUTEX_TID_MASK;

    return tid != 0 && tid != FUTEX_TID_MASK;
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
    uint32_t word = word_of(m);

    return word & FUTEX_OWNER_DIED && !(word & FUTEX_TID_MASK);
}

static _Atomic uint32_t *futex_of(pthread_mutex_t *m)
{
    return (_Atomic uint32_t *)(void *)((char *)m + shki_robust_word_offset());
}

uint32_t shki_robust_expect_death(pthread_mutex_t *m)
{
    _Atomic uint32_t *at = futex_of(m);
    uint32_t word = load_relaxed(at); /* the kernel compares it again */

    do {
        if (!shki_robust_word_is_held(word))
            return 0;
    } while (!(word & FUTEX_WAITERS) &&
             !compare_exchange_weak_relaxed(at, &word, word | FUTEX_WAITERS));
    return word | FUTEX_WAITERS;
}

int shki_mutex_recover(struct shki_mutex *m)
{
    SHKI_PROBE1(owner_died, m);
    /*
     * killed before this: the kernel marks it again, the next holder comes here. Killed after:
     * likewise, as for any holder.
     */
    if (shki_repair_enabled(SHKI_REPAIR_CONSISTENT))
        pthread_mutex_consistent(&m->robust);
    return 1;
}

/* ---- Waiting for a mutex ---- */

/* How far a waiter is: after each interval that it has slept to its end comes the next. */
enum stage {
    FIRST_INTERVAL,   /* STARVING_AFTER */
    SECOND_INTERVAL,  /* STARVING_RECHECK */
    RECHECK_INTERVALS /* at their ends deaths are recovered, too */
};

struct waiter {
    struct shki_mutex *mutex;
    const struct shki_deadline *deadline;
    uint64_t me; /* 0: does without fairness */
    struct shki_spinner *spinner;
    uint32_t since; /* releases of the mutex when the wait began */
    enum stage stage;
    int64_t interval; /* ns */
    uint32_t last;    /* releases at the latest recheck */
    unsigned quiet;   /* rechecks in a row between which there was none */
};

/* Relaxed: a hint; read late, it only delays a handoff. */
static uint32_t releases_of(const struct shki_mutex *m)
{
    return load_relaxed(&m->releases);
}

static bool is_free_after_pauses(const void *mutex)
{
    for (int i = 0; i < PAUSES_BETWEEN_CHECKS && shki_policy(SHKI_POLICY_PAUSES); i++)
        shki_pause();
    return !(word_of(mutex) & FUTEX_TID_MASK);
}

/* The holder may only be busy for a moment: spin, and try once. */
static int try_briefly(const struct waiter *w)
{
    pthread_mutex_t *m = &w->mutex->robust;

    if (w->spinner && !shki_spin_at_mutex(w->spinner, is_free_after_pauses, m))
        return EBUSY;
    return pthread_mutex_trylock(m);
}

/* ---- Handoff ---- */

/*
 * Let the handoff target lock first; take its request away if it does not come. A waiter whose
 * deadline ends meanwhile tries nevertheless: the mutex may be free, or a dead holder's.
 */
static void wait_for_handoff(const struct waiter *w)
{
    static const struct timespec nap = {.tv_nsec = HANDOFF_NAP};
    struct shki_mutex *m = w->mutex;
    uint64_t target = load_relaxed(&m->handoff_target), first = target;
    int64_t end;

    if (target == 0 || target == w->me || w->me == 0 || w->deadline->nowait)
        return;
    end = shki_now() + HANDOFF_LIMIT;
    while (target == first && shki_now() < end) {
        if (shki_deadline_has_passed(w->deadline))
            return;
        nanosleep(&nap, NULL);
        target = load_relaxed(&m->handoff_target);
    }
    /*
     * Relaxed: a hint that protects nothing. Killed around it: the next waiter that yields to the
     * handoff takes it away.
     */
    if (target == first)
        compare_exchange_relaxed(&m->handoff_target, &first, 0);
}

static void request_handoff(const struct waiter *w)
{
    uint64_t none = 0;

    if (shki_policy(SHKI_POLICY_HANDOFF))
        compare_exchange_relaxed(&w->mutex->handoff_target, &none, w->me);
}

static void cancel_handoff(const struct waiter *w)
{
    uint64_t mine = w->me;

    if (w->me != 0 && load_relaxed(&w->mutex->handoff_target) == w->me)
        compare_exchange_relaxed(&w->mutex->handoff_target, &mine, 0);
}

static bool ends_soon(const struct shki_deadline *deadline)
{
    return deadline->at != SHKI_NEVER && deadline->at - shki_now() < STARVING_RECHECK;
}

/*
 * Whether others barge past the waiter. Not if one holder has kept the mutex all the time: where
 * there are many threads for few CPUs, most holders that keep others waiting wait for a CPU
 * themselves, and if the others yielded then, all would wait.
 */
static bool is_starving(const struct waiter *w)
{
    bool one_is_enough = w->stage != FIRST_INTERVAL || ends_soon(w->deadline);

    return releases_of(w->mutex) - w->since >= (one_is_enough ? 1 : BARGING_MAX);
}

/*
 * An interval has ended. A starving waiter tries once more, since the mutex changes hands: a thread
 * that is awake may well get it. If not, it requests the handoff.
 */
static int check_starving(struct waiter *w)
{
    bool starving = is_starving(w);
    int r = EBUSY;

    if (starving && w->me != 0) {
        r = try_briefly(w);
        if (r == EBUSY)
            request_handoff(w);
    }
    return r;
}

static int64_t no_more_than_recheck(int64_t interval)
{
    return interval < SHKI_RECHECK ? interval : SHKI_RECHECK;
}

/*
 * While one holder keeps the mutex the intervals grow: the kernel wakes a waiter at a death that it
 * marks, and what else there is to find may be found later.
 */
static void next_stage(struct waiter *w)
{
    uint32_t releases = releases_of(w->mutex);

    w->quiet = w->stage == RECHECK_INTERVALS && releases == w->last ? w->quiet + 1 : 0;
    w->last = releases;
    if (w->stage == FIRST_INTERVAL)
        w->interval = no_more_than_recheck(STARVING_RECHECK);
    else
        w->interval = shki_recheck_interval(w->deadline, w->quiet, SHKI_DOUBLINGS);
    if (w->stage != RECHECK_INTERVALS)
        w->stage++;
}

#ifdef HAVE_PTHREAD_MUTEX_CLOCKLOCK
static int lock_until(pthread_mutex_t *m, const struct timespec *until)
{
    return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, until);
}
#else
static void expect_waiters(pthread_mutex_t *m)
{
    /* Relaxed: the caller holds the mutex, and only keeps what its own release wakes. */
    fetch_or_relaxed(futex_of(m), FUTEX_WAITERS);
}

/*
 * Sleep at the word itself, as libc does. musl, and glibc before 2.30, have only
 * pthread_mutex_timedlock(), which sleeps by CLOCK_REALTIME: a step of that clock backwards would
 * stretch the sleep.
 *
 * A release of any libc wakes one waiter if the word had FUTEX_WAITERS, and clears it. A waiter
 * that has slept therefore sets it again when it has the mutex, on behalf of the waiters still
 * asleep. Killed before that: they find out at the end of their recheck interval.
 */
static int lock_until(pthread_mutex_t *m, const struct timespec *until)
{
    bool in_time = true, slept = false;
    uint32_t word;
    int r;

    for (;;) {
        r = pthread_mutex_trylock(m);
        if (r != EBUSY)
            break;
        if (!in_time)
            return ETIMEDOUT;
        word = shki_robust_expect_death(m);
        if (word != 0) {
            slept = true;
            in_time = shki_futex_wait(futex_of(m), word, until) || errno == EINTR;
        }
    }
    if (slept && (r == 0 || r == EOWNERDEAD))
        expect_waiters(m);
    return r;
}
#endif

static int sleep_at_mutex(const struct waiter *w)
{
    struct timespec until = shki_deadline_recheck_at(w->deadline, w->interval);

    return lock_until(&w->mutex->robust, &until);
}

int shki_mutex_lock(struct shki_mutex *m, const struct shki_deadline *deadline, uint64_t me,
                    struct shki_spinner *spinner, const struct shki_recovery *recovery,
                    int (*recheck)(void *arg), void *arg)
{
    struct waiter w = {.mutex = m, .deadline = deadline, .me = me, .spinner = spinner};
    struct shki_saved_error saved;
    int r = shki_mutex_trylock(m, me), over;
    bool rechecks;

    if (r >= 0)
        return r;
    wait_for_handoff(&w);
    w.since = releases_of(m);
    r = try_briefly(&w);
    if (r == EBUSY) {
        SHKI_PROBE1(contention, m);
        w.interval = no_more_than_recheck(STARVING_AFTER);
    }
    while (r == EBUSY || r == ETIMEDOUT) {
        rechecks = r == ETIMEDOUT && w.stage == RECHECK_INTERVALS;
        if (r == ETIMEDOUT)
            shki_deadline_slept(deadline);
        shki_error_save(&saved);
        over = shki_deadline_check(deadline);
        if (over != 0 || rechecks)
            recovery->recover(recovery->arg, m); /* if it marks the mutex, the next try gets it */
        if (over == 0 && rechecks && recheck)
            over = recheck(arg);
        if (over != 0) {
            /* once more: what a dead holder left comes before the end of the deadline */
            r = pthread_mutex_trylock(&m->robust);
            if (r == EBUSY) {
                cancel_handoff(&w);
                return over;
            }
            shki_error_settle(0, &saved);
            break;
        }
        if (r == ETIMEDOUT) {
            r = check_starving(&w);
            if (r != EBUSY)
                break;
            next_stage(&w);
        }
        r = sleep_at_mutex(&w);
    }
    cancel_handoff(&w);
    if (r == EOWNERDEAD)
        return shki_mutex_recover(m);
    /* 0; ENOTRECOVERABLE only where a repair was switched off; EINVAL for damaged bytes */
    return -r;
}
