/* Reader: one reader of a stream. What it gives are memoryviews that numpy wraps. */
#include "args.h"
#include "errors.h"
#include "stream.h"
#include "view.h"
#include "wait.h"

#include <stddef.h>
#include <string.h>

#define BLOCK 1024 /* samples of a read that says nothing */

/* ---- Making ---- */

static int start_of(PyObject *start, uint32_t *from)
{
    *from = SHK_NEXT;
    if (start == NULL || start == Py_None)
        return 0;
    if (PyUnicode_Check(start) && PyUnicode_CompareWithASCIIString(start, "next") == 0)
        return 0;
    *from = SHK_OLDEST;
    if (PyUnicode_Check(start) && PyUnicode_CompareWithASCIIString(start, "oldest") == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "a reader starts at \"next\" or \"oldest\", not %R", start);
    return -1;
}

static int reader_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"stream", "start", NULL};
    struct shp_reader *r = (struct shp_reader *)self;
    PyObject *stream, *start = NULL;
    uint32_t from;
    int code;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O:Reader", words, shp_stream_type, &stream,
                                     &start) ||
        start_of(start, &from) < 0)
        return -1;
    if (r->stream) {
        PyErr_SetString(PyExc_RuntimeError, "the reader is open already");
        return -1;
    }
    if (shp_check_open(&((struct shp_stream *)stream)->object) < 0)
        return -1;
    code = shk_reader_open(((struct shp_stream *)stream)->object.handle, from, &r->reader);
    if (code < 0) {
        r->reader = NULL;
        shp_error(code);
        return -1;
    }
    r->stream = (struct shp_stream *)Py_NewRef(stream);
    return 0;
}

static void reader_dealloc(PyObject *self)
{
    struct shp_reader *r = (struct shp_reader *)self;
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);

    if (r->weak)
        PyObject_ClearWeakRefs(self);
    shk_reader_close(r->reader);
    Py_XDECREF((PyObject *)r->stream);
    free_it(self);
    Py_DECREF(type);
}

bool shp_reader_is_busy(const struct shp_reader *r)
{
    /* after a fork no thread of the child waits in it, though one of the parent did */
    return r->busy && shp_is_waited_for(&r->stream->object);
}

static int check_usable(const struct shp_reader *r)
{
    if (r->stream == NULL || r->reader == NULL) {
        PyErr_SetString(shp_Closed, "the reader is closed");
        return -1;
    }
    if (shp_reader_is_busy(r)) {
        PyErr_SetString(PyExc_RuntimeError, "another thread reads with this reader: each needs one "
                                            "of its own");
        return -1;
    }
    return shp_check_open(&r->stream->object);
}

static PyObject *reader_close(struct shp_reader *r, PyObject *unused)
{
    (void)unused;
    if (shp_reader_is_busy(r)) {
        PyErr_SetString(PyExc_RuntimeError, "the reader cannot be closed: a thread waits in it");
        return NULL;
    }
    shk_reader_close(r->reader);
    r->reader = NULL;
    return Py_NewRef(Py_None);
}

/* ---- Samples ---- */

/* n samples in memory of PyMem_Malloc(), which is taken. */
static PyObject *samples_view(const struct shp_stream *st, void *data, size_t n)
{
    struct shp_view *v = shp_view_new(data, n * st->sample_size, false, NULL);

    if (v == NULL) {
        PyMem_Free(data);
        return NULL;
    }
    v->own = true;
    memcpy(v->format, st->format, sizeof(st->format));
    v->item_size = (Py_ssize_t)st->item_size;
    v->shape[0] = (Py_ssize_t)n;
    v->strides[0] = (Py_ssize_t)st->sample_size;
    v->shape[1] = (Py_ssize_t)st->channels;
    v->strides[1] = v->item_size;
    v->dimensions = st->channels > 1 ? 2 : 1;
    return shp_view_give(v);
}

static PyObject *stamps_view(void *data, size_t n)
{
    struct shp_view *v = shp_view_new(data, n * sizeof(int64_t), false, NULL);

    if (v == NULL) {
        PyMem_Free(data);
        return NULL;
    }
    v->own = true;
    strcpy(v->format, "q");
    v->item_size = sizeof(int64_t);
    v->shape[0] = (Py_ssize_t)n;
    v->strides[0] = v->item_size;
    return shp_view_give(v);
}

struct read {
    struct shk_reader *reader;
    void *samples;
    int64_t *stamps; /* NULL: none are wanted */
    size_t n;
};

