/*
 * A descriptor that is readable while something is ready: the reading end of a pipe, with a thread
 * at the other end that waits and writes.
 *
 * The pipe holds one message: it is in packet mode, where each takes a page of its own however
 * short it is, and has one page. So it is full as long as the message has not been read, and the
 * thread learns from poll() that it has been read (POLLOUT), or that no reading end is left
 * (POLLERR). While it waits for the objects it learns the latter at the end of a recheck interval.
 *
 * The writing end is the thread's alone:
 *   - A program may close all descriptors above 2 and open a file of its own, which gets the
 *     number. So the number is a high one, and device and inode are compared before each use: the
 *     thread never writes to anything but its pipe, nor closes it.
 *   - A forked child has a copy, with which the pipe would never come to its end. It closes the
 *     copy before fork(3) returns. shutdown(2) of a socket would reach all copies, but not when the
 *     process is killed; and a socket does not say that the one message has been read.
 */
#include "poll/poll.h"

#include "object/remote.h"
#include "segment/fork.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct watcher {
    struct shki_set set; /* each handle kept */
    int out;             /* the writing end, if it still is that: see is_pipe() */
    dev_t device;        /* of the pipe */
    ino_t inode;
    struct watcher *next; /* in the list of all, with the process's list of segments locked */
    struct start *start;  /* for the thread's first steps only */
};

/* Lives until the thread has said how its start went. */
struct start {
    sem_t over;
    const char *owner; /* the name of the member that opens the descriptor; NULL: no member */
    int result;
    char why[256];
};

#define DESCRIPTOR " (descriptor)"

static struct watcher *watchers; /* of this process, with its list of segments locked */

static bool is_pipe(const struct watcher *w)
{
    struct stat st;

    return fstat(w->out, &st) == 0 && st.st_dev == w->device && st.st_ino == w->inode;
}

static void close_pipe(const struct watcher *w)
{
    if (is_pipe(w))
        close(w->out);
}

static void ref(const struct shki_watch *w)
{
    const struct shk_segment *s = w->object->segment;

    if (w->refs)
        fetch_add_relaxed(w->refs, 1);
    else
        s->remote->ref(w->handle);
}

static void unref(struct watcher *w)
{
    for (unsigned i = 0; i < w->set.n; i++)
        w->set.watches[i].unref(w->set.watches[i].handle);
    free(w);
}

static void destroy(struct watcher *w)
{
    struct watcher **link = &watchers;

    shki_registry_lock();
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    close_pipe(w); /* or else a child that is forked now would keep it */
    shki_registry_unlock();
    unref(w);
}

/* A forked child has no such threads: it needs neither the pipes nor the handles. */
static void forget_watchers(void)
{
    struct watcher *w;

    while ((w = watchers)) {
        watchers = w->next;
        close_pipe(w);
        unref(w);
    }
}

static void enlist(struct watcher *w)
{
    shki_registry_lock();
    shki_in_forked_child = forget_watchers;
    w->next = watchers;
    watchers = w;
    shki_registry_unlock();
}

enum { BUSY, FREE, GONE };

/* The state of the pipe, after a wait until it is free. */
static int state_of_pipe(const struct watcher *w, int milliseconds)
{
    struct pollfd pipe = {.fd = w->out, .events = POLLOUT};

    if (!is_pipe(w))
        return GONE;
    if (poll(&pipe, 1, milliseconds) <= 0)
        return BUSY;
    return pipe.revents & (POLLERR | POLLNVAL) ? GONE : FREE;
}

static bool tell(struct watcher *w, uint32_t index)
{
    int state;

    if (!is_pipe(w) || write(w->out, &index, sizeof(index)) != sizeof(index))
        return false;
    w->set.first = index + 1;
    do
        state = state_of_pipe(w, (int)(SHKI_RECHECK / 1000000));
    while (state == BUSY && !shki_segment_is_closed(w->set.watches[0].object->segment));
    return state == FREE;
}

/* At the end of each recheck interval. */
static int is_gone(void *watcher)
{
    return state_of_pipe(watcher, 0) == GONE;
}

/*
 * Until the descriptor has been closed, or the set cannot be waited for any more. It is one wait
 * from message to message, so that its record says since when it waits, and that it does without a
 * deadline.
 */
