/* Stream: samples of a fixed size, written by one and read by many, each at its own pace. */
#include "stream.h"

#include "args.h"
#include "errors.h"

#include <string.h>

PyTypeObject *shp_stream_type, *shp_reader_type;

/* ---- Formats ---- */

static size_t size_of_format(char format)
{
    switch (format) {
    case 'b':
    case 'B':
        return 1;
    case 'h':
    case 'H':
        return sizeof(short);
    case 'i':
    case 'I':
        return sizeof(int);
    case 'l':
    case 'L':
        return sizeof(long);
    case 'q':
    case 'Q':
        return sizeof(long long);
    case 'f':
        return sizeof(float);
    case 'd':
        return sizeof(double);
    default:
        return 0;
    }
}

static char guess_format(size_t size)
{
    return size == 8 ? 'd' : size == 4 ? 'f' : size == 2 ? 'h' : 'B';
}

/* ---- Making ---- */

struct wish {
    struct shk_stream_options find, create;
};

static int stream_open(struct shk_segment *s, const char *name, unsigned flags, const void *options,
                       void **out)
{
    const struct wish *wish = options;
    unsigned roles = flags & ~(SHK_CREATE | SHK_EXCL);
    int r = -ENOENT;

    if (!(flags & SHK_EXCL))
        r = shk_stream_open(s, name, roles, &wish->find, (struct shk_stream **)out);
    if (r != -ENOENT || !(flags & SHK_CREATE))
        return r;
    r = shk_stream_open(s, name, flags | SHK_EXCL, &wish->create, (struct shk_stream **)out);
    if (r != -EEXIST || flags & SHK_EXCL)
        return r;
    return shk_stream_open(s, name, roles, &wish->find, (struct shk_stream **)out);
}

static int stream_close(void *handle)
{
    return shk_stream_close(handle);
}

static const struct shp_kind stream_kind = {"stream", stream_open, stream_close};

/* What the stream is like, once it is open. given: the format, 0: any. */
static int note_shape(struct shp_stream *st, char given)
{
    struct shk_stream *handle = st->object.handle;
    ssize_t sample = shk_stream_sample_size(handle), history = shk_stream_history(handle);
    int channels = shk_stream_channels(handle), stamped = shk_stream_is_stamped(handle);

    if (sample < 0 || history < 0 || channels < 1 || stamped < 0) {
        shp_error(sample < 0 ? sample : channels < 0 ? channels : -EPROTO);
        return -1;
    }
    st->sample_size = (size_t)sample;
    st->history = (size_t)history;
    st->channels = (size_t)channels;
    st->stamped = stamped;
    st->item_size = st->sample_size / st->channels;
    st->format[0] = given ? given : guess_format(st->item_size);
    if (size_of_format(st->format[0]) == st->item_size)
        return 0;
    if (given == 0) { /* bytes */
        st->item_size = 1;
        st->channels = st->sample_size;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "%s has samples of %zu bytes in %d channels: not of format '%c'",
                 shp_describe(&st->object), st->sample_size, channels, given);
    return -1;
}

static int roles_of(const char *role, int epipe, unsigned *flags)
{
    if (role && strcmp(role, "writer") == 0)
        *flags |= SHK_AS(SHK_PRODUCER);
    else if (role && strcmp(role, "reader") == 0)
        *flags |= SHK_AS(SHK_CONSUMER);
    else if (role && strcmp(role, "both") == 0)
        *flags |= SHK_AS(SHK_PRODUCER | SHK_CONSUMER);
    else if (role) {
        PyErr_Format(PyExc_ValueError,
                     "role is \"writer\", \"reader\", \"both\" or None, not \"%s\"", role);
        return -1;
    }
    *flags |= epipe ? SHK_EPIPE : 0;
    return 0;
}

static int format_of(const char *text, char *format)
{
    *format = text ? text[0] : 0;
    if (text == NULL || (size_of_format(text[0]) && text[1] == 0))
        return 0;
    PyErr_Format(PyExc_ValueError, "format is one of b B h H i I l L q Q f d, not \"%s\"", text);
    return -1;
}

