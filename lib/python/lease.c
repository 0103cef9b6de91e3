/* Leases: an item that stays in the queue until its work is done. */
#include "queue.h"

#include "args.h"
#include "errors.h"
#include "number.h"

#include <stddef.h>

struct lease {
    PyObject ob_base;
    struct shp_queue *queue;
    PyObject *item;
    uint64_t ticket;
    bool ended; /* acknowledged, given back, or found to be neither any more */
    PyObject *weak;
};

static PyTypeObject *lease_type;

struct take {
    struct shk_queue *queue;
    void *buffer;
    size_t size;
    uint64_t ticket;
    const void *item; /* of a peek */
};

static int64_t call_lease(void *arg, int64_t timeout)
{
    struct take *t = arg;

    return shk_queue_lease(t->queue, t->buffer, t->size, timeout, &t->ticket);
}

static int64_t call_peek(void *arg, int64_t timeout)
{
    struct take *t = arg;

    return shk_queue_peek(t->queue, &t->item, timeout);
}

/* A buffer for the next item: 0, or -errno; -ENOMEM with an exception. */
static int64_t make_room(struct shp_queue *q, struct take *t, int64_t timeout)
{
    int64_t r = shp_wait(&q->object, call_peek, t, timeout);

    if (r < 0)
        return r;
    shk_queue_unpeek(t->queue);
    PyMem_Free(t->buffer);
    t->size = (size_t)r + 1;
    t->buffer = PyMem_Malloc(t->size);
    if (t->buffer)
        return 0;
    PyErr_NoMemory();
    return -ENOMEM;
}

/* Another consumer may take the item meanwhile: then there is another one, perhaps longer. */
static int64_t lease_long(struct shp_queue *q, struct take *t, int64_t timeout)
{
    int64_t r;

    t->buffer = NULL;
    do {
        r = make_room(q, t, timeout);
        if (r == 0)
            r = call_lease(t, SHK_NOWAIT);
    } while (r == -EMSGSIZE || (shp_would_wait(r) && timeout != SHK_NOWAIT));
    return r;
}

/* The item, or with pairs=True the pair that it was put as. */
static PyObject *decode(struct shp_queue *q, const struct take *t, size_t length)
{
    struct shk_lease_info info;
    PyObject *item = shp_decode(&q->codec, t->buffer, length), *number;
    int r;

    if (!q->pairs || item == NULL)
        return item;
    r = shk_queue_lease_info(t->queue, t->ticket, &info);
    number = r < 0 ? shp_error(r) : shp_number_back(info.priority, q->real_numbers);
    if (number)
        return Py_BuildValue("(NN)", number, item);
    Py_DECREF(item);
    return NULL;
}

static PyObject *new_lease(struct shp_queue *q, const struct take *t, int64_t length)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(lease_type, Py_tp_alloc);
    struct lease *l = (struct lease *)alloc(lease_type, 0);

    if (l) {
        l->queue = (struct shp_queue *)Py_NewRef((PyObject *)q);
        l->ticket = t->ticket;
        l->item = decode(q, t, (size_t)length);
    }
    if (l && l->item)
        return (PyObject *)l;
    /* it cannot be loaded: for a worker that can; each time counts */
    if (l) {
        l->ended = true;
        Py_DECREF((PyObject *)l);
    }
    shk_queue_nack(t->queue, t->ticket, 0);
    return NULL;
}

PyObject *shp_queue_lease(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                          PyObject *keywords)
{
    static const char *const names[] = {"block", "timeout", NULL};
    char buffer[SHP_SHORT_ITEM];
    struct take t = {.buffer = buffer, .size = sizeof(buffer)};
    PyObject *a[2], *lease;
    int64_t timeout, r;

    if (shp_args_slow("lease", names, 0, args, n, keywords, a) < 0 ||
        shp_queue_timeout(a[0], a[1], &timeout) < 0 || shp_check_open(&q->object) < 0)
        return NULL;
    t.queue = shp_queue_handle(q);
    r = shp_wait(&q->object, call_lease, &t, timeout);
    if (r == -EMSGSIZE)
        r = lease_long(q, &t, timeout);
    lease = r < 0 ? shp_queue_get_error(r) : new_lease(q, &t, r);
    if (t.buffer != buffer)
        PyMem_Free(t.buffer);
    return lease;
}

/* ---- Ending it ---- */

static PyObject *ack(struct shp_queue *q, uint64_t ticket)
{
    int r;

    if (shp_check_open(&q->object) < 0)
        return NULL;
    r = shk_queue_ack(shp_queue_handle(q), ticket);
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

/* delay in seconds, at least 0; count=False: this time is no attempt. */
static int nack_delay(PyObject *delay, PyObject *count, int64_t *ns)
{
    int counts = count ? PyObject_IsTrue(count) : 1;

    *ns = 0;
    if (counts < 0 || (delay && delay != Py_None && shp_timeout(delay, -1, ns) < 0))
        return -1;
    if (!counts && *ns > 0) {
        PyErr_SetString(PyExc_ValueError, "count=False gives the item back at once: no delay");
        return -1;
    }
    if (!counts)
        *ns = -1;
    return 0;
}

static PyObject *nack(struct shp_queue *q, uint64_t ticket, PyObject *delay, PyObject *count)
{
    int64_t ns;
    int r;

    if (nack_delay(delay, count, &ns) < 0 || shp_check_open(&q->object) < 0)
        return NULL;
    r = shk_queue_nack(shp_queue_handle(q), ticket, ns);
    return r < 0 ? shp_error(r) : Py_NewRef(Py_None);
}

PyObject *shp_queue_ack(struct shp_queue *q, PyObject *ticket)
{
    uint64_t t = PyLong_AsUnsignedLongLong(ticket);

    return PyErr_Occurred() ? NULL : ack(q, t);
}

PyObject *shp_queue_nack(struct shp_queue *q, PyObject *const *args, Py_ssize_t n,
                         PyObject *keywords)
{
    static const char *const names[] = {"ticket", "delay", "count", NULL};
    PyObject *a[3];
    uint64_t ticket;

    if (shp_args_slow("nack", names, 1, args, n, keywords, a) < 0)
        return NULL;
    ticket = PyLong_AsUnsignedLongLong(a[0]);
    return PyErr_Occurred() ? NULL : nack(q, ticket, a[1], a[2]);
}

/* ---- The object ---- */

static int lease_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct lease *l = (struct lease *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)l->queue);
    Py_VISIT(l->item);
    return 0;
}

