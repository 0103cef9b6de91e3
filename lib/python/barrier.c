/* Barrier: a place where a fixed number of threads, of any processes, meet. */
#include "barrier.h"

#include "errors.h"
#include "wait.h"

#include <time.h>

SHP_KIND(barrier, "barrier");

struct barrier {
    struct shp_object object;
    PyObject *action; /* NULL: none */
    int64_t timeout;  /* of a wait that gives none */
};

/* ---- Making ---- */

static int take_action(struct barrier *b, PyObject *action)
{
    if (action == NULL || action == Py_None)
        return 0;
    if (!PyCallable_Check(action)) {
        PyErr_SetString(PyExc_TypeError, "action is called, or None");
        return -1;
    }
    Py_XDECREF(b->action);
    b->action = Py_NewRef(action);
    return 0;
}

static int open_it(struct barrier *b, PyObject *name, long parties, int create)
{
    struct shk_barrier_options options = {.parties = (uint32_t)parties};

    if (parties < (create ? 1 : 0) || parties > UINT16_MAX) {
        PyErr_SetString(PyExc_ValueError, parties < 1 ? "parties must be > 0"
                                                      : "a barrier has at most 65535 parties");
        return -1;
    }
    return shp_open(&b->object, &barrier_kind, name, create ? SHK_CREATE : 0, &options);
}

static int barrier_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"parties", "action", "timeout", "create", NULL};
    struct barrier *b = (struct barrier *)self;
    PyObject *name, *action = NULL, *timeout = NULL;
    long parties = 0;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|lOO$p:Barrier", words, &parties, &action,
                                    &timeout, &create)
            ? 0
            : -1;
    if (r == 0)
        r = shp_timeout(timeout, SHK_NOWAIT, &b->timeout);
    if (r == 0)
        r = take_action(b, action);
    if (r == 0)
        r = open_it(b, name, parties, create);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static PyObject *barrier_reduce(struct barrier *b, PyObject *unused)
{
    (void)unused;
    return shp_reduce(
        &b->object, Py_BuildValue("(OL)", b->action ? b->action : Py_None, (long long)b->timeout));
}

static PyObject *barrier_reopen(PyTypeObject *type, PyObject *args)
{
    PyObject *place, *action;
    struct barrier *b;
    long long timeout;

    if (!PyArg_ParseTuple(args, "OOL", &place, &action, &timeout))
        return NULL;
    b = shp_allocate(type);
    if (b == NULL)
        return NULL;
    b->timeout = timeout;
    if (take_action(b, action) < 0 || shp_reopen(&b->object, &barrier_kind, place, 0, NULL) < 0)
        Py_CLEAR(b);
    return (PyObject *)b;
}

static int barrier_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct barrier *)self)->action);
    return 0;
}

static int barrier_clear(PyObject *self)
{
    Py_CLEAR(((struct barrier *)self)->action);
    return 0;
}

static void barrier_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    barrier_clear(self);
    shp_dealloc((struct shp_object *)self);
}

static PyObject *barrier_repr(struct barrier *b)
{
    struct shk_barrier *h = b->object.handle;
    char text[48] = "broken";

    if (h && shk_barrier_broken(h) == 0)
        PyOS_snprintf(text, sizeof(text), "waiters=%d/%d", shk_barrier_waiting(h),
                      shk_barrier_parties(h));
    return shp_repr_with(&b->object, text);
}

/* ---- Waiting ---- */

static int64_t call_wait(void *barrier, int64_t timeout)
{
    return shk_barrier_wait(barrier, timeout);
}

static PyObject *broken(int64_t r)
{
    if ((r != -EPIPE && r != -ETIMEDOUT) || PyErr_Occurred())
        return shp_error(r);
    PyErr_SetString(shp_Broken, r == -EPIPE ? "the barrier is broken, or has been reset"
                                            : "the time is over: the barrier is broken");
    return NULL;
}

