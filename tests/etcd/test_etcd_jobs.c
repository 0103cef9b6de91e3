/* Jobs in a queue on etcd: tasks and joins, leases, and what comes back from workers that end. */
#include "cluster.h"
#include "queue.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t lease(struct shk_queue *queue, const char *expected)
{
    uint64_t ticket;
    char item[64];
    ssize_t n = shk_queue_lease(queue, item, sizeof(item), TEST_DEADLINE, &ticket);

    ck_assert_msg(n == (ssize_t)strlen(expected) && memcmp(item, expected, (size_t)n) == 0,
                  "leased %zd bytes, \"%.*s\", not \"%s\": %s", n, n > 0 ? (int)n : 0, item,
                  expected, n < 0 ? shk_last_error() : "");
    return ticket;
}

static unsigned attempts(struct shk_queue *queue, uint64_t ticket)
{
    struct shk_lease_info info;

    assert_code(shk_queue_lease_info(queue, ticket, &info), 0);
    ck_assert_uint_eq(info.ticket, ticket);
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_int_ge(info.since, 0);
    return info.attempts;
}

static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};

/* ---- Tasks ---- */

static void *join_in_thread(void *queue)
{
    return (void *)(intptr_t)shk_queue_join(queue, TEST_DEADLINE);
}

START_TEST(test_etcd_jobs_join_waits_for_items_and_tasks)
{
    struct shk_segment *s = etcd_segment();

    for (int i = 0; i < 3; i++) {
        struct shk_queue *queue = queue_open(s, orders[i], 10);
        char items[2][64];
        struct iovec two[] = {{items[0], 64}, {items[1], 64}};
        const void *item;
        pthread_t joiner;
        void *result;

        assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
        assert_code(shk_queue_task_done(queue), -EINVAL);
        for (const char *c = "abcd"; *c; c++)
            assert_code(shk_queue_put(queue, c, 1, SHK_FOREVER), 0);
        assert_code(shk_queue_unfinished(queue), 4);
        assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_get_many(queue, two, 2, SHK_FOREVER), 2);
        assert_code(shk_queue_peek(queue, &item, SHK_FOREVER), 1);
        assert_code(shk_queue_consume(queue), 0);
        assert_code(shk_queue_get(queue, items[0], 64, SHK_FOREVER), 1);
        assert_code(shk_queue_size(queue), 0);
        assert_code(shk_queue_unfinished(queue), 4);
        for (int k = 0; k < 3; k++)
            assert_code(shk_queue_task_done(queue), 0);
        assert_code_after(SHK_MS(300), shk_queue_join(queue, SHK_MS(300)), -ETIMEDOUT);
        ck_assert_int_eq(pthread_create(&joiner, NULL, join_in_thread, queue), 0);
        usleep(300000); /* it waits by now, most likely */
        assert_code(shk_queue_task_done(queue), 0);
        pthread_join(joiner, &result);
        assert_result((intptr_t)result, 0);
        assert_code(shk_queue_unfinished(queue), 0);
        assert_code(shk_queue_task_done(queue), -EINVAL);
        assert_code(shk_queue_close(queue), 0);
        assert_code(shk_object_unlink(s, "jobs"), 0);
    }
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

struct board {
    _Atomic bool has, ends;
    _Atomic int result, attempts, worked;
    _Atomic uint64_t ticket;
};

static int get_and_wait(void *argument)
{
    struct board *board = argument;
    struct shk_queue *queue = queue_open(etcd_segment(), SHK_FIFO, 0);
    char item[64];

    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_FOREVER), 3);
    board->has = true;
    while (!board->ends)
        pause_briefly();
    board->result = shk_queue_task_done(queue);
    assert_code(shk_queue_close(queue), 0);
    return 0;
}

