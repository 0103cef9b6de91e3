/* The queue on etcd: orders, limits, peeks, and each item once with servers and workers killed. */
#include "cluster.h"
#include "queue.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(test_etcd_queue_gives_items_in_its_order)
{
    static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
    static const char *const expected[][4] = {
        {"a", "b", "c", "d"}, {"d", "c", "b", "a"}, {"a", "b", "c", "d"}};
    struct shk_segment *s = etcd_segment();

    for (int i = 0; i < 3; i++)
        for (size_t capacity = 0; capacity <= 8; capacity += 8) {
            struct shk_queue *queue = queue_open(s, orders[i], capacity);
            char item[64];

            assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
            assert_code(shk_queue_empty(queue), 1);
            for (const char *c = "abcd"; *c; c++)
                assert_code(shk_queue_put(queue, c, 1, SHK_FOREVER), 0);
            assert_code(shk_queue_size(queue), 4);
            for (int k = 0; k < 4; k++)
                queue_get(queue, expected[i][k]);
            assert_code(shk_queue_size(queue), 0);
            assert_code(shk_queue_close(queue), 0);
            assert_code(shk_object_unlink(s, "jobs"), 0);
        }
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_queue_gives_the_lowest_priority_number_first)
{
    static const int64_t priorities[] = {5, -7, 0, INT64_MAX, INT64_MIN, -7};
    static const char *const expected[] = {"4", "1", "5", "2", "0", "3"};
    static const int64_t then[] = {INT64_MIN, -7, -7, 0, 5, INT64_MAX};
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_PRIORITY, 0);
    char digit[2] = "0", item[64];
    int64_t priority;

    for (int i = 0; i < 6; i++, digit[0]++)
        assert_code(shk_queue_put_priority(queue, digit, 1, priorities[i], SHK_FOREVER), 0);
    for (int i = 0; i < 6; i++) {
        assert_code(shk_queue_get_priority(queue, item, sizeof(item), TEST_DEADLINE, &priority), 1);
        ck_assert_int_eq(item[0], expected[i][0]);
        ck_assert_int_eq(priority, then[i]);
    }
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_queue_has_its_limits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 2), *other;
    char item[65] = "", small[1];

    assert_code(shk_queue_capacity(queue), 2);
    assert_code(shk_queue_item_size(queue), 64);
    assert_code(shk_queue_put(queue, item, 65, SHK_NOWAIT), -EMSGSIZE);
    queue_put(queue, "first");
    assert_code(shk_queue_full(queue), 0);
    queue_put(queue, "");
    assert_code(shk_queue_full(queue), 1);
    assert_code(shk_queue_put(queue, "c", 1, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(200), shk_queue_put(queue, "c", 1, SHK_MS(200)), -ETIMEDOUT);
    assert_code(shk_queue_get(queue, small, 1, SHK_NOWAIT), -EMSGSIZE);
    queue_get(queue, "first");
    queue_put(queue, "third");
    queue_get(queue, "");
    queue_get(queue, "third");
    assert_code(shk_queue_open(s, "jobs", 0, &(struct shk_queue_options){.capacity = 3}, &other),
                -EPROTOTYPE);
    assert_code(shk_queue_open(s, "large", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 10001}, &other),
                -EINVAL);
    assert_code(shk_queue_open(s, "bytes", SHK_CREATE,
                               &(struct shk_queue_options){.capacity_bytes = 1000}, &other),
                -ENOTSUP);
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_queue_is_shut_down_and_reopened)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    char item[64];

    queue_put(queue, "left");
    assert_code(shk_queue_is_shut_down(queue), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_is_shut_down(queue), 1);
    assert_code(shk_queue_put(queue, "more", 4, SHK_FOREVER), -EPIPE);
    queue_get(queue, "left");
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), -EPIPE);
    assert_code(shk_queue_reopen(queue), 0);
    queue_put(queue, "again");
    queue_get(queue, "again");
    queue_close(s, queue);
}
END_TEST

static void *get_in_thread(void *queue)
{
    char item[64];

    return (void *)(intptr_t)shk_queue_get(queue, item, sizeof(item), SHK_FOREVER);
}

