#include "etcd/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

/* The number is the same on all machines. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Close all but those of this function itself, which is what close_range(2) does at once. */
static int close_copies(void)
{
    char path[40];
    struct dirent *e;
    DIR *all;

    snprintf(path, sizeof(path), "/proc/self/task/%d/fd", (int)gettid());
    all = opendir(path);
    if (all == NULL)
        return -errno;
    while ((e = readdir(all)) != NULL)
        if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(all))
            close(atoi(e->d_name));
    closedir(all);
    return 0;
}

/*
 * A copy of a descriptor of the program's would keep its file open: a pipe would never come to its
 * end. So nothing is copied; or, where the kernel has no close_range(2) or a filter of system calls
 * forbids it, the copies are closed.
 */
static int leave_table(void)
{
    if (syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_UNSHARE) == 0)
        return 0;
    return unshare(CLONE_FILES) == 0 ? close_copies() : -errno;
}

int shke_own_descriptors(void)
{
    int fd, r = leave_table();

    if (r < 0)
        return r;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd < 2);
    return 0; /* without /dev/null a socket has such a number */
}

/* Not -EAGAIN, which a call without a timeout gives for another reason. */
int shke_say_no_descriptors(int error)
{
    if (error == -ENOMEM || error == -EAGAIN)
        return shke_fail(-ENOMEM, "out of memory");
    return shke_fail(error,
                     "a thread cannot be given descriptors of its own (close_range(2), which Linux "
                     "has since 5.9, or unshare(2)): %s",
                     strerror(-error));
}

int shke_waker_open(struct shke_waker *w)
{
    int ends[2];

    w->in = w->out = -1;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return -errno;
    w->in = ends[0];
    w->out = ends[1];
    snprintf(w->name, sizeof(w->name), "/proc/self/task/%d/fd/%d", (int)gettid(), w->out);
    return 0;
}

void shke_waker_close(struct shke_waker *w)
{
    if (w->in < 0)
        return;
    close(w->in);
    close(w->out);
    w->in = w->out = -1;
}

bool shke_waker_wake(const struct shke_waker *w)
{
    int fd = open(w->name, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    bool is_told;

    if (fd < 0)
        return false;
    is_told = write(fd, "", 1) == 1 || errno == EAGAIN; /* full: it has been told */
    close(fd);
    return is_told;
}

void shke_waker_drain(const struct shke_waker *w)
{
    char bytes[64];

    while (read(w->in, bytes, sizeof(bytes)) > 0)
        ;
}
