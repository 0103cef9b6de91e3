/* The lock on etcd: exclusion, deaths, the fence, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the processes of a test tell each other. */
struct board {
    _Atomic int inside, worst, turns, orphaned;
    _Atomic bool holds, ends;
    _Atomic int result;
    _Atomic uint64_t token;
    _Atomic int64_t longest; /* ns: between two turns */
};

static struct shk_lock *open_lock(struct shk_segment *s, uint32_t recursive)
{
    const struct shk_lock_options options = {.recursive = recursive};
    struct shk_lock *lock;

    assert_code(shk_lock_open(s, "till", SHK_CREATE, &options, &lock), 0);
    return lock;
}

static void close_all(struct shk_segment *s, struct shk_lock *lock)
{
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

START_TEST(test_etcd_lock_is_held_and_released)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0), *same;
    uint64_t first, second;

    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_release(lock), -EPERM);
    assert_code(shk_lock_token(lock, &first), -EPERM);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_is_held(lock), 2);
    assert_code(shk_lock_depth(lock), 1);
    assert_code(shk_lock_token(lock, &first), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_lock_close(lock), -EBUSY);
    assert_code(shk_lock_open(s, "till", 0, NULL, &same), 0);
    assert_code(shk_lock_is_held(same), 2);
    assert_code(shk_lock_release(same), 0);
    assert_code(shk_lock_close(same), 0);
    assert_code(shk_lock_depth(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_token(lock, &second), 0);
    ck_assert_uint_gt(second, first);
    assert_code(shk_lock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_lock_is_acquired_again_only_if_it_is_recursive)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 1), *other;

    assert_code(shk_lock_open(s, "till", 0, &(struct shk_lock_options){0}, &other), -EPROTOTYPE);
    for (int i = 1; i <= 3; i++) {
        assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
        assert_code(shk_lock_depth(lock), i);
    }
    for (int i = 2; i >= 0; i--) {
        assert_code(shk_lock_release(lock), 0);
        assert_code(shk_lock_depth(lock), i);
    }
    assert_code(shk_lock_release(lock), -EPERM);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_lock_tells_since_when_it_is_held)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    struct shk_object_info o;
    int64_t began;

    assert_code(shk_lock_stamp(lock), -EPERM);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    began = time_now();
    assert_code(shk_lock_stamp(lock), 0);
    wait_until(time_now() > began + SHK_MS(50), TEST_DEADLINE);
    ck_assert(look_at_object(etcd_name(), "till", &o));
    ck_assert_int_ge(o.held, SHK_MS(40));
    ck_assert_int_lt(o.held, time_now() - began + TEST_DEADLINE * time_factor());
    assert_code(shk_lock_release(lock), 0);
    ck_assert(look_at_object(etcd_name(), "till", &o));
    ck_assert_int_eq(o.held, 0);
    close_all(s, lock);
}
END_TEST

static int hold_until_killed(void *argument)
{
    struct board *board = argument;
    struct shk_lock *lock = open_lock(etcd_segment(), 0);
    uint64_t token;

    board->result = shk_lock_acquire(lock, SHK_FOREVER);
    assert_code(shk_lock_token(lock, &token), 0);
    board->token = token;
    board->holds = true;
    while (!board->ends)
        pause_briefly();
    board->result = shk_lock_release(lock);
    return 0;
}

