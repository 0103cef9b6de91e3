/* The module shmkit._shmkit: its exceptions and types. */
#include "errors.h"
#include "types.h"
#include "wait.h"

/*
 * The library and this module keep notes of the process: which segments it has, which is the main
 * thread. Interpreters of one process would share them, but not their types and the GIL.
 */
static int check_interpreter(void)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0)
        return 0;
    PyErr_SetString(PyExc_ImportError,
                    "shmkit cannot be used in a subinterpreter: import it in the main interpreter, "
                    "or use processes");
    return -1;
}

static int add_constants(PyObject *module)
{
    PyObject *from = PyImport_ImportModule("shmkit._orphaned");

    Py_CLEAR(shp_orphaned);
    if (from)
        shp_orphaned = PyObject_GetAttrString(from, "ORPHANED");
    Py_XDECREF(from);
    return shp_orphaned ? PyModule_AddObjectRef(module, "ORPHANED", shp_orphaned) : -1;
}

static int fill(PyObject *module)
{
    static int (*const types[])(PyObject *) = {SHP_TYPES};

    if (check_interpreter() < 0 || shp_errors_init(module) < 0 || shp_wait_init() < 0 ||
        add_constants(module) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i](module) < 0)
            return -1;
    return 0;
}

static PyObject *unlink_object(PyObject *module, PyObject *name)
{
    (void)module;
    return shp_unlink(name) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *set_member_name(PyObject *module, PyObject *name)
{
    (void)module;
    return shp_set_member_name(name) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"set_member_name", set_member_name, METH_O,
     "set_member_name(name)\n--\n\n"
     "Name the calling thread, as shmctl ps and error messages show it, in all segments that\n"
     "the process has objects of, and those that the thread opens later. At most 63 bytes."},
    {"unlink", unlink_object, METH_O,
     "unlink(name)\n--\n\n"
     "Remove the name of an object, \"segment/object\", or of a segment with all objects,\n"
     "\"segment\". Others that have it open get Unlinked. Raises NotFound."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, SHP_SLOT(fill)}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shmkit._shmkit",
    .m_doc = "What the package shmkit is made of.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__shmkit(void)
{
    return PyModuleDef_Init(&definition);
}
