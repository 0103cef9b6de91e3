#ifndef SHP_RWLOCK_H
#define SHP_RWLOCK_H

#include "object.h"

int shp_rwlock_init(PyObject *module);

#endif
