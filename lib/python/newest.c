/* Newest: the newest version of an item, which writers replace whole. */
#include "args.h"
#include "errors.h"
#include "item.h"
#include "object.h"
#include "newest.h"
#include "wait.h"

SHP_KIND(value, "value");

PyTypeObject *shp_newest_type;

struct newest {
    struct shp_object object;
    struct shp_codec codec;
    int64_t size; /* bytes at most */
};

static struct shk_value *handle(const struct newest *v)
{
    return v->object.handle;
}

static int note_size(struct newest *v)
{
    v->size = shk_value_size(handle(v));
    if (v->size >= 0)
        return 0;
    shp_error(v->size);
    return -1;
}

static int newest_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"size", "create", "codec", NULL};
    struct newest *v = (struct newest *)self;
    struct shk_value_options options = {.size = 0};
    PyObject *name, *codec = NULL;
    Py_ssize_t size = 0;
    int create = 1, r = -1;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|n$pO:Newest", words, &size, &create, &codec) &&
        shp_codec_init(&v->codec, codec) == 0) {
        options.size = size > 0 ? (size_t)size : 0;
        r = shp_open(&v->object, &value_kind, name, create ? SHK_CREATE : 0, &options);
    }
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r < 0 ? -1 : note_size(v);
}

static PyObject *newest_reduce(struct newest *v, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&v->object, Py_BuildValue("(N)", shp_codec_given(&v->codec)));
}

static PyObject *newest_reopen(PyTypeObject *type, PyObject *args)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *place, *codec;
    struct newest *v;

    if (!PyArg_ParseTuple(args, "OO", &place, &codec))
        return NULL;
    v = (struct newest *)allocate(type, 0);
    if (v && (shp_codec_init(&v->codec, codec) < 0 ||
              shp_reopen(&v->object, &value_kind, place, 0, NULL) < 0 || note_size(v) < 0))
        Py_CLEAR(v);
    return (PyObject *)v;
}

static int newest_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct newest *v = (struct newest *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(v->codec.given);
    Py_VISIT(v->codec.dumps);
    Py_VISIT(v->codec.loads);
    return 0;
}

static int newest_clear(PyObject *self)
{
    shp_codec_clear(&((struct newest *)self)->codec);
    return 0;
}

static void newest_dealloc(PyObject *self)
{
    struct newest *v = (struct newest *)self;

    PyObject_GC_UnTrack(self);
    newest_clear(self);
    shp_dealloc(&v->object);
}

/* ---- Setting ---- */

/* The version that it has now, or an exception. */
static PyObject *set(struct newest *v, PyObject *object, const uint64_t *expected)
{
    struct shp_item item;
    int64_t r;

    if (shp_encode(&v->codec, object, &item) < 0)
        return NULL;
    if (shp_check_open(&v->object) < 0) {
        shp_item_release(&item);
        return NULL;
    }
    r = expected ? shk_value_compare_and_set(handle(v), *expected, item.data, item.length)
                 : shk_value_set(handle(v), item.data, item.length);
    shp_item_release(&item);
    if (r == -ECANCELED)
        Py_RETURN_NONE;
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(r);
}

static PyObject *newest_set(struct newest *v, PyObject *object)
{
    return set(v, object, NULL);
}

static PyObject *newest_compare_and_set(struct newest *v, PyObject *const *args, Py_ssize_t n,
                                        PyObject *keywords)
{
    static const char *const names[] = {"version", "item", NULL};
    uint64_t version;
    PyObject *a[2];

    if (shp_args_slow("compare_and_set", names, 2, args, n, keywords, a) < 0)
        return NULL;
    version = PyLong_AsUnsignedLongLong(a[0]);
    return PyErr_Occurred() ? NULL : set(v, a[1], &version);
}

static PyObject *newest_add(struct newest *v, PyObject *delta)
{
    long long d = PyLong_AsLongLong(delta);
    int64_t sum, r;

    if ((d == -1 && PyErr_Occurred()) || shp_check_open(&v->object) < 0)
        return NULL;
    r = shk_value_add(handle(v), d, &sum);
    if (r == -EOVERFLOW) {
        PyErr_SetString(PyExc_OverflowError, shk_last_error());
        return NULL;
    }
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(sum);
}

/* ---- Getting ---- */

