/* The event: what <shmkit/event.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct shk_event *open_event(const char *name)
{
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), name, SHK_CREATE, NULL, &event), 0);
    return event;
}

/* ---- Actors: programs that wait for the event ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool interruptible;
    _Atomic int result;
};

static int wait_for_go(void *argument)
{
    struct actor *actor = argument;
    struct shk_event *go = open_event("go");

    if (actor->interruptible)
        interruptible();
    actor->result = shk_event_wait(go, actor->timeout);
    return actor->result == 0 || shk_last_error()[0] ? 0 : 2;
}

static struct actor *start_waiter_as(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(wait_for_go, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "go");
    return actor;
}

static struct actor *start_waiter(int64_t timeout)
{
    return start_waiter_as(&(struct actor){.timeout = timeout});
}

/* What the actor's wait gave; the actor has ended. */
static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

/* ---- Opening ---- */

START_TEST(test_event_is_created_once_and_found_by_name)
{
    struct shk_event *event, *again;

    assert_code(shk_event_open(test_segment(), "go", 0, NULL, &event), -ENOENT);
    assert_code(shk_event_open(test_segment(), "go", SHK_CREATE | SHK_EXCL, NULL, &event), 0);
    assert_code(shk_event_open(test_segment(), "go", SHK_CREATE | SHK_EXCL, NULL, &again), -EEXIST);
    assert_code(shk_event_open(test_segment(), "go", 0, &(struct shk_event_options){0}, &again), 0);
    assert_code(shk_event_is_set(event), 0);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_is_set(again), 1);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_event_close(again), 0);
    assert_code(shk_event_close(NULL), 0);
    event = open_event("go");
    assert_code(shk_event_is_set(event), 1);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_event_refuses_bad_arguments)
{
    struct shk_event *event = open_event("go"), *other;
    struct shk_lock *lock;

    for (const struct bad_name *bad = bad_object_names; bad->name; bad++)
        assert_code(shk_event_open(test_segment(), bad->name, SHK_CREATE, NULL, &other), bad->code);
    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_event_open(test_segment(), "lock", SHK_CREATE, NULL, &other), -EPROTOTYPE);
    assert_code(shk_lock_close(lock), 0);
    assert_code(
        shk_event_open(test_segment(), "new", SHK_CREATE, &(struct shk_event_options){{1}}, &other),
        -EINVAL);
    assert_code(shk_event_open(test_segment(), "new", SHK_CREATE | 0x80, NULL, &other), -EINVAL);
    assert_code(shk_event_open(test_segment(), "new", SHK_CREATE, NULL, NULL), -EINVAL);
    assert_code(shk_event_open(test_segment(), NULL, SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_event_open(NULL, "new", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_event_open(test_segment(), "new", 0, NULL, &other), -ENOENT);
    assert_code(shk_event_wait(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_event_set(NULL), -EINVAL);
    assert_code(shk_event_clear(NULL), -EINVAL);
    assert_code(shk_event_is_set(NULL), -EINVAL);
    assert_code(shk_event_close(event), 0);
}
END_TEST

static int wait_after_fork(void *event)
{
    assert_code(shk_event_wait(event, SHK_FOREVER), -EUSERS);
    return 0;
}

START_TEST(test_event_needs_room)
{
    const struct shk_segment_options options = {.max_members = 1, .max_objects = 1};
    struct shk_segment *small;
    struct shk_event *event, *other;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    assert_code(shk_event_open(small, "go", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_event_open(small, "other", SHK_CREATE, NULL, &other), -ENOSPC);
    child_succeeds(child_start(wait_after_fork, event));
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

START_TEST(test_event_ends_with_its_segment)
{
    struct shk_segment *segment;
    struct shk_event *event;

    assert_code(shk_segment_open(segment_name("other"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_event_open(segment, "go", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_event_set(event), -EBADF);
    assert_code(shk_event_clear(event), -EBADF);
    assert_code(shk_event_is_set(event), -EBADF);
    assert_code(shk_event_wait(event, SHK_FOREVER), -EBADF);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_unlink(segment_name("other")), 0);
}
END_TEST

/* ---- Setting and waiting ---- */

START_TEST(test_event_is_a_flag)
{
    struct shk_event *go = open_event("go");

    for (int round = 0; round < 2; round++) {
        assert_code(shk_event_is_set(go), 0);
        assert_code(shk_event_clear(go), 0);
        assert_code(shk_event_wait(go, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_event_set(go), 0);
        assert_code(shk_event_set(go), 0);
        for (int look = 0; look < 2; look++) {
            assert_code(shk_event_is_set(go), 1);
            assert_code(shk_event_wait(go, SHK_NOWAIT), 0);
            assert_code(shk_event_wait(go, SHK_MS(1)), 0);
            assert_code(shk_event_wait(go, SHK_FOREVER), 0);
        }
        assert_code(shk_event_clear(go), 0);
    }
    assert_code(shk_event_close(go), 0);
}
END_TEST

/* also longer than a recheck interval */
static const int64_t timeouts[] = {1, SHK_MS(1), SHK_MS(30), SHK_MS(250)};

START_TEST(test_event_wait_gives_up_when_the_time_is_over_and_not_before)
{
    struct shk_event *go = open_event("go");

    assert_code_after(timeouts[_i], shk_event_wait(go, timeouts[_i]), -ETIMEDOUT);
    assert_code_after(timeouts[_i], shk_event_wait(go, timeouts[_i]), -ETIMEDOUT);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_wait(go, timeouts[_i]), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

enum { WAITERS = 5 };

START_TEST(test_event_releases_all_waiters)
{
    struct shk_event *go = open_event("go");
    struct actor *waiters[WAITERS];
    struct shk_object_info info;

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter(i % 2 ? SHK_FOREVER : SHK_SEC(3600));
    ck_assert(look_at_object(segment_name(NULL), "go", &info));
    ck_assert_uint_eq(info.waiters, WAITERS);
    assert_code(shk_event_set(go), 0);
    for (int i = 0; i < WAITERS; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(shk_event_is_set(go), 1);
    assert_code(shk_event_close(go), 0);
}
END_TEST

/*
 * They go through the same turnstile again and again, which is open for no longer than it takes to
 * close it.
 */
struct turnstile {
    atomic_bool end;
    _Atomic int passed[WAITERS];
};

struct walker {
    struct turnstile *turnstile;
    int number;
};

static int pass_again_and_again(void *argument)
{
    const struct walker *walker = argument;
    struct shk_event *go = open_event("go");

    while (!walker->turnstile->end) {
        if (shk_event_wait(go, SHK_FOREVER) != 0)
            return 2;
        walker->turnstile->passed[walker->number]++;
    }
    return 0;
}

START_TEST(test_event_set_and_cleared_at_once_releases_all_waiters)
{
    enum { ROUNDS = 200 };
    struct shk_event *go = open_event("go");
    struct turnstile *turnstile = shared_memory(sizeof(*turnstile));
    struct shk_object_info info;
    pid_t walkers[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        walkers[i] = stranger_start(pass_again_and_again, &(struct walker){turnstile, i});
    for (int round = 1; round <= ROUNDS; round++) {
        wait_until(look_at_object(segment_name(NULL), "go", &info) && info.waiters == WAITERS,
                   TEST_DEADLINE);
        int passed[WAITERS]; /* a quick one passes twice while the turnstile is open */
        for (int i = 0; i < WAITERS; i++)
            passed[i] = turnstile->passed[i];
        turnstile->end = round == ROUNDS;
        if (shk_event_set(go) != 0 || shk_event_clear(go) != 0)
            ck_abort_msg("set and clear failed: %s", shk_last_error());
        for (int i = 0; i < WAITERS; i++)
            wait_until(turnstile->passed[i] > passed[i], TEST_DEADLINE);
    }
    for (int i = 0; i < WAITERS; i++)
        child_succeeds(walkers[i]);
    assert_code(shk_event_is_set(go), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

START_TEST(test_event_does_not_release_a_later_waiter)
{
    struct shk_event *go = open_event("go");

    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_clear(go), 0);
    struct actor *late = start_waiter(SHK_FOREVER);
    assert_code(shk_event_clear(go), 0);
    usleep(350000); /* several recheck intervals: nothing is to happen in this time */
    assert_result(late->result, PENDING);
    assert_code(shk_event_set(go), 0);
    assert_result(result_of(late), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

static void *wait_in_a_thread(void *event)
{
    return (void *)(intptr_t)shk_event_wait(event, SHK_FOREVER);
}

START_TEST(test_event_releases_the_threads_of_a_process)
{
    enum { THREADS = 32 };
    struct shk_event *go = open_event("go");
    struct shk_object_info info;
    pthread_t threads[THREADS];
    void *result;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_a_thread, go), 0);
    wait_until(look_at_object(segment_name(NULL), "go", &info) && info.waiters == THREADS,
               TEST_DEADLINE);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_clear(go), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_null(result);
    }
    assert_code(shk_event_close(go), 0);
}
END_TEST

static int wait_with_the_handle_of_the_parent(void *event)
{
    assert_code(shk_event_wait(event, SHK_FOREVER), 0);
    assert_code(shk_event_clear(event), 0);
    return 0;
}

START_TEST(test_event_works_in_a_forked_child)
{
    struct shk_event *go = open_event("go");
    pid_t child = child_start(wait_with_the_handle_of_the_parent, go);

    wait_until_waiting(segment_name(NULL), child, "go");
    assert_code(shk_event_set(go), 0);
    child_succeeds(child);
    assert_code(shk_event_is_set(go), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

/* ---- Interruption ---- */

START_TEST(test_event_wait_ends_with_an_interrupt)
{
    struct shk_event *go = open_event("go");
    struct actor *waiter = start_waiter_as(
        &(struct actor){.timeout = _i ? SHK_SEC(3600) : SHK_FOREVER, .interruptible = true});
    struct actor *other = start_waiter(SHK_FOREVER);

    ck_assert_int_eq(kill(waiter->pid, SIGINT), 0);
    assert_result(result_of(waiter), -EINTR);
    assert_result(other->result, PENDING);
    assert_code(shk_event_set(go), 0);
    assert_result(result_of(other), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

static int wait_interrupted(void *argument)
{
    struct shk_event *go = open_event("go");

    (void)argument;
    *interruptible() = 1;
    assert_code(shk_event_wait(go, SHK_FOREVER), -EINTR);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_wait(go, SHK_FOREVER), 0);
    assert_code(shk_event_clear(go), 0);
    assert_code(shk_set_interrupt(test_segment(), NULL), 0);
    assert_code(shk_event_wait(go, SHK_MS(10)), -ETIMEDOUT);
    return 0;
}

START_TEST(test_event_that_is_set_ignores_the_interrupt)
{
    child_succeeds(stranger_start(wait_interrupted, NULL));
}
END_TEST

/* ---- Unlinking ---- */

START_TEST(test_event_that_is_unlinked_releases_its_waiters)
{
    struct shk_event *go = open_event("go");
    struct actor *patient = start_waiter(SHK_FOREVER);
    struct actor *timed = start_waiter(SHK_SEC(3600));

    if (_i)
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    else
        assert_code(shk_object_unlink(test_segment(), "go"), 0);
    assert_result(result_of(patient), -ESTALE);
    assert_result(result_of(timed), -ESTALE);
    assert_code(shk_event_set(go), -ESTALE);
    assert_code(shk_event_clear(go), -ESTALE);
    assert_code(shk_event_is_set(go), -ESTALE);
    assert_code(shk_event_wait(go, SHK_FOREVER), -ESTALE);
    assert_code(shk_event_close(go), 0);
}
END_TEST

START_TEST(test_event_of_the_same_name_is_another_event)
{
    struct shk_event *old = open_event("go"), *new;
    struct actor *waiter = start_waiter(SHK_FOREVER);

    assert_code(shk_object_unlink(test_segment(), "go"), 0);
    new = open_event("go");
    assert_result(result_of(waiter), -ESTALE);
    waiter = start_waiter(SHK_FOREVER);
    assert_code(shk_event_set(old), -ESTALE);
    assert_code(shk_event_is_set(new), 0);
    assert_code(shk_event_close(old), 0);
    assert_code(shk_event_set(new), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_event_close(new), 0);
}
END_TEST

/* ---- Deaths ---- */

START_TEST(test_event_is_not_disturbed_by_killed_and_stopped_waiters)
{
    struct shk_event *go = open_event("go");
    struct actor *killed = start_waiter(SHK_FOREVER), *stopped = start_waiter(SHK_FOREVER);
    struct actor *stopped_and_killed = start_waiter(SHK_FOREVER),
                 *waiter = start_waiter(SHK_FOREVER);

    child_kill(killed->pid);
    child_stop(stopped->pid);
    child_stop(stopped_and_killed->pid);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_clear(go), 0);
    assert_result(result_of(waiter), 0);
    child_kill(stopped_and_killed->pid);
    waiter = start_waiter(SHK_FOREVER);
    assert_code(shk_event_set(go), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_event_clear(go), 0);
    assert_result(stopped->result, PENDING);
    child_continue(stopped->pid);
    assert_result(result_of(stopped), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

/*
 * It was there when the event was set; that it slept through it, and through its own timeout, does
 * not matter.
 */
START_TEST(test_event_releases_a_stopped_waiter_whose_time_has_run_out)
{
    const int64_t timeout = SHK_MS(500) * time_factor();
    struct shk_event *go = open_event("go");
    int64_t started = time_now();
    struct actor *waiter = start_waiter(timeout);

    child_stop(waiter->pid);
    assert_code(shk_event_set(go), 0);
    bool in_time = time_now() < started + timeout;
    assert_code(shk_event_clear(go), 0);
    wait_until(time_now() > started + 2 * timeout, TEST_DEADLINE);
    child_continue(waiter->pid);
    int result = result_of(waiter);
    assert_code(shk_event_close(go), 0);
    if (!in_time)
        skip_test("it took longer than %lld ms to stop a process", (long long)timeout / SHK_MS(1));
    assert_result(result, 0);
}
END_TEST

static int wait_and_set(void *argument)
{
    struct shk_event *go = open_event("go");

    (void)argument;
    for (;;)
        if (shk_event_wait(go, SHK_MS(1) / 10) == -ETIMEDOUT &&
            (shk_event_set(go) != 0 || shk_event_clear(go) != 0))
            return 2;
}

/* Whenever those that set, clear and wait are killed, the event goes on to work for the others. */
START_TEST(test_event_survives_kills_at_random)
{
    enum { ACTORS = 3, KILLS = 300 };
    struct shk_event *go = open_event("go");
    pid_t actors[ACTORS];

    for (int i = 0; i < ACTORS; i++)
        actors[i] = stranger_start(wait_and_set, NULL);
    for (int i = 0; i < KILLS; i++) {
        usleep((unsigned)(random() % 2000 * time_factor()));
        child_kill(actors[i % ACTORS]);
        actors[i % ACTORS] = stranger_start(wait_and_set, NULL);
    }
    for (int i = 0; i < ACTORS; i++)
        child_kill(actors[i]);
    assert_code(shk_event_clear(go), 0);
    struct actor *waiter = start_waiter(SHK_FOREVER);
    assert_code(shk_event_set(go), 0);
    assert_code(shk_event_clear(go), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_event_close(go), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event");
    TCase *opening = test_case(suite, "opening");
    TCase *waiting = test_case(suite, "setting and waiting");
    TCase *interruption = test_case(suite, "interruption");
    TCase *unlinking = test_case(suite, "unlinking");
    TCase *deaths = test_case(suite, "deaths");

    tcase_set_tags(interruption, "backstop");
    tcase_set_tags(deaths, "backstop");

    tcase_add_test(opening, test_event_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_event_refuses_bad_arguments);
    tcase_add_test(opening, test_event_needs_room);
    tcase_add_test(opening, test_event_ends_with_its_segment);

    tcase_add_test(waiting, test_event_is_a_flag);
    tcase_add_loop_test(waiting, test_event_wait_gives_up_when_the_time_is_over_and_not_before, 0,
                        sizeof(timeouts) / sizeof(timeouts[0]));
    tcase_add_test(waiting, test_event_releases_all_waiters);
    tcase_add_test(waiting, test_event_set_and_cleared_at_once_releases_all_waiters);
    tcase_add_test(waiting, test_event_does_not_release_a_later_waiter);
    tcase_add_test(waiting, test_event_releases_the_threads_of_a_process);
    tcase_add_test(waiting, test_event_works_in_a_forked_child);

    /* for ever, with a timeout */
    tcase_add_loop_test(interruption, test_event_wait_ends_with_an_interrupt, 0, 2);
    tcase_add_test(interruption, test_event_that_is_set_ignores_the_interrupt);
    /* object, segment */
    tcase_add_loop_test(unlinking, test_event_that_is_unlinked_releases_its_waiters, 0, 2);
    tcase_add_test(unlinking, test_event_of_the_same_name_is_another_event);

    tcase_add_test(deaths, test_event_is_not_disturbed_by_killed_and_stopped_waiters);
    tcase_add_test(deaths, test_event_releases_a_stopped_waiter_whose_time_has_run_out);
    tcase_add_test(deaths, test_event_survives_kills_at_random);
    return run_tests(suite);
}