static int parse(PyObject *args, PyObject *kwargs, struct wish *w, char *format, unsigned *flags)
{
    static char *words[] = {"format", "channels", "history", "rate", "stamped",
                            "create", "role",     "epipe",   NULL};
    const char *text = NULL, *role = NULL;
    int channels = 0, stamped = 0, create = 1, epipe = 0;
    Py_ssize_t history = 0;
    double rate = 0;

    memset(w, 0, sizeof(*w));
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|zi$ndppzp:Stream", words, &text, &channels,
                                     &history, &rate, &stamped, &create, &role, &epipe) ||
        format_of(text, format) < 0)
        return -1;
    if (channels < 0 || history < 0) {
        PyErr_SetString(PyExc_ValueError, "channels and history are not negative");
        return -1;
    }
    *flags = create ? SHK_CREATE : 0;
    w->find.channels = (uint32_t)channels;
    w->find.history = (size_t)history;
    w->find.stamped = (uint32_t)stamped;
    w->create = w->find;
    w->create.rate = rate;
    w->create.channels = channels ? (uint32_t)channels : 1;
    w->create.sample_size = size_of_format(*format ? *format : 'd') * w->create.channels;
    return roles_of(role, epipe, flags);
}

static int stream_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct shp_stream *st = (struct shp_stream *)self;
    struct wish wish;
    unsigned flags;
    PyObject *name;
    char format;
    int r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = parse(args, kwargs, &wish, &format, &flags);
    if (r == 0)
        r = shp_open(&st->object, &stream_kind, name, flags, &wish);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r < 0 ? -1 : note_shape(st, format);
}

static PyObject *stream_reduce(struct shp_stream *st, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&st->object, Py_BuildValue("(s)", st->format));
}

static PyObject *stream_reopen(PyTypeObject *type, PyObject *args)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct wish wish;
    struct shp_stream *st;
    PyObject *place;
    const char *text;
    char format;

    memset(&wish, 0, sizeof(wish));
    if (!PyArg_ParseTuple(args, "Os", &place, &text) || format_of(text, &format) < 0)
        return NULL;
    st = (struct shp_stream *)allocate(type, 0);
    if (st &&
        (shp_reopen(&st->object, &stream_kind, place, 0, &wish) < 0 || note_shape(st, format) < 0))
        Py_CLEAR(st);
    return (PyObject *)st;
}

/* ---- Writing ---- */

/* Numbers that are no buffer, as an array of them. nested: there are sequences of numbers. */
static PyObject *as_array(const char *format, PyObject *numbers, bool nested)
{
    PyObject *array = shp_imported("array", "array"), *chain = NULL, *made = NULL;

    if (nested) {
        chain = shp_imported("itertools", "chain");
        numbers = chain ? PyObject_CallMethod(chain, "from_iterable", "O", numbers) : NULL;
        Py_XDECREF(chain);
    } else {
        Py_INCREF(numbers);
    }
    if (array && numbers)
        made = PyObject_CallFunction(array, "sO", format, numbers);
    Py_XDECREF(numbers);
    Py_XDECREF(array);
    return made;
}

