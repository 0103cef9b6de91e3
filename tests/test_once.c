/* The once: what <shmkit/once.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

static struct shk_once *open_once(void)
{
    struct shk_once *once;

    assert_code(shk_once_open(test_segment(), "tables", SHK_CREATE, NULL, &once), 0);
    return once;
}

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool interruptible, abandons;
    atomic_bool ends; /* what it has begun */
    _Atomic int result;
};

static int begin_and_end(void *argument)
{
    struct actor *actor = argument;
    struct shk_once *once = open_once();

    if (actor->interruptible)
        interruptible();
    actor->result = shk_once_begin(once, actor->timeout);
    if (actor->result <= 0)
        return actor->result == 0 || shk_last_error()[0] ? 0 : 2;
    while (!actor->ends)
        pause_briefly();
    assert_code(actor->abandons ? shk_once_abandon(once) : shk_once_done(once), 0);
    return 0;
}

static struct actor *start_actor(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(begin_and_end, actor);
    return actor;
}

/* A program in the middle of it. */
static struct actor *start_initialiser(bool abandons)
{
    struct actor *actor =
        start_actor(&(struct actor){.timeout = SHK_FOREVER, .abandons = abandons});

    wait_until(actor->result != PENDING, TEST_DEADLINE);
    ck_assert_int_gt(actor->result, 0);
    return actor;
}

static struct actor *start_waiter(void)
{
    struct actor *actor = start_actor(&(struct actor){.timeout = SHK_FOREVER, .ends = true});

