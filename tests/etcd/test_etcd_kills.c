/*
 * Servers and workers killed while 3 producers and 2 consumers move items: each comes once. How
 * many there are: $ETCD_ITEMS, 20,000 in make soak-etcd.
 */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRODUCERS = 3, CAPACITY = 200, BATCH = 10, MOST = 100000, WORKERS_KILLED = 5 };

/*
 * In handed_out: it was consumed, or not, by a worker that was killed, or told that etcd does not
 * answer. If no other one has it later, it was.
 */
#define UNKNOWN 0x80

struct account {
    unsigned each;
    _Atomic unsigned put, got, redelivered, workers_killed;
    _Atomic int64_t last_get, gap;
    /* an item that a worker is about to consume: number + 1 */
    _Atomic unsigned in_consume;
    _Atomic bool works; /* on an item that it has peeked */
    _Atomic unsigned char seen[MOST], handed_out[MOST];
};

struct actor {
    struct account *account;
    unsigned number;
};

static struct shk_queue *open_queue(struct shk_segment *s)
{
    const struct shk_queue_options options = {.capacity = CAPACITY, .item_size = 32};
    struct shk_queue *queue;

    assert_code(shk_queue_open(s, "jobs", SHK_CREATE, &options, &queue), 0);
    return queue;
}

static int produce(void *argument)
{
    struct actor *actor = argument;
    struct account *a = actor->account;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s);
    char text[BATCH][32];
    struct iovec items[BATCH];
    unsigned next = 0, n;
    int r;

    while (next < a->each) {
        for (n = 0; n < BATCH && next + n < a->each; n++) {
            snprintf(text[n], sizeof(text[n]), "%u", actor->number * a->each + next + n);
            items[n] = (struct iovec){text[n], strlen(text[n]) + 1};
        }
        r = shk_queue_put_many(queue, items, n, SHK_FOREVER);
        if (r < 0) {
            fprintf(stderr, "put: %s\n", shk_last_error());
            return 1;
        }
        next += (unsigned)r;
        a->put += (unsigned)r;
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return 0;
}

static void note(struct account *a, unsigned number)
{
    int64_t now = time_now(), gap = now - atomic_exchange(&a->last_get, now);

    if (gap > a->gap)
        a->gap = gap;
    a->seen[number]++;
    a->got++;
}

static int consume(void *argument)
{
    struct account *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s);
    char text[BATCH][32];
    struct iovec items[BATCH];
    int n;

    for (;;) {
        for (int i = 0; i < BATCH; i++)
            items[i] = (struct iovec){text[i], sizeof(text[i])};
        n = shk_queue_get_many(queue, items, BATCH, SHK_FOREVER);
        if (n < 0)
            break;
        for (int i = 0; i < n; i++) {
            a->redelivered += a->handed_out[atoi(text[i])] > 0;
            note(a, (unsigned)atoi(text[i]));
        }
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return n == -EPIPE ? 0 : 1;
}

