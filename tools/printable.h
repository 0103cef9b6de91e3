/* Bytes as text that any terminal, and JSON, can show. */
#ifndef SHMCTL_PRINTABLE_H
#define SHMCTL_PRINTABLE_H

#include <stddef.h>

/* Bytes that are no text as \\xHH, a backslash as two. To be freed. */
char *to_printable(const unsigned char *bytes, size_t length);

#endif
