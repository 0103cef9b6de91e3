/* The condition: what <shmkit/cond.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct shk_cond *open_cond(uint32_t kind)
{
    const struct shk_cond_options options = {.kind = kind};
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), "changed", SHK_CREATE, &options, &cond), 0);
    return cond;
}

/*
 * A condition with a lock that is shared with others. Its name is "changed" if it is the only one
 * of a test.
 */
static struct shk_cond *open_cond_with(const char *name, struct shk_lock *lock)
{
    const struct shk_cond_options options = {.lock = lock};
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), name, SHK_CREATE, &options, &cond), 0);
    return cond;
}

static struct shk_lock *open_lock(const char *name, uint32_t recursive)
{
    const struct shk_lock_options options = {.recursive = recursive};
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), name, SHK_CREATE, &options, &lock), 0);
    return lock;
}

static int notify(struct shk_cond *cond, unsigned n)
{
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    int notified = shk_cond_notify(cond, n);
    assert_code(shk_cond_release(cond), 0);
    return notified;
}

static int notify_all(struct shk_cond *cond)
{
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    int notified = shk_cond_notify_all(cond);
    assert_code(shk_cond_release(cond), 0);
    return notified;
}

/* ---- Actors: programs that wait to be notified ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    const char *cond;
    int64_t timeout;
    int levels;
    bool interruptible;
    _Atomic int result; /* of its wait */
    int place;          /* in the order in which they resumed, from 1 */
};

static _Atomic int *resumed; /* how many have: written with the lock held */

static int wait_for_notify(void *argument)
{
    struct actor *actor = argument;
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), actor->cond, 0, NULL, &cond), 0);
    if (actor->interruptible)
        interruptible();
    for (int level = 0; level < actor->levels; level++)
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    int result = shk_cond_wait(cond, actor->timeout);
    actor->place = ++*resumed;
    actor->result = result;
    for (int level = 0; level < actor->levels; level++)
        assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_release(cond), -EPERM);
    return 0;
}

static bool waits_for(pid_t pid, uint32_t what)
{
    struct shk_member_info member;

    return look_at_member(segment_name(NULL), pid, &member) && member.waits_for == what;
}

static struct actor *start_waiter_as(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    if (!resumed)
        resumed = shared_memory(sizeof(*resumed));
    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(wait_for_notify, actor);
    wait_until(is_waiting(segment_name(NULL), actor->pid, actor->cond) &&
                   waits_for(actor->pid, SHK_WAITS_FOR_NOTIFY),
               TEST_DEADLINE);
    return actor;
}

static struct actor *start_waiter_on(const char *cond)
{
    return start_waiter_as(&(struct actor){.cond = cond, .timeout = SHK_FOREVER, .levels = 1});
}

static struct actor *start_waiter(void)
{
    return start_waiter_on("changed");
}

/* What the actor's wait gave; the actor has ended. */
static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

/*
 * Long enough for every sleeper to look around several times: what has not happened then will not
 * happen.
 */
static void let_time_pass(void)
{
    usleep(350000);
}

static int try_to_acquire(void *result)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &cond), 0);
    *(int *)result = shk_cond_acquire(cond, SHK_NOWAIT);
    return 0;
}

static int result_elsewhere(void)
{
    int *result = shared_memory(sizeof(*result));

    child_succeeds(stranger_start(try_to_acquire, result));
    return *result;
}

/* ---- Opening ---- */

START_TEST(test_cond_is_created_once_and_found_by_name)
{
    struct shk_cond *cond, *again;

    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &cond), -ENOENT);
    assert_code(shk_cond_open(test_segment(), "changed", SHK_CREATE | SHK_EXCL, NULL, &cond), 0);
    assert_code(shk_cond_open(test_segment(), "changed", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &again), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_result(result_elsewhere(), -EAGAIN);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(again), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_cond_close(NULL), 0);
    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_is_opened_only_as_what_it_is)
{
    struct shk_lock *lock = open_lock("lock", 0), *other_lock = open_lock("other lock", 0);
    struct shk_cond_options own = {0}, pthread = {.kind = SHK_COND_PTHREAD}, given = {.lock = lock},
                            other = {.lock = other_lock};
    struct shk_cond *own_cond, *pthread_cond, *given_cond, *cond;

    assert_code(shk_cond_open(test_segment(), "own", SHK_CREATE, &own, &own_cond), 0);
    assert_code(shk_cond_open(test_segment(), "pthread", SHK_CREATE, &pthread, &pthread_cond), 0);
    assert_code(shk_cond_open(test_segment(), "given", SHK_CREATE, &given, &given_cond), 0);
    assert_code(shk_cond_open(test_segment(), "lock", SHK_CREATE, NULL, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "own", SHK_CREATE, &pthread, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "own", 0, &given, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "pthread", SHK_CREATE, &own, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "given", SHK_CREATE, &other, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "given", 0, &own, &cond), -EPROTOTYPE);
    assert_code(shk_cond_open(test_segment(), "given", 0, &given, &cond), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_cond_open(test_segment(), "given", 0, NULL, &cond), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_cond_open(test_segment(), "pthread", SHK_CREATE, NULL, &cond), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_cond_close(own_cond), 0);
    assert_code(shk_cond_close(pthread_cond), 0);
    assert_code(shk_cond_close(given_cond), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_lock_close(other_lock), 0);
}
END_TEST

