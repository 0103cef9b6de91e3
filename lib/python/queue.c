/* Putting and getting. */
#include "queue.h"

#include "args.h"
#include "errors.h"
#include "number.h"

/* ---- What calls return ---- */

int shp_queue_timeout(PyObject *block, PyObject *timeout, int64_t *ns)
{
    int blocks = block ? PyObject_IsTrue(block) : 1;

    if (blocks < 0)
        return -1;
    *ns = SHK_NOWAIT;
    return blocks ? shp_timeout(timeout, -1, ns) : 0;
}

PyObject *shp_queue_raise(PyObject *class)
{
    if (!PyErr_Occurred())
        PyErr_SetString(class, shk_last_error());
    return NULL;
}

PyObject *shp_queue_put_error(int64_t r)
{
    switch (r) {
    case -EAGAIN:
    case -EBUSY:
    case -ETIMEDOUT:
        return shp_queue_raise(shp_Full);
    case -EPIPE:
        return shp_queue_raise(shp_ShutDown);
    default:
        return shp_error(r);
    }
}

PyObject *shp_queue_get_error(int64_t r)
{
    switch (r) {
    case -EAGAIN:
    case -EBUSY:
    case -ETIMEDOUT:
        return shp_queue_raise(shp_Empty);
    case -EPIPE:
        return shp_queue_raise(shp_ShutDown);
    default:
        return shp_error(r);
    }
}

/* ---- Putting ---- */

struct put {
    struct shk_queue *queue;
    const char *data;
    size_t length;
    int64_t number;
    bool numbered;
};

static int64_t call_put(void *arg, int64_t timeout)
{
    const struct put *p = arg;

    return p->numbered ? shk_queue_put_priority(p->queue, p->data, p->length, p->number, timeout)
                       : shk_queue_put(p->queue, p->data, p->length, timeout);
}

/* The number of an item, and what travels: *object may become the second of a pair, borrowed. */
static int take_number(struct shp_queue *q, PyObject **object, PyObject *priority, struct put *p)
{
    if (q->order != SHK_PRIORITY) {
        if (priority == NULL || priority == Py_None)
            return 0;
        PyErr_SetString(PyExc_TypeError, "only a PriorityQueue takes a priority");
        return -1;
    }
    p->numbered = true;
    if (priority && priority != Py_None && !q->pairs)
        return shp_number_of(priority, q->real_numbers, &p->number);
    if (!q->pairs)
        return shp_number(*object, q->key, q->real_numbers, &p->number);
    if (!PyTuple_Check(*object) || PyTuple_Size(*object) != 2 ||
        (priority && priority != Py_None)) {
        PyErr_SetString(PyExc_TypeError,
                        "an item of a PriorityQueue with pairs=True is a tuple (number, item)");
        return -1;
    }
    if (shp_number_of(PyTuple_GetItem(*object, 0), q->real_numbers, &p->number) < 0)
        return -1;
    *object = PyTuple_GetItem(*object, 1);
    return 0;
}

int shp_queue_put_one(struct shp_queue *q, PyObject *object, PyObject *priority, int64_t timeout)
{
    struct put p = {.numbered = false};
    struct shp_item item;
    int64_t r;

    if (q->object.handle == NULL && shp_check_open(&q->object) < 0)
        return -1;
    if ((q->order == SHK_PRIORITY || priority) && take_number(q, &object, priority, &p) < 0)
        return -1;
    if (shp_encode(&q->codec, object, &item) < 0)
        return -1;
    /* encoding may have run Python code, which may have closed it */
    if (q->object.handle == NULL && shp_check_open(&q->object) < 0) {
        shp_item_release(&item);
        return -1;
    }
    p.queue = shp_queue_handle(q);
    p.data = item.data;
    p.length = item.length;
    r = shp_wait(&q->object, call_put, &p, timeout);
    shp_item_release(&item);
    if (r >= 0)
        return 0;
    shp_queue_put_error(r);
    return -1;
}