static void *put_in_thread(void *queue)
{
    return (void *)(intptr_t)shk_queue_put(queue, "x", 1, SHK_FOREVER);
}

START_TEST(test_etcd_queue_that_is_shut_down_ends_its_waits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 1);
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, get_in_thread, queue), 0);
    sleep(1);
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_reopen(queue), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -EPIPE);
    queue_put(queue, "full");
    ck_assert_int_eq(pthread_create(&thread, NULL, put_in_thread, queue), 0);
    sleep(1);
    assert_code(shk_queue_shutdown(queue), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -EPIPE);
    queue_get(queue, "full");
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_queue_puts_and_gets_many)
{
    enum { ITEMS = 150 };
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 100);
    char numbers[ITEMS][8], items[ITEMS][64];
    struct iovec in[ITEMS], out[ITEMS];

    for (int i = 0; i < ITEMS; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%d", i);
        in[i] = (struct iovec){numbers[i], strlen(numbers[i])};
        out[i] = (struct iovec){items[i], sizeof(items[i])};
    }
    assert_code(shk_queue_put_many(queue, in, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_put_many(queue, in, ITEMS, SHK_FOREVER), 100);
    assert_code(shk_queue_put_many(queue, in + 100, ITEMS - 100, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_get_many(queue, out, ITEMS, TEST_DEADLINE), 100);
    for (int i = 0; i < 100; i++)
        ck_assert_msg(out[i].iov_len == in[i].iov_len &&
                          memcmp(items[i], numbers[i], in[i].iov_len) == 0,
                      "item %d is %.*s", i, (int)out[i].iov_len, items[i]);
    assert_code(shk_queue_get_many(queue, out, ITEMS, SHK_NOWAIT), -EAGAIN);
    queue_close(s, queue);
}
END_TEST

/* ---- Peeks ---- */

START_TEST(test_etcd_queue_peeks_and_consumes)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    const void *item;
    char copy[64];

    assert_code(shk_queue_consume(queue), -EPERM);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), -EAGAIN);
    queue_put(queue, "one");
    queue_put(queue, "two");
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 3);
    ck_assert_mem_eq(item, "one", 3);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_queue_get(queue, copy, sizeof(copy), SHK_NOWAIT), -EDEADLK);
    assert_code(shk_queue_close(queue), -EBUSY);
    assert_code(shk_queue_unpeek(queue), 0);
    assert_code(shk_queue_unpeek(queue), -EPERM);
    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 3);
    ck_assert_mem_eq(item, "one", 3);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_size(queue), 1);
    queue_get(queue, "two");
    queue_close(s, queue);
}
END_TEST

struct board {
    _Atomic bool has, ends, frozen_done;
    _Atomic int consumed;
};

static int peek_and_wait(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    const void *item;

    assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 3);
    board->has = true;
    while (!board->ends)
        pause_briefly();
    board->consumed = shk_queue_consume(queue);
    return 0;
}

START_TEST(test_etcd_queue_item_of_a_killed_worker_comes_to_the_next)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t worker = child_start(peek_and_wait, board);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    char item[64];

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EBUSY);
    child_kill(worker);
    queue_get(queue, "one");
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_queue_refuses_the_late_consume_of_a_frozen_worker)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t worker = child_start(peek_and_wait, board);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    const void *item;

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    child_stop(worker);
    assert_code(shk_queue_peek(queue, &item, TEST_DEADLINE), 3);
    board->ends = true;
    child_continue(worker);
    child_succeeds(worker);
    assert_result(board->consumed, -ESTALE);
    assert_code(shk_queue_consume(queue), 0);
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

/* ---- Each item once ---- */

enum { PRODUCERS = 3, CONSUMERS = 2, CAPACITY = 50 };

struct counts {
    unsigned each, batch; /* items of a producer; at a time */
    _Atomic unsigned put, got, twice, disordered;
    _Atomic int64_t longest;
    _Atomic unsigned char seen[PRODUCERS][20000];
};

struct actor {
    struct counts *counts;
    unsigned number;
};

static void note_time(struct counts *c, int64_t begun)
{
    int64_t took = time_now() - begun;

    if (took > c->longest)
        c->longest = took;
}

