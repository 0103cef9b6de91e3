#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVERS_MAX 8
#define WAYS        128
#define LOOK_EACH   10 /* ms: whether it has been cut, or is to end */

struct way {
    int a, b; /* -1: none */
};

struct proxy {
    pthread_t thread;
    _Atomic bool is_cut, ends;
    unsigned n;
    int listeners[SERVERS_MAX], ports[SERVERS_MAX];
    struct way ways[WAYS];
    char endpoints[SERVERS_MAX * 32];
};

static int make_socket(struct sockaddr_in *address, int port)
{
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connect_to(int port)
{
    struct sockaddr_in address;
    int fd = make_socket(&address, port);

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void end_way(struct way *w)
{
    close(w->a);
    close(w->b);
    *w = (struct way){-1, -1};
}

static void welcome(struct proxy *p, unsigned i)
{
    int a = accept4(p->listeners[i], NULL, NULL, SOCK_CLOEXEC), b = connect_to(p->ports[i]);

    for (int k = 0; k < WAYS && b >= 0; k++)
        if (p->ways[k].a < 0) {
            p->ways[k] = (struct way){a, b};
            return;
        }
    close(a);
    if (b >= 0)
        close(b);
}

static bool forward(int from, int to)
{
    char bytes[65536];
    ssize_t n = read(from, bytes, sizeof(bytes)), done = 0, r;

    while (done < n) {
        r = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (r <= 0)
            return false;
        done += r;
    }
    return n > 0;
}

static void *run(void *arg)
{
    struct proxy *p = arg;
    struct pollfd polled[SERVERS_MAX + 2 * WAYS];

    while (!p->ends) {
        if (p->is_cut) {
            usleep(LOOK_EACH * 1000);
            continue;
        }
        for (unsigned i = 0; i < p->n; i++)
            polled[i] = (struct pollfd){p->listeners[i], POLLIN, 0};
        for (unsigned k = 0; k < WAYS; k++) {
            polled[p->n + 2 * k] = (struct pollfd){p->ways[k].a, POLLIN, 0};
            polled[p->n + 2 * k + 1] = (struct pollfd){p->ways[k].b, POLLIN, 0};
        }
        if (poll(polled, p->n + 2 * WAYS, LOOK_EACH) <= 0 || p->is_cut)
            continue;
        for (unsigned k = 0; k < WAYS; k++) {
            struct way *w = &p->ways[k];

            if (w->a >= 0 && polled[p->n + 2 * k].revents && !forward(w->a, w->b))
                end_way(w);
            if (w->a >= 0 && polled[p->n + 2 * k + 1].revents && !forward(w->b, w->a))
                end_way(w);
        }
        for (unsigned i = 0; i < p->n; i++)
            if (polled[i].revents)
                welcome(p, i);
    }
    return NULL;
}

static void add_server(struct proxy *p, int port)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int fd = make_socket(&address, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    p->listeners[p->n] = fd;
    p->ports[p->n] = port;
    snprintf(p->endpoints + strlen(p->endpoints), 32, "%shttp://127.0.0.1:%d", p->n ? "," : "",
             ntohs(address.sin_port));
    p->n++;
}

struct proxy *proxy_start(const char **endpoints)
{
    struct proxy *p = calloc(1, sizeof(*p));
    const char *at = getenv("ETCDCTL_ENDPOINTS");

    for (; at && (at = strstr(at, "127.0.0.1:")) != NULL && p->n < SERVERS_MAX; at++)
        add_server(p, atoi(at + strlen("127.0.0.1:")));
    for (int k = 0; k < WAYS; k++)
        p->ways[k] = (struct way){-1, -1};
    ck_assert_uint_gt(p->n, 0);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, run, p), 0);
    *endpoints = p->endpoints;
    return p;
}

void proxy_stop(struct proxy *p)
{
    p->ends = true;
    pthread_join(p->thread, NULL);
    for (int k = 0; k < WAYS; k++)
        if (p->ways[k].a >= 0)
            end_way(&p->ways[k]);
    for (unsigned i = 0; i < p->n; i++)
        close(p->listeners[i]);
    free(p);
}

void proxy_cut(struct proxy *p)
{
    p->is_cut = true;
}

void proxy_mend(struct proxy *p)
{
    p->is_cut = false;
}