    wait_until_waiting(segment_name(NULL), actor->pid, "tables");
    return actor;
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static int result_elsewhere(void)
{
    return result_of(start_actor(&(struct actor){.timeout = SHK_NOWAIT, .ends = true}));
}

START_TEST(test_once_is_opened_only_as_what_it_is)
{
    struct shk_once *once, *again;
    struct shk_lock *lock;

    assert_code(shk_once_open(test_segment(), "tables", 0, NULL, &once), -ENOENT);
    once = open_once();
    assert_code(shk_lock_open(test_segment(), "tables", 0, NULL, &lock), -EPROTOTYPE);
    assert_code(shk_once_open(test_segment(), "new", SHK_CREATE,
                              &(struct shk_once_options){.reserved = {1}}, &again),
                -EINVAL);
    assert_code(shk_once_open(test_segment(), "tables", 0,
                              &(struct shk_once_options){.reserved = {0}}, &again),
                0);
    assert_code(shk_once_close(again), 0);
    assert_code(shk_once_close(once), 0);
    assert_code(shk_once_close(NULL), 0);
    assert_code(shk_once_begin(NULL, 0), -EINVAL);
    assert_code(shk_once_done(NULL), -EINVAL);
    assert_code(shk_once_abandon(NULL), -EINVAL);
    assert_code(shk_once_reset(NULL), -EINVAL);
    assert_code(shk_once_is_done(NULL), -EINVAL);
}
END_TEST

START_TEST(test_once_is_done_by_one_and_by_no_other)
{
    struct shk_once *once = open_once();

    assert_code(shk_once_is_done(once), 0);
    assert_code(shk_once_begin(once, SHK_NOWAIT), SHK_ONCE_MINE);
    assert_code(shk_once_begin(once, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_once_reset(once), -EDEADLK);
    assert_code(shk_once_close(once), -EBUSY);
    assert_result(result_elsewhere(), -EAGAIN);
    assert_code(shk_once_done(once), 0);
    assert_code(shk_once_is_done(once), 1);
    assert_code(shk_once_begin(once, SHK_NOWAIT), 0);
    assert_result(result_elsewhere(), 0);
    assert_code(shk_once_done(once), -EPERM);
    assert_code(shk_once_abandon(once), -EPERM);
    assert_code(shk_once_close(once), 0);
}
END_TEST

START_TEST(test_once_lets_the_others_wait_until_it_is_done)
{
    struct actor *first = start_initialiser(false), *waiters[4];
    struct shk_once *once = open_once();

    for (int i = 0; i < 4; i++)
        waiters[i] = start_waiter();
    assert_code(shk_once_done(once), -EPERM);
    assert_code(shk_once_reset(once), -EAGAIN);
    assert_code_after(SHK_MS(30), shk_once_begin(once, SHK_MS(30)), -ETIMEDOUT);
    first->ends = true;
    for (int i = 0; i < 4; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_result(result_of(first), SHK_ONCE_MINE);
    assert_code(shk_once_close(once), 0);
}
END_TEST

START_TEST(test_once_that_is_abandoned_is_done_by_the_next)
{
    struct actor *first = start_initialiser(true), *next = start_waiter();

    first->ends = true;
    assert_result(result_of(first), SHK_ONCE_MINE);
    assert_result(result_of(next), SHK_ONCE_MINE);
    assert_result(result_elsewhere(), 0);
}
END_TEST

START_TEST(test_once_is_taken_over_from_a_dead_one_and_told)
{
    struct actor *first = start_initialiser(false), *next = _i ? start_waiter() : NULL;
    struct shk_once *once = open_once();

    child_kill(first->pid);
    if (next)
        assert_result(result_of(next), SHK_ONCE_MINE | SHK_ORPHANED);
    else
        assert_code(shk_once_begin(once, SHK_NOWAIT), SHK_ONCE_MINE | SHK_ORPHANED);
    if (!next)
        assert_code(shk_once_done(once), 0);
    assert_result(result_elsewhere(), 0);
    assert_code(shk_once_reset(once), 0);
    assert_result(result_elsewhere(), SHK_ONCE_MINE);
    assert_code(shk_once_close(once), 0);
}
END_TEST

START_TEST(test_once_tells_of_a_death_until_it_is_done_or_abandoned)
{
    struct shk_once *once = open_once();
    struct actor *second;

    child_kill(start_initialiser(false)->pid);
    assert_code(shk_once_reset(once), 0); /* has the lock in between */
    second = start_initialiser(false);
    assert_result(second->result, SHK_ONCE_MINE | SHK_ORPHANED);
    child_kill(second->pid);
    assert_code(shk_once_begin(once, SHK_NOWAIT), SHK_ONCE_MINE | SHK_ORPHANED);
    assert_code(shk_once_abandon(once), 0);
    assert_code(shk_once_begin(once, SHK_NOWAIT), SHK_ONCE_MINE);
    assert_code(shk_once_done(once), 0);
    assert_code(shk_once_close(once), 0);
}
END_TEST

START_TEST(test_once_that_is_reset_is_done_once_more)
{
    struct shk_once *once = open_once();

    for (int i = 0; i < 3; i++) {
        assert_code(shk_once_begin(once, SHK_FOREVER), SHK_ONCE_MINE);
        assert_code(shk_once_done(once), 0);
        assert_code(shk_once_begin(once, SHK_FOREVER), 0);
        assert_code(shk_once_reset(once), 0);
        assert_code(shk_once_is_done(once), 0);
        assert_code(shk_once_reset(once), 0);
    }
    assert_code(shk_once_close(once), 0);
}
END_TEST

START_TEST(test_once_wait_ends_with_an_interrupt_and_with_an_unlink)
{
    struct actor *first = start_initialiser(false);
    struct actor *waiter =
        start_actor(&(struct actor){.timeout = SHK_FOREVER, .interruptible = true, .ends = true});
    struct actor *other = start_waiter();

    wait_until_waiting(segment_name(NULL), waiter->pid, "tables");
    kill(waiter->pid, SIGINT);
    assert_result(result_of(waiter), -EINTR);
    assert_code(shk_object_unlink(test_segment(), "tables"), 0);
    assert_result(result_of(other), -ESTALE);
    first->ends = true;
    child_succeeds(first->pid);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("once");
    TCase *once = test_case(suite, "once");

    tcase_add_test(once, test_once_is_opened_only_as_what_it_is);
    tcase_add_test(once, test_once_is_done_by_one_and_by_no_other);
    tcase_add_test(once, test_once_lets_the_others_wait_until_it_is_done);
    tcase_add_test(once, test_once_that_is_abandoned_is_done_by_the_next);
    /* no waiter, one waiter */
    tcase_add_loop_test(once, test_once_is_taken_over_from_a_dead_one_and_told, 0, 2);
    tcase_add_test(once, test_once_tells_of_a_death_until_it_is_done_or_abandoned);
    tcase_add_test(once, test_once_that_is_reset_is_done_once_more);
    tcase_add_test(once, test_once_wait_ends_with_an_interrupt_and_with_an_unlink);
    return run_tests(suite);
}
