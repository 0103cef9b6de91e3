#ifndef SHP_BARRIER_H
#define SHP_BARRIER_H

#include "object.h"

int shp_barrier_init(PyObject *module);

#endif