/* A consume that is refused since the lease has ended in the meantime: it is another one's item. */
static int work(void *argument)
{
    struct account *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = open_queue(s);
    const void *item;
    unsigned number;
    ssize_t n;
    int r;

    while ((n = shk_queue_peek(queue, &item, SHK_FOREVER)) >= 0) {
        number = (unsigned)atoi(item);
        a->redelivered += atomic_fetch_add(&a->handed_out[number], 1) > 0;
        a->works = true; /* when every other kill comes */
        usleep(20000);
        a->works = false;
        a->in_consume = number + 1;
        r = shk_queue_consume(queue);
        if (r == 0)
            note(a, number);
        a->in_consume = 0;
        if (r == -EHOSTUNREACH)
            a->handed_out[number] |= UNKNOWN;
        else if (r < 0 && r != -ESTALE) {
            fprintf(stderr, "consume: %s\n", shk_last_error());
            return 2;
        }
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return n == -EPIPE ? 0 : 1;
}

/* Workers, one after the other, each of which is killed. */
static int kill_workers(void *argument)
{
    struct account *a = argument;
    unsigned seed = (unsigned)getpid(), unknown;
    pid_t worker;

    for (int kills = 0; kills < WORKERS_KILLED; kills++) {
        worker = child_start(work, a);
        usleep(300000 + (unsigned)rand_r(&seed) % 700000);
        for (int64_t end = time_now() + SHK_SEC(3);
             kills % 2 == 0 && time_now() < end && !a->works;)
            pause_briefly();
        child_kill(worker);
        a->works = false;
        a->workers_killed++;
        unknown = atomic_exchange(&a->in_consume, 0);
        if (unknown && a->seen[unknown - 1] == 0)
            a->handed_out[unknown - 1] |= UNKNOWN;
    }
    worker = child_start(work, a);
    return child_wait(worker);
}

static void kill_some(struct account *a, const bool *which, const char *what)
{
    unsigned before;
    int64_t end;

    a->gap = 0;
    for (int i = 0; i < SERVERS; i++)
        if (which[i])
            cluster_kill(i);
    end = time_now() + SHK_SEC(1);
    while (time_now() < end)
        pause_briefly();
    for (int i = 0; i < SERVERS; i++)
        if (which[i])
            cluster_start_one(i);
    before = a->got;
    wait_until(a->got > before + 50 || a->got >= a->each * PRODUCERS - CAPACITY, TEST_DEADLINE * 2);
    printf("%s killed: longest gap between two items %.2f s\n", what, (double)a->gap / 1e9);
}

START_TEST(test_etcd_items_come_once_whatever_is_killed)
{
    struct account *a = shared_memory(sizeof(*a));
    const char *wanted = getenv("ETCD_ITEMS");
    struct actor producers[PRODUCERS];
    pid_t pids[PRODUCERS], consumer, workers;
    unsigned all, lost = 0, doubled = 0, unknown = 0;
    int64_t begun = time_now();
    struct shk_segment *s;
    struct shk_queue *queue;

    all = wanted ? (unsigned)atoi(wanted) : 4000;
    ck_assert_uint_le(all, MOST);
    a->each = all / PRODUCERS;
    all = a->each * PRODUCERS;
    a->last_get = begun;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct actor){a, i};
        pids[i] = child_start(produce, &producers[i]);
    }
    consumer = child_start(consume, a);
    workers = child_start(kill_workers, a);
    for (unsigned k = 1; k <= 3; k++) {
        static const char *const names[] = {"a follower", "the leader", "all"};
        int leader;
        bool which[SERVERS];

        wait_until(a->got >= all * k / 5, TEST_DEADLINE * 4);
        leader = cluster_leader();
        for (int i = 0; i < SERVERS; i++)
            which[i] = k == 3 || i == (leader + (k == 1)) % SERVERS;
        kill_some(a, which, names[k - 1]);
    }
    for (unsigned i = 0; i < PRODUCERS; i++)
        child_succeeds(pids[i]);
    /* Once it is shut down, and empty, a worker ends by itself. */
    wait_until(a->workers_killed == WORKERS_KILLED, TEST_DEADLINE);
    s = etcd_segment();
    queue = open_queue(s);
    assert_code(shk_queue_shutdown(queue), 0);
    child_succeeds(consumer);
    child_succeeds(workers);
    assert_code(shk_queue_size(queue), 0);
    for (unsigned i = 0; i < all; i++) {
        doubled += a->seen[i] > 1;
        unknown += a->seen[i] == 0 && a->handed_out[i] & UNKNOWN;
        lost += a->seen[i] == 0 && !(a->handed_out[i] & UNKNOWN);
    }
    printf("5 servers and %u workers killed: %u put, %u got, %u taken by a worker that could not "
           "say so, %u lost, %u doubled, %u redelivered; %.0f items/s\n",
           (unsigned)a->workers_killed, (unsigned)a->put, (unsigned)a->got, unknown, lost, doubled,
           (unsigned)a->redelivered, all / ((double)(time_now() - begun) / 1e9));
    ck_assert_uint_eq(a->put, all);
    ck_assert_uint_eq(a->got + unknown, all);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(doubled, 0);
    ck_assert_uint_ge(a->redelivered, 1);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kills on etcd");
    TCase *kills = test_case(suite, "kills");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(kills, test_etcd_items_come_once_whatever_is_killed);
    return run_with_cluster(suite);
}
