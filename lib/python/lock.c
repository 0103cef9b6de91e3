#include "lock.h"

#include "errors.h"
#include "wait.h"

#include <string.h>

SHP_KIND(lock, "lock");

PyTypeObject *shp_lock_type, *shp_rlock_type;
PyObject *shp_orphaned;

/* ---- Orphaned ---- */

int shp_orphaned_choice(const char *text, bool *returns)
{
    *returns = text && strcmp(text, "return") == 0;
    if (text == NULL || *returns || strcmp(text, "raise") == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "orphaned is \"raise\" or \"return\", not \"%s\"", text);
    return -1;
}

PyObject *shp_acquired(const struct shp_object *o, int64_t r, bool returns)
{
    if (r == 0)
        return Py_NewRef(Py_True);
    if (returns)
        return Py_NewRef(shp_orphaned);
    return shp_error_orphaned(shp_describe(o), "a thread died while it held it; this one holds it "
                                               "now: put in order what it protects, then release "
                                               "it");
}

/* ---- Making ---- */

static PyObject *lock_repr(struct shp_lock *l)
{
    PyObject *type = PyType_GetQualName(Py_TYPE(&l->object.ob_base)), *text = NULL;
    const char *state = l->object.handle == NULL                 ? "closed"
                        : shk_lock_is_held(l->object.handle) > 0 ? "locked"
                                                                 : "unlocked";

    if (type)
        text = PyUnicode_FromFormat("<%s shmkit.%U object (%s) at %p>", state, type,
                                    shp_describe(&l->object), (void *)l);
    Py_XDECREF(type);
    return text;
}

static int init(struct shp_lock *l, PyObject *args, PyObject *kwargs, bool recursive)
{
    static char *words[] = {"create", "orphaned", NULL};
    struct shk_lock_options options = {.recursive = recursive};
    const char *orphaned = NULL;
    PyObject *name;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|$ps:Lock", words, &create, &orphaned) ? 0 : -1;
    if (r == 0)
        r = shp_orphaned_choice(orphaned, &l->orphaned_returns);
    l->recursive = recursive;
    if (r == 0)
        r = shp_open(&l->object, &lock_kind, name, create ? SHK_CREATE : 0, &options);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static int lock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct shp_lock *)self, args, kwargs, false);
}

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct shp_lock *)self, args, kwargs, true);
}

static PyObject *lock_reduce(struct shp_lock *l, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&l->object, Py_BuildValue("(O)", l->orphaned_returns ? Py_True : Py_False));
}

static PyObject *lock_reopen(PyTypeObject *type, PyObject *args)
{
    struct shk_lock_options options = {.recursive = PyType_IsSubtype(type, shp_rlock_type)};
    struct shp_lock *l;
    PyObject *place;
    int returns;

    if (!PyArg_ParseTuple(args, "Op", &place, &returns))
        return NULL;
    l = shp_allocate(type);
    if (l == NULL)
        return NULL;
    l->recursive = options.recursive;
    l->orphaned_returns = returns;
    if (shp_reopen(&l->object, &lock_kind, place, 0, &options) < 0)
        Py_CLEAR(l);
    return (PyObject *)l;
}

/* ---- Acquire and release ---- */

static int64_t call_acquire(void *lock, int64_t timeout)
{
    return shk_lock_acquire(lock, timeout);
}

PyObject *shp_acquire_slow(struct shp_object *o, shp_call call, int64_t r, int64_t timeout,
                           bool returns)
{
    if (shp_would_wait(r) && timeout != SHK_NOWAIT)
        r = shp_wait_slow(o, call, o->handle, timeout);
    if (r >= 0)
        return shp_acquired(o, r, returns);
    if (r == -EDEADLK && timeout != SHK_FOREVER)
        r = shp_sleep(timeout); /* the caller holds it already */
    if (shp_would_wait(r) || r == -ETIMEDOUT)
        return Py_NewRef(Py_False);
    return shp_error(r);
}

