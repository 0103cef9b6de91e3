/* The event on etcd. */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct board {
    _Atomic int waiting, woken, wrong;
    _Atomic int64_t last; /* when the last waiter woke */
    _Atomic int pulses;   /* that are over */
    _Atomic bool ends;
};

static struct shk_event *open_event(struct shk_segment *s)
{
    struct shk_event *event;

    assert_code(shk_event_open(s, "go", SHK_CREATE, NULL, &event), 0);
    return event;
}

static void close_all(struct shk_segment *s, struct shk_event *event)
{
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

START_TEST(test_etcd_event_is_set_and_cleared)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);

    assert_code(shk_event_is_set(event), 0);
    assert_code(shk_event_wait(event, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(200), shk_event_wait(event, SHK_MS(200)), -ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        assert_code(shk_event_set(event), 0);
        assert_code(shk_event_set(event), 0);
        assert_code(shk_event_is_set(event), 1);
        assert_code(shk_event_wait(event, SHK_NOWAIT), 0);
        assert_code(shk_event_clear(event), 0);
        assert_code(shk_event_clear(event), 0);
        assert_code(shk_event_is_set(event), 0);
    }
    close_all(s, event);
}
END_TEST

/*
 * It sleeps in a wait that began after that time, of CLOCK_MONOTONIC. A process tells of a wait
 * once it has lasted 200 ms, in milliseconds of its begin: one that a pulse has ended began long
 * before.
 */
static bool waits_since(pid_t pid, int64_t since)
{
    struct shk_member_info m;

    return look_at_member(etcd_name(), pid, &m) && m.waits_for == SHK_WAITS_FOR_SET &&
           time_now() - m.waiting > since - SHK_MS(50);
}

/* Each round of a pulse, a set with a clear right behind it, releases the waiter once. */
static int wait_for_pulses(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    int mine = 0;

    board->waiting++;
    while (!board->ends) {
        if (shk_event_wait(event, SHK_FOREVER) != 0)
            board->wrong++;
        board->last = time_now();
        board->woken++;
        for (mine++; board->pulses < mine;)
            pause_briefly();
    }
    shk_event_close(event);
    shk_segment_close(s);
    return 0;
}

START_TEST(test_etcd_event_that_is_cleared_at_once_has_released_its_waiters)
{
    enum { WAITERS = 4, ROUNDS = 5 };
    struct board *board = shared_memory(sizeof(*board));
    pid_t waiters[WAITERS];
    struct shk_segment *s;
    struct shk_event *event;
    int64_t pulsed = 0;

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = child_start(wait_for_pulses, board);
    s = etcd_segment();
    event = open_event(s);
    wait_until(board->waiting == WAITERS, TEST_DEADLINE);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < WAITERS; i++)
            wait_until(waits_since(waiters[i], pulsed), TEST_DEADLINE);
        if (round == ROUNDS)
            board->ends = true;
        pulsed = time_now();
        assert_code(shk_event_set(event), 0);
        assert_code(shk_event_clear(event), 0);
        board->pulses++;
        wait_until(board->woken == WAITERS * round, TEST_DEADLINE);
    }
    for (int i = 0; i < WAITERS; i++)
        child_succeeds(waiters[i]);
    ck_assert_int_eq(board->wrong, 0);
    close_all(s, event);
}
END_TEST

static void *wait_once(void *argument)
{
    struct board *board = ((void **)argument)[0];

    board->waiting++;
    if (shk_event_wait(((void **)argument)[1], SHK_FOREVER) != 0)
        board->wrong++;
    board->last = time_now();
    board->woken++;
    return NULL;
}

START_TEST(test_etcd_event_wakes_a_hundred_threads)
{
    enum { WAITERS = 100 };
    struct board board = {0};
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    void *both[] = {&board, event};
    pthread_t threads[WAITERS];
    int64_t begun;

    for (int i = 0; i < WAITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_once, both), 0);
    wait_until(board.waiting == WAITERS, TEST_DEADLINE);
    sleep(1);
    begun = time_now();
    assert_code(shk_event_set(event), 0);
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    printf("%d waiters were awake %.1f ms after the set began\n", WAITERS,
           (double)(board.last - begun) / 1e6);
    ck_assert_int_eq(board.wrong, 0);
    close_all(s, event);
}
END_TEST

START_TEST(test_etcd_event_is_found_set_after_history_was_compacted)
{
    struct board board = {0};
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    void *both[] = {&board, event};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_once, both), 0);
    wait_until(board.waiting == 1, TEST_DEADLINE);
    sleep(1);
    /* the watch is cut off, and what happened meanwhile is not in the history any more */
    for (int i = 0; i < SERVERS; i++)
        cluster_stop(i);
    for (int i = 0; i < SERVERS; i++)
        cluster_continue(i);
    cluster_leader();
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_clear(event), 0);
    cluster_compact();
    pthread_join(thread, NULL);
    ck_assert_int_eq(board.wrong, 0);
    close_all(s, event);
}
END_TEST

START_TEST(test_etcd_event_reaches_its_waiter_when_the_leader_is_killed)
{
    struct board board = {0};
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);
    void *both[] = {&board, event};
    pthread_t thread;
    int leader;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_once, both), 0);
    wait_until(board.waiting == 1, TEST_DEADLINE);
    sleep(1);
    leader = cluster_leader();
    cluster_kill(leader);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_clear(event), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(board.wrong, 0);
    cluster_start(leader);
    close_all(s, event);
}
END_TEST

START_TEST(test_etcd_event_that_is_unlinked_ends_its_waits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_event *event = open_event(s);

    assert_code(shk_object_unlink(s, "go"), 0);
    assert_code(shk_event_wait(event, TEST_DEADLINE), -ESTALE);
    assert_code(shk_event_set(event), -ESTALE);
    close_all(s, event);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event on etcd");
    TCase *calls = test_case(suite, "calls"), *servers = test_case(suite, "servers");

    tcase_add_test(calls, test_etcd_event_is_set_and_cleared);
    tcase_add_test(calls, test_etcd_event_that_is_cleared_at_once_has_released_its_waiters);
    tcase_add_test(calls, test_etcd_event_wakes_a_hundred_threads);
    tcase_add_test(calls, test_etcd_event_that_is_unlinked_ends_its_waits);
    tcase_add_test(servers, test_etcd_event_is_found_set_after_history_was_compacted);
    tcase_add_test(servers, test_etcd_event_reaches_its_waiter_when_the_leader_is_killed);
    return run_with_cluster(suite);
}