/* One round: the arrival index, or -errno. A timeout of 0 breaks the barrier, as any other does. */
static int64_t meet(struct barrier *b, int64_t timeout)
{
    int64_t r = shk_barrier_wait(b->object.handle, SHK_NOWAIT);

    if (!shp_would_wait(r))
        return r;
    return shp_wait_slow(&b->object, call_wait, b->object.handle,
                         timeout == SHK_NOWAIT ? -1 : timeout);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/*
 * With an action there are two rounds: the last to arrive in the first one calls it, and comes to
 * the second when it has returned. If it has not, the barrier is broken.
 *
 * The time of a wait is the time until all have arrived, as in threading, where a waiter whose time
 * is over finds the lock held until the action has returned. So the second round has more than what
 * the first one has left: a party that has come in time may not have run since.
 */
#define SECOND_ROUND_LEAST INT64_C(10000000000) /* ns: for the action, and to run at all */

static PyObject *meet_with_action(struct barrier *b, int64_t timeout)
{
    int64_t begin = now(), index = meet(b, timeout), left = timeout, r;
    PyObject *result;

    if (index < 0)
        return broken(index);
    if (index == shk_barrier_parties(b->object.handle) - 1) {
        result = PyObject_CallNoArgs(b->action);
        if (result == NULL) {
            shk_barrier_abort(b->object.handle);
            return NULL;
        }
        Py_DECREF(result);
    }
    if (timeout != SHK_FOREVER)
        left = timeout - (now() - begin);
    r = meet(b, left > SECOND_ROUND_LEAST ? left : SECOND_ROUND_LEAST);
    return r < 0 ? broken(r) : PyLong_FromLongLong(index);
}

static PyObject *barrier_wait(struct barrier *b, PyObject *const *args, Py_ssize_t n,
                              PyObject *names)
{
    int64_t timeout, r;

    if (shp_check_open(&b->object) < 0 || shp_wait_arguments(args, n, names, &timeout) < 0)
        return NULL;
    if (timeout == SHK_FOREVER)
        timeout = b->timeout;
    if (b->action)
        return meet_with_action(b, timeout);
    r = meet(b, timeout);
    return r < 0 ? broken(r) : PyLong_FromLongLong(r);
}

static PyObject *done(int r)
{
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

static PyObject *barrier_reset(struct barrier *b, PyObject *unused)
{
    (void)unused;
    return shp_check_open(&b->object) < 0 ? NULL : done(shk_barrier_reset(b->object.handle));
}

static PyObject *barrier_abort(struct barrier *b, PyObject *unused)
{
    (void)unused;
    return shp_check_open(&b->object) < 0 ? NULL : done(shk_barrier_abort(b->object.handle));
}

/* ---- Attributes ---- */

static PyObject *figure(struct barrier *b, int (*ask)(struct shk_barrier *), bool truth)
{
    int r;

    if (shp_check_open(&b->object) < 0)
        return NULL;
    r = ask(b->object.handle);
    if (r < 0)
        return shp_error(r);
    return truth ? PyBool_FromLong(r) : PyLong_FromLong(r);
}

static PyObject *barrier_parties(struct barrier *b, void *unused)
{
    (void)unused;
    return figure(b, shk_barrier_parties, false);
}

static PyObject *barrier_waiting(struct barrier *b, void *unused)
{
    (void)unused;
    return figure(b, shk_barrier_waiting, false);
}

static PyObject *barrier_broken(struct barrier *b, void *unused)
{
    (void)unused;
    return figure(b, shk_barrier_broken, true);
}

static PyMethodDef barrier_methods[] = {
    {"wait", SHP_FAST(barrier_wait),
     "wait(timeout=None)\n--\n\nArrive, and wait for the other parties.\n\n"
     "timeout: seconds until all have arrived; None: that of the barrier. An action may take 10\n"
     "seconds more. Returns the arrival index, 0 to parties - 1.\n"
     "Raises BrokenBarrierError if the time is over, a party gives up or dies, or the barrier\n"
     "is broken or reset; what the action raises; Unlinked, Closed."},
    {"reset", SHP_NOARGS(barrier_reset),
     "reset()\n--\n\nEmpty the barrier, and mend it. Those that wait get BrokenBarrierError."},
    {"abort", SHP_NOARGS(barrier_abort), "abort()\n--\n\nBreak the barrier until it is reset."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(barrier_reduce), NULL},
    {"_open", (PyCFunction)barrier_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef barrier_getset[] = {
    SHP_NAME_GETSET,
    {"parties", (getter)barrier_parties, NULL, "How many are to meet.", NULL},
    {"n_waiting", (getter)barrier_waiting, NULL, "How many wait now; a hint.", NULL},
    {"broken", (getter)barrier_broken, NULL, "Whether it is broken; a hint.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot barrier_slots[] = {
    {Py_tp_doc,
     "Barrier(parties, action=None, timeout=None, *, name=None, create=True)\n--\n\n"
     "A place where `parties` threads of any processes meet, as threading.Barrier.\n\n"
     "action: called by the last that arrives, before the others go on. Of a barrier with a name\n"
     "all processes give an action, or none does.\n"
     "timeout: seconds, of waits that give none.\n"
     "name: \"segment/object\", which may also be the first argument; None: a barrier of this\n"
     "program's own. create=False: raises NotFound if it is absent.\n\n"
     "It breaks when one that waits at it is killed."},
    {Py_tp_init, SHP_SLOT(barrier_init)},
    {Py_tp_dealloc, SHP_SLOT(barrier_dealloc)},
    {Py_tp_traverse, SHP_SLOT(barrier_traverse)},
    {Py_tp_clear, SHP_SLOT(barrier_clear)},
    {Py_tp_repr, SHP_SLOT(barrier_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};
static PyType_Spec barrier_spec = {"shmkit.Barrier", sizeof(struct barrier), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                   barrier_slots};

int shp_barrier_init(PyObject *module)
{
    return shp_add_type(module, &barrier_spec, NULL);
}
