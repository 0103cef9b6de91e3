/* The condition on etcd: its line, its lock, deaths, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the processes of a test tell each other; what the lock protects, too. */
struct board {
    _Atomic int results[8], order[8], notified[8], done, next;
    _Atomic int full, put, got, failed;
    _Atomic bool ends, holds;
};

static struct shk_cond *open_cond(struct shk_segment *s)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(s, "changed", SHK_CREATE, NULL, &cond), 0);
    return cond;
}

static void close_all(struct shk_segment *s, struct shk_cond *cond)
{
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

static int count(const char *part)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/changed/%s", strchr(etcd_name(), ':') + 1, part);
    return cluster_count(prefix);
}

START_TEST(test_etcd_cond_has_a_recursive_lock_and_wants_it_held)
{
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_cond(s), *other;
    struct shk_lock *lock;

    assert_code(shk_cond_wait(cond, SHK_FOREVER), -EPERM);
    assert_code(shk_cond_notify(cond, 1), -EPERM);
    assert_code(shk_cond_release(cond), -EPERM);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_close(cond), -EBUSY);
    assert_code(shk_cond_notify(cond, 1), 0);
    assert_code(shk_cond_notify_all(cond), 0);
    assert_code(shk_cond_wait(cond, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_cond_wait(cond, SHK_MS(300)), -ETIMEDOUT);
    assert_code(shk_cond_was_notified(cond), 0);
    ck_assert_int_eq(count("wait/"), 0);
    assert_code(shk_cond_stamp(cond), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_release(cond), -EPERM);
    assert_code(shk_cond_stamp(cond), -EPERM);
    assert_code(shk_cond_native(cond, NULL, NULL), -ENOTSUP);
    assert_code(shk_cond_open(s, "native", SHK_CREATE,
                              &(struct shk_cond_options){.kind = SHK_COND_PTHREAD}, &other),
                -ENOTSUP);
    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_cond_open(s, "changed", 0, &(struct shk_cond_options){.lock = lock}, &other),
                -EPROTOTYPE);
    assert_code(shk_lock_close(lock), 0);
    close_all(s, cond);
}
END_TEST

/* Wait once, and note what came of it, with the lock held. */
static int wait_with(struct board *board, struct shk_cond *cond, int number)
{
    int r = shk_cond_acquire(cond, SHK_FOREVER);

    if (r < 0)
        return 1;
    r = shk_cond_wait(cond, SHK_FOREVER);
    board->results[number] = r;
    board->notified[number] = shk_cond_was_notified(cond);
    board->order[board->done++] = number;
    return r < 0 || shk_cond_release(cond) < 0;
}

static int wait_once(void *argument)
{
    struct board *board = argument;

    return wait_with(board, open_cond(etcd_segment()), board->next++);
}

/* So many wait, in the order of their numbers. */
static void start_waiters(struct board *board, pid_t *waiters, int n)
{
    for (int i = 0; i < n; i++) {
        waiters[i] = child_start(wait_once, board);
        wait_until(count("wait/") == i + 1, TEST_DEADLINE);
    }
}

static int notify_once(void *unused)
{
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond;

    (void)unused;
    assert_code(shk_cond_open(s, "changed", 0, NULL, &cond), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_cond_open(s, "changed", 0, NULL, &cond), 0); /* nothing is written before */
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_cond_is_notified_by_a_process_that_has_just_opened_it)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_cond(s);
    pid_t waiter;

    start_waiters(board, &waiter, 1);
    child_succeeds(child_start(notify_once, NULL));
    child_succeeds(waiter);
    ck_assert_int_eq(board->notified[0], 1);
    close_all(s, cond);
}
END_TEST

START_TEST(test_etcd_cond_wakes_the_first_waiters_or_all)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_cond(s);
    pid_t waiters[5];

    start_waiters(board, waiters, 5);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_notify(cond, 1), 1);
    usleep(300000);
    ck_assert_int_eq(board->done, 0); /* the lock is held */
    assert_code(shk_cond_release(cond), 0);
    child_succeeds(waiters[0]);
    child_succeeds(waiters[1]);
    ck_assert_int_eq(board->done, 2);
    ck_assert_int_eq(count("wait/"), 3);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify_all(cond), 3);
    assert_code(shk_cond_notify_all(cond), 0);
    assert_code(shk_cond_notify(cond, 1), 0);
    assert_code(shk_cond_release(cond), 0);
    for (int i = 2; i < 5; i++)
        child_succeeds(waiters[i]);
    for (int i = 0; i < 5; i++) {
        assert_result(board->results[i], 0);
        ck_assert_int_eq(board->notified[i], 1);
    }
    ck_assert_int_eq(count("wait/") + count("mark/"), 0);
    close_all(s, cond);
}
END_TEST

