/* Looks at several segments at once. */
#ifndef SHMCTL_LOOKS_H
#define SHMCTL_LOOKS_H

#include "common.h"

/*
 * Look at every segment that can be read, or at the one named on the command line. *status:
 * STATUS_DONE, or why not, after a complaint. Returns an array with NULL at its end, to be given
 * back in any case.
 */
struct shk_snapshot **take_looks(const char *operand, int *status);
void drop_looks(struct shk_snapshot **);

#endif