PyObject *shp_queue_put(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                        PyObject *keywords)
{
    static const char *const names[] = {"item", "block", "timeout", "priority", "obj", NULL};
    int64_t timeout = SHK_FOREVER;
    PyObject *a[5];

    if (n == 1 && keywords == NULL)
        return shp_queue_put_one(q, args[0], NULL, timeout) < 0 ? NULL : Py_NewRef(Py_None);
    if (n > 3) {
        PyErr_SetString(PyExc_TypeError, "put() takes 3 arguments without a name at most");
        return NULL;
    }
    if (shp_args_slow("put", names, 0, args, n, keywords, a) < 0)
        return NULL;
    if (a[0] == NULL)
        a[0] = a[4]; /* as multiprocessing calls it */
    if (a[0] == NULL) {
        PyErr_SetString(PyExc_TypeError, "put() needs the argument 'item'");
        return NULL;
    }
    if (shp_queue_timeout(a[1], a[2], &timeout) < 0 ||
        shp_queue_put_one(q, a[0], a[3], timeout) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

PyObject *shp_queue_put_nowait(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                               PyObject *keywords)
{
    static const char *const names[] = {"item", "priority", NULL};
    PyObject *a[2];

    if (shp_args_slow("put_nowait", names, 1, args, n, keywords, a) < 0 ||
        shp_queue_put_one(q, a[0], a[1], SHK_NOWAIT) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

/* ---- Getting ---- */

struct get {
    struct shk_queue *queue;
    char *buffer;
    size_t size;
    int64_t number;
    bool numbered;
    const void *item; /* of a peek */
};

static int64_t call_get(void *arg, int64_t timeout)
{
    struct get *g = arg;

    return g->numbered ? shk_queue_get_priority(g->queue, g->buffer, g->size, timeout, &g->number)
                       : shk_queue_get(g->queue, g->buffer, g->size, timeout);
}

static int64_t call_peek(void *arg, int64_t timeout)
{
    struct get *g = arg;

    return shk_queue_peek(g->queue, &g->item, timeout);
}

/*
 * A long item is copied once, from where it lies. Killed meanwhile: the item stays in the queue.
 * Making a bytes object runs no code of the program.
 */
static PyObject *take_peeked(struct shp_queue *q, const struct get *g, int64_t length)
{
    PyObject *data = PyBytes_FromStringAndSize(g->item, (Py_ssize_t)length);
    int r;

    if (data == NULL) {
        shk_queue_unpeek(g->queue);
        return NULL;
    }
    r = shk_queue_consume(g->queue);
    if (r < 0) {
        Py_DECREF(data);
        return shp_queue_get_error(r);
    }
    q->large = length > SHP_SHORT_ITEM / 2;
    return data;
}

static PyObject *get_large(struct shp_queue *q, int64_t timeout)
{
    struct get g = {.queue = shp_queue_handle(q)};
    int64_t r = shp_wait(&q->object, call_peek, &g, timeout);
    PyObject *data;

    if (r < 0)
        return shp_queue_get_error(r);
    data = take_peeked(q, &g, r);
    return data ? shp_decode_owned(&q->codec, data) : NULL;
}

/* The number of an item is told by a get alone, which needs a buffer: as long as the next item. */
static PyObject *get_large_pair(struct shp_queue *q, int64_t timeout, int64_t *number)
{
    struct get g = {.queue = shp_queue_handle(q), .numbered = true};
    PyObject *item;
    int64_t r;

    do {
        r = shp_wait(&q->object, call_peek, &g, timeout);
        if (r < 0)
            break;
        shk_queue_unpeek(g.queue);
        PyMem_Free(g.buffer);
        g.size = (size_t)r;
        g.buffer = PyMem_Malloc(g.size + 1);
        if (g.buffer == NULL)
            return PyErr_NoMemory();
        r = call_get(&g, SHK_NOWAIT);
    } while (r == -EMSGSIZE || (shp_would_wait(r) && timeout != SHK_NOWAIT));
    *number = g.number;
    item = r < 0 ? shp_queue_get_error(r) : shp_decode(&q->codec, g.buffer, (size_t)r);
    PyMem_Free(g.buffer);
    return item;
}

static PyObject *get_pair(struct shp_queue *q, int64_t timeout)
{
    char buffer[SHP_SHORT_ITEM];
    struct get g = {
        .queue = shp_queue_handle(q), .buffer = buffer, .size = sizeof(buffer), .numbered = true};
    int64_t r = shp_wait(&q->object, call_get, &g, timeout);
    PyObject *number, *item;

    if (r == -EMSGSIZE)
        item = get_large_pair(q, timeout, &g.number);
    else
        item = r < 0 ? shp_queue_get_error(r) : shp_decode(&q->codec, buffer, (size_t)r);
    if (item == NULL)
        return NULL;
    number = shp_number_back(g.number, q->real_numbers);
    if (number)
        return Py_BuildValue("(NN)", number, item);
    Py_DECREF(item);
    return NULL;
}

PyObject *shp_queue_get_one(struct shp_queue *q, int64_t timeout)
{
    char buffer[SHP_SHORT_ITEM];
    struct get g = {.buffer = buffer, .size = sizeof(buffer)};
    int64_t r;

    if (q->object.handle == NULL && shp_check_open(&q->object) < 0)
        return NULL;
    if (q->pairs)
        return get_pair(q, timeout);
    if (q->large)
        return get_large(q, timeout);
    g.queue = shp_queue_handle(q);
    r = shk_queue_get(g.queue, buffer, sizeof(buffer), SHK_NOWAIT);
    if (shp_would_wait(r) && timeout != SHK_NOWAIT)
        r = shp_wait_slow(&q->object, call_get, &g, timeout);
    if (r == -EMSGSIZE)
        return get_large(q, timeout);
    return r < 0 ? shp_queue_get_error(r) : shp_decode(&q->codec, buffer, (size_t)r);
}

PyObject *shp_queue_get(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                        PyObject *keywords)
{
    static const char *const names[] = {"block", "timeout", NULL};
    int64_t timeout = SHK_FOREVER;
    PyObject *a[2];

    if ((n > 0 || keywords) && (shp_args_slow("get", names, 0, args, n, keywords, a) < 0 ||
                                shp_queue_timeout(a[0], a[1], &timeout) < 0))
        return NULL;
    return shp_queue_get_one(q, timeout);
}

PyObject *shp_queue_get_nowait(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return shp_queue_get_one(q, SHK_NOWAIT);
}
