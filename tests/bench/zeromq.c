/* ZeroMQ, PUSH and PULL over ipc. */
#include "channel.h"

#include <stdio.h>
#include <zmq.h>

static void zeromq_attach(struct line *line, unsigned sides)
{
    char path[200], address[220];
    int capacity = (int)line->capacity, r;
    void *socket;

    line_path(line, path, sizeof(path));
    snprintf(address, sizeof(address), "ipc://%s", path);
    line->handle[1] = zmq_ctx_new();
    socket = zmq_socket(line->handle[1], sides & SENDER ? ZMQ_PUSH : ZMQ_PULL);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &capacity, sizeof(capacity));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &capacity, sizeof(capacity));
    r = sides & SENDER ? zmq_connect(socket, address) : zmq_bind(socket, address);
    if (r < 0)
        give_up("zmq: %s: %s", address, zmq_strerror(zmq_errno()));
    line->handle[0] = socket;
}

static void zeromq_detach(struct line *line, unsigned sides)
{
    (void)sides;
    zmq_close(line->handle[0]);
    zmq_ctx_term(line->handle[1]); /* what is on its way is sent first */
}

static inline void zeromq_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    while (zmq_send(line->handle[0], line->buffer, line->item, 0) < 0) {
        if (zmq_errno() != EINTR)
            give_up("zmq_send: %s", zmq_strerror(zmq_errno()));
    }
}

static inline uint64_t zeromq_receive(struct line *line)
{
    int r;

    while ((r = zmq_recv(line->handle[0], line->buffer, line->item, 0)) < 0) {
        if (zmq_errno() != EINTR)
            give_up("zmq_recv: %s", zmq_strerror(zmq_errno()));
    }
    if (r != (int)line->item)
        give_up("zmq_recv: %d bytes", r);
    return item_check(line->buffer, line->item);
}
LOOPS(zeromq)

const struct channel channel_zeromq = {.name = "ZeroMQ ipc",
                                       .is = PEER,
                                       .no_capacity = true,
                                       .attach = zeromq_attach,
                                       .detach = zeromq_detach,
                                       .loops = &zeromq_loops};
