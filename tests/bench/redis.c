/*
 * Redis, as a queue of jobs: RPUSH; LMOVE to the list of what is in hand, LREM when it is done. One
 * command at a time on its connection, and a server for each measurement, which writes no file.
 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ITEM_MAX 1024
#define START_MS 5000 /* longer than a server without data needs to start */

static struct {
    pid_t pid;
    uint16_t port;
} server;

/* ---- The server ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port that is free just now; 0: none. If it is taken meanwhile, the server says so and ends. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool well = fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &length) == 0;

    if (fd >= 0)
        close(fd);
    return well ? ntohs(address.sin_port) : 0;
}

static void become_server(const char *path)
{
    char port[20];
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    snprintf(port, sizeof(port), "%u", server.port);
    execl(REDIS_SERVER, "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", path,
          "--save", "", "--appendonly", "no", "--daemonize", "no", (char *)NULL);
    _exit(127);
}

static int connect_by_path(const struct line *line)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    line_path(line, address.sun_path, sizeof(address.sun_path));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_by_port(const struct line *line)
{
    struct sockaddr_in address = loopback(server.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

    (void)line;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

static void redis_destroy(struct line *line)
{
    (void)line;
    if (!server.pid)
        return;
    kill(server.pid, SIGKILL); /* it has nothing to save; line_destroy() removes the socket */
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
}

/* It listens at the port first, then at the path. */
static bool server_listens(const struct line *line)
{
    int fd = connect_by_path(line);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool redis_create(struct line *line)
{
    char path[100];

    line_path(line, path, sizeof(path));
    server.port = free_port();
    fflush(NULL);
    server.pid = server.port ? fork() : -1;
    if (server.pid == 0)
        become_server(path);
    if (server.pid < 0) {
        server.pid = 0;
        return team_fails("redis-server: %s", strerror(errno));
    }
    for (int i = 0; i < START_MS && !interrupted(); i++) {
        int status;
        if (server_listens(line))
            return true;
        if (waitpid(server.pid, &status, WNOHANG) == server.pid) {
            server.pid = 0;
            return team_fails("redis-server has ended with status %d", WEXITSTATUS(status));
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    redis_destroy(line);
    return team_fails("redis-server does not start");
}

/* ---- The client: RESP, the protocol of Redis ---- */

static char push_head[80], remove_head[80]; /* what stands before the item */

static void attach_to(struct line *line, int fd)
{
    if (fd < 0)
        give_up("redis-server: %s", strerror(errno));
    line->fd[0] = fd;
    snprintf(push_head, sizeof(push_head), "*3\r\n$5\r\nRPUSH\r\n$4\r\njobs\r\n$%zu\r\n",
             line->item);
    snprintf(remove_head, sizeof(remove_head),
             "*4\r\n$4\r\nLREM\r\n$5\r\ntaken\r\n$1\r\n1\r\n$%zu\r\n", line->item);
}

static void attach_by_path(struct line *line, unsigned sides)
{
    (void)sides;
    attach_to(line, connect_by_path(line));
}

static void attach_by_port(struct line *line, unsigned sides)
{
    (void)sides;
    attach_to(line, connect_by_port(line));
}

static void send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t r = write(fd, bytes, length);
        if (r < 0 && errno != EINTR)
            give_up("Redis: write: %s", strerror(errno));
        if (r > 0) {
            bytes += r;
            length -= (size_t)r;
        }
    }
}

static void command_with_item(struct line *line, const char *head)
{
    char command[sizeof(push_head) + ITEM_MAX + 2];
    size_t length = strlen(head);

    memcpy(command, head, length);
    memcpy(command + length, line->buffer, line->item);
    memcpy(command + length + line->item, "\r\n", 2);
    send_all(line->fd[0], command, length + line->item + 2);
}

/* Read on, at least one byte. Returns how many there are now; a 0 follows them. */
static size_t read_more(int fd, char *reply, size_t size, size_t have)
{
    ssize_t r;

    do {
        r = read(fd, reply + have, size - 1 - have);
    } while (r < 0 && errno == EINTR);
    if (r <= 0)
        give_up("Redis: %s", r < 0 ? strerror(errno) : "the connection has ended");
    reply[have + (size_t)r] = '\0';
    return have + (size_t)r;
}

/*
 * One reply: its type, and the number behind that. Of a string, the number is its length, and -1 if
 * there is none; its bytes are copied to the buffer of the line.
 */
static long long read_reply(struct line *line, char type)
{
    char reply[ITEM_MAX + 64], *end;
    size_t have = 0, head;
    long long number;

    do {
        have = read_more(line->fd[0], reply, sizeof(reply), have);
    } while (!(end = strstr(reply, "\r\n")));
    if (reply[0] != type)
        give_up("Redis: %.60s", reply);
    number = strtoll(reply + 1, NULL, 10);
    if (type != '$' || number < 0)
        return number;
    if ((size_t)number != line->item)
        give_up("Redis: %lld bytes", number);
    head = (size_t)(end - reply) + 2;
    while (have < head + line->item + 2)
        have = read_more(line->fd[0], reply, sizeof(reply), have);
    memcpy(line->buffer, reply + head, line->item);
    return number;
}

static inline void redis_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    command_with_item(line, push_head);
    if (read_reply(line, ':') < 1)
        give_up("Redis: RPUSH has added nothing");
}

#define SEND(fd, text) send_all(fd, text, sizeof(text) - 1)

static inline uint64_t redis_receive(struct line *line)
{
    SEND(line->fd[0],
         "*5\r\n$5\r\nLMOVE\r\n$4\r\njobs\r\n$5\r\ntaken\r\n$4\r\nLEFT\r\n$5\r\nRIGHT\r\n");
    if (read_reply(line, '$') < 0) { /* there is none: wait for one */
        SEND(line->fd[0], "*6\r\n$6\r\nBLMOVE\r\n$4\r\njobs\r\n$5\r\ntaken\r\n$4\r\nLEFT\r\n"
                          "$5\r\nRIGHT\r\n$1\r\n0\r\n");
        read_reply(line, '$');
    }
    uint64_t n = item_check(line->buffer, line->item);
    command_with_item(line, remove_head);
    if (read_reply(line, ':') != 1)
        give_up("Redis: LREM has not found the item");
    return n;
}
LOOPS(redis)

const struct channel channel_redis_port = {.name = "Redis loopback",
                                           .is = PEER,
                                           .item_max = ITEM_MAX,
                                           .no_capacity = true,
                                           .create = redis_create,
                                           .attach = attach_by_port,
                                           .destroy = redis_destroy,
                                           .loops = &redis_loops};
const struct channel channel_redis_path = {.name = "Redis unix socket",
                                           .is = PEER,
                                           .item_max = ITEM_MAX,
                                           .no_capacity = true,
                                           .create = redis_create,
                                           .attach = attach_by_path,
                                           .destroy = redis_destroy,
                                           .loops = &redis_loops};
