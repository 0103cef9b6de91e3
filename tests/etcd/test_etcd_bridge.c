/*
 * The bridge to real servers: it is killed, and so are they, at random while items are put and
 * taken; and how it looks while nothing happens. How many items there are: $ETCD_ITEMS, 20,000 in
 * make soak-etcd.
 */
#include "bridge.h"
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPOOL 200 /* items that the local queue holds */

struct account {
    unsigned all; /* items to be put */
    _Atomic bool ends;
    _Atomic unsigned put, got, lost, doubled, kills;
    _Atomic int64_t longest_put, last_get, gap;
};

static const char *const quiet[] = {"-q", NULL};
static char from[160], to[160];

static struct shk_queue *open_spool(void)
{
    const struct shk_queue_options options = {.capacity = SPOOL, .item_size = 32};
    struct shk_queue *queue;

    snprintf(from, sizeof(from), "%s/spool", segment_name(NULL));
    snprintf(to, sizeof(to), "%s/jobs", etcd_name());
    assert_code(shk_queue_open(test_segment(), "spool", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static struct shk_queue *open_target(struct shk_segment *s, size_t capacity)
{
    const struct shk_queue_options options = {.capacity = capacity, .item_size = 32};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static int produce(void *argument)
{
    struct account *a = argument;
    struct shk_queue *queue = open_spool();
    char item[32];
    int64_t begun;

    while (a->put < a->all) {
        snprintf(item, sizeof(item), "%u", a->put);
        begun = time_now();
        if (shk_queue_put(queue, item, strlen(item), SHK_FOREVER) != 0)
            return 1;
        begun = time_now() - begun;
        if (begun > a->longest_put)
            a->longest_put = begun;
        a->put++;
    }
    shk_queue_close(queue);
    return 0;
}

static int consume(void *argument)
{
    struct account *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_target(s, 100);
    char item[33];
    int64_t now;
    ssize_t n;

    while ((n = shk_queue_get(queue, item, sizeof(item) - 1, SHK_FOREVER)) >= 0) {
        unsigned number, next = a->got + a->lost;

        item[n] = '\0';
        number = (unsigned)atoi(item);
        if (number < next) {
            a->doubled++;
            continue;
        }
        a->lost += number - next;
        a->got++;
        now = time_now();
        if (now - a->last_get > a->gap)
            a->gap = now - a->last_get;
        a->last_get = now;
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return n == -EPIPE ? 0 : 1;
}

/*
 * Bridges, one after the other, each of which is killed within some milliseconds. Each second one
 * has carried something before that: on a busy machine none of them would come so far.
 */
static int kill_bridges(void *argument)
{
    struct account *a = argument;
    unsigned seed = (unsigned)getpid(), before;
    pid_t bridge;

    while (!a->ends) {
        before = a->got;
        bridge = bridge_start(from, to, quiet);
        usleep(20000 + (unsigned)rand_r(&seed) % 400000);
        while (a->kills % 2 && a->got == before && !a->ends)
            usleep(1000);
        if (a->ends)
            child_kill(bridge);
        else
            child_kill(bridge), a->kills++;
    }
    return 0;
}

/* However long it takes: as long as some come. */
static void await_items(struct account *a, const _Atomic unsigned *count, unsigned wanted)
{
    while (*count < wanted) {
        unsigned some = *count + 100 < wanted ? *count + 100 : wanted;

        wait_until(*count >= some || a->lost, TEST_DEADLINE * 2);
        ck_assert_uint_eq(a->lost, 0);
    }
}

static void kill_some(struct account *a, const bool *which, const char *what)
{
    unsigned before;

    a->gap = 0;
    for (int i = 0; i < SERVERS; i++)
        if (which[i])
            cluster_kill(i);
    usleep(500000);
    for (int i = 0; i < SERVERS; i++)
        if (which[i])
            cluster_start_one(i);
    before = a->got;
    await_items(a, &a->got, before + 200 < a->all ? before + 200 : a->all);
    printf("%s killed: longest gap between two items %.2f s\n", what, (double)a->gap / 1e9);
}

START_TEST(test_etcd_bridge_killed_at_random_carries_each_item_once)
{
    struct account *a = shared_memory(sizeof(*a));
    const char *wanted = getenv("ETCD_ITEMS");
    struct shk_queue *spool = open_spool(), *queue;
    pid_t producer, consumer, killer, last;
    struct shk_segment *s;
    int64_t begun = time_now();

    a->all = wanted ? (unsigned)atoi(wanted) : 4000;
    s = etcd_segment();
    queue = open_target(s, 100);
    producer = child_start(produce, a);
    consumer = child_start(consume, a);
    killer = child_start(kill_bridges, a);
    for (unsigned k = 1; k <= 3; k++) {
        static const char *const names[] = {"the leader", "a follower", "all"};
        int leader;
        bool which[SERVERS];

        await_items(a, &a->got, a->all * k / 5);
        leader = cluster_leader();
        for (int i = 0; i < SERVERS; i++)
            which[i] = k == 3 || i == (leader + (k == 2)) % SERVERS;
        kill_some(a, which, names[k - 1]);
    }
    await_items(a, &a->put, a->all);
    child_succeeds(producer);
    a->ends = true;
    child_succeeds(killer);
    last = bridge_start(from, to, quiet);
    wait_until(shk_queue_size(spool) == 0 && a->got + a->lost >= a->all, TEST_DEADLINE * 2);
    kill(last, SIGTERM);
    ck_assert_int_eq(child_wait(last), 128 + SIGTERM);
    assert_code(shk_queue_shutdown(queue), 0);
    child_succeeds(consumer);
    printf("bridge killed %u times, servers 5 times: %u put, %u got, %u lost, %u doubled; %.0f "
           "items/s; longest local put %.2f s\n",
           (unsigned)a->kills, (unsigned)a->put, (unsigned)a->got, (unsigned)a->lost,
           (unsigned)a->doubled, a->all / ((double)(time_now() - begun) / 1e9),
           (double)a->longest_put / 1e9);
    ck_assert_uint_eq(a->got, a->all);
    ck_assert_uint_eq(a->lost, 0);
    ck_assert_uint_eq(a->doubled, 0);
    ck_assert_uint_ge(a->kills, 5);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_close(spool), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* No server for longer than a lease: the spool fills, and then each item comes once. */
START_TEST(test_etcd_bridge_without_a_server_spools)
{
    struct shk_queue *spool = open_spool(), *queue;
    struct shk_segment *s = etcd_segment();
    pid_t bridge;
    char item[33];
    ssize_t n;

    queue = open_target(s, 0);
    bridge = bridge_start(from, to, quiet);
    assert_code(shk_queue_put(spool, "first", 5, SHK_FOREVER), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 5);
    for (int i = 0; i < SERVERS; i++)
        cluster_kill(i);
    for (unsigned i = 0; i < SPOOL; i++) {
        n = snprintf(item, sizeof(item), "%u", i);
        assert_code(shk_queue_put(spool, item, (size_t)n, SHK_FOREVER), 0);
    }
    assert_code_after(SHK_SEC(3), shk_queue_put(spool, "more", 4, SHK_SEC(3)), -ETIMEDOUT);
    for (int i = 0; i < SERVERS; i++)
        cluster_start_one(i);
    assert_code(shk_queue_put(spool, "200", 3, TEST_DEADLINE), 0);
    for (int i = 0; i <= SPOOL; i++) {
        n = shk_queue_get(queue, item, sizeof(item) - 1, TEST_DEADLINE);
        ck_assert_msg(n > 0, "item %d: %s", i, shk_last_error());
        item[n] = '\0';
        ck_assert_int_eq(atoi(item), i);
    }
    assert_code(shk_queue_shutdown(spool), 0);
    ck_assert_int_eq(child_wait(bridge), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_close(spool), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

/* As test_etcd_segment_asks_for_nothing_while_it_waits: two leases are kept alive. */
START_TEST(test_etcd_bridge_asks_for_nothing_while_there_is_no_item)
{
    struct shk_queue *spool = open_spool(), *queue;
    struct shk_segment *s = etcd_segment();
    unsigned long before, after;
    pid_t bridge;
    char item[33];

    queue = open_target(s, 4);
    bridge = bridge_start(from, to, quiet);
    assert_code(shk_queue_put(spool, "first", 5, SHK_FOREVER), 0);
    assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 5);
    sleep(1);
    before = cluster_requests();
    sleep(6);
    after = cluster_requests();
    printf("%lu requests in 6 s, by the bridge and a consumer\n", after - before);
    ck_assert_uint_ge(after - before, 6);
    ck_assert_uint_le(after - before, 16);
    assert_code(shk_queue_shutdown(spool), 0);
    ck_assert_int_eq(child_wait(bridge), 0);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_queue_close(spool), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridge to etcd");
    TCase *bridge = test_case(suite, "bridge");

    tcase_add_test(bridge, test_etcd_bridge_killed_at_random_carries_each_item_once);
    tcase_add_test(bridge, test_etcd_bridge_without_a_server_spools);
    tcase_add_test(bridge, test_etcd_bridge_asks_for_nothing_while_there_is_no_item);
    return run_with_cluster(suite);
}
