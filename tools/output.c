#include "output.h"
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define RECHECK 2000000 /* nanoseconds, where no event tells that a pipe has been emptied */

static bool sigpipe_ignored; /* by the parent */

/* The pipe, if items come one at a time; sizes in bytes. */
static int at_first; /* 0: no pipe, or as they come */
static int smallest; /* of which poll(2) tells when it is empty */
static int capacity;

/* A pipe, a socket or a terminal, which may be full, or lose its other end. */
static bool has_other_end(void)
{
    struct stat st;

    return fstat(STDOUT_FILENO, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDOUT_FILENO));
}

static void resize(int size)
{
    int got = fcntl(STDOUT_FILENO, F_SETPIPE_SZ, size);

    if (got > 0)
        capacity = got;
}

void output_one_at_a_time(void)
{
    int size = fcntl(STDOUT_FILENO, F_GETPIPE_SZ);

    if (size <= 0)
        return;
    at_first = capacity = size;
    smallest = (int)sysconf(_SC_PAGESIZE);
    resize(smallest); /* not if there is more than that in it: see output_await_room() */
}

void output_done(void)
{
    if (at_first)
        resize(at_first);
}

/* ---- the watch: a thread, since the other one sleeps in the library ---- */

static void *watch(void *unused)
{
    struct pollfd output = {.fd = STDOUT_FILENO};

    (void)unused;
    while (poll(&output, 1, -1) < 0)
        continue;
    interrupt(sigpipe_ignored ? NO_SIGNAL : SIGPIPE);
    return NULL;
}

void output_watch(void)
{
    struct sigaction old;
    sigset_t all, before;
    pthread_t thread;

    sigaction(SIGPIPE, NULL, &old);
    sigpipe_ignored = old.sa_handler == SIG_IGN;
    signal(SIGPIPE, SIG_IGN); /* write(2) gives EPIPE */
    if (!has_other_end())
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    /* Without a thread the reader's end is noticed at the next write. */
    if (pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- room ---- */

bool output_is_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};

    return has_other_end() && poll(&output, 1, 0) > 0;
}

static bool is_unread(void)
{
    int bytes;

    return ioctl(STDOUT_FILENO, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* There is room in the pipe for a page at least. */
static bool may_follow(void)
{
    static const struct timespec recheck = {.tv_nsec = RECHECK};

    if (!at_first || capacity <= smallest)
        return true;
    /* It was made larger for a large item, or could not be made small. */
    if (is_unread()) {
        nanosleep(&recheck, NULL);
        return false;
    }
    resize(smallest);
    return true;
}

int output_await_room(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool room = !has_other_end();
    bool gone = false;

    if (let_interrupts_kill(true))
        gone = true;
    while (!room && !gone) {
        int n = poll(&output, 1, -1);

        gone = n > 0 && output.revents & (POLLERR | POLLHUP | POLLNVAL);
        room = n > 0 && !gone && may_follow();
    }
    let_interrupts_kill(false);
    return gone ? -EINTR : 0;
}

/* ---- */

int output_write(const void *item, size_t length, const char *end, size_t n)
{
    struct iovec parts[2] = {{(void *)item, length}, {(void *)end, n}};
    struct iovec *part = parts;

    /* Without room for all of it the writer would wait for the reader with the item in hand. */
    if (at_first && length + n > (size_t)capacity && length + n <= INT32_MAX)
        resize((int)(length + n));
    while (part < parts + 2) {
        ssize_t done = writev(STDOUT_FILENO, part, (int)(parts + 2 - part));

        if (done < 0 && errno != EINTR)
            return -errno;
        for (; done >= 0 && part < parts + 2; part++) {
            if ((size_t)done < part->iov_len) {
                part->iov_base = (char *)part->iov_base + done;
                part->iov_len -= (size_t)done;
                break;
            }
            done -= (ssize_t)part->iov_len;
        }
    }
    return 0;
}

int output_failed(int error)
{
    if (error == -EPIPE && !sigpipe_ignored) {
        interrupt(SIGPIPE); /* by which finish() ends the program */
        return STATUS_FAILED;
    }
    interrupt(NO_SIGNAL);
    complain("standard output", "%s", strerror(-error));
    return STATUS_FAILED;
}
