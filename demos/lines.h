/* Lines of standard input, as they come: a line is there as soon as its end is. */
#ifndef DEMOS_LINES_H
#define DEMOS_LINES_H

#include <stddef.h>

/* What has been read and not yet been used: data[start, end) of size bytes. Begins as zeros. */
struct input {
    char *data;
    size_t size, start, end;
};

/*
 * The next line, without its end; the last one may lack that. *line is good until the next call.
 * Returns 1, or 0: no more, or -errno; -EMSGSIZE if it is longer than most, and *length says so
 * much of it as was read.
 */
int next_line(struct input *, size_t most, const char **line, size_t *length);

/* Leave the next line out, however long it is. Returns as next_line(). */
int skip_line(struct input *);

void close_input(struct input *);

#endif
