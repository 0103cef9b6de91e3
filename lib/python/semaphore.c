/* Semaphore and BoundedSemaphore: permits that threads of any process take and give. */
#include "semaphore.h"

#include "args.h"
#include "errors.h"
#include "wait.h"

SHP_KIND(semaphore, "semaphore");

PyTypeObject *shp_semaphore_type, *shp_bounded_type;

#define MOST INT32_MAX /* permits */

struct semaphore {
    struct shp_object object;
    uint32_t max;
    bool bounded, owners;
};

/* ---- Making ---- */

static int open_it(struct semaphore *s, PyObject *name, long value, unsigned flags)
{
    struct shk_semaphore_options options = {.owners = s->owners};

    if (value < 0 || value > MOST) {
        PyErr_SetString(PyExc_ValueError, value < 0 ? "semaphore initial value must be >= 0"
                                                    : "a semaphore has at most 2**31 - 1 permits");
        return -1;
    }
    options.value = (uint32_t)value;
    if (s->bounded && value > 0)
        options.max = (uint32_t)value;
    s->max = options.max;
    return shp_open(&s->object, &semaphore_kind, name, flags, &options);
}

static int init(struct semaphore *s, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"value", "create", "owners", NULL};
    PyObject *name;
    int create = 1, owners = 0, r;
    long value = 1;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|l$pp:Semaphore", words, &value, &create,
                                    &owners)
            ? 0
            : -1;
    s->owners = owners;
    if (r == 0)
        r = open_it(s, name, value, create ? SHK_CREATE : 0);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static int semaphore_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct semaphore *)self, args, kwargs);
}

static int bounded_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct semaphore *s = (struct semaphore *)self;

    s->bounded = true;
    return init(s, args, kwargs);
}

static PyObject *semaphore_reduce(struct semaphore *s, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&s->object, Py_BuildValue("(IO)", s->max, s->owners ? Py_True : Py_False));
}

static PyObject *semaphore_reopen(PyTypeObject *type, PyObject *args)
{
    struct shk_semaphore_options options = {.value = 0};
    struct semaphore *s;
    PyObject *place;
    unsigned max;
    int owners;

    if (!PyArg_ParseTuple(args, "OIp", &place, &max, &owners))
        return NULL;
    s = shp_allocate(type);
    if (s == NULL)
        return NULL;
    options.max = s->max = max;
    options.owners = s->owners = owners;
    s->bounded = PyType_IsSubtype(type, shp_bounded_type);
    if (shp_reopen(&s->object, &semaphore_kind, place, 0, &options) < 0)
        Py_CLEAR(s);
    return (PyObject *)s;
}

static PyObject *semaphore_repr(struct semaphore *s)
{
    int value = s->object.handle ? shk_semaphore_value(s->object.handle) : 0;
    char text[48];

    if (s->bounded)
        PyOS_snprintf(text, sizeof(text), "value=%d/%u", value, s->max);
    else
        PyOS_snprintf(text, sizeof(text), "value=%d", value);
    return shp_repr_with(&s->object, text);
}

/* ---- Methods ---- */

static int64_t call_acquire(void *semaphore, int64_t timeout)
{
    return shk_semaphore_acquire(semaphore, timeout);
}

static PyObject *acquire(struct semaphore *s, int64_t timeout)
{
    int64_t r;

    if (s->object.handle == NULL && shp_check_open(&s->object) < 0)
        return NULL;
    r = shp_wait(&s->object, call_acquire, s->object.handle, timeout);
    if (r == 0)
        return Py_NewRef(Py_True);
    return shp_would_wait(r) || r == -ETIMEDOUT ? Py_NewRef(Py_False) : shp_error(r);
}

