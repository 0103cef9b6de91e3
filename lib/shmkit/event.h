/*
 * An event: a flag that members can wait for.
 *
 * States: clear (at first), set.
 *
 *     struct shk_event *go;
 *     shk_event_open(race, "go", SHK_CREATE, NULL, &go);
 *     if (shk_event_wait(go, SHK_SEC(10)) == -ETIMEDOUT)
 *         errx(3, "nobody said go");
 *
 * Setting releases all that wait at that moment, even if it is cleared at once, and even if
 * it is unlinked then.
 */
#ifndef SHMKIT_EVENT_H
#define SHMKIT_EVENT_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_event;

struct shk_event_options {
    uint64_t reserved[8]; /* zero */
};

/*
 * Open an event, or with SHK_CREATE create it, clear, if it is absent. Returns 0, or -ENOENT,
 * -EEXIST, -EPROTOTYPE (present, but no event), -ENOSPC, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ
 * as shk_lock_open(). Killed: it has been created whole or not at all.
 */
SHK_PUBLIC int shk_event_open(struct shk_segment *, const char *name, unsigned flags,
                              const struct shk_event_options *options, struct shk_event **out);

/* Give the handle back; the event stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_event_close(struct shk_event *);

/*
 * Set it and release all who wait. Returns 0. Killed: it is set and all are released, within about
 * 100 ms, or nothing has happened.
 */
SHK_PUBLIC int shk_event_set(struct shk_event *);

/* Clear it. Returns 0. Killed: it is clear or not. */
SHK_PUBLIC int shk_event_clear(struct shk_event *);

/* Returns 1 if it is set, 0 if not. Killed: nothing is touched. */
SHK_PUBLIC int shk_event_is_set(struct shk_event *);

/*
 * Wait until it is set; returns at once if it is.
 * Returns 0, or -EAGAIN, -ETIMEDOUT, -EINTR.
 * Killed: nobody else notices.
 * Source: Python threading.Event.
 */
SHK_PUBLIC int shk_event_wait(struct shk_event *, int64_t timeout);

#ifdef __cplusplus
}
#endif

#endif
