#include "hold.h"
#include "origin.h"
#include "process.h"
#include "spawn.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { UNLOCK_LIMIT = 10000 }; /* ms: a holder that is stopped does not end */

/* ---- the mark ---- */

off_t holder_byte(pid_t holder, const char *path)
{
    char *name =
        print_to_memory("%d %llu %s", (int)holder, (unsigned long long)start_of(holder), path);
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    free(name);
    return (off_t)(hash >> 2);
}

/* The byte that this process locks as the holder of that path. */
static struct flock byte_of(pid_t holder, const struct path *path)
{
    return (struct flock){.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = holder_byte(holder, path->text),
                          .l_len = 1};
}

/*
 * The same file, opened anew. One of the two has to be open for writing, since two that read do not
 * exclude each other. -1: errno.
 */
static int open_anew(int descriptor)
{
    int mode = fcntl(descriptor, F_GETFL);
    char path[64];
    int file;

    if (mode < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    file = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0 && (mode & O_ACCMODE) != O_RDONLY)
        file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return file;
}

/* The lock that may be had through a descriptor: one for writing needs it to be open for that. */
static short type_for(int descriptor)
{
    return (fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK;
}

/* ---- the beginning ---- */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Whatever else is open is the script's, such as a pipe that is to end with the script. */
static void close_others(const struct holder *h)
{
    int kept[] = {h->descriptor, h->file, h->line};
    unsigned from = STDERR_FILENO + 1;

    qsort(kept, 3, sizeof(*kept), by_number);
    for (int i = 0; i < 3; i++) {
        if ((unsigned)kept[i] > from)
            close_descriptors(from, (unsigned)kept[i] - 1);
        if ((unsigned)kept[i] >= from)
            from = (unsigned)kept[i] + 1;
    }
    close_descriptors(from, ~0U);
}

/* What the holder says, or how it has ended. */
static int hear(int line, pid_t holder)
{
    unsigned char word;
    ssize_t n;
    int status;

    do
        n = read(line, &word, 1);
    while (n < 0 && errno == EINTR);
    close(line);
    if (n == 1)
        return word;
    while (waitpid(holder, &status, 0) < 0) {
        if (errno != EINTR)
            return STATUS_FAILED;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    interrupt(WTERMSIG(status));
    return STATUS_FAILED;
}

bool holder_begin(struct holder *h, int descriptor, const struct path *path, int *status)
{
    int line[2];
    pid_t pid;

    *h = (struct holder){.descriptor = descriptor, .file = open_anew(descriptor)};
    *status = STATUS_FAILED;
    if (h->file < 0) {
        complain(path->text, "descriptor %d: %s", descriptor,
                 errno == ENXIO ? "a socket cannot keep a lock; a file can, such as /dev/null"
                                : strerror(errno));
        return false;
    }
    h->shmctl = getpid();
    h->script = script_process();
    h->script_start = start_of(h->script);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, no status is kept */
    if (pipe2(line, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        complain(path->text, "%s", strerror(errno));
        return false;
    }
    if (pid > 0) {
        close(line[1]);
        *status = hear(line[0], pid);
        return false;
    }
    h->line = line[1];
    close_others(h);
    prctl(PR_SET_NAME, HOLDER_NAME);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != h->shmctl)
        raise(SIGTERM);
    h->byte = byte_of(getpid(), path);
    return true;
}

/* ---- while the lock is held ---- */

/* From here on nothing but the end of the descriptor ends the holder. */
static void stay(struct holder *h)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, 0);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int i = STDIN_FILENO; nothing >= 0 && i <= STDERR_FILENO; i++) {
        if (i != h->descriptor)
            dup2(nothing, i);
    }
    close(nothing);
    if (chdir("/") < 0)
        return; /* it keeps that directory busy */
}

bool holder_tell(struct holder *h, int status)
{
    unsigned char word = (unsigned char)status;

    h->byte.l_type = type_for(h->descriptor);
    if (fcntl(h->descriptor, F_OFD_SETLK, &h->byte) < 0) {
        fprintf(stderr, "shmctl: descriptor %d: %s\n", h->descriptor, strerror(errno));
        return false;
    }
    signal(SIGPIPE, SIG_IGN);
    stay(h);
    if (getppid() != h->shmctl || write(h->line, &word, 1) != 1) {
        h->byte.l_type = F_UNLCK;
        fcntl(h->descriptor, F_OFD_SETLK, &h->byte);
        return false;
    }
    close(h->line);
    close(h->descriptor);
    return true;
}

bool holder_wait(struct holder *h)
{
    h->byte.l_type = type_for(h->file);
    while (fcntl(h->file, F_OFD_SETLKW, &h->byte) < 0 && errno == EINTR)
        continue;
    return is_alive((int32_t)h->script, h->script_start);
}

/* ---- the end, by another shmctl ---- */

/* Is that byte locked, and by that descriptor? */
static bool is_ours(int descriptor, int file, const struct flock *byte)
{
    struct flock found = *byte, own = *byte;

    found.l_type = type_for(file);
    own.l_type = type_for(descriptor);
    return fcntl(file, F_OFD_GETLK, &found) == 0 && found.l_type != F_UNLCK &&
           fcntl(descriptor, F_OFD_SETLK, &own) == 0;
}

/* The holder, a member of the segment; 0: none. */
static pid_t find_holder(int descriptor, int file, const struct path *path, struct flock *byte)
{
    const struct shk_member_info *m;
    struct shk_snapshot *snapshot;
    pid_t holder = 0;

    if (shk_snapshot_open(path->segment, &snapshot) != 0)
        return 0;
    for (size_t i = 0; !holder && (m = shk_snapshot_member(snapshot, i)); i++) {
        *byte = byte_of(m->pid, path);
        if (m->alive && is_ours(descriptor, file, byte))
            holder = m->pid;
    }
    shk_snapshot_close(snapshot);
    return holder;
}

int holder_unlock(int descriptor, const struct path *path)
{
    int file = open_anew(descriptor);
    int error = errno;
    struct pollfd end = {.fd = -1, .events = POLLIN};
    struct flock byte;
    pid_t holder;
    int n = 1;

    if (file < 0) {
        complain(path->text, "descriptor %d: %s", descriptor, strerror(error));
        return STATUS_FAILED;
    }
    holder = find_holder(descriptor, file, path, &byte);
    close(file);
    if (!holder) {
        complain(path->text, "it is not held by descriptor %d", descriptor);
        return STATUS_FAILED;
    }
    end.fd = (int)syscall(SYS_pidfd_open, holder, 0U);
    byte.l_type = F_UNLCK;
    fcntl(descriptor, F_OFD_SETLK, &byte);
    if (end.fd >= 0) {
        n = poll(&end, 1, UNLOCK_LIMIT);
        close(end.fd);
    }
    if (n == 0)
        complain(path->text, "its holder, process %d, does not end", (int)holder);
    return n == 0 ? STATUS_FAILED : STATUS_DONE;
}
