/*
 * What a waiter is told is decided by what released it, and not by what has come since: however
 * late it runs. The waiters here are stopped while they sleep, so that they run late for certain.
 */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { PENDING = INT_MIN };

/* The objects, all in test_segment(), opened by each process for itself. */
static struct things {
    struct shk_lock *lock;
    struct shk_rwlock *read, *written; /* held shared by the test; exclusively */
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_barrier *barrier;
    struct shk_queue *queue, *lifo, *priority, *full, *tasks;
    struct shk_stream *stream;
    struct shk_reader *reader;
    bool has_lock, has_share, has_rwlock,
        has_claim; /* the test, so that there is something to release */
} t;

static void open_things(unsigned flags)
{
    struct shk_segment *s = test_segment();
    const struct shk_semaphore_options no_permit = {.max = 4};
    const struct shk_barrier_options two = {.parties = 2};
    const struct shk_queue_options fifo = {.capacity = 4, .item_size = 8};
    const struct shk_queue_options lifo = {SHK_LIFO, .capacity = 4, .item_size = 8};
    const struct shk_queue_options priority = {SHK_PRIORITY, .item_size = 8};
    const struct shk_stream_options samples = {.sample_size = 8, .history = 8};

    assert_code(shk_lock_open(s, "lock", flags, NULL, &t.lock), 0);
    assert_code(shk_rwlock_open(s, "read", flags, NULL, &t.read), 0);
    assert_code(shk_rwlock_open(s, "written", flags, NULL, &t.written), 0);
    assert_code(shk_cond_open(s, "cond", flags, NULL, &t.cond), 0);
    assert_code(shk_event_open(s, "event", flags, NULL, &t.event), 0);
    assert_code(shk_semaphore_open(s, "semaphore", flags, &no_permit, &t.semaphore), 0);
    assert_code(shk_barrier_open(s, "barrier", flags, &two, &t.barrier), 0);
    assert_code(shk_queue_open(s, "queue", flags, &fifo, &t.queue), 0);
    assert_code(shk_queue_open(s, "lifo", flags, &lifo, &t.lifo), 0);
    assert_code(shk_queue_open(s, "priority", flags, &priority, &t.priority), 0);
    assert_code(shk_queue_open(s, "full", flags, &fifo, &t.full), 0);
    assert_code(shk_queue_open(s, "tasks", flags, &fifo, &t.tasks), 0);
    assert_code(shk_stream_open(s, "stream", flags, &samples, &t.stream), 0);
    assert_code(shk_reader_open(t.stream, SHK_NEXT, &t.reader), 0);
}

static void close_things(void)
{
    assert_code(shk_lock_close(t.lock), 0);
    assert_code(shk_rwlock_close(t.read), 0);
    assert_code(shk_rwlock_close(t.written), 0);
    assert_code(shk_cond_close(t.cond), 0);
    assert_code(shk_event_close(t.event), 0);
    assert_code(shk_semaphore_close(t.semaphore), 0);
    assert_code(shk_barrier_close(t.barrier), 0);
    assert_code(shk_queue_close(t.queue), 0);
    assert_code(shk_queue_close(t.lifo), 0);
    assert_code(shk_queue_close(t.priority), 0);
    assert_code(shk_queue_close(t.full), 0);
    assert_code(shk_queue_close(t.tasks), 0);
    assert_code(shk_reader_close(t.reader), 0);
    assert_code(shk_stream_close(t.stream), 0);
}

/* ---- How each kind is waited for, and released: both give what the waiter is to be told ---- */

static int64_t wait_lock(void)
{
    int r = shk_lock_acquire(t.lock, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_lock_release(t.lock), 0);
    return r;
}

static int64_t release_lock(void)
{
    assert_code(shk_lock_release(t.lock), 0);
    t.has_lock = false;
    return 0;
}

static int64_t wait_read(void)
{
    int r = shk_rwlock_acquire(t.read, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_rwlock_release(t.read), 0);
    return r;
}

static int64_t release_share(void)
{
    assert_code(shk_rwlock_release(t.read), 0);
    t.has_share = false;
    return 0;
}

static int64_t wait_written(void)
{
    int r = shk_rwlock_acquire(t.written, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_rwlock_release(t.written), 0);
    return r;
}

