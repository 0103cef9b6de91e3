/*
 * Robust mutexes: what the library builds on. The kernel gives a robust mutex of a dead thread to
 * the next thread that locks it, and says so (EOWNERDEAD).
 *
 * `struct shki_mutex` adds to pthread's what shmkit needs everywhere: a bounded spin, waiting for a
 * recheck interval at a time, interruption, and eventual fairness by handoff.
 *
 * Handoff. Source: the HANDOFF flag of Linux's mutex, the long wait of nsync. A mutex of libc goes
 * to the thread that comes first after a release, so a waiter that must be woken is barged past by
 * those that are awake. A starving waiter requests the handoff: it writes its id into
 * `handoff_target`. The others then yield until it has had the mutex.
 *
 *     waiter                                        the others
 *     sleep at the mutex for an interval            handoff_target is another's?
 *     releases - since: barged past?                  then wait until it changes, HANDOFF_LIMIT at
 *       handoff_target = me, if it is 0               most; then set it to 0 if it has not
 *     sleep at the mutex                            lock
 *     locked: handoff_target = 0
 *
 * A waiter is starving if the mutex has been released since it came: 1500 times at its first check,
 * after 2 ms; once at a later check, 10 ms after that and then at each recheck. A waiter that only
 * waits for a slow holder, or for one that does not get a CPU, is not starving: others that yield
 * would not help it. All of it is a hint, so all of it is relaxed. A target that does not come
 * (stopped, dead) costs the others HANDOFF_LIMIT once: they set handoff_target to 0, and only a
 * running thread requests a handoff again.
 */
#ifndef SHKI_ROBUST_H
#define SHKI_ROBUST_H

#include "base/atomic.h"
#include "base/hooks.h"
#include "base/deadline.h"
#include "base/spin.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

/* In shared memory; one cache line, so that a lock operation touches no other. */
struct shki_mutex {
    alignas(64) pthread_mutex_t robust;
    /* id of a waiter that is to lock next; 0: none. Written by waiters */
    _Atomic uint64_t handoff_target;
    /* id of the holder, where the object needs it; written by the holder. A dead holder's stays */
    _Atomic uint64_t holder;
    /* what the object must know when it has the lock, 0 most of the time; written by the holder */
    _Atomic uint32_t state;
    /* how often it has been unlocked: so a waiter sees whether others barge past; by the holder */
    _Atomic uint32_t releases;
};

/* On some machines, such as aarch64, pthread's is so large that it takes two. */
_Static_assert(sizeof(pthread_mutex_t) > 40 || sizeof(struct shki_mutex) == 64,
               "a mutex and what is said about it share one line where they fit");

/*
 * How to ask whether the holder of a mutex is gone though the kernel has not marked it, and to mark
 * it then.
 */
struct shki_recovery {
    void (*recover)(void *arg, struct shki_mutex *);
    void *arg;
};

/*
 * Initialise a robust, process-shared mutex of normal type in zeroed shared memory. Returns 0 or
 * -errno.
 */
int shki_robust_init(pthread_mutex_t *);

/*
 * Whether it is of the kind that shki_robust_init() makes: libc aborts the program over some
 * others. False: damaged bytes.
 */
bool shki_robust_is_intact(const pthread_mutex_t *);

/*
 * Whether the kernel does not know the calling thread's list of robust mutexes, and would mark none
 * of them at its death: in the child of a raw fork(2) or clone(2).
 */
bool shki_robust_list_is_missing(void);

/*
 * First in the child of fork(2): it holds no mutex of its parent's, and its list is empty. Does
 * nothing if the child has locked a robust mutex already.
 */
void shki_robust_after_fork(void);

/*
 * Where in a pthread_mutex_t the word lies that the kernel marks at a death. Found once, from the
 * kernel's own list.
 */
unsigned shki_robust_word_offset(void);

/* What that word says: a living thread holds it. Loads only. */
bool shki_robust_is_held(const pthread_mutex_t *);
/* … and which: its thread id, or 0. */
int32_t shki_robust_holder(const pthread_mutex_t *);
/* … its holder died, and no other thread has locked it yet. */
bool shki_robust_owner_died(const pthread_mutex_t *);
/*
 * Have the kernel wake a thread that sleeps at that word (futex(2)) when the holder dies or
 * unlocks. Returns the word as it is then, at which to sleep; 0: no living thread holds the mutex.
 */
uint32_t shki_robust_expect_death(pthread_mutex_t *);
/* shki_robust_is_held() of a word that was read in another way. */
bool shki_robust_word_is_held(uint32_t word);

/*
 * Lock. `me` is an id for the handoff (0: do without), `spinner` may be NULL. After each recheck
 * interval, and before the wait ends without the mutex, `recovery` is asked. `recheck`, if not
 * NULL, is called after each recheck interval, and ends the wait with what it returns, unless that
 * is 0. Returns 0; 1: the former holder died, the caller has already been made its owner and must
 * repair what it protects; -EAGAIN, -ETIMEDOUT, -EINTR, and what else shki_deadline_check() says.
 */
int shki_mutex_lock(struct shki_mutex *, const struct shki_deadline *, uint64_t me,
                    struct shki_spinner *, const struct shki_recovery *, int (*recheck)(void *arg),
                    void *arg);

/*
 * The first try of it, without any waiting: 0, 1 or -EBUSY. Inline because most calls go no
 * further.
 */
static inline int shki_mutex_trylock(struct shki_mutex *m, uint64_t me);

/* By the holder, before it unlocks. */
static inline void shki_mutex_count_release(struct shki_mutex *m)
{
    /*
     * Relaxed: a hint, written under the mutex. Killed before or after: the release of a dead
     * holder counts or not.
     */
    store_relaxed(&m->releases, load_relaxed(&m->releases) + 1);
}

static inline void shki_mutex_unlock(struct shki_mutex *m)
{
    shki_mutex_count_release(m);
    /*
     * killed inside: the kernel finds the pending entry of the robust list and frees the mutex or
     * wakes a waiter.
     */
    pthread_mutex_unlock(&m->robust);
}

/*
 * Make the mutex of a dead holder usable; the caller holds it. Returns 1, for `return
 * shki_mutex_recover(m)`.
 */
int shki_mutex_recover(struct shki_mutex *);

/* What pthread says to it: 0, EBUSY, EOWNERDEAD; or EBUSY where another waiter goes first. */
static inline int shki_mutex_try(struct shki_mutex *m, uint64_t me)
{
    uint64_t handoff_target;

    /* Else the load of handoff_target would fetch the line to read, and the lock again to write. */
    shki_prefetch_write(m);
    /* Relaxed: a hint; read late, it makes the target wait a little longer. */
    handoff_target = load_relaxed(&m->handoff_target);
    if (unlikely(handoff_target != 0) && handoff_target != me && me != 0)
        return EBUSY;
    return pthread_mutex_trylock(&m->robust);
}

static inline int shki_mutex_trylock(struct shki_mutex *m, uint64_t me)
{
    int r = shki_mutex_try(m, me);

    if (likely(r == 0))
        return 0;
    return r == EOWNERDEAD ? shki_mutex_recover(m) : -EBUSY;
}

#endif