START_TEST(test_etcd_jobs_join_waits_for_a_task_of_another_process)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    pid_t worker = child_start(get_and_wait, board);
    pthread_t joiner;
    void *result;

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    assert_code(shk_queue_unfinished(queue), 1);
    ck_assert_int_eq(pthread_create(&joiner, NULL, join_in_thread, queue), 0);
    usleep(300000);
    board->ends = true;
    pthread_join(joiner, &result);
    assert_result((intptr_t)result, 0);
    child_succeeds(worker);
    assert_result(board->result, 0);
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_jobs_join_tells_once_of_a_worker_that_died)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    pid_t worker = child_start(get_and_wait, board);

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    child_kill(worker);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN); /* its lease lasts */
    assert_code(shk_queue_join(queue, TEST_DEADLINE), SHK_ORPHANED);
    assert_code(shk_queue_join(queue, TEST_DEADLINE), 0);
    assert_code(shk_queue_unfinished(queue), 0);
    queue_close(s, queue);
}
END_TEST

/*
 * Stopped for longer than its lease: its task is no longer waited for, and its end harms nothing.
 */
START_TEST(test_etcd_jobs_join_does_not_wait_for_a_frozen_worker)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    pid_t worker = child_start(get_and_wait, board);

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    child_stop(worker);
    assert_code(shk_queue_join(queue, TEST_DEADLINE), SHK_ORPHANED);
    board->ends = true;
    child_continue(worker);
    child_succeeds(worker);
    assert_result(board->result, 0);
    assert_code(shk_queue_join(queue, TEST_DEADLINE), 0);
    queue_close(s, queue);
}
END_TEST

/* ---- Leases ---- */

/* A consumer takes the first item of those that it has been told of. */
static bool is_told_of(struct shk_queue *queue, const char *first)
{
    const void *item;
    bool is_first =
        shk_queue_peek(queue, &item, TEST_DEADLINE) == 1 && *(const char *)item == *first;

    assert_code(shk_queue_unpeek(queue), 0);
    return is_first;
}

START_TEST(test_etcd_jobs_are_leased_several_at_a_time)
{
    static const char *const expected[][3] = {{"a", "b", "c"}, {"c", "b", "a"}, {"a", "b", "c"}};
    struct shk_segment *s = etcd_segment();

    for (int i = 0; i < 3; i++) {
        struct shk_queue *queue = queue_open(s, orders[i], 3);
        uint64_t first, second, third;
        char item[64];

        assert_code(shk_queue_lease(queue, item, 64, SHK_NOWAIT, &first), -EAGAIN);
        for (const char *c = "abc"; *c; c++)
            assert_code(shk_queue_put(queue, c, 1, SHK_FOREVER), 0);
        wait_until(is_told_of(queue, expected[i][0]), TEST_DEADLINE);
        assert_code(shk_queue_lease(queue, item, 0, SHK_NOWAIT, &first), -EMSGSIZE);
        first = lease(queue, expected[i][0]);
        second = lease(queue, expected[i][1]);
        ck_assert_uint_ne(first, second);
        ck_assert_uint_eq(attempts(queue, first), 1);
        /* what is leased counts for the capacity, and keeps a join waiting */
        assert_code(shk_queue_put(queue, "d", 1, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_ack(queue, second), 0);
        assert_code(shk_queue_ack(queue, second), -ENOENT);
        assert_code(shk_queue_nack(queue, second, 0), -ENOENT);
        /* what comes back goes before what waits */
        assert_code(shk_queue_nack(queue, first, 0), 0);
        assert_code(shk_queue_ack(queue, first), -ENOENT);
        first = lease(queue, expected[i][0]);
        ck_assert_uint_eq(attempts(queue, first), 2);
        third = lease(queue, expected[i][2]);
        ck_assert_uint_eq(attempts(queue, third), 1);
        assert_code(shk_queue_lease(queue, item, 64, SHK_NOWAIT, &second), -EAGAIN);
        assert_code(shk_queue_ack(queue, third), 0);
        assert_code(shk_queue_ack(queue, first), 0);
        assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
        assert_code(shk_queue_size(queue), 0);
        assert_code(shk_queue_close(queue), 0);
        assert_code(shk_object_unlink(s, "jobs"), 0);
    }
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

START_TEST(test_etcd_jobs_that_come_back_go_before_others_of_a_lifo_queue)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_LIFO, 0);
    uint64_t ticket;

    queue_put(queue, "old");
    ticket = lease(queue, "old");
    queue_put(queue, "new");
    assert_code(shk_queue_nack(queue, ticket, -1), 0); /* which does not count */
    ticket = lease(queue, "old");
    ck_assert_uint_eq(attempts(queue, ticket), 1);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    queue_get(queue, "old"); /* any call that takes an item may be given it */
    queue_get(queue, "new");
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_jobs_come_back_after_their_delay)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    uint64_t ticket;
    int64_t begun;
    char item[64];

    queue_put(queue, "one");
    queue_put(queue, "two");
    ticket = lease(queue, "one");
    begun = time_now();
    assert_code(shk_queue_nack(queue, ticket, SHK_SEC(1)), 0);
    queue_get(queue, "two");
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    ticket = lease(queue, "one");
    ck_assert_int_ge(time_now() - begun, SHK_SEC(1));
    ck_assert_uint_eq(attempts(queue, ticket), 2);
    assert_code(shk_queue_ack(queue, ticket), 0);
    queue_close(s, queue);
}
END_TEST

