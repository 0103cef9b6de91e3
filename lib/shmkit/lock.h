/*
 * A lock: one member at a time holds it, as with a mutex of threads. If its holder dies, the next
 * one gets it and is told.
 *
 * States: free; held by one member, once or (recursive) several times. A sticky mark says that a
 * holder died; it is cleared only by an acquire that returns SHK_ORPHANED.
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
 * Who gets it: not first come, first served, but eventually fair: a member that was passed over for
 * 10 to 20 ms at most goes before those who come after; where one member keeps it for more than 10
 * ms at a time, for about 100 ms.
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
 * whatever is there. Returns 0, or -ENOENT, -EEXIST (SHK_EXCL), -EPROTOTYPE (present, but no lock
 * or with other options), -ENOSPC (memory, address space or the directory is full), -EPROTO
 * (corrupted), -EINVAL, -ENAMETOOLONG, -EILSEQ (the name). Killed: it has been created whole or not
 * at all.
 */
SHK_PUBLIC int shk_lock_open(struct shk_segment *, const char *name, unsigned flags,
                             const struct shk_lock_options *options, struct shk_lock **out);

/*
 * Give the handle back; the lock stays. NULL is allowed. Returns 0, or -EBUSY: the calling thread
 * holds it, through whichever handle.
 */
SHK_PUBLIC int shk_lock_close(struct shk_lock *);

/*
 * Acquire. timeout in nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns 0: held. SHK_ORPHANED (1): held, and a holder died holding it since the last time anybody
 * was told. Or
 *   -EDEADLK  not recursive and the caller has it already; or, with SHK_FOREVER, the caller has
 *   become part of a cycle of
 *             such acquires, all of living threads (256 at most), and was chosen to give way
 *   -EAGAIN   SHK_NOWAIT and somebody has it        -EOVERFLOW  recursive, and acquired 2^31 times
 *   -ETIMEDOUT, -EINTR, and the common codes.
 * Killed: while waiting, nothing is left; when it has it, the next one gets SHK_ORPHANED.
 * Source: POSIX pthread_mutex_lock(), robust mutexes; Python threading.Lock, RLock.
 */
SHK_PUBLIC int shk_lock_acquire(struct shk_lock *, int64_t timeout);

/*
 * Release, or for a recursive lock go back by one level. Returns 0, or -EPERM: the caller is not
 * the holder. Works on an unlinked lock and in a closed segment, too: what is held can be given
 * back. Killed: others get the lock; whether as SHK_ORPHANED or not depends on the moment.
 */
SHK_PUBLIC int shk_lock_release(struct shk_lock *);

/*
 * Look at the lock, which stays as it is. What another member does with it may be out of date at
 * once.
 * Returns 0: free, also where its last holder died (the next acquire tells that); 1: another member
 * holds it; 2: the caller holds it; or one of the common codes.
 * Killed: nothing has happened.
 * Source: Python threading.Lock.locked().
 */
SHK_PUBLIC int shk_lock_is_held(struct shk_lock *);

/*
 * How often the caller holds it: how often it has to release it until others get it.
 * Returns 0: not at all; a positive number, more than 1 only for a recursive lock; or one of the
 * common codes.
 * Killed: nothing has happened.
 */
SHK_PUBLIC int shk_lock_depth(struct shk_lock *);

/*
 * Note in the caller's member record that it has had the lock since now, for people: shmctl ps, why
 * and show then tell how long. An acquire notes no time, which would cost a look at the clock;
 * programs that hold a lock for long call this after it. The note ends with the release. A thread
 * has one note in a segment, for the lock that it stamped last.
 * Returns 0, or -EPERM: the caller is not the holder; -EBADF.
 * Killed: there is a note or none.
 */
SHK_PUBLIC int shk_lock_stamp(struct shk_lock *);

#ifdef __cplusplus
}
#endif

#endif
