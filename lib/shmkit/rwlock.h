/*
 * A rwlock: any number of members hold it shared, to read, or one member holds it exclusively, to
 * write. If a member dies while it writes, every member that acquires it is told, until a writer
 * says that what it protects is mended.
 *
 * States: free; held shared by some members; held exclusively by one. A mark says that a writer
 * died in the middle of writing. It is cleared only by shk_rwlock_recover().
 *
 *     struct shk_rwlock *lock;
 *     shk_rwlock_open(bank, "books", SHK_CREATE, NULL, &lock);
 *     int r = shk_rwlock_acquire_shared(lock, SHK_SEC(2));
 *     if (r == 0) // SHK_ORPHANED: half written, to be mended by a writer
 *         printf("%lld\n", (long long)account->balance);
 *     if (r >= 0)
 *         shk_rwlock_release(lock);
 *
 * Order: phase-fair. A writer that waits lets no new readers in. When it has written, the readers
 * that wait get in, all of them, before the next writer. Among writers as in lock.h.
 *
 * Readers do not slow each other down: a reader writes to a cache line of its own only, without an
 * atomic instruction where membarrier(2) is at hand. A writer pays for that.
 *
 * Illegal: to release from another thread than the one that acquired (-EPERM); to end a thread, or
 * close the segment, while holding it.
 */
#ifndef SHMKIT_RWLOCK_H
#define SHMKIT_RWLOCK_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_rwlock;

struct shk_rwlock_options {
    uint32_t no_deadlock_check; /* 1: never -EDEADLK for a cycle of several members */
    uint32_t reserved_32;       /* zero */
    uint64_t reserved[8];       /* zero */
};

/*
 * Open a rwlock, or with SHK_CREATE create it if it is absent. options: NULL for a plain one, or
 * for the rwlock as it is.
 * Returns 0, or
 *   -EPROTOTYPE  present, but no rwlock, or a rwlock with other options
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the rwlock has been created whole or not at all.
 */
SHK_PUBLIC int shk_rwlock_open(struct shk_segment *, const char *name, unsigned flags,
                               const struct shk_rwlock_options *options, struct shk_rwlock **out);

/*
 * Give the handle back; the rwlock stays. NULL is allowed.
 * Returns 0, or -EBUSY: the calling thread holds the rwlock, through this handle or another.
 */
SHK_PUBLIC int shk_rwlock_close(struct shk_rwlock *);

/*
 * Acquire a share, to read, waiting while a member writes, or waits to. timeout: nanoseconds,
 * SHK_FOREVER, SHK_NOWAIT. A thread that has a share may acquire it again, without waiting, and
 * must release it as often.
 * Returns
 *   0             the caller has a share
 *   SHK_ORPHANED  (1) the caller has a share, and a writer died while it wrote; what the rwlock
 *                 protects has not been mended since
 *   -EDEADLK    the caller holds the rwlock exclusively (see shk_rwlock_downgrade()); or, with
 *               SHK_FOREVER, the caller is part of a cycle of acquires of locks and rwlocks, all
 *               of living threads (256 at most), and was chosen to give way
 *   -EAGAIN     SHK_NOWAIT, and a member writes, or waits to
 *   -EOVERFLOW  acquired 2^31 times
 *   -ENOSPC     there is no memory for the caller's mark as a reader
 *   -ETIMEDOUT, -EINTR
 * Killed: while waiting, nothing is left. While holding it, the share is free at once.
 * Source: POSIX pthread_rwlock_rdlock(); Dice and Kogan, "BRAVO: Biased Locking for Reader-Writer
 * Locks", USENIX ATC 2019; Brandenburg and Anderson, "Spin-Based Reader-Writer Synchronization for
 * Multiprocessor Real-Time Systems", 2010 (phase-fair).
 */
SHK_PUBLIC int shk_rwlock_acquire_shared(struct shk_rwlock *, int64_t timeout);

/*
 * Acquire the rwlock exclusively, to write, waiting while other members hold it. timeout:
 * nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns
 *   0             the caller alone holds it
 *   SHK_ORPHANED  (1) the same, and a writer died while it wrote: mend what the rwlock protects,
 *                 then call shk_rwlock_recover()
 *   -EDEADLK    the caller holds it already, shared or exclusively; or a cycle, as above
 *   -EAGAIN     SHK_NOWAIT, and another member holds it
 *   -ETIMEDOUT, -EINTR
 * Killed: while waiting, nothing is left. While holding it, all others get SHK_ORPHANED.
 * Source: POSIX pthread_rwlock_wrlock().
 */
SHK_PUBLIC int shk_rwlock_acquire(struct shk_rwlock *, int64_t timeout);

/*
 * Release what the caller holds, a share (once) or the whole. An unlinked rwlock, or a rwlock of a
 * segment that has been closed meanwhile, can be released, too.
 * Returns 0, or -EPERM: the caller does not hold it.
 * Killed: it is free for the others; a writer's death is told, or it had released.
 */
SHK_PUBLIC int shk_rwlock_release(struct shk_rwlock *);

/*
 * From a writer become a reader, without a moment at which another writer could get in. Readers
 * that wait are let in.
 * Returns 0, or -EPERM: the caller does not hold the rwlock exclusively.
 * Killed: as a writer, or as a reader.
 * Source: Java's ReentrantReadWriteLock, lock downgrading.
 */
SHK_PUBLIC int shk_rwlock_downgrade(struct shk_rwlock *);

/*
 * Say that what the rwlock protects is mended: SHK_ORPHANED is not told any more.
 * Returns 0, also if no writer had died; or -EPERM: the caller does not hold it exclusively.
 * Killed: it has been said or not; the caller died as a writer, which is told.
 * Source: POSIX pthread_mutex_consistent().
 */
SHK_PUBLIC int shk_rwlock_recover(struct shk_rwlock *);

/*
 * Ask how the calling thread holds the rwlock.
 * Returns 0: not at all; 1: shared; 2: exclusively.
 * Killed: nothing has happened.
 */
SHK_PUBLIC int shk_rwlock_is_held(struct shk_rwlock *);

#ifdef __cplusplus
}
#endif

#endif