static int64_t call_read(void *arg, int64_t timeout)
{
    const struct read *r = arg;

    return r->stamps ? shk_reader_read_stamped(r->reader, r->samples, r->stamps, r->n, timeout)
                     : shk_reader_read(r->reader, r->samples, r->n, timeout);
}

static int64_t call_latest(const struct read *r)
{
    return r->stamps ? shk_reader_latest_stamped(r->reader, r->samples, r->stamps, r->n)
                     : shk_reader_latest(r->reader, r->samples, r->n);
}

static int make_room(const struct shp_stream *st, struct read *read, bool stamped)
{
    if (stamped && !st->stamped) {
        PyErr_Format(PyExc_ValueError, "%s is a stream without time stamps",
                     shp_describe(&st->object));
        return -1;
    }
    if (read->n > st->history)
        read->n = st->history;
    read->samples = PyMem_Malloc(read->n * st->sample_size + 1);
    read->stamps = stamped ? PyMem_Malloc(read->n * sizeof(int64_t) + 1) : NULL;
    if (read->samples && (!stamped || read->stamps))
        return 0;
    PyMem_Free(read->samples);
    PyErr_NoMemory();
    return -1;
}

/* The samples, or (samples, stamps); the memory is taken. */
static PyObject *give(const struct shp_stream *st, const struct read *read, size_t n)
{
    PyObject *samples = samples_view(st, read->samples, n), *stamps;

    if (read->stamps == NULL)
        return samples;
    stamps = stamps_view(read->stamps, n);
    if (samples && stamps)
        return Py_BuildValue("(NN)", samples, stamps);
    Py_XDECREF(samples);
    Py_XDECREF(stamps);
    return NULL;
}

static PyObject *read_error(int64_t r)
{
    if (r != -EPIPE)
        return shp_error(r);
    PyErr_SetString(PyExc_EOFError, shk_last_error());
    return NULL;
}

/* (n, …): how many samples at most, 1 or more; -1 with an exception. */
static int count_of(PyObject *given, size_t otherwise, size_t *n)
{
    *n = otherwise;
    if (given && given != Py_None) {
        *n = PyLong_AsSize_t(given);
        if (*n == (size_t)-1 && PyErr_Occurred())
            return -1;
    }
    if (*n > 0)
        return 0;
    PyErr_SetString(PyExc_ValueError, "at least one sample is read");
    return -1;
}

static PyObject *read_samples(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                              PyObject *keywords, bool stamped)
{
    static const char *const names[] = {"n", "timeout", NULL};
    struct read read = {.n = BLOCK};
    int64_t timeout, got;
    PyObject *a[2];

    if (shp_args_slow("read", names, 0, args, n, keywords, a) < 0 ||
        count_of(a[0], BLOCK, &read.n) < 0 || shp_timeout(a[1], SHK_NOWAIT, &timeout) < 0 ||
        check_usable(r) < 0 || make_room(r->stream, &read, stamped) < 0)
        return NULL;
    read.reader = r->reader;
    r->busy = true;
    got = shp_wait(&r->stream->object, call_read, &read, timeout);
    r->busy = false;
    if (shp_would_wait(got) || got == -ETIMEDOUT)
        got = 0;
    if (got >= 0)
        return give(r->stream, &read, (size_t)got);
    PyMem_Free(read.samples);
    PyMem_Free(read.stamps);
    return read_error(got);
}

static PyObject *reader_read(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    return read_samples(r, args, n, keywords, false);
}

static PyObject *reader_read_stamped(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                                     PyObject *keywords)
{
    return read_samples(r, args, n, keywords, true);
}

static PyObject *latest(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                        PyObject *keywords, bool stamped)
{
    static const char *const names[] = {"n", NULL};
    struct read read;
    int64_t got;
    PyObject *a[1];

    if (shp_args_slow("latest", names, 0, args, n, keywords, a) < 0 || check_usable(r) < 0 ||
        count_of(a[0], 1, &read.n) < 0 || make_room(r->stream, &read, stamped) < 0)
        return NULL;
    read.reader = r->reader;
    got = call_latest(&read);
    if (got >= 0)
        return give(r->stream, &read, (size_t)got);
    PyMem_Free(read.samples);
    PyMem_Free(read.stamps);
    return read_error(got);
}

static PyObject *reader_latest(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                               PyObject *keywords)
{
    return latest(r, args, n, keywords, false);
}

static PyObject *reader_latest_stamped(struct shp_reader *r, PyObject *const *args, Py_ssize_t n,
                                       PyObject *keywords)
{
    return latest(r, args, n, keywords, true);
}

/* ---- Iterating ---- */

