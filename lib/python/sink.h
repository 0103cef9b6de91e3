/*
 * Sinks: memory with a mark in front, which an object is pickled into. See sink.c.
 */
#ifndef SHP_SINK_H
#define SHP_SINK_H

#include "python.h"

struct shp_sink {
    PyObject ob_base;
    char *data;
    size_t length, room;
    PyObject *dump, *clear_memo; /* of its pickler, which refers to the sink's write() */
    struct shp_sink *next;       /* in the list of free ones */
};

/* A sink that has the mark and the pickled object; NULL with an exception. */
struct shp_sink *shp_sink_pickle(const char *mark, PyObject *object);

/* One that has the mark and those bytes; NULL with an exception. */
struct shp_sink *shp_sink_copy(const char *mark, const char *data, size_t length);

/* Give it back, for the next. */
void shp_sink_give(struct shp_sink *);

int shp_sinks_init(PyObject *module);

#endif