/* The newest version's bytes, in the buffer or in memory that is to be freed: how many; -1. */
static ssize_t load(struct newest *v, char **room, const char *buffer, size_t size,
                    uint64_t *version)
{
    ssize_t r;

    if (shp_check_open(&v->object) < 0)
        return -1;
    if (v->size > (int64_t)size)
        *room = PyMem_Malloc((size_t)v->size);
    if (*room == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    r = shk_value_get(handle(v), *room, (size_t)v->size, version);
    if (r >= 0)
        return r;
    shp_error(r);
    if (*room != buffer)
        PyMem_Free(*room);
    return -1;
}

/* The item and its version; None if it has never been set. */
static PyObject *get(struct newest *v, uint64_t *version)
{
    char buffer[4096], *room = buffer;
    ssize_t length = load(v, &room, buffer, sizeof(buffer), version);
    PyObject *item;

    if (length < 0)
        return NULL;
    item = *version == 0 ? Py_NewRef(Py_None) : shp_decode(&v->codec, room, (size_t)length);
    if (room != buffer)
        PyMem_Free(room);
    return item;
}

/* What has been got last is what a wait for any of several objects goes by. */
static PyObject *newest_mark(struct newest *v, PyObject *unused)
{
    char buffer[4096], *room = buffer;
    uint64_t version;

    (void)unused;
    if (load(v, &room, buffer, sizeof(buffer), &version) < 0)
        return NULL;
    if (room != buffer)
        PyMem_Free(room);
    return Py_NewRef(Py_None);
}

static PyObject *newest_get(struct newest *v, PyObject *unused)
{
    uint64_t version;

    (void)unused;
    return get(v, &version);
}

static PyObject *newest_get_versioned(struct newest *v, PyObject *unused)
{
    uint64_t version;
    PyObject *item = get(v, &version);

    (void)unused;
    return item ? Py_BuildValue("(NK)", item, (unsigned long long)version) : NULL;
}

struct wait {
    struct shk_value *value;
    uint64_t version;
};

static int64_t call_wait(void *arg, int64_t timeout)
{
    const struct wait *w = arg;

    return shk_value_wait(w->value, w->version, timeout);
}

static PyObject *newest_wait(struct newest *v, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    static const char *const names[] = {"version", "timeout", NULL};
    struct wait wait;
    int64_t timeout, r;
    PyObject *a[2];

    if (shp_args_slow("wait", names, 0, args, n, keywords, a) < 0 ||
        shp_timeout(a[1], SHK_NOWAIT, &timeout) < 0 || shp_check_open(&v->object) < 0)
        return NULL;
    wait.value = handle(v);
    r = a[0] && a[0] != Py_None ? 0 : shk_value_version(wait.value);
    if (r < 0)
        return shp_error(r);
    wait.version = a[0] && a[0] != Py_None ? PyLong_AsUnsignedLongLong(a[0]) : (uint64_t)r;
    if (PyErr_Occurred())
        return NULL;
    r = shp_wait(&v->object, call_wait, &wait, timeout);
    if (shp_would_wait(r) || r == -ETIMEDOUT)
        return PyLong_FromLong(0);
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(r);
}

static PyObject *newest_await(PyObject *self, PyObject *const *args, Py_ssize_t n,
                              PyObject *keywords)
{
    return shp_delegate("shmkit._aio", "await_newer", self, args, n, keywords);
}

static PyObject *get_version(struct newest *v, void *unused)
{
    int64_t r;

    (void)unused;
    if (shp_check_open(&v->object) < 0)
        return NULL;
    r = shk_value_version(handle(v));
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(r);
}

static PyObject *get_size(struct newest *v, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(v->size);
}

static PyMethodDef newest_methods[] = {
    {"set", (PyCFunction)newest_set, METH_O,
     "set(item)\n--\n\nReplace the item, and wake those that wait for a newer one. Returns the\n"
     "version that it has now. Raises Error (EMSGSIZE) if it is longer than size.\n"
     "Killed: it is the new item, whole, or the old one."},
    {"get", SHP_NOARGS(newest_get),
     "get()\n--\n\nReturns the newest item, None if there has never been one. It never waits."},
    {"get_versioned", SHP_NOARGS(newest_get_versioned),
     "get_versioned()\n--\n\nReturns (item, version); (None, 0) if there has never been one."},
    {"wait", SHP_FAST(newest_wait),
     "wait(version=None, timeout=None)\n--\n\nWait for a newer version than that; None: than the\n"
     "one that it has now. timeout: seconds. Returns the newest version, 0 if the time is over.\n"
     "Versions between may have been missed."},
    {"await_newer", SHP_FAST(newest_await),
     "await_newer(version=None, timeout=None)\n--\n\nawait newest.await_newer(): as wait(), for "
     "asyncio."},
    {"compare_and_set", SHP_FAST(newest_compare_and_set),
     "compare_and_set(version, item)\n--\n\nReplace the item if it still has that version; 0: if\n"
     "it has never been set. Returns the new version, or None: it has another one."},
    {"add", (PyCFunction)newest_add, METH_O,
     "add(delta)\n--\n\n"
     "Add to a number, of a Newest with codec='int'; 0 if it has never been set.\n"
     "Returns the sum. Raises OverflowError; Error (EPROTOTYPE) if what is in it has not 8 bytes."},
    {"close", SHP_NOARGS(shp_method_close), SHP_CLOSE_DOC},
    {"_mark", SHP_NOARGS(newest_mark), NULL},
    {"__reduce__", SHP_NOARGS(newest_reduce), NULL},
    {"_open", (PyCFunction)newest_reopen, METH_VARARGS | METH_CLASS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef newest_getset[] = {
    SHP_NAME_GETSET,
    {"version", (getter)get_version, NULL,
     "The newest version, from 1 for the first that is set; 0 before; a hint.", NULL},
    {"size", (getter)get_size, NULL, "How many bytes an item has at most.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot newest_slots[] = {
    {Py_tp_doc,
     "Newest(size=0, *, name=None, create=True, codec='pickle')\n"
     "Newest(name, size=0, ...)\n\n"
     "The newest of something: a configuration, a state. Writers replace it whole; any number\n"
     "of readers get it without a lock, never torn, and wait for a newer one.\n\n"
     "name: \"segment/object\"; None: for this program and the processes that it is passed to.\n"
     "size: bytes of the longest item, up to 16 MiB; 0: 1024, or as it is. codec: as with\n"
     "Queue; \"int\" and \"float\" are numbers of 8 bytes, which C has as int64_t and double.\n"
     "Example: Newest(\"bank/rate\").set(1.25)"},
    {Py_tp_init, SHP_SLOT(newest_init)},
    {Py_tp_dealloc, SHP_SLOT(newest_dealloc)},
    {Py_tp_traverse, SHP_SLOT(newest_traverse)},
    {Py_tp_clear, SHP_SLOT(newest_clear)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_methods, newest_methods},
    {Py_tp_getset, newest_getset},
    {Py_tp_members, shp_members},
    {0, NULL},
};

static PyType_Spec newest_spec = {"shmkit.Newest", sizeof(struct newest), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                  newest_slots};

int shp_newest_init(PyObject *module)
{
    return shp_add_type(module, &newest_spec, &shp_newest_type);
}
