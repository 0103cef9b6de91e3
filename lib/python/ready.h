#ifndef SHP_READY_H
#define SHP_READY_H

#include "python.h"

int shp_ready_init(PyObject *module);

#endif
