/*
 * The end of a segment: its retirement and the removal of its name. Retired means that each call of
 * its members gives -ESTALE.
 *
 *     RT1: the release of `retired`, by the unlinker, pairs with the acquire of each call and of
 *          each join. It comes before the removal of the name. In the other order a member could
 *          wait in this segment while another process creates and opens a new one of its name.
 *
 * Processes that remove a name exclude each other by flock(2) on the file, which the kernel ends
 * with its holder in whatever pid namespace that is. Otherwise two that meant the same file could
 * remove it, and then the new one of that name.
 *
 * A read lease tells whether a process of any pid namespace uses the file: the kernel grants it
 * only while no process has the file open for writing or mapped. Source: fcntl(2), F_SETLEASE.
 */
#ifndef SHKI_RETIRE_H
#define SHKI_RETIRE_H

#include "segment/map.h"

/*
 * What shk_segment_unlink() does, but for waking its sleepers: `wake` is called for that, without
 * any lock, while the segment is mapped. flags: those of shk_segment_unlink_unused(), or this one.
 */
#define SHKI_RETIRE_FORCED 0x100u
int shki_segment_retire(const char *name, unsigned flags, void (*wake)(struct shk_segment *));

/* … and what shk_segment_unlink_any() does. */
int shki_segment_remove(const char *name, void (*wake)(struct shk_segment *));

/*
 * Remove the name of a segment that has been retired: 0, or -ENOENT without a sentence: it was gone
 * already.
 */
int shki_segment_finish_unlink(struct shk_segment *);

/* Remove the name of a segment of another pid namespace if no process uses it: 0, -EBUSY, … */
int shki_segment_remove_deserted(const char *name);

#endif
