/*
 * The segments that this process has mapped, each once however often it is opened. A mapping lasts
 * as long as an open, a member or a pin needs it, its struct as long as a handle does.
 *
 * Order of locks: header.lock (shared), the registry's (process), `local` (one segment, process).
 * The latter two are held for moments only, and never while another process is waited for, since
 * fork(2) takes them.
 */
#ifndef SHKI_REGISTRY_H
#define SHKI_REGISTRY_H

#include "segment/map.h"

void shki_registry_lock(void);
void shki_registry_unlock(void);

/* The first of all; ->next. With the registry's lock. */
struct shk_segment *shki_registry_first(void);

/* Open the segment with that file once more if it is mapped; else NULL. */
struct shk_segment *shki_registry_open(const struct stat *);

/*
 * Add a segment that has been mapped, opened once: 0 with *out, which is another one if another
 * thread has mapped the file meanwhile; -ENOSPC. If it was not added it has been discarded.
 */
int shki_registry_add(struct shk_segment *, const struct stat *, struct shk_segment **out);

/* Undo either: one open less. */
void shki_registry_drop(struct shk_segment *);

/* -EBADF, with the sentence. */
int shki_say_closed(const struct shk_segment *);

static inline bool shki_segment_is_closed(const struct shk_segment *s)
{
    return load_relaxed(&s->openness.opens) == 0;
}

/*
 * Unmap when no open, member or pin needs the mapping. Called with the registry's lock when one of
 * them has ended.
 */
void shki_segment_unmap_if_unused(struct shk_segment *);

/*
 * A pin keeps the mapping during a call of a thread that may be no member: 0, or -EBADF (closed).
 * Each pin wants its unpin, which may unmap the segment.
 */
int shki_segment_pin(struct shk_segment *);
void shki_segment_unpin(struct shk_segment *);

/* The segment with that file if this process has it mapped, pinned; else NULL. */
struct shk_segment *shki_segment_pin_mapped(const struct stat *);

/* A handle less, which kept the struct. May free it. */
void shki_segment_unref(struct shk_segment *);

#endif