static int lease_and_wait(void *argument)
{
    struct board *board = argument;
    struct shk_queue *queue = queue_open(etcd_segment(), SHK_FIFO, 0);
    uint64_t ticket = lease(queue, "one");

    board->attempts = (int)attempts(queue, ticket);
    board->ticket = ticket;
    board->has = true;
    while (!board->ends)
        pause_briefly();
    board->result = shk_queue_ack(queue, ticket);
    return 0;
}

START_TEST(test_etcd_jobs_of_a_killed_worker_come_back_and_say_so)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t worker = child_start(lease_and_wait, board);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    uint64_t ticket;
    char item[64];

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    queue_put(queue, "two");
    assert_code(shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE), 3); /* "two" */
    assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_ack(queue, board->ticket), -EPERM);
    queue_put(queue, "three");
    child_kill(worker);
    ck_assert_int_eq(board->attempts, 1);
    queue_get(queue, "three");
    ticket = lease(queue, "one");
    ck_assert_uint_eq(attempts(queue, ticket), 2);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

START_TEST(test_etcd_jobs_refuse_the_late_ack_of_a_frozen_worker)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t worker = child_start(lease_and_wait, board);
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    uint64_t ticket;

    queue_put(queue, "one");
    wait_until(board->has, TEST_DEADLINE);
    child_stop(worker);
    ticket = lease(queue, "one");
    ck_assert_uint_eq(attempts(queue, ticket), 2);
    board->ends = true;
    child_continue(worker);
    child_succeeds(worker);
    assert_result(board->result, -ENOENT);
    assert_code(shk_queue_ack(queue, ticket), 0);
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

static void *get_in_thread(void *queue)
{
    char item[64];

    return (void *)(intptr_t)shk_queue_get(queue, item, sizeof(item), TEST_DEADLINE);
}

START_TEST(test_etcd_jobs_are_not_drained_while_one_is_leased)
{
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    pthread_t getter;
    uint64_t ticket;
    void *result;

    queue_put(queue, "one");
    ticket = lease(queue, "one");
    assert_code(shk_queue_shutdown(queue), 0);
    ck_assert_int_eq(pthread_create(&getter, NULL, get_in_thread, queue), 0);
    usleep(300000);
    assert_code(shk_queue_nack(queue, ticket, 0), 0);
    pthread_join(getter, &result);
    assert_result((intptr_t)result, 3);
    assert_result((intptr_t)get_in_thread(queue), -EPIPE);
    queue_close(s, queue);
}
END_TEST

