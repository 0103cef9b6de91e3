/*
 * A condition: a lock, and a list of waiters that sleep until a notifier that has changed what the
 * lock protects wakes them.
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
 *   SHK_COND_ROBUST   (default) A waiter or a notifier may die at any moment. A wake-up that was
 *                     given to a waiter which dies before it resumes goes to the next one of those
 *                     that were waiting then.
 *   SHK_COND_PTHREAD  A pthread_cond_t (PTHREAD_PROCESS_SHARED, CLOCK_MONOTONIC), for programs that
 *                     call pthread_cond_*() on what shk_cond_native() gives. A killed waiter makes
 *                     later notifiers hang for ever (glibc before 2.41), and a killed notifier
 *                     makes waiters hang (every glibc).
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
    /* the lock that goes with it, of the same segment; NULL: a recursive lock of its own */
    struct shk_lock *lock;
    uint32_t kind;        /* SHK_COND_ROBUST, SHK_COND_PTHREAD */
    uint32_t reserved_32; /* zero */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a condition, or with SHK_CREATE create it if it is absent. options: NULL for the defaults,
 * or to open it as it is; if not NULL, kind and lock must be those of an existing condition. The
 * handle does not keep options->lock; that handle may be closed before this one.
 * Returns 0, or
 *   -EXDEV       the lock is of another segment
 *   -ESTALE      its lock has been unlinked
 *   -EPROTOTYPE  present, but no condition, of the other kind, or with another lock
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the condition has been created whole or not at all.
 */
SHK_PUBLIC int shk_cond_open(struct shk_segment *, const char *name, unsigned flags,
                             const struct shk_cond_options *options, struct shk_cond **out);

/*
 * Give the handle back; the condition stays. NULL is allowed.
 * Returns 0, or -EBUSY: the condition has a lock of its own, and the calling thread holds it.
 */
SHK_PUBLIC int shk_cond_close(struct shk_cond *);

/*
 * Acquire and release the condition's lock: as shk_lock_acquire() and shk_lock_release() on it.
 */
SHK_PUBLIC int shk_cond_acquire(struct shk_cond *, int64_t timeout);
SHK_PUBLIC int shk_cond_release(struct shk_cond *);

/*
 * Note since when the caller holds the condition's lock: as shk_lock_stamp() on it. A wait releases
 * the lock and ends the note.
 */
SHK_PUBLIC int shk_cond_stamp(struct shk_cond *);

/*
 * Release the lock (every level of a recursive one), sleep until notified, and take the lock back
 * at the same level. The lock is held on every return but -EPERM. Taking it back ignores the
 * timeout, the interrupt flag and the interrupt call.
 *
 * Call it in a loop that checks the predicate. The robust kind returns 0 only for a notification,
 * with one exception: a member that forwards the wake-up of a dead waiter, and is killed itself,
 * may have woken one waiter too many. The pthread kind may return 0 without one, as POSIX allows:
 * within 0.8 s of a notification that was another's, and, once shk_cond_native() has been called,
 * every 100 ms (a caller that has a deadline checks it itself then).
 *
 * timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns
 *   0             notified
 *   SHK_ORPHANED  (1) a holder of the lock died meanwhile; notified or not, check the predicate.
 *                 This outranks the codes below. shk_cond_was_notified() tells which.
 *   -ETIMEDOUT, -EINTR  not notified
 *   -EAGAIN  SHK_NOWAIT, which never sleeps and never releases the lock
 *   -EPERM   the caller does not hold the lock
 *   -ESTALE  the condition was unlinked before the caller was notified; a wait that was notified
 *            returns 0 even if the condition is unlinked then
 * Killed: asleep, the waiter is skipped, and a wake-up that it was given is forwarded. With the
 * lock, the next holder gets SHK_ORPHANED.
 * Source: POSIX pthread_cond_wait(); Python threading.Condition.
 */
SHK_PUBLIC int shk_cond_wait(struct shk_cond *, int64_t timeout);

/*
 * Tell whether the calling thread's last shk_cond_wait(), if it was on this condition, was
 * notified: for a program that got SHK_ORPHANED and counts its notifications.
 * Returns 1 or 0. Of a SHK_COND_PTHREAD condition, 1 may be another waiter's notification.
 * Killed: nothing is touched.
 */
SHK_PUBLIC int shk_cond_was_notified(struct shk_cond *);

/*
 * Wake up to n waiters, those that came first; dead ones do not count. The caller holds the lock.
 * The waiters wake when the caller releases it, and resume when they get it.
 * Returns how many waiters it wakes (of a SHK_COND_PTHREAD condition: at most so many of those in
 * shk_cond_wait()), or -EPERM: the caller does not hold the lock.
 * Killed, in the call or with the lock: the first few of those waiters are released, and awake
 * within about 100 ms; the others still wait.
 */
SHK_PUBLIC int shk_cond_notify(struct shk_cond *, unsigned n);

/*
 * Wake all waiters. Returns as shk_cond_notify().
 * Killed: all of them are released, within about 100 ms, or none.
 */
SHK_PUBLIC int shk_cond_notify_all(struct shk_cond *);

/*
 * Tell where the pthread objects of a SHK_COND_PTHREAD condition are in shared memory, for programs
 * that call pthread_cond_*() themselves. Either pointer may be NULL. Valid until the handle is
 * closed. The mutex is robust: the caller handles EOWNERDEAD.
 *
 * Do not mix pthread_mutex_lock() with shk_cond_release() in one critical section, nor
 * shk_cond_notify() of another condition with pthread_mutex_unlock(): the waiters would wake after
 * about 100 ms only. From the first call on, shk_cond_wait() returns 0 without a notification every
 * 100 ms, because a pthread_cond_signal() that comes while it is awake leaves no trace.
 * Returns 0, or -ENOTSUP: the condition is of the robust kind.
 */
SHK_PUBLIC int shk_cond_native(struct shk_cond *, pthread_cond_t **cond, pthread_mutex_t **mutex);

#ifdef __cplusplus
}
#endif

#endif