/* Whether a buffer has elements like those: "d", "@d", "<d" on some machines; NULL, bytes: any. */
static bool is_like(const Py_buffer *view, char format, size_t size)
{
    const char *f = view->format;

    if (f == NULL || strcmp(f, "B") == 0 || strcmp(f, "c") == 0)
        return true;
    if (*f == '@' || *f == '=' || (*f == '<' && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
        f++;
    if (f[0] == 0 || f[1] != 0 || (size_t)view->itemsize != size)
        return false;
    if (f[0] == format)
        return true;
    /* "l" and "q" are the same where they are of one size, and so are "L" and "Q" */
    return (strchr("ilq", f[0]) && strchr("ilq", format)) ||
           (strchr("ILQ", f[0]) && strchr("ILQ", format));
}

static bool is_sequence(PyObject *o)
{
    return PyTuple_Check(o) || PyList_Check(o);
}

/*
 * The samples as a buffer of that format; *owner keeps it. 0, or -1 with an exception; then there
 * is nothing to be released.
 */
static int as_buffer(PyObject *samples, const char *format, size_t size, Py_buffer *view)
{
    PyObject *array = NULL, *first, *single;
    int r;

    if (!PyObject_CheckBuffer(samples)) {
        if (PyFloat_Check(samples) || PyLong_Check(samples)) {
            single = PyTuple_Pack(1, samples);
            array = single ? as_array(format, single, false) : NULL;
            Py_XDECREF(single);
        } else {
            first = is_sequence(samples) && PySequence_Size(samples) > 0
                        ? PySequence_GetItem(samples, 0)
                        : NULL;
            array = as_array(format, samples, first && is_sequence(first));
            Py_XDECREF(first);
        }
        if (array == NULL)
            return -1;
        samples = array;
    }
    r = PyObject_GetBuffer(samples, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
    Py_XDECREF(array); /* the view has it */
    if (r < 0)
        return -1;
    if (is_like(view, format[0], size))
        return 0;
    PyErr_Format(PyExc_TypeError, "the samples are of format '%s', those of the stream of '%s'",
                 view->format, format);
    PyBuffer_Release(view);
    return -1;
}

static int append(struct shp_stream *st, const Py_buffer *samples, const Py_buffer *stamps)
{
    size_t n = (size_t)samples->len / st->sample_size;
    int r;

    if ((size_t)samples->len % st->sample_size) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are no whole number of samples of %zu bytes",
                     samples->len, st->sample_size);
        return -1;
    }
    if (stamps && (size_t)stamps->len != n * sizeof(int64_t)) {
        PyErr_Format(PyExc_ValueError, "there are %zd time stamps of %zu samples",
                     stamps->len / (Py_ssize_t)sizeof(int64_t), n);
        return -1;
    }
    if (shp_check_open(&st->object) < 0)
        return -1;
    if (n == 0)
        return 0;
    r = stamps ? shk_stream_append_stamped(st->object.handle, samples->buf, stamps->buf, n)
               : shk_stream_append(st->object.handle, samples->buf, n);
    if (r == -EPIPE)
        PyErr_SetString(PyExc_BrokenPipeError, shk_last_error());
    else if (r < 0)
        shp_error(r);
    return r;
}

static PyObject *stream_write(struct shp_stream *st, PyObject *const *args, Py_ssize_t n,
                              PyObject *keywords)
{
    static const char *const names[] = {"samples", "stamps", NULL};
    Py_buffer samples, stamps;
    bool stamped;
    PyObject *a[2];
    int r;

    if (shp_args_slow("write", names, 1, args, n, keywords, a) < 0)
        return NULL;
    stamped = a[1] && a[1] != Py_None;
    if (as_buffer(a[0], st->format, st->item_size, &samples) < 0)
        return NULL;
    if (stamped && as_buffer(a[1], "q", sizeof(int64_t), &stamps) < 0) {
        PyBuffer_Release(&samples);
        return NULL;
    }
    r = append(st, &samples, stamped ? &stamps : NULL);
    if (stamped)
        PyBuffer_Release(&stamps);
    PyBuffer_Release(&samples);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- Attributes ---- */

static PyObject *stream_reader(PyObject *self, PyObject *const *args, Py_ssize_t n,
                               PyObject *keywords)
{
    static const char *const names[] = {"start", NULL};
    PyObject *a[1];

    if (shp_args_slow("reader", names, 0, args, n, keywords, a) < 0)
        return NULL;
    return PyObject_CallFunctionObjArgs((PyObject *)shp_reader_type, self, a[0], NULL);
}

static PyObject *get_position(struct shp_stream *st, void *unused)
{
    int64_t r;

    (void)unused;
    if (shp_check_open(&st->object) < 0)
        return NULL;
    r = shk_stream_position(st->object.handle);
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(r);
}

static PyObject *get_rate(struct shp_stream *st, void *unused)
{
    double rate;
    int r;

    (void)unused;
    if (shp_check_open(&st->object) < 0)
        return NULL;
    r = shk_stream_rate(st->object.handle, &rate);
    return r < 0 ? shp_error(r) : PyFloat_FromDouble(rate);
}

static int set_rate(struct shp_stream *st, PyObject *value, void *unused)
{
    double rate = value ? PyFloat_AsDouble(value) : 0;
    int r;

    (void)unused;
    if (PyErr_Occurred() || shp_check_open(&st->object) < 0)
        return -1;
    r = shk_stream_set_rate(st->object.handle, rate);
    if (r == -EINVAL)
        PyErr_SetString(PyExc_ValueError, shk_last_error());
    else if (r < 0)
        shp_error(r);
    return r < 0 ? -1 : 0;
}

static PyObject *get_format(struct shp_stream *st, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(st->format);
}

static PyObject *get_channels(struct shp_stream *st, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(st->channels);
}

static PyObject *get_history(struct shp_stream *st, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(st->history);
}

static PyObject *get_sample_size(struct shp_stream *st, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(st->sample_size);
}

static PyObject *get_stamped(struct shp_stream *st, void *unused)
{
    (void)unused;
    return PyBool_FromLong(st->stamped);
}

static PyMethodDef stream_methods[] = {
    {"write", SHP_FAST(stream_write),
     "write(samples, stamps=None)\n--\n\n"
     "Append samples: a number, a list of numbers (of lists, with several channels), or a\n"
     "buffer such as a numpy array of the stream's format. Those of one call stay together.\n"
     "The oldest samples are overwritten; it never waits for readers.\n\n"
     "stamps: of a stamped stream, the time of each in ns of CLOCK_MONOTONIC; None: now.\n"
     "Raises TypeError, ValueError; BrokenPipeError with epipe=True; Error (EBUSY) if another\n"
     "writer has been stopped in the middle for 10 s.\n"
     "Killed: the first few have been appended, each whole."},
    {"reader", SHP_FAST(stream_reader),
     "reader(start='next')\n--\n\nA Reader that begins at the next sample to come, or at the\n"
     "'oldest' that is there."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(stream_reduce), NULL},
    {"_open", (PyCFunction)stream_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef stream_getset[] = {
    SHP_NAME_GETSET,
    {"position", (getter)get_position, NULL, "How many samples have been written so far; a hint.",
     NULL},
    {"rate", (getter)get_rate, (setter)set_rate,
     "Samples a second, a note for readers; 0.0: not known.", NULL},
    {"format", (getter)get_format, NULL, "Of one channel, as module struct has it.", NULL},
    {"channels", (getter)get_channels, NULL, "Numbers of one sample.", NULL},
    {"history", (getter)get_history, NULL, "How many of the last samples can be read at least.",
     NULL},
    {"sample_size", (getter)get_sample_size, NULL, "Bytes of a sample, of all its channels.", NULL},
    {"stamped", (getter)get_stamped, NULL, "Whether samples have time stamps.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc,
     "Stream(format=None, channels=0, *, name=None, history=0, rate=0.0, stamped=False,\n"
     "       create=True, role=None, epipe=False)\n"
     "Stream(name, ...)\n\n"
     "Samples that one writes and any number read, each at its own pace: what\n"
     "demos/sampler writes is read here, and the other way round.\n\n"
     "name: \"segment/object\"; None: for this program and the processes that it is passed to.\n"
     "format: of a number, b B h H i I l L q Q f d; None: d when creating, else by its size.\n"
     "channels: numbers of a sample, measured at the same moment; 0: 1, or as it is.\n"
     "history: samples that are kept; 0: 4096, or as it is. rate: samples a second, a note.\n"
     "role: \"writer\", \"reader\" or \"both\": readers learn when the last writer has gone.\n"
     "Raises NotFound; Error (EPROTOTYPE) or ValueError if it is of another shape.\n"
     "Example: Stream(\"lab/eeg\", rate=1000).write([0.5, 0.25])"},
    {Py_tp_init, SHP_SLOT(stream_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getset},
    {Py_tp_members, shp_members},
    {0, NULL},
};

static PyType_Spec stream_spec = {"shmkit.Stream", sizeof(struct shp_stream), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, stream_slots};

int shp_stream_init(PyObject *module)
{
    return shp_add_type(module, &stream_spec, &shp_stream_type);
}