static int produce(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, CAPACITY);
    char items[64][32];
    struct iovec in[64];
    unsigned next = 0, n;
    int r;

    while (next < a->counts->each) {
        for (n = 0; n < a->counts->batch && next + n < a->counts->each; n++) {
            snprintf(items[n], sizeof(items[n]), "%u %u", a->number, next + n);
            in[n] = (struct iovec){items[n], strlen(items[n]) + 1};
        }
        int64_t begun = time_now();

        r = shk_queue_put_many(queue, in, n, SHK_FOREVER);
        if (r < 0) {
            fprintf(stderr, "put: %s\n", shk_last_error());
            return 1;
        }
        note_time(a->counts, begun);
        next += (unsigned)r;
        a->counts->put += (unsigned)r;
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return 0;
}

/* Items of one producer come to one consumer in their order. */
static int consume(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, CAPACITY);
    unsigned next[PRODUCERS] = {0}, producer, number;
    char items[64][64];
    struct iovec out[64];
    int n;

    for (;;) {
        for (unsigned i = 0; i < 64; i++)
            out[i] = (struct iovec){items[i], sizeof(items[i])};
        n = shk_queue_get_many(queue, out, a->counts->batch, SHK_FOREVER);
        if (n == -EPIPE)
            break;
        if (n < 0) {
            fprintf(stderr, "get: %s\n", shk_last_error());
            return 1;
        }
        for (int i = 0; i < n; i++) {
            if (sscanf(items[i], "%u %u", &producer, &number) != 2 || producer >= PRODUCERS)
                return 2;
            if (atomic_exchange(&a->counts->seen[producer][number], 1))
                a->counts->twice++;
            if (number < next[producer])
                a->counts->disordered++;
            next[producer] = number + 1;
            a->counts->got++;
        }
    }
    shk_queue_close(queue);
    shk_segment_close(s);
    return 0;
}

/* What happens while the items move. */
typedef void trouble(struct counts *, unsigned all);

static void move_items(unsigned each, unsigned batch, trouble *make_trouble, const char *what)
{
    struct counts *counts = shared_memory(sizeof(*counts));
    struct actor actors[PRODUCERS + CONSUMERS];
    pid_t pids[PRODUCERS + CONSUMERS];
    unsigned all = each * PRODUCERS, lost = 0;
    struct shk_segment *s;
    struct shk_queue *queue;
    int64_t begun = time_now();

    counts->each = each;
    counts->batch = batch;
    for (unsigned i = 0; i < PRODUCERS + CONSUMERS; i++) {
        actors[i] = (struct actor){counts, i};
        pids[i] = child_start(i < PRODUCERS ? produce : consume, &actors[i]);
    }
    if (make_trouble)
        make_trouble(counts, all);
    for (unsigned i = 0; i < PRODUCERS; i++)
        child_succeeds(pids[i]);
    s = etcd_segment();
    queue = queue_open(s, SHK_FIFO, CAPACITY);
    assert_code(shk_queue_shutdown(queue), 0);
    for (unsigned i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++)
        child_succeeds(pids[i]);
    for (unsigned p = 0; p < PRODUCERS; p++)
        for (unsigned i = 0; i < each; i++)
            lost += !counts->seen[p][i];
    printf("%s: %u put, %u got, %u lost, %u doubled, %u out of order; %.0f items/s; longest put "
           "%.2f s\n",
           what, counts->put, counts->got, lost, counts->twice, counts->disordered,
           all / ((double)(time_now() - begun) / 1e9), (double)counts->longest / 1e9);
    ck_assert_uint_eq(counts->put, all);
    ck_assert_uint_eq(counts->got, all);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(counts->twice, 0);
    ck_assert_uint_eq(counts->disordered, 0);
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}

/* The bound, as the store has it. */
static void watch_the_bound(struct counts *counts, unsigned all)
{
    char prefix[200];
    int most = 0, n;

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/jobs/slot/", strchr(etcd_name(), ':') + 1);
    while (counts->put < all) {
        n = cluster_count(prefix);
        most = n > most ? n : most;
        ck_assert_int_le(n, CAPACITY);
    }
    printf("at most %d items were seen in a queue of %d\n", most, CAPACITY);
}

