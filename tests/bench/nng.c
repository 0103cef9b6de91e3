/* nng, push and pull over ipc. */
#include "channel.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <stdlib.h>

static inline nng_socket *nng_of(struct line *line)
{
    return line->handle[0];
}

static void check_nng(int error, const char *call)
{
    if (error)
        give_up("%s: %s", call, nng_strerror(error));
}

static void nng_attach(struct line *line, unsigned sides)
{
    char path[200], address[220];
    nng_socket *socket = calloc(1, sizeof(*socket));

    line_path(line, path, sizeof(path));
    snprintf(address, sizeof(address), "ipc://%s", path);
    line->handle[0] = socket;
    if (sides & SENDER) {
        check_nng(nng_push0_open(socket), "nng_push0_open");
        nng_setopt_int(*socket, NNG_OPT_SENDBUF, (int)line->capacity);
        /* The pulling side may not be there yet: nng tries again until it is. */
        check_nng(nng_dial(*socket, address, NULL, NNG_FLAG_NONBLOCK), "nng_dial");
    } else {
        check_nng(nng_pull0_open(socket), "nng_pull0_open");
        nng_setopt_int(*socket, NNG_OPT_RECVBUF, (int)line->capacity);
        check_nng(nng_listen(*socket, address, NULL, 0), "nng_listen");
    }
}

static inline void nng_channel_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    check_nng(nng_send(*nng_of(line), line->buffer, line->item, 0), "nng_send");
}

static inline uint64_t nng_channel_receive(struct line *line)
{
    size_t size = line->item;

    check_nng(nng_recv(*nng_of(line), line->buffer, &size, 0), "nng_recv");
    if (size != line->item)
        give_up("nng_recv: %zu bytes", size);
    return item_check(line->buffer, line->item);
}
LOOPS(nng_channel)

static void nng_detach(struct line *line, unsigned sides)
{
    (void)sides;
    nng_close(*nng_of(line));
}

const struct channel channel_nng = {.name = "nng ipc",
                                    .is = PEER,
                                    .no_capacity = true,
                                    .attach = nng_attach,
                                    .detach = nng_detach,
                                    .loops = &nng_channel_loops};