static PyObject *acquire(struct shp_lock *l, int64_t timeout)
{
    int64_t r;

    if (l->object.handle == NULL && shp_check_open(&l->object) < 0)
        return NULL;
    r = shk_lock_acquire(l->object.handle, SHK_NOWAIT);
    return r == 0 ? Py_NewRef(Py_True)
                  : shp_acquire_slow(&l->object, call_acquire, r, timeout, l->orphaned_returns);
}

static PyObject *lock_acquire(struct shp_lock *l, PyObject *const *args, Py_ssize_t n,
                              PyObject *names)
{
    int64_t timeout = SHK_FOREVER;

    if ((n > 0 || names) && shp_acquire_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return acquire(l, timeout);
}

static PyObject *lock_enter(struct shp_lock *l, PyObject *unused)
{
    (void)unused;
    return acquire(l, SHK_FOREVER);
}

static PyObject *lock_release(struct shp_lock *l, PyObject *unused)
{
    int r;

    (void)unused;
    if (l->object.handle == NULL && shp_check_open(&l->object) < 0)
        return NULL;
    r = shk_lock_release(l->object.handle);
    return r == 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *lock_exit(struct shp_lock *l, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return lock_release(l, NULL);
}

/* ---- State ---- */

static PyObject *lock_locked(struct shp_lock *l, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&l->object) < 0)
        return NULL;
    r = shk_lock_is_held(l->object.handle);
    return r < 0 ? shp_error(r) : PyBool_FromLong(r);
}

/* How often the calling thread has it; negative: an exception is set. */
static int depth_of(struct shp_lock *l)
{
    int r = shp_check_open(&l->object) < 0 ? -1 : shk_lock_depth(l->object.handle);

    if (r < 0 && !PyErr_Occurred())
        shp_error(r);
    return r;
}

static PyObject *lock_is_owned(struct shp_lock *l, PyObject *unused)
{
    int depth = depth_of(l);

    (void)unused;
    return depth < 0 ? NULL : PyBool_FromLong(depth);
}

static PyObject *lock_recursion_count(struct shp_lock *l, PyObject *unused)
{
    int depth = depth_of(l);

    (void)unused;
    return depth < 0 ? NULL : PyLong_FromLong(depth);
}

/* threading.Condition on an RLock releases all levels, and takes them back. */
static PyObject *lock_release_save(struct shp_lock *l, PyObject *unused)
{
    int depth = depth_of(l), r = 0;

    (void)unused;
    if (depth < 0)
        return NULL;
    if (depth == 0)
        return shp_error_unheld(shk_lock_release(l->object.handle));
    for (int i = 0; r == 0 && i < depth; i++)
        r = shk_lock_release(l->object.handle);
    return r < 0 ? shp_error(r) : PyLong_FromLong(depth);
}

/*
 * The first level, as threading.RLock takes it back: whatever a signal handler raises meanwhile,
 * the lock is held at the end. 0, SHK_ORPHANED, or another error. What the handler raised is set
 * then.
 */
static int64_t take_back(struct shp_lock *l)
{
    PyObject *type = NULL, *error = NULL, *trace = NULL;
    int64_t r = shk_lock_acquire(l->object.handle, SHK_NOWAIT);

    while (shp_would_wait(r) || (r == -EINTR && PyErr_Occurred())) {
        if (PyErr_Occurred()) { /* the last one counts */
            Py_XDECREF(type);
            Py_XDECREF(error);
            Py_XDECREF(trace);
            PyErr_Fetch(&type, &error, &trace);
        }
        r = shp_wait_slow(&l->object, call_acquire, l->object.handle, SHK_FOREVER);
    }
    if (type)
        PyErr_Restore(type, error, trace);
    return r;
}