/* ---- Workers that want the same job ---- */

enum { RIVALS = 4, WANTED = 400 };

struct race {
    _Atomic bool begins;
    _Atomic unsigned ready, leased, peeked, wrong;
};

/* Odd ones peek, even ones lease. The jobs of one producer come to each worker in order. */
static int race(struct race *race, bool peeks)
{
    struct shk_queue *queue;
    int last = -1, number;
    const void *peeked;
    uint64_t ticket;
    char item[64];
    ssize_t n;

    setenv("SHMKIT_ETCD_TTL", "60", 1); /* no lease ends, however slow it is */
    queue = queue_open(etcd_segment(), SHK_FIFO, 0);
    race->ready++;
    while (!race->begins)
        pause_briefly();
    for (;;) {
        n = peeks ? shk_queue_peek(queue, &peeked, SHK_FOREVER)
                  : shk_queue_lease(queue, item, sizeof(item), SHK_FOREVER, &ticket);
        if (n < 0)
            break;
        if (peeks)
            memcpy(item, peeked, (size_t)n);
        number = atoi(item);
        race->wrong += number <= last;
        last = number;
        assert_code(peeks ? shk_queue_consume(queue) : shk_queue_ack(queue, ticket), 0);
        peeks ? race->peeked++ : race->leased++;
    }
    assert_code((int)n, -EPIPE);
    return 0;
}

static int race_to_peek(void *argument)
{
    return race(argument, true);
}

static int race_to_lease(void *argument)
{
    return race(argument, false);
}

/*
 * Each job costs a request for its claim, and one for its end. A request that finds all of the jobs
 * taken that it names costs one more, but tells of eight.
 */
START_TEST(test_etcd_jobs_that_several_want_cost_a_request_each)
{
    struct race *all = shared_memory(sizeof(*all));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    char numbers[WANTED][8];
    struct iovec jobs[WANTED];
    pid_t workers[RIVALS];
    unsigned long before;
    int64_t deadline;

    for (int i = 0; i < WANTED; i++)
        jobs[i] = (struct iovec){numbers[i], (size_t)snprintf(numbers[i], 8, "%d", i) + 1};
    assert_code(shk_queue_put_many(queue, jobs, WANTED, SHK_FOREVER), WANTED);
    for (int i = 0; i < RIVALS; i++)
        workers[i] = child_start(i % 2 ? race_to_peek : race_to_lease, all);
    wait_until(all->ready == RIVALS, TEST_DEADLINE);
    before = cluster_requests();
    all->begins = true;
    deadline = time_now() + TEST_DEADLINE * 4 * time_factor();
    while (all->leased + all->peeked < WANTED && time_now() < deadline)
        pause_briefly();
    printf("%d jobs, %u leased and %u peeked by %d workers: %.2f requests each\n", WANTED,
           all->leased, all->peeked, RIVALS, (double)(cluster_requests() - before) / WANTED);
    ck_assert_uint_eq(all->leased + all->peeked, WANTED);
    ck_assert_uint_le(cluster_requests() - before, WANTED * 3);
    ck_assert_uint_eq(all->wrong, 0);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < RIVALS; i++)
        child_succeeds(workers[i]);
    queue_close(s, queue);
}
END_TEST

/* ---- Each job once, or more often with a worker killed, and never less ---- */

enum { JOBS = 600, WORKERS = 3 };

struct work {
    _Atomic unsigned acknowledged, again, twice, unknown;
    _Atomic unsigned char acks[JOBS];
};

