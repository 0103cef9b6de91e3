/* Sizes and durations for a person: 12, 1.5K; 250ms, 4.2s, 3m05s, 2d04h. */
#ifndef SHMCTL_QUANTITY_H
#define SHMCTL_QUANTITY_H

#include <stdint.h>

/* Both write at most so many bytes into buffer, and return it. */
#define QUANTITY_MAX 32
const char *format_size(char *buffer, uint64_t bytes);
const char *format_duration(char *buffer, int64_t nanoseconds);

#endif
