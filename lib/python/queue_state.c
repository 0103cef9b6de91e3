/* What a queue is like: how many items, which tasks, whether it is shut down; and what is small. */
#include "queue.h"

#include "args.h"
#include "errors.h"

/* ---- Counting ---- */

static PyObject *number_or_error(struct shp_queue *q, int64_t (*count)(struct shk_queue *))
{
    int64_t r;

    if (shp_check_open(&q->object) < 0)
        return NULL;
    r = count(shp_queue_handle(q));
    return r < 0 ? shp_error(r) : PyLong_FromLongLong(r);
}

static int64_t count_size(struct shk_queue *q)
{
    return shk_queue_size(q);
}

static int64_t count_capacity(struct shk_queue *q)
{
    return shk_queue_capacity(q);
}

static int64_t count_unfinished(struct shk_queue *q)
{
    return shk_queue_unfinished(q);
}

static int64_t count_item_size(struct shk_queue *q)
{
    return shk_queue_item_size(q);
}

PyObject *shp_queue_qsize(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return number_or_error(q, count_size);
}

static PyObject *truth_or_error(struct shp_queue *q, int (*ask)(struct shk_queue *))
{
    int r;

    if (shp_check_open(&q->object) < 0)
        return NULL;
    r = ask(shp_queue_handle(q));
    return r < 0 ? shp_error(r) : PyBool_FromLong(r);
}

PyObject *shp_queue_empty(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return truth_or_error(q, shk_queue_empty);
}

PyObject *shp_queue_full(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return truth_or_error(q, shk_queue_full);
}

PyObject *shp_queue_get_maxsize(struct shp_queue *q, void *unused)
{
    (void)unused;
    return number_or_error(q, count_capacity);
}

PyObject *shp_queue_get_unfinished(struct shp_queue *q, void *unused)
{
    (void)unused;
    return number_or_error(q, count_unfinished);
}

PyObject *shp_queue_get_item_size(struct shp_queue *q, void *unused)
{
    (void)unused;
    return number_or_error(q, count_item_size);
}

PyObject *shp_queue_get_is_shutdown(struct shp_queue *q, void *unused)
{
    (void)unused;
    return truth_or_error(q, shk_queue_is_shut_down);
}

PyObject *shp_queue_get_codec(struct shp_queue *q, void *unused)
{
    (void)unused;
    return q->codec.given ? Py_NewRef(q->codec.given) : PyUnicode_FromString("pickle");
}

/* ---- Tasks ---- */

PyObject *shp_queue_task_done(struct shp_queue *q, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&q->object) < 0)
        return NULL;
    r = shk_queue_task_done(shp_queue_handle(q));
    if (r == -EINVAL)
        return shp_queue_raise(PyExc_ValueError);
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

static int64_t call_join(void *queue, int64_t timeout)
{
    return shk_queue_join(queue, timeout);
}

PyObject *shp_queue_join(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                         PyObject *keywords)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *a[1];
    int64_t timeout, r;

    if (shp_args_slow("join", names, 0, args, n, keywords, a) < 0 ||
        shp_timeout(a[0], -1, &timeout) < 0 || shp_check_open(&q->object) < 0)
        return NULL;
    r = shp_wait(&q->object, call_join, shp_queue_handle(q), timeout);
    if (r == SHK_ORPHANED)
        return shp_error_orphaned(shp_describe(&q->object),
                                  "all tasks have ended, but a worker died, or left, with some "
                                  "that it had not done");
    if (shp_would_wait(r) || r == -ETIMEDOUT)
        return shp_queue_raise(PyExc_TimeoutError);
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

/* ---- Shutting down ---- */

static int64_t call_peek(void *queue, int64_t timeout)
{
    const void *item;

    return shk_queue_peek(queue, &item, timeout);
}

/* Take out what is there; each item is done. */
static int drain(struct shp_queue *q)
{
    struct shk_queue *handle = shp_queue_handle(q);
    int64_t r;

    do {
        r = call_peek(handle, SHK_NOWAIT);
        if (r == -EBUSY) /* another thread reads an item in place */
            r = shp_wait_slow(&q->object, call_peek, handle, SHK_SEC(1));
        if (r >= 0)
            r = shk_queue_consume(handle);
        if (r >= 0)
            r = shk_queue_task_done(handle);
    } while (r >= 0);
    if (r == -EPIPE || r == -ETIMEDOUT || shp_would_wait(r))
        return 0; /* leased items are left, or the one that is read */
    shp_error(r);
    return -1;
}

PyObject *shp_queue_shutdown(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                             PyObject *keywords)
{
    static const char *const names[] = {"immediate", NULL};
    int immediate = 0, r;
    PyObject *a[1];

    if (shp_args_slow("shutdown", names, 0, args, n, keywords, a) < 0)
        return NULL;
    if (a[0])
        immediate = PyObject_IsTrue(a[0]);
    if (immediate < 0 || shp_check_open(&q->object) < 0)
        return NULL;
    r = shk_queue_shutdown(shp_queue_handle(q));
    if (r < 0)
        return shp_error(r);
    if (immediate && drain(q) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

PyObject *shp_queue_reopen(struct shp_queue *q, PyObject *unused)
{
    int r;

    (void)unused;
    if (shp_check_open(&q->object) < 0)
        return NULL;
    r = shk_queue_reopen(shp_queue_handle(q));
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

/* ---- Others ---- */

PyObject *shp_queue_encode(struct shp_queue *q, PyObject *object)
{
    struct shp_item item;
    PyObject *data;

    if (shp_encode(&q->codec, object, &item) < 0)
        return NULL;
    data = PyBytes_FromStringAndSize(item.data, (Py_ssize_t)item.length);
    shp_item_release(&item);
    return data;
}

PyObject *shp_queue_decode(struct shp_queue *q, PyObject *data)
{
    Py_buffer view;
    PyObject *object;

    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    object = shp_decode(&q->codec, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return object;
}

/* multiprocessing.Queue has a thread that writes; there is none here. */
PyObject *shp_queue_nothing(struct shp_queue *q, PyObject *unused)
{
    (void)q;
    (void)unused;
    return Py_NewRef(Py_None);
}

PyObject *shp_queue_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

PyObject *shp_queue_exit(struct shp_queue *q, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return shp_queue_close(q, NULL);
}

#define ASYNC(name)                                                                 \
    PyObject *shp_queue_##name(PyObject *self, PyObject *const *args, Py_ssize_t n, \
                               PyObject *keywords)                                  \
    {                                                                               \
        return shp_delegate("shmkit._aio", #name, self, args, n, keywords);         \
    }
ASYNC(aget)
ASYNC(aput)
ASYNC(ajoin)
