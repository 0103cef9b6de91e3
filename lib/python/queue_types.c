/* The classes of queues: their methods, and what help() says. */
#include "queue.h"

PyTypeObject *shp_queue_type;

#define PUT_ERRORS                                                                           \
    "Raises Full when the time is over; ShutDown; Deadlock if this thread has a\n"           \
    "reservation open; Error (EMSGSIZE) if the item is longer than item_size, (ENOSPC) if\n" \
    "there is no memory; Unlinked; Closed.\n"
#define GET_ERRORS                                                                               \
    "Raises Empty when the time is over; ShutDown if it is shut down and empty, or the last\n"   \
    "producer by role has gone; Orphaned, once, if that one died; Deadlock if this thread has\n" \
    "a peek open; Unlinked; Closed; what loading an item raises, which is taken then.\n"

static PyMethodDef queue_methods[] = {
    {"put", SHP_FAST(shp_queue_put),
     "put(item, block=True, timeout=None, *, priority=None)\n--\n\n"
     "Put an item, waiting while the queue is full.\n\n"
     "timeout: seconds; None: no limit. block=False: do not wait.\n"
     "priority: of a PriorityQueue, instead of the item's own number.\n" PUT_ERRORS
     "Killed: the item is in the queue or not."},
    {"put_nowait", SHP_FAST(shp_queue_put_nowait),
     "put_nowait(item, *, priority=None)\n--\n\nput(item, block=False)."},
    {"get", SHP_FAST(shp_queue_get),
     "get(block=True, timeout=None)\n--\n\n"
     "Take the next item, waiting while the queue is empty.\n\n"
     "timeout: seconds; None: no limit. block=False: do not wait.\n" GET_ERRORS
     "Killed: the item has been taken, and is gone with its process, or it has not. Use\n"
     "lease() or peek() where an item must not be lost with a worker."},
    {"get_nowait", SHP_NOARGS(shp_queue_get_nowait), "get_nowait()\n--\n\nget(block=False)."},
    {"put_many", SHP_FAST(shp_queue_put_many),
     "put_many(items, block=True, timeout=None)\n--\n\n"
     "Put all items of an iterable, waiting while there is no room. Returns how many it has\n"
     "put: fewer than all when the time is over, or the queue is shut down meanwhile.\n\n"
     "All items are encoded before the first is put. timeout: seconds, for all of them.\n"
     "Raises as put(), if it has put none.\n"
     "Killed: the first of them are in the queue, the others are not."},
    {"get_many", SHP_FAST(shp_queue_get_many),
     "get_many(n, block=True, timeout=None)\n--\n\n"
     "Take up to n items, waiting while there is none. Returns a list of at least one.\n"
     "timeout: seconds. Raises as get().\n"
     "Killed: as get(), of each of them."},
    {"reserve", SHP_FAST(shp_queue_reserve),
     "reserve(size, block=True, timeout=None)\n--\n\n"
     "Make an item in place: returns a writable memoryview of size bytes in the queue.\n"
     "Write the item there, then commit(length) puts it, or cancel() gives the place up.\n\n"
     "    with jobs.reserve(1000) as place:\n"
     "        place[:6] = b'Python'\n"
     "    jobs.commit(6)\n\n"
     "numpy.frombuffer(place) makes an array of it without a copy. It belongs to the calling\n"
     "thread, and other producers wait meanwhile, so be quick. Until it ends the garbage\n"
     "collector is off: an object that puts when it is collected gets Deadlock.\n" PUT_ERRORS
     "Killed: nothing is left of it."},
    {"commit", SHP_FAST(shp_queue_commit),
     "commit(size=None)\n--\n\n"
     "Put the first size bytes of the reservation, or all, as one item.\n\n"
     "The memoryview of reserve() is released. Raises BufferError while an array, a part or\n"
     "another memoryview of it is alive; NotHeld if this thread has no reservation open;\n"
     "ValueError if the bytes would be taken for a pickled item, or are more than were\n"
     "reserved. The reservation stays open then. (A part alone does not keep the memoryview\n"
     "from being released.)\n"
     "Killed: the item is in the queue or not."},
    {"cancel", SHP_NOARGS(shp_queue_cancel),
     "cancel()\n--\n\nGive the reservation up. Raises as commit()."},
    {"peek", SHP_FAST(shp_queue_peek),
     "peek(block=True, timeout=None)\n--\n\n"
     "Read the next item in place: returns a memoryview of its bytes, which cannot be\n"
     "written. consume() takes the item out, unpeek() leaves it in.\n\n"
     "    with jobs.peek() as item:\n"
     "        work(numpy.frombuffer(item))\n"
     "    jobs.consume()\n\n"
     "decode(item) is the object that get() would return. It belongs to the calling thread,\n"
     "and other consumers wait meanwhile. The garbage collector is off until it ends, as\n"
     "with reserve().\n" GET_ERRORS "Killed: the item is the next consumer's, so no work is lost."},
    {"consume", SHP_NOARGS(shp_queue_consume),
     "consume()\n--\n\nTake out the item that has been peeked. The memoryview is released.\n"
     "Raises BufferError while an array, a part or another memoryview of it is alive; NotHeld\n"
     "if this thread has no peek open."},
    {"unpeek", SHP_NOARGS(shp_queue_unpeek),
     "unpeek()\n--\n\nLeave in the item that has been peeked. Raises as consume()."},
    {"lease", SHP_FAST(shp_queue_lease),
     "lease(block=True, timeout=None)\n--\n\n"
     "Lease the next item: returns a Lease, whose item it is. The item is this process's\n"
     "until that acknowledges it or gives it back; if the process dies, it comes back.\n\n"
     "    with jobs.lease() as lease:\n"
     "        work(lease.item)            # an exception gives the item back\n\n" GET_ERRORS
     "Error (ENOSPC) if as many items are leased as there can be: 4096, or as many of the\n"
     "largest item's size as the segment has address space for.\n"
     "Killed: the item comes back, and no work is lost."},
    {"ack", (PyCFunction)(void (*)(void))shp_queue_ack, METH_O,
     "ack(ticket)\n--\n\nEnd the lease of that ticket: the item is done. Raises NotFound,\n"
     "Denied, as Lease.ack()."},
    {"nack", SHP_FAST(shp_queue_nack),
     "nack(ticket, delay=0.0, count=True)\n--\n\nGive back the item of that ticket, as "
     "Lease.nack()."},
    {"task_done", SHP_NOARGS(shp_queue_task_done),
     "task_done()\n--\n\n"
     "End a task: each item that a thread takes with get(), get_many() or consume() is one of\n"
     "that thread. Raises ValueError if this thread has none left. (In queue.Queue any thread\n"
     "may end another's; here it is known whose tasks are left when a process dies.)"},
    {"join", SHP_FAST(shp_queue_join),
     "join(timeout=None)\n--\n\n"
     "Wait until the queue is empty and all tasks have ended. timeout: seconds.\n"
     "Raises TimeoutError; Orphaned if all have ended, but workers have died, or left, with\n"
     "some since a join last said so. It does not wait for the dead."},
    {"qsize", SHP_NOARGS(shp_queue_qsize),
     "qsize()\n--\n\nReturns how many items are in it; a hint."},
    {"empty", SHP_NOARGS(shp_queue_empty), "empty()\n--\n\nReturns whether it is empty; a hint."},
    {"full", SHP_NOARGS(shp_queue_full),
     "full()\n--\n\nReturns whether a put would wait; a hint. Never without a limit."},
    {"shutdown", SHP_FAST(shp_queue_shutdown),
     "shutdown(immediate=False)\n--\n\n"
     "End the puts, which raise ShutDown. Gets go on until the queue is empty, and raise\n"
     "ShutDown then. immediate: take out what is in it, and count that as done."},
    {"reopen", SHP_NOARGS(shp_queue_reopen), "reopen()\n--\n\nAllow puts again."},
    {"encode", (PyCFunction)shp_queue_encode, METH_O,
     "encode(item)\n--\n\nThe bytes that travel for an item."},
    {"decode", (PyCFunction)shp_queue_decode, METH_O,
     "decode(data)\n--\n\nThe item that travels as these bytes, of a peek for example."},
    {"aget", SHP_FAST(shp_queue_aget),
     "aget(timeout=None)\n--\n\nawait queue.aget(): as get(), for asyncio. No thread waits for "
     "it: see shmkit.ready_fd()."},
    {"aput", SHP_FAST(shp_queue_aput),
     "aput(item, timeout=None, *, priority=None)\n--\n\nawait queue.aput(item): as put(), for "
     "asyncio."},
    {"ajoin", SHP_FAST(shp_queue_ajoin),
     "ajoin(timeout=None)\n--\n\nawait queue.ajoin(): as join(), for asyncio."},
    {"close", SHP_NOARGS(shp_queue_close),
     "close()\n--\n\nGive the handle back; the queue and its items stay for others.\n"
     "Closing twice is allowed. Raises RuntimeError while another thread waits in it;\n"
     "BufferError while an array or memoryview of a reservation or a peek is alive."},
    {"join_thread", SHP_NOARGS(shp_queue_nothing),
     "join_thread()\n--\n\nNothing, as there is no thread: for programs that were written for\n"
     "multiprocessing.Queue."},
    {"cancel_join_thread", SHP_NOARGS(shp_queue_nothing),
     "cancel_join_thread()\n--\n\nNothing, as there is no thread."},
    {"__enter__", SHP_NOARGS(shp_queue_enter), NULL},
    {"__exit__", SHP_PLAIN(shp_queue_exit), NULL},
    {"__reduce__", SHP_NOARGS(shp_queue_reduce), NULL},
    {"_open", (PyCFunction)shp_queue_open, METH_VARARGS | METH_CLASS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    SHP_NAME_GETSET,
    {"maxsize", (getter)shp_queue_get_maxsize, NULL,
     "How many items it holds at most; 0: any number. It is fixed when the queue is made.", NULL},
    {"item_size", (getter)shp_queue_get_item_size, NULL, "The largest item in bytes.", NULL},
    {"unfinished_tasks", (getter)shp_queue_get_unfinished, NULL,
     "How many items are in it, leased, or taken and not done; a hint.", NULL},
    {"is_shutdown", (getter)shp_queue_get_is_shutdown, NULL, "Whether it is shut down; a hint.",
     NULL},
    {"codec", (getter)shp_queue_get_codec, NULL, "How items travel: what the constructor was told.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define WORDS                                                                                      \
    "name: \"segment/object\", found or created; None: a queue of this program's own, for\n"       \
    "threads, and for processes that it is passed to. create=False: raises NotFound if it is\n"    \
    "absent. maxsize: items; max_bytes: their bytes together; item_size: bytes of the largest\n"   \
    "(128 MiB). 0: no limit, or as the existing queue has it.\n\n"                                 \
    "codec: how items travel. \"pickle\": bytes as they are, so that C and the shell see them,\n"  \
    "anything else pickled behind a mark; load only what trusted programs have put.\n"             \
    "\"bytes\", \"text\" (str), \"json\", \"int\" (int64_t of C), \"float\" (double); or an\n"     \
    "object with dumps(item) and loads(bytes).\n\n"                                                \
    "role: \"producer\", \"consumer\", \"both\": when the last producer has gone, consumers get\n" \
    "what is left, then ShutDown. epipe=True: a producer gets ShutDown when the last consumer\n"   \
    "has gone."

static PyType_Slot queue_slots[] = {
    {Py_tp_doc,
     "Queue(maxsize=0, *, name=None, create=True, codec='pickle', item_size=0,\n"
     "      max_bytes=0, role=None, epipe=False)\n"
     "Queue(name, maxsize=0, ...)\n\n"
     "A first-in, first-out queue between processes, as queue.Queue between threads.\n\n" WORDS},
    {Py_tp_init, SHP_SLOT(shp_queue_init_fifo)},
    {Py_tp_dealloc, SHP_SLOT(shp_queue_dealloc)},
    {Py_tp_traverse, SHP_SLOT(shp_queue_traverse)},
    {Py_tp_clear, SHP_SLOT(shp_queue_clear)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, shp_members},
    {0, NULL},
};
/* A type with the flag has these of its own. */
#define DERIVED                                                                                   \
    {Py_tp_dealloc, SHP_SLOT(shp_queue_dealloc)}, {Py_tp_traverse, SHP_SLOT(shp_queue_traverse)}, \
    {                                                                                             \
        Py_tp_clear, SHP_SLOT(shp_queue_clear)                                                    \
    }

static PyType_Slot lifo_slots[] = {
    {Py_tp_doc, "LifoQueue(maxsize=0, *, name=None, ...)\n\n"
                "A last-in, first-out queue, as queue.LifoQueue. See Queue.\n\n" WORDS},
    {Py_tp_init, SHP_SLOT(shp_queue_init_lifo)},
    DERIVED,
    {Py_tp_members, shp_members},
    {0, NULL},
};
static PyType_Slot priority_slots[] = {
    {Py_tp_doc,
     "PriorityQueue(maxsize=0, *, name=None, key=None, pairs=False, numbers='int', ...)\n\n"
     "A queue that gives the item of the lowest number first, as queue.PriorityQueue.\n\n"
     "The number of an item: the item, if it is a number; the first element of a tuple or\n"
     "list; the attribute `priority` of an object; 0 of bytes; what key(item) returns.\n"
     "put(item, priority=3) says it. Items of equal numbers come in order of arrival.\n"
     "numbers: \"int\": whole, from -2**63 to 2**63 - 1, what C and the shell call the\n"
     "priority; \"float\": any float; all that put into it say the same.\n"
     "Raises TypeError for an item without a number, ValueError, OverflowError.\n"
     "pairs=True: items are tuples (number, item): the number travels as the priority, and\n"
     "the item alone as the bytes, so that C and the shell see both.\n\n" WORDS},
    {Py_tp_init, SHP_SLOT(shp_queue_init_priority)},
    DERIVED,
    {Py_tp_members, shp_members},
    {0, NULL},
};
static PyType_Slot joinable_slots[] = {
    {Py_tp_doc, "JoinableQueue(maxsize=0, *, name=None, ...)\n\n"
                "A Queue under the name that it has in multiprocessing. See Queue.\n\n" WORDS},
    {Py_tp_init, SHP_SLOT(shp_queue_init_fifo)},
    DERIVED,
    {Py_tp_members, shp_members},
    {0, NULL},
};
static PyType_Slot simple_slots[] = {
    {Py_tp_doc, "SimpleQueue(*, name=None, ...)\n\n"
                "A Queue under the name that it has in queue and in multiprocessing, without a\n"
                "limit if none is given. See Queue.\n\n" WORDS},
    {Py_tp_init, SHP_SLOT(shp_queue_init_fifo)},
    DERIVED,
    {Py_tp_members, shp_members},
    {0, NULL},
};

#define SPEC(type, slots)                                                        \
    {                                                                            \
        "shmkit." type, sizeof(struct shp_queue), 0,                             \
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots \
    }
static PyType_Spec queue_spec = SPEC("Queue", queue_slots),
                   lifo_spec = SPEC("LifoQueue", lifo_slots),
                   priority_spec = SPEC("PriorityQueue", priority_slots),
                   joinable_spec = SPEC("JoinableQueue", joinable_slots),
                   simple_spec = SPEC("SimpleQueue", simple_slots);

/* A kind of Queue. */
static int add_derived(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)shp_queue_type);
    int r = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

    Py_XDECREF(type);
    return r;
}

int shp_queue_init(PyObject *module)
{
    PyType_Spec *derived[] = {&lifo_spec, &priority_spec, &joinable_spec, &simple_spec};

    if (shp_items_init(module) < 0 || shp_views_init(module) < 0 ||
        shp_add_type(module, &queue_spec, &shp_queue_type) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++)
        if (add_derived(module, derived[i]) < 0)
            return -1;
    return shp_lease_init(module);
}