static void lose_the_first(bool frozen)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_cond(s);
    pid_t waiters[3];
    int64_t begun;

    start_waiters(board, waiters, 2);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    child_stop(waiters[0]);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_release(cond), 0);
    waiters[2] = child_start(wait_once, board); /* it has come after the notify */
    wait_until(count("wait/") == 3, TEST_DEADLINE);
    if (!frozen)
        child_kill(waiters[0]);
    begun = time_now();
    child_succeeds(waiters[1]);
    printf("the second waiter had the wake-up of the first %.2f s after that was %s, with a lease "
           "of 2 s\n",
           (double)(time_now() - begun) / 1e9, frozen ? "stopped" : "killed");
    assert_result(board->results[1], 0);
    ck_assert_int_eq(board->notified[1], 1);
    ck_assert_int_eq(board->done, 1);
    if (frozen) { /* its place has gone, and it is told that it was not notified */
        child_continue(waiters[0]);
        child_succeeds(waiters[0]);
        assert_result(board->results[0], 0);
        ck_assert_int_eq(board->notified[0], 0);
    }
    ck_assert_int_eq(count("wait/"), 1);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 7), 1);
    assert_code(shk_cond_release(cond), 0);
    child_succeeds(waiters[2]);
    ck_assert_int_eq(count("wait/") + count("mark/"), 0);
    close_all(s, cond);
}

START_TEST(test_etcd_cond_passes_the_wakeup_of_a_killed_waiter_on)
{
    lose_the_first(false);
}
END_TEST

START_TEST(test_etcd_cond_passes_the_wakeup_of_a_frozen_waiter_on)
{
    lose_the_first(true);
}
END_TEST

static int hold_until_killed(void *argument)
{
    struct board *board = argument;
    struct shk_cond *cond = open_cond(etcd_segment());

    board->results[7] = shk_cond_acquire(cond, SHK_FOREVER);
    board->holds = true;
    while (!board->ends)
        pause_briefly();
    board->results[7] = shk_cond_notify(cond, 1);
    return 0;
}

START_TEST(test_etcd_cond_tells_a_waiter_of_the_death_of_a_holder)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_cond(s);
    pid_t holder, waiter;

    start_waiters(board, &waiter, 1);
    holder = child_start(hold_until_killed, board);
    wait_until(board->holds, TEST_DEADLINE);
    child_kill(holder);
    assert_code(shk_cond_acquire(cond, TEST_DEADLINE), SHK_ORPHANED);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_release(cond), 0);
    child_succeeds(waiter);
    board->holds = false;
    holder = child_start(hold_until_killed, board);
    wait_until(board->holds, TEST_DEADLINE);
    child_stop(holder);
    assert_code(shk_cond_acquire(cond, TEST_DEADLINE), SHK_ORPHANED);
    board->ends = true;
    child_continue(holder);
    child_succeeds(holder);
    assert_result(board->results[7], -ESTALE);
    assert_code(shk_cond_release(cond), 0);
    close_all(s, cond);
}
END_TEST

/* A place that a producer fills and a consumer empties, with a condition and a given lock. */
static struct shk_cond *open_place(struct shk_segment *s)
{
    struct shk_lock *lock;
    struct shk_cond *cond;

    assert_code(shk_lock_open(s, "till", SHK_CREATE, NULL, &lock), 0);
    assert_code(
        shk_cond_open(s, "changed", SHK_CREATE, &(struct shk_cond_options){.lock = lock}, &cond),
        0);
    assert_code(shk_lock_close(lock), 0);
    return cond;
}