static PyObject *reader_next(PyObject *self)
{
    PyObject *samples = reader_read((struct shp_reader *)self, NULL, 0, NULL);

    if (samples == NULL && PyErr_ExceptionMatches(PyExc_EOFError))
        PyErr_Clear(); /* the end of the iteration */
    return samples;
}

static PyObject *reader_iter(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *reader_follow(PyObject *self, PyObject *const *args, Py_ssize_t n,
                               PyObject *keywords)
{
    return shp_delegate("shmkit._wait", "follow", self, args, n, keywords);
}

static PyObject *reader_aread(PyObject *self, PyObject *const *args, Py_ssize_t n,
                              PyObject *keywords)
{
    return shp_delegate("shmkit._aio", "aread", self, args, n, keywords);
}

/* ---- Attributes ---- */

static PyObject *get_dropped(struct shp_reader *r, void *unused)
{
    (void)unused;
    return check_usable(r) < 0 ? NULL : PyLong_FromLongLong(shk_reader_dropped(r->reader));
}

static PyObject *get_stream(struct shp_reader *r, void *unused)
{
    (void)unused;
    return Py_NewRef(r->stream ? (PyObject *)r->stream : Py_None);
}

static PyObject *reader_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *reader_exit(struct shp_reader *r, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return reader_close(r, NULL);
}

#define READ_DOC                                                                                   \
    "Read the next samples, at most n, waiting until there is one. timeout: seconds.\n\n"          \
    "Returns a memoryview of the stream's format and of shape (samples,), or, with several\n"      \
    "channels, (samples, channels); numpy.asarray() makes an array of it without a copy.\n"        \
    "It is empty when the time is over. Samples that were overwritten before are counted in\n"     \
    "`dropped`.\n"                                                                                 \
    "Raises EOFError: all are read, and the last writer by role has gone; Orphaned, once before\n" \
    "that: one of them died; RuntimeError: another thread uses the reader; Unlinked; Closed."

static PyMethodDef reader_methods[] = {
    {"read", SHP_FAST(reader_read), "read(n=1024, timeout=None)\n--\n\n" READ_DOC},
    {"read_stamped", SHP_FAST(reader_read_stamped),
     "read_stamped(n=1024, timeout=None)\n--\n\nAs read(); returns (samples, stamps), the time of\n"
     "each in ns of CLOCK_MONOTONIC. Raises ValueError if the stream has no time stamps."},
    {"latest", SHP_FAST(reader_latest),
     "latest(n=1)\n--\n\nReturns the newest samples, at most n, oldest first, as read() does, "
     "without waiting\nand without moving the reader on. It may be empty."},
    {"latest_stamped", SHP_FAST(reader_latest_stamped),
     "latest_stamped(n=1)\n--\n\nAs latest(); returns (samples, stamps)."},
    {"follow", SHP_FAST(reader_follow),
     "follow(n=1024, timeout=None)\n--\n\nAn iterator of what read(n) returns, to the end: the "
     "last writer has gone, or the\ntime is over."},
    {"aread", SHP_FAST(reader_aread),
     "aread(n=1024, timeout=None)\n--\n\nawait reader.aread(): as read(), for asyncio."},
    {"close", SHP_NOARGS(reader_close), "close()\n--\n\nGive the reader back."},
    {"__enter__", SHP_NOARGS(reader_enter), NULL},
    {"__exit__", SHP_PLAIN(reader_exit), NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef reader_getset[] = {
    {"dropped", (getter)get_dropped, NULL,
     "How many samples were overwritten before this reader came to them.", NULL},
    {"stream", (getter)get_stream, NULL, "The stream.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef reader_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct shp_reader, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_doc,
     "Reader(stream, start='next')\n--\n\n"
     "A reader of a stream, of one thread. It begins at the 'next' sample to come, or at\n"
     "the 'oldest' that is there. Iterating over it gives what read() returns.\n\n"
     "It cannot be pickled: pass the stream, and make a reader there."},
    {Py_tp_init, SHP_SLOT(reader_init)},
    {Py_tp_dealloc, SHP_SLOT(reader_dealloc)},
    {Py_tp_iter, SHP_SLOT(reader_iter)},
    {Py_tp_iternext, SHP_SLOT(reader_next)},
    {Py_tp_methods, reader_methods},
    {Py_tp_getset, reader_getset},
    {Py_tp_members, reader_members},
    {0, NULL},
};

static PyType_Spec reader_spec = {"shmkit.Reader", sizeof(struct shp_reader), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, reader_slots};

int shp_reader_init(PyObject *module)
{
    return shp_add_type(module, &reader_spec, &shp_reader_type);
}
