/* The semaphore on etcd: its permits, its line, deaths, and servers that are killed. */
#include "cluster.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the processes of a test tell each other. */
struct board {
    _Atomic int inside, worst, turns, came, order[8];
    _Atomic bool holds, ends;
    _Atomic int result;
    _Atomic int64_t longest; /* ns: a wait for permits */
};

static struct shk_semaphore *open_semaphore(struct shk_segment *s, uint32_t value, uint32_t max,
                                            uint32_t owners)
{
    const struct shk_semaphore_options options = {.value = value, .max = max, .owners = owners};
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(s, "slots", SHK_CREATE, &options, &semaphore), 0);
    return semaphore;
}

static struct shk_semaphore *open_again(void)
{
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(etcd_segment(), "slots", 0, NULL, &semaphore), 0);
    return semaphore;
}

static void close_all(struct shk_segment *s, struct shk_semaphore *semaphore)
{
    assert_code(shk_semaphore_close(semaphore), 0);
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(etcd_name()), 0);
}

/* How many threads wait. */
static int waiting(void)
{
    char prefix[200];

    snprintf(prefix, sizeof(prefix), "/shmkit/%s/slots/wait/", strchr(etcd_name(), ':') + 1);
    return cluster_count(prefix);
}

START_TEST(test_etcd_semaphore_counts_its_permits)
{
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 3, 4, 0), *same;

    assert_code(shk_semaphore_value(slots), 3);
    assert_code(shk_semaphore_held(slots), -ENOTSUP);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_FOREVER), 0);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(300), shk_semaphore_acquire(slots, SHK_MS(300)), -ETIMEDOUT);
    ck_assert_int_eq(waiting(), 0);
    assert_code(shk_semaphore_acquire_many(slots, 5, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_acquire_many(slots, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_release(slots, 4), 0);
    assert_code(shk_semaphore_release(slots, 1), -EOVERFLOW);
    assert_code(shk_semaphore_release(slots, 0), -EINVAL);
    assert_code(shk_semaphore_acquire_many(slots, 4, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_open(s, "slots", 0, &(struct shk_semaphore_options){.max = 5}, &same),
                -EPROTOTYPE);
    assert_code(
        shk_semaphore_open(s, "slots", 0, &(struct shk_semaphore_options){.owners = 1}, &same),
        -EPROTOTYPE);
    assert_code(shk_semaphore_open(s, "other", SHK_CREATE,
                                   &(struct shk_semaphore_options){.owners = 1}, &same),
                -EINVAL);
    assert_code(shk_semaphore_open(s, "other", 0, NULL, &same), -ENOENT);
    assert_code(shk_semaphore_open(s, "other", SHK_CREATE, NULL, &same), 0);
    assert_code(shk_semaphore_acquire(same, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire(same, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_close(same), 0);
    close_all(s, slots);
}
END_TEST

/* Wait for as many permits as the board says, and note when they came. */
static int wait_for(struct board *board, unsigned n, int number)
{
    struct shk_semaphore *slots = open_again();

    board->result = shk_semaphore_acquire_many(slots, n, SHK_FOREVER);
    if (board->result == 0)
        board->order[board->came++] = number;
    return 0;
}

static int wait_for_three(void *board)
{
    return wait_for(board, 3, 1);
}

static int wait_for_one(void *board)
{
    return wait_for(board, 1, 2);
}

START_TEST(test_etcd_semaphore_is_not_passed_by_those_that_want_less)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 2, 0, 0);
    pid_t first, second;

    first = child_start(wait_for_three, board);
    wait_until(waiting() == 1, TEST_DEADLINE);
    second = child_start(wait_for_one, board);
    wait_until(waiting() == 2, TEST_DEADLINE);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_value(slots), 2);
    assert_code(shk_semaphore_release(slots, 2), 0);
    child_succeeds(first);
    child_succeeds(second);
    ck_assert_int_eq(board->order[0], 1);
    ck_assert_int_eq(board->order[1], 2);
    assert_code(shk_semaphore_value(slots), 0);
    close_all(s, slots);
}
END_TEST

START_TEST(test_etcd_semaphore_goes_on_when_the_first_waiter_is_killed_or_frozen)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 0, 0, 0);
    pid_t killed, frozen, last;
    int64_t begun;

    killed = child_start(wait_for_three, board);
    wait_until(waiting() == 1, TEST_DEADLINE);
    frozen = child_start(wait_for_three, board);
    wait_until(waiting() == 2, TEST_DEADLINE);
    last = child_start(wait_for_one, board);
    wait_until(waiting() == 3, TEST_DEADLINE);
    child_stop(frozen);
    child_kill(killed);
    begun = time_now();
    assert_code(shk_semaphore_release(slots, 1), 0);
    child_succeeds(last);
    printf("the third in line had its permit %.2f s after the first was killed and the second "
           "stopped, with leases of 2 s\n",
           (double)(time_now() - begun) / 1e9);
    ck_assert_int_eq(board->order[0], 2);
    assert_code(shk_semaphore_release(slots, 3), 0);
    child_continue(frozen); /* it enters the line again */
    child_succeeds(frozen);
    ck_assert_int_eq(board->order[1], 1);
    assert_code(shk_semaphore_value(slots), 0);
    close_all(s, slots);
}
END_TEST

