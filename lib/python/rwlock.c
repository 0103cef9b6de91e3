/* RWLock: any number of threads hold it to read, or one holds it to write. */
#include "rwlock.h"

#include "errors.h"
#include "lock.h"

SHP_KIND(rwlock, "rwlock");

struct rwlock {
    struct shp_object object;
    bool orphaned_returns;
};

/* What read() and write() return, for `with`. */
struct hold {
    PyObject ob_base;
    struct rwlock *lock;
    bool writes;
};
static PyTypeObject *hold_type;

/* ---- Making ---- */

static int rwlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"create", "orphaned", NULL};
    struct rwlock *l = (struct rwlock *)self;
    const char *orphaned = NULL;
    PyObject *name;
    int create = 1, r;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    r = PyArg_ParseTupleAndKeywords(args, kwargs, "|$ps:RWLock", words, &create, &orphaned) ? 0
                                                                                            : -1;
    if (r == 0)
        r = shp_orphaned_choice(orphaned, &l->orphaned_returns);
    if (r == 0)
        r = shp_open(&l->object, &rwlock_kind, name, create ? SHK_CREATE : 0, NULL);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

static PyObject *rwlock_reduce(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&l->object, Py_BuildValue("(O)", l->orphaned_returns ? Py_True : Py_False));
}

static PyObject *rwlock_reopen(PyTypeObject *type, PyObject *args)
{
    struct rwlock *l;
    PyObject *place;
    int returns;

    if (!PyArg_ParseTuple(args, "Op", &place, &returns))
        return NULL;
    l = shp_allocate(type);
    if (l == NULL)
        return NULL;
    l->orphaned_returns = returns;
    if (shp_reopen(&l->object, &rwlock_kind, place, 0, NULL) < 0)
        Py_CLEAR(l);
    return (PyObject *)l;
}

/* ---- Acquire and release ---- */

static int64_t call_read(void *lock, int64_t timeout)
{
    return shk_rwlock_acquire_shared(lock, timeout);
}

static int64_t call_write(void *lock, int64_t timeout)
{
    return shk_rwlock_acquire(lock, timeout);
}

static PyObject *acquire(struct rwlock *l, shp_call call, int64_t timeout)
{
    int64_t r;

    if (l->object.handle == NULL && shp_check_open(&l->object) < 0)
        return NULL;
    r = call(l->object.handle, SHK_NOWAIT);
    return r == 0 ? Py_NewRef(Py_True)
                  : shp_acquire_slow(&l->object, call, r, timeout, l->orphaned_returns);
}

static PyObject *rwlock_acquire_read(struct rwlock *l, PyObject *const *args, Py_ssize_t n,
                                     PyObject *names)
{
    int64_t timeout = SHK_FOREVER;

    if ((n > 0 || names) && shp_acquire_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return acquire(l, call_read, timeout);
}

static PyObject *rwlock_acquire_write(struct rwlock *l, PyObject *const *args, Py_ssize_t n,
                                      PyObject *names)
{
    int64_t timeout = SHK_FOREVER;

    if ((n > 0 || names) && shp_acquire_arguments(args, n, names, &timeout) < 0)
        return NULL;
    return acquire(l, call_write, timeout);
}

static PyObject *as_holder(struct rwlock *l, int (*call)(struct shk_rwlock *))
{
    int r;

    if (l->object.handle == NULL && shp_check_open(&l->object) < 0)
        return NULL;
    r = call(l->object.handle);
    return r >= 0 ? Py_NewRef(Py_None) : shp_error_unheld(r);
}

static PyObject *rwlock_release(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return as_holder(l, shk_rwlock_release);
}

static PyObject *rwlock_downgrade(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return as_holder(l, shk_rwlock_downgrade);
}

static PyObject *rwlock_recover(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return as_holder(l, shk_rwlock_recover);
}

/* ---- with lock.read(), with lock.write() ---- */

static PyObject *make_hold(struct rwlock *l, bool writes)
{
    struct hold *h = shp_allocate(hold_type);

    if (h) {
        h->lock = (struct rwlock *)Py_NewRef((PyObject *)l);
        h->writes = writes;
    }
    return (PyObject *)h;
}

static PyObject *rwlock_read(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return make_hold(l, false);
}

static PyObject *rwlock_write(struct rwlock *l, PyObject *unused)
{
    (void)unused;
    return make_hold(l, true);
}

static PyObject *hold_enter(struct hold *h, PyObject *unused)
{
    (void)unused;
    return acquire(h->lock, h->writes ? call_write : call_read, SHK_FOREVER);
}

static PyObject *hold_exit(struct hold *h, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return rwlock_release(h->lock, NULL);
}

static void hold_dealloc(struct hold *h)
{
    PyTypeObject *type = Py_TYPE(&h->ob_base);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);

    Py_XDECREF((PyObject *)h->lock);
    free_object(h);
    Py_DECREF(type);
}

