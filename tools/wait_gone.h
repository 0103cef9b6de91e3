/* shmctl wait --gone: until the members of a name have left or died. */
#ifndef SHMCTL_WAIT_GONE_H
#define SHMCTL_WAIT_GONE_H

#include "open.h"

/* path: the segment, and the name in the place of an object's. Returns an exit status. */
int wait_gone(const struct path *, const struct acting *);

#endif
