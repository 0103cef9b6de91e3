/* The lock: what <shmkit/lock.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct shk_lock *open_lock(const char *name)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), name, SHK_CREATE, NULL, &lock), 0);
    return lock;
}

static struct shk_lock *create_lock(const char *name, uint32_t recursive,
                                    uint32_t no_deadlock_check)
{
    const struct shk_lock_options options = {.recursive = recursive,
                                             .no_deadlock_check = no_deadlock_check};
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), name, SHK_CREATE | SHK_EXCL, &options, &lock), 0);
    return lock;
}

/* ---- Actors: programs that want a lock ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    const char *lock;
    int64_t timeout;
    bool interruptible;
    atomic_bool released; /* the holder is to release it */
    _Atomic int result;   /* of its acquire */
};

static int acquire_and_hold(void *argument)
{
    struct actor *actor = argument;
    struct shk_lock *lock = open_lock(actor->lock);

    if (actor->interruptible)
        interruptible();
    actor->result = shk_lock_acquire(lock, actor->timeout);
    if (actor->result < 0)
        return shk_last_error()[0] ? 0 : 2;
    while (!actor->released)
        pause_briefly();
    assert_code(shk_lock_release(lock), 0);
    return 0;
}

static struct actor *start_actor(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(acquire_and_hold, actor);
    return actor;
}

/* A program that holds the lock. */
static struct actor *start_holder(const char *lock)
{
    struct actor *holder = start_actor(&(struct actor){.lock = lock, .timeout = SHK_FOREVER});

    wait_until(holder->result != PENDING, TEST_DEADLINE);
    ck_assert_int_ge(holder->result, 0);
    return holder;
}

/* A program that waits for the lock, and gives it back as soon as it has had it. */
static struct actor *start_waiter(const char *lock, int64_t timeout)
{
    struct actor *waiter =
        start_actor(&(struct actor){.lock = lock, .timeout = timeout, .released = true});

    wait_until_waiting(segment_name(NULL), waiter->pid, lock);
    return waiter;
}

static void release_holder(struct actor *holder)
{
    holder->released = true;
    child_succeeds(holder->pid);
}

/* What the actor's acquire gave; the actor has ended. */
static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

/* What an acquire without waiting gives in a program of its own; it holds nothing afterwards. */
static int result_elsewhere(const char *lock)
{
    return result_of(
        start_actor(&(struct actor){.lock = lock, .timeout = SHK_NOWAIT, .released = true}));
}

/* ---- Opening ---- */

START_TEST(test_lock_is_created_once_and_found_by_name)
{
    struct shk_lock *lock, *again;

    assert_code(shk_lock_open(test_segment(), "till", 0, NULL, &lock), -ENOENT);
    lock = create_lock("till", 0, 0);
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_lock_open(test_segment(), "till", 0, NULL, &again), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(again, SHK_NOWAIT), -EDEADLK);
    assert_result(result_elsewhere("till"), -EAGAIN);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(again), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_lock_close(NULL), 0);
    assert_code(shk_lock_open(test_segment(), "till", 0, NULL, &lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_lock_is_opened_only_as_what_it_is)
{
    const struct shk_lock_options plain = {0}, recursive = {.recursive = 1},
                                  unchecked = {.no_deadlock_check = 1};
    struct shk_lock *plain_lock = create_lock("plain", 0, 0),
                    *recursive_lock = create_lock("recursive", 1, 0), *lock;
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_lock_open(test_segment(), "event", SHK_CREATE, NULL, &lock), -EPROTOTYPE);
    assert_code(shk_lock_open(test_segment(), "plain", SHK_CREATE, &recursive, &lock), -EPROTOTYPE);
    assert_code(shk_lock_open(test_segment(), "plain", 0, &unchecked, &lock), -EPROTOTYPE);
    assert_code(shk_lock_open(test_segment(), "recursive", 0, &plain, &lock), -EPROTOTYPE);
    assert_code(shk_lock_open(test_segment(), "recursive", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_lock_open(test_segment(), "recursive", 0, &recursive, &lock), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_lock_close(recursive_lock), 0);
    assert_code(shk_lock_close(plain_lock), 0);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_lock_refuses_bad_arguments)
{
    struct shk_lock_options options = {.recursive = 2};
    struct shk_lock *lock;

    for (const struct bad_name *bad = bad_object_names; bad->name; bad++)
        assert_code(shk_lock_open(test_segment(), bad->name, SHK_CREATE, NULL, &lock), bad->code);
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE, &options, &lock), -EINVAL);
    options = (struct shk_lock_options){.no_deadlock_check = 2};
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE, &options, &lock), -EINVAL);
    options = (struct shk_lock_options){.reserved[7] = 1};
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE, &options, &lock), -EINVAL);
    assert_code(shk_lock_open(test_segment(), "till", 0x80, NULL, &lock), -EINVAL);
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE, NULL, NULL), -EINVAL);
    assert_code(shk_lock_open(test_segment(), NULL, SHK_CREATE, NULL, &lock), -EINVAL);
    assert_code(shk_lock_open(NULL, "till", SHK_CREATE, NULL, &lock), -EINVAL);
    assert_code(shk_lock_open(test_segment(), "till", 0, NULL, &lock), -ENOENT);
    lock = open_lock("的锁");
    assert_code(shk_lock_acquire(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_lock_release(NULL), -EINVAL);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_lock_needs_room_in_the_directory)
{
    const struct shk_segment_options options = {.max_objects = 2};
    struct shk_segment *small;
    struct shk_lock *first, *second, *third;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    assert_code(shk_lock_open(small, "first", SHK_CREATE, NULL, &first), 0);
    assert_code(shk_lock_open(small, "second", SHK_CREATE, NULL, &second), 0);
    assert_code(shk_lock_open(small, "third", SHK_CREATE, NULL, &third), -ENOSPC);
    assert_code(shk_object_unlink(small, "first"), 0);
    assert_code(shk_lock_close(first), 0);
    assert_code(shk_lock_open(small, "third", SHK_CREATE, NULL, &third), 0);
    assert_code(shk_lock_close(second), 0);
    assert_code(shk_lock_close(third), 0);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

static int acquire_after_fork(void *lock)
{
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -EUSERS);
    return 0;
}

