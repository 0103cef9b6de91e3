/*
 * Python's stable ABI of 3.11, which every later version has, and the library. The first header of
 * each file here.
 */
#ifndef SHP_PYTHON_H
#define SHP_PYTHON_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <structmember.h>
#include <shmkit.h>

#include <errno.h>
#include <stdbool.h>

/* A method that takes its arguments as an array, which costs least. */
#define SHP_FAST(f)    ((PyCFunction)(void (*)(void))(f)), METH_FASTCALL | METH_KEYWORDS
#define SHP_PLAIN(f)   ((PyCFunction)(void (*)(void))(f)), METH_FASTCALL
#define SHP_NOARGS(f)  ((PyCFunction)(void (*)(void))(f)), METH_NOARGS
#define SHP_KEYWORD(f) ((PyCFunction)(void (*)(void))(f)), METH_VARARGS | METH_KEYWORDS
#define SHP_SLOT(f)    ((void *)(f))

#endif
