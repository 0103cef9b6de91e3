#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define START_FIELDS 19 /* of /proc/…/stat, from the state to the start time: proc_pid_stat(5) */
#define START_BITS   40 /* ticks of 10 ms: enough for 348 years */

/* What /proc tells of a thread. */
struct facts {
    int32_t tid;
    char state;
    uint64_t start; /* ticks since boot, as the reader's time namespace counts them */
};

static bool read_facts(const char *path, struct facts *f)
{
    char text[1024], *at;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    f->tid = atoi(text);
    /* the command may have any bytes, and no field after it has this one */
    at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ')
        return false;
    f->state = at[2];
    at += 2;
    for (int i = 0; i < START_FIELDS && at; i++)
        at = strchr(at + 1, ' ');
    f->start = at ? strtoull(at, NULL, 10) : 0;
    return f->start > 0;
}

/*
 * The start time is shifted by the reader's time namespace: only readers of the same one may
 * compare.
 */
static uint64_t stamp_of(const struct facts *f)
{
    struct stat st;
    uint64_t space = stat("/proc/self/ns/time", &st) == 0 ? st.st_ino : 0;

    return (f->start & ((UINT64_C(1) << START_BITS) - 1)) | space << START_BITS;
}

uint64_t shki_thread_start(void)
{
    static _Thread_local struct { /* after a fork the thread id is another */
        int32_t tid;
        uint64_t start;
    } known __attribute__((tls_model("initial-exec")));
    int32_t tid = (int32_t)syscall(SYS_gettid);
    struct facts f;

    if (known.tid != tid) {
        known.tid = tid;
        /* Another id: this /proc belongs to another pid namespace, and so do its ids. */
        known.start = read_facts("/proc/thread-self/stat", &f) && f.tid == tid ? stamp_of(&f) : 0;
    }
    return known.start;
}

uint64_t shki_process_start(void)
{
    struct facts f;

    return read_facts("/proc/self/stat", &f) && f.tid == getpid() ? stamp_of(&f) : 0;
}

static bool read_thread(int32_t tid, struct facts *f)
{
    char path[48];

    if (shki_thread_start() == 0)
        return false;
    /* The thread's own: for a shorter path the kernel adds up the times of all of its process. */
    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)tid, (int)tid);
    return read_facts(path, f);
}

bool shki_process_has_ended(int32_t pid)
{
    struct pollfd p = {.events = POLLIN};
    bool ended;

    if (kill(pid, 0) != 0 && errno == ESRCH)
        return true;
    p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    ended = p.fd >= 0 && poll(&p, 1, 0) == 1 && p.revents & POLLIN;
    if (p.fd >= 0)
        close(p.fd);
    return ended;
}

bool shki_thread_is_gone(int32_t tid)
{
    struct robust_list_head *head = NULL;
    struct facts f;
    size_t length;

    /* The kernel removes a thread's list once it has walked it, at its end or at an exec. */
    if (syscall(SYS_get_robust_list, tid, &head, &length) == 0)
        return head == NULL;
    if (kill(tid, 0) != 0 && errno == ESRCH)
        return true;
    if (read_thread(tid, &f))
        return f.state == 'Z' || f.state == 'X' || f.state == 'x';
    return shki_process_has_ended(tid); /* hidden by hidepid, or no /proc */
}

bool shki_thread_is_stopped(int32_t tid)
{
    struct facts f;

    return read_thread(tid, &f) && (f.state == 'T' || f.state == 't');
}

bool shki_thread_is_another(int32_t tid, uint64_t start)
{
    struct facts f;
    uint64_t found;

    if (start == 0 || !read_thread(tid, &f))
        return false;
    found = stamp_of(&f);
    return found != start && found >> START_BITS == start >> START_BITS;
}
