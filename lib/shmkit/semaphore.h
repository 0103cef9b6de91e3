/*
 * A semaphore: a number of permits that members take and give back. A permit has no owner, unless
 * the semaphore was created with owners: any member may give one.
 *
 * States: `value` permits are there (0 to max); and a list of waiters, first come, first served.
 *
 *     struct shk_semaphore_options three = { .value = 3, .max = 3 };
 *     struct shk_semaphore *slots;
 *     shk_semaphore_open(s, "slots", SHK_CREATE, &three, &slots);
 *     shk_semaphore_acquire(slots, SHK_FOREVER);
 *     download();
 *     shk_semaphore_release(slots, 1);
 *
 * A permit that has been given to a waiter goes to the next waiter if that one dies before it
 * resumes. If it is stopped instead, the permit goes to the next one after about 100 ms; the
 * stopped waiter keeps its place in line and is skipped until it runs.
 *
 * A waiter that wants more permits than there are keeps its place: those that come after it do not
 * get theirs before, even if there are enough for them.
 *
 * Without owners, a permit that a member has taken and not given back when it dies is lost, as with
 * every counting semaphore.
 *
 * With owners (options.owners = 1) `value` is the number of all permits, for ever. What a process
 * has taken is its own: any thread of it may give it back, no other process can, and a child of
 * fork(2) has none of it. When the process is over (it ended, executed another program, or closed
 * the segment), its permits come back, once, to the waiters first: at the next acquire that would
 * have to wait, or within the waiters' checks (see Killed in common.h). A handle that is closed
 * gives nothing back.
 */
#ifndef SHMKIT_SEMAPHORE_H
#define SHMKIT_SEMAPHORE_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_semaphore;

struct shk_semaphore_options {
    uint32_t value; /* permits at first */
    /* never more than that, up to 2^31 - 1; 0: 2^31 - 1 when creating, any when opening */
    uint32_t max;
    /* 1: with owners, to create it or to be sure that it is; 0: without, or any when opening */
    uint32_t owners;
    uint32_t reserved_32; /* zero */
    uint64_t reserved[7]; /* zero */
};

/*
 * Open a semaphore, or with SHK_CREATE create it if it is absent. options: NULL to create one with
 * 1 permit and no maximum, or to open it as it is. The value is for creating only.
 * Returns 0, or
 *   -EINVAL      the value is more than max, or max more than 2^31 - 1; with owners, to create: the
 *                value is 0, or max is neither 0 nor the value
 *   -EPROTOTYPE  present, but no semaphore, or with another max, or without owners
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the semaphore has been created whole or not at all.
 */
SHK_PUBLIC int shk_semaphore_open(struct shk_segment *, const char *name, unsigned flags,
                                  const struct shk_semaphore_options *options,
                                  struct shk_semaphore **out);

/* Give the handle back; the semaphore stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_semaphore_close(struct shk_semaphore *);

/*
 * Take a permit, waiting for one. timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns 0, or -EAGAIN, -ETIMEDOUT, -EINTR: no permit was taken; -EUSERS as acquire_many().
 * Killed: while waiting, no permit is lost. At the end, the permit has been taken or not; with
 * owners it comes back.
 * Source: POSIX sem_wait(); Python threading.Semaphore.
 */
SHK_PUBLIC int shk_semaphore_acquire(struct shk_semaphore *, int64_t timeout);

/*
 * Take n permits at once, or none of them, waiting until there are n. First come, first served: it
 * is not passed by those that come later and want less.
 * Returns 0, or
 *   -EAGAIN, -ETIMEDOUT, -EINTR  no permit was taken
 *   -EINVAL  n is 0, or more than max
 *   -EUSERS  with owners: more processes have the segment mapped than it has room for members
 * Killed: all n have been taken, or none; with owners they come back.
 */
SHK_PUBLIC int shk_semaphore_acquire_many(struct shk_semaphore *, unsigned n, int64_t timeout);

/*
 * Give n permits, at least 1: first to the waiters, in their order.
 * Returns 0, or
 *   -EOVERFLOW  there would be more than max; nothing has changed
 *   -EPERM      with owners: the process holds fewer; nothing has changed
 *   -EINVAL     n is 0
 * Killed: all n have been given, or none.
 * Source: POSIX sem_post(); Python threading.BoundedSemaphore.
 */
SHK_PUBLIC int shk_semaphore_release(struct shk_semaphore *, unsigned n);

/* Returns how many permits are there; a hint, it may have changed since. */
SHK_PUBLIC int shk_semaphore_value(struct shk_semaphore *);

/*
 * Returns how many permits the calling process holds, or
 *   -ENOTSUP  the semaphore has no owners
 */
SHK_PUBLIC int shk_semaphore_held(struct shk_semaphore *);

#ifdef __cplusplus
}
#endif

#endif
