#include "args.h"

int shp_args_slow(const char *function, const char *const *names, int required,
                  PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **out)
{
    Py_ssize_t most = 0, more = keywords ? PyTuple_Size(keywords) : 0;

    for (; names[most]; most++)
        out[most] = most < n ? args[most] : NULL;
    if (n > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function,
                     most, n);
        return -1;
    }
    for (Py_ssize_t i = 0; i < more; i++) {
        PyObject *word = PyTuple_GetItem(keywords, i);
        Py_ssize_t at = 0;

        while (names[at] && PyUnicode_CompareWithASCIIString(word, names[at]) != 0)
            at++;
        if (names[at] == NULL || out[at]) {
            PyErr_Format(PyExc_TypeError,
                         names[at] ? "%s() got '%U' twice" : "%s() has no argument '%U'", function,
                         word);
            return -1;
        }
        out[at] = args[n + i];
    }
    for (int i = 0; i < required; i++)
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() needs the argument '%s'", function, names[i]);
            return -1;
        }
    return 0;
}

/* (self, arguments…) as a tuple. */
static PyObject *with_self(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *all = PyTuple_New(n + 1);

    if (all == NULL)
        return NULL;
    Py_INCREF(self);
    PyTuple_SetItem(all, 0, self);
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_INCREF(args[i]);
        PyTuple_SetItem(all, i + 1, args[i]);
    }
    return all;
}

static PyObject *as_dict(PyObject *const *values, PyObject *keywords)
{
    PyObject *all = PyDict_New();

    for (Py_ssize_t i = 0; all && keywords && i < PyTuple_Size(keywords); i++)
        if (PyDict_SetItem(all, PyTuple_GetItem(keywords, i), values[i]) < 0)
            Py_CLEAR(all);
    return all;
}

PyObject *shp_delegate(const char *module, const char *function, PyObject *self,
                       PyObject *const *args, Py_ssize_t n, PyObject *keywords)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *f = m ? PyObject_GetAttrString(m, function) : NULL;
    PyObject *all = f ? with_self(self, args, n) : NULL;
    PyObject *words = all ? as_dict(args + n, keywords) : NULL;
    PyObject *r = words ? PyObject_Call(f, all, words) : NULL;

    Py_XDECREF(words);
    Py_XDECREF(all);
    Py_XDECREF(f);
    Py_XDECREF(m);
    return r;
}

PyObject *shp_imported(const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module), *o;

    if (m == NULL)
        return NULL;
    o = PyObject_GetAttrString(m, name);
    Py_DECREF(m);
    return o;
}
