/*
 * A barrier: a place where a fixed number of members meet. Each waits until all have arrived; then
 * all go on, and the next round begins.
 *
 * States: filling (0 to parties - 1 have arrived); broken, until it is reset.
 *
 *     struct shk_barrier_options three = { .parties = 3 };
 *     struct shk_barrier *start;
 *     shk_barrier_open(race, "start", SHK_CREATE, &three, &start);
 *     int r = shk_barrier_wait(start, SHK_SEC(10));
 *     if (r == -EPIPE)
 *         errx(1, "the others did not come");
 *     if (r == 0)
 *         puts("and I was the first");
 *
 * A barrier breaks when a member that waits at it gives up (timeout, interrupt) or dies, because
 * the others would wait in vain.
 */
#ifndef SHMKIT_BARRIER_H
#define SHMKIT_BARRIER_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_barrier;

struct shk_barrier_options {
    /* how many meet, up to 65535; at least 1 to create; 0 when opening: any number */
    uint32_t parties;
    uint32_t reserved_32; /* zero */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a barrier, or with SHK_CREATE create it if it is absent. options: NULL to open it as it is.
 * Returns 0, or
 *   -EINVAL      more than 65535 parties; or, to create, none
 *   -EPROTOTYPE  present, but no barrier, or for another number of parties
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the barrier has been created whole or not at all.
 */
SHK_PUBLIC int shk_barrier_open(struct shk_segment *, const char *name, unsigned flags,
                                const struct shk_barrier_options *options,
                                struct shk_barrier **out);

/* Give the handle back; the barrier stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_barrier_close(struct shk_barrier *);

/*
 * Arrive, and wait for the other parties. timeout: nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns the arrival index, 0 for the first member of the round to parties - 1 for the last; or
 *   -EPIPE   the barrier is broken, or was broken or reset while the caller waited
 *   -ETIMEDOUT, -EINTR  the caller gave up, which broke the barrier, however short the time was
 *   -EAGAIN  SHK_NOWAIT, and the caller is not the last to arrive; nothing has changed
 * Killed: while waiting, the barrier breaks within about 100 ms. As the last to arrive, all others
 * go on, or the barrier breaks, or the member has not arrived.
 * Source: POSIX pthread_barrier_wait(); Python threading.Barrier.
 */
SHK_PUBLIC int shk_barrier_wait(struct shk_barrier *, int64_t timeout);

/*
 * Empty the barrier, and mend it if it is broken. Its waiters get -EPIPE, however late they run.
 * Returns 0.
 * Killed: it has happened or not.
 */
SHK_PUBLIC int shk_barrier_reset(struct shk_barrier *);

/*
 * Break the barrier. Its waiters get -EPIPE, and so does each member that arrives until it is
 * reset. Returns 0.
 * Killed: it has happened or not.
 */
SHK_PUBLIC int shk_barrier_abort(struct shk_barrier *);

/*
 * Return how many members wait at it; how many are to meet; 1 if it is broken, else 0. The first
 * and the last are hints, they may have changed since.
 */
SHK_PUBLIC int shk_barrier_waiting(struct shk_barrier *);
SHK_PUBLIC int shk_barrier_parties(struct shk_barrier *);
SHK_PUBLIC int shk_barrier_broken(struct shk_barrier *);

#ifdef __cplusplus
}
#endif

#endif
