#include "number.h"

#include <math.h>
#include <string.h>

/* The int64 that has the order of the doubles. -0.0 is 0.0. */
static int64_t ordered(double x)
{
    int64_t bits;

    x += 0.0;
    memcpy(&bits, &x, sizeof(bits));
    return bits < 0 ? INT64_MIN - bits : bits;
}

static double unordered(int64_t number)
{
    int64_t bits = number < 0 ? INT64_MIN - number : number;
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static int from_real(double x, int64_t *number)
{
    if (x == -1 && PyErr_Occurred())
        return -1;
    if (isnan(x)) {
        PyErr_SetString(PyExc_ValueError, "NaN has no place in the order of a PriorityQueue");
        return -1;
    }
    *number = ordered(x);
    return 0;
}

static int from_whole(double x, int64_t *number)
{
    if (x != floor(x)) { /* NaN, too */
        PyErr_SetString(PyExc_ValueError,
                        "the number of an item is whole here; PriorityQueue(numbers=\"float\") "
                        "takes fractions");
        return -1;
    }
    if (x < -0x1p63 || x >= 0x1p63) {
        PyErr_SetString(PyExc_OverflowError, "the number of an item is from -2**63 to 2**63 - 1");
        return -1;
    }
    *number = (int64_t)x;
    return 0;
}

static int from_int(PyObject *object, int64_t *number)
{
    PyObject *whole = PyNumber_Index(object);
    int overflow = 0;
    long long n = whole ? PyLong_AsLongLongAndOverflow(whole, &overflow) : -1;

    Py_XDECREF(whole);
    if (overflow)
        PyErr_SetString(PyExc_OverflowError, "the number of an item is from -2**63 to 2**63 - 1");
    if (n == -1 && PyErr_Occurred())
        return -1;
    *number = n;
    return 0;
}

static bool is_number(PyObject *object)
{
    return PyIndex_Check(object) || PyFloat_Check(object);
}

int shp_number_of(PyObject *object, bool real, int64_t *number)
{
    if (!is_number(object)) {
        PyErr_Format(PyExc_TypeError, "the number of an item is an int or a float, not %R",
                     (PyObject *)Py_TYPE(object));
        return -1;
    }
    if (real)
        return from_real(PyFloat_AsDouble(object), number);
    return PyIndex_Check(object) ? from_int(object, number)
                                 : from_whole(PyFloat_AsDouble(object), number);
}

static int from_attribute(PyObject *item, bool real, int64_t *number)
{
    PyObject *priority = PyObject_GetAttrString(item, "priority");
    int r;

    if (priority == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError,
                         "an item of a PriorityQueue is a number, or a tuple or list that begins "
                         "with one, or has an attribute `priority`, not %R; or give priority=, or "
                         "key= to the queue",
                         (PyObject *)Py_TYPE(item));
        }
        return -1;
    }
    r = shp_number_of(priority, real, number);
    Py_DECREF(priority);
    return r;
}

static int from_first(PyObject *item, bool real, int64_t *number)
{
    PyObject *first = PySequence_GetItem(item, 0);
    int r;

    if (first == NULL)
        return -1;
    r = shp_number_of(first, real, number);
    Py_DECREF(first);
    return r;
}

int shp_number(PyObject *item, PyObject *key, bool real, int64_t *number)
{
    PyObject *given;
    int r;

    if (key) {
        given = PyObject_CallFunctionObjArgs(key, item, NULL);
        r = given ? shp_number_of(given, real, number) : -1;
        Py_XDECREF(given);
        return r;
    }
    if (PyTuple_Check(item) || PyList_Check(item))
        return from_first(item, real, number);
    if (is_number(item))
        return shp_number_of(item, real, number);
    if (PyBytes_Check(item) || PyMemoryView_Check(item)) {
        *number = 0;
        return 0;
    }
    return from_attribute(item, real, number);
}

PyObject *shp_number_back(int64_t number, bool real)
{
    return real ? PyFloat_FromDouble(unordered(number)) : PyLong_FromLongLong(number);
}