static void lease_dealloc(PyObject *self)
{
    struct lease *l = (struct lease *)self;
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);

    PyObject_GC_UnTrack(self);
    if (l->weak)
        PyObject_ClearWeakRefs(self);
    /* dropped: nothing else would give it back before the process ends. A child's fails. */
    if (!l->ended && l->queue && l->queue->object.handle)
        shk_queue_nack(shp_queue_handle(l->queue), l->ticket, 0);
    Py_XDECREF((PyObject *)l->queue);
    Py_XDECREF(l->item);
    free_it(self);
    Py_DECREF(type);
}

static PyObject *lease_ack(struct lease *l, PyObject *unused)
{
    PyObject *r = ack(l->queue, l->ticket);

    (void)unused;
    l->ended = l->ended || r;
    return r;
}

static PyObject *lease_nack(struct lease *l, PyObject *const *args, Py_ssize_t n,
                            PyObject *keywords)
{
    static const char *const names[] = {"delay", "count", NULL};
    PyObject *a[2], *r;

    if (shp_args_slow("nack", names, 0, args, n, keywords, a) < 0)
        return NULL;
    r = nack(l->queue, l->ticket, a[0], a[1]);
    l->ended = l->ended || r;
    return r;
}

static PyObject *lease_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *lease_exit(struct lease *l, PyObject *const *args, Py_ssize_t n)
{
    bool failed = n > 0 && args[0] != Py_None;
    PyObject *r;

    if (l->ended)
        Py_RETURN_NONE;
    r = failed ? nack(l->queue, l->ticket, NULL, NULL) : ack(l->queue, l->ticket);
    l->ended = l->ended || r;
    if (r == NULL && failed) { /* the program's own exception is more telling */
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return r;
}

static PyObject *get_item(struct lease *l, void *unused)
{
    (void)unused;
    return Py_NewRef(l->item);
}

static PyObject *get_ticket(struct lease *l, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(l->ticket);
}

static PyObject *get_attempts(struct lease *l, void *unused)
{
    struct shk_lease_info info;
    int r;

    (void)unused;
    if (shp_check_open(&l->queue->object) < 0)
        return NULL;
    r = shk_queue_lease_info(shp_queue_handle(l->queue), l->ticket, &info);
    return r < 0 ? shp_error(r) : PyLong_FromUnsignedLong(info.attempts);
}

static PyObject *get_priority(struct lease *l, void *unused)
{
    struct shk_lease_info info;
    int r;

    (void)unused;
    if (shp_check_open(&l->queue->object) < 0)
        return NULL;
    r = shk_queue_lease_info(shp_queue_handle(l->queue), l->ticket, &info);
    return r < 0 ? shp_error(r) : shp_number_back(info.priority, l->queue->real_numbers);
}

static PyMethodDef lease_methods[] = {
    {"ack", SHP_NOARGS(lease_ack),
     "ack()\n--\n\nThe item is done.\n"
     "Raises NotFound if it has been acknowledged or given back, or its process was taken for\n"
     "dead; Denied in a child of the process that leased it; Unlinked; Closed.\n"
     "Killed: the item is done or comes back."},
    {"nack", SHP_FAST(lease_nack),
     "nack(delay=0.0, count=True)\n--\n\n"
     "Give the item back: another consumer gets it, after `delay` seconds at the earliest.\n"
     "count=False: at once, and this time is no attempt. Raises as ack()."},
    {"__enter__", SHP_NOARGS(lease_enter), NULL},
    {"__exit__", SHP_PLAIN(lease_exit), NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lease_getset[] = {
    {"item", (getter)get_item, NULL, "The item.", NULL},
    {"ticket", (getter)get_ticket, NULL, "The number that Queue.ack() and Queue.nack() take.",
     NULL},
    {"attempts", (getter)get_attempts, NULL,
     "How often the item was handed out; 1: for the first time. Raises as ack().", NULL},
    {"priority", (getter)get_priority, NULL,
     "The number that it was put with in a PriorityQueue; else 0. Raises as ack().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef lease_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct lease, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_doc, "An item that this process has leased: see Queue.lease().\n\n"
                "As a context manager it is acknowledged at the end, or given back if an\n"
                "exception leaves the block. A Lease that is dropped gives the item back."},
    {Py_tp_dealloc, SHP_SLOT(lease_dealloc)},
    {Py_tp_traverse, SHP_SLOT(lease_traverse)},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_getset},
    {Py_tp_members, lease_members},
    {0, NULL},
};

static PyType_Spec lease_spec = {
    .name = "shmkit.Lease",
    .basicsize = sizeof(struct lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_GC,
    .slots = lease_slots,
};

int shp_lease_init(PyObject *module)
{
    return shp_add_type(module, &lease_spec, &lease_type);
}