static int hold_two(void *argument)
{
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(s, "slots", 0, NULL, &slots), 0);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_FOREVER), 0);
    assert_code(shk_semaphore_held(slots), 2);
    board->holds = true;
    while (!board->ends)
        pause_briefly();
    board->result = shk_semaphore_release(slots, 1);
    assert_code(shk_semaphore_held(slots), board->result == 0 ? 1 : 0);
    return 0;
}

START_TEST(test_etcd_semaphore_with_owners_gets_the_permits_of_a_killed_process_back)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 3, 0, 1);
    pid_t holder = child_start(hold_two, board);
    int64_t killed;

    wait_until(board->holds, TEST_DEADLINE);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code(shk_semaphore_release(slots, 1), -EPERM);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), -EAGAIN);
    child_kill(holder);
    killed = time_now();
    assert_code(shk_semaphore_acquire_many(slots, 3, TEST_DEADLINE), 0);
    printf("the permits came back %.2f s after the kill, with a lease of 2 s\n",
           (double)(time_now() - killed) / 1e9);
    ck_assert_int_lt(time_now() - killed, SHK_SEC(4) * time_factor());
    assert_code(shk_semaphore_held(slots), 3);
    assert_code(shk_semaphore_release(slots, 3), 0);
    assert_code(shk_semaphore_value(slots), 3);
    close_all(s, slots);
}
END_TEST

START_TEST(test_etcd_semaphore_with_owners_refuses_what_a_frozen_process_has_lost)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 3, 0, 1);
    pid_t holder = child_start(hold_two, board);

    wait_until(board->holds, TEST_DEADLINE);
    child_stop(holder);
    assert_code(shk_semaphore_acquire_many(slots, 3, TEST_DEADLINE), 0);
    board->ends = true;
    child_continue(holder);
    child_succeeds(holder);
    assert_result(board->result, -ESTALE);
    assert_code(shk_semaphore_held(slots), 3);
    assert_code(shk_semaphore_value(slots), 0);
    close_all(s, slots);
}
END_TEST

START_TEST(test_etcd_semaphore_with_owners_keeps_permits_until_the_segment_is_closed)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 3, 0, 1);
    pid_t holder;

    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_close(slots), 0);
    slots = open_semaphore(s, 3, 0, 1);
    assert_code(shk_semaphore_held(slots), 2);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code(shk_semaphore_close(slots), 0);
    assert_code(shk_segment_close(s), 0);
    s = etcd_segment();
    slots = open_semaphore(s, 3, 0, 1);
    assert_code(shk_semaphore_held(slots), 0);
    assert_code(shk_semaphore_value(slots), 3);
    holder = child_start(hold_two, board);
    wait_until(board->holds, TEST_DEADLINE);
    board->ends = true;
    child_succeeds(holder); /* ends with a permit */
    assert_code(shk_semaphore_acquire_many(slots, 3, TEST_DEADLINE), 0);
    close_all(s, slots);
}
END_TEST

