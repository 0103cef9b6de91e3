/* Condition: a lock, and waiters that sleep until they are notified. */
#include "cond.h"

#include "errors.h"
#include "lock.h"

#include <time.h>

SHP_KIND(cond, "condition");

static PyTypeObject *cond_type;

struct cond {
    struct shp_object object;
    PyObject *lock; /* the Lock or RLock that it was made on; NULL: it has a lock of its own */
    bool orphaned_returns;
};

/* ---- Making ---- */

/* Open it on a lock, or without: shp_open(), or shp_reopen() of a place. */
static int open_it(struct cond *c, PyObject *name, PyObject *place, unsigned flags)
{
    const struct shp_object *lock = (const struct shp_object *)c->lock;
    struct shk_cond_options options = {.lock = lock ? lock->handle : NULL};

    if (lock && shp_check_open(lock) < 0)
        return -1;
    if (place)
        return shp_reopen(&c->object, &cond_kind, place, flags, &options);
    if (lock)
        return shp_open_beside(&c->object, &cond_kind, lock, name, flags, &options);
    return shp_open(&c->object, &cond_kind, name, flags, &options);
}

static int take_lock(struct cond *c, PyObject *lock)
{
    if (lock == NULL || lock == Py_None)
        return 0;
    if (!PyObject_TypeCheck(lock, shp_lock_type) && !PyObject_TypeCheck(lock, shp_rlock_type)) {
        PyErr_Format(PyExc_TypeError, "lock is a shmkit.Lock or shmkit.RLock, or None, not %R",
                     lock);
        return -1;
    }
    Py_XDECREF(c->lock);
    c->lock = Py_NewRef(lock);
    return 0;
}

static int cond_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"lock", "create", "orphaned", NULL};
    struct cond *c = (struct cond *)self;
    const char *orphaned = NULL;
    PyObject *name, *lock = NULL;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|O$ps:Condition", words, &lock, &create,
                                    &orphaned)
            ? 0
            : -1;
    if (r == 0)
        r = shp_orphaned_choice(orphaned, &c->orphaned_returns);
    if (r == 0)
        r = take_lock(c, lock);
    if (r == 0)
        r = open_it(c, name, NULL, create ? SHK_CREATE : 0);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static PyObject *cond_reduce(struct cond *c, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&c->object, Py_BuildValue("(OO)", c->lock ? c->lock : Py_None,
                                                c->orphaned_returns ? Py_True : Py_False));
}

static PyObject *cond_reopen(PyTypeObject *type, PyObject *args)
{
    PyObject *place, *lock;
    struct cond *c;
    int returns;

    if (!PyArg_ParseTuple(args, "OOp", &place, &lock, &returns))
        return NULL;
    c = shp_allocate(type);
    if (c == NULL)
        return NULL;
    c->orphaned_returns = returns;
    if (take_lock(c, lock) < 0 || open_it(c, NULL, place, 0) < 0)
        Py_CLEAR(c);
    return (PyObject *)c;
}

static int cond_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct cond *)self)->lock);
    return 0;
}

static int cond_clear(PyObject *self)
{
    Py_CLEAR(((struct cond *)self)->lock);
    return 0;
}

static void cond_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    cond_clear(self);
    shp_dealloc((struct shp_object *)self);
}

/* ---- The lock ---- */

static int64_t call_acquire(void *cond, int64_t timeout)
{
    return shk_cond_acquire(cond, timeout);
}

static PyObject *acquire(struct cond *c, int64_t timeout)
{
    int64_t r;

    if (c->object.handle == NULL && shp_check_open(&c->object) < 0)
        return NULL;
    r = shk_cond_acquire(c->object.handle, SHK_NOWAIT);
    return r == 0 ? Py_NewRef(Py_True)
                  : shp_acquire_slow(&c->object, call_acquire, r, timeout, c->orphaned_returns);
}