static int fill_and_empty(struct board *board, bool fills)
{
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond = open_place(s);
    int r = 0;

    while (r == 0 && !board->ends) {
        r = shk_cond_acquire(cond, SHK_FOREVER);
        while (r == 0 && board->full == fills && !board->ends)
            r = shk_cond_wait(cond, SHK_SEC(20));
        if (r == 0) {
            board->full = fills;
            *(fills ? &board->put : &board->got) += 1;
            r = shk_cond_notify_all(cond);
            r = r > 0 ? 0 : r;
        }
        if (r == 0)
            r = shk_cond_release(cond);
    }
    if (r != 0 && !board->ends) {
        fprintf(stderr, "it gave %d: %s\n", r, shk_last_error());
        board->failed = 1;
    }
    return 0;
}

static int fill(void *board)
{
    return fill_and_empty(board, true);
}

static int empty(void *board)
{
    return fill_and_empty(board, false);
}

static int64_t count_got(void *argument)
{
    struct board *board = argument;

    return board->failed ? COUNT_FAILED : board->got;
}

START_TEST(test_etcd_cond_loses_no_wakeup_when_the_leader_is_killed)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_cond *cond;
    pid_t actors[4];

    setenv("SHMKIT_ETCD_TTL", "10", 1);
    for (int i = 0; i < 4; i++)
        actors[i] = child_start(i % 2 ? empty : fill, board);
    wait_until(board->got >= 20 || board->failed, TEST_DEADLINE);
    cluster_kill_leaders(2, count_got, board, 20);
    ck_assert_int_eq(board->failed, 0);
    board->ends = true;
    cond = open_place(s);
    ck_assert_int_ge(shk_cond_acquire(cond, SHK_FOREVER), 0);
    ck_assert_int_ge(shk_cond_notify_all(cond), 0);
    assert_code(shk_cond_release(cond), 0);
    for (int i = 0; i < 4; i++)
        child_succeeds(actors[i]);
    printf("%d filled, %d emptied by 4 processes, the leader killed twice\n", board->put,
           board->got);
    close_all(s, cond);
}
END_TEST

static void *wait_in_thread(void *argument)
{
    struct board *board = ((void **)argument)[0];
    int number = board->next++; /* an atomic step: two threads at a time */

    return (void *)(intptr_t)wait_with(board, ((void **)argument)[1], number);
}

/* Its lease outlasts the death of all servers. */
static struct shk_segment *patient_segment(void)
{
    setenv("SHMKIT_ETCD_TTL", "10", 1);
    return etcd_segment();
}

START_TEST(test_etcd_cond_waits_without_requests_and_through_a_compaction)
{
    struct board board = {0};
    struct shk_segment *s = patient_segment();
    struct shk_cond *cond = open_cond(s);
    void *both[] = {&board, cond}, *result;
    unsigned long before, after;
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, both), 0);
    wait_until(count("wait/") == 2, TEST_DEADLINE);
    sleep(1);
    before = cluster_requests();
    sleep(4);
    after = cluster_requests();
    printf("%lu requests in 4 s of waiting, with a lease of 10 s\n", after - before);
    ck_assert_uint_le(after - before, 15); /* keep-alives, some of which are passed on */
    cluster_restart();
    ck_assert_int_ge(shk_cond_acquire(cond, TEST_DEADLINE), 0);
    assert_code(shk_cond_notify(cond, 2), 2);
    cluster_compact();
    assert_code(shk_cond_release(cond), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &result);
        assert_result((intptr_t)result, 0);
    }
    ck_assert_int_eq(board.notified[0], 1); /* of either thread */
    ck_assert_int_eq(board.notified[1], 1);
    close_all(s, cond);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("condition on etcd");
    TCase *waiting = test_case(suite, "waiting"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(waiting, test_etcd_cond_has_a_recursive_lock_and_wants_it_held);
    tcase_add_test(waiting, test_etcd_cond_wakes_the_first_waiters_or_all);
    tcase_add_test(waiting, test_etcd_cond_is_notified_by_a_process_that_has_just_opened_it);
    tcase_add_test(deaths, test_etcd_cond_passes_the_wakeup_of_a_killed_waiter_on);
    tcase_add_test(deaths, test_etcd_cond_passes_the_wakeup_of_a_frozen_waiter_on);
    tcase_add_test(deaths, test_etcd_cond_tells_a_waiter_of_the_death_of_a_holder);
    tcase_add_test(servers, test_etcd_cond_loses_no_wakeup_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_cond_waits_without_requests_and_through_a_compaction);
    return run_with_cluster(suite);
}