/* In and out, with a look for more than there may be inside. */
static int take_turns(void *argument)
{
    enum { PERMITS = 2 };
    struct board *board = argument;
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots;
    int64_t begun, took;

    assert_code(shk_semaphore_open(s, "slots", 0, NULL, &slots), 0);
    while (!board->ends) {
        begun = time_now();
        if (shk_semaphore_acquire(slots, SHK_FOREVER) != 0) {
            fprintf(stderr, "%s\n", shk_last_error());
            return 1;
        }
        if (atomic_fetch_add(&board->inside, 1) >= PERMITS)
            board->worst = 1;
        took = time_now() - begun;
        if (took > board->longest)
            board->longest = took;
        board->turns++;
        atomic_fetch_sub(&board->inside, 1);
        if (shk_semaphore_release(slots, 1) != 0) {
            fprintf(stderr, "%s\n", shk_last_error());
            return 2;
        }
    }
    shk_semaphore_close(slots);
    shk_segment_close(s);
    return 0;
}

static int64_t count_turns(void *argument)
{
    struct board *board = argument;

    return board->turns;
}

static void count_through_deaths(uint32_t owners)
{
    enum { ACTORS = 4 };
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 2, 2, owners);
    pid_t actors[ACTORS];

    for (int i = 0; i < ACTORS; i++)
        actors[i] = child_start(take_turns, board);
    wait_until(board->turns >= 30, TEST_DEADLINE);
    cluster_kill_leaders(2, count_turns, board, 30);
    board->ends = true;
    for (int i = 0; i < ACTORS; i++)
        child_succeeds(actors[i]);
    ck_assert_int_eq(board->worst, 0);
    assert_code(shk_semaphore_value(slots), 2);
    ck_assert_int_eq(waiting(), 0);
    printf("%d turns of %d processes %s owners, the leader killed twice; longest wait %.2f s\n",
           board->turns, ACTORS, owners ? "with" : "without", (double)board->longest / 1e9);
    close_all(s, slots);
}

START_TEST(test_etcd_semaphore_counts_exactly_when_the_leader_is_killed)
{
    setenv("SHMKIT_ETCD_TTL", "10", 1);
    count_through_deaths(0);
}
END_TEST

START_TEST(test_etcd_semaphore_with_owners_counts_exactly_when_the_leader_is_killed)
{
    setenv("SHMKIT_ETCD_TTL", "10", 1);
    count_through_deaths(1);
}
END_TEST

START_TEST(test_etcd_semaphore_gives_back_what_an_acquire_without_a_majority_took)
{
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 2, 2, 0);

    assert_code(shk_semaphore_value(slots), 2);
    cluster_kill(0);
    cluster_kill(1);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EHOSTUNREACH);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_MS(500)), -EHOSTUNREACH);
    cluster_start_one(0);
    cluster_start(1);
    cluster_start(0);
    assert_code(shk_semaphore_acquire_many(slots, 2, TEST_DEADLINE), 0);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_release(slots, 2), 0);
    wait_until(shk_semaphore_value(slots) == 2, TEST_DEADLINE);
    ck_assert_int_eq(waiting(), 0);
    close_all(s, slots);
}
END_TEST

static void *acquire_in_thread(void *slots)
{
    return (void *)(intptr_t)shk_semaphore_acquire(slots, SHK_FOREVER);
}

START_TEST(test_etcd_semaphore_waits_without_requests_and_through_a_compaction)
{
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 0, 0, 0);
    unsigned long before, after;
    pthread_t threads[3];
    void *result;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, acquire_in_thread, slots), 0);
    wait_until(waiting() == 3, TEST_DEADLINE);
    sleep(1);
    before = cluster_requests();
    sleep(4);
    after = cluster_requests();
    printf("%lu requests in 4 s of waiting, with a lease of 2 s\n", after - before);
    ck_assert_uint_le(after - before, 15); /* keep-alives: 6, and some are passed on */
    cluster_restart();
    assert_code(shk_semaphore_release(slots, 2), 0);
    cluster_compact();
    assert_code(shk_semaphore_release(slots, 1), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &result);
        assert_result((intptr_t)result, 0);
    }
    assert_code(shk_semaphore_value(slots), 0);
    close_all(s, slots);
}
END_TEST

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

