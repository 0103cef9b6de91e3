#include "output.h"
#include "pause.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

const char *program_name = "";

/* Wait until fd can be written, or until interrupted. */
static void wait_writable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};

    while (!interrupted && poll(&pollfd, 1, RECHECK / SHK_MS(1)) <= 0)
        continue;
}

/* Everything, in one system call unless the other end takes less. Returns 0 or -errno. */
static int write_all(int fd, struct iovec *parts, int n)
{
    while (n > 0) {
        ssize_t written = writev(fd, parts, n);

        if (written < 0) {
            if (interrupted || (errno != EINTR && errno != EAGAIN))
                return -errno;
            if (errno == EAGAIN) /* another process that has it open made it non-blocking */
                wait_writable(fd);
            continue;
        }
        while (n > 0 && (size_t)written >= parts->iov_len) {
            written -= parts->iov_len;
            parts++;
            n--;
        }
        if (n > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= written;
        }
    }
    return 0;
}

void complain(const char *format, ...)
{
    struct iovec parts[4];
    char *sentence;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vasprintf(&sentence, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    parts[0] = (struct iovec){(char *)program_name, strlen(program_name)};
    parts[1] = (struct iovec){": ", 2};
    parts[2] = (struct iovec){sentence, length};
    parts[3] = (struct iovec){"\n", 1};
    write_all(STDERR_FILENO, parts, 4);
    free(sentence);
}

int wait_to_say(void)
{
    wait_writable(STDOUT_FILENO);
    return interrupted ? FAILED : DONE;
}

int say_bytes(struct iovec *parts, int n)
{
    int r = write_all(STDOUT_FILENO, parts, n);

    if (r == 0)
        return DONE;
    if (!interrupted)
        complain("standard output: %s", strerror(-r));
    return FAILED;
}

int say(const char *format, ...)
{
    char *line;
    va_list arguments;
    int length, status;

    va_start(arguments, format);
    length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    status = say_bytes(&(struct iovec){line, length}, 1);
    free(line);
    return status;
}

int padding(const char *text, int columns)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t length;

    while (columns > 0 && (length = mbrtowc(&c, text, MB_CUR_MAX, &state)) != 0) {
        int width = 1;

        if (length == (size_t)-1 || length == (size_t)-2) {
            length = 1;
            state = (mbstate_t){0};
        } else if (wcwidth(c) >= 0) {
            width = wcwidth(c);
        }
        text += length;
        columns -= width;
    }
    return columns > 0 ? columns : 0;
}

char *printable(const char *bytes, size_t length)
{
    mbstate_t state = {0};
    char *text = malloc(length + 1), *end = text;

    if (!text)
        return NULL;
    while (length > 0) {
        wchar_t c;
        size_t n = mbrtowc(&c, bytes, length, &state);

        if (n == 0 || n > length || !iswprint(c)) {
            if (n == 0 || n > length)
                n = 1;
            state = (mbstate_t){0};
            *end++ = '?';
        } else {
            end = mempcpy(end, bytes, n);
        }
        bytes += n;
        length -= n;
    }
    *end = '\0';
    return text;
}