static PyObject *cond_acquire(struct cond *c, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    int64_t timeout = SHK_FOREVER;

    if ((n > 0 || names) && shp_acquire_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return acquire(c, timeout);
}

static PyObject *cond_enter(struct cond *c, PyObject *unused)
{
    (void)unused;
    return acquire(c, SHK_FOREVER);
}

static PyObject *cond_release(struct cond *c, PyObject *unused)
{
    int r;

    (void)unused;
    if (c->object.handle == NULL && shp_check_open(&c->object) < 0)
        return NULL;
    r = shk_cond_release(c->object.handle);
    return r == 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *cond_exit(struct cond *c, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return cond_release(c, NULL);
}

/* ---- Waiting ---- */

static int64_t call_wait(void *cond, int64_t timeout)
{
    return shk_cond_wait(cond, timeout);
}

/*
 * A timeout of 0 releases the lock, too: others that wait for it have their turn, as in
 * threading.Condition.
 */
static PyObject *wait(struct cond *c, int64_t timeout)
{
    int64_t r;

    if (shp_check_open(&c->object) < 0)
        return NULL;
    r = shp_wait_slow(&c->object, call_wait, c->object.handle, timeout > 0 ? timeout : 1);
    if (r == -ETIMEDOUT)
        return Py_NewRef(Py_False);
    return r >= 0 ? shp_acquired(&c->object, r, c->orphaned_returns) : shp_error_unheld(r);
}

static PyObject *cond_wait(struct cond *c, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    int64_t timeout;

    if (shp_wait_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return wait(c, timeout);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t deadline_of(int64_t timeout)
{
    int64_t begin = now();

    return timeout < SHK_FOREVER - begin ? begin + timeout : SHK_FOREVER;
}

/* wait_for(): until the predicate is true, or the time is over. Returns what it returned last. */
static PyObject *wait_for(struct cond *c, PyObject *predicate, int64_t timeout)
{
    int64_t deadline = deadline_of(timeout), left = timeout;
    PyObject *result, *r;
    int is_true;

    for (;;) {
        result = PyObject_CallNoArgs(predicate);
        is_true = result ? PyObject_IsTrue(result) : 1;
        if (is_true < 0)
            Py_CLEAR(result);
        if (deadline != SHK_FOREVER)
            left = deadline - now();
        if (is_true || left <= 0)
            return result;
        Py_DECREF(result);
        r = wait(c, left);
        if (r == NULL || r == shp_orphaned)
            return r;
        Py_DECREF(r);
    }
}

static PyObject *cond_wait_for(struct cond *c, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"predicate", "timeout", NULL};
    PyObject *predicate, *seconds = NULL;
    int64_t timeout;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:wait_for", words, &predicate, &seconds) ||
        shp_timeout(seconds, SHK_NOWAIT, &timeout) < 0)
        return NULL;
    return wait_for(c, predicate, timeout);
}

/* ---- Notifying ---- */

static PyObject *notified(int64_t r)
{
    return r >= 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *cond_notify(struct cond *c, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"n", NULL};
    long n = 1;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|l:notify", words, &n) ||
        shp_check_open(&c->object) < 0)
        return NULL;
    if (n < 0 || n > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "n is from 0 to 2**31 - 1");
        return NULL;
    }
    return notified(shk_cond_notify(c->object.handle, (unsigned)n));
}

static PyObject *cond_notify_all(struct cond *c, PyObject *unused)
{
    (void)unused;
    return shp_check_open(&c->object) < 0 ? NULL : notified(shk_cond_notify_all(c->object.handle));
}

/* ---- The type ---- */

static PyMethodDef cond_methods[] = {
    {"acquire", SHP_FAST(cond_acquire),
     "acquire(blocking=True, timeout=-1)\n--\n\nAcquire the condition's lock: see Lock.acquire()."},
    {"release", SHP_NOARGS(cond_release),
     "release()\n--\n\nRelease the condition's lock. Raises NotHeld."},
    {"wait", SHP_FAST(cond_wait),
     "wait(timeout=None)\n--\n\n"
     "Release the lock (all levels), sleep until notified, take it back.\n\n"
     "timeout: seconds; None: no limit. Returns True if notified, False if the time is over.\n"
     "If a holder of the lock died meanwhile: ORPHANED, or Orphaned is raised, as the object\n"
     "was told. The lock is held in each case. Raises NotHeld, Unlinked, Closed."},
    {"wait_for", SHP_KEYWORD(cond_wait_for),
     "wait_for(predicate, timeout=None)\n--\n\nWait until predicate() is true.\n\n"
     "timeout: seconds in all. Returns what the predicate returned last; ORPHANED if wait()\n"
     "did so, whatever the predicate would say."},
    {"notify", SHP_KEYWORD(cond_notify),
     "notify(n=1)\n--\n\nWake up to n waiters, those that came first; dead ones do not count.\n"
     "Raises NotHeld if this thread does not hold the lock."},
    {"notify_all", SHP_NOARGS(cond_notify_all),
     "notify_all()\n--\n\nWake all waiters: all of them, or none if this process is killed in the "
     "middle."},
    {"__enter__", SHP_NOARGS(cond_enter), NULL},
    {"__exit__", SHP_PLAIN(cond_exit), NULL},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(cond_reduce), NULL},
    {"_open", (PyCFunction)cond_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef cond_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot cond_slots[] = {
    {Py_tp_doc,
     "Condition(lock=None, *, name=None, create=True, orphaned='raise')\n--\n\n"
     "A lock, and waiters that sleep until they are notified, as threading.Condition.\n\n"
     "lock: a Lock or RLock, in whose segment the condition is made; None: an RLock of its own.\n"
     "name: \"segment/object\", which may also be the first argument; None: a condition of this\n"
     "program's own, with a lock without a name, too. create=False: raises NotFound if absent.\n"
     "orphaned: what acquire() and wait() do after a holder died: see Lock.\n\n"
     "A waiter or a notifier may be killed at any moment: the others are woken all the same."},
    {Py_tp_init, SHP_SLOT(cond_init)},
    {Py_tp_dealloc, SHP_SLOT(cond_dealloc)},
    {Py_tp_traverse, SHP_SLOT(cond_traverse)},
    {Py_tp_clear, SHP_SLOT(cond_clear)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, cond_methods},
    {Py_tp_getset, cond_getset},
    {0, NULL},
};
static PyType_Spec cond_spec = {"shmkit.Condition", sizeof(struct cond), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                cond_slots};

int shp_cond_init(PyObject *module)
{
    return shp_add_type(module, &cond_spec, &cond_type);
}
