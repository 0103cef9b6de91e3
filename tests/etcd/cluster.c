#include "cluster.h"

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
#include <unistd.h>

/* What all processes of the run share. */
static struct {
    int client_port[SERVERS], peer_port[SERVERS];
    _Atomic pid_t pids[SERVERS]; /* 0: it is not running */
    _Atomic int wanted[SERVERS]; /* whether it is to run */
    _Atomic bool ends;
} * shared;

static char directory[64];

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

/* The reply, with its header; "" if there is none. Valid until the next call. */
static const char *ask(int port, const char *path, const char *body)
{
    static char reply[1 << 18];
    size_t length = 0;
    ssize_t n;
    int fd = connect_to(port);

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

static void base64(char *to, const char *from)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(from);

    for (size_t i = 0; i < n; i += 3) {
        unsigned a = (unsigned char)from[i], b = i + 1 < n ? (unsigned char)from[i + 1] : 0,
                 c = i + 2 < n ? (unsigned char)from[i + 2] : 0;

        *to++ = digits[a >> 2];
        *to++ = digits[(a & 3) << 4 | b >> 4];
        *to++ = i + 1 < n ? digits[(b & 15) << 2 | c >> 6] : '=';
        *to++ = i + 2 < n ? digits[c & 63] : '=';
    }
    *to = '\0';
}

static int any_running(void)
{
    for (int i = 0; i < SERVERS; i++)
        if (shared->pids[i])
            return i;
    return 0;
}

/* Ask until a server answers with that. */
static const char *ask_until(const char *path, const char *body, const char *expected)
{
    const char *reply = "";
    int64_t deadline = time_now() + TEST_DEADLINE * time_factor();

    while (time_now() < deadline) {
        reply = ask(shared->client_port[any_running()], path, body);
        if (strstr(reply, expected))
            return reply;
        pause_briefly();
    }
    ck_abort_msg("etcd does not answer %s: %s", path, reply);
    return reply;
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
                 k ? "," : "", k, shared->peer_port[k]);
    snprintf(name, sizeof(name), "s%d", i);
    snprintf(data, sizeof(data), "%s/s%d", directory, i);
    snprintf(client, sizeof(client), "http://127.0.0.1:%d", shared->client_port[i]);
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", shared->peer_port[i]);
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
    shared->pids[i] = pid;
}

/* In a process of its own: servers run as they are wanted, until the end. */
static void supervise(void)
{
    struct sigaction nothing = {.sa_handler = SIG_DFL};

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigaction(SIGCHLD, &nothing, NULL);
    while (!shared->ends && getppid() != 1) {
        for (int i = 0; i < SERVERS; i++) {
            pid_t pid = shared->pids[i];

            if (shared->wanted[i] && pid == 0) {
                start(i);
            } else if (!shared->wanted[i] && pid != 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                shared->pids[i] = 0;
            }
        }
        usleep(2000);
    }
    for (int i = 0; i < SERVERS; i++) {
        if (shared->pids[i] == 0)
            continue;
        kill(shared->pids[i], SIGKILL);
        waitpid(shared->pids[i], NULL, 0);
    }
    _exit(0);
}

void cluster_kill(int i)
{
    shared->wanted[i] = 0;
    wait_until(shared->pids[i] == 0, TEST_DEADLINE);
}

static bool answers(int i)
{
    return strstr(ask(shared->client_port[i], "/health", NULL), "\"true\"") != NULL;
}

void cluster_start_one(int i)
{
    shared->wanted[i] = 1;
    wait_until(shared->pids[i] != 0, TEST_DEADLINE);
}

void cluster_start(int i)
{
    cluster_start_one(i);
    wait_until(answers(i), TEST_DEADLINE);
}

void cluster_stop(int i)
{
    kill(shared->pids[i], SIGSTOP);
}

void cluster_continue(int i)
{
    kill(shared->pids[i], SIGCONT);
}

int cluster_leader(void)
{
    int64_t deadline = time_now() + TEST_DEADLINE * time_factor();

    while (time_now() < deadline) {
        for (int i = 0; i < SERVERS; i++)
            if (shared->pids[i] &&
                strstr(ask(shared->client_port[i], "/metrics", NULL), "\netcd_server_is_leader 1"))
                return i;
        pause_briefly();
    }
    ck_abort_msg("no server leads");
    return 0;
}

