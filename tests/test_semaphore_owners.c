/* Semaphores: several permits at once, and permits that processes own. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct shk_semaphore *open_slots(uint32_t value, uint32_t owners)
{
    const struct shk_semaphore_options options = {.value = value, .owners = owners};
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(test_segment(), "slots", SHK_CREATE, &options, &semaphore), 0);
    return semaphore;
}

/* ---- Actors: programs that take permits, tell it, and end when they are told to ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    unsigned n;
    int64_t timeout;
    _Atomic int result;
    atomic_bool end;
};

static int take(void *argument)
{
    struct actor *a = argument;
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(test_segment(), "slots", 0, NULL, &slots), 0);
    a->result = shk_semaphore_acquire_many(slots, a->n, a->timeout);
    while (!a->end)
        pause_briefly();
    return 0;
}

static struct actor *start_actor(unsigned n, int64_t timeout)
{
    struct actor *a = shared_memory(sizeof(*a));

    *a = (struct actor){.n = n, .timeout = timeout, .result = PENDING};
    a->pid = stranger_start(take, a);
    return a;
}

static int result_of(struct actor *a)
{
    wait_until(a->result != PENDING, TEST_DEADLINE);
    return a->result;
}

static struct actor *start_waiter(unsigned n)
{
    struct actor *a = start_actor(n, SHK_FOREVER);

    wait_until_waiting(segment_name(NULL), a->pid, "slots");
    return a;
}

/* An actor that has n permits. */
static struct actor *start_holder(unsigned n)
{
    struct actor *a = start_actor(n, SHK_FOREVER);

    assert_result(result_of(a), 0);
    return a;
}

static void end(struct actor *a)
{
    a->end = true;
    child_succeeds(a->pid);
}

static struct shk_object_info info_of(void)
{
    struct shk_object_info info;

    ck_assert(look_at_object(segment_name(NULL), "slots", &info));
    return info;
}

/* ---- Several at once ---- */

