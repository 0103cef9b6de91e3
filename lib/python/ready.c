/* Waiting for any of several objects, and a descriptor for it. */
#include "ready.h"

#include "args.h"
#include "errors.h"
#include "event.h"
#include "newest.h"
#include "queue.h"
#include "semaphore.h"
#include "stream.h"

#include <string.h>

/* ---- Sets ---- */

struct set {
    struct shk_ready rows[SHK_READY_MAX];
    struct shp_object *objects[SHK_READY_MAX];
    struct shp_reader *readers[SHK_READY_MAX]; /* NULL: no reader */
    unsigned n;
};

/* The shk_ready of an object of this module: 1; 0: it is something else; -1 with an exception. */
static int row_of(PyObject *o, uint32_t want, struct shk_ready *row, struct shp_object **object)
{
    *object = (struct shp_object *)o;
    if (PyObject_TypeCheck(o, shp_queue_type)) {
        row->kind = SHK_KIND_QUEUE;
    } else if (PyObject_TypeCheck(o, shp_newest_type)) {
        row->kind = SHK_KIND_VALUE;
    } else if (PyObject_TypeCheck(o, shp_event_type)) {
        row->kind = SHK_KIND_EVENT;
    } else if (PyObject_TypeCheck(o, shp_semaphore_type)) {
        row->kind = SHK_KIND_SEMAPHORE;
    } else if (PyObject_TypeCheck(o, shp_reader_type)) {
        struct shp_reader *r = (struct shp_reader *)o;

        row->kind = SHK_KIND_STREAM;
        row->object = r->reader;
        *object = r->stream ? &r->stream->object : NULL;
    } else {
        return 0;
    }
    if (row->kind == SHK_KIND_STREAM && shp_reader_is_busy((struct shp_reader *)o)) {
        PyErr_SetString(PyExc_RuntimeError, "another thread uses the reader: each needs one of its "
                                            "own");
        return -1;
    }
    if (*object == NULL || (row->kind == SHK_KIND_STREAM && row->object == NULL)) {
        PyErr_SetString(shp_Closed, "the reader is closed");
        return -1;
    }
    if (shp_check_open(*object) < 0)
        return -1;
    if (row->kind != SHK_KIND_STREAM)
        row->object = (*object)->handle;
    row->want = want;
    return 1;
}

/* "r", "w" or "d", and 0; or -1 with an exception. */
static int want_of(PyObject *how, uint32_t *want)
{
    static const struct {
        const char *text;
        uint32_t want;
    } ways[] = {{"r", SHK_READABLE}, {"w", SHK_WRITABLE}, {"d", SHK_ALL_DONE}};

    for (size_t i = 0; PyUnicode_Check(how) && i < sizeof(ways) / sizeof(ways[0]); i++)
        if (PyUnicode_CompareWithASCIIString(how, ways[i].text) == 0) {
            *want = ways[i].want;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "an object is waited for with \"r\", \"w\" or \"d\", not %R",
                 how);
    return -1;
}

/* An object, or (object, "w"): a queue that is to have room, "d": that is to be all done. */
static int add(struct set *set, PyObject *o)
{
    uint32_t want = SHK_READABLE;
    int r;

    if (PyTuple_Check(o) && PyTuple_Size(o) == 2) {
        if (want_of(PyTuple_GetItem(o, 1), &want) < 0)
            return -1;
        o = PyTuple_GetItem(o, 0);
    }
    if (set->n == SHK_READY_MAX) {
        PyErr_Format(PyExc_ValueError, "a set has at most %d objects", SHK_READY_MAX);
        return -1;
    }
    r = row_of(o, want, &set->rows[set->n], &set->objects[set->n]);
    if (r == 0)
        PyErr_Format(PyExc_TypeError,
                     "queues, events, semaphores, readers and Newest can be waited for, not %R",
                     (PyObject *)Py_TYPE(o));
    if (r <= 0)
        return -1;
    set->readers[set->n] = PyObject_TypeCheck(o, shp_reader_type) ? (struct shp_reader *)o : NULL;
    set->n++;
    return 0;
}

