/*
 * Pickling. pickle.dumps() makes a new pickler for each object, and its bytes would have to be
 * copied behind the mark. So there is a pickler that is kept, with a sink: an object whose write()
 * appends to memory that begins with the mark. It has the reducers of multiprocessing, so what a
 * multiprocessing.Queue takes, such as a Connection, can be put.
 *
 * A pickler cannot be used while it is in use: an object's __reduce__() may put into a queue, and
 * other threads run meanwhile. So each put takes a sink out of the list of free ones.
 */
#include "sink.h"

#include "args.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_MOST   8         /* free sinks */
#define KEPT_LARGER (1 << 20) /* bytes: memory beyond that is given back after a put */

static PyTypeObject *sink_type;
static struct shp_sink *free_sinks;
static unsigned free_count;
static PyObject *pickler_class;
/* Of all picklers: copyreg's, and those of multiprocessing, as many as there were. */
static PyObject *reducers, *common_reducers, *extra_reducers;
static Py_ssize_t reducers_seen;

static int grow(struct shp_sink *sink, size_t more)
{
    size_t room = sink->room ? sink->room : 512;
    char *data;

    if (more > SIZE_MAX / 4 - sink->length) {
        PyErr_NoMemory();
        return -1;
    }
    while (room < sink->length + more)
        room *= 2;
    if (room == sink->room)
        return 0;
    data = realloc(sink->data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    sink->data = data;
    sink->room = room;
    return 0;
}

static int append(struct shp_sink *sink, const void *data, size_t length)
{
    if (length > sink->room - sink->length && grow(sink, length) < 0)
        return -1;
    memcpy(sink->data + sink->length, data, length);
    sink->length += length;
    return 0;
}

/* write(bytes), as the pickler calls it; bytes, or for a large one any buffer. */
static PyObject *sink_write(PyObject *self, PyObject *data)
{
    struct shp_sink *sink = (struct shp_sink *)self;
    Py_buffer view;
    int r;

    if (PyBytes_CheckExact(data)) {
        char *bytes;
        Py_ssize_t length;

        if (PyBytes_AsStringAndSize(data, &bytes, &length) < 0)
            return NULL;
        r = append(sink, bytes, (size_t)length);
    } else {
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
            return NULL;
        r = append(sink, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    if (r < 0)
        return NULL;
    Py_RETURN_NONE;
}

static void sink_dealloc(PyObject *self)
{
    struct shp_sink *sink = (struct shp_sink *)self;
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);

    free(sink->data);
    Py_XDECREF(sink->dump);
    Py_XDECREF(sink->clear_memo);
    free_it(self);
    Py_DECREF(type);
}

static PyMethodDef sink_methods[] = {
    {"write", sink_write, METH_O, "write(data, /)\n--\n\nAppend bytes."},
    {0},
};

static PyType_Slot sink_slots[] = {
    {Py_tp_doc, (void *)"What a pickler of this module writes to."},
    {Py_tp_dealloc, (void *)sink_dealloc},
    {Py_tp_methods, sink_methods},
    {0},
};

static PyType_Spec sink_spec = {
    .name = "shmkit._Sink",
    .basicsize = sizeof(struct shp_sink),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sink_slots,
};

/*
 * A table of one dict, which the pickler looks into without Python code, has to follow the two that
 * programs and modules add to: multiprocessing.connection does when it is imported.
 */
static int update_reducers(void)
{
    Py_ssize_t n = PyDict_Size(common_reducers) + PyDict_Size(extra_reducers);

    if (n == reducers_seen)
        return 0;
    reducers_seen = n;
    return PyDict_Update(reducers, common_reducers) < 0 ||
                   PyDict_Update(reducers, extra_reducers) < 0
               ? -1
               : 0;
}

/* A pickler for the sink. Both refer to each other, and are kept or broken up together. */
static int make_pickler(struct shp_sink *sink)
{
    PyObject *pickler = PyObject_CallFunction(pickler_class, "Oi", (PyObject *)sink, 5);

    if (pickler == NULL)
        return -1;
    if (PyObject_SetAttrString(pickler, "dispatch_table", reducers) == 0) {
        sink->dump = PyObject_GetAttrString(pickler, "dump");
        sink->clear_memo = PyObject_GetAttrString(pickler, "clear_memo");
    }
    Py_DECREF(pickler);
    return sink->dump && sink->clear_memo ? 0 : -1;
}

/* Break up sink and pickler; a failed one, too, whose pickler may be in any state. */
static void drop_sink(struct shp_sink *sink)
{
    Py_CLEAR(sink->dump);
    Py_CLEAR(sink->clear_memo);
    Py_DECREF((PyObject *)sink);
}

static struct shp_sink *take_sink(void)
{
    struct shp_sink *sink = free_sinks;
    allocfunc alloc;

    if (sink) {
        free_sinks = sink->next;
        free_count--;
        return sink;
    }
    alloc = (allocfunc)PyType_GetSlot(sink_type, Py_tp_alloc);
    sink = (struct shp_sink *)alloc(sink_type, 0);
    if (sink && (grow(sink, 512) < 0 || make_pickler(sink) < 0)) {
        drop_sink(sink);
        return NULL;
    }
    return sink;
}

void shp_sink_give(struct shp_sink *sink)
{
    if (free_count >= KEPT_MOST) {
        drop_sink(sink);
        return;
    }
    if (sink->room > KEPT_LARGER) {
        free(sink->data);
        sink->data = NULL;
        sink->room = 0;
    }
    sink->next = free_sinks;
    free_sinks = sink;
    free_count++;
}

/* ---- What is in them ---- */

/* An empty one, with a mark. */
static struct shp_sink *begin(const char *mark)
{
    struct shp_sink *sink = take_sink();

    if (sink == NULL)
        return NULL;
    sink->length = 0;
    if (append(sink, mark, strlen(mark)) == 0)
        return sink;
    drop_sink(sink);
    return NULL;
}

struct shp_sink *shp_sink_pickle(const char *mark, PyObject *object)
{
    struct shp_sink *sink = update_reducers() < 0 ? NULL : begin(mark);
    PyObject *r;

    if (sink == NULL)
        return NULL;
    r = PyObject_CallFunctionObjArgs(sink->dump, object, NULL);
    if (r) {
        Py_DECREF(r);
        /* or else the memo keeps what has been pickled alive, and refers to it next time */
        r = PyObject_CallFunctionObjArgs(sink->clear_memo, NULL);
    }
    if (r == NULL) {
        drop_sink(sink);
        return NULL;
    }
    Py_DECREF(r);
    return sink;
}

struct shp_sink *shp_sink_copy(const char *mark, const char *data, size_t length)
{
    struct shp_sink *sink = begin(mark);

    if (sink == NULL || append(sink, data, length) == 0)
        return sink;
    drop_sink(sink);
    return NULL;
}

/* ---- The module ---- */

static int find_reducers(void)
{
    PyObject *forking = shp_imported("multiprocessing.reduction", "ForkingPickler");

    common_reducers = shp_imported("copyreg", "dispatch_table");
    extra_reducers = forking ? PyObject_GetAttrString(forking, "_extra_reducers") : NULL;
    reducers = PyDict_New();
    Py_XDECREF(forking);
    return common_reducers && extra_reducers && reducers ? update_reducers() : -1;
}

int shp_sinks_init(PyObject *module)
{
    sink_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &sink_spec, NULL);
    pickler_class = shp_imported("pickle", "Pickler");
    return sink_type && pickler_class ? find_reducers() : -1;
}
