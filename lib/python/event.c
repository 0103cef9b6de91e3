/* Event: a flag that threads of any process wait for. */
#include "event.h"

#include "args.h"
#include "errors.h"
#include "wait.h"

SHP_KIND(event, "event");

PyTypeObject *shp_event_type;

static int event_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"create", NULL};
    PyObject *name;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:Event", words, &create) ? 0 : -1;
    if (r == 0)
        r = shp_open((struct shp_object *)self, &event_kind, name, create ? SHK_CREATE : 0, NULL);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static PyObject *event_reduce(struct shp_object *o, PyObject *unused)
{
    (void)unused;
    return shp_reduce(o, NULL);
}

static PyObject *event_reopen(PyTypeObject *type, PyObject *args)
{
    struct shp_object *o;
    PyObject *place;

    if (!PyArg_ParseTuple(args, "O", &place))
        return NULL;
    o = shp_allocate(type);
    if (o && shp_reopen(o, &event_kind, place, 0, NULL) < 0)
        Py_CLEAR(o);
    return (PyObject *)o;
}

static PyObject *event_repr(struct shp_object *o)
{
    int set = o->handle ? shk_event_is_set(o->handle) : 0;

    return shp_repr_with(o, set == 1 ? "set" : "unset");
}

/* ---- Methods ---- */

static PyObject *done(int r)
{
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

static PyObject *event_set(struct shp_object *o, PyObject *unused)
{
    (void)unused;
    return shp_check_open(o) < 0 ? NULL : done(shk_event_set(o->handle));
}

static PyObject *event_clear(struct shp_object *o, PyObject *unused)
{
    (void)unused;
    return shp_check_open(o) < 0 ? NULL : done(shk_event_clear(o->handle));
}

static PyObject *event_is_set(struct shp_object *o, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(o) < 0)
        return NULL;
    r = shk_event_is_set(o->handle);
    return r < 0 ? shp_error(r) : PyBool_FromLong(r);
}

static int64_t call_wait(void *event, int64_t timeout)
{
    return shk_event_wait(event, timeout);
}

static PyObject *event_wait(struct shp_object *o, PyObject *const *args, Py_ssize_t n,
                            PyObject *names)
{
    int64_t timeout, r;

    if (shp_check_open(o) < 0 || shp_wait_arguments(args, n, names, &timeout) < 0)
        return NULL;
    r = shp_wait(o, call_wait, o->handle, timeout);
    if (r == 0)
        return Py_NewRef(Py_True);
    return shp_would_wait(r) || r == -ETIMEDOUT ? Py_NewRef(Py_False) : shp_error(r);
}

static PyObject *event_await_set(PyObject *e, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    return shp_delegate("shmkit._aio", "await_set", e, args, n, names);
}

static PyMethodDef event_methods[] = {
    {"is_set", SHP_NOARGS(event_is_set),
     "is_set()\n--\n\nReturns whether the event is set; a hint, it may have changed since."},
    {"set", SHP_NOARGS(event_set),
     "set()\n--\n\nSet the event. All that wait at this moment go on, even if it is cleared right\n"
     "after, and even if this process is killed in the middle."},
    {"clear", SHP_NOARGS(event_clear), "clear()\n--\n\nClear the event: later waits wait."},
    {"wait", SHP_FAST(event_wait),
     "wait(timeout=None)\n--\n\nWait until the event is set; return at once if it is.\n\n"
     "timeout: seconds; None: no limit. Returns True, or False if the time is over.\n"
     "Raises Unlinked, Closed."},
    {"await_set", SHP_FAST(event_await_set),
     "await_set(timeout=None)\n--\n\nawait event.await_set(): as wait(), for asyncio."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(event_reduce), NULL},
    {"_open", (PyCFunction)event_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef event_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot event_slots[] = {
    {Py_tp_doc,
     "Event(name=None, *, create=True)\n--\n\n"
     "A flag that threads of any process wait for, clear at first, as threading.Event.\n\n"
     "name: \"segment/object\"; None: an event of this program's own, for threads and\n"
     "for processes that it is passed to. create=False: raises NotFound if it is "
     "absent."},
    {Py_tp_init, SHP_SLOT(event_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(event_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {0, NULL},
};
static PyType_Spec event_spec = {"shmkit.Event", sizeof(struct shp_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, event_slots};

int shp_event_init(PyObject *module)
{
    return shp_add_type(module, &event_spec, &shp_event_type);
}
