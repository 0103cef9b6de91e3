/*
 * Reservations and peeks: items that are made and read where they lie.
 *
 * What always holds while one is open: its view is in the queue's struct, and the garbage collector
 * is off. A collection may run any __del__(), and one that puts into the queue, or gets from it,
 * would get -EDEADLK from the thread that keeps the side. An object whose last reference the
 * program itself drops meanwhile can still do that; its exception says why.
 *
 * A view is ended before the library is told: when the place may be another's, no memoryview
 * reaches it any more. If one cannot be ended, the library is not told.
 */
#include "queue.h"

#include "args.h"
#include "errors.h"

/* ---- The collector ---- */

static unsigned open_views;   /* of this process */
static bool collector_is_off; /* switched off here, and to be switched on again */

static void collector_off(void)
{
    if (open_views++ == 0)
        collector_is_off = PyGC_Disable();
}

static void collector_on(void)
{
    if (--open_views > 0 || !collector_is_off)
        return;
    collector_is_off = false;
    PyGC_Enable();
}

/* ---- What is open ---- */

static PyObject *open_view(struct shp_open *o, void *data, size_t length, bool readonly)
{
    PyObject *memory;

    o->view = shp_view_new(data, length, readonly, NULL);
    if (o->view == NULL)
        return NULL;
    memory = shp_view_memory(o->view);
    if (memory == NULL) {
        Py_DECREF((PyObject *)o->view);
        o->view = NULL;
        return NULL;
    }
    o->thread = PyThread_get_thread_ident();
    collector_off();
    return memory;
}

static void forget(struct shp_open *o)
{
    Py_DECREF((PyObject *)o->view);
    o->view = NULL;
    collector_on();
}

/* Whether the calling thread has it: 0, or -1 with NotHeld. */
static int check_open(const struct shp_queue *q, const struct shp_open *o, const char *what)
{
    if (shp_check_open(&q->object) < 0)
        return -1;
    if (o->view && o->thread == PyThread_get_thread_ident())
        return 0;
    PyErr_Format(shp_NotHeld, "%s: this thread has no %s open", shp_describe(&q->object), what);
    return -1;
}

int shp_queue_end_views(struct shp_queue *q)
{
    if (q->reservation.view) {
        if (shp_view_end(q->reservation.view, "the queue has a reservation open") < 0)
            return -1;
        shk_queue_cancel(shp_queue_handle(q)); /* another thread's ends with that */
        forget(&q->reservation);
    }
    if (q->peek.view) {
        if (shp_view_end(q->peek.view, "the queue has a peek open") < 0)
            return -1;
        shk_queue_unpeek(shp_queue_handle(q));
        forget(&q->peek);
    }
    return 0;
}

void shp_queue_abandon_views(struct shp_queue *q)
{
    if (q->reservation.view)
        forget(&q->reservation);
    if (q->peek.view)
        forget(&q->peek);
}

/* ---- Reservations ---- */

struct reserve {
    struct shk_queue *queue;
    size_t size;
    void *slot;
};

static int64_t call_reserve(void *arg, int64_t timeout)
{
    struct reserve *r = arg;

    return shk_queue_reserve(r->queue, r->size, &r->slot, timeout);
}