START_TEST(test_lock_needs_a_free_place_among_the_members)
{
    const struct shk_segment_options options = {.max_members = 1};
    struct shk_segment *small;
    struct shk_lock *lock;

    assert_code(shk_segment_open(segment_name("small"), SHK_CREATE, &options, &small), 0);
    assert_code(shk_lock_open(small, "till", SHK_CREATE, NULL, &lock), 0);
    child_succeeds(child_start(acquire_after_fork, lock));
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_close(small), 0);
    assert_code(shk_segment_unlink(segment_name("small")), 0);
}
END_TEST

START_TEST(test_lock_that_is_held_keeps_its_handle_and_its_segment_open)
{
    struct shk_segment *segment;
    struct shk_lock *lock;

    assert_code(shk_segment_open(segment_name("held"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_lock_open(segment, "till", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_close(lock), -EBUSY);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EBADF);
    assert_code(shk_lock_release(lock), -EBADF);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_segment_unlink(segment_name("held")), 0);
}
END_TEST

/* ---- Holding ---- */

START_TEST(test_lock_is_held_by_one_program_at_a_time)
{
    struct shk_lock *lock = open_lock("till");
    struct actor *holder = start_holder("till");

    assert_result(holder->result, 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    struct actor *waiter = start_waiter("till", SHK_FOREVER);
    struct actor *second = start_waiter("till", TEST_DEADLINE * time_factor());
    assert_result(waiter->result, PENDING);
    release_holder(holder);
    assert_result(result_of(waiter), 0);
    assert_result(result_of(second), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/* also longer than a recheck interval */
static const int64_t timeouts[] = {1, SHK_MS(1), SHK_MS(30), SHK_MS(250)};

START_TEST(test_lock_gives_up_when_the_time_is_over_and_not_before)
{
    struct shk_lock *lock = open_lock("till");
    struct actor *holder = start_holder("till");

    assert_code_after(timeouts[_i], shk_lock_acquire(lock, timeouts[_i]), -ETIMEDOUT);
    release_holder(holder);
    assert_code(shk_lock_acquire(lock, timeouts[_i]), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

static int hold_and_stay(void *unused)
{
    struct shk_lock *lock;

    (void)unused;
    assert_code(shk_lock_open(test_segment(), "looked", 0, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_is_held(lock), 2);
    while (pause() < 0)
        ;
    return 0;
}

START_TEST(test_lock_is_looked_at_and_stays_as_it_is)
{
    struct shk_lock *lock;
    pid_t holder;

    assert_code(shk_lock_open(test_segment(), "looked", SHK_CREATE,
                              &(struct shk_lock_options){.recursive = 1}, &lock),
                0);
    assert_code(shk_lock_is_held(NULL), -EINVAL);
    assert_code(shk_lock_depth(NULL), -EINVAL);
    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_depth(lock), 0);
    for (int i = 1; i <= 3; i++) {
        assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
        assert_code(shk_lock_is_held(lock), 2);
        assert_code(shk_lock_depth(lock), i);
    }
    for (int i = 2; i >= 0; i--) {
        assert_code(shk_lock_release(lock), 0);
        assert_code(shk_lock_depth(lock), i);
    }
    holder = child_start(hold_and_stay, NULL);
    wait_until(shk_lock_is_held(lock) == 1, TEST_DEADLINE);
    assert_code(shk_lock_depth(lock), 0);
    child_kill(holder);
    /* The looks leave the news for the next holder, and tell it themselves to no one. */
    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_lock_is_held(lock), 2);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_is_held(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

static uint64_t token_of(struct shk_lock *lock)
{
    uint64_t token;

    assert_code(shk_lock_token(lock, &token), 0);
    return token;
}

struct token_board {
    _Atomic uint64_t token;
};

static int hold_with_token(void *argument)
{
    struct token_board *board = argument;
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), "fenced", 0, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    board->token = token_of(lock);
    while (pause() < 0)
        ;
    return 0;
}

START_TEST(test_lock_gives_each_holder_a_greater_token)
{
    struct token_board *board = shared_memory(sizeof(*board));
    struct shk_lock *lock;
    uint64_t last = 0, token;
    pid_t holder;

    assert_code(shk_lock_open(test_segment(), "fenced", SHK_CREATE,
                              &(struct shk_lock_options){.recursive = 1}, &lock),
                0);
    assert_code(shk_lock_token(lock, &token), -EPERM);
    assert_code(shk_lock_token(NULL, &token), -EINVAL);
    for (int i = 0; i < 3; i++) {
        assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
        assert_code(shk_lock_token(lock, NULL), -EINVAL);
        token = token_of(lock);
        ck_assert_uint_gt(token, last);
        last = token;
        assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
        ck_assert_uint_eq(token_of(lock), last);
        assert_code(shk_lock_release(lock), 0);
        ck_assert_uint_eq(token_of(lock), last);
        assert_code(shk_lock_release(lock), 0);
    }
    holder = child_start(hold_with_token, board);
    wait_until(board->token, TEST_DEADLINE);
    ck_assert_uint_gt(board->token, last);
    child_kill(holder);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), SHK_ORPHANED);
    ck_assert_uint_gt(token_of(lock), board->token);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_lock_is_acquired_again_only_if_it_is_recursive)
{
    struct shk_lock *plain = open_lock("plain"), *recursive = create_lock("recursive", 1, 0);

    assert_code(shk_lock_acquire(plain, SHK_FOREVER), 0);
    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_lock_acquire(plain, SHK_MS(1)), -EDEADLK);
    assert_code(shk_lock_acquire(plain, SHK_FOREVER), -EDEADLK);
    assert_code(shk_lock_release(plain), 0);
    assert_code(shk_lock_release(plain), -EPERM);
    for (int level = 0; level < 3; level++)
        assert_code(shk_lock_acquire(recursive, SHK_FOREVER), 0);
    for (int level = 3; level > 0; level--) {
        struct shk_object_info info;
        ck_assert(look_at_object(segment_name(NULL), "recursive", &info));
        ck_assert_int_eq(info.as.lock.depth, level);
        assert_result(result_elsewhere("recursive"), -EAGAIN);
        assert_code(shk_lock_release(recursive), 0);
    }
    assert_code(shk_lock_release(recursive), -EPERM);
    assert_result(result_elsewhere("recursive"), 0);
    assert_code(shk_lock_close(plain), 0);
    assert_code(shk_lock_close(recursive), 0);
}
END_TEST

static int try_what_only_the_holder_may(void *lock)
{
    assert_code(shk_lock_release(lock), -EPERM);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_lock_acquire(lock, SHK_MS(10)), -ETIMEDOUT);
    assert_code(shk_lock_close(lock), 0);
    return 0;
}

static int try_in_an_own_handle(void *name)
{
    return try_what_only_the_holder_may(open_lock(name));
}

static void *try_in_a_thread(void *name)
{
    try_in_an_own_handle(name);
    return NULL;
}

START_TEST(test_lock_is_released_by_its_holder_alone)
{
    struct shk_lock *lock = create_lock("till", _i, 0);
    pthread_t thread;

    assert_code(shk_lock_release(lock), -EPERM);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    child_succeeds(child_start(try_what_only_the_holder_may, lock));
    child_succeeds(stranger_start(try_in_an_own_handle, "till"));
    ck_assert_int_eq(pthread_create(&thread, NULL, try_in_a_thread, "till"), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    /* The forked child has died without the lock: no member is told of a death. */
    assert_code(shk_lock_release(lock), 0);
    assert_result(result_elsewhere("till"), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

static int take_turns(void *lock)
{
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_release(lock), 0);
    return 0;
}

START_TEST(test_lock_works_in_a_forked_child)
{
    struct shk_lock *lock = open_lock("till");

    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    pid_t child = child_start(take_turns, lock);
    wait_until_waiting(segment_name(NULL), child, "till");
    assert_code(shk_lock_release(lock), 0);
    child_succeeds(child);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/* Not atomic: only the lock makes it right. */
struct counter {
    volatile long value;
    long rounds;
};

static int count_up(void *argument)
{
    struct counter *counter = argument;
    struct shk_lock *lock = open_lock("till");

    for (long i = 0; i < counter->rounds; i++) {
        if (shk_lock_acquire(lock, SHK_FOREVER) != 0)
            return 2;
        counter->value++;
        if (shk_lock_release(lock) != 0)
            return 3;
    }
    shk_lock_close(lock);
    return 0;
}

static void *count_up_in_a_thread(void *counter)
{
    return (void *)(intptr_t)count_up(counter);
}

enum { COUNTERS = 4, COUNTS = 20000 };

START_TEST(test_lock_protects_between_programs)
{
    struct counter *counter = shared_memory(sizeof(*counter));
    pid_t children[COUNTERS];

    counter->rounds = COUNTS;
    for (int i = 0; i < COUNTERS; i++)
        children[i] = stranger_start(count_up, counter);
    for (int i = 0; i < COUNTERS; i++)
        child_succeeds(children[i]);
    ck_assert_int_eq(counter->value, COUNTERS * COUNTS);
}
END_TEST

START_TEST(test_lock_protects_between_threads)
{
    struct counter counter = {.rounds = COUNTS};
    pthread_t threads[COUNTERS];
    void *status;

    test_segment();
    for (int i = 0; i < COUNTERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up_in_a_thread, &counter), 0);
    for (int i = 0; i < COUNTERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &status), 0);
        ck_assert_ptr_null(status);
    }
    ck_assert_int_eq(counter.value, COUNTERS * COUNTS);
}
END_TEST

/* It lets go only to take the lock again at once, until it is told to end. */
static int be_greedy(void *argument)
{
    atomic_bool *end = argument;
    struct shk_lock *lock = open_lock("till");

    while (!*end)
        if (shk_lock_acquire(lock, SHK_FOREVER) != 0 || shk_lock_release(lock) != 0)
            return 2;
    return 0;
}

START_TEST(test_lock_comes_to_every_member_in_the_end)
{
    struct shk_lock *lock = open_lock("till");
    atomic_bool *end = shared_memory(sizeof(*end));
    pid_t greedy[2];

    for (int i = 0; i < 2; i++)
        greedy[i] = stranger_start(be_greedy, end);
    for (int i = 0; i < 200; i++) {
        assert_code(shk_lock_acquire(lock, TEST_DEADLINE * time_factor()), 0);
        assert_code(shk_lock_release(lock), 0);
    }
    *end = true;
    for (int i = 0; i < 2; i++)
        child_succeeds(greedy[i]);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

enum { LOCKS = 2010 };

struct hoard {
    struct shk_lock *locks[LOCKS];
    _Atomic int held;
};

static int hoard_locks(void *argument)
{
    struct hoard *hoard = argument;
    int held = 0, r;

    while ((r = shk_lock_acquire(hoard->locks[held], SHK_NOWAIT)) == 0)
        held++;
    assert_code(r, -ENOLCK);
    assert_code(shk_lock_release(hoard->locks[0]), 0);
    assert_code(shk_lock_acquire(hoard->locks[held], SHK_NOWAIT), 0);
    assert_code(shk_lock_release(hoard->locks[held]), 0);
    assert_code(shk_lock_acquire(hoard->locks[0], SHK_NOWAIT), 0);
    hoard->held = held;
    for (;;)
        pause();
}

START_TEST(test_lock_is_held_together_with_no_more_than_the_kernel_can_free)
{
    const struct shk_segment_options options = {.max_objects = LOCKS};
    struct hoard *hoard = shared_memory(sizeof(*hoard));
    struct shk_segment *segment;
    char name[24];

    assert_code(shk_segment_open(segment_name("wide"), SHK_CREATE, &options, &segment), 0);
    for (int i = 0; i < LOCKS; i++) {
        snprintf(name, sizeof(name), "lock-%d", i);
        assert_code(shk_lock_open(segment, name, SHK_CREATE, NULL, &hoard->locks[i]), 0);
    }
    pid_t hoarder = child_start(hoard_locks, hoard);
    wait_until(hoard->held != 0, TEST_DEADLINE);
    ck_assert_int_ge(hoard->held, 1990); /* the rest are members */
    ck_assert_int_le(hoard->held, 2000);
    child_kill(hoarder);
    for (int i = 0; i < LOCKS; i++) {
        assert_code(shk_lock_acquire(hoard->locks[i], SHK_NOWAIT),
                    i < hoard->held ? SHK_ORPHANED : 0);
        assert_code(shk_lock_release(hoard->locks[i]), 0);
        assert_code(shk_lock_close(hoard->locks[i]), 0);
    }
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name("wide")), 0);
}
END_TEST

/* ---- Interruption and unlinking ---- */

START_TEST(test_lock_wait_ends_with_an_interrupt)
{
    struct actor *holder = start_holder("till");
    struct actor *waiter =
        start_actor(&(struct actor){.lock = "till",
                                    .timeout = _i ? TEST_DEADLINE * time_factor() : SHK_FOREVER,
                                    .interruptible = true});

    wait_until_waiting(segment_name(NULL), waiter->pid, "till");
    ck_assert_int_eq(kill(waiter->pid, SIGINT), 0);
    assert_result(result_of(waiter), -EINTR);
    release_holder(holder);
}
END_TEST

static int acquire_interrupted(void *argument)
{
    struct actor *holder = argument;
    struct shk_lock *lock = open_lock("till"), *free_lock = open_lock("free");
    volatile sig_atomic_t *flag = interruptible();

    *flag = 1;
    assert_code(shk_lock_acquire(free_lock, SHK_FOREVER), 0);
    assert_code(shk_lock_release(free_lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -EINTR);
    assert_code(shk_set_interrupt(test_segment(), NULL), 0);
    assert_code(shk_lock_acquire(lock, SHK_MS(10)), -ETIMEDOUT);
    assert_code(shk_set_interrupt(test_segment(), flag), 0);
    kill(holder->pid, SIGKILL);
    wait_until(shk_lock_acquire(lock, SHK_NOWAIT) == SHK_ORPHANED, TEST_DEADLINE);
    return 0;
}

START_TEST(test_lock_that_need_not_wait_ignores_the_interrupt)
{
    struct actor *holder = start_holder("till");

    child_succeeds(stranger_start(acquire_interrupted, holder));
    ck_assert_int_eq(child_wait(holder->pid), 128 + SIGKILL);
}
END_TEST

/* The flag alone, without any signal to the sleeping thread. */
static void *acquire_in_a_thread(void *result)
{
    struct shk_lock *lock = open_lock("till");

    *(_Atomic int *)result = shk_lock_acquire(lock, SHK_FOREVER);
    shk_lock_close(lock);
    return NULL;
}

START_TEST(test_lock_wait_ends_with_a_flag_that_another_thread_sets)
{
    struct actor *holder = start_holder("till");
    volatile sig_atomic_t *flag = interruptible();
    _Atomic int result = PENDING;
    struct shk_object_info info;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, acquire_in_a_thread, &result), 0);
    wait_until(look_at_object(segment_name(NULL), "till", &info) && info.waiters == 1,
               TEST_DEADLINE);
    __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
    wait_until(result == -EINTR, TEST_DEADLINE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    release_holder(holder);
}
END_TEST

static void unlink_lock(int whole_segment)
{
    if (whole_segment)
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    else
        assert_code(shk_object_unlink(test_segment(), "till"), 0);
}

START_TEST(test_lock_that_is_unlinked_releases_its_waiters)
{
    struct shk_lock *lock = open_lock("till");

    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    struct actor *patient = start_waiter("till", SHK_FOREVER);
    struct actor *timed = start_waiter("till", SHK_SEC(3600));
    unlink_lock(_i);
    assert_result(result_of(patient), -ESTALE);
    assert_result(result_of(timed), -ESTALE);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), -ESTALE);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), -ESTALE);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_lock_of_the_same_name_is_another_lock)
{
    struct shk_lock *old = open_lock("till");

    assert_code(shk_lock_acquire(old, SHK_FOREVER), 0);
    assert_code(shk_object_unlink(test_segment(), "till"), 0);
    struct shk_lock *new = create_lock("till", 1, 0);
    assert_code(shk_lock_acquire(new, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(old), 0);
    assert_code(shk_lock_close(old), 0);
    assert_result(result_elsewhere("till"), -EAGAIN);
    assert_code(shk_lock_release(new), 0);
    assert_code(shk_lock_close(new), 0);
}
END_TEST

/* ---- Deaths ---- */

enum way_to_die { BY_SIGKILL, BY_ABORT, BY_EXIT, BY_EXEC, BY_END_OF_THREAD, WAYS_TO_DIE };

struct mortal {
    enum way_to_die way;
    uint32_t levels;
    atomic_bool holds;
};

static void *acquire_for_good(void *argument)
{
    struct mortal *mortal = argument;
    static struct shk_lock *lock; /* found by the search for leaks at the exit */

    lock = open_lock("till");
    for (uint32_t level = 0; level < mortal->levels; level++)
        assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    mortal->holds = true;
    return NULL;
}

static int die_holding(void *argument)
{
    struct mortal *mortal = argument;
    pthread_t thread;

    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (mortal->way == BY_END_OF_THREAD) {
        ck_assert_int_eq(pthread_create(&thread, NULL, acquire_for_good, mortal), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        for (;;)
            pause();
    }
    acquire_for_good(mortal);
    switch (mortal->way) {
    case BY_ABORT:
        signal(SIGABRT, SIG_DFL);
        abort();
    case BY_EXIT:
        exit(0);
    case BY_EXEC:
        execl("/bin/sleep", "sleep", "1000", NULL);
        return 2;
    default:
        raise(SIGKILL);
    }
    return 3;
}

START_TEST(test_lock_reports_a_dead_holder_once)
{
    const uint32_t recursive = _i / WAYS_TO_DIE;
    struct shk_lock *lock = create_lock("till", recursive, 0);
    struct mortal *mortal = shared_memory(sizeof(*mortal));
    struct shk_object_info info;
    int r;

    mortal->way = _i % WAYS_TO_DIE;
    mortal->levels = recursive ? 3 : 1;
    pid_t holder = stranger_start(die_holding, mortal);
    wait_until(mortal->holds, TEST_DEADLINE);
    wait_until((r = shk_lock_acquire(lock, SHK_NOWAIT)) != -EAGAIN, TEST_DEADLINE);
    assert_code(r, SHK_ORPHANED);
    assert_result(result_elsewhere("till"), -EAGAIN);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_release(lock), -EPERM);
    assert_result(result_elsewhere("till"), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_release(lock), 0);
    ck_assert(look_at_object(segment_name(NULL), "till", &info));
    ck_assert_uint_eq(info.holders_lost, 1);
    ck_assert_uint_eq(info.as.lock.orphaned, 0);
    kill(holder, SIGKILL); /* exec and the end of a thread have left the process alive */
    child_wait(holder);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_lock_tells_one_sleeper_of_the_death)
{
    struct actor *holder = start_holder("till");
    struct actor *waiters[3];
    int orphaned = 0;

    for (int i = 0; i < 3; i++)
        waiters[i] = start_waiter("till", SHK_FOREVER);
    child_kill(holder->pid);
    for (int i = 0; i < 3; i++) {
        int result = result_of(waiters[i]);
        ck_assert_msg(result == 0 || result == SHK_ORPHANED, "acquire gave %s", code_name(result));
        orphaned += result;
    }
    ck_assert_int_eq(orphaned, 1);
}
END_TEST

/* Told of a death, and killed itself before it could repair anything: the next is told as well. */
START_TEST(test_lock_reports_each_death)
{
    struct actor *first = start_holder("till");

    child_kill(first->pid);
    struct actor *second = start_holder("till");
    assert_result(second->result, SHK_ORPHANED);
    child_kill(second->pid);
    struct actor *third = start_holder("till");
    assert_result(third->result, SHK_ORPHANED);
    release_holder(third);
    assert_result(result_elsewhere("till"), 0);
}
END_TEST

START_TEST(test_lock_keeps_the_news_of_a_death_for_the_next_owner)
{
    struct shk_lock *lock = open_lock("till");
    struct actor *holder = start_holder("till");

    assert_code(shk_lock_acquire(lock, SHK_MS(1)), -ETIMEDOUT);
    assert_result(result_of(start_waiter("till", SHK_MS(300))), -ETIMEDOUT);
    child_kill(holder->pid);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_MS(1)), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/*
 * While the sleeper is stopped the holder dies, its time runs out and its interrupt comes: the
 * death is what counts.
 */
START_TEST(test_lock_reports_a_death_before_timeout_and_interrupt)
{
    const int64_t timeout = SHK_MS(500) * time_factor();
    struct actor *holder = start_holder("till");
    int64_t started = time_now();
    struct actor *waiter = start_actor(&(struct actor){
        .lock = "till", .timeout = timeout, .released = true, .interruptible = true});

    wait_until_waiting(segment_name(NULL), waiter->pid, "till");
    child_stop(waiter->pid);
    bool in_time = time_now() < started + timeout;
    child_kill(holder->pid);
    ck_assert_int_eq(kill(waiter->pid, SIGINT), 0);
    wait_until(time_now() > started + 2 * timeout, TEST_DEADLINE);
    child_continue(waiter->pid);
    int result = result_of(waiter);
    if (!in_time)
        skip_test("it took longer than %lld ms to stop a process", (long long)timeout / SHK_MS(1));
    assert_result(result, SHK_ORPHANED);
    assert_result(result_elsewhere("till"), 0);
}
END_TEST

START_TEST(test_lock_does_not_miss_a_waiter_that_is_killed_or_stopped)
{
    struct actor *holder = start_holder("till");
    struct actor *killed = start_waiter("till", SHK_FOREVER);
    struct actor *stopped = start_waiter("till", SHK_FOREVER);
    struct actor *waiter = start_waiter("till", SHK_FOREVER);

    child_kill(killed->pid);
    child_stop(stopped->pid);
    release_holder(holder);
    assert_result(result_of(waiter), 0);
    assert_result(result_elsewhere("till"), 0);
    child_continue(stopped->pid);
    assert_result(result_of(stopped), 0);
}
END_TEST

/*
 * The stopped waiter starves, so that others yield to it; but not at the cost of a
 * refusal.
 */
START_TEST(test_lock_that_is_free_is_not_refused_because_of_a_stopped_waiter)
{
    /* several times as long as it bears it */
    const struct timespec moment = {.tv_nsec = 300000000};
    struct shk_lock *lock = open_lock("till");
    volatile sig_atomic_t *interrupt = interruptible();
    struct actor *stopped;
    int64_t before;

    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    stopped = start_waiter("till", SHK_FOREVER);
    nanosleep(&moment, NULL); /* it has come, and sleeps */
    child_stop(stopped->pid);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0); /* past it */
    child_continue(stopped->pid);
    nanosleep(&moment, NULL); /* it finds out */
    child_stop(stopped->pid);
    assert_code(shk_lock_release(lock), 0);
    *interrupt = _i == 3;
    assert_code(shk_lock_acquire(lock, _i < 3 ? (const int64_t[]){SHK_NOWAIT, 1, SHK_MS(1)}[_i]
                                              : SHK_FOREVER),
                0);
    assert_code(shk_lock_release(lock), 0);
    *interrupt = 0;
    before = time_now();
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0); /* yields to it, for a while */
    before = time_now() - before;
    assert_code(shk_lock_release(lock), 0);
    child_continue(stopped->pid);
    assert_result(result_of(stopped), 0);
    assert_code(shk_lock_close(lock), 0);
    if (before < SHK_MS(4))
        skip_test("the waiter was so slow that no member had to yield to it");
}
END_TEST

