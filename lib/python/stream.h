#ifndef SHP_STREAM_H
#define SHP_STREAM_H

#include "object.h"

struct shp_stream {
    struct shp_object object;
    char format[2]; /* of one channel, as struct has it */
    size_t item_size, sample_size, channels, history;
    bool stamped;
};

struct shp_reader {
    PyObject ob_base;
    struct shp_stream *stream; /* a reference */
    struct shk_reader *reader; /* NULL: closed */
    bool busy;                 /* a thread reads, perhaps without the GIL */
    PyObject *weak;
};

extern PyTypeObject *shp_stream_type, *shp_reader_type;

/* Whether another thread of this process waits in the reader. */
bool shp_reader_is_busy(const struct shp_reader *);

int shp_stream_init(PyObject *module);
int shp_reader_init(PyObject *module);

#endif
