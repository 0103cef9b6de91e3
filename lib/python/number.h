/*
 * The number of an item in a PriorityQueue: the library's priority, an int64; lower ones are taken
 * first, equal ones in order of arrival.
 *
 *     item                              its number
 *     an int, any object with __index__ itself
 *     a float that is whole             itself
 *     a tuple or a list                 that of its first element
 *     bytes, a memoryview               0, as shk_queue_put() has it
 *     an object with an attribute       that of the attribute, as the class PrioritizedItem of
 *     `priority`                        queue's documentation has it
 *     any other                         TypeError
 *
 * Refused: a number that is not in an int64 (OverflowError), a fraction (ValueError), NaN. With
 * numbers="float" all numbers are floats, and travel as the int64 that has the same order:
 * the bits of the double, those of a negative one turned round. All programs that put into such a
 * queue have to say so.
 */
#ifndef SHP_NUMBER_H
#define SHP_NUMBER_H

#include "python.h"

/* The number: 0, or -1 with an exception. key: the program's function, or NULL. */
int shp_number(PyObject *item, PyObject *key, bool real, int64_t *number);

/* The number of that object, which is a number. */
int shp_number_of(PyObject *object, bool real, int64_t *number);

/* As an int, or a float; a new reference. */
PyObject *shp_number_back(int64_t number, bool real);

#endif
