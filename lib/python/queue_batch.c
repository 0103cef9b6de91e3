/* Several items at a time. */
#include "queue.h"

#include "args.h"
#include "errors.h"

#include <string.h>
#include <sys/uio.h>

/* ---- Putting ---- */

/* Encoded items: bytes as they are, others in memory of their own. */
struct batch {
    Py_ssize_t n;
    struct iovec *items;
    struct shp_item *encoded;
};

static void batch_free(struct batch *b)
{
    for (Py_ssize_t i = 0; i < b->n; i++)
        shp_item_release(&b->encoded[i]);
    PyMem_Free(b->encoded);
    PyMem_Free(b->items);
}

static int batch_encode(const struct shp_queue *q, PyObject *list, struct batch *b)
{
    Py_ssize_t n = PyList_Size(list);

    b->n = 0;
    b->items = PyMem_Calloc((size_t)n + 1, sizeof(*b->items));
    b->encoded = PyMem_Calloc((size_t)n + 1, sizeof(*b->encoded));
    if (b->items == NULL || b->encoded == NULL) {
        batch_free(b);
        PyErr_NoMemory();
        return -1;
    }
    for (; b->n < n; b->n++) {
        struct shp_item *item = &b->encoded[b->n];

        if (shp_encode(&q->codec, PyList_GetItem(list, b->n), item) < 0) {
            batch_free(b);
            return -1;
        }
        b->items[b->n] = (struct iovec){(void *)(uintptr_t)item->data, item->length};
    }
    return 0;
}

struct put_many {
    struct shk_queue *queue;
    const struct iovec *items;
    unsigned n;
};

static int64_t call_put_many(void *arg, int64_t timeout)
{
    const struct put_many *p = arg;

    return shk_queue_put_many(p->queue, p->items, p->n, timeout);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What is left of a timeout that began then. */
static int64_t remaining(int64_t timeout, int64_t begin)
{
    int64_t left;

    if (timeout == SHK_FOREVER || timeout == SHK_NOWAIT)
        return timeout;
    left = timeout - (now() - begin);
    return left > 0 ? left : SHK_NOWAIT;
}

#define CALL_MAX 65536 /* items of one call */

static PyObject *put_batch(struct shp_queue *q, const struct batch *b, int64_t timeout)
{
    struct put_many p = {.queue = shp_queue_handle(q)};
    int64_t begin = now(), r = 0;
    Py_ssize_t done = 0;

    while (done < b->n && r >= 0) {
        p.items = b->items + done;
        p.n = b->n - done < CALL_MAX ? (unsigned)(b->n - done) : CALL_MAX;
        r = shp_wait(&q->object, call_put_many, &p, remaining(timeout, begin));
        if (r > 0)
            done += r;
    }
    if (r == -EINTR || (r < 0 && done == 0))
        return shp_queue_put_error(r);
    return PyLong_FromSsize_t(done);
}

/* In a PRIORITY queue each has its number: one by one. */
static PyObject *put_each(struct shp_queue *q, PyObject *list, int64_t timeout)
{
    int64_t begin = now();
    Py_ssize_t n = PyList_Size(list), done = 0;

    for (; done < n; done++) {
        if (shp_queue_put_one(q, PyList_GetItem(list, done), NULL, remaining(timeout, begin)) == 0)
            continue;
        if (done == 0 ||
            !(PyErr_ExceptionMatches(shp_Full) || PyErr_ExceptionMatches(shp_ShutDown)))
            return NULL;
        PyErr_Clear();
        break;
    }
    return PyLong_FromSsize_t(done);
}

PyObject *shp_queue_put_many(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    static const char *const names[] = {"items", "block", "timeout", NULL};
    PyObject *a[3], *list, *r = NULL;
    struct batch b;
    int64_t timeout;

    if (shp_args_slow("put_many", names, 1, args, n, keywords, a) < 0 ||
        shp_queue_timeout(a[1], a[2], &timeout) < 0)
        return NULL;
    list = PySequence_List(a[0]);
    if (list == NULL)
        return NULL;
    if (q->order == SHK_PRIORITY) {
        r = put_each(q, list, timeout);
    } else if (batch_encode(q, list, &b) == 0) {
        if (shp_check_open(&q->object) == 0)
            r = put_batch(q, &b, timeout);
        batch_free(&b);
    }
    Py_DECREF(list);
    return r;
}

/* ---- Getting ---- */

#define BUFFERS     64
#define BUFFER_SIZE 256 /* bytes; a longer item is taken alone */

struct get_many {
    struct shk_queue *queue;
    struct iovec buffers[BUFFERS];
    unsigned n;
    char memory[BUFFERS][BUFFER_SIZE];
};

static int64_t call_get_many(void *arg, int64_t timeout)
{
    struct get_many *g = arg;

    return shk_queue_get_many(g->queue, g->buffers, g->n, timeout);
}

/* Take at most n, and add them to the list: how many, or -errno; -1 with an exception. */
static int64_t get_some(struct shp_queue *q, struct get_many *g, Py_ssize_t n, PyObject *list,
                        int64_t timeout)
{
    int64_t r;

    g->n = n < BUFFERS ? (unsigned)n : BUFFERS;
    for (unsigned i = 0; i < g->n; i++)
        g->buffers[i] = (struct iovec){g->memory[i], BUFFER_SIZE};
    r = shp_wait(&q->object, call_get_many, g, timeout);
    for (int64_t i = 0; i < r; i++) {
        PyObject *item = shp_decode(&q->codec, g->buffers[i].iov_base, g->buffers[i].iov_len);

        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            return -1;
        }
        Py_DECREF(item);
    }
    return r;
}

