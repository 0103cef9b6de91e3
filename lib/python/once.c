/* Once: something that exactly one thread of any process does; the others wait until it is done. */
#include "once.h"

#include "errors.h"
#include "lock.h"

SHP_KIND(once, "once");

struct once {
    struct shp_object object;
    bool orphaned_returns;
};

/* ---- Making ---- */

static int once_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"create", "orphaned", NULL};
    struct once *o = (struct once *)self;
    const char *orphaned = NULL;
    PyObject *name;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|$ps:Once", words, &create, &orphaned) ? 0 : -1;
    if (r == 0)
        r = shp_orphaned_choice(orphaned ? orphaned : "return", &o->orphaned_returns);
    if (r == 0)
        r = shp_open(&o->object, &once_kind, name, create ? SHK_CREATE : 0, NULL);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static PyObject *once_reduce(struct once *o, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&o->object, Py_BuildValue("(O)", o->orphaned_returns ? Py_True : Py_False));
}

static PyObject *once_reopen(PyTypeObject *type, PyObject *args)
{
    struct once *o;
    PyObject *place;
    int returns;

    if (!PyArg_ParseTuple(args, "Op", &place, &returns))
        return NULL;
    o = shp_allocate(type);
    if (o == NULL)
        return NULL;
    o->orphaned_returns = returns;
    if (shp_reopen(&o->object, &once_kind, place, 0, NULL) < 0)
        Py_CLEAR(o);
    return (PyObject *)o;
}

/* ---- Methods ---- */

static int64_t call_begin(void *once, int64_t timeout)
{
    return shk_once_begin(once, timeout);
}

static PyObject *begin(struct once *o, int64_t timeout)
{
    int64_t r;

    if (shp_check_open(&o->object) < 0)
        return NULL;
    r = shp_wait(&o->object, call_begin, o->object.handle, timeout);
    if (r == 0)
        return Py_NewRef(Py_False);
    if (shp_would_wait(r))
        r = -ETIMEDOUT;
    if (r == -ETIMEDOUT) {
        PyErr_SetString(PyExc_TimeoutError, "another thread is still in the middle of it");
        return NULL;
    }
    return r > 0 ? shp_acquired(&o->object, r & SHK_ORPHANED, o->orphaned_returns) : shp_error(r);
}

static PyObject *once_begin(struct once *o, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    int64_t timeout;

    return shp_wait_arguments(args, n, names, &timeout) < 0 ? NULL : begin(o, timeout);
}

static PyObject *as_owner(struct once *o, int (*call)(struct shk_once *))
{
    int r;

    if (shp_check_open(&o->object) < 0)
        return NULL;
    r = call(o->object.handle);
    return r >= 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *once_done(struct once *o, PyObject *unused)
{
    (void)unused;
    return as_owner(o, shk_once_done);
}

static PyObject *once_abandon(struct once *o, PyObject *unused)
{
    (void)unused;
    return as_owner(o, shk_once_abandon);
}

static PyObject *once_reset(struct once *o, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&o->object) < 0)
        return NULL;
    r = shk_once_reset(o->object.handle);
    return r == 0 ? Py_NewRef(Py_None) : shp_error(r);
}

static PyObject *once_is_done(struct once *o, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&o->object) < 0)
        return NULL;
    r = shk_once_is_done(o->object.handle);
    return r < 0 ? shp_error(r) : PyBool_FromLong(r);
}

static PyObject *once_enter(struct once *o, PyObject *unused)
{
    (void)unused;
    return begin(o, SHK_FOREVER);
}

/* A thread that had nothing to do is not in the middle of it (-EPERM). */
static PyObject *once_exit(struct once *o, PyObject *const *args, Py_ssize_t n)
{
    int r;

    if (shp_check_open(&o->object) < 0)
        return NULL;
    r = n > 0 && args[0] != Py_None ? shk_once_abandon(o->object.handle)
                                    : shk_once_done(o->object.handle);
    return r == 0 || r == -EPERM ? Py_NewRef(Py_None) : shp_error(r);
}

static PyMethodDef once_methods[] = {
    {"begin", SHP_FAST(once_begin),
     "begin(timeout=None)\n--\n\nBegin, unless it is done; wait while another thread is in the "
     "middle.\n\n"
     "timeout: seconds; None: no limit. Returns False if it is done. True: it is for the caller\n"
     "to do, and then to say done() or abandon(). ORPHANED, or Orphaned raised, as the object\n"
     "was told: the same, and a thread died in the middle of it.\n"
     "Raises TimeoutError, Deadlock, Unlinked, Closed."},
    {"done", SHP_NOARGS(once_done), "done()\n--\n\nIt is done: others go on. Raises NotHeld."},
    {"abandon", SHP_NOARGS(once_abandon),
     "abandon()\n--\n\nIt is not done, and nothing half done is left. Raises NotHeld."},
    {"reset", SHP_NOARGS(once_reset),
     "reset()\n--\n\nMake it not done. Raises Error (EAGAIN) while a thread is in the middle."},
    {"is_done", SHP_NOARGS(once_is_done), "is_done()\n--\n\nReturns whether it is done."},
    {"__enter__", SHP_NOARGS(once_enter), NULL},
    {"__exit__", SHP_PLAIN(once_exit), NULL},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(once_reduce), NULL},
    {"_open", (PyCFunction)once_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef once_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot once_slots[] = {
    {Py_tp_doc,
     "Once(name=None, *, create=True, orphaned='return')\n--\n\n"
     "Something that one thread of all processes does, such as filling in what is shared.\n\n"
     "    with opened as mine:\n"
     "        if mine:\n"
     "            account.balance = 0\n\n"
     "At the end of the block it is done, or abandoned if the block raises.\n"
     "name: \"segment/object\"; None: of this program's own. create=False: raises NotFound if it\n"
     "is absent. orphaned: what begin() does if a thread died in the middle: \"return\" ORPHANED,\n"
     "or \"raise\" Orphaned; it is for the caller to do in both cases."},
    {Py_tp_init, SHP_SLOT(once_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, once_methods},
    {Py_tp_getset, once_getset},
    {0, NULL},
};
static PyType_Spec once_spec = {"shmkit.Once", sizeof(struct once), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, once_slots};

int shp_once_init(PyObject *module)
{
    return shp_add_type(module, &once_spec, NULL);
}
