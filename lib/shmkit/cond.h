/*
 * A condition: a lock, and a waiting room where members sleep until somebody who has changed what
 * the lock protects notifies them.
 *
 * States: as its lock; and a list of waiters, first come, first served.
 *
 *     struct shk_cond *changed;
 *     shk_cond_open(bank, "changed", SHK_CREATE, NULL, &changed);
 *     shk_cond_acquire(changed, SHK_FOREVER);
 *     while (!account->paid_in)
 *         shk_cond_wait(changed, SHK_FOREVER);
 *     account->balance -= 800;
 *     account->paid_in = 0;
 *     shk_cond_notify_all(changed);
 *     shk_cond_release(changed);
 *
 * Two kinds, one interface:
 *   SHK_COND_ROBUST   (default) survives the death of anybody at any moment. A wake-up given to a waiter that dies before it
 *                     resumes goes to the next one who was waiting then.
 *   SHK_COND_PTHREAD  literally a pthread_cond_t (PTHREAD_PROCESS_SHARED, CLOCK_MONOTONIC), for
 *   programs that call
 *                     pthread_cond_*() themselves on what shk_cond_native() gives. With it a killed
 *                     waiter makes later
 *                     notifiers hang for ever (glibc before 2.41), and a killed notifier makes
 *                     waiters hang (every glibc).
 *
 * Illegal: to wait or notify without holding the lock (-EPERM).
 */
#ifndef SHMKIT_COND_H
#define SHMKIT_COND_H

#include <pthread.h>
#include <shmkit/lock.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_cond;

enum { SHK_COND_ROBUST = 0, SHK_COND_PTHREAD = 1 };

struct shk_cond_options {
    /* the lock to go with it, of the same segment; NULL: a recursive lock of its own */
    struct shk_lock *lock;
    uint32_t kind;        /* SHK_COND_ROBUST, SHK_COND_PTHREAD */
    uint32_t reserved_32; /* zero */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a condition, or with SHK_CREATE create it if it is absent. options: NULL for the defaults,
 * or for whatever is there; if not NULL, kind and lock must be those of the condition that is
 * there. The handle does not keep options->lock; that handle may be closed before this one. Returns
 * 0, or -EXDEV (the lock is of another segment), -ESTALE (its lock has been unlinked), -EPROTOTYPE
 * (present, but no condition, of the other kind, or with another lock), -ENOENT, -EEXIST, -ENOSPC,
 * -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_lock_open(). Killed: it has been created whole or
 * not at all.
 */
SHK_PUBLIC int shk_cond_open(struct shk_segment *, const char *name, unsigned flags,
                             const struct shk_cond_options *options, struct shk_cond **out);

/*
 * Give the handle back; the condition stays. NULL is allowed. Returns 0, or -EBUSY: it has a lock
 * of its own, and the calling thread holds that.
 */
SHK_PUBLIC int shk_cond_close(struct shk_cond *);

/*
 * Acquire and release the condition's lock: exactly shk_lock_acquire() and shk_lock_release() on
 * it.
 */
SHK_PUBLIC int shk_cond_acquire(struct shk_cond *, int64_t timeout);
SHK_PUBLIC int shk_cond_release(struct shk_cond *);

/*
 * Note since when the caller has the condition's lock: exactly shk_lock_stamp() on it. A wait gives
 * the lock up, and ends the note.
 */
SHK_PUBLIC int shk_cond_stamp(struct shk_cond *);

/*
 * Give up the lock (every level of a recursive one), sleep until notified, take the lock back (at
 * the same level). The lock is held on every return but -EPERM. Taking it back ignores the timeout
 * and the interrupt flag. Returns 0: notified. The robust kind never says so without a notify, but
 * for one case: a member that passes on a dead waiter's wake-up and is killed itself may have woken
 * one too many. The pthread kind may, as POSIX allows: within 100 ms of a notify that was
 * another's, and, once shk_cond_native() has been called, every 100 ms (a caller that has a
 * deadline keeps it itself). SHK_ORPHANED (1): a holder of the lock died meanwhile; notified or
 * not, look at the predicate (this outranks the codes below); shk_cond_was_notified() tells which.
 * -ETIMEDOUT, -EINTR: not notified. -EAGAIN: SHK_NOWAIT, which never sleeps and never gives up the
 * lock. -EPERM: the lock is not held. -ESTALE: the condition has been unlinked, before it was
 * notified: a wait that was notified says so, whatever happens to the condition then. Killed:
 * asleep, it is skipped and its wake-up, if it was given one, passed on; with the lock, the next
 * holder gets SHK_ORPHANED. Source: POSIX pthread_cond_wait(); Python threading.Condition.
 */
SHK_PUBLIC int shk_cond_wait(struct shk_cond *, int64_t timeout);

/*
 * Whether the calling thread's last shk_cond_wait(), if it was on this condition, was notified: for
 * a program that was told SHK_ORPHANED, and that counts its notifications.
 * Returns 1 or 0. Of a SHK_COND_PTHREAD condition, 1 may be another waiter's notification.
 * Killed: nothing is touched.
 */
SHK_PUBLIC int shk_cond_was_notified(struct shk_cond *);

/*
 * Wake up to n waiters, those who came first; the dead do not count. The caller holds the lock;
 * they are woken when it gives that up, and resume when they get it. Returns how many, or -EPERM:
 * the lock is not held. For SHK_COND_PTHREAD: how many of shk_cond_wait()'s waiters at most.
 * Killed, in the call or with the lock: of those it was to wake, the first few are released, and
 * awake within about 100 ms, the others still waiting.
 */
SHK_PUBLIC int shk_cond_notify(struct shk_cond *, unsigned n);

/*
 * Wake all waiters. Returns as shk_cond_notify(). Killed: all of them are released, within about
 * 100 ms, or none.
 */
SHK_PUBLIC int shk_cond_notify_all(struct shk_cond *);

/*
 * The pthread objects of a SHK_COND_PTHREAD condition, in shared memory, for programs that call
 * pthread_cond_*() themselves. The mutex is robust: EOWNERDEAD is the caller's to handle. Valid
 * until the handle is closed. Either pointer may be NULL. Do not mix pthread_mutex_lock() with
 * shk_cond_release() in one critical section. From the first call on, shk_cond_wait() returns 0
 * without a notify every 100 ms: of a pthread_cond_signal() that comes while it is awake nothing is
 * left. Returns 0, or -ENOTSUP: the condition is of the robust kind.
 */
SHK_PUBLIC int shk_cond_native(struct shk_cond *, pthread_cond_t **cond, pthread_mutex_t **mutex);

#ifdef __cplusplus
}
#endif

#endif