START_TEST(test_semaphore_takes_several_or_none)
{
    struct shk_semaphore *slots = open_slots(3, _i);

    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_value(slots), 1);
    assert_code_after(SHK_MS(50), shk_semaphore_acquire_many(slots, 2, SHK_MS(50)), -ETIMEDOUT);
    assert_code(shk_semaphore_acquire_many(slots, 1, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_release(slots, 3), 0);
    assert_code(shk_semaphore_acquire_many(slots, 3, SHK_FOREVER), 0);
    assert_code(shk_semaphore_acquire_many(slots, 0, SHK_NOWAIT), -EINVAL);
    if (_i)
        assert_code(shk_semaphore_acquire_many(slots, 4, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_acquire_many(slots, UINT_MAX, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_acquire_many(NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* Those that come later and want less do not pass it. */
START_TEST(test_semaphore_does_not_starve_a_waiter_that_wants_many)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *many = start_waiter(3), *one = start_waiter(1);
    struct shk_ready set[] = {{SHK_KIND_SEMAPHORE, SHK_READABLE, slots}};

    for (int i = 0; i < 2; i++) {
        assert_code(shk_semaphore_release(slots, 1), 0);
        assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_semaphore_value(slots), i + 1);
        assert_result(one->result, PENDING);
    }
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_result(result_of(many), 0);
    assert_result(one->result, PENDING);
    assert_code(shk_semaphore_release(slots, 2), 0);
    assert_result(result_of(one), 0);
    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    end(many);
    end(one);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* What was withheld for it goes to those behind it: it gives up, or dies. */
START_TEST(test_semaphore_gives_what_it_withheld_for_a_waiter_that_leaves)
{
    struct shk_semaphore *slots = open_slots(2, 0);
    struct actor *many, *one;

    many = start_actor(3, _i ? SHK_FOREVER : SHK_SEC(1));
    wait_until_waiting(segment_name(NULL), many->pid, "slots");
    one = start_waiter(1);
    assert_result(one->result, PENDING);
    if (_i)
        child_kill(many->pid);
    else
        assert_result(result_of(many), -ETIMEDOUT);
    assert_result(result_of(one), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    if (_i == 0)
        end(many);
    end(one);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* Promised to a waiter that is stopped: after a recheck interval the next gets all of them. */
START_TEST(test_semaphore_takes_several_back_from_a_stopped_waiter)
{
    struct shk_semaphore *slots = open_slots(0, 0);
    struct actor *stopped = start_waiter(3), *next = start_waiter(2);

    child_stop(stopped->pid);
    assert_code(shk_semaphore_release(slots, 3), 0);
    assert_result(result_of(next), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    child_continue(stopped->pid);
    wait_until_waiting(segment_name(NULL), stopped->pid, "slots");
    assert_code(shk_semaphore_release(slots, 3), 0);
    assert_result(result_of(stopped), 0);
    end(stopped);
    end(next);
    assert_code(shk_semaphore_value(slots), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* ---- Owners ---- */

START_TEST(test_semaphore_with_owners_has_its_permits_for_ever)
{
    struct shk_semaphore *slots, *other;
    const struct shk_semaphore_options bad[] = {{.value = 0, .owners = 1},
                                                {.value = 2, .max = 3, .owners = 1},
                                                {.value = 1, .owners = 2},
                                                {.reserved_32 = 1}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_code(shk_semaphore_open(test_segment(), "slots", SHK_CREATE, &bad[i], &slots),
                    -EINVAL);
    slots = open_slots(2, 1);
    assert_code(shk_semaphore_open(test_segment(), "slots", 0,
                                   &(struct shk_semaphore_options){.max = 3}, &other),
                -EPROTOTYPE);
    assert_code(shk_semaphore_open(test_segment(), "plain", SHK_CREATE, NULL, &other), 0);
    assert_code(shk_semaphore_held(other), -ENOTSUP);
    assert_code(shk_semaphore_close(other), 0);
    assert_code(shk_semaphore_open(test_segment(), "plain", 0,
                                   &(struct shk_semaphore_options){.owners = 1}, &other),
                -EPROTOTYPE);
    assert_code(shk_semaphore_release(slots, 1), -EPERM);
    assert_code(shk_semaphore_held(slots), 0);
    assert_code(shk_semaphore_held(NULL), -EINVAL);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_held(slots), 1);
    assert_code(shk_semaphore_release(slots, 2), -EPERM);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_release(slots, 1), -EPERM);
    assert_code(shk_semaphore_value(slots), 2);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* Nothing but its death gives them back: the waiter only sleeps. */
START_TEST(test_semaphore_gets_a_dead_owners_permits_back)
{
    struct shk_semaphore *slots = open_slots(3, 1);
    struct actor *holder = start_holder(2), *other = start_holder(1), *waiter = start_waiter(2);
    struct shk_object_info info = info_of();
    int64_t killed;

    ck_assert_uint_eq(info.as.semaphore.owners, 1);
    ck_assert_uint_eq(info.as.semaphore.n_holders, 2);
    ck_assert_int_eq(info.as.semaphore.holders[0].pid, holder->pid);
    ck_assert_uint_eq(info.as.semaphore.holders[0].permits, 2);
    ck_assert_uint_eq(info.as.semaphore.holders[1].permits, 1);
    killed = time_now();
    child_kill(holder->pid);
    assert_result(result_of(waiter), 0);
    ck_assert_msg(time_now() - killed < SHK_SEC(2) * time_factor(), "it took %lld ms",
                  (long long)(time_now() - killed) / 1000000);
    info = info_of();
    ck_assert_uint_eq(info.as.semaphore.came_back, 2);
    ck_assert_uint_eq(info.as.semaphore.value, 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    child_kill(waiter->pid);
    /* without any waiter: at the next acquire */
    assert_code(shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT), 0);
    child_kill(other->pid);
    assert_code(shk_semaphore_acquire_many(slots, 1, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_held(slots), 3);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    ck_assert_uint_eq(info_of().as.semaphore.came_back, 5);
    assert_code(shk_semaphore_release(slots, 3), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

START_TEST(test_semaphore_of_a_dead_owner_becomes_ready)
{
    struct shk_semaphore *slots = open_slots(1, 1);
    struct shk_ready set[] = {{SHK_KIND_SEMAPHORE, SHK_READABLE, slots}};
    struct actor *holder = start_holder(1);

    assert_code(shk_wait_any(set, 1, SHK_NOWAIT), -EAGAIN);
    kill(holder->pid, SIGKILL);
    assert_code(shk_wait_any(set, 1, TEST_DEADLINE), 0);
    child_kill(holder->pid);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* A process gets the row of a former one: not its permits, and they come back all the same. */
START_TEST(test_semaphore_gives_no_process_the_permits_of_a_former_one)
{
    struct shk_semaphore *slots = open_slots(8, 1);

    for (unsigned i = 1; i <= 4; i++) {
        struct actor *holder = start_holder(8);

        child_kill(holder->pid);
        ck_assert_uint_eq(info_of().as.semaphore.came_back, 8 * (i - 1));
    }
    assert_code(shk_semaphore_held(slots), 0);
    assert_code(shk_semaphore_acquire_many(slots, 8, SHK_NOWAIT), 0);
    ck_assert_uint_eq(info_of().as.semaphore.came_back, 32);
    assert_code(shk_semaphore_release(slots, 8), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

static void *take_in_thread(void *slots)
{
    return (void *)(intptr_t)shk_semaphore_acquire_many(slots, 2, SHK_NOWAIT);
}

static void *release_in_thread(void *slots)
{
    return (void *)(intptr_t)shk_semaphore_release(slots, 1);
}

static intptr_t in_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, body, argument), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    return (intptr_t)result;
}

/* The thread that took them has ended, and others of its process release them. */
START_TEST(test_semaphore_permits_belong_to_all_threads_of_a_process)
{
    struct shk_semaphore *slots = open_slots(2, 1);

    assert_result(in_thread(take_in_thread, slots), 0);
    assert_code(shk_semaphore_held(slots), 2);
    assert_code_after(SHK_MS(250), shk_semaphore_acquire(slots, SHK_MS(250)), -ETIMEDOUT);
    assert_result(in_thread(release_in_thread, slots), 0);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_value(slots), 2);
    ck_assert_uint_eq(info_of().as.semaphore.came_back, 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

static int have_nothing(void *slots)
{
    assert_code(shk_semaphore_release(slots, 1), -EPERM);
    assert_code(shk_semaphore_held(slots), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    return 0;
}

START_TEST(test_semaphore_forked_child_has_nothing_of_its_parents_permits)
{
    struct shk_semaphore *slots = open_slots(2, 1);

    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    child_succeeds(child_start(have_nothing, slots));
    /* the child's has come back, the parent's has not */
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_semaphore_release(slots, 2), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

static int execute(void *argument)
{
    struct actor *a = argument;
    struct shk_semaphore *slots;

    assert_code(shk_semaphore_open(test_segment(), "slots", 0, NULL, &slots), 0);
    a->result = shk_semaphore_acquire(slots, SHK_NOWAIT);
    while (!a->end)
        pause_briefly();
    execlp("sleep", "sleep", "1000", (char *)NULL);
    return 1;
}

START_TEST(test_semaphore_gets_the_permits_of_a_process_back_that_executes_a_program)
{
    struct shk_semaphore *slots = open_slots(1, 1);
    struct actor *a = shared_memory(sizeof(*a));

    a->result = PENDING;
    a->pid = stranger_start(execute, a);
    assert_result(result_of(a), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    a->end = true;
    assert_code(shk_semaphore_acquire(slots, TEST_DEADLINE), 0);
    child_kill(a->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

static int close_all(void *argument)
{
    struct actor *a = argument;
    struct shk_segment *segment;
    struct shk_semaphore *slots;

    assert_code(shk_segment_open(segment_name(NULL), 0, NULL, &segment), 0);
    assert_code(shk_semaphore_open(segment, "slots", 0, NULL, &slots), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_close(slots), 0); /* gives nothing back */
    a->result = 0;
    while (!a->end)
        pause_briefly();
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_close(segment), 0); /* its parent's, too */
    a->result = 1;
    while (a->end)
        pause_briefly();
    return 0;
}

START_TEST(test_semaphore_gets_the_permits_back_of_a_process_that_closes_the_segment)
{
    struct shk_semaphore *slots = open_slots(1, 1);
    struct actor *a = shared_memory(sizeof(*a));

    a->result = PENDING;
    a->pid = child_start(close_all, a);
    wait_until(a->result == 0, TEST_DEADLINE);
    assert_code(shk_semaphore_acquire(slots, SHK_MS(200)), -ETIMEDOUT);
    a->end = true;
    wait_until(a->result == 1, TEST_DEADLINE);
    assert_code(shk_semaphore_acquire(slots, TEST_DEADLINE), 0);
    a->end = false;
    child_succeeds(a->pid);
    assert_code(shk_semaphore_release(slots, 1), 0);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

/* Programs that take two of four permits, and are killed with them again and again. */
START_TEST(test_semaphore_permits_come_back_once_and_only_once)
{
    struct shk_semaphore *slots = open_slots(4, 1);

    for (int round = 0; round < 20; round++) {
        struct actor *a = start_holder(2), *b = start_holder(2), *c = start_waiter(3);

        ck_assert_int_le(shk_semaphore_value(slots), 0);
        kill(a->pid, SIGKILL);
        kill(b->pid, SIGKILL);
        assert_result(result_of(c), 0);
        child_kill(a->pid);
        child_kill(b->pid);
        child_kill(c->pid);
    }
    assert_code(shk_semaphore_acquire_many(slots, 4, SHK_NOWAIT), 0);
    assert_code(shk_semaphore_acquire(slots, SHK_NOWAIT), -EAGAIN);
    ck_assert_uint_eq(info_of().as.semaphore.came_back, 20 * 7);
    assert_code(shk_semaphore_release(slots, 4), 0);
    assert_code(shk_semaphore_value(slots), 4);
    assert_code(shk_semaphore_close(slots), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("semaphore_owners");
    TCase *many = test_case(suite, "many");
    TCase *owners = test_case(suite, "owners");

    tcase_add_loop_test(many, test_semaphore_takes_several_or_none, 0, 2);
    tcase_add_test(many, test_semaphore_does_not_starve_a_waiter_that_wants_many);
    tcase_add_loop_test(many, test_semaphore_gives_what_it_withheld_for_a_waiter_that_leaves, 0, 2);
    tcase_add_test(many, test_semaphore_takes_several_back_from_a_stopped_waiter);
    tcase_add_test(owners, test_semaphore_with_owners_has_its_permits_for_ever);
    tcase_add_test(owners, test_semaphore_gets_a_dead_owners_permits_back);
    tcase_add_test(owners, test_semaphore_of_a_dead_owner_becomes_ready);
    tcase_add_test(owners, test_semaphore_gives_no_process_the_permits_of_a_former_one);
    tcase_add_test(owners, test_semaphore_permits_belong_to_all_threads_of_a_process);
    tcase_add_test(owners, test_semaphore_forked_child_has_nothing_of_its_parents_permits);
    tcase_add_test(owners,
                   test_semaphore_gets_the_permits_of_a_process_back_that_executes_a_program);
    tcase_add_test(owners,
                   test_semaphore_gets_the_permits_back_of_a_process_that_closes_the_segment);
    tcase_add_test(owners, test_semaphore_permits_come_back_once_and_only_once);
    return run_tests(suite);
}