START_TEST(test_etcd_queue_moves_each_item_once)
{
    move_items(300, 1, NULL, "one at a time");
    move_items(3000, 20, watch_the_bound, "20 at a time");
}
END_TEST

static void kill_leaders(struct counts *counts, unsigned all)
{
    for (unsigned k = 1; k <= 3; k++) {
        int leader;

        wait_until(counts->got > all * k / 5, TEST_DEADLINE * 4);
        leader = cluster_leader();
        cluster_kill(leader);
        wait_until(counts->got > all * k / 5 + 20, TEST_DEADLINE);
        cluster_start(leader);
    }
}

START_TEST(test_etcd_queue_moves_each_item_once_with_the_leader_killed)
{
    move_items(2000, 10, kill_leaders, "the leader killed 3 times");
}
END_TEST

static void kill_all(struct counts *counts, unsigned all)
{
    for (unsigned k = 1; k <= 2; k++) {
        wait_until(counts->got > all * k / 4, TEST_DEADLINE * 4);
        for (int i = 0; i < SERVERS; i++)
            cluster_kill(i);
        for (int i = 0; i < SERVERS; i++)
            cluster_start_one(i);
    }
}

START_TEST(test_etcd_queue_moves_each_item_once_with_all_servers_killed)
{
    move_items(2000, 10, kill_all, "all servers killed 2 times");
}
END_TEST

static void compact(struct counts *counts, unsigned all)
{
    for (unsigned k = 1; k <= 8; k++) {
        wait_until(counts->got > all * k / 10, TEST_DEADLINE * 4);
        cluster_compact();
    }
}

START_TEST(test_etcd_queue_moves_each_item_once_with_history_compacted)
{
    move_items(1000, 10, compact, "history compacted 8 times");
}
END_TEST

START_TEST(test_etcd_queue_without_a_majority_says_so_and_goes_on)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 4);
    char item[64];

    queue_put(queue, "one");
    queue_get(queue, "one");
    queue_put(queue, "two");
    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    /* it was taken or not; once it comes */
    queue_get(queue, "two");
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_queue_leaves_a_foreign_value_alone)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    char key[200], item[64];

    snprintf(key, sizeof(key), "/shmkit/%s/jobs/slot/mine", strchr(etcd_name(), ':') + 1);
    cluster_put(key, "no item");
    queue_put(queue, "one");
    queue_get(queue, "one");
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_queue_get(queue, item, sizeof(item), SHK_MS(300)),
                      -ETIMEDOUT);
    queue_close(s, queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue on etcd");
    TCase *calls = test_case(suite, "calls"), *peeks = test_case(suite, "peeks"),
          *once = test_case(suite, "once");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(calls, test_etcd_queue_gives_items_in_its_order);
    tcase_add_test(calls, test_etcd_queue_gives_the_lowest_priority_number_first);
    tcase_add_test(calls, test_etcd_queue_has_its_limits);
    tcase_add_test(calls, test_etcd_queue_is_shut_down_and_reopened);
    tcase_add_test(calls, test_etcd_queue_that_is_shut_down_ends_its_waits);
    tcase_add_test(calls, test_etcd_queue_puts_and_gets_many);
    tcase_add_test(calls, test_etcd_queue_leaves_a_foreign_value_alone);
    tcase_add_test(peeks, test_etcd_queue_peeks_and_consumes);
    tcase_add_test(peeks, test_etcd_queue_item_of_a_killed_worker_comes_to_the_next);
    tcase_add_test(peeks, test_etcd_queue_refuses_the_late_consume_of_a_frozen_worker);
    tcase_add_test(once, test_etcd_queue_moves_each_item_once);
    tcase_add_test(once, test_etcd_queue_moves_each_item_once_with_the_leader_killed);
    tcase_add_test(once, test_etcd_queue_moves_each_item_once_with_all_servers_killed);
    tcase_add_test(once, test_etcd_queue_moves_each_item_once_with_history_compacted);
    tcase_add_test(once, test_etcd_queue_without_a_majority_says_so_and_goes_on);
    return run_with_cluster(suite);
}
