/* Region: bytes that processes share, as an object with a buffer. */
#include "errors.h"
#include "object.h"
#include "region.h"

SHP_KIND(region, "region");

struct region {
    struct shp_object object;
    void *data;
    size_t size;
    Py_ssize_t exports;
    PyObject *memory; /* the memoryview of `buf`; NULL: not asked for yet */
};

/* ---- The buffer ---- */

static int region_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    struct region *r = (struct region *)self;

    buffer->obj = NULL;
    if (r->object.handle == NULL) {
        PyErr_Format(PyExc_BufferError, "%s is closed", shp_describe(&r->object));
        return -1;
    }
    if (PyBuffer_FillInfo(buffer, self, r->data, (Py_ssize_t)r->size, 0, flags) < 0)
        return -1;
    r->exports++;
    return 0;
}

static void region_releasebuffer(PyObject *self, Py_buffer *buffer)
{
    (void)buffer;
    ((struct region *)self)->exports--;
}

/* ---- Making ---- */

static int note_data(struct region *r)
{
    int code = shk_region_data(r->object.handle, &r->data, &r->size);

    if (code == 0)
        return 0;
    shp_error(code);
    return -1;
}

static int region_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"size", "create", "align", NULL};
    struct region *r = (struct region *)self;
    struct shk_region_options options = {.size = 0};
    Py_ssize_t size = 0, align = 0;
    PyObject *name;
    int create = 1, code = -1;

    if (shp_take_name(&args, &kwargs, &name) < 0)
        return -1;
    if (PyArg_ParseTupleAndKeywords(args, kwargs, "|n$pn:Region", words, &size, &create, &align)) {
        options.size = size > 0 ? (size_t)size : 0;
        options.align = align > 0 ? (size_t)align : 0;
        if (size < 0 || align < 0)
            PyErr_SetString(PyExc_ValueError, "a size is not negative");
        else if (size == 0 && name == Py_None)
            PyErr_SetString(PyExc_ValueError, "a region without a name needs a size");
        else
            code =
                shp_open(&r->object, &region_kind, name, create && size ? SHK_CREATE : 0, &options);
    }
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    Py_DECREF(name);
    return code < 0 ? -1 : note_data(r);
}

static PyObject *region_reduce(struct region *r, PyObject *unused)
{
    (void)unused;
    return shp_reduce(&r->object, NULL);
}

static PyObject *region_reopen(PyTypeObject *type, PyObject *args)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *place;
    struct region *r;

    if (!PyArg_ParseTuple(args, "O", &place))
        return NULL;
    r = (struct region *)allocate(type, 0);
    if (r && (shp_reopen(&r->object, &region_kind, place, 0, NULL) < 0 || note_data(r) < 0))
        Py_CLEAR(r);
    return (PyObject *)r;
}

static int region_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct region *r = (struct region *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(r->memory);
    return 0;
}

/* The memoryview of `buf` refers to the region: a cycle, unless the region is closed. */
static int region_clear(PyObject *self)
{
    struct region *r = (struct region *)self;

    Py_CLEAR(r->memory);
    return 0;
}

static void region_dealloc(PyObject *self)
{
    struct region *r = (struct region *)self;

    PyObject_GC_UnTrack(self);
    Py_CLEAR(r->memory);
    shp_dealloc(&r->object);
}

static PyObject *close_region(struct region *r, PyObject *unused)
{
    PyObject *released;

    (void)unused;
    if (r->memory) {
        released = PyObject_CallMethod(r->memory, "release", NULL);
        if (released == NULL)
            PyErr_Clear(); /* an array has it: said below */
        else
            Py_CLEAR(r->memory);
        Py_XDECREF(released);
    }
    if (r->exports > 0) {
        PyErr_Format(PyExc_BufferError,
                     "%s cannot be closed: an array, a part or a memoryview of it is alive; delete "
                     "or release it first",
                     shp_describe(&r->object));
        return NULL;
    }
    return shp_method_close(&r->object, NULL);
}