START_TEST(test_etcd_lock_of_a_killed_holder_tells_the_next_one)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_until_killed, board);
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    uint64_t token;
    int64_t killed;

    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_lock_is_held(lock), 1);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    ck_assert_msg(strstr(shk_last_error(), "held by "), "it says: %s", shk_last_error());
    assert_code_after(SHK_MS(300), shk_lock_acquire(lock, SHK_MS(300)), -ETIMEDOUT);
    child_kill(holder);
    killed = time_now();
    assert_code(shk_lock_acquire(lock, TEST_DEADLINE), SHK_ORPHANED);
    printf("the next holder had the lock %.2f s after the kill, with a lease of 2 s\n",
           (double)(time_now() - killed) / 1e9);
    ck_assert_int_lt(time_now() - killed, SHK_SEC(4) * time_factor());
    assert_code(shk_lock_token(lock, &token), 0);
    ck_assert_uint_gt(token, board->token);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_lock_of_a_frozen_holder_is_refused_when_it_wakes)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_until_killed, board);
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    uint64_t token;

    wait_until(board->holds, TEST_DEADLINE);
    child_stop(holder);
    assert_code(shk_lock_acquire(lock, TEST_DEADLINE), SHK_ORPHANED);
    assert_code(shk_lock_token(lock, &token), 0);
    ck_assert_uint_gt(token, board->token);
    board->ends = true;
    child_continue(holder);
    child_succeeds(holder);
    assert_result(board->result, -ESTALE);
    assert_code(shk_lock_is_held(lock), 2);
    assert_code(shk_lock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

/* Turns in a critical section, with a look for another one in it. */
static int take_turns(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    int64_t begun, took;
    uint64_t token, last = 0;

    while (!board->ends) {
        begun = time_now();
        if (shk_lock_acquire(lock, SHK_FOREVER) < 0 || shk_lock_token(lock, &token) < 0 ||
            token <= last || atomic_fetch_add(&board->inside, 1) != 0) {
            board->worst = 1;
            return 1;
        }
        last = token;
        took = time_now() - begun;
        if (took > board->longest)
            board->longest = took;
        board->turns++;
        atomic_fetch_sub(&board->inside, 1);
        if (shk_lock_release(lock) < 0) {
            fprintf(stderr, "%s\n", shk_last_error());
            return 2;
        }
    }
    shk_lock_close(lock);
    shk_segment_close(s);
    return 0;
}

static int64_t count_turns(void *argument)
{
    struct board *board = argument;

    return board->turns;
}

START_TEST(test_etcd_lock_excludes_and_goes_on_when_the_leader_is_killed)
{
    enum { ACTORS = 3 };
    struct board *board = shared_memory(sizeof(*board));
    pid_t actors[ACTORS];

    /* a lease of 2 s may end while a leader is elected: its holder is told, and gives up */
    setenv("SHMKIT_ETCD_TTL", "10", 1);
    for (int i = 0; i < ACTORS; i++)
        actors[i] = child_start(take_turns, board);
    wait_until(board->turns >= 30, TEST_DEADLINE);
    cluster_kill_leaders(2, count_turns, board, 30);
    board->ends = true;
    for (int i = 0; i < ACTORS; i++)
        child_succeeds(actors[i]);
    ck_assert_int_eq(board->worst, 0);
    printf("%d turns of %d processes, the leader killed twice; longest wait %.2f s\n", board->turns,
           ACTORS, (double)board->longest / 1e9);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}
END_TEST

static void *take_turns_in_thread(void *argument)
{
    struct board *board = ((void **)argument)[0];
    struct shk_lock *lock = ((void **)argument)[1];

    for (int i = 0; i < 20; i++) {
        if (shk_lock_acquire(lock, SHK_FOREVER) != 0 || atomic_fetch_add(&board->inside, 1) != 0)
            board->worst = 1;
        atomic_fetch_sub(&board->inside, 1);
        if (shk_lock_release(lock) != 0)
            board->worst = 2;
    }
    return NULL;
}

START_TEST(test_etcd_lock_excludes_threads_of_one_process)
{
    struct board board = {0};
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    void *both[] = {&board, lock};
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_turns_in_thread, both), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(board.worst, 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_lock_without_a_majority_waits_or_says_so)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);

    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EHOSTUNREACH);
    assert_code(shk_lock_acquire(lock, SHK_MS(500)), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    /* an acquire that was given up may have been carried out: it is given back */
    ck_assert_int_ge(shk_lock_acquire(lock, TEST_DEADLINE), 0);
    assert_code(shk_lock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

START_TEST(test_etcd_lock_survives_the_death_of_all_servers)
{
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);
    uint64_t before, after;

    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_token(lock, &before), 0);
    cluster_restart();
    ck_assert_int_ge(shk_lock_release(lock), -ESTALE);
    ck_assert_int_ge(shk_lock_acquire(lock, TEST_DEADLINE), 0);
    assert_code(shk_lock_token(lock, &after), 0);
    ck_assert_uint_gt(after, before);
    assert_code(shk_lock_release(lock), 0);
    close_all(s, lock);
}
END_TEST

static int unlink_later(void *unused)
{
    struct shk_segment *s = etcd_segment();

    (void)unused;
    sleep(1);
    assert_code(shk_object_unlink(s, "till"), 0);
    assert_code(shk_segment_close(s), 0);
    return 0;
}

START_TEST(test_etcd_lock_that_is_unlinked_ends_its_waits)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_until_killed, board), unlinker;
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);

    wait_until(board->holds, TEST_DEADLINE);
    unlinker = child_start(unlink_later, NULL);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -ESTALE);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -ESTALE);
    child_succeeds(unlinker);
    board->ends = true;
    child_succeeds(holder);
    assert_result(board->result, 0); /* what is unlinked can be released */
    close_all(s, lock);
}
END_TEST

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

START_TEST(test_etcd_lock_wait_ends_with_the_interrupt_flag)
{
    struct board *board = shared_memory(sizeof(*board));
    pid_t holder = child_start(hold_until_killed, board);
    struct shk_segment *s = etcd_segment();
    struct shk_lock *lock = open_lock(s, 0);

    wait_until(board->holds, TEST_DEADLINE);
    signal(SIGALRM, interrupt);
    assert_code(shk_set_interrupt(s, &interrupted), 0);
    alarm(1);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -EINTR);
    child_kill(holder);
    close_all(s, lock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lock on etcd");
    TCase *holding = test_case(suite, "holding"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(holding, test_etcd_lock_tells_since_when_it_is_held);
    tcase_add_test(holding, test_etcd_lock_is_held_and_released);
    tcase_add_test(holding, test_etcd_lock_is_acquired_again_only_if_it_is_recursive);
    tcase_add_test(holding, test_etcd_lock_excludes_threads_of_one_process);
    tcase_add_test(holding, test_etcd_lock_that_is_unlinked_ends_its_waits);
    tcase_add_test(holding, test_etcd_lock_wait_ends_with_the_interrupt_flag);
    tcase_add_test(deaths, test_etcd_lock_of_a_killed_holder_tells_the_next_one);
    tcase_add_test(deaths, test_etcd_lock_of_a_frozen_holder_is_refused_when_it_wakes);
    tcase_add_test(servers, test_etcd_lock_excludes_and_goes_on_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_lock_without_a_majority_waits_or_says_so);
    tcase_add_test(servers, test_etcd_lock_survives_the_death_of_all_servers);
    return run_with_cluster(suite);
}
