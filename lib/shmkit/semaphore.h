/*
 * A semaphore: a number of permits that members take and give back. Nobody owns a permit: anybody
 * may give one.
 *
 * States: `value` permits are there (0 to max); and a list of waiters, first come, first served.
 *
 *     struct shk_semaphore *slots;
 *     shk_semaphore_open(s, "slots", SHK_CREATE, &(struct shk_semaphore_options){ .value = 3, .max
 *     = 3 }, &slots);
 *     shk_semaphore_acquire(slots, SHK_FOREVER);
 *     download();
 *     shk_semaphore_release(slots, 1);
 *
 * A permit that has been given to a waiter which dies before it resumes goes to the next; likewise,
 * after about 100 ms, if that waiter is stopped: it keeps its place in line, and is passed over
 * until it runs. A permit that a member has taken and not given back when it dies is gone, as with
 * every counting semaphore: where that matters, use a lock for each thing instead.
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
    /* never more than that, up to 2^31 - 1; 0: 2^31 - 1, or when opening whatever is there */
    uint32_t max;
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a semaphore, or with SHK_CREATE create it if it is absent. options: NULL to create one with
 * 1 permit and without maximum, or for whatever is there; the value is for creating only. Returns
 * 0, or -EINVAL (value or max out of range), -EPROTOTYPE (present, but no semaphore, or with
 * another max), -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open().
 * Killed: it has been created whole or not at all.
 */
SHK_PUBLIC int shk_semaphore_open(struct shk_segment *, const char *name, unsigned flags,
                                  const struct shk_semaphore_options *options,
                                  struct shk_semaphore **out);

/* Give the handle back; the semaphore stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_semaphore_close(struct shk_semaphore *);

/*
 * Take a permit, waiting for one. Returns 0, or -EAGAIN, -ETIMEDOUT, -EINTR. Killed: while waiting,
 * nothing is lost; in the moment of taking it, the permit has been taken or not. Source: POSIX
 * sem_wait(); Python threading.Semaphore.
 */
SHK_PUBLIC int shk_semaphore_acquire(struct shk_semaphore *, int64_t timeout);

/*
 * Give n permits, at least 1: first to those who wait.
 * Returns 0, or -EOVERFLOW: there would be more than max (nothing has changed). -EINVAL: n is 0.
 * Killed: all n have been given, or none.
 * Source: Python threading.BoundedSemaphore.
 */
SHK_PUBLIC int shk_semaphore_release(struct shk_semaphore *, unsigned n);

/* How many permits are there. A look, out of date at once. */
SHK_PUBLIC int shk_semaphore_value(struct shk_semaphore *);

#ifdef __cplusplus
}
#endif

#endif
