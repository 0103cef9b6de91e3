/*
 * Three servers of etcd on loopback, for tests and the bench: in a temporary directory, on ports
 * that are free. A process of its own, the supervisor, starts and kills them as is wanted, until it
 * is told to end them, or the process that began is gone. $ETCDCTL_ENDPOINTS says where they are.
 */
#ifndef TESTS_ETCD_SERVERS_H
#define TESTS_ETCD_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVERS 3

/* What all processes of the run share. */
struct servers {
    int client_port[SERVERS], peer_port[SERVERS];
    _Atomic pid_t pids[SERVERS]; /* 0: it is not running */
    _Atomic int wanted[SERVERS]; /* whether it is to run */
    _Atomic bool ends;
};
extern struct servers *servers;

/* Whether etcd is installed. */
bool servers_are_there(void);
/* Begin; then wait until all answer, for so long at most: whether they do. */
void servers_begin(void);
bool servers_wait(int64_t ns);
/* Tell, on standard error, how each of them is and what it has said. */
void servers_explain(void);
void servers_end(void);

bool server_answers(int server);
/* The reply of one, with its header; "" if there is none. Valid until the next call. body: NULL:
 * GET. */
const char *server_ask(int server, const char *path, const char *body);
/* How many requests the servers have answered, without those for metrics. */
unsigned long servers_requests(void);

#endif