static int append_one(struct shp_queue *q, PyObject *list, int64_t timeout)
{
    PyObject *item = shp_queue_get_one(q, timeout);
    int r = item ? PyList_Append(list, item) : -1;

    Py_XDECREF(item);
    return r;
}

/* Fill the list with up to n: 0, or -1 with an exception. */
static int get_up_to(struct shp_queue *q, struct get_many *g, Py_ssize_t n, PyObject *list,
                     int64_t timeout)
{
    Py_ssize_t have = 0;
    int64_t r;

    while (have < n) {
        int64_t wait = have == 0 ? timeout : SHK_NOWAIT;

        r = q->pairs || q->large ? -EMSGSIZE : get_some(q, g, n - have, list, wait);
        if (r == -EMSGSIZE && append_one(q, list, wait) < 0)
            r = -1;
        if (PyErr_Occurred()) {
            if (have == 0 ||
                !(PyErr_ExceptionMatches(shp_Empty) || PyErr_ExceptionMatches(shp_ShutDown)))
                return -1;
            PyErr_Clear();
            return 0;
        }
        if (r < 0 && r != -EMSGSIZE) {
            if (have > 0)
                return 0;
            shp_queue_get_error(r);
            return -1;
        }
        have = PyList_Size(list);
        if (shp_check_open(&q->object) < 0)
            return -1; /* loading an item has closed it */
    }
    return 0;
}

PyObject *shp_queue_get_many(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    static const char *const names[] = {"n", "block", "timeout", NULL};
    PyObject *a[3], *list;
    struct get_many g;
    Py_ssize_t most;
    int64_t timeout;

    if (shp_args_slow("get_many", names, 1, args, n, keywords, a) < 0 ||
        shp_queue_timeout(a[1], a[2], &timeout) < 0)
        return NULL;
    most = PyLong_AsSsize_t(a[0]);
    if (most < 1) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "get_many() takes at least one item");
        return NULL;
    }
    if (shp_check_open(&q->object) < 0)
        return NULL;
    list = PyList_New(0);
    g.queue = shp_queue_handle(q);
    if (list && get_up_to(q, &g, most, list, timeout) < 0)
        Py_CLEAR(list);
    return list;
}
