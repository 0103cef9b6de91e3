/* The barrier on etcd: rounds, what breaks it, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARTIES = 3 };

/* What the processes of a test tell each other. */
struct board {
    _Atomic int results[8], done, failed, ready;
    _Atomic int rounds[PARTIES], worst;
    _Atomic bool ends;
    int64_t timeout;
};

static struct shk_barrier *open_barrier(struct shk_segment *s, uint32_t parties)
{
    const struct shk_barrier_options options = {.parties = parties};
    struct shk_barrier *barrier;

    assert_code(shk_barrier_open(s, "start", SHK_CREATE, &options, &barrier), 0);
    return barrier;
}

static void close_all(struct shk_segment *s, struct shk_barrier *barrier)
{
    assert_code(shk_barrier_close(barrier), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

/* Wait once, and note what came of it. */
static int wait_once(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, 0);
    int r = shk_barrier_wait(barrier, board->timeout ? board->timeout : SHK_FOREVER);

    board->results[board->done++] = r;
    shk_barrier_close(barrier);
    shk_segment_close(s);
    return 0;
}

START_TEST(test_etcd_barrier_lets_all_parties_go_when_the_last_has_arrived)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, PARTIES), *other;
    pid_t first, second;

    assert_code(shk_barrier_parties(barrier), PARTIES);
    assert_code(shk_barrier_waiting(barrier), 0);
    assert_code(shk_barrier_broken(barrier), 0);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), -EAGAIN);
    assert_code(
        shk_barrier_open(s, "start", 0, &(struct shk_barrier_options){.parties = 4}, &other),
        -EPROTOTYPE);
    assert_code(shk_barrier_open(s, "other", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_barrier_open(s, "other", 0, NULL, &other), -ENOENT);
    first = child_start(wait_once, board);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    second = child_start(wait_once, board);
    wait_until(shk_barrier_waiting(barrier) == 2, TEST_DEADLINE);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), 2);
    child_succeeds(first);
    child_succeeds(second);
    ck_assert_int_eq(board->results[0] + board->results[1], 1);
    ck_assert_int_eq(board->results[0] * board->results[1], 0);
    assert_code(shk_barrier_waiting(barrier), 0);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), -EAGAIN);
    close_all(s, barrier);
}
END_TEST

static int wait_with_the_others(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, 0);
    int r;

    board->ready++;
    while (!board->ends)
        pause_briefly();
    r = shk_barrier_wait(barrier, SHK_FOREVER);
    board->results[board->done++] = r;
    shk_barrier_close(barrier);
    shk_segment_close(s);
    return 0;
}

/* All arrive at once, and know nothing of each other. */
START_TEST(test_etcd_barrier_lets_as_many_go_as_there_are_parties)
{
    enum { TURNS = 5, THREADS = 3 * 2 };
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, 2);

    for (int turn = 0; turn < TURNS; turn++) {
        struct board *board = shared_memory(sizeof(*board));
        pid_t children[THREADS];
        int sum = 0;

        for (int i = 0; i < THREADS; i++)
            children[i] = child_start(wait_with_the_others, board);
        wait_until(board->ready == THREADS, TEST_DEADLINE);
        board->ends = true;
        for (int i = 0; i < THREADS; i++)
            child_succeeds(children[i]);
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_ge(board->results[i], 0);
            ck_assert_int_le(board->results[i], 1);
            sum += board->results[i];
        }
        ck_assert_int_eq(sum, THREADS / 2);
    }
    close_all(s, barrier);
}
END_TEST

START_TEST(test_etcd_barrier_is_broken_by_a_party_that_gives_up)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, PARTIES);
    pid_t other = child_start(wait_once, board);

    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    assert_code_after(SHK_MS(300), shk_barrier_wait(barrier, SHK_MS(300)), -ETIMEDOUT);
    child_succeeds(other);
    assert_result(board->results[0], -EPIPE);
    assert_code(shk_barrier_broken(barrier), 1);
    assert_code(shk_barrier_waiting(barrier), 0);
    assert_code(shk_barrier_wait(barrier, SHK_FOREVER), -EPIPE);
    assert_code(shk_barrier_reset(barrier), 0);
    assert_code(shk_barrier_broken(barrier), 0);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_barrier_wait(barrier, -1), -ETIMEDOUT);
    assert_code(shk_barrier_broken(barrier), 1);
    assert_code(shk_barrier_reset(barrier), 0);
    close_all(s, barrier);
}
END_TEST

START_TEST(test_etcd_barrier_is_broken_by_an_abort_and_emptied_by_a_reset)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, PARTIES);
    pid_t other;

    other = child_start(wait_once, board);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    assert_code(shk_barrier_reset(barrier), 0);
    child_succeeds(other);
    assert_result(board->results[0], -EPIPE);
    assert_code(shk_barrier_broken(barrier), 0);
    other = child_start(wait_once, board);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    assert_code(shk_barrier_abort(barrier), 0);
    assert_code(shk_barrier_abort(barrier), 0);
    child_succeeds(other);
    assert_result(board->results[1], -EPIPE);
    assert_code(shk_barrier_broken(barrier), 1);
    close_all(s, barrier);
}
END_TEST