/* Two words that only a holder that was killed can leave different. */
struct ledger {
    volatile long debit, credit;
    _Atomic long repairs;
    atomic_bool end;
};

static int keep_ledger(void *argument)
{
    struct ledger *ledger = argument;
    struct shk_lock *lock = open_lock("till");

    while (!ledger->end) {
        int r = shk_lock_acquire(lock, SHK_FOREVER);
        if (r < 0 || (r == 0 && ledger->debit != ledger->credit))
            return 2;
        if (r == SHK_ORPHANED && ledger->debit != ledger->credit) {
            ledger->credit = ledger->debit;
            ledger->repairs++;
        }
        ledger->debit++;
        for (volatile int i = 0; i < 100; i++)
            ;
        ledger->credit++;
        if (shk_lock_release(lock) != 0)
            return 3;
    }
    return 0;
}

START_TEST(test_lock_reports_every_half_done_change_of_killed_holders)
{
    enum { HOLDERS = 3, KILLS = 300 };
    struct shk_lock *lock = create_lock("till", _i, 0);
    struct ledger *ledger = shared_memory(sizeof(*ledger));
    pid_t holders[HOLDERS];

    for (int i = 0; i < HOLDERS; i++)
        holders[i] = stranger_start(keep_ledger, ledger);
    for (int i = 0; i < KILLS; i++) {
        usleep((unsigned)(random() % 2000 * time_factor()));
        child_kill(holders[i % HOLDERS]);
        holders[i % HOLDERS] = stranger_start(keep_ledger, ledger);
    }
    ledger->end = true;
    for (int i = 0; i < HOLDERS; i++)
        child_succeeds(holders[i]);
    int r = shk_lock_acquire(lock, SHK_NOWAIT);
    ck_assert_msg(r == 0 || r == SHK_ORPHANED, "acquire gave %s", code_name(r));
    ck_assert(r == SHK_ORPHANED || ledger->debit == ledger->credit);
    ck_assert_int_gt(ledger->repairs, 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lock");
    TCase *opening = test_case(suite, "opening");
    TCase *holding = test_case(suite, "holding");
    TCase *ending = test_case(suite, "interruption and unlinking");
    TCase *deaths = test_case(suite, "deaths");

    tcase_add_test(opening, test_lock_is_looked_at_and_stays_as_it_is);
    tcase_add_test(opening, test_lock_gives_each_holder_a_greater_token);
    tcase_add_test(opening, test_lock_is_created_once_and_found_by_name);
    tcase_add_test(opening, test_lock_is_opened_only_as_what_it_is);
    tcase_add_test(opening, test_lock_refuses_bad_arguments);
    tcase_add_test(opening, test_lock_needs_room_in_the_directory);
    tcase_add_test(opening, test_lock_needs_a_free_place_among_the_members);
    tcase_add_test(opening, test_lock_that_is_held_keeps_its_handle_and_its_segment_open);

    tcase_add_test(holding, test_lock_is_held_by_one_program_at_a_time);
    tcase_add_loop_test(holding, test_lock_gives_up_when_the_time_is_over_and_not_before, 0,
                        sizeof(timeouts) / sizeof(timeouts[0]));
    tcase_add_test(holding, test_lock_is_acquired_again_only_if_it_is_recursive);
    /* plain, recursive */
    tcase_add_loop_test(holding, test_lock_is_released_by_its_holder_alone, 0, 2);
    tcase_add_test(holding, test_lock_works_in_a_forked_child);
    tcase_add_test(holding, test_lock_protects_between_programs);
    tcase_add_test(holding, test_lock_protects_between_threads);
    tcase_add_test(holding, test_lock_comes_to_every_member_in_the_end);
    tcase_add_test(holding, test_lock_is_held_together_with_no_more_than_the_kernel_can_free);

    /* for ever, with a timeout */
    tcase_add_loop_test(ending, test_lock_wait_ends_with_an_interrupt, 0, 2);
    tcase_add_test(ending, test_lock_that_need_not_wait_ignores_the_interrupt);
    tcase_add_test(ending, test_lock_wait_ends_with_a_flag_that_another_thread_sets);
    /* object, segment */
    tcase_add_loop_test(ending, test_lock_that_is_unlinked_releases_its_waiters, 0, 2);
    tcase_add_test(ending, test_lock_of_the_same_name_is_another_lock);

    /* plain, recursive */
    tcase_add_loop_test(deaths, test_lock_reports_a_dead_holder_once, 0, 2 * WAYS_TO_DIE);
    tcase_add_test(deaths, test_lock_tells_one_sleeper_of_the_death);
    tcase_add_test(deaths, test_lock_reports_each_death);
    tcase_add_test(deaths, test_lock_keeps_the_news_of_a_death_for_the_next_owner);
    tcase_add_test(deaths, test_lock_reports_a_death_before_timeout_and_interrupt);
    tcase_add_test(deaths, test_lock_does_not_miss_a_waiter_that_is_killed_or_stopped);
    tcase_add_loop_test(deaths, test_lock_that_is_free_is_not_refused_because_of_a_stopped_waiter,
                        0, 4);
    tcase_add_loop_test(deaths, test_lock_reports_every_half_done_change_of_killed_holders, 0, 2);

    return run_tests(suite);
}
