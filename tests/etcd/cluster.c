#include "cluster.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Asking ---- */

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
        if (servers->pids[i])
            return i;
    return 0;
}

/* Ask until a server answers with that. */
static const char *ask_until(const char *path, const char *body, const char *expected)
{
    const char *reply = "";
    int64_t deadline = time_now() + TEST_DEADLINE * time_factor();

    while (time_now() < deadline) {
        reply = server_ask(any_running(), path, body);
        if (strstr(reply, expected))
            return reply;
        pause_briefly();
    }
    ck_abort_msg("etcd does not answer %s: %s", path, reply);
    return reply;
}

/* ---- Servers ---- */

void cluster_kill(int i)
{
    servers->wanted[i] = 0;
    wait_until(servers->pids[i] == 0, TEST_DEADLINE);
}

void cluster_start_one(int i)
{
    servers->wanted[i] = 1;
    wait_until(servers->pids[i] != 0, TEST_DEADLINE);
}

void cluster_start(int i)
{
    cluster_start_one(i);
    wait_until(server_answers(i), TEST_DEADLINE);
}

void cluster_stop(int i)
{
    kill(servers->pids[i], SIGSTOP);
}

void cluster_continue(int i)
{
    kill(servers->pids[i], SIGCONT);
}

int cluster_leader(void)
{
    int64_t deadline = time_now() + TEST_DEADLINE * time_factor();

    while (time_now() < deadline) {
        for (int i = 0; i < SERVERS; i++)
            if (servers->pids[i] &&
                strstr(server_ask(i, "/metrics", NULL), "\netcd_server_is_leader 1"))
                return i;
        pause_briefly();
    }
    ck_abort_msg("no server leads");
    return 0;
}

void cluster_restart(void)
{
    for (int i = 0; i < SERVERS; i++)
        cluster_kill(i);
    for (int i = 0; i < SERVERS; i++)
        cluster_start_one(i);
    cluster_leader();
}

void cluster_kill_leaders(int times, int64_t (*count)(void *argument), void *argument, int64_t by)
{
    for (int kills = 0; kills < times; kills++) {
        int leader = cluster_leader();
        int64_t before;

        cluster_kill(leader);
        before = count(argument);
        wait_until(before == COUNT_FAILED || count(argument) - by >= before, TEST_DEADLINE);
        cluster_start(leader);
    }
}

/* ---- Looks and changes from outside ---- */

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

int run_with_cluster(Suite *suite)
{
    int result = EXIT_FAILURE;

    if (!servers_are_there()) {
        print_skipped("tests/etcd", "there is no etcd (Debian package: etcd-server)");
        return 77;
    }
    servers_begin();
    if (servers_wait(TEST_DEADLINE * time_factor())) {
        result = run_tests(suite);
    } else {
        fprintf(stderr, "three servers of etcd do not start\n");
        servers_explain();
    }
    servers_end();
    return result;
}

unsigned long cluster_requests(void)
{
    return servers_requests();
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