static int work(void *argument)
{
    struct work *work = argument;
    struct shk_queue *queue = queue_open(etcd_segment(), SHK_FIFO, 0);
    struct shk_lease_info info;
    uint64_t ticket;
    char item[64];
    ssize_t n;
    int r;

    while ((n = shk_queue_lease(queue, item, sizeof(item), SHK_FOREVER, &ticket)) >= 0) {
        if (shk_queue_lease_info(queue, ticket, &info) == 0 && info.attempts > 1)
            work->again++;
        r = shk_queue_ack(queue, ticket);
        if (r == 0) {
            work->twice += atomic_fetch_add(&work->acks[atoi(item)], 1);
            work->acknowledged++;
        } else if (r == -EHOSTUNREACH) { /* its lease has ended meanwhile, too */
            work->unknown++;
        } else if (r != -ENOENT) {
            fprintf(stderr, "ack: %s\n", shk_last_error());
            return 1;
        }
    }
    assert_code((int)n, -EPIPE);
    return 0;
}

START_TEST(test_etcd_jobs_are_done_once_with_workers_and_the_leader_killed)
{
    struct work *all = shared_memory(sizeof(*all));
    struct shk_segment *s = etcd_segment();
    struct shk_queue *queue = queue_open(s, SHK_FIFO, 0);
    char numbers[JOBS][8];
    struct iovec jobs[JOBS];
    pid_t workers[WORKERS];
    unsigned lost = 0;
    int leader;

    for (int i = 0; i < JOBS; i++)
        jobs[i] = (struct iovec){numbers[i], (size_t)snprintf(numbers[i], 8, "%d", i) + 1};
    assert_code(shk_queue_put_many(queue, jobs, JOBS, SHK_FOREVER), JOBS);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = child_start(work, all);
    for (unsigned k = 1; k <= 3; k++) {
        wait_until(all->acknowledged > JOBS * k / 5, TEST_DEADLINE * 2);
        child_kill(workers[k % WORKERS]);
        workers[k % WORKERS] = child_start(work, all);
    }
    leader = cluster_leader();
    cluster_kill(leader);
    cluster_start(leader);
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < WORKERS; i++)
        child_succeeds(workers[i]);
    for (int i = 0; i < JOBS; i++)
        lost += !all->acks[i];
    printf("%d jobs, 3 workers and the leader killed: %u acknowledged, %u doubled, %u handed out "
           "again, %u without an answer, %u not known to be done\n",
           JOBS, all->acknowledged, all->twice, all->again, all->unknown, lost);
    ck_assert_uint_eq(all->twice, 0);
    ck_assert_uint_le(lost, 3 + all->unknown); /* killed between its ack and its note */
    assert_code(shk_queue_size(queue), 0);
    queue_close(s, queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jobs on etcd");
    TCase *tasks = test_case(suite, "tasks"), *leases = test_case(suite, "leases"),
          *once = test_case(suite, "once");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(tasks, test_etcd_jobs_join_waits_for_items_and_tasks);
    tcase_add_test(tasks, test_etcd_jobs_join_waits_for_a_task_of_another_process);
    tcase_add_test(tasks, test_etcd_jobs_join_tells_once_of_a_worker_that_died);
    tcase_add_test(tasks, test_etcd_jobs_join_does_not_wait_for_a_frozen_worker);
    tcase_add_test(leases, test_etcd_jobs_are_leased_several_at_a_time);
    tcase_add_test(leases, test_etcd_jobs_that_come_back_go_before_others_of_a_lifo_queue);
    tcase_add_test(leases, test_etcd_jobs_come_back_after_their_delay);
    tcase_add_test(leases, test_etcd_jobs_of_a_killed_worker_come_back_and_say_so);
    tcase_add_test(leases, test_etcd_jobs_refuse_the_late_ack_of_a_frozen_worker);
    tcase_add_test(leases, test_etcd_jobs_are_not_drained_while_one_is_leased);
    tcase_add_test(once, test_etcd_jobs_that_several_want_cost_a_request_each);
    tcase_add_test(once, test_etcd_jobs_are_done_once_with_workers_and_the_leader_killed);
    return run_with_cluster(suite);
}