static PyObject *lock_acquire_restore(struct shp_lock *l, PyObject *state)
{
    long depth = PyLong_AsLong(state);
    int64_t first, r;

    if ((depth == -1 && PyErr_Occurred()) || shp_check_open(&l->object) < 0)
        return NULL;
    if (depth <= 0)
        return Py_NewRef(Py_None);
    first = r = take_back(l);
    /* All levels, before a death is told: the caller releases as many as it had. */
    for (long i = 1; r >= 0 && i < depth; i++)
        r = shk_lock_acquire(l->object.handle, SHK_NOWAIT);
    if (PyErr_Occurred())
        return NULL;
    return r < 0 ? shp_error(r) : shp_acquired(&l->object, first, l->orphaned_returns);
}

#define ACQUIRE_DOC                                                                       \
    "acquire(blocking=True, timeout=-1)\n--\n\n"                                          \
    "Acquire the lock, waiting while another thread or process holds it.\n\n"             \
    "timeout: seconds; None or -1: no limit. blocking=False: do not wait. (As in\n"       \
    "multiprocessing, block= is the same as blocking=.)\n"                                \
    "Returns True, or False if the time is over. If a holder died meanwhile: ORPHANED,\n" \
    "or Orphaned is raised, as the object was told; the caller holds the lock then.\n"    \
    "Raises Deadlock where the wait would never end; Unlinked; Closed."

static PyMethodDef lock_methods[] = {
    {"acquire", SHP_FAST(lock_acquire), ACQUIRE_DOC},
    {"release", SHP_NOARGS(lock_release),
     "release()\n--\n\nRelease the lock, or one level of an RLock.\nRaises NotHeld if this thread "
     "does not hold it."},
    {"__enter__", SHP_NOARGS(lock_enter), NULL},
    {"__exit__", SHP_PLAIN(lock_exit), NULL},
    {"locked", SHP_NOARGS(lock_locked),
     "locked()\n--\n\nReturns whether a thread of any process holds it; a hint."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"_is_owned", SHP_NOARGS(lock_is_owned), NULL},
    {"_recursion_count", SHP_NOARGS(lock_recursion_count), NULL},
    {"_release_save", SHP_NOARGS(lock_release_save), NULL},
    {"_acquire_restore", (PyCFunction)lock_acquire_restore, METH_O, NULL},
    {"__reduce__", SHP_NOARGS(lock_reduce), NULL},
    {"_open", (PyCFunction)lock_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef lock_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};

#define LOCK_DOC                                                                                  \
    "name: \"segment/object\"; None: a lock of this program's own, for threads and for\n"         \
    "processes that it is passed to. create=False: raises NotFound if it is absent.\n"            \
    "orphaned: what an acquire does after a holder died: \"raise\" Orphaned, or \"return\" the\n" \
    "value ORPHANED instead of True. The caller holds the lock in both cases.\n\n"                \
    "Only the thread that acquired it can release it."

static PyType_Slot lock_slots[] = {
    {Py_tp_doc,
     "Lock(name=None, *, create=True, orphaned='raise')\n--\n\n"
     "A lock that threads of any process acquire and release, as threading.Lock.\n\n" LOCK_DOC},
    {Py_tp_init, SHP_SLOT(lock_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(lock_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};
static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, "RLock(name=None, *, create=True, orphaned='raise')\n--\n\n"
                "A lock that its holder may acquire again, and releases as often.\n\n" LOCK_DOC},
    {Py_tp_init, SHP_SLOT(rlock_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(lock_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};
static PyType_Spec lock_spec = {"shmkit.Lock", sizeof(struct shp_lock), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, lock_slots};
static PyType_Spec rlock_spec = {"shmkit.RLock", sizeof(struct shp_lock), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, rlock_slots};

int shp_lock_init(PyObject *module)
{
    return shp_add_type(module, &lock_spec, &shp_lock_type) < 0 ||
                   shp_add_type(module, &rlock_spec, &shp_rlock_type) < 0
               ? -1
               : 0;
}