START_TEST(test_cond_refuses_bad_arguments)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST), *other;

    for (const struct bad_name *bad = bad_object_names; bad->name; bad++)
        assert_code(shk_cond_open(test_segment(), bad->name, SHK_CREATE, NULL, &other), bad->code);
    const struct shk_cond_options wrong[] = {{.kind = 2}, {.reserved_32 = 1}, {.reserved[0] = 1}};
    for (int i = 0; i < 3; i++)
        assert_code(shk_cond_open(test_segment(), "new", SHK_CREATE, &wrong[i], &other), -EINVAL);
    assert_code(shk_cond_open(test_segment(), "new", SHK_CREATE | 0x80, NULL, &other), -EINVAL);
    assert_code(shk_cond_open(test_segment(), "new", SHK_CREATE, NULL, NULL), -EINVAL);
    assert_code(shk_cond_open(test_segment(), NULL, SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_cond_open(NULL, "new", SHK_CREATE, NULL, &other), -EINVAL);
    assert_code(shk_cond_open(test_segment(), "new", 0, NULL, &other), -ENOENT);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_acquire(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_cond_release(NULL), -EINVAL);
    assert_code(shk_cond_wait(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_cond_notify(NULL, 1), -EINVAL);
    assert_code(shk_cond_notify_all(NULL), -EINVAL);
    assert_code(shk_cond_native(NULL, NULL, NULL), -EINVAL);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static int acquire_after_fork(void *cond)
{
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), -EUSERS);
    return 0;
}

START_TEST(test_cond_needs_room)
{
    const struct shk_segment_options options = {.max_members = 1, .max_objects = 1};
    struct shk_segment *small;
    struct shk_cond *cond, *other;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    assert_code(shk_cond_open(small, "changed", SHK_CREATE, NULL, &cond), 0);
    assert_code(shk_cond_open(small, "other", SHK_CREATE, NULL, &other), -ENOSPC);
    child_succeeds(child_start(acquire_after_fork, cond));
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

START_TEST(test_cond_goes_with_a_lock_of_its_segment)
{
    struct shk_lock *lock = open_lock("lock", 0), *far_lock;
    struct shk_segment *far;
    struct shk_cond *cond;

    assert_code(shk_segment_open(segment_name("far"), SHK_CREATE, NULL, &far), 0);
    assert_code(shk_lock_open(far, "lock", SHK_CREATE, NULL, &far_lock), 0);
    assert_code(shk_cond_open(test_segment(), "changed", SHK_CREATE,
                              &(struct shk_cond_options){.lock = far_lock}, &cond),
                -EXDEV);
    assert_code(shk_lock_close(far_lock), 0);
    assert_code(shk_segment_close(far), 0);
    assert_code(shk_segment_unlink(segment_name("far")), 0);

    assert_code(shk_object_unlink(test_segment(), "lock"), 0);
    assert_code(shk_cond_open(test_segment(), "changed", SHK_CREATE,
                              &(struct shk_cond_options){.lock = lock}, &cond),
                -ESTALE);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &cond), -ENOENT);
}
END_TEST

START_TEST(test_cond_whose_lock_is_unlinked_is_stale)
{
    struct shk_lock *lock = open_lock("lock", 0);
    struct shk_cond *cond = open_cond_with("changed", lock), *again;

    assert_code(shk_object_unlink(test_segment(), "lock"), 0);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), -ESTALE);
    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &again), -ESTALE);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_cond_whose_lock_is_held_keeps_its_handle_open)
{
    struct shk_segment *segment;
    struct shk_cond *cond;

    assert_code(shk_segment_open(segment_name("held"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_cond_open(segment, "changed", SHK_CREATE, NULL, &cond), 0);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_close(cond), -EBUSY);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), -EBADF);
    assert_code(shk_cond_release(cond), -EBADF);
    assert_code(shk_cond_wait(cond, SHK_NOWAIT), -EBADF);
    assert_code(shk_cond_notify(cond, 1), -EBADF);
    assert_code(shk_cond_notify_all(cond), -EBADF);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_segment_unlink(segment_name("held")), 0);
}
END_TEST

/* ---- Waiting ---- */

/* also longer than a recheck interval */
static const int64_t timeouts[] = {1, SHK_MS(1), SHK_MS(30), SHK_MS(250)};

START_TEST(test_cond_wait_gives_up_when_the_time_is_over_and_holds_the_lock)
{
    struct shk_cond *cond = open_cond(_i);

    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++)
        assert_code_after(timeouts[i], shk_cond_wait(cond, timeouts[i]), -ETIMEDOUT);
    assert_result(result_elsewhere(), -EAGAIN);
    assert_code(shk_cond_wait(cond, SHK_NOWAIT), -EAGAIN);
    assert_result(result_elsewhere(), -EAGAIN);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_release(cond), -EPERM);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static int try_what_only_the_holder_may(void *cond)
{
    assert_code(shk_cond_wait(cond, SHK_NOWAIT), -EPERM);
    assert_code(shk_cond_wait(cond, SHK_FOREVER), -EPERM);
    assert_code(shk_cond_notify(cond, 1), -EPERM);
    assert_code(shk_cond_notify_all(cond), -EPERM);
    assert_code(shk_cond_release(cond), -EPERM);
    return 0;
}

static int try_in_an_own_handle(void *kind)
{
    struct shk_cond *cond = open_cond(*(uint32_t *)kind);

    try_what_only_the_holder_may(cond);
    assert_code(shk_cond_close(cond), 0);
    return 0;
}

static void *try_in_a_thread(void *kind)
{
    try_in_an_own_handle(kind);
    return NULL;
}

