/* Text in the columns of a terminal: how many it takes, and what of it fits. */
#ifndef SHMCTL_FIT_H
#define SHMCTL_FIT_H

#include <stddef.h>

/* The columns that the text takes, up to max; *bytes is what fits. */
int text_width(const char *text, int max, size_t *bytes);

/*
 * As much of the text as fits so many columns, with an ellipsis if that is not all, never cut
 * inside a number. To be freed.
 */
char *text_to_fit(const char *text, int width);

#endif
