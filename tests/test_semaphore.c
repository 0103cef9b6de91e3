/* The semaphore: what <shmkit/semaphore.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct shk_semaphore *open_slots(uint32_t value, uint32_t max)
{
    const struct shk_semaphore_options options = {.value = value, .max = max};
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(test_segment(), "slots", SHK_CREATE, &options, &semaphore), 0);
    return semaphore;
}

/* ---- Actors: programs that take a permit, and end with it ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool interruptible;
    _Atomic int result;
};

static int take_one(void *argument)
{
    struct actor *actor = argument;
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(test_segment(), "slots", 0, NULL, &slots), 0);
    if (actor->interruptible)
        interruptible();
    actor->result = shk_semaphore_acquire(slots, actor->timeout);
    return 0;
}

static struct actor *start_waiter_as(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(take_one, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "slots");
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

START_TEST(test_semaphore_is_created_with_its_value_and_found_as_it_is)
{
    struct shk_semaphore *slots, *again;

    assert_code(shk_semaphore_open(test_segment(), "slots", 0, NULL, &slots), -ENOENT);
    slots = open_slots(2, 3);
    assert_code(shk_semaphore_value(slots), 2);
    assert_code(shk_semaphore_open(test_segment(), "slots", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_semaphore_open(test_segment(), "slots", 0,
                                   &(struct shk_semaphore_options){.value = 1}, &again),
                0);
    assert_code(shk_semaphore_value(again), 2);
    assert_code(shk_semaphore_close(again), 0);
    assert_code(shk_semaphore_open(test_segment(), "slots", 0,
                                   &(struct shk_semaphore_options){.max = 4}, &again),
                -EPROTOTYPE);
    assert_code(shk_semaphore_close(slots), 0);
    assert_code(shk_semaphore_close(NULL), 0);
    assert_code(shk_semaphore_open(test_segment(), "plain", SHK_CREATE, NULL, &slots), 0);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_refuses_bad_arguments)
{
    struct shk_semaphore *slots = open_slots(1, 1), *other;
    struct shk_event *event;

    for (const struct bad_name *bad = bad_object_names; bad->name; bad++)
        assert_code(shk_semaphore_open(test_segment(), bad->name, SHK_CREATE, NULL, &other),
                    bad->code);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_semaphore_open(test_segment(), "event", SHK_CREATE, NULL, &other), -EPROTOTYPE);
    assert_code(shk_event_close(event), 0);
    const struct shk_semaphore_options bad[] = {
        {.value = 2, .max = 1}, {.max = 1u << 31}, {.value = 1u << 31}, {.reserved = {1}}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_code(shk_semaphore_open(test_segment(), "new", SHK_CREATE, &bad[i], &other),
                    -EINVAL);
    assert_code(shk_semaphore_open(test_segment(), "new", SHK_CREATE, NULL, NULL), -EINVAL);
    assert_code(shk_semaphore_open(NULL, "new", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_semaphore_acquire(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_release(slots, 0), -EINVAL);
    assert_code(shk_semaphore_release(NULL, 1), -EINVAL);
    assert_code(shk_semaphore_value(NULL), -EINVAL);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* ---- Taking and giving ---- */

START_TEST(test_semaphore_counts)
{
    struct shk_semaphore *slots = open_slots(2, 0);

    assert_code(shk_semaphore_acquire(slots, SHK_FOREVER), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(150), shk_semaphore_acquire(slots, SHK_MS(150)), -ETIMEDOUT);
    assert_code(shk_semaphore_release(slots, 5), 0);
    assert_code(shk_semaphore_value(slots), 5);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_never_has_more_than_its_maximum)
{
    struct shk_semaphore *slots = open_slots(2, 3);

    assert_code(shk_semaphore_release(slots, 2), -EOVERFLOW);
    assert_code(shk_semaphore_value(slots), 2);
    assert_code(shk_semaphore_release(slots, UINT_MAX), -EOVERFLOW);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_release(slots, 1), -EOVERFLOW);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_serves_in_order_of_arrival)
{
    enum { WAITERS = 4 };
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    for (int i = 0; i < WAITERS; i++) {
        assert_code(shk_semaphore_release(slots, 1), 0);
        assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN); /* it is promised */
        assert_result(result_of(waiters[i]), 0);
        for (int k = i + 1; k < WAITERS; k++)
            assert_result(waiters[k]->result, PENDING);
    }
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_releases_several_at_once)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *waiters[3] = {start_waiter(), start_waiter(), start_waiter()};

    assert_code(shk_semaphore_release(slots, 4), 0);
    for (int i = 0; i < 3; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_wait_is_interrupted)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *waiter =
        start_waiter_as(&(struct actor){.timeout = SHK_FOREVER, .interruptible = true});

    ck_assert_int_eq(kill(waiter->pid, SIGINT), 0);
    assert_result(result_of(waiter), -EINTR);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/*
 * Its permit goes to another waiter, or to a member that comes later; in line it keeps its place.
 */
