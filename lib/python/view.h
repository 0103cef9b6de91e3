/*
 * A view: memory that Python and numpy reach through the buffer protocol without a copy, and that
 * comes to an end: a reservation, a peek, samples.
 *
 * A memoryview, and all that is made of it, holds an export of the view. The view cannot be ended
 * while there are any; after its end it gives none.
 */
#ifndef SHP_VIEW_H
#define SHP_VIEW_H

#include "python.h"

struct shp_view {
    PyObject ob_base;
    void *data;
    Py_ssize_t length; /* bytes */
    Py_ssize_t exports;
    PyObject *owner; /* kept until the view has gone: the object whose memory it is; may be NULL */
    bool readonly, ended;
    bool own;       /* data is of PyMem_Malloc(), and freed with the view */
    char format[8]; /* of struct; "B" */
    Py_ssize_t item_size;
    int dimensions;
    Py_ssize_t shape[2], strides[2];
    PyObject *memory; /* the memoryview that was handed out; a view that comes to an end has it */
};

/* A view of bytes; owner: a borrowed reference, or NULL. NULL with an exception. */
struct shp_view *shp_view_new(void *data, size_t length, bool readonly, PyObject *owner);

/* A new reference to the memoryview of it, which the view keeps, too. */
PyObject *shp_view_memory(struct shp_view *);

/* A memoryview of it, which alone keeps the view; the reference to the view is taken. */
PyObject *shp_view_give(struct shp_view *);

/*
 * Release what was handed out, and end the view: 0; or -1 with BufferError, while an array, a part
 * or another memoryview of it is alive: `what` says what cannot be done then.
 */
int shp_view_end(struct shp_view *, const char *what);

int shp_views_init(PyObject *module);

#endif
