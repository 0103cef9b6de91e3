/*
 * The segment of objects without a name. A process has one: that of the process that forked it, or
 * of the first object that it has been given, or else one that it makes. An object that comes from
 * another program's segment is opened there.
 */
#ifndef SHP_UNNAMED_H
#define SHP_UNNAMED_H

#include "python.h"

/*
 * Open it once more, for an object; created if it is absent. beside: not that for new objects, but
 * this one. 0, or -1 with an exception.
 */
int shp_unnamed_open(const struct shk_segment *beside, struct shk_segment **out);

/*
 * This process has an object no more. It goes with the last process that has it: now, or when the
 * module comes back to it, with a later object.
 *   pickled  it may be on its way to a process that has not opened it yet. It goes only when there
 *            is no room for another one
 */
void shp_unnamed_left(struct shk_segment *, const char *object, bool pickled);

/* There is no room: whether there was anything that may have been removed. */
bool shp_unnamed_make_room(void);

/* A name that no other object in it has. */
void shp_unnamed_name(char *name, size_t size);

/*
 * A place as it is pickled: (descriptor, object), the descriptor as multiprocessing passes it on to
 * the process for which it pickles. NULL with an exception.
 */
PyObject *shp_unnamed_reduce(struct shk_segment *, const char *object);

/* Open the segment of such a place: 0, or -1. *name is part of `place`. */
int shp_unnamed_reopen(PyObject *place, struct shk_segment **out, const char **name);

#endif
