#include "servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct servers *servers;

static char directory[64];
static pid_t supervisor;

/* ---- A little HTTP ---- */

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 3};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

const char *server_ask(int server, const char *path, const char *body)
{
    static char reply[1 << 18];
    size_t length = 0;
    ssize_t n;
    int fd = connect_to(servers->client_port[server]);

    reply[0] = '\0';
    if (fd < 0)
        return reply;
    dprintf(fd, "%s %s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s", body ? "POST" : "GET", path,
            body ? strlen(body) : 0, body ? body : "");
    while (length < sizeof(reply) - 1 &&
           (n = read(fd, reply + length, sizeof(reply) - 1 - length)) > 0)
        length += (size_t)n;
    reply[length] = '\0';
    close(fd);
    return reply;
}

bool server_answers(int i)
{
    return strstr(server_ask(i, "/health", NULL), "\"true\"") != NULL;
}

unsigned long servers_requests(void)
{
    static const char counter[] = "\ngrpc_server_started_total{";
    unsigned long n = 0;

    for (int i = 0; i < SERVERS; i++) {
        const char *at = server_ask(i, "/metrics", NULL);

        while ((at = strstr(at, counter)) != NULL) {
            const char *value;

            at += sizeof(counter) - 1;
            value = strstr(at, "} ");
            if (value)
                n += strtoul(value + 2, NULL, 10);
        }
    }
    return n;
}

/* ---- Servers ---- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (bind(fd, (struct sockaddr *)&address, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

static void become_server(int i)
{
    char name[16], data[128], client[64], peer[64], all[256] = "", log[128];
    int fd;

    for (int k = 0; k < SERVERS; k++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%ss%d=http://127.0.0.1:%d",
                 k ? "," : "", k, servers->peer_port[k]);
    snprintf(name, sizeof(name), "s%d", i);
    snprintf(data, sizeof(data), "%s/s%d", directory, i);
    snprintf(client, sizeof(client), "http://127.0.0.1:%d", servers->client_port[i]);
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", servers->peer_port[i]);
    snprintf(log, sizeof(log), "%s/s%d.log", directory, i);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    for (fd = 3; fd < 64; fd++)
        close(fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("etcd", "etcd", "--name", name, "--data-dir", data, "--listen-client-urls", client,
           "--advertise-client-urls", client, "--listen-peer-urls", peer,
           "--initial-advertise-peer-urls", peer, "--initial-cluster", all,
           "--initial-cluster-token", directory, "--auto-compaction-mode", "revision",
           "--auto-compaction-retention", "10000", "--logger", "zap", "--log-level", "error",
           (char *)NULL);
    _exit(127);
}

static void start(int i)
{
    pid_t pid = fork();

    if (pid == 0)
        become_server(i);
    servers->pids[i] = pid;
}

/* In a process of its own: servers run as they are wanted, until the end. */
static void supervise(pid_t parent)
{
    struct sigaction nothing = {.sa_handler = SIG_DFL};

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigaction(SIGCHLD, &nothing, NULL);
    while (!servers->ends && getppid() == parent) {
        for (int i = 0; i < SERVERS; i++) {
            pid_t pid = servers->pids[i];

            if (servers->wanted[i] && pid == 0) {
                start(i);
            } else if (!servers->wanted[i] && pid != 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                servers->pids[i] = 0;
            }
        }
        usleep(2000);
    }
    for (int i = 0; i < SERVERS; i++) {
        if (servers->pids[i] == 0)
            continue;
        kill(servers->pids[i], SIGKILL);
        waitpid(servers->pids[i], NULL, 0);
    }
    _exit(0);
}

/* ---- The run ---- */

bool servers_are_there(void)
{
    return system("command -v etcd >/dev/null 2>&1") == 0;
}

/* The ports, and where their data are. */
static void prepare(void)
{
    char endpoints[256] = "";

    servers =
        mmap(NULL, sizeof(*servers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (servers == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    snprintf(directory, sizeof(directory), "/tmp/shmkit-test-etcd-XXXXXX");
    if (!mkdtemp(directory)) {
        perror("mkdtemp");
        exit(1);
    }
    for (int i = 0; i < SERVERS; i++) {
        servers->client_port[i] = free_port();
        servers->peer_port[i] = free_port();
        servers->wanted[i] = 1;
        snprintf(endpoints + strlen(endpoints), sizeof(endpoints) - strlen(endpoints),
                 "%s127.0.0.1:%d", i ? ",http://" : "http://", servers->client_port[i]);
    }
    setenv("ETCDCTL_ENDPOINTS", endpoints, 1);
    unsetenv("ETCDCTL_USER");
    unsetenv("ETCDCTL_CACERT");
    unsetenv("http_proxy");
}

void servers_begin(void)
{
    pid_t parent = getpid();

    prepare();
    fflush(NULL);
    supervisor = fork();
    if (supervisor == 0)
        supervise(parent);
}

bool servers_wait(int64_t ns)
{
    struct timespec pause = {.tv_nsec = 5000000};
    int there = 0;

    for (int64_t waited = 0; there < SERVERS && waited < ns; waited += pause.tv_nsec) {
        nanosleep(&pause, NULL);
        there = 0;
        for (int i = 0; i < SERVERS; i++)
            there += server_answers(i);
    }
    return there == SERVERS;
}

void servers_explain(void)
{
    char path[128], line[1024];
    FILE *log;

    for (int i = 0; i < SERVERS; i++) {
        fprintf(stderr, "etcd s%d, process %d, at http://127.0.0.1:%d: %s\n", i,
                (int)servers->pids[i], servers->client_port[i],
                server_answers(i) ? "answers" : "does not answer");
        snprintf(path, sizeof(path), "%s/s%d.log", directory, i);
        log = fopen(path, "re");
        for (int n = 0; log && n < 10 && fgets(line, sizeof(line), log); n++)
            fprintf(stderr, "    %s", line);
        if (log)
            fclose(log);
    }
}

void servers_end(void)
{
    char command[128];

    servers->ends = true;
    waitpid(supervisor, NULL, 0);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left\n", directory);
}
