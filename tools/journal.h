/* What becomes of the items of 'shmctl work': a line of JSON for each event. */
#ifndef SHMCTL_JOURNAL_H
#define SHMCTL_JOURNAL_H

#include "job.h"

/*
 * At the beginning, if there is to be one: the end of what reads it ends no command, but is an
 * error of journal_write().
 */
void journal_begin(void);

/*
 * A line for this event of the job, on the standard output, which has been written when this
 * returns. reason, into: NULL: none; pause: until the next attempt, negative: none. Returns 0, or
 * -errno: it could not be written.
 */
int journal_write(const struct work *, const struct job *, const char *event, const char *reason,
                  int64_t pause, const char *into);

#endif