PyObject *shp_queue_reserve(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                            PyObject *keywords)
{
    static const char *const names[] = {"size", "block", "timeout", NULL};
    struct reserve reserve;
    PyObject *a[3], *memory;
    int64_t timeout, r;

    if (shp_args_slow("reserve", names, 1, args, n, keywords, a) < 0 ||
        shp_queue_timeout(a[1], a[2], &timeout) < 0)
        return NULL;
    reserve.size = PyLong_AsSize_t(a[0]);
    if (reserve.size == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (shp_check_open(&q->object) < 0)
        return NULL;
    reserve.queue = shp_queue_handle(q);
    r = shp_wait(&q->object, call_reserve, &reserve, timeout);
    if (r < 0)
        return shp_queue_put_error(r);
    if (q->reservation.view) /* of a thread that has ended */
        forget(&q->reservation);
    memory = open_view(&q->reservation, reserve.slot, reserve.size, false);
    if (memory == NULL)
        shk_queue_cancel(reserve.queue);
    return memory;
}

/* How many bytes are to be put, after checks: -1 with an exception. */
static int64_t length_of_commit(const struct shp_queue *q, PyObject *size)
{
    const struct shp_view *v = q->reservation.view;
    size_t length = (size_t)v->length;

    if (size && size != Py_None) {
        length = PyLong_AsSize_t(size);
        if (length == (size_t)-1 && PyErr_Occurred())
            return -1;
        if (length > (size_t)v->length) {
            PyErr_Format(PyExc_ValueError, "%s: %zu bytes are more than the %zd that were reserved",
                         shp_describe(&q->object), length, v->length);
            return -1;
        }
    }
    if (q->codec.coding == SHP_CODE_PICKLE && shp_is_marked(v->data, length)) {
        PyErr_Format(PyExc_ValueError,
                     "%s: bytes that begin with the mark of a pickled item cannot be committed: "
                     "put() them",
                     shp_describe(&q->object));
        return -1;
    }
    return (int64_t)length;
}

PyObject *shp_queue_commit(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                           PyObject *keywords)
{
    static const char *const names[] = {"size", NULL};
    int64_t length;
    PyObject *a[1];
    int r;

    if (shp_args_slow("commit", names, 0, args, n, keywords, a) < 0 ||
        check_open(q, &q->reservation, "reservation") < 0)
        return NULL;
    length = length_of_commit(q, a[0]);
    if (length < 0 || shp_view_end(q->reservation.view, "the reservation cannot be committed") < 0)
        return NULL;
    r = shk_queue_commit(shp_queue_handle(q), (size_t)length);
    forget(&q->reservation);
    return r < 0 ? shp_error_unheld(r) : Py_NewRef(Py_None);
}

PyObject *shp_queue_cancel(struct shp_queue *q, PyObject *unused)
{
    int r;

    (void)unused;
    if (check_open(q, &q->reservation, "reservation") < 0 ||
        shp_view_end(q->reservation.view, "the reservation cannot be given up") < 0)
        return NULL;
    r = shk_queue_cancel(shp_queue_handle(q));
    forget(&q->reservation);
    return r < 0 ? shp_error_unheld(r) : Py_NewRef(Py_None);
}

/* ---- Peeks ---- */

struct peek {
    struct shk_queue *queue;
    const void *item;
};

static int64_t call_peek(void *arg, int64_t timeout)
{
    struct peek *p = arg;

    return shk_queue_peek(p->queue, &p->item, timeout);
}

PyObject *shp_queue_peek(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                         PyObject *keywords)
{
    static const char *const names[] = {"block", "timeout", NULL};
    struct peek peek;
    PyObject *a[2], *memory;
    int64_t timeout, r;

    if (shp_args_slow("peek", names, 0, args, n, keywords, a) < 0 ||
        shp_queue_timeout(a[0], a[1], &timeout) < 0 || shp_check_open(&q->object) < 0)
        return NULL;
    peek.queue = shp_queue_handle(q);
    r = shp_wait(&q->object, call_peek, &peek, timeout);
    if (r < 0)
        return shp_queue_get_error(r);
    if (q->peek.view)
        forget(&q->peek);
    memory = open_view(&q->peek, (void *)(uintptr_t)peek.item, (size_t)r, true);
    if (memory == NULL)
        shk_queue_unpeek(peek.queue);
    return memory;
}

static PyObject *end_peek(struct shp_queue *q, int (*end)(struct shk_queue *), const char *what)
{
    int r;

    if (check_open(q, &q->peek, "peek") < 0 || shp_view_end(q->peek.view, what) < 0)
        return NULL;
    r = end(shp_queue_handle(q));
    forget(&q->peek);
    return r < 0 ? shp_error_unheld(r) : Py_NewRef(Py_None);
}

PyObject *shp_queue_consume(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return end_peek(q, shk_queue_consume, "the peeked item cannot be taken out");
}

PyObject *shp_queue_unpeek(struct shp_queue *q, PyObject *unused)
{
    (void)unused;
    return end_peek(q, shk_queue_unpeek, "the peek cannot be ended");
}