START_TEST(test_semaphore_takes_back_what_it_promised_to_a_stopped_waiter)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *stopped = start_waiter(), *next = _i ? start_waiter() : NULL, *last;

    child_stop(stopped->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    if (next)
        assert_result(result_of(next), 0);
    else
        assert_code(shk_semaphore_acquire(slots, TEST_DEADLINE), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    last = start_waiter();
    child_continue(stopped->pid);
    assert_result(stopped->result, PENDING);
    wait_until_waiting(segment_name(NULL), stopped->pid, "slots");
    usleep(300000); /* its recheck interval is over: it takes part again */
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_result(result_of(stopped), 0);
    assert_result(last->result, PENDING);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_result(result_of(last), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* The first in line looks for the dead; not when it is stopped. */
START_TEST(test_semaphore_passes_on_a_dead_waiters_permit_though_the_first_in_line_is_stopped)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *dead = start_waiter(), *first = start_waiter(), *second = start_waiter();

    child_stop(first->pid);
    child_stop(dead->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    child_kill(dead->pid);
    assert_result(result_of(second), 0);
    assert_code(shk_semaphore_release(slots, 1), 0);
    child_continue(first->pid);
    assert_result(result_of(first), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_that_is_unlinked_releases_its_waiters)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *waiter = start_waiter();

    if (_i == 0)
        assert_code(shk_object_unlink(test_segment(), "slots"), 0);
    else
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    assert_result(result_of(waiter), -ESTALE);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -ESTALE);
    assert_code(shk_semaphore_release(slots, 1), -ESTALE);
    assert_code(shk_semaphore_value(slots), -ESTALE);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* ---- Deaths ---- */

START_TEST(test_semaphore_skips_a_dead_waiter)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *first = start_waiter(), *second = start_waiter();

    child_kill(first->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_result(result_of(second), 0);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/*
 * Promised to one that is stopped, and dies so: the next gets it; and if there is no next, it can
 * be had again.
 */
START_TEST(test_semaphore_passes_a_dead_waiters_permit_on)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *first = start_waiter(), *second = _i ? start_waiter() : NULL;

    child_stop(first->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    child_kill(first->pid);
    if (second)
        assert_result(result_of(second), 0);
    else
        assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

struct storm {
    atomic_bool stop;
    atomic_int inside, most;
    atomic_long rounds;
};

static int come_and_go(void *argument)
{
    struct storm *storm = argument;
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(test_segment(), "slots", 0, NULL, &slots), 0);
    while (!storm->stop) {
        if (shk_semaphore_acquire(slots, SHK_FOREVER) < 0)
            return 2;
        int now = ++storm->inside, most = storm->most;
        while (now > most && !atomic_compare_exchange_weak(&storm->most, &most, now))
            ;
        storm->inside--;
        storm->rounds++;
        if (shk_semaphore_release(slots, 1) < 0)
            return 3;
    }
    return 0;
}

START_TEST(test_semaphore_lets_no_more_in_than_it_has_permits)
{
    enum { PROGRAMS = 4 };
    struct shk_semaphore *slots = open_slots(2, 2);
    struct storm *storm = shared_memory(sizeof(*storm));
    pid_t pids[PROGRAMS];

    for (int i = 0; i < PROGRAMS; i++)
        pids[i] = stranger_start(come_and_go, storm);
    wait_until(storm->rounds > 20000, TEST_DEADLINE);
    storm->stop = true;
    for (int i = 0; i < PROGRAMS; i++)
        child_succeeds(pids[i]);
    ck_assert_int_le(storm->most, 2);
    assert_code(shk_semaphore_value(slots), 2);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("semaphore");
    TCase *opening = test_case(suite, "opening");
    TCase *permits = test_case(suite, "permits");
    TCase *deaths = test_case(suite, "deaths");

    tcase_add_test(opening, test_semaphore_is_created_with_its_value_and_found_as_it_is);
    tcase_add_test(opening, test_semaphore_refuses_bad_arguments);
    tcase_add_test(permits, test_semaphore_counts);
    tcase_add_test(permits, test_semaphore_never_has_more_than_its_maximum);
    tcase_add_test(permits, test_semaphore_serves_in_order_of_arrival);
    tcase_add_test(permits, test_semaphore_releases_several_at_once);
    tcase_add_test(permits, test_semaphore_wait_is_interrupted);
    tcase_add_loop_test(permits, test_semaphore_that_is_unlinked_releases_its_waiters, 0, 2);
    tcase_add_loop_test(permits, test_semaphore_takes_back_what_it_promised_to_a_stopped_waiter, 0,
                        2);
    tcase_add_test(
        permits,
        test_semaphore_passes_on_a_dead_waiters_permit_though_the_first_in_line_is_stopped);
    tcase_add_test(permits, test_semaphore_lets_no_more_in_than_it_has_permits);
    tcase_add_test(deaths, test_semaphore_skips_a_dead_waiter);
    tcase_add_loop_test(deaths, test_semaphore_passes_a_dead_waiters_permit_on, 0, 2);
    return run_tests(suite);
}