/* ---- Attributes ---- */

static PyObject *get_buf(struct region *r, void *unused)
{
    (void)unused;
    if (shp_check_open(&r->object) < 0)
        return NULL;
    if (r->memory == NULL)
        r->memory = PyMemoryView_FromObject((PyObject *)r);
    Py_XINCREF(r->memory);
    return r->memory;
}

static PyObject *get_size(struct region *r, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(r->size);
}

static PyObject *region_unlink(struct region *r, PyObject *unused)
{
    PyObject *name;
    int code;

    (void)unused;
    if (r->object.segment_name == NULL)
        return Py_NewRef(Py_None); /* it goes with the last that has it */
    name = shp_get_name(&r->object, NULL);
    code = name ? shp_unlink(name) : -1;
    Py_XDECREF(name);
    return code < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *region_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *region_exit(struct region *r, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return close_region(r, NULL);
}

static Py_ssize_t region_length(PyObject *self)
{
    return (Py_ssize_t)((struct region *)self)->size;
}

static PyMethodDef region_methods[] = {
    {"close", SHP_NOARGS(close_region),
     "close()\n--\n\nGive the handle back; the region stays for others. `buf` is released.\n"
     "Closing twice is allowed. Raises BufferError while an array, a part or another\n"
     "memoryview of it is alive."},
    {"unlink", SHP_NOARGS(region_unlink),
     "unlink()\n--\n\nRemove the name. Processes that have the region open keep its bytes.\n"
     "Raises NotFound. A region without a name goes with the last process that has it."},
    {"__enter__", SHP_NOARGS(region_enter), NULL},
    {"__exit__", SHP_PLAIN(region_exit), NULL},
    {"__reduce__", SHP_NOARGS(region_reduce), NULL},
    {"_open", (PyCFunction)region_reopen, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef region_getset[] = {
    SHP_NAME_GETSET,
    {"buf", (getter)get_buf, NULL, "A writable memoryview of the bytes.", NULL},
    {"size", (getter)get_size, NULL, "How many bytes it has.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot region_slots[] = {
    {Py_tp_doc,
     "Region(size=0, *, name=None, create=True, align=0)\n"
     "Region(name, size=0, ...)\n\n"
     "Bytes that processes share, zero at first, as multiprocessing.shared_memory has them.\n\n"
     "name: \"segment/object\"; None: for this program and the processes that it is passed to.\n"
     "size: bytes; 0: opens a region that exists, of any size. align: of the first byte, a\n"
     "power of two up to 4096; 0: 64.\n"
     "It has a writable buffer: memoryview(region), numpy.frombuffer(region, dtype), .buf.\n"
     "A lock protects it, where several write; the bytes stay as a killed writer left them.\n"
     "Raises NotFound if it is absent; Error (EPROTOTYPE) if it has another size, (ENOSPC).\n"
     "Example: pixels = numpy.frombuffer(Region(\"camera/frame\", 640 * 480), numpy.uint8)"},
    {Py_tp_init, SHP_SLOT(region_init)},
    {Py_tp_dealloc, SHP_SLOT(region_dealloc)},
    {Py_tp_traverse, SHP_SLOT(region_traverse)},
    {Py_tp_clear, SHP_SLOT(region_clear)},
    {Py_tp_repr, SHP_SLOT(shp_repr)},
    {Py_tp_methods, region_methods},
    {Py_tp_getset, region_getset},
    {Py_tp_members, shp_members},
    {Py_bf_getbuffer, SHP_SLOT(region_getbuffer)},
    {Py_bf_releasebuffer, SHP_SLOT(region_releasebuffer)},
    {Py_sq_length, SHP_SLOT(region_length)},
    {0, NULL},
};

static PyType_Spec region_spec = {"shmkit.Region", sizeof(struct region), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                  region_slots};

int shp_region_init(PyObject *module)
{
    return shp_add_type(module, &region_spec, NULL);
}