START_TEST(test_cond_is_for_the_holder_of_its_lock)
{
    uint32_t kind = _i;
    struct shk_cond *cond = open_cond(kind);
    pthread_t thread;

    try_what_only_the_holder_may(cond);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    child_succeeds(child_start(try_what_only_the_holder_may, cond));
    child_succeeds(stranger_start(try_in_an_own_handle, &kind));
    ck_assert_int_eq(pthread_create(&thread, NULL, try_in_a_thread, &kind), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_wait_gives_up_every_level_and_restores_it)
{
    struct shk_cond *cond = open_cond(_i);
    struct actor *waiter =
        start_waiter_as(&(struct actor){.cond = "changed", .timeout = SHK_FOREVER, .levels = 3});
    struct actor *timed =
        start_waiter_as(&(struct actor){.cond = "changed", .timeout = SHK_MS(500), .levels = 5});

    assert_result(result_of(timed), -ETIMEDOUT);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_elsewhere(), -EAGAIN);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_wait_takes_the_lock_back_whatever_its_timeout_and_interrupt)
{
    struct shk_cond *cond = open_cond(_i);
    struct actor what = {
        .cond = "changed", .timeout = SHK_FOREVER, .levels = 1, .interruptible = true};
    struct actor *interrupted = start_waiter_as(&what), *notified, *timed;
    int64_t timeout = SHK_SEC(1) * time_factor();
    int64_t over = time_now() + timeout;

    what.timeout = timeout;
    timed = start_waiter_as(&what);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    ck_assert_int_eq(kill(interrupted->pid, SIGINT), 0);
    wait_until(time_now() > over, TEST_DEADLINE);
    let_time_pass();
    ck_assert_int_eq(*resumed, 0);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(timed), -ETIMEDOUT);
    assert_result(result_of(interrupted), -EINTR);

    what.timeout = SHK_FOREVER;
    notified = start_waiter_as(&what);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    ck_assert_int_eq(kill(notified->pid, SIGINT), 0);
    let_time_pass();
    ck_assert_int_eq(*resumed, 2);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(notified), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_wait_ends_with_an_interrupt)
{
    struct shk_cond *cond = open_cond(_i);
    struct actor *waiter = start_waiter_as(&(struct actor){
        .cond = "changed", .timeout = SHK_FOREVER, .levels = 2, .interruptible = true});
    struct actor *other = start_waiter();

    ck_assert_int_eq(kill(waiter->pid, SIGINT), 0);
    assert_result(result_of(waiter), -EINTR);
    assert_result(other->result, PENDING);
    assert_code(notify(cond, 1), 1);
    assert_result(result_of(other), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_wait_ends_with_a_notify_and_nothing_else)
{
    struct shk_cond *cond = open_cond(_i);

    assert_code(notify(cond, 1), 0);
    assert_code(notify_all(cond), 0);
    struct actor *waiter = start_waiter();
    for (int i = 0; i < 100; i++)
        assert_code(notify(cond, 0), 0);
    let_time_pass();
    assert_result(waiter->result, PENDING);
    assert_code(notify(cond, 1), 1);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/*
 * Recheck intervals end while the lock is held: each waiter queues for the lock, and is none of
 * those that a pthread_cond_signal() finds.
 */
START_TEST(test_cond_wait_ends_with_a_notify_that_comes_while_it_is_awake)
{
    struct shk_cond *cond = open_cond(_i);
    struct actor *waiters[] = {start_waiter(), start_waiter()};

    for (int i = 0; i < 2; i++) {
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
        let_time_pass();
        assert_code(i == 0 ? shk_cond_notify_all(cond) : shk_cond_notify(cond, 1), i == 0 ? 2 : 1);
        /* a later waiter is not notified */
        assert_code(shk_cond_wait(cond, SHK_MS(1)), -ETIMEDOUT);
        assert_code(shk_cond_notify(cond, 0), 0);
        assert_code(shk_cond_release(cond), 0);
        if (i == 0) {
            assert_result(result_of(waiters[1]), 0);
            assert_result(result_of(waiters[0]), 0);
            waiters[0] = start_waiter();
        }
    }
    assert_result(result_of(waiters[0]), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* ---- Notified, whatever else the wait was told ---- */

static int wait_and_say(void *argument)
{
    atomic_int *result = argument;
    struct shk_cond *cond = open_cond(0);

    assert_code(shk_cond_was_notified(cond), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_wait(cond, SHK_FOREVER), SHK_ORPHANED);
    *result = shk_cond_was_notified(cond);
    assert_code(shk_cond_wait(cond, SHK_MS(1)), -ETIMEDOUT);
    assert_code(shk_cond_was_notified(cond), 0);
    assert_code(shk_cond_release(cond), 0);
    return 0;
}

static int die_with_the_lock(void *argument)
{
    struct shk_cond *cond = open_cond(0);

    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    if (*(const bool *)argument)
        assert_code(shk_cond_notify(cond, 1), 1);
    raise(SIGKILL);
    return 0;
}

static int wait_a_while_and_say(void *argument)
{
    atomic_int *result = argument;
    struct shk_cond *cond = open_cond(0);
    int r;

    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    r = shk_cond_wait(cond, SHK_MS(300));
    assert_result(r, SHK_ORPHANED);
    *result = shk_cond_was_notified(cond);
    assert_code(shk_cond_release(cond), 0);
    return 0;
}

START_TEST(test_cond_tells_whether_a_wait_that_was_told_of_a_death_was_notified)
{
    struct shk_cond *cond = open_cond(0);
    atomic_int *result = shared_memory(sizeof(*result));
    bool notifies = _i == 0;
    pid_t waiter;

    *result = -1;
    waiter = stranger_start(notifies ? wait_and_say : wait_a_while_and_say, result);
    wait_until_waiting(segment_name(NULL), waiter, "changed");
    child_wait(stranger_start(die_with_the_lock, &notifies));
    child_succeeds(waiter);
    ck_assert_int_eq(*result, notifies);
    assert_code(shk_cond_was_notified(NULL), -EINVAL);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* The handle of the lock outlives the close; what it points to does not. */
START_TEST(test_cond_is_not_opened_on_a_closed_segment_with_a_lock)
{
    struct shk_segment *closed;
    struct shk_cond *cond;
    struct shk_lock *lock;

    assert_code(shk_segment_open(segment_name("closed"), SHK_CREATE, NULL, &closed), 0);
    assert_code(shk_lock_open(closed, "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_segment_close(closed), 0);
    assert_code(
        shk_cond_open(closed, "cond", SHK_CREATE, &(struct shk_cond_options){.lock = lock}, &cond),
        -EBADF);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_unlink(segment_name("closed")), 0);
}
END_TEST

START_TEST(test_cond_that_is_unlinked_releases_its_waiters)
{
    struct shk_cond *cond = open_cond(_i / 2);
    struct actor *patient = start_waiter();
    struct actor *timed =
        start_waiter_as(&(struct actor){.cond = "changed", .timeout = SHK_SEC(3600), .levels = 2});

    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    if (_i % 2)
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    else
        assert_code(shk_object_unlink(test_segment(), "changed"), 0);
    assert_code(shk_cond_wait(cond, SHK_FOREVER), -ESTALE);
    assert_code(shk_cond_notify(cond, 1), -ESTALE);
    assert_code(shk_cond_notify_all(cond), -ESTALE);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(patient), -ESTALE);
    assert_result(result_of(timed), -ESTALE);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), -ESTALE);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* ---- A lock that is given ---- */

START_TEST(test_cond_shares_a_given_lock)
{
    struct shk_lock *lock = open_lock("buffer", _i);
    struct shk_cond *full = open_cond_with("full", lock), *empty = open_cond_with("empty", lock);

    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(full, SHK_NOWAIT), _i ? 0 : -EDEADLK);
    if (_i)
        assert_code(shk_cond_release(empty), 0);
    assert_code(shk_cond_wait(full, SHK_MS(1)), -ETIMEDOUT);
    assert_code(shk_cond_wait(empty, SHK_MS(1)), -ETIMEDOUT);
    assert_code(shk_cond_notify(full, 1), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_cond_notify(full, 1), -EPERM);

    struct actor *waits_for_full = start_waiter_on("full"),
                 *waits_for_empty = start_waiter_on("empty");
    assert_code(notify_all(empty), 1);
    assert_result(result_of(waits_for_empty), 0);
    let_time_pass();
    assert_result(waits_for_full->result, PENDING);
    /* The lock's handle may be closed before the conditions'. */
    assert_code(shk_lock_close(lock), 0);
    assert_code(notify(full, 5), 1);
    assert_result(result_of(waits_for_full), 0);
    assert_code(shk_cond_close(full), 0);
    assert_code(shk_cond_close(empty), 0);
}
END_TEST

START_TEST(test_cond_gives_up_every_level_of_a_given_lock)
{
    struct shk_lock *lock = open_lock("buffer", 1);
    struct shk_cond *cond = open_cond_with("changed", lock);
    struct actor *waiter =
        start_waiter_as(&(struct actor){.cond = "changed", .timeout = SHK_FOREVER, .levels = 3});

    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_lock_release(lock), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_close(cond), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/* ---- Notifying ---- */

enum { WAITERS = 5 };

START_TEST(test_cond_serves_in_order_of_arrival)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    for (int i = 0; i < WAITERS; i++) {
        assert_code(notify(cond, 1), 1);
        assert_result(result_of(waiters[i]), 0);
        ck_assert_int_eq(waiters[i]->place, i + 1);
        ck_assert_int_eq(*resumed, i + 1);
    }
    assert_code(notify(cond, 1), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_notifies_as_many_as_are_asked_for)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    assert_code(notify(cond, 0), 0);
    assert_code(notify(cond, 2), 2);
    assert_result(result_of(waiters[0]), 0);
    assert_result(result_of(waiters[1]), 0);
    let_time_pass();
    ck_assert_int_eq(*resumed, 2);
    assert_code(notify(cond, UINT_MAX), WAITERS - 2);
    for (int i = 2; i < WAITERS; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* In one critical section: each notify is for others than the one before. */
START_TEST(test_cond_notifies_no_waiter_twice)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_notify(cond, 2), 2);
    let_time_pass();
    ck_assert_int_eq(*resumed, 0);
    assert_code(shk_cond_notify_all(cond), 2);
    assert_code(shk_cond_notify_all(cond), 0);
    assert_code(shk_cond_release(cond), 0);
    for (int i = 0; i < WAITERS; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_notifies_all)
{
    struct shk_cond *cond = open_cond(_i);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    assert_code(notify_all(cond), WAITERS);
    for (int i = 0; i < WAITERS; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(notify_all(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static int wait_with_the_handle_of_the_parent(void *cond)
{
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_wait(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_release(cond), 0);
    return 0;
}

START_TEST(test_cond_works_in_a_forked_child)
{
    struct shk_cond *cond = open_cond(_i);
    pid_t child = child_start(wait_with_the_handle_of_the_parent, cond);

    wait_until(waits_for(child, SHK_WAITS_FOR_NOTIFY), TEST_DEADLINE);
    assert_code(notify(cond, 1), 1);
    child_succeeds(child);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/*
 * The article's account: a deposit is drawn before there is another. Plain words, which only the
 * lock protects.
 */
struct account {
    struct shk_cond *cond; /* for threads; programs open their own */
    uint32_t kind;
    int draws_each, deposits_each;
    volatile int balance, draws, deposits;
    volatile bool paid_in, wrong;
};

enum { AMOUNT = 800, DEPOSITORS = 3, TIMES = 100 };

static int deposit(void *argument)
{
    struct account *account = argument;
    struct shk_cond *changed = account->cond ? account->cond : open_cond(account->kind);

    for (int i = 0; i < account->deposits_each; i++) {
        shk_cond_acquire(changed, SHK_FOREVER);
        while (account->paid_in)
            shk_cond_wait(changed, SHK_FOREVER);
        account->balance += AMOUNT;
        account->wrong |= account->balance != AMOUNT;
        account->paid_in = true;
        account->deposits++;
        shk_cond_notify_all(changed);
        shk_cond_release(changed);
    }
    return 0;
}

static int draw(void *argument)
{
    struct account *account = argument;
    struct shk_cond *changed = account->cond ? account->cond : open_cond(account->kind);

    for (int i = 0; i < account->draws_each; i++) {
        shk_cond_acquire(changed, SHK_FOREVER);
        while (!account->paid_in)
            shk_cond_wait(changed, SHK_FOREVER);
        account->balance -= AMOUNT;
        account->wrong |= account->balance != 0;
        account->paid_in = false;
        account->draws++;
        shk_cond_notify_all(changed);
        shk_cond_release(changed);
    }
    return 0;
}

START_TEST(test_cond_alternates_the_deposits_and_draws_of_programs)
{
    struct account *account = shared_memory(sizeof(*account));
    struct shk_cond *changed = open_cond(_i);
    pid_t depositors[DEPOSITORS];

    account->kind = _i;
    account->draws_each = TIMES;
    account->deposits_each = TIMES + 2; /* even one that gets all the turns is not done */
    for (int i = 0; i < DEPOSITORS; i++)
        depositors[i] = stranger_start(deposit, account);
    child_succeeds(stranger_start(draw, account));
    for (int i = 0; i < DEPOSITORS; i++)
        wait_until(account->deposits == TIMES + 1 &&
                       is_waiting(segment_name(NULL), depositors[i], "changed"),
                   TEST_DEADLINE);
    assert_code(shk_cond_acquire(changed, SHK_FOREVER), 0);
    ck_assert(!account->wrong);
    ck_assert_int_eq(account->draws, TIMES);
    ck_assert_int_eq(account->balance, AMOUNT);
    assert_code(shk_cond_release(changed), 0);
    for (int i = 0; i < DEPOSITORS; i++)
        child_kill(depositors[i]);
    assert_code(shk_cond_close(changed), 0);
}
END_TEST

static void *deposit_in_a_thread(void *account)
{
    deposit(account);
    return NULL;
}

static void *draw_in_a_thread(void *account)
{
    draw(account);
    return NULL;
}

START_TEST(test_cond_alternates_the_deposits_and_draws_of_threads)
{
    struct account account = {
        .cond = open_cond(_i), .draws_each = DEPOSITORS * TIMES, .deposits_each = TIMES};
    pthread_t threads[DEPOSITORS + 1];

    for (int i = 0; i < DEPOSITORS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, deposit_in_a_thread, &account), 0);
    ck_assert_int_eq(pthread_create(&threads[DEPOSITORS], NULL, draw_in_a_thread, &account), 0);
    for (int i = 0; i <= DEPOSITORS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert(!account.wrong);
    ck_assert_int_eq(account.deposits, DEPOSITORS * TIMES);
    ck_assert_int_eq(account.draws, DEPOSITORS * TIMES);
    assert_code(shk_cond_close(account.cond), 0);
}
END_TEST

/* ---- Deaths ---- */

START_TEST(test_cond_skips_waiters_that_were_killed)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiters[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = start_waiter();
    child_kill(waiters[0]->pid);
    child_kill(waiters[2]->pid);
    assert_code(notify(cond, 2), 2);
    assert_result(result_of(waiters[1]), 0);
    assert_result(result_of(waiters[3]), 0);
    assert_code(notify_all(cond), 1);
    assert_result(result_of(waiters[4]), 0);
    assert_code(notify_all(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_does_not_count_the_dead)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);

    for (int i = 0; i < 3; i++)
        child_kill(start_waiter()->pid);
    assert_code(_i ? notify(cond, 3) : notify_all(cond), 0);
    struct actor *waiter = start_waiter();
    child_kill(start_waiter()->pid);
    assert_code(_i ? notify(cond, 3) : notify_all(cond), 1);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* Stopped, so that the wake-up finds it but it cannot resume; then killed. */
START_TEST(test_cond_passes_on_the_wake_up_of_a_killed_waiter)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *killed[2] = {start_waiter(), start_waiter()}, *waiters[3];
    struct shk_object_info info;

    for (int i = 0; i < 3; i++)
        waiters[i] = start_waiter();
    child_stop(killed[0]->pid);
    child_stop(killed[1]->pid);
    assert_code(notify(cond, 2), 2);
    let_time_pass();
    ck_assert_int_eq(*resumed, 0); /* stopped is not dead: the wake-ups are theirs */
    child_kill(killed[0]->pid);
    assert_result(result_of(waiters[0]), 0);
    let_time_pass();
    ck_assert_int_eq(*resumed, 1);
    child_kill(killed[1]->pid);
    assert_result(result_of(waiters[1]), 0);
    let_time_pass();
    assert_result(waiters[2]->result, PENDING);
    ck_assert(look_at_object(segment_name(NULL), "changed", &info));
    ck_assert_uint_eq(info.wakeups_passed_on, 2);
    assert_code(notify_all(cond), 1);
    assert_result(result_of(waiters[2]), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* Awake, but without the lock yet: it has not resumed. */
START_TEST(test_cond_passes_on_the_wake_up_of_a_waiter_killed_before_it_has_the_lock)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *killed = start_waiter(), *waiter = start_waiter(), *last = start_waiter();

    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(cond, 1), 1);
    wait_until(waits_for(killed->pid, SHK_WAITS_TO_ACQUIRE), TEST_DEADLINE);
    child_kill(killed->pid);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(waiter), 0);
    let_time_pass();
    assert_result(last->result, PENDING);
    assert_code(notify_all(cond), 1);
    assert_result(result_of(last), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* A waiter that came after the notify has no part in it. */
START_TEST(test_cond_forwards_no_wake_up_to_a_later_waiter)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *killed = start_waiter();

    child_stop(killed->pid);
    assert_code(notify(cond, 1), 1);
    struct actor *later = start_waiter();
    child_kill(killed->pid);
    let_time_pass();
    assert_result(later->result, PENDING);
    assert_code(notify(cond, 1), 1);
    assert_result(result_of(later), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* A timeout that runs out, or an interrupt, does not swallow a wake-up either. */
START_TEST(test_cond_loses_no_wake_up_on_a_waiter_that_gives_up)
{
    const int64_t timeout = SHK_MS(500) * time_factor();
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *gives_up = start_waiter_as(
        &(struct actor){.cond = "changed", .timeout = timeout, .levels = 1, .interruptible = true});
    struct actor *waiter = start_waiter();

    child_stop(gives_up->pid);
    int notified = notify(cond, 1);
    ck_assert_int_eq(kill(gives_up->pid, SIGINT), 0);
    int64_t over = time_now() + timeout;
    wait_until(time_now() > over, TEST_DEADLINE);
    child_continue(gives_up->pid);
    assert_code(notified, 1);
    /* Either it took the wake-up, or the next one has it. */
    if (result_of(gives_up) == 0)
        assert_code(notify(cond, 1), 1);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_notifies_all_but_the_stopped_and_the_killed)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *stopped = start_waiter(), *killed = start_waiter(), *waiter = start_waiter();

    child_stop(stopped->pid);
    child_stop(killed->pid);
    assert_code(notify_all(cond), 3);
    assert_result(result_of(waiter), 0);
    struct actor *later = start_waiter();
    child_kill(killed->pid);
    let_time_pass();
    assert_result(later->result, PENDING);
    assert_code(notify_all(cond), 1);
    assert_result(result_of(later), 0);
    child_continue(stopped->pid);
    assert_result(result_of(stopped), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static int die_holding(void *levels)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), "changed", 0, NULL, &cond), 0);
    for (int level = 0; level < *(int *)levels; level++)
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    raise(SIGKILL);
    return 0;
}

START_TEST(test_cond_reports_a_dead_holder_to_the_next)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiters[3] = {start_waiter(), start_waiter(), start_waiter()};

    ck_assert_int_eq(child_wait(stranger_start(die_holding, &(int){1 + _i})), 128 + SIGKILL);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_cond_notify(cond, 1), 1);
    assert_code(shk_cond_release(cond), 0);
    assert_result(result_of(waiters[0]), 0);
    assert_code(notify(cond, 1), 1);
    assert_result(result_of(waiters[1]), 0);

    /* Held by the dead again when the waiter that has been notified takes the lock back. */
    child_stop(waiters[2]->pid);
    assert_code(notify(cond, 1), 1);
    ck_assert_int_eq(child_wait(stranger_start(die_holding, &(int){1 + _i})), 128 + SIGKILL);
    child_continue(waiters[2]->pid);
    assert_result(result_of(waiters[2]), SHK_ORPHANED);
    assert_result(result_elsewhere(), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* There is no notify; the time is over, and then there is more to tell than that. */
START_TEST(test_cond_wait_reports_a_death_before_its_timeout)
{
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct actor *waiter = start_waiter_as(
        &(struct actor){.cond = "changed", .timeout = SHK_SEC(1) * time_factor(), .levels = 2});

    child_stop(waiter->pid);
    ck_assert_int_eq(child_wait(stranger_start(die_holding, &(int){1})), 128 + SIGKILL);
    child_continue(waiter->pid);
    assert_result(result_of(waiter), SHK_ORPHANED);
    assert_code(shk_cond_acquire(cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* A token is there to be taken by one; each taker takes one and then waits for the next. */
struct tokens {
    volatile int there;
};

static int take_tokens(void *argument)
{
    struct tokens *tokens = argument;
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);

    if (shk_cond_acquire(cond, SHK_FOREVER) < 0)
        return 2;
    for (;;) {
        while (tokens->there == 0)
            if (shk_cond_wait(cond, SHK_FOREVER) < 0)
                return 3;
        tokens->there--;
    }
}

enum { TAKERS = 3 };

static int first_in_line(const pid_t *takers)
{
    uint64_t least = UINT64_MAX;
    int first = 0;

    for (int i = 0; i < TAKERS; i++) {
        struct shk_member_info member;
        wait_until(waits_for(takers[i], SHK_WAITS_FOR_NOTIFY), TEST_DEADLINE);
        ck_assert(look_at_member(segment_name(NULL), takers[i], &member));
        if (member.ticket < least) {
            least = member.ticket;
            first = i;
        }
    }
    return first;
}

/* A member that is told of a death notifies: the dead may have been on its way to the token. */
static bool is_taken(struct shk_cond *cond, const struct tokens *tokens)
{
    int r = shk_cond_acquire(cond, SHK_FOREVER);

    if (r == SHK_ORPHANED)
        r = shk_cond_notify(cond, 1);
    bool taken = tokens->there == 0;
    ck_assert(r >= 0 && shk_cond_release(cond) == 0);
    return taken;
}

/*
 * The first in line is killed at some moment around its wake-up. Whether it has taken the token, or
 * not yet, a member takes it; no new one comes meanwhile that would take it without a wake-up.
 */
START_TEST(test_cond_loses_no_wake_up_when_waiters_are_killed_at_random)
{
    enum { KILLS = 100 };
    struct shk_cond *cond = open_cond(SHK_COND_ROBUST);
    struct tokens *tokens = shared_memory(sizeof(*tokens));
    pid_t takers[TAKERS];

    for (int i = 0; i < TAKERS; i++)
        takers[i] = stranger_start(take_tokens, tokens);
    for (int i = 0; i < KILLS; i++) {
        int first = first_in_line(takers);
        int r = shk_cond_acquire(cond, SHK_FOREVER);
        ck_assert_msg(r == 0 || r == SHK_ORPHANED, "acquire gave %s", code_name(r));
        tokens->there = 1;
        assert_code(shk_cond_notify(cond, 1), 1);
        assert_code(shk_cond_release(cond), 0);
        for (volatile long spin = random() % 50000; spin > 0; spin--)
            ;
        child_kill(takers[first]);
        wait_until(is_taken(cond, tokens), TEST_DEADLINE);
        takers[first] = stranger_start(take_tokens, tokens);
    }
    for (int i = 0; i < TAKERS; i++)
        child_kill(takers[i]);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/*
 * Each waits for its turn and gives it to the next. A member that finds that a holder died wakes
 * all, as it may not have.
 */
struct ring {
    volatile long turn;
    bool given_lock;
};

struct link {
    struct ring *ring;
    int number;
};

enum { LINKS = 3 };

static struct shk_cond *open_ring(const struct ring *ring)
{
    return ring->given_lock ? open_cond_with("changed", open_lock("ring", 0))
                            : open_cond(SHK_COND_ROBUST);
}

static int pass_the_turn(void *argument)
{
    const struct link *link = argument;
    struct shk_cond *cond = open_ring(link->ring);
    int r = shk_cond_acquire(cond, SHK_FOREVER);

    for (;;) {
        if (r < 0 || (r == SHK_ORPHANED && shk_cond_notify_all(cond) < 0))
            return 2;
        if (link->ring->turn % LINKS == link->number) {
            link->ring->turn++;
            if (shk_cond_notify_all(cond) < 0)
                return 3;
        }
        r = shk_cond_wait(cond, SHK_FOREVER);
    }
}

START_TEST(test_cond_goes_on_whichever_member_is_killed)
{
    enum { KILLS = 300 };
    struct ring *ring = shared_memory(sizeof(*ring));
    pid_t links[LINKS];

    ring->given_lock = _i;
    for (int i = 0; i < LINKS; i++)
        links[i] = stranger_start(pass_the_turn, &(struct link){ring, i});
    for (int i = 0; i < KILLS; i++) {
        usleep((unsigned)(random() % 2000 * time_factor()));
        child_kill(links[i % LINKS]);
        links[i % LINKS] = stranger_start(pass_the_turn, &(struct link){ring, i % LINKS});
    }
    long turn = ring->turn;
    ck_assert_int_gt(turn, 0);
    wait_until(ring->turn > turn + 100, TEST_DEADLINE);
    for (int i = 0; i < LINKS; i++)
        child_kill(links[i]);
}
END_TEST

/* ---- The pthread kind ---- */

START_TEST(test_cond_of_the_pthread_kind_wakes_as_many_as_are_notified_or_more)
{
    struct shk_cond *cond = open_cond(SHK_COND_PTHREAD);
    struct actor *waiters[3] = {start_waiter(), start_waiter(), start_waiter()};

    for (int i = 0; i < 3; i++) {
        int notified = notify(cond, 1);
        ck_assert_int_le(notified, 1);
        ck_assert(notified == 1 || *resumed == 3);
        wait_until(*resumed > i, TEST_DEADLINE);
    }
    for (int i = 0; i < 3; i++)
        assert_result(result_of(waiters[i]), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

START_TEST(test_cond_shows_its_pthread_objects_if_it_has_them)
{
    struct shk_cond *cond = open_cond(_i);
    pthread_cond_t *native_cond = NULL;
    pthread_mutex_t *native_mutex = NULL;
    int expected = _i == SHK_COND_PTHREAD ? 0 : -ENOTSUP;

    assert_code(shk_cond_native(cond, &native_cond, &native_mutex), expected);
    assert_code(shk_cond_native(cond, &native_cond, NULL), expected);
    assert_code(shk_cond_native(cond, NULL, &native_mutex), expected);
    assert_code(shk_cond_native(cond, NULL, NULL), expected);
    ck_assert((native_cond != NULL) == (expected == 0));
    ck_assert((native_mutex != NULL) == (expected == 0));
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/*
 * A program that knows nothing but pthread: answers each change of `asked` by the same change of
 * `answered`.
 */
struct talk {
    volatile int asked, answered;
    volatile bool ready;
};

static int answer_natively(void *argument)
{
    struct talk *talk = argument;
    pthread_cond_t *cond;
    pthread_mutex_t *mutex;

    assert_code(shk_cond_native(open_cond(SHK_COND_PTHREAD), &cond, &mutex), 0);
    ck_assert_int_eq(pthread_mutex_lock(mutex), 0);
    talk->ready = true;
    while (talk->asked >= 0) {
        while (talk->asked == talk->answered)
            ck_assert_int_eq(pthread_cond_wait(cond, mutex), 0);
        talk->answered = talk->asked;
        ck_assert_int_eq(pthread_cond_broadcast(cond), 0);
    }
    ck_assert_int_eq(pthread_mutex_unlock(mutex), 0);
    return 0;
}

START_TEST(test_cond_talks_to_programs_that_use_pthread_alone)
{
    struct talk *talk = shared_memory(sizeof(*talk));
    struct shk_cond *cond = open_cond(SHK_COND_PTHREAD);
    pid_t other = stranger_start(answer_natively, talk);

    wait_until(talk->ready, TEST_DEADLINE);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    for (int i = 1; i <= 100; i++) {
        talk->asked = i < 100 ? i : -1;
        ck_assert_int_ge(i % 2 ? shk_cond_notify(cond, 1) : shk_cond_notify_all(cond), 0);
        while (talk->answered != talk->asked)
            assert_code(shk_cond_wait(cond, TEST_DEADLINE * time_factor()), 0);
    }
    assert_code(shk_cond_release(cond), 0);
    child_succeeds(other);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

/* As POSIX allows: of a pthread_cond_signal() that came while it was awake nothing is left. */
START_TEST(test_cond_wait_ends_by_itself_where_programs_may_notify_natively)
{
    struct shk_cond *cond = open_cond(SHK_COND_PTHREAD);
    struct actor *waiter = start_waiter();

    let_time_pass();
    assert_result(waiter->result, PENDING);
    assert_code(shk_cond_native(cond, NULL, NULL), 0);
    assert_result(result_of(waiter), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_wait(cond, SHK_MS(1)), -ETIMEDOUT);
    *interruptible() = 1;
    assert_code(shk_cond_wait(cond, SHK_FOREVER), -EINTR);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static int time_out_natively(void *argument)
{
    pthread_cond_t *cond;
    pthread_mutex_t *mutex;
    int64_t until = time_now() + SHK_MS(100);
    const struct timespec deadline = {.tv_sec = until / SHK_SEC(1), .tv_nsec = until % SHK_SEC(1)};
    int r;

    (void)argument;
    assert_code(shk_cond_native(open_cond(SHK_COND_PTHREAD), &cond, &mutex), 0);
    ck_assert_int_eq(pthread_mutex_lock(mutex), 0);
    while ((r = pthread_cond_timedwait(cond, mutex, &deadline)) == 0)
        ;
    ck_assert_int_eq(r, ETIMEDOUT);
    ck_assert_int_ge(time_now(), until);
    raise(SIGKILL); /* with the mutex */
    return 0;
}

START_TEST(test_cond_tells_of_a_program_that_died_with_the_pthread_mutex)
{
    struct shk_cond *cond = open_cond(SHK_COND_PTHREAD);

    ck_assert_int_eq(child_wait(stranger_start(time_out_natively, NULL)), 128 + SIGKILL);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), SHK_ORPHANED);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_release(cond), 0);
    assert_code(shk_cond_close(cond), 0);
}
END_TEST

static void add_test_of_both_kinds(TCase *tests, const TTest *test)
{
    tcase_add_loop_test(tests, test, SHK_COND_ROBUST, SHK_COND_PTHREAD + 1);
}

int main(void)
{
    Suite *suite = suite_create("cond");
    TCase *opening = test_case(suite, "opening");
    TCase *waiting = test_case(suite, "waiting");
    TCase *interruption = test_case(suite, "interruption");
    TCase *given = test_case(suite, "a lock that is given");
    TCase *notifying = test_case(suite, "notifying");
    TCase *deaths = test_case(suite, "deaths");
    TCase *native = test_case(suite, "the pthread kind");

    tcase_set_tags(interruption, "backstop");
    tcase_set_tags(deaths, "backstop");

    tcase_add_test(opening, test_cond_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_cond_is_opened_only_as_what_it_is);
    tcase_add_test(opening, test_cond_refuses_bad_arguments);
    tcase_add_test(opening, test_cond_needs_room);
    tcase_add_test(opening, test_cond_goes_with_a_lock_of_its_segment);
    tcase_add_test(opening, test_cond_whose_lock_is_unlinked_is_stale);
    tcase_add_test(opening, test_cond_whose_lock_is_held_keeps_its_handle_open);

    add_test_of_both_kinds(waiting,
                           test_cond_wait_gives_up_when_the_time_is_over_and_holds_the_lock);
    add_test_of_both_kinds(waiting, test_cond_is_for_the_holder_of_its_lock);
    add_test_of_both_kinds(waiting, test_cond_wait_gives_up_every_level_and_restores_it);
    add_test_of_both_kinds(waiting, test_cond_wait_ends_with_a_notify_and_nothing_else);
    add_test_of_both_kinds(waiting, test_cond_wait_ends_with_a_notify_that_comes_while_it_is_awake);
    /* both kinds; object, segment */
    tcase_add_loop_test(waiting, test_cond_that_is_unlinked_releases_its_waiters, 0, 4);
    tcase_add_test(waiting, test_cond_is_not_opened_on_a_closed_segment_with_a_lock);

    add_test_of_both_kinds(interruption,
                           test_cond_wait_takes_the_lock_back_whatever_its_timeout_and_interrupt);
    add_test_of_both_kinds(interruption, test_cond_wait_ends_with_an_interrupt);

    tcase_add_loop_test(given, test_cond_shares_a_given_lock, 0, 2); /* plain, recursive */
    tcase_add_test(given, test_cond_gives_up_every_level_of_a_given_lock);

    tcase_add_test(notifying, test_cond_serves_in_order_of_arrival);
    tcase_add_test(notifying, test_cond_notifies_as_many_as_are_asked_for);
    tcase_add_test(notifying, test_cond_notifies_no_waiter_twice);
    add_test_of_both_kinds(notifying, test_cond_notifies_all);
    add_test_of_both_kinds(notifying, test_cond_works_in_a_forked_child);
    add_test_of_both_kinds(notifying, test_cond_alternates_the_deposits_and_draws_of_programs);
    add_test_of_both_kinds(notifying, test_cond_alternates_the_deposits_and_draws_of_threads);

    tcase_add_loop_test(deaths,
                        test_cond_tells_whether_a_wait_that_was_told_of_a_death_was_notified, 0, 2);
    tcase_add_test(deaths, test_cond_skips_waiters_that_were_killed);
    tcase_add_loop_test(deaths, test_cond_does_not_count_the_dead, 0, 2); /* notify_all, notify */
    tcase_add_test(deaths, test_cond_passes_on_the_wake_up_of_a_killed_waiter);
    tcase_add_test(deaths,
                   test_cond_passes_on_the_wake_up_of_a_waiter_killed_before_it_has_the_lock);
    tcase_add_test(deaths, test_cond_forwards_no_wake_up_to_a_later_waiter);
    tcase_add_test(deaths, test_cond_loses_no_wake_up_on_a_waiter_that_gives_up);
    tcase_add_test(deaths, test_cond_notifies_all_but_the_stopped_and_the_killed);
    /* one level, two */
    tcase_add_loop_test(deaths, test_cond_reports_a_dead_holder_to_the_next, 0, 2);
    tcase_add_test(deaths, test_cond_wait_reports_a_death_before_its_timeout);
    tcase_add_test(deaths, test_cond_loses_no_wake_up_when_waiters_are_killed_at_random);
    /* own lock, a given one */
    tcase_add_loop_test(deaths, test_cond_goes_on_whichever_member_is_killed, 0, 2);

    tcase_add_test(native, test_cond_of_the_pthread_kind_wakes_as_many_as_are_notified_or_more);
    add_test_of_both_kinds(native, test_cond_shows_its_pthread_objects_if_it_has_them);
    tcase_add_test(native, test_cond_talks_to_programs_that_use_pthread_alone);
    tcase_add_test(native, test_cond_wait_ends_by_itself_where_programs_may_notify_natively);
    tcase_add_test(native, test_cond_tells_of_a_program_that_died_with_the_pthread_mutex);
    return run_tests(suite);
}
