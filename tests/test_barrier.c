/* The barrier: what <shmkit/barrier.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

static struct shk_barrier *open_start(uint32_t parties)
{
    const struct shk_barrier_options options = {.parties = parties};
    struct shk_barrier *barrier;

    assert_code(shk_barrier_open(test_segment(), "start", SHK_CREATE, &options, &barrier), 0);
    return barrier;
}

/* ---- Actors: programs that come to the barrier once ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool interruptible;
    _Atomic int result;
};

static int come(void *argument)
{
    struct actor *actor = argument;
    struct shk_barrier *start;

    assert_code(shk_barrier_open(test_segment(), "start", 0, NULL, &start), 0);
    if (actor->interruptible)
        interruptible();
    actor->result = shk_barrier_wait(start, actor->timeout);
    return 0;
}

static struct actor *start_waiter_as(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(come, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "start");
    return actor;
}

static struct actor *start_waiter(void)
{
    return start_waiter_as(&(struct actor){.timeout = SHK_FOREVER});
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

/* ---- Opening ---- */

START_TEST(test_barrier_is_created_for_its_parties)
{
    struct shk_barrier *start, *again;

    assert_code(shk_barrier_open(test_segment(), "start", SHK_CREATE, NULL, &start), -EINVAL);
    assert_code(shk_barrier_open(test_segment(), "start", 0, NULL, &start), -ENOENT);
    start = open_start(3);
    assert_code(shk_barrier_parties(start), 3);
    assert_code(shk_barrier_waiting(start), 0);
    assert_code(shk_barrier_broken(start), 0);
    assert_code(shk_barrier_open(test_segment(), "start", 0, NULL, &again), 0);
    assert_code(shk_barrier_close(again), 0);
    assert_code(shk_barrier_open(test_segment(), "start", 0,
                                 &(struct shk_barrier_options){.parties = 2}, &again),
                -EPROTOTYPE);
    assert_code(shk_barrier_open(test_segment(), "start", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_barrier_close(start), 0);
    assert_code(shk_barrier_close(NULL), 0);
}
END_TEST

START_TEST(test_barrier_refuses_bad_arguments)
{
    const struct shk_barrier_options good = {.parties = 2},
                                     bad[] = {{.parties = 65536},
                                              {.parties = 1, .reserved_32 = 1},
                                              {.parties = 1, .reserved = {1}}};
    struct shk_barrier *start = open_start(2), *other;
    struct shk_event *event;

    for (const struct bad_name *name = bad_object_names; name->name; name++)
        assert_code(shk_barrier_open(test_segment(), name->name, SHK_CREATE, &good, &other),
                    name->code);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_barrier_open(test_segment(), "event", SHK_CREATE, &good, &other), -EPROTOTYPE);
    assert_code(shk_event_close(event), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_code(shk_barrier_open(test_segment(), "new", SHK_CREATE, &bad[i], &other), -EINVAL);
    assert_code(shk_barrier_open(test_segment(), "new", SHK_CREATE, &good, NULL), -EINVAL);
    assert_code(shk_barrier_open(NULL, "new", SHK_CREATE, &good, &other), -EINVAL);
    assert_code(shk_barrier_wait(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_barrier_reset(NULL), -EINVAL);
    assert_code(shk_barrier_abort(NULL), -EINVAL);
    assert_code(shk_barrier_waiting(NULL), -EINVAL);
    assert_code(shk_barrier_parties(NULL), -EINVAL);
    assert_code(shk_barrier_broken(NULL), -EINVAL);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

/* ---- Meeting ---- */

START_TEST(test_barrier_for_one_does_not_wait)
{
    struct shk_barrier *start = open_start(1);

    assert_code(shk_barrier_wait(start, SHK_FOREVER), 0);
    assert_code(shk_barrier_wait(start, SHK_NOWAIT), 0);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_releases_all_when_the_last_has_come)
{
    struct shk_barrier *start = open_start(3);
    struct actor *first = start_waiter(), *second;

    assert_code(shk_barrier_waiting(start), 1);
    second = start_waiter();
    assert_code(shk_barrier_waiting(start), 2);
    assert_result(first->result, PENDING);
    assert_code(shk_barrier_wait(start, SHK_FOREVER), 2);
    assert_result(result_of(first), 0);
    assert_result(result_of(second), 1);
    assert_code(shk_barrier_waiting(start), 0);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

enum { PARTIES = 4, ROUNDS = 500 };

struct rounds {
    atomic_int arrived[ROUNDS], sum[ROUNDS];
};

static int go_round(void *argument)
{
    struct rounds *rounds = argument;
    struct shk_barrier *start = open_start(PARTIES);

    for (int i = 0; i < ROUNDS; i++) {
        rounds->arrived[i]++;
        int index = shk_barrier_wait(start, SHK_FOREVER);
        if (index < 0 || rounds->arrived[i] != PARTIES)
            return 2;
        rounds->sum[i] += 1 << index;
    }
    return 0;
}

START_TEST(test_barrier_keeps_its_rounds_apart)
{
    struct rounds *rounds = shared_memory(sizeof(*rounds));
    pid_t pids[PARTIES];

    for (int i = 0; i < PARTIES; i++)
        pids[i] = stranger_start(go_round, rounds);
    for (int i = 0; i < PARTIES; i++)
        child_succeeds(pids[i]);
    for (int i = 0; i < ROUNDS; i++) /* each index once */
        ck_assert_int_eq(rounds->sum[i], (1 << PARTIES) - 1);
}
END_TEST

/* ---- Breaking ---- */

START_TEST(test_barrier_with_nowait_has_not_arrived)
{
    struct shk_barrier *start = open_start(2);

    assert_code(shk_barrier_wait(start, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_barrier_broken(start), 0);
    assert_code(shk_barrier_waiting(start), 0);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_breaks_when_a_waiter_gives_up)
{
    struct shk_barrier *start = open_start(3);
    struct actor *other = start_waiter();

    if (_i == 0) {
        assert_code_after(SHK_MS(120), shk_barrier_wait(start, SHK_MS(120)), -ETIMEDOUT);
    } else {
        struct actor *impatient =
            start_waiter_as(&(struct actor){.timeout = SHK_FOREVER, .interruptible = true});
        ck_assert_int_eq(kill(impatient->pid, SIGINT), 0);
        assert_result(result_of(impatient), -EINTR);
    }
    assert_result(result_of(other), -EPIPE);
    assert_code(shk_barrier_broken(start), 1);
    assert_code(shk_barrier_wait(start, SHK_FOREVER), -EPIPE);
    assert_code(shk_barrier_reset(start), 0);
    assert_code(shk_barrier_broken(start), 0);
    assert_code(shk_barrier_wait(start, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_breaks_when_the_time_is_over_already)
{
    struct shk_barrier *start = open_start(3);
    struct actor *other = start_waiter();

    assert_code(shk_barrier_wait(start, -1), -ETIMEDOUT);
    assert_result(result_of(other), -EPIPE);
    assert_code(shk_barrier_broken(start), 1);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

/* The last to arrive has nothing to wait for. */
START_TEST(test_barrier_is_completed_when_the_time_is_over_already)
{
    struct shk_barrier *start = open_start(2);
    struct actor *other = start_waiter();

    assert_code(shk_barrier_wait(start, -1), 1);
    assert_result(result_of(other), 0);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_is_aborted_and_reset_with_members_waiting)
{
    struct shk_barrier *start = open_start(3);
    struct actor *one = start_waiter(), *two = start_waiter();

    assert_code(_i ? shk_barrier_abort(start) : shk_barrier_reset(start), 0);
    assert_result(result_of(one), -EPIPE);
    assert_result(result_of(two), -EPIPE);
    assert_code(shk_barrier_broken(start), _i);
    assert_code(shk_barrier_wait(start, SHK_NOWAIT), _i ? -EPIPE : -EAGAIN);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_breaks_when_a_waiter_dies)
{
    struct shk_barrier *start = open_start(3);
    struct actor *victim = start_waiter(), *other = _i ? start_waiter() : NULL;

    child_kill(victim->pid);
    if (other)
        assert_result(result_of(other), -EPIPE);
    assert_code(shk_barrier_wait(start, SHK_FOREVER), -EPIPE);
    assert_code(shk_barrier_broken(start), 1);
    struct shk_object_info info;
    ck_assert(look_at_object(segment_name(NULL), "start", &info));
    ck_assert_uint_eq(info.waiters_buried, 1);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

START_TEST(test_barrier_that_is_unlinked_releases_its_waiters)
{
    struct shk_barrier *start = open_start(2);
    struct actor *waiter = start_waiter();

    assert_code(_i ? shk_segment_unlink(segment_name(NULL))
                   : shk_object_unlink(test_segment(), "start"),
                0);
    assert_result(result_of(waiter), -ESTALE);
    assert_code(shk_barrier_wait(start, SHK_FOREVER), -ESTALE);
    assert_code(shk_barrier_abort(start), -ESTALE);
    assert_code(shk_barrier_broken(start), -ESTALE);
    assert_code(shk_barrier_close(start), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("barrier");
    TCase *opening = test_case(suite, "opening");
    TCase *meeting = test_case(suite, "meeting");
    TCase *breaking = test_case(suite, "breaking");

    tcase_add_test(opening, test_barrier_is_created_for_its_parties);
    tcase_add_test(opening, test_barrier_refuses_bad_arguments);
    tcase_add_test(meeting, test_barrier_for_one_does_not_wait);
    tcase_add_test(meeting, test_barrier_releases_all_when_the_last_has_come);
    tcase_add_test(meeting, test_barrier_keeps_its_rounds_apart);
    tcase_add_test(breaking, test_barrier_with_nowait_has_not_arrived);
    tcase_add_loop_test(breaking, test_barrier_breaks_when_a_waiter_gives_up, 0, 2);
    tcase_add_test(breaking, test_barrier_breaks_when_the_time_is_over_already);
    tcase_add_test(breaking, test_barrier_is_completed_when_the_time_is_over_already);
    tcase_add_loop_test(breaking, test_barrier_is_aborted_and_reset_with_members_waiting, 0, 2);
    tcase_add_loop_test(breaking, test_barrier_breaks_when_a_waiter_dies, 0, 2);
    tcase_add_loop_test(breaking, test_barrier_that_is_unlinked_releases_its_waiters, 0, 2);
    return run_tests(suite);
}
