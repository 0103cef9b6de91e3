/* What the kernel has: a pipe, a socket that keeps items apart, a POSIX message queue. */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void close_other_end(struct line *line, unsigned sides)
{
    if (!(sides & RECEIVER))
        close(line->fd[0]);
    if (!(sides & SENDER))
        close(line->fd[1]);
}

static void close_both(struct line *line)
{
    close(line->fd[0]);
    close(line->fd[1]);
}

/* ---- Pipe ---- */

static bool pipe_create(struct line *line)
{
    if (pipe(line->fd) < 0)
        return team_fails("pipe: %s", strerror(errno));
    fcntl(line->fd[1], F_SETPIPE_SZ, 1 << 20); /* as large as it may be for everybody */
    return true;
}

static inline void pipe_send(struct line *line, uint64_t n)
{
    size_t done = 0;

    item_make(line->buffer, line->item, n);
    while (done < line->item) {
        ssize_t r = write(line->fd[1], (char *)line->buffer + done, line->item - done);
        if (r <= 0)
            give_up("write to a pipe: %s", strerror(errno));
        done += (size_t)r;
    }
}

static inline uint64_t pipe_receive(struct line *line)
{
    size_t done = 0;

    while (done < line->item) {
        ssize_t r = read(line->fd[0], (char *)line->buffer + done, line->item - done);
        if (r <= 0)
            give_up("read from a pipe: %s", r ? strerror(errno) : "closed");
        done += (size_t)r;
    }
    return item_check(line->buffer, line->item);
}
LOOPS(pipe)

const struct channel channel_pipe = {.name = "pipe",
                                     .is = PEER,
                                     .no_capacity = true,
                                     .create = pipe_create,
                                     .attach = close_other_end,
                                     .destroy = close_both,
                                     .loops = &pipe_loops};

/* ---- AF_UNIX, SOCK_SEQPACKET ---- */

static bool socket_create(struct line *line)
{
    int room = 1 << 20;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line->fd) < 0)
        return team_fails("socketpair: %s", strerror(errno));
    setsockopt(line->fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    return true;
}

static inline void socket_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    if (send(line->fd[1], line->buffer, line->item, 0) != (ssize_t)line->item)
        give_up("send: %s", strerror(errno));
}

static inline uint64_t socket_receive(struct line *line)
{
    if (recv(line->fd[0], line->buffer, line->item, 0) != (ssize_t)line->item)
        give_up("recv: %s", strerror(errno));
    return item_check(line->buffer, line->item);
}
LOOPS(socket)

const struct channel channel_socket = {.name = "seqpacket socket",
                                       .is = PEER,
                                       .no_capacity = true,
                                       .create = socket_create,
                                       .attach = close_other_end,
                                       .destroy = close_both,
                                       .loops = &socket_loops};

/* ---- POSIX message queue ---- */

/*
 * As many items as were asked for, or as many as the limits allow. It loses its name at once, and
 * is owner_died.
 */
static bool mqueue_create(struct line *line)
{
    char name[60];
    struct mq_attr attributes = {.mq_maxmsg = line->capacity, .mq_msgsize = (long)line->item};

    snprintf(name, sizeof(name), "/%s-%u", unique_name(), line->number);
    for (;; attributes.mq_maxmsg /= 2) {
        line->fd[0] = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
        if (line->fd[0] >= 0)
            break;
        if ((errno != EINVAL && errno != EMFILE && errno != ENOMEM) || attributes.mq_maxmsg <= 1)
            return team_fails("mq_open: %s", strerror(errno));
    }
    mq_unlink(name);
    line->fd[1] = -1;
    return true;
}

static inline void mqueue_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    if (mq_send(line->fd[0], line->buffer, line->item, 0) < 0)
        give_up("mq_send: %s", strerror(errno));
}

static inline uint64_t mqueue_receive(struct line *line)
{
    if (mq_receive(line->fd[0], line->buffer, line->item, NULL) != (ssize_t)line->item)
        give_up("mq_receive: %s", strerror(errno));
    return item_check(line->buffer, line->item);
}
LOOPS(mqueue)

static void mqueue_destroy(struct line *line)
{
    mq_close(line->fd[0]);
}

const struct channel channel_mqueue = {.name = "POSIX mq",
                                       .is = PEER,
                                       .create = mqueue_create,
                                       .destroy = mqueue_destroy,
                                       .loops = &mqueue_loops};
