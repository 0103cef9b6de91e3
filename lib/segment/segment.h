/*
 * Opening and closing a segment: the top of this folder.
 *
 * Its files are layers. Each calls those above it in this list, none calls one below:
 *
 *     layout.h    what lies in the file, byte for byte
 *     memory      allocate and free the memory behind a mapping
 *     map         a mapped segment; its name, its header, mapping and unmapping
 *     create      a new segment: built without a name, then published
 *     tables      entries, records and nodes by index; which members are alive
 *     image       a segment seen from outside, by reads alone
 *     blocks      the words of the pool's blocks, and the floor between heap and pool
 *     process     which processes have which objects open
 *     registry    the segments of this process, and when they are unmapped
 *     lock        the segment's lock, and the repair of what a dead holder left
 *     recover     deaths that the kernel has not marked
 *     directory   names, entries and extents of objects
 *     slab        memory for this process's members
 *     member      joining and leaving, with the notes in a record (notes)
 *     pool        allocate and free blocks
 *     fork        what fork(2) does to all of that
 *     retire      unlinking
 *     segment     opening and closing
 *
 * Upwards there are callbacks only, set by the layer that they belong to: a segment's `recovery`
 * (recover) and `kinds` (objects), `wake` (objects), shki_in_forked_child (poll).
 */
#ifndef SHKI_SEGMENT_H
#define SHKI_SEGMENT_H

#include "segment/map.h"

/* What shk_segment_open() does, with the kinds that its objects may be of. */
int shki_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *, struct shk_segment **out);

/* What shk_segment_create_unnamed() and shk_segment_open_fd() do, likewise. */
int shki_segment_create_unnamed(const struct shk_segment_options *, const struct shki_kinds *,
                                struct shk_segment **out);
int shki_segment_open_fd(int fd, unsigned flags, const struct shki_kinds *,
                         struct shk_segment **out);

/*
 * What shk_segment_close() does, but for waking the threads of this process that wait in it: `wake`
 * is called for that, with the registry's lock and `local`, when the process's last open is closed.
 */
int shki_segment_close(struct shk_segment *, void (*wake)(struct shk_segment *));

#endif