static int fill(struct set *set, PyObject *list)
{
    set->n = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++)
        if (add(set, PyList_GetItem(list, i)) < 0)
            return -1;
    return 0;
}

/* ---- Waiting ---- */

static int64_t call_wait(void *arg, int64_t timeout)
{
    const struct set *set = arg;

    return shk_wait_any(set->rows, set->n, timeout);
}

/* Keep them from being closed by another thread, or let them. */
static void keep(const struct set *set, bool kept)
{
    for (unsigned i = 0; i < set->n; i++) {
        if (kept)
            shp_begin_wait(set->objects[i]);
        else
            shp_end_wait(set->objects[i]);
        if (set->readers[i])
            set->readers[i]->busy = kept;
    }
}

/* Those of the list that are ready, at least the one that has been found. */
static PyObject *all_ready(const struct set *set, PyObject *list, int64_t found)
{
    PyObject *ready = PyList_New(0);

    for (unsigned i = 0; ready && i < set->n; i++)
        if ((i == found || shk_wait_any(&set->rows[i], 1, SHK_NOWAIT) == 0) &&
            PyList_Append(ready, PyList_GetItem(list, i)) < 0)
            Py_CLEAR(ready);
    return ready;
}

/* _wait_here(list, timeout): of objects of one segment, at most 64. The caller keeps the list. */
static PyObject *wait_here(PyObject *module, PyObject *args)
{
    PyObject *list, *timeout;
    struct set set;
    int64_t ns, r;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &list, &timeout) ||
        shp_timeout(timeout, SHK_NOWAIT, &ns) < 0 || fill(&set, list) < 0)
        return NULL;
    if (set.n == 0)
        return PyList_New(0);
    keep(&set, true);
    r = shp_wait(set.objects[0], call_wait, &set, ns);
    keep(&set, false);
    if (shp_would_wait(r) || r == -ETIMEDOUT)
        return PyList_New(0);
    return r < 0 ? shp_error(r) : all_ready(&set, list, r);
}

/* _segment_of(object): a number that objects of one segment have in common; None: another kind. */
static PyObject *segment_of(PyObject *module, PyObject *o)
{
    struct shk_ready row;
    struct shp_object *object;
    int r;

    (void)module;
    if (PyTuple_Check(o) && PyTuple_Size(o) == 2)
        o = PyTuple_GetItem(o, 0);
    r = row_of(o, SHK_READABLE, &row, &object);
    if (r < 0)
        return NULL;
    return r == 0 ? Py_NewRef(Py_None) : PyLong_FromVoidPtr(object->segment);
}

static PyObject *ready_fd(PyObject *module, PyObject *objects)
{
    PyObject *list = PySequence_List(objects);
    struct set set;
    int r;

    (void)module;
    if (list == NULL)
        return NULL;
    r = fill(&set, list);
    if (r == 0) {
        r = shk_ready_fd(set.rows, set.n);
        if (r < 0)
            shp_error(r);
    }
    Py_DECREF(list);
    return r < 0 ? NULL : PyLong_FromLong(r);
}

static PyMethodDef functions[] = {
    {"_wait_here", wait_here, METH_VARARGS, NULL},
    {"_segment_of", segment_of, METH_O, NULL},
    {"ready_fd", ready_fd, METH_O,
     "ready_fd(objects)\n--\n\n"
     "A descriptor for select, epoll and event loops, readable when any of the objects is\n"
     "ready: queues that have an item, or as (queue, 'w') room, or as (queue, 'd') all tasks\n"
     "done; events that are set; semaphores, readers, Newest. At most 64 objects, of one\n"
     "segment.\n\n"
     "os.read(fd, 4) gives the index of one that is ready, in native byte order, and the\n"
     "descriptor stays readable until then. So take first what is there, then read. b\"\": it\n"
     "can be waited for no more. The caller closes it with os.close(); one thread of this\n"
     "library waits for the whole set until then.\n"
     "Raises Error (EXDEV): objects of several segments; (EMFILE); Unlinked; Closed."},
    {NULL, NULL, 0, NULL},
};

int shp_ready_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
