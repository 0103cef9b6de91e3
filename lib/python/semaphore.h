#ifndef SHP_SEMAPHORE_H
#define SHP_SEMAPHORE_H

#include "object.h"

/* BoundedSemaphore is a subtype of Semaphore. */
extern PyTypeObject *shp_semaphore_type, *shp_bounded_type;

int shp_semaphore_init(PyObject *module);

#endif
