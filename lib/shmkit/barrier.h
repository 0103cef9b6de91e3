/*
 * A barrier: a place where a fixed number of members meet. Each waits until all have arrived, then
 * all go on; and so round after round.
 *
 * States: filling (0 to parties - 1 have arrived); broken, until it is reset.
 *
 *     struct shk_barrier *start;
 *     shk_barrier_open(race, "start", SHK_CREATE, &(struct shk_barrier_options){ .parties = 3 },
 *     &start);
 *     int r = shk_barrier_wait(start, SHK_SEC(10));
 *     if (r == -EPIPE)
 *         errx(1, "somebody did not come");
 *     if (r == 0)
 *         puts("and I was the first");
 *
 * A barrier breaks when a member that waits at it gives up (timeout, interrupt) or dies: the others
 * would wait in vain.
 */
#ifndef SHMKIT_BARRIER_H
#define SHMKIT_BARRIER_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_barrier;

struct shk_barrier_options {
    /* how many meet, up to 65535; at least 1 to create; 0 when opening: whatever is there */
    uint32_t parties;
    uint32_t reserved_32; /* zero */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a barrier, or with SHK_CREATE create it if it is absent. options: NULL for whatever is
 * there. Returns 0, or -EINVAL (parties; to create, 0), -EPROTOTYPE (present, but no barrier, or
 * for another number), -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as
 * shk_lock_open(). Killed: it has been created whole or not at all.
 */
SHK_PUBLIC int shk_barrier_open(struct shk_segment *, const char *name, unsigned flags,
                                const struct shk_barrier_options *options,
                                struct shk_barrier **out);

/* Give the handle back; the barrier stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_barrier_close(struct shk_barrier *);

/*
 * Arrive, and wait for the others.
 * Returns 0 to parties - 1: the how manieth it was to arrive this round, 0 being the first. Or
 *   -EPIPE  the barrier is broken, or was broken or reset meanwhile
 *   -ETIMEDOUT, -EINTR  given up, and the barrier is broken thereby, however short the time was
 *   -EAGAIN  SHK_NOWAIT and not the last to arrive; nothing has changed
 * Killed: while waiting, the barrier breaks within about 100 ms. As the last to arrive: all others
 * go on, or it breaks, or it has not arrived and nobody
 * notices.
 * Source: POSIX pthread_barrier_wait(); Python threading.Barrier.
 */
SHK_PUBLIC int shk_barrier_wait(struct shk_barrier *, int64_t timeout);

/*
 * Empty it and mend it if it is broken; the waiters get -EPIPE, however late they run. Returns
 * 0. Killed: it has happened or not.
 */
SHK_PUBLIC int shk_barrier_reset(struct shk_barrier *);

/*
 * Break it; those who wait get -EPIPE, and so do all who come until it is reset. Returns 0. Killed:
 * it has happened or not.
 */
SHK_PUBLIC int shk_barrier_abort(struct shk_barrier *);

/*
 * How many wait at it; how many are to meet; whether it is broken (1 or 0). The first and the last
 * are looks, out of date at once.
 */
SHK_PUBLIC int shk_barrier_waiting(struct shk_barrier *);
SHK_PUBLIC int shk_barrier_parties(struct shk_barrier *);
SHK_PUBLIC int shk_barrier_broken(struct shk_barrier *);

#ifdef __cplusplus
}
#endif

#endif