START_TEST(test_etcd_semaphore_wait_ends_with_the_interrupt_flag_or_an_unlink)
{
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 0, 0, 0);
    pthread_t thread;
    void *result;

    signal(SIGALRM, interrupt);
    assert_code(shk_set_interrupt(s, &interrupted), 0);
    alarm(1);
    assert_code(shk_semaphore_acquire(slots, SHK_FOREVER), -EINTR);
    ck_assert_int_eq(waiting(), 0);
    assert_code(shk_set_interrupt(s, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, acquire_in_thread, slots), 0);
    wait_until(waiting() == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(s, "slots"), 0);
    pthread_join(thread, &result);
    assert_result((intptr_t)result, -ESTALE);
    assert_code(shk_semaphore_release(slots, 1), -ESTALE);
    close_all(s, slots);
}
END_TEST

/* The first process of a pid namespace: each of two has the pid 1. */
static int acquire_as_first(void *argument)
{
    struct board *board = argument;
    struct shk_semaphore *slots;
    int n = ++board->turns, status;
    pid_t first;

    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        board->result = -errno;
        return 0;
    }
    first = fork();
    if (first == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        slots = open_again();
        assert_code(shk_semaphore_acquire_many(slots, (unsigned)n, TEST_DEADLINE), 0);
        board->came++;
        while (!board->ends)
            pause_briefly();
        _exit(0);
    }
    waitpid(first, &status, 0);
    return status;
}

START_TEST(test_etcd_semaphore_owners_of_one_pid_are_told_apart)
{
    struct board *board = shared_memory(sizeof(*board));
    struct shk_segment *s = etcd_segment();
    struct shk_semaphore *slots = open_semaphore(s, 4, 0, 1);
    const struct shk_member_info *m, *other = NULL;
    const struct shk_object_info *o;
    struct shk_snapshot *snapshot;
    uint32_t permits = 0;
    pid_t children[2];

    for (int i = 0; i < 2; i++) {
        children[i] = child_start(acquire_as_first, board);
        wait_until(board->came == i + 1 || board->result, TEST_DEADLINE);
    }
    if (board->result == 0) {
        assert_code(shk_snapshot_open(etcd_name(), &snapshot), 0);
        o = shk_snapshot_find_object(snapshot, "slots");
        ck_assert_uint_eq(o->as.semaphore.n_holders, 2);
        for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)); i++) {
            if (m->pid != 1 || m->tid != 1)
                continue;
            if (other)
                ck_assert_uint_ne(shk_snapshot_permits(snapshot, o, m),
                                  shk_snapshot_permits(snapshot, o, other));
            permits += shk_snapshot_permits(snapshot, o, m);
            other = m;
        }
        ck_assert_uint_eq(permits, 3); /* 1 and 2 */
        shk_snapshot_close(snapshot);
    }
    board->ends = true;
    for (int i = 0; i < 2; i++)
        child_succeeds(children[i]);
    close_all(s, slots);
    if (board->result)
        skip_test("there are no pid namespaces here: %s", strerror(-board->result));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("semaphore on etcd");
    TCase *permits = test_case(suite, "permits"), *deaths = test_case(suite, "deaths"),
          *servers = test_case(suite, "servers");

    setenv("SHMKIT_ETCD_TTL", "2", 1);
    tcase_add_test(permits, test_etcd_semaphore_counts_its_permits);
    tcase_add_test(permits, test_etcd_semaphore_is_not_passed_by_those_that_want_less);
    tcase_add_test(permits,
                   test_etcd_semaphore_with_owners_keeps_permits_until_the_segment_is_closed);
    tcase_add_test(permits, test_etcd_semaphore_owners_of_one_pid_are_told_apart);
    tcase_add_test(permits, test_etcd_semaphore_wait_ends_with_the_interrupt_flag_or_an_unlink);
    tcase_add_test(deaths, test_etcd_semaphore_goes_on_when_the_first_waiter_is_killed_or_frozen);
    tcase_add_test(deaths,
                   test_etcd_semaphore_with_owners_gets_the_permits_of_a_killed_process_back);
    tcase_add_test(deaths, test_etcd_semaphore_with_owners_refuses_what_a_frozen_process_has_lost);
    tcase_add_test(servers, test_etcd_semaphore_counts_exactly_when_the_leader_is_killed);
    tcase_add_test(servers,
                   test_etcd_semaphore_with_owners_counts_exactly_when_the_leader_is_killed);
    tcase_add_test(servers, test_etcd_semaphore_gives_back_what_an_acquire_without_a_majority_took);
    tcase_add_test(servers, test_etcd_semaphore_waits_without_requests_and_through_a_compaction);
    return run_with_cluster(suite);
}
