/*
 * A once: something that exactly one member does, such as filling in what is shared; the others
 * wait until it is done. If that member dies in the middle, the next one does it, and is told.
 *
 * States: not done; being done by one member; done, for ever (or until shk_once_reset()).
 *
 *     struct shk_once *once;
 *     shk_once_open(bank, "opened", SHK_CREATE, NULL, &once);
 *     int r = shk_once_begin(once, SHK_FOREVER);
 *     if (r > 0) { // SHK_ONCE_MINE, perhaps with SHK_ORPHANED
 *         if (r & SHK_ORPHANED)
 *             put_the_till_in_order();
 *         account->balance = 0;
 *         shk_once_done(once);
 *     }
 *
 * Illegal: to end it from another thread than the one that began (-EPERM); to end that thread, or
 * close the segment, in the middle (the next one gets SHK_ORPHANED).
 */
#ifndef SHMKIT_ONCE_H
#define SHMKIT_ONCE_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_once;

struct shk_once_options {
    uint64_t reserved[8]; /* zero */
};

/* A bit of what shk_once_begin() returns: the caller is to do it. The other is SHK_ORPHANED. */
#define SHK_ONCE_MINE 2

/*
 * Open a once, or with SHK_CREATE create it, not done, if it is absent. options: NULL.
 * Returns 0, or
 *   -EPROTOTYPE  present, but no once
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the once has been created whole or not at all.
 */
SHK_PUBLIC int shk_once_open(struct shk_segment *, const char *name, unsigned flags,
                             const struct shk_once_options *options, struct shk_once **out);

/*
 * Give the handle back; the once stays. NULL is allowed.
 * Returns 0, or -EBUSY: the calling thread is in the middle of it.
 */
SHK_PUBLIC int shk_once_close(struct shk_once *);

/*
 * Begin, unless it is done; wait while another member is in the middle of it. timeout: nanoseconds,
 * SHK_FOREVER, SHK_NOWAIT.
 * Returns
 *   0              it is done, and what its member did before shk_once_done() is visible
 *   SHK_ONCE_MINE  (2) the caller is to do it, and then to call shk_once_done() or
 *                  shk_once_abandon()
 *   SHK_ONCE_MINE | SHK_ORPHANED  (3) the same, and a member died in the middle: what it left may
 *                  be half done
 *   -EDEADLK    the caller is in the middle of it; or, with SHK_FOREVER, part of a cycle, as with
 *               shk_lock_acquire()
 *   -EAGAIN     SHK_NOWAIT, and another member is in the middle of it
 *   -ETIMEDOUT, -EINTR
 * Killed: while waiting, nothing is left. In the middle of it, the next member takes over.
 * Source: POSIX pthread_once(); Rust std::sync::Once, whose poisoning SHK_ORPHANED is like.
 */
SHK_PUBLIC int shk_once_begin(struct shk_once *, int64_t timeout);

/*
 * It is done: the others go on.
 * Returns 0, or -EPERM: the caller has not begun it.
 * Killed: it is done, or the next member takes over.
 */
SHK_PUBLIC int shk_once_done(struct shk_once *);

/*
 * It is not done, and nothing half done is left: the next member that begins does it.
 * Returns 0, or -EPERM: the caller has not begun it.
 * Killed: it has been abandoned, or the next member takes over, with SHK_ORPHANED.
 */
SHK_PUBLIC int shk_once_abandon(struct shk_once *);

/*
 * Make it not done. Members that have been told that it is done are not asked.
 * Returns 0, also if it was not done; or -EAGAIN: a member is in the middle of it; -EDEADLK: the
 * caller is.
 * Killed: it is done or not.
 */
SHK_PUBLIC int shk_once_reset(struct shk_once *);

/*
 * Ask whether it is done; a hint if another member may reset it.
 * Returns 1 or 0.
 * Killed: nothing has happened.
 */
SHK_PUBLIC int shk_once_is_done(struct shk_once *);

#ifdef __cplusplus
}
#endif

#endif