static void lose_a_party(bool frozen)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, PARTIES);
    pid_t lost = child_start(wait_once, board), other;
    int64_t begun;

    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    other = child_start(wait_once, board);
    wait_until(shk_barrier_waiting(barrier) == 2, TEST_DEADLINE);
    if (frozen)
        child_stop(lost);
    else
        child_kill(lost);
    begun = time_now();
    child_succeeds(other);
    assert_result(board->results[0], -EPIPE);
    printf("the other party was told %.2f s after one was %s, with a lease of 2 s\n",
           (double)(time_now() - begun) / 1e9, frozen ? "stopped" : "killed");
    ck_assert_int_lt(time_now() - begun, SHK_SEC(4) * time_factor());
    assert_code(shk_barrier_broken(barrier), 1);
    if (frozen) {
        assert_code(shk_barrier_reset(barrier), 0);
        child_continue(lost);
        child_succeeds(lost);
        assert_result(board->results[1], -EPIPE);
        assert_code(shk_barrier_broken(barrier), 0); /* it comes too late to break another round */
    }
    close_all(s, barrier);
}

START_TEST(test_etcd_barrier_is_broken_by_the_death_of_a_party)
{
    lose_a_party(false);
}
END_TEST

START_TEST(test_etcd_barrier_is_broken_by_a_party_that_is_frozen)
{
    lose_a_party(true);
}
END_TEST

static int meet_again_and_again(struct board *board, int number)
{
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, 0);
    int r;

    while (!board->ends) {
        r = shk_barrier_wait(barrier, SHK_SEC(20));
        if (r < 0) {
            if (board->ends)
                return 0;
            fprintf(stderr, "round %d: %s\n", board->rounds[number], shk_last_error());
            board->failed = r;
            return 1;
        }
        board->rounds[number]++;
        for (int i = 0; i < PARTIES; i++)
            if (board->rounds[i] + 1 < board->rounds[number])
                board->worst = 1; /* it has gone on without that party */
    }
    shk_barrier_abort(barrier);
    return 0;
}

static int meet_first(void *board)
{
    return meet_again_and_again(board, 0);
}

static int meet_second(void *board)
{
    return meet_again_and_again(board, 1);
}

static int meet_third(void *board)
{
    return meet_again_and_again(board, 2);
}

static int64_t count_rounds(void *argument)
{
    struct board *board = argument;

    return board->failed ? COUNT_FAILED : board->rounds[0];
}

START_TEST(test_etcd_barrier_keeps_parties_in_step_when_the_leader_is_killed)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier;
    pid_t actors[PARTIES];

    setenv("SHMKIT_ETCD_TTL", "10", 1);
    barrier = open_barrier(s, PARTIES);
    actors[0] = child_start(meet_first, board);
    actors[1] = child_start(meet_second, board);
    actors[2] = child_start(meet_third, board);
    wait_until(board->rounds[0] >= 20 || board->failed, TEST_DEADLINE);
    cluster_kill_leaders(2, count_rounds, board, 20);
    assert_result(board->failed, 0);
    board->ends = true;
    assert_code(shk_barrier_abort(barrier), 0);
    for (int i = 0; i < PARTIES; i++)
        child_succeeds(actors[i]);
    ck_assert_int_eq(board->worst, 0);
    printf("%d rounds of %d processes, the leader killed twice\n", board->rounds[0], PARTIES);
    close_all(s, barrier);
}
END_TEST

START_TEST(test_etcd_barrier_without_a_majority_says_so)
{
    struct shk_segment *s = etcd_segment();
    struct shk_barrier *barrier = open_barrier(s, 2);

    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), -EHOSTUNREACH);
    assert_code(shk_barrier_wait(barrier, SHK_MS(300)), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    /* an arrival that was given up and carried out late has broken it */
    wait_until(shk_barrier_waiting(barrier) == 0, TEST_DEADLINE);
    assert_code(shk_barrier_reset(barrier), 0);
    assert_code(shk_barrier_wait(barrier, SHK_NOWAIT), -EAGAIN);
    close_all(s, barrier);
}
END_TEST

static void *wait_in_thread(void *barrier)
{
    return (void *)(intptr_t)shk_barrier_wait(barrier, SHK_FOREVER);
}

/* Its lease outlasts the death of all servers. */
static struct shk_segment *patient_segment(void)
{
    setenv("SHMKIT_ETCD_TTL", "10", 1);
    return etcd_segment();
}

START_TEST(test_etcd_barrier_waits_through_a_compaction_and_ends_with_an_unlink)
{
    struct shk_segment *s = patient_segment();
    struct shk_barrier *barrier = open_barrier(s, 2);
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, barrier), 0);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    cluster_restart();
    cluster_compact();
    assert_code(shk_barrier_wait(barrier, TEST_DEADLINE), 1);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, barrier), 0);
    wait_until(shk_barrier_waiting(barrier) == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(s, "start"), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -ESTALE);
    close_all(s, barrier);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("barrier on etcd");
    TCase *rounds = test_case(suite, "rounds"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(rounds, test_etcd_barrier_lets_all_parties_go_when_the_last_has_arrived);
    tcase_add_test(rounds, test_etcd_barrier_lets_as_many_go_as_there_are_parties);
    tcase_add_test(rounds, test_etcd_barrier_is_broken_by_a_party_that_gives_up);
    tcase_add_test(rounds, test_etcd_barrier_is_broken_by_an_abort_and_emptied_by_a_reset);
    tcase_add_test(deaths, test_etcd_barrier_is_broken_by_the_death_of_a_party);
    tcase_add_test(deaths, test_etcd_barrier_is_broken_by_a_party_that_is_frozen);
    tcase_add_test(servers, test_etcd_barrier_keeps_parties_in_step_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_barrier_without_a_majority_says_so);
    tcase_add_test(servers, test_etcd_barrier_waits_through_a_compaction_and_ends_with_an_unlink);
    return run_with_cluster(suite);
}