static void work(struct watcher *w, struct shki_member *m)
{
    struct shki_interrupt_call gone = {.check = is_gone, .arg = w};
    /* not the program's: that is for the reader of the descriptor */
    struct shki_deadline deadline = shki_deadline(SHK_FOREVER, NULL);
    int r;

    deadline.call = &gone;
    do
        r = shki_set_wait(&w->set, m, &deadline);
    while (r == -EBUSY || (r >= 0 && tell(w, (uint32_t)r)));
}

/* "words (descriptor)", after the member that opened it. */
static void name_thread(struct shk_segment *s, const char *owner)
{
    char name[SHK_NAME_MAX + 1];
    int room = SHK_NAME_MAX - (int)strlen(DESCRIPTOR);

    while (room > 0 && ((unsigned char)owner[strnlen(owner, (size_t)room)] & 0xc0) == 0x80)
        room--; /* not in the middle of a character */
    snprintf(name, sizeof(name), "%.*s" DESCRIPTOR, room, owner);
    shk_set_member_name(s, name);
}

static void *run(void *arg)
{
    struct watcher *w = arg;
    struct start *start = w->start;
    struct shki_member *m = NULL;
    int r = 0;

    prctl(PR_SET_NAME, "shk_ready_fd"); /* its command, among the members */
    if (start->owner)
        r = shki_enter(w->set.watches[0].object, &m);
    if (r == 0 && m)
        name_thread(m->segment, start->owner);
    if (r < 0)
        snprintf(start->why, sizeof(start->why), "%s", shk_last_error());
    start->result = r;
    sem_post(&start->over);
    if (r == 0) {
        work(w, m);
        destroy(w);
    }
    return NULL; /* leaves the segment */
}

/* 0 or an error, and then the watcher is still the caller's. */
static int start_thread(struct watcher *w, const struct shki_member *m)
{
    struct start start = {.owner = m ? shki_member_name(m) : NULL};
    sigset_t all, before;
    pthread_t thread;
    int r;

    sem_init(&start.over, 0, 0);
    w->start = &start;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        sem_destroy(&start.over);
        return shki_fail(-r, "a thread for the descriptor cannot be started: %s", strerror(r));
    }
    while (sem_wait(&start.over) != 0)
        ; /* EINTR */
    sem_destroy(&start.over);
    if (start.result == 0) {
        pthread_detach(thread);
        return 0;
    }
    pthread_join(thread, NULL);
    return shki_fail(start.result, "%s", start.why);
}

#define FIRST_KEPT 100 /* the lowest number of a writing end: programs use those below */

/* A writing end of a higher number, where the limit permits one. */
static int raise_number(int fd)
{
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_KEPT);

    if (higher < 0)
        return fd;
    close(fd);
    return higher;
}

static int open_pipe(struct watcher *w, int ends[2])
{
    struct stat st;

    if (pipe2(ends, O_DIRECT | O_CLOEXEC | O_NONBLOCK) != 0)
        return shki_fail(-errno, "a pipe for the descriptor cannot be opened: %s", strerror(errno));
    if (fcntl(ends[1], F_SETPIPE_SZ, 1) < 0) { /* rounded up to a page */
        int r = shki_fail(-errno, "the pipe cannot be made small: %s", strerror(errno));

        close(ends[0]);
        close(ends[1]);
        return r;
    }
    w->out = raise_number(ends[1]);
    fstat(w->out, &st);
    w->device = st.st_dev;
    w->inode = st.st_ino;
    return 0;
}

int shk_ready_fd(const struct shk_ready *wanted, unsigned n)
{
    struct watcher *w = malloc(sizeof(*w));
    struct shki_member *m;
    int ends[2], r;

    if (w == NULL)
        return shki_say(-ENOMEM, "out of memory");
    r = shki_set_open(&w->set, wanted, n, &m);
    for (unsigned i = 0; r == 0 && m && i < n; i++)
        r = shki_object_is_stale(w->set.watches[i].object) ? shki_stale(w->set.watches[i].object)
                                                           : 0;
    if (r == 0)
        r = open_pipe(w, ends);
    if (r != 0) {
        free(w);
        return r;
    }
    for (unsigned i = 0; i < n; i++)
        ref(&w->set.watches[i]);
    enlist(w);
    r = start_thread(w, m);
    if (r == 0)
        return ends[0];
    destroy(w);
    close(ends[0]);
    return r;
}
