/* Opening a queue, or making it; pickling; closing. */
#include "errors.h"
#include "queue.h"

#include <string.h>

/*
 * The largest item of a queue that says nothing: items lie at their length, so it costs nothing. It
 * is not the most that there can be, 2 GiB, since each leased item has address space for one.
 */
#define ITEM_SIZE ((size_t)128 << 20)

/* ---- Making ---- */

/* An existing queue is opened as it is where the program says nothing. */
struct wish {
    struct shk_queue_options find, create;
};

static int queue_open(struct shk_segment *s, const char *name, unsigned flags, const void *options,
                      void **out)
{
    const struct wish *wish = options;
    unsigned roles = flags & ~(SHK_CREATE | SHK_EXCL);
    int r = -ENOENT;

    if (!(flags & SHK_EXCL))
        r = shk_queue_open(s, name, roles, &wish->find, (struct shk_queue **)out);
    if (r != -ENOENT || !(flags & SHK_CREATE))
        return r;
    r = shk_queue_open(s, name, flags | SHK_EXCL, &wish->create, (struct shk_queue **)out);
    if (r != -EEXIST || flags & SHK_EXCL)
        return r;
    return shk_queue_open(s, name, roles, &wish->find, (struct shk_queue **)out);
}

static int queue_close(void *handle)
{
    return shk_queue_close(handle);
}

static const struct shp_kind queue_kind = {"queue", queue_open, queue_close};

static int as_size(Py_ssize_t given, const char *what, size_t most, size_t *out)
{
    if (given > 0 && (size_t)given > most) {
        PyErr_Format(PyExc_ValueError, "%s is at most %zu", what, most);
        return -1;
    }
    *out = given > 0 ? (size_t)given : 0;
    return 0;
}

static int wish_for(struct wish *w, uint32_t order, Py_ssize_t maxsize, Py_ssize_t max_bytes,
                    Py_ssize_t item_size)
{
    size_t bytes;

    memset(w, 0, sizeof(*w));
    w->find.order = order;
    if (as_size(maxsize, "maxsize", (size_t)1 << 31, &w->find.capacity) < 0 ||
        as_size(max_bytes, "max_bytes", (size_t)1 << 40, &bytes) < 0 ||
        as_size(item_size, "item_size", (size_t)1 << 31, &w->find.item_size) < 0)
        return -1;
    w->find.capacity_bytes = bytes;
    w->create = w->find;
    if (w->create.item_size == 0)
        w->create.item_size = ITEM_SIZE;
    return 0;
}

/* role=None, "producer", "consumer" or "both"; epipe: a producer is told, too. */
static int roles_of(const char *role, int epipe, unsigned *flags)
{
    unsigned roles = 0;

    if (role && strcmp(role, "producer") == 0)
        roles = SHK_PRODUCER;
    else if (role && strcmp(role, "consumer") == 0)
        roles = SHK_CONSUMER;
    else if (role && strcmp(role, "both") == 0)
        roles = SHK_PRODUCER | SHK_CONSUMER;
    else if (role) {
        PyErr_Format(PyExc_ValueError,
                     "role is \"producer\", \"consumer\", \"both\" or None, not \"%s\"", role);
        return -1;
    }
    *flags |= SHK_AS(roles) | (epipe ? SHK_EPIPE : 0);
    return 0;
}

static int numbers_of(const char *numbers, bool *real)
{
    *real = numbers && strcmp(numbers, "float") == 0;
    if (numbers == NULL || *real || strcmp(numbers, "int") == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "numbers is \"int\" or \"float\", not \"%s\"", numbers);
    return -1;
}

static int set_key(struct shp_queue *q, PyObject *key)
{
    if (key == NULL || key == Py_None)
        return 0;
    if (!PyCallable_Check(key)) {
        PyErr_SetString(PyExc_TypeError, "key is a function of an item, or None");
        return -1;
    }
    q->key = Py_NewRef(key);
    return 0;
}

/* What the kinds of queues have: the words of their constructors. */
static int init_plain(struct shp_queue *q, PyObject *args, PyObject *kwargs, uint32_t order,
                      struct wish *wish, unsigned *flags)
{
    static char *words[] = {"maxsize",   "create", "codec", "item_size",
                            "max_bytes", "role",   "epipe", NULL};
    Py_ssize_t maxsize = 0, item_size = 0, max_bytes = 0;
    PyObject *codec = NULL;
    const char *role = NULL;
    int create = 1, epipe = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n$pOnnzp:Queue", words, &maxsize, &create,
                                     &codec, &item_size, &max_bytes, &role, &epipe))
        return -1;
    *flags = create ? SHK_CREATE : 0;
    if (roles_of(role, epipe, flags) < 0 ||
        wish_for(wish, order, maxsize, max_bytes, item_size) < 0)
        return -1;
    return shp_codec_init(&q->codec, codec);
}