static PyMethodDef hold_methods[] = {
    {"__enter__", SHP_NOARGS(hold_enter), NULL},
    {"__exit__", SHP_PLAIN(hold_exit), NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot hold_slots[] = {
    {Py_tp_doc, "What RWLock.read() and RWLock.write() return, for a `with` statement."},
    {Py_tp_dealloc, SHP_SLOT(hold_dealloc)},
    {Py_tp_methods, hold_methods},
    {0, NULL},
};
static PyType_Spec hold_spec = {"shmkit._Hold", sizeof(struct hold), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, hold_slots};

/* ---- The type ---- */

#define RWLOCK_ACQUIRE                                                                            \
    "timeout: seconds; None or -1: no limit. blocking=False: do not wait.\n"                      \
    "Returns True, or False if the time is over. If a writer died while it wrote, and no other\n" \
    "has said recover() since: ORPHANED, or Orphaned is raised, as the object was told; the\n"    \
    "caller holds the lock then. Raises Deadlock, Unlinked, Closed."

static PyMethodDef rwlock_methods[] = {
    {"acquire_read", SHP_FAST(rwlock_acquire_read),
     "acquire_read(blocking=True, timeout=-1)\n--\n\nAcquire a share, to read, waiting while a "
     "thread writes, or waits to.\n\n" RWLOCK_ACQUIRE},
    {"acquire_write", SHP_FAST(rwlock_acquire_write),
     "acquire_write(blocking=True, timeout=-1)\n--\n\nAcquire the lock to write, waiting while "
     "others hold it.\n\n" RWLOCK_ACQUIRE},
    {"release", SHP_NOARGS(rwlock_release),
     "release()\n--\n\nRelease a share, or the whole. Raises NotHeld."},
    {"downgrade", SHP_NOARGS(rwlock_downgrade),
     "downgrade()\n--\n\nFrom a writer become a reader. Raises NotHeld."},
    {"recover", SHP_NOARGS(rwlock_recover),
     "recover()\n--\n\nSay, as a writer, that what a dead writer left is in order again.\n"
     "Raises NotHeld."},
    {"read", SHP_NOARGS(rwlock_read),
     "read()\n--\n\nFor `with lock.read():`, which gives what acquire_read() returns."},
    {"write", SHP_NOARGS(rwlock_write),
     "write()\n--\n\nFor `with lock.write():`, which gives what acquire_write() returns."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"__reduce__", SHP_NOARGS(rwlock_reduce), NULL},
    {"_open", (PyCFunction)rwlock_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef rwlock_getset[] = {SHP_NAME_GETSET, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot rwlock_slots[] = {
    {Py_tp_doc,
     "RWLock(name=None, *, create=True, orphaned='raise')\n--\n\n"
     "A lock that any number of threads hold to read, or one to write.\n\n"
     "    with books.read():\n"
     "        print(account.balance)\n\n"
     "name: \"segment/object\"; None: a lock of this program's own. create=False: raises NotFound\n"
     "if it is absent. orphaned: what an acquire does after a writer died: \"raise\" Orphaned, or\n"
     "\"return\" ORPHANED instead of True. A writer that waits lets no new readers in."},
    {Py_tp_init, SHP_SLOT(rwlock_init)},
    {Py_tp_dealloc, SHP_SLOT(shp_dealloc)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_members, shp_members},
    {Py_tp_methods, rwlock_methods},
    {Py_tp_getset, rwlock_getset},
    {0, NULL},
};
static PyType_Spec rwlock_spec = {"shmkit.RWLock", sizeof(struct rwlock), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, rwlock_slots};

int shp_rwlock_init(PyObject *module)
{
    if (shp_add_type(module, &hold_spec, &hold_type) < 0)
        return -1;
    return shp_add_type(module, &rwlock_spec, NULL);
}
