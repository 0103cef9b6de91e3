#include "lines.h"
#include "common.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_SIZE = 64 * 1024 };

/* Read more. Returns how many bytes, 0 at the end of the input, -errno. */
static ssize_t fill(struct input *input)
{
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t n;

    memmove(input->data, input->data + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
    if (input->end == input->size) {
        char *data = realloc(input->data, 2 * input->size);

        if (!data)
            return -ENOMEM;
        input->data = data;
        input->size *= 2;
    }
    do {
        /* Not read() at once: it would sleep through a signal that came just before it. */
        while (!interrupted && poll(&pollfd, 1, 100) <= 0)
            ;
        if (interrupted)
            return -EINTR;
        n = read(STDIN_FILENO, input->data + input->end, input->size - input->end);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return -errno;
    input->end += n;
    return n;
}

int next_line(struct input *input, size_t most, const char **line, size_t *length)
{
    if (!input->data) {
        input->data = malloc(FIRST_SIZE);
        if (!input->data)
            return -ENOMEM;
        input->size = FIRST_SIZE;
    }
    for (*length = 0;;) {
        char *rest = input->data + input->start + *length;
        char *newline = memchr(rest, '\n', input->end - input->start - *length);
        ssize_t n;

        *length = (newline ? newline : input->data + input->end) - (input->data + input->start);
        if (*length > most)
            return -EMSGSIZE;
        n = newline ? 0 : fill(input);
        if (n < 0)
            return n;
        if (n > 0)
            continue;
        *line = input->data + input->start;
        input->start += *length + (newline ? 1 : 0);
        return newline || *length > 0;
    }
}

int skip_line(struct input *input)
{
    for (;;) {
        char *newline = memchr(input->data + input->start, '\n', input->end - input->start);
        ssize_t n;

        input->start = newline ? (size_t)(newline - input->data) + 1 : input->end;
        n = newline ? 1 : fill(input);
        if (newline || n <= 0)
            return (int)n;
    }
}

void close_input(struct input *input)
{
    free(input->data);
}