/* ---- Looks and changes from outside ---- */

unsigned long cluster_requests(void)
{
    static const char counter[] = "\ngrpc_server_started_total{";
    unsigned long n = 0;

    for (int i = 0; i < SERVERS; i++) {
        const char *at = ask(shared->client_port[i], "/metrics", NULL);

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

void cluster_compact(void)
{
    const char *reply = ask_until("/v3/kv/range", "{\"key\":\"AA==\"}", "\"revision\":\"");
    char body[80];

    snprintf(body, sizeof(body), "{\"revision\":\"%lu\",\"physical\":true}",
             strtoul(strstr(reply, "\"revision\":\"") + 12, NULL, 10));
    ask_until("/v3/kv/compaction", body, "\"header\"");
}

void cluster_put(const char *key, const char *value)
{
    char k[512], v[512], body[1200];

    base64(k, key);
    base64(v, value);
    snprintf(body, sizeof(body), "{\"key\":\"%s\",\"value\":\"%s\"}", k, v);
    ask_until("/v3/kv/put", body, "\"header\"");
}

int cluster_count(const char *prefix)
{
    char from[512], to[512], end[256], body[1200];
    const char *reply, *count;

    snprintf(end, sizeof(end), "%s", prefix);
    end[strlen(end) - 1]++;
    base64(from, prefix);
    base64(to, end);
    snprintf(body, sizeof(body), "{\"key\":\"%s\",\"range_end\":\"%s\",\"count_only\":true}", from,
             to);
    reply = ask_until("/v3/kv/range", body, "\"header\"");
    count = strstr(reply, "\"count\":\"");
    return count ? atoi(count + 9) : 0;
}

/* ---- The run ---- */

static bool is_installed(const char *program)
{
    char command[64];

    snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

static void start_cluster(void)
{
    char endpoints[256] = "";

    /* not shared_memory(): that is for what runs in a test */
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    snprintf(directory, sizeof(directory), "/tmp/shmkit-test-etcd-XXXXXX");
    if (!mkdtemp(directory)) {
        perror("mkdtemp");
        exit(1);
    }
    for (int i = 0; i < SERVERS; i++) {
        shared->client_port[i] = free_port();
        shared->peer_port[i] = free_port();
        shared->wanted[i] = 1;
        snprintf(endpoints + strlen(endpoints), sizeof(endpoints) - strlen(endpoints),
                 "%s127.0.0.1:%d", i ? ",http://" : "http://", shared->client_port[i]);
    }
    setenv("ETCDCTL_ENDPOINTS", endpoints, 1);
    unsetenv("ETCDCTL_USER");
    unsetenv("ETCDCTL_CACERT");
    unsetenv("http_proxy");
}

static bool wait_for_cluster(void)
{
    int64_t deadline = time_now() + TEST_DEADLINE * time_factor();
    int there = 0;

    while (there < SERVERS && time_now() < deadline) {
        there = 0;
        for (int i = 0; i < SERVERS; i++)
            there += answers(i);
        pause_briefly();
    }
    return there == SERVERS;
}

static void end_cluster(pid_t supervisor)
{
    char command[128];

    shared->ends = true;
    waitpid(supervisor, NULL, 0);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left\n", directory);
}

int run_with_cluster(Suite *suite)
{
    pid_t supervisor;
    int result;

    if (!is_installed("etcd")) {
        print_skipped("tests/etcd", "there is no etcd (Debian package: etcd-server)");
        return 77;
    }
    start_cluster();
    supervisor = fork();
    if (supervisor == 0)
        supervise();
    result = wait_for_cluster() ? run_tests(suite) : 1;
    end_cluster(supervisor);
    return result;
}

const char *etcd_name(void)
{
    static char name[128];

    snprintf(name, sizeof(name), "etcd:%s", segment_name(NULL) + 1);
    return name;
}

struct shk_segment *etcd_segment(void)
{
    struct shk_segment *s;

    assert_code(shk_segment_open(etcd_name(), SHK_CREATE, NULL, &s), 0);
    return s;
}
