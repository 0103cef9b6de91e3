/*
 * An event: a flag that members can wait for.
 *
 * States: clear (at first), set.
 *
 *     struct shk_event *go;
 *     shk_event_open(race, "go", SHK_CREATE, NULL, &go);
 *     if (shk_event_wait(go, SHK_SEC(10)) == -ETIMEDOUT)
 *         errx(3, "no start within 10 seconds");
 *
 * A set releases all members that wait at that moment, even if the event is cleared or unlinked
 * right after it.
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
 * Open an event, or with SHK_CREATE create it, clear, if it is absent. options: NULL, or zeros.
 * Returns 0, or
 *   -EPROTOTYPE  present, but no event
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the event has been created whole or not at all.
 */
SHK_PUBLIC int shk_event_open(struct shk_segment *, const char *name, unsigned flags,
                              const struct shk_event_options *options, struct shk_event **out);

/* Give the handle back; the event stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_event_close(struct shk_event *);

/*
 * Set the event and release all waiters. Returns 0.
 * Killed: it is set and all are released, within about 100 ms, or nothing has happened.
 */
SHK_PUBLIC int shk_event_set(struct shk_event *);

/* Clear the event. Returns 0. Killed: it is clear or not. */
SHK_PUBLIC int shk_event_clear(struct shk_event *);

/* Returns 1 if the event is set, 0 if not; a hint, it may have changed since. */
SHK_PUBLIC int shk_event_is_set(struct shk_event *);

/*
 * Wait until the event is set; return at once if it is. timeout: nanoseconds, SHK_FOREVER,
 * SHK_NOWAIT.
 * Returns 0, or -EAGAIN, -ETIMEDOUT, -EINTR: it was not set meanwhile.
 * Killed: no other member notices.
 * Source: Python threading.Event.
 */
SHK_PUBLIC int shk_event_wait(struct shk_event *, int64_t timeout);

#ifdef __cplusplus
}
#endif

#endif
