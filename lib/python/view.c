#include "view.h"

#include <string.h>

static PyTypeObject *view_type;

static int view_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    struct shp_view *v = (struct shp_view *)self;

    buffer->obj = NULL;
    if (v->ended) {
        PyErr_SetString(PyExc_BufferError, "the view has ended: its memory is another item's now");
        return -1;
    }
    if (v->readonly && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "the view is read-only");
        return -1;
    }
    if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && v->dimensions > 1) {
        PyErr_SetString(PyExc_BufferError, "the view is in the order of C");
        return -1;
    }
    buffer->buf = v->data;
    buffer->len = v->length;
    buffer->readonly = v->readonly;
    buffer->itemsize = v->item_size;
    buffer->format = (flags & PyBUF_FORMAT) ? v->format : NULL;
    buffer->ndim = v->dimensions;
    buffer->shape = (flags & PyBUF_ND) == PyBUF_ND ? v->shape : NULL;
    buffer->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? v->strides : NULL;
    buffer->suboffsets = NULL;
    buffer->internal = NULL;
    if (buffer->shape == NULL)
        buffer->ndim = 1;
    Py_INCREF(self);
    buffer->obj = self;
    v->exports++;
    return 0;
}

static void view_releasebuffer(PyObject *self, Py_buffer *buffer)
{
    (void)buffer;
    ((struct shp_view *)self)->exports--;
}

static void view_dealloc(PyObject *self)
{
    struct shp_view *v = (struct shp_view *)self;
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);

    if (v->own)
        PyMem_Free(v->data);
    Py_XDECREF(v->owner);
    free_it(self);
    Py_DECREF(type);
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)"Memory behind a memoryview of this module."},
    {Py_tp_dealloc, (void *)view_dealloc},
    {Py_bf_getbuffer, (void *)view_getbuffer},
    {Py_bf_releasebuffer, (void *)view_releasebuffer},
    {0},
};

static PyType_Spec view_spec = {
    .name = "shmkit._View",
    .basicsize = sizeof(struct shp_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

struct shp_view *shp_view_new(void *data, size_t length, bool readonly, PyObject *owner)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(view_type, Py_tp_alloc);
    struct shp_view *v = (struct shp_view *)alloc(view_type, 0);

    if (v == NULL)
        return NULL;
    v->data = data;
    v->length = (Py_ssize_t)length;
    v->readonly = readonly;
    strcpy(v->format, "B");
    v->item_size = 1;
    v->dimensions = 1;
    v->shape[0] = v->length;
    v->strides[0] = 1;
    Py_XINCREF(owner);
    v->owner = owner;
    return v;
}

PyObject *shp_view_memory(struct shp_view *v)
{
    if (v->memory == NULL)
        v->memory = PyMemoryView_FromObject((PyObject *)v);
    Py_XINCREF(v->memory);
    return v->memory;
}

PyObject *shp_view_give(struct shp_view *v)
{
    PyObject *memory = PyMemoryView_FromObject((PyObject *)v);

    Py_DECREF((PyObject *)v);
    return memory;
}

int shp_view_end(struct shp_view *v, const char *what)
{
    PyObject *r;

    if (v->memory) {
        r = PyObject_CallMethod(v->memory, "release", NULL);
        if (r == NULL)
            PyErr_Clear(); /* an array has it: said below */
        else
            Py_CLEAR(v->memory);
        Py_XDECREF(r);
    }
    if (v->exports > 0) {
        PyErr_Format(PyExc_BufferError,
                     "%s: an array, a part or a memoryview of it is alive; delete or release it "
                     "first",
                     what);
        return -1;
    }
    v->ended = true;
    return 0;
}

int shp_views_init(PyObject *module)
{
    view_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return view_type ? 0 : -1;
}
