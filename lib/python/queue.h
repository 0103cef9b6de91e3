#ifndef SHP_QUEUE_H
#define SHP_QUEUE_H

#include "item.h"
#include "object.h"
#include "view.h"
#include "wait.h"

/* A reservation or a peek that is open, of one thread. */
struct shp_open {
    struct shp_view *view; /* NULL: none is */
    unsigned long thread;
};

/* Any of the queues; object.handle is the struct shk_queue. */
struct shp_queue {
    struct shp_object object;
    struct shp_codec codec;
    uint32_t order;    /* SHK_FIFO, SHK_LIFO, SHK_PRIORITY */
    bool pairs;        /* PRIORITY: an item is (number, what travels) */
    bool real_numbers; /* PRIORITY: numbers are floats */
    bool large;        /* the latest item was a long one */
    PyObject *key;     /* PRIORITY: the number of an item is key(item); NULL: see number.h */
    struct shp_open reservation, peek;
};

/* The buffer on the stack of a get: longer items are read where they lie. */
#define SHP_SHORT_ITEM 4096

extern PyTypeObject *shp_queue_type;

static inline struct shk_queue *shp_queue_handle(const struct shp_queue *q)
{
    return q->object.handle;
}

/*
 * (block=True, timeout=None) as queue.Queue has them, in nanoseconds: SHK_NOWAIT if block is false.
 * 0, or -1 with an exception: ValueError of a timeout less than 0.
 */
int shp_queue_timeout(PyObject *block, PyObject *timeout, int64_t *ns);

/* Raise an exception without an errno, with the library's sentence. Returns NULL. */
PyObject *shp_queue_raise(PyObject *class);

/* Raise what a put, or a get, that returned r means: Full or Empty, ShutDown, others. NULL. */
PyObject *shp_queue_put_error(int64_t r);
PyObject *shp_queue_get_error(int64_t r);

/* Take an item, waiting at most so long: the object, or NULL with an exception. */
PyObject *shp_queue_get_one(struct shp_queue *, int64_t timeout);
/* Put one: 0; or -1 with an exception. */
int shp_queue_put_one(struct shp_queue *, PyObject *object, PyObject *priority, int64_t timeout);

/*
 * End what is open before the handle is closed: a reservation is cancelled, a peeked item stays in.
 * 0, or -1 with BufferError.
 */
int shp_queue_end_views(struct shp_queue *);

/* Forget what could not be ended: what has a buffer of it keeps the view. */
void shp_queue_abandon_views(struct shp_queue *);

/* queue_open.c */
int shp_queue_init_fifo(PyObject *, PyObject *args, PyObject *kwargs);
int shp_queue_init_lifo(PyObject *, PyObject *args, PyObject *kwargs);
int shp_queue_init_priority(PyObject *, PyObject *args, PyObject *kwargs);
PyObject *shp_queue_reduce(struct shp_queue *, PyObject *);
PyObject *shp_queue_open(PyTypeObject *, PyObject *args);
PyObject *shp_queue_close(struct shp_queue *, PyObject *);
int shp_queue_traverse(PyObject *, visitproc, void *);
int shp_queue_clear(PyObject *);
void shp_queue_dealloc(PyObject *);

/* queue.c, queue_state.c: methods */
PyObject *shp_queue_put(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_put_nowait(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_get(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_join(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_shutdown(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_get_nowait(struct shp_queue *, PyObject *);
PyObject *shp_queue_qsize(struct shp_queue *, PyObject *);
PyObject *shp_queue_empty(struct shp_queue *, PyObject *);
PyObject *shp_queue_full(struct shp_queue *, PyObject *);
PyObject *shp_queue_task_done(struct shp_queue *, PyObject *);
PyObject *shp_queue_reopen(struct shp_queue *, PyObject *);
PyObject *shp_queue_encode(struct shp_queue *, PyObject *);
PyObject *shp_queue_decode(struct shp_queue *, PyObject *);
PyObject *shp_queue_nothing(struct shp_queue *, PyObject *);
PyObject *shp_queue_enter(PyObject *, PyObject *);
PyObject *shp_queue_exit(struct shp_queue *, PyObject *const *, Py_ssize_t);
PyObject *shp_queue_aget(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_aput(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_ajoin(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

/* queue_state.c: attributes */
PyObject *shp_queue_get_maxsize(struct shp_queue *, void *);
PyObject *shp_queue_get_unfinished(struct shp_queue *, void *);
PyObject *shp_queue_get_item_size(struct shp_queue *, void *);
PyObject *shp_queue_get_is_shutdown(struct shp_queue *, void *);
PyObject *shp_queue_get_codec(struct shp_queue *, void *);

/* queue_batch.c, queue_view.c, lease.c: methods */
PyObject *shp_queue_put_many(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_get_many(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_reserve(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_commit(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_peek(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_lease(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_nack(struct shp_queue *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *shp_queue_cancel(struct shp_queue *, PyObject *);
PyObject *shp_queue_consume(struct shp_queue *, PyObject *);
PyObject *shp_queue_unpeek(struct shp_queue *, PyObject *);
PyObject *shp_queue_ack(struct shp_queue *, PyObject *);

int shp_queue_init(PyObject *module);
int shp_lease_init(PyObject *module);

#endif