static int init_priority(struct shp_queue *q, PyObject *args, PyObject *kwargs, struct wish *wish,
                         unsigned *flags)
{
    static char *words[] = {"maxsize", "create", "codec", "item_size", "max_bytes", "role",
                            "epipe",   "key",    "pairs", "numbers",   NULL};
    Py_ssize_t maxsize = 0, item_size = 0, max_bytes = 0;
    PyObject *codec = NULL, *key = NULL;
    const char *role = NULL, *numbers = NULL;
    int create = 1, epipe = 0, pairs = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n$pOnnzpOps:PriorityQueue", words, &maxsize,
                                     &create, &codec, &item_size, &max_bytes, &role, &epipe, &key,
                                     &pairs, &numbers))
        return -1;
    *flags = create ? SHK_CREATE : 0;
    q->pairs = pairs;
    if (roles_of(role, epipe, flags) < 0 || set_key(q, key) < 0 ||
        numbers_of(numbers, &q->real_numbers) < 0 ||
        wish_for(wish, SHK_PRIORITY, maxsize, max_bytes, item_size) < 0)
        return -1;
    return shp_codec_init(&q->codec, codec);
}

static int init(struct shp_queue *q, PyObject *args, PyObject *kwargs, uint32_t order)
{
    struct wish wish;
    unsigned flags = 0;
    PyObject *name;
    int r;

    if (q->object.segment) {
        PyErr_SetString(PyExc_RuntimeError, "the queue is open already");
        return -1;
    }
    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    q->order = order;
    r = order == SHK_PRIORITY ? init_priority(q, args, kwargs, &wish, &flags)
                              : init_plain(q, args, kwargs, order, &wish, &flags);
    if (r == 0)
        r = shp_open(&q->object, &queue_kind, name, flags, &wish);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return r;
}

int shp_queue_init_fifo(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct shp_queue *)self, args, kwargs, SHK_FIFO);
}

int shp_queue_init_lifo(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct shp_queue *)self, args, kwargs, SHK_LIFO);
}

int shp_queue_init_priority(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init((struct shp_queue *)self, args, kwargs, SHK_PRIORITY);
}

static PyObject *or_none(PyObject *o)
{
    return o ? o : Py_None;
}

PyObject *shp_queue_reduce(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&q->object,
                      Py_BuildValue("(iOOii)", (int)q->order, or_none(q->codec.given),
                                    or_none(q->key), (int)q->pairs, (int)q->real_numbers));
}

PyObject *shp_queue_open(PyTypeObject *type, PyObject *args)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct wish wish;
    PyObject *place, *codec, *key;
    struct shp_queue *q;
    int order, pairs, real;

    if (!PyArg_ParseTuple(args, "OiOOii", &place, &order, &codec, &key, &pairs, &real))
        return NULL;
    q = (struct shp_queue *)allocate(type, 0);
    if (q == NULL)
        return NULL;
    q->order = (uint32_t)order;
    q->pairs = pairs;
    q->real_numbers = real;
    if (wish_for(&wish, q->order, 0, 0, 0) < 0 || set_key(q, key) < 0 ||
        shp_codec_init(&q->codec, codec) < 0 ||
        shp_reopen(&q->object, &queue_kind, place, 0, &wish) < 0)
        Py_CLEAR(q);
    return (PyObject *)q;
}

int shp_queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct shp_queue *q = (struct shp_queue *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(q->key);
    Py_VISIT(q->codec.given);
    Py_VISIT(q->codec.dumps);
    Py_VISIT(q->codec.loads);
    return 0;
}

int shp_queue_clear(PyObject *self)
{
    struct shp_queue *q = (struct shp_queue *)self;

    Py_CLEAR(q->key);
    shp_codec_clear(&q->codec);
    return 0;
}

void shp_queue_dealloc(PyObject *self)
{
    struct shp_queue *q = (struct shp_queue *)self;
    PyObject *type, *value, *trace;

    PyObject_GC_UnTrack(self);
    PyErr_Fetch(&type, &value, &trace); /* of what has ended with the queue */
    if (shp_queue_end_views(q) < 0) {
        /*
         * An array of a reservation is alive. It must neither lose its memory nor be in an item of
         * another producer: the reservation stays open until its thread ends.
         */
        PyErr_WriteUnraisable(NULL);
        shp_queue_abandon_views(q);
        q->object.handle = NULL;
        q->object.segment = NULL;
    }
    shp_queue_clear(self);
    PyErr_Restore(type, value, trace);
    shp_dealloc(&q->object);
}

PyObject *shp_queue_close(struct shp_queue *q, PyObject *unused)
{
    if (shp_queue_end_views(q) < 0)
        return NULL;
    return shp_method_close(&q->object, unused);
}
