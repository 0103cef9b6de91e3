/*
 * A lock: one member at a time holds it, as with a mutex between threads. If its holder dies, the
 * next member that acquires it gets it and is told.
 *
 * States: free; held by one member, once or (recursive) several times. A sticky mark says that a
 * holder died. It is cleared only by an acquire that returns SHK_ORPHANED.
 *
 *     struct shk_lock *lock;
 *     shk_lock_open(bank, "till", SHK_CREATE, NULL, &lock);
 *     int r = shk_lock_acquire(lock, SHK_SEC(2));
 *     if (r == SHK_ORPHANED)
 *         put_the_till_in_order();
 *     if (r >= 0) {
 *         …
 *         shk_lock_release(lock);
 *     }
 *
 * Order: not first come, first served, but eventually fair. A waiter that later arrivals have
 * barged past for at most 10 to 20 ms gets the lock before them; where one member holds it for more
 * than 10 ms at a time, after about 100 ms.
 *
 * Illegal: to release from another thread than the one that acquired (-EPERM); to end a thread, or
 * close the segment, while holding it (the next holder gets SHK_ORPHANED).
 */
#ifndef SHMKIT_LOCK_H
#define SHMKIT_LOCK_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_lock;

struct shk_lock_options {
    /* 1: its holder may acquire it again and must release it as often */
    uint32_t recursive;
    uint32_t no_deadlock_check; /* 1: never -EDEADLK for a cycle of several members */
    uint64_t reserved[8];       /* zero */
};

/*
 * Open a lock, or with SHK_CREATE create it if it is absent. options: NULL for a plain lock, or for
 * the lock as it is.
 * Returns 0, or
 *   -ENOENT      absent, and no SHK_CREATE
 *   -EEXIST      present, and SHK_EXCL
 *   -EPROTOTYPE  present, but no lock, or a lock with other options
 *   -ENOSPC      no memory, no address space, or the directory is full
 *   -EPROTO      the shared memory is damaged
 *   -EINVAL, -ENAMETOOLONG, -EILSEQ  the name is invalid, too long, not UTF-8
 * The handle is the caller's, which closes it.
 * Killed: the lock has been created whole or not at all.
 */
SHK_PUBLIC int shk_lock_open(struct shk_segment *, const char *name, unsigned flags,
                             const struct shk_lock_options *options, struct shk_lock **out);

/*
 * Give the handle back; the lock stays. NULL is allowed.
 * Returns 0, or -EBUSY: the calling thread holds the lock, through this handle or another.
 */
SHK_PUBLIC int shk_lock_close(struct shk_lock *);

/*
 * Acquire the lock, waiting while another member holds it. timeout: nanoseconds, SHK_FOREVER,
 * SHK_NOWAIT.
 * Returns
 *   0             the caller holds it
 *   SHK_ORPHANED  (1) the caller holds it, and a holder has died since this was last returned
 *   -EDEADLK    not recursive, and the caller holds it already; or, with SHK_FOREVER, the caller is
 *               part of a cycle of such acquires, all of living threads (256 at most), and was
 *               chosen to give way
 *   -EAGAIN     SHK_NOWAIT, and another member holds it
 *   -EOVERFLOW  recursive, and acquired 2^31 times
 *   -ETIMEDOUT, -EINTR
 * Killed: while waiting, nothing is left. While holding it, the next holder gets SHK_ORPHANED.
 * Source: POSIX pthread_mutex_lock(), robust mutexes; Python threading.Lock, RLock.
 */
SHK_PUBLIC int shk_lock_acquire(struct shk_lock *, int64_t timeout);

/*
 * Release the lock, or for a recursive one go back by one level. An unlinked lock, or a lock of a
 * segment that has been closed meanwhile, can be released, too.
 * Returns 0, or -EPERM: the caller is not the holder.
 * Killed: the next member gets the lock, with SHK_ORPHANED or without.
 */
SHK_PUBLIC int shk_lock_release(struct shk_lock *);

/*
 * Ask for the state of the lock, which stays as it is. The answer about another member is a hint:
 * it may have changed since.
 * Returns 0: free, also if its last holder died (the next acquire reports that); 1: another member
 * holds it; 2: the caller holds it.
 * Killed: nothing has happened.
 * Source: Python threading.Lock.locked().
 */
SHK_PUBLIC int shk_lock_is_held(struct shk_lock *);

/*
 * Ask how often the caller has to release the lock until it is free.
 * Returns 0: the caller does not hold it; more than 1 only for a recursive lock.
 * Killed: nothing has happened.
 */
SHK_PUBLIC int shk_lock_depth(struct shk_lock *);

/*
 * Note in the caller's member record that it holds the lock since now, so that shmctl ps, why and
 * show can tell for how long. An acquire does not note the time, because it would have to read the
 * clock; programs that hold a lock for long call this after it. The note ends with the release. A
 * thread has one note in a segment, for the lock that it stamped last. On etcd the time of the
 * acquire is known without it.
 * Returns 0, or -EPERM: the caller is not the holder.
 * Killed: there is a note or none.
 */
SHK_PUBLIC int shk_lock_stamp(struct shk_lock *);

/*
 * Give the number of the caller's turn as the holder: *token. The token of each later holder is
 * greater, whatever has ended the turns between; in one turn it stays the same. What the lock
 * protects may keep the greatest token that it has seen, and refuse a holder that comes with less:
 * one that was stopped for so long that the lock, on etcd, has been taken from it.
 * Returns 0, or
 *   -EINVAL  a pointer is NULL
 *   -EPERM   the caller is not the holder
 *   -ESTALE  on etcd: the caller's lease has ended, and the lock with it
 * Killed: nothing has happened.
 * Source: fencing tokens (Chubby's sequencers).
 */
SHK_PUBLIC int shk_lock_token(struct shk_lock *, uint64_t *token);

#ifdef __cplusplus
}
#endif

#endif