static PyObject *semaphore_acquire(struct semaphore *s, PyObject *const *args, Py_ssize_t n,
                                   PyObject *names)
{
    int64_t timeout = SHK_FOREVER;

    if ((n > 0 || names) && shp_acquire_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return acquire(s, timeout);
}

static PyObject *semaphore_enter(struct semaphore *s, PyObject *unused)
{
    (void)unused;
    return acquire(s, SHK_FOREVER);
}

static PyObject *release(struct semaphore *s, unsigned n)
{
    int r;

    if (s->object.handle == NULL && shp_check_open(&s->object) < 0)
        return NULL;
    r = s->bounded && s->max == 0 ? -EOVERFLOW : shk_semaphore_release(s->object.handle, n);
    if (r == -EOVERFLOW) {
        PyErr_SetString(PyExc_ValueError, "Semaphore released too many times");
        return NULL;
    }
    return r == 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *semaphore_release(struct semaphore *s, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"n", NULL};
    long n = 1;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|l:release", words, &n))
        return NULL;
    if (n < 1 || n > MOST) {
        PyErr_SetString(PyExc_ValueError,
                        n < 1 ? "n must be one or more" : "Semaphore released too many times");
        return NULL;
    }
    return release(s, (unsigned)n);
}

static PyObject *semaphore_exit(struct semaphore *s, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return release(s, 1);
}

static PyObject *semaphore_value(struct semaphore *s, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&s->object) < 0)
        return NULL;
    r = shk_semaphore_value(s->object.handle);
    return r < 0 ? shp_error(r) : PyLong_FromLong(r);
}

static PyObject *semaphore_locked(struct semaphore *s, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&s->object) < 0)
        return NULL;
    r = shk_semaphore_value(s->object.handle);
    return r < 0 ? shp_error(r) : PyBool_FromLong(r == 0);
}

static PyObject *semaphore_aacquire(PyObject *s, PyObject *const *args, Py_ssize_t n,
                                    PyObject *names)
{
    return shp_delegate("shmkit._aio", "aacquire", s, args, n, names);
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", SHP_FAST(semaphore_acquire),
     "acquire(blocking=True, timeout=None)\n--\n\n"
     "Take a permit, waiting for one; first come, first served.\n\n"
     "timeout: seconds; None or -1: no limit. blocking=False: do not wait.\n"
     "Returns True, or False if there was none in time. Raises Unlinked, Closed."},
    {"aacquire", SHP_FAST(semaphore_aacquire),
     "aacquire(timeout=None)\n--\n\nawait semaphore.aacquire(): as acquire(timeout=timeout), for\n"
     "asyncio."},
    {"release", SHP_KEYWORD(semaphore_release),
     "release(n=1)\n--\n\nGive n permits, first to those that wait.\n"
     "Raises ValueError if there would be more than it was made with (BoundedSemaphore),\n"
     "NotHeld if the process has taken fewer (owners=True)."},
    {"get_value", SHP_NOARGS(semaphore_value),
     "get_value()\n--\n\nReturns how many permits are there; a hint."},
    {"locked", SHP_NOARGS(semaphore_locked),
     "locked()\n--\n\nReturns whether there is no permit; a hint."},
    {"__enter__", SHP_NOARGS(semaphore_enter), NULL},
    {"__exit__", SHP_PLAIN(semaphore_exit), NULL},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(semaphore_reduce), NULL},
    {"_open", (PyCFunction)semaphore_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef semaphore_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};

#define SEMAPHORE_DOC                                                                             \
    "value: permits at first, 0 to 2**31 - 1; it counts for the process that creates it.\n"       \
    "name: \"segment/object\", which may also be the first argument; None: a semaphore of this\n" \
    "program's own. create=False: raises NotFound if it is absent.\n"                             \
    "owners=True: what a process has taken comes back when it dies; value is the number of all\n" \
    "permits then. Otherwise a permit that a killed process had is lost."

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, "Semaphore(value=1, *, name=None, create=True, owners=False)\n--\n\n"
                "A number of permits, as threading.Semaphore.\n\n" SEMAPHORE_DOC},
    {Py_tp_init, SHP_SLOT(semaphore_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(semaphore_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};
static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, "BoundedSemaphore(value=1, *, name=None, create=True, owners=False)\n--\n\n"
                "A semaphore that never has more permits than it was made with, as\n"
                "threading.BoundedSemaphore.\n\n" SEMAPHORE_DOC},
    {Py_tp_init, SHP_SLOT(bounded_init)},
    {0, NULL},
};
static PyType_Spec semaphore_spec = {"shmkit.Semaphore", sizeof(struct semaphore), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, semaphore_slots};
static PyType_Spec bounded_spec = {"shmkit.BoundedSemaphore", sizeof(struct semaphore), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, bounded_slots};

int shp_semaphore_init(PyObject *module)
{
    if (shp_add_type(module, &semaphore_spec, &shp_semaphore_type) < 0)
        return -1;
    return shp_add_subtype(module, &bounded_spec, shp_semaphore_type, &shp_bounded_type);
}