static int64_t wait_shared(void)
{
    int r = shk_rwlock_acquire_shared(t.written, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_rwlock_release(t.written), 0);
    return r;
}

static int64_t release_rwlock(void)
{
    assert_code(shk_rwlock_release(t.written), 0);
    t.has_rwlock = false;
    return 0;
}

static int64_t wait_cond(void)
{
    int r;

    assert_code(shk_cond_acquire(t.cond, SHK_FOREVER), 0);
    r = shk_cond_wait(t.cond, SHK_FOREVER);
    assert_code(shk_cond_release(t.cond), 0);
    return r;
}

static int64_t notify(void)
{
    assert_code(shk_cond_acquire(t.cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify(t.cond, 1), 1);
    assert_code(shk_cond_release(t.cond), 0);
    return 0;
}

static int64_t notify_all(void)
{
    assert_code(shk_cond_acquire(t.cond, SHK_FOREVER), 0);
    assert_code(shk_cond_notify_all(t.cond), 1);
    assert_code(shk_cond_release(t.cond), 0);
    return 0;
}

static int64_t wait_event(void)
{
    return shk_event_wait(t.event, SHK_FOREVER);
}

static int64_t set(void)
{
    assert_code(shk_event_set(t.event), 0);
    return 0;
}

static int64_t set_and_clear(void)
{
    assert_code(shk_event_set(t.event), 0);
    assert_code(shk_event_clear(t.event), 0);
    return 0;
}

static int64_t wait_semaphore(void)
{
    return shk_semaphore_acquire(t.semaphore, SHK_FOREVER);
}

static int64_t release_semaphore(void)
{
    assert_code(shk_semaphore_release(t.semaphore, 1), 0);
    return 0;
}

static int64_t wait_barrier(void)
{
    return shk_barrier_wait(t.barrier, SHK_FOREVER);
}

static int64_t complete(void)
{
    assert_code(shk_barrier_wait(t.barrier, SHK_FOREVER), 1);
    return 0;
}

static int64_t break_it(void)
{
    assert_code(shk_barrier_abort(t.barrier), 0);
    return -EPIPE;
}

static int64_t get_from(struct shk_queue *queue)
{
    char item[8];

    return shk_queue_get(queue, item, sizeof(item), SHK_FOREVER);
}

static int64_t put_into(struct shk_queue *queue)
{
    assert_code(shk_queue_put(queue, "item", 4, SHK_FOREVER), 0);
    return 4;
}

static int64_t wait_queue(void)
{
    return get_from(t.queue);
}

static int64_t put(void)
{
    return put_into(t.queue);
}

static int64_t put_and_shut_down(void)
{
    assert_code(shk_queue_put(t.queue, "item", 4, SHK_FOREVER), 0);
    assert_code(shk_queue_shutdown(t.queue), 0);
    return 4;
}

static int64_t shut_down(void)
{
    assert_code(shk_queue_shutdown(t.queue), 0);
    return -EPIPE;
}

static int64_t wait_lifo(void)
{
    return get_from(t.lifo);
}

static int64_t put_lifo(void)
{
    return put_into(t.lifo);
}

static int64_t wait_priority(void)
{
    return get_from(t.priority);
}

static int64_t put_priority(void)
{
    return put_into(t.priority);
}

static int64_t wait_many(void)
{
    char item[2][8];
    struct iovec two[2] = {{item[0], 8}, {item[1], 8}};

    return shk_queue_get_many(t.queue, two, 2, SHK_FOREVER);
}

static int64_t put_many(void)
{
    assert_code(shk_queue_put(t.queue, "one", 3, SHK_FOREVER), 0);
    assert_code(shk_queue_put(t.queue, "two", 3, SHK_FOREVER), 0);
    return 2;
}

static int64_t wait_peek(void)
{
    const void *item;
    ssize_t r = shk_queue_peek(t.queue, &item, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_queue_unpeek(t.queue), 0);
    return r;
}

static int64_t wait_claim(void)
{
    int r = shk_queue_claim(t.full, SHK_PRODUCER, SHK_FOREVER);

    if (r >= 0)
        assert_code(shk_queue_unclaim(t.full, SHK_PRODUCER), 0);
    return r;
}

static int64_t unclaim(void)
{
    assert_code(shk_queue_unclaim(t.full, SHK_PRODUCER), 0);
    t.has_claim = false;
    return 0;
}

static int64_t wait_join(void)
{
    return shk_queue_join(t.tasks, SHK_FOREVER);
}

static int64_t finish_task(void)
{
    assert_code(shk_queue_task_done(t.tasks), 0);
    return 0;
}

static int64_t wait_reader(void)
{
    char samples[8][8];

    return shk_reader_read(t.reader, samples, 8, SHK_FOREVER);
}

static int64_t append(void)
{
    assert_code(shk_stream_append(t.stream, "1234567887654321", 2), 0);
    return 2;
}

/* Of a set of several, the queue and the event are the last. */
static int64_t wait_set(void)
{
    const struct shk_ready all[] = {{SHK_KIND_SEMAPHORE, SHK_READABLE, t.semaphore},
                                    {SHK_KIND_STREAM, SHK_READABLE, t.reader},
                                    {SHK_KIND_QUEUE, SHK_READABLE, t.queue},
                                    {SHK_KIND_EVENT, SHK_READABLE, t.event}};

    return shk_wait_any(all, 4, SHK_FOREVER);
}

static int64_t set_of_many(void)
{
    assert_code(shk_event_set(t.event), 0);
    return 3;
}

static int64_t set_and_clear_of_many(void)
{
    assert_code(shk_event_set(t.event), 0);
    assert_code(shk_event_clear(t.event), 0);
    return 3;
}

static int64_t put_of_many(void)
{
    put();
    return 2;
}

static int64_t shut_of_many(void)
{
    shut_down();
    return 2;
}

static const struct kind {
    const char *object; /* which is waited for, and unlinked */
    int64_t (*wait)(void), (*release)(void);
} kinds[] = {
    {"lock", wait_lock, release_lock},
    {"read", wait_read, release_share},
    {"written", wait_written, release_rwlock},
    {"written", wait_shared, release_rwlock},
    {"cond", wait_cond, notify},
    {"cond", wait_cond, notify_all},
    {"event", wait_event, set},
    {"event", wait_event, set_and_clear},
    {"semaphore", wait_semaphore, release_semaphore},
    {"barrier", wait_barrier, complete},
    {"barrier", wait_barrier, break_it},
    {"queue", wait_queue, put},
    {"queue", wait_queue, put_and_shut_down},
    {"queue", wait_queue, shut_down},
    {"lifo", wait_lifo, put_lifo},
    {"priority", wait_priority, put_priority},
    {"queue", wait_many, put_many},
    {"queue", wait_peek, put},
    {"full", wait_claim, unclaim},
    {"tasks", wait_join, finish_task},
    {"stream", wait_reader, append},
    {"semaphore", wait_set, set_of_many},
    {"semaphore", wait_set, set_and_clear_of_many},
    {"semaphore", wait_set, put_of_many},
    {"semaphore", wait_set, shut_of_many},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct actor {
    const struct kind *kind;
    pid_t pid;
    _Atomic int64_t result;
};

static int wait_once(void *argument)
{
    struct actor *actor = argument;

    open_things(0);
    actor->result = actor->kind->wait();
    return 0;
}

static struct actor *start_waiter(const struct kind *kind)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = (struct actor){.kind = kind, .result = PENDING};
    actor->pid = stranger_start(wait_once, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, kind->object);
    return actor;
}

static int64_t result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static void take_things(void)
{
    char item[8];

    assert_code(shk_lock_acquire(t.lock, SHK_FOREVER), 0);
    assert_code(shk_queue_claim(t.full, SHK_PRODUCER, SHK_FOREVER), 0);
    assert_code(shk_rwlock_acquire_shared(t.read, SHK_FOREVER), 0);
    assert_code(shk_rwlock_acquire(t.written, SHK_FOREVER), 0);
    t.has_lock = t.has_share = t.has_rwlock = t.has_claim = true;
    assert_code(shk_queue_put(t.tasks, "task", 4, SHK_FOREVER), 0);
    assert_code(shk_queue_get(t.tasks, item, sizeof(item), SHK_FOREVER), 4);
}

static void give_back_things(void)
{
    if (t.has_lock)
        release_lock();
    if (t.has_share)
        release_share();
    if (t.has_rwlock)
        release_rwlock();
    if (t.has_claim)
        unclaim();
    close_things();
}

static void unlink_it(const char *object)
{
    if (object)
        assert_code(shk_object_unlink(test_segment(), object), 0);
    else
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}

/* ---- The tests ---- */

START_TEST(test_a_wait_that_was_released_is_told_so_though_the_object_is_unlinked_then)
{
    const struct kind *kind = &kinds[_i % KINDS];
    const bool whole_segment = _i >= KINDS;
    struct actor *waiter;
    int64_t expected;

    open_things(SHK_CREATE);
    take_things();
    waiter = start_waiter(kind);
    child_stop(waiter->pid);
    expected = kind->release();
    unlink_it(whole_segment ? NULL : kind->object);
    child_continue(waiter->pid);
    assert_result(result_of(waiter), expected);
    give_back_things();
}
END_TEST

/* The lock is released, but only after that. */
START_TEST(test_a_wait_that_was_not_released_is_told_that_the_object_is_unlinked)
{
    const struct kind *kind = &kinds[_i];
    struct actor *waiter;

    open_things(SHK_CREATE);
    take_things();
    waiter = start_waiter(kind);
    child_stop(waiter->pid);
    unlink_it(kind->object);
    if (kind->release == release_lock)
        release_lock();
    child_continue(waiter->pid);
    assert_result(result_of(waiter), -ESTALE);
    give_back_things();
}
END_TEST

/* One release, two waiters in line: the second is not let in by the first one's release. */
START_TEST(test_a_lock_released_before_it_is_unlinked_is_given_to_one_waiter)
{
    struct actor *waiters[2];
    int64_t told = 0;

    open_things(SHK_CREATE);
    take_things();
    for (int i = 0; i < 2; i++) {
        waiters[i] = start_waiter(&kinds[0]);
        child_stop(waiters[i]->pid);
    }
    release_lock();
    unlink_it("lock");
    for (int i = 0; i < 2; i++)
        child_continue(waiters[i]->pid);
    for (int i = 0; i < 2; i++)
        told += result_of(waiters[i]);
    assert_result(told, -ESTALE);
    give_back_things();
}
END_TEST

static int join_the_round(void *argument)
{
    struct actor *actor = argument;

    open_things(0);
    actor->result = shk_barrier_wait(t.barrier, SHK_FOREVER);
    return 0;
}

START_TEST(test_a_reset_waiter_is_told_so_though_the_next_round_is_complete_when_it_runs)
{
    static const struct kind kind = {"barrier", wait_barrier, complete};
    struct actor *reset, *next = shared_memory(sizeof(*next));

    open_things(SHK_CREATE);
    reset = start_waiter(&kind);
    child_stop(reset->pid);
    assert_code(shk_barrier_reset(t.barrier), 0);
    *next = (struct actor){.result = PENDING};
    next->pid = stranger_start(join_the_round, next);
    wait_until_waiting(segment_name(NULL), next->pid, "barrier");
    assert_code(shk_barrier_wait(t.barrier, SHK_FOREVER), 1);
    child_continue(reset->pid);
    assert_result(result_of(next), 0);
    assert_result(result_of(reset), -EPIPE);
    close_things();
}
END_TEST

/* … and the other way round: what it has met it has met. */
START_TEST(
    test_a_waiter_that_has_met_the_others_is_told_so_though_the_barrier_is_broken_when_it_runs)
{
    static const struct kind kind = {"barrier", wait_barrier, complete};
    struct actor *waiter;

    open_things(SHK_CREATE);
    waiter = start_waiter(&kind);
    child_stop(waiter->pid);
    complete();
    assert_code(_i ? shk_barrier_reset(t.barrier) : shk_barrier_abort(t.barrier), 0);
    child_continue(waiter->pid);
    assert_result(result_of(waiter), 0);
    close_things();
}
END_TEST

/* ---- A shutdown that a reopen follows at once ---- */

static int64_t wait_full(void)
{
    return shk_queue_put(t.full, "more", 4, SHK_FOREVER);
}

static int64_t wait_full_reserve(void)
{
    void *slot;

    return shk_queue_reserve(t.full, 8, &slot, SHK_FOREVER);
}

static const struct sleeper {
    struct kind kind;
    struct shk_queue **queue;
    int64_t expected;
} sleepers[] = {
    {{"queue", wait_queue, NULL}, &t.queue, -EPIPE},
    {{"lifo", wait_lifo, NULL}, &t.lifo, -EPIPE},
    {{"priority", wait_priority, NULL}, &t.priority, -EPIPE},
    {{"queue", wait_many, NULL}, &t.queue, -EPIPE},
    {{"queue", wait_peek, NULL}, &t.queue, -EPIPE},
    {{"full", wait_full, NULL}, &t.full, -EPIPE},
    {{"full", wait_full_reserve, NULL}, &t.full, -EPIPE},
    {{"semaphore", wait_set, NULL}, &t.queue, 2},
};
enum { SLEEPERS = sizeof(sleepers) / sizeof(sleepers[0]), AT_ONCE = 4 };

START_TEST(test_sleepers_are_told_of_a_shutdown_that_a_reopen_follows_at_once)
{
    const struct sleeper *sleeper = &sleepers[_i % SLEEPERS];
    const bool stopped = _i >= SLEEPERS; /* else it is only soon after */
    struct actor *actors[AT_ONCE];
    char item[8];

    open_things(SHK_CREATE);
    for (int i = 0; i < 4; i++)
        assert_code(shk_queue_put(t.full, "item", 4, SHK_NOWAIT), 0);
    for (int i = 0; i < AT_ONCE; i++) {
        actors[i] = start_waiter(&sleeper->kind);
        if (stopped)
            child_stop(actors[i]->pid);
    }
    assert_code(shk_queue_shutdown(*sleeper->queue), 0);
    assert_code(shk_queue_reopen(*sleeper->queue), 0);
    if (stopped) /* and there is room: the waiters are told all the same */
        assert_code(shk_queue_get(t.full, item, sizeof(item), SHK_NOWAIT), 4);
    for (int i = 0; i < AT_ONCE; i++) {
        if (stopped)
            child_continue(actors[i]->pid);
        assert_result(result_of(actors[i]), sleeper->expected);
    }
    close_things();
}
END_TEST

/* A call that comes after the reopen is not told of what was before it. */
START_TEST(test_a_queue_that_was_reopened_is_as_new)
{
    struct actor *getter;

    open_things(SHK_CREATE);
    for (int i = 0; i < 3; i++) {
        assert_code(shk_queue_shutdown(t.queue), 0);
        assert_code(shk_queue_shutdown(t.queue), 0);
        assert_code(shk_queue_reopen(t.queue), 0);
    }
    getter = start_waiter(&sleepers[0].kind);
    assert_code(shk_queue_reopen(t.queue), 0);
    assert_code(shk_queue_put(t.queue, "item", 4, SHK_NOWAIT), 0);
    assert_result(result_of(getter), 4);
    close_things();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("released");
    TCase *unlinked = test_case(suite, "unlinked");
    TCase *rounds = test_case(suite, "rounds");
    TCase *reopened = test_case(suite, "reopened");

    tcase_add_loop_test(unlinked,
                        test_a_wait_that_was_released_is_told_so_though_the_object_is_unlinked_then,
                        0, 2 * KINDS);
    tcase_add_loop_test(
        unlinked, test_a_wait_that_was_not_released_is_told_that_the_object_is_unlinked, 0, KINDS);
    tcase_add_test(unlinked, test_a_lock_released_before_it_is_unlinked_is_given_to_one_waiter);
    tcase_add_test(rounds,
                   test_a_reset_waiter_is_told_so_though_the_next_round_is_complete_when_it_runs);
    tcase_add_loop_test(
        rounds,
        test_a_waiter_that_has_met_the_others_is_told_so_though_the_barrier_is_broken_when_it_runs,
        0, 2);
    tcase_add_loop_test(reopened,
                        test_sleepers_are_told_of_a_shutdown_that_a_reopen_follows_at_once, 0,
                        2 * SLEEPERS);
    tcase_add_test(reopened, test_a_queue_that_was_reopened_is_as_new);
    return run_tests(suite);
}
