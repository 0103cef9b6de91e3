/* task_done and join. */
#include "common.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const struct kind {
    uint32_t order;
    size_t capacity;
} kinds[] = {
    {SHK_FIFO, 64}, {SHK_LIFO, 64}, {SHK_PRIORITY, 64},
    {SHK_FIFO, 0},  {SHK_LIFO, 0},  {SHK_PRIORITY, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct shk_queue *create_queue(const struct kind *kind)
{
    const struct shk_queue_options options = {
        .order = kind->order, .capacity = kind->capacity, .item_size = 8};
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE | SHK_EXCL, &options, &queue), 0);
    return queue;
}

static struct shk_queue *open_queue(void)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "jobs", 0, NULL, &queue), 0);
    return queue;
}

static void put(struct shk_queue *queue, int64_t number)
{
    assert_code(shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT), 0);
}

static void take(struct shk_queue *queue)
{
    int64_t number;

    assert_code(shk_queue_get(queue, &number, sizeof(number), SHK_NOWAIT), 8);
}

/* ---- Actors ---- */

struct actor {
    pid_t pid;
    int (*act)(struct shk_queue *);
    _Atomic int result;
    _Atomic bool done, goes_on;
};

static struct actor *self; /* in the actor */

static int act(void *argument)
{
    self = argument;
    self->result = self->act(open_queue());
    return 0;
}

static struct actor *start_actor(int (*body)(struct shk_queue *))
{
    struct actor *actor = shared_memory(sizeof(*actor));

    actor->act = body;
    actor->pid = stranger_start(act, actor);
    return actor;
}

static void wait_until_done(struct actor *actor)
{
    wait_until(actor->done, TEST_DEADLINE);
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static void say_and_wait(void)
{
    self->done = true;
    wait_until(self->goes_on, TEST_DEADLINE);
}

static int take_and_finish(struct shk_queue *queue)
{
    take(queue);
    say_and_wait();
    return shk_queue_task_done(queue);
}

static int take_and_leave(struct shk_queue *queue)
{
    take(queue);
    say_and_wait();
    return 0;
}

static int join(struct shk_queue *queue)
{
    return shk_queue_join(queue, SHK_FOREVER);
}

static struct actor *start_joiner(void)
{
    struct actor *actor = start_actor(join);
    struct shk_member_info member;

    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    ck_assert(look_at_member(segment_name(NULL), actor->pid, &member));
    ck_assert_uint_eq(member.waits_for, SHK_WAITS_TO_JOIN);
    return actor;
}

/* ---- Tests ---- */

START_TEST(test_an_empty_queue_without_tasks_is_done)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_task_done(queue), -EINVAL);
    assert_code(shk_queue_join(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_queue_task_done(NULL), -EINVAL);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* Items in it, and items taken and not finished; those of the dead do not count. */
START_TEST(test_unfinished_tasks_are_counted)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    assert_code(shk_queue_unfinished(NULL), -EINVAL);
    assert_code(shk_queue_unfinished(queue), 0);
    for (int i = 1; i <= 4; i++) {
        put(queue, i);
        assert_code(shk_queue_unfinished(queue), i);
    }
    take(queue);
    assert_code(shk_queue_unfinished(queue), 4);
    struct actor *worker = start_actor(take_and_finish), *killed = start_actor(take_and_leave);
    wait_until_done(worker);
    wait_until_done(killed);
    assert_code(shk_queue_size(queue), 1);
    assert_code(shk_queue_unfinished(queue), 4);
    child_kill(killed->pid);
    assert_code(shk_queue_unfinished(queue), 3);
    worker->goes_on = true;
    assert_result(result_of(worker), 0);
    assert_code(shk_queue_unfinished(queue), 2);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_queue_unfinished(queue), 1);
    take(queue);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_queue_unfinished(queue), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_join_waits_for_what_is_in_the_queue_and_for_what_was_taken)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    const void *item;
    int64_t out[2];
    struct iovec buffers[2] = {{&out[0], 8}, {&out[1], 8}};

    for (int i = 0; i < 4; i++)
        put(queue, i);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
    assert_code_after(SHK_MS(20), shk_queue_join(queue, SHK_MS(20)), -ETIMEDOUT);
    take(queue);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_queue_task_done(queue), -EINVAL);
    assert_code(shk_queue_get_many(queue, buffers, 2, SHK_NOWAIT), 2);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 8);
    assert_code(shk_queue_unpeek(queue), 0);
    assert_code(shk_queue_peek(queue, &item, SHK_NOWAIT), 8);
    assert_code(shk_queue_consume(queue), 0);
    for (int i = 0; i < 3; i++) {
        assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_queue_task_done(queue), 0);
    }
    assert_code(shk_queue_task_done(queue), -EINVAL);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_the_last_task_wakes_all_joins)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *joiners[3];

    put(queue, 1);
    put(queue, 2);
    for (int i = 0; i < 3; i++)
        joiners[i] = start_joiner();
    struct actor *worker = start_actor(take_and_finish);
    wait_until_done(worker);
    take(queue);
    assert_code(shk_queue_task_done(queue), 0);
    for (int i = 0; i < 3; i++)
        wait_until_waiting(segment_name(NULL), joiners[i]->pid, "jobs"); /* still */
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
    worker->goes_on = true;
    assert_result(result_of(worker), 0);
    for (int i = 0; i < 3; i++)
        assert_result(result_of(joiners[i]), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_task_is_finished_by_the_thread_that_took_it)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *worker = start_actor(take_and_finish);
    wait_until_done(worker);
    assert_code(shk_queue_task_done(queue), -EINVAL);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
    worker->goes_on = true;
    assert_result(result_of(worker), 0);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_join_does_not_wait_for_the_dead_and_says_so_once)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *worker = start_actor(take_and_finish);
    wait_until_done(worker);
    struct actor *joiner = start_joiner();
    child_kill(worker->pid);
    assert_result(result_of(joiner), SHK_ORPHANED);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_tasks_of_a_member_that_has_left_are_orphans_too)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *worker = start_actor(take_and_leave);
    wait_until_done(worker);
    worker->goes_on = true;
    assert_result(result_of(worker), 0);
    assert_code(shk_queue_join(queue, SHK_FOREVER), SHK_ORPHANED);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* The next member gets the record of the dead one, and takes items itself. */
START_TEST(test_orphans_are_told_though_their_record_is_in_use_again)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    for (int i = 0; i < 3; i++) {
        put(queue, i);
        struct actor *worker = start_actor(take_and_finish);
        wait_until_done(worker);
        if (i < 2) {
            child_kill(worker->pid);
            continue;
        }
        assert_code(shk_queue_join(queue, SHK_NOWAIT), -EAGAIN);
        worker->goes_on = true;
        assert_result(result_of(worker), 0);
    }
    assert_code(shk_queue_join(queue, SHK_FOREVER), SHK_ORPHANED);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_finished_member_that_dies_is_no_orphan)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *worker = start_actor(take_and_finish);
    wait_until_done(worker);
    worker->goes_on = true;
    assert_result(result_of(worker), 0);
    assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_join_ends_with_the_queue_and_not_with_a_shutdown)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *joiner = start_joiner();
    assert_code(shk_queue_shutdown(queue), 0);
    assert_code(shk_queue_join(queue, SHK_MS(1)), -ETIMEDOUT);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_result(result_of(joiner), -ESTALE);
    assert_code(shk_queue_join(queue, SHK_FOREVER), -ESTALE);
    assert_code(shk_queue_task_done(queue), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/* ---- Waiting for it together with other objects ---- */

static struct shk_ready all_done(struct shk_queue *queue)
{
    return (struct shk_ready){SHK_KIND_QUEUE, SHK_ALL_DONE, queue};
}

static int watch(struct shk_queue *queue)
{
    const struct shk_ready set = all_done(queue);

    return shk_wait_any(&set, 1, SHK_FOREVER);
}

static struct actor *start_watcher(void)
{
    struct actor *actor = start_actor(watch);

    wait_until_waiting(segment_name(NULL), actor->pid, "jobs");
    return actor;
}

START_TEST(test_ready_when_all_is_done)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    const struct shk_ready set = all_done(queue);

    assert_code(shk_wait_any(&set, 1, SHK_NOWAIT), 0);
    put(queue, 1);
    put(queue, 2);
    assert_code(shk_wait_any(&set, 1, SHK_NOWAIT), -EAGAIN);
    take(queue);
    take(queue);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code_after(SHK_MS(20), shk_wait_any(&set, 1, SHK_MS(20)), -ETIMEDOUT);
    assert_code(shk_queue_task_done(queue), 0);
    assert_code(shk_wait_any(&set, 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_the_last_task_wakes_all_watchers_beside_a_join)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    struct actor *watchers[2], *joiner;

    put(queue, 1);
    put(queue, 2);
    for (int i = 0; i < 2; i++)
        watchers[i] = start_watcher();
    joiner = start_joiner();
    take(queue);
    take(queue);
    assert_code(shk_queue_task_done(queue), 0);
    for (int i = 0; i < 2; i++)
        wait_until_waiting(segment_name(NULL), watchers[i]->pid, "jobs"); /* still */
    assert_code(shk_queue_task_done(queue), 0);
    for (int i = 0; i < 2; i++)
        assert_result(result_of(watchers[i]), 0);
    assert_result(result_of(joiner), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_watcher_does_not_wait_for_the_dead)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *worker = start_actor(take_and_finish);
    wait_until_done(worker);
    struct actor *watcher = start_watcher();
    child_kill(worker->pid);
    assert_result(result_of(watcher), 0);
    assert_code(shk_queue_join(queue, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_watcher_of_tasks_is_told_of_the_end_of_the_queue)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);

    put(queue, 1);
    struct actor *watcher = start_watcher();
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_result(result_of(watcher), -ESTALE);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_a_descriptor_tells_that_all_is_done)
{
    struct shk_queue *queue = create_queue(&kinds[_i]);
    const struct shk_ready set = all_done(queue);
    struct pollfd readable = {.events = POLLIN};
    unsigned before;
    uint32_t index;

    put(queue, 1);
    take(queue);
    before = open_descriptors();
    readable.fd = shk_ready_fd(&set, 1);
    ck_assert_int_ge(readable.fd, 0);
    ck_assert_int_eq(poll(&readable, 1, 150), 0);
    assert_code(shk_queue_task_done(queue), 0);
    ck_assert_int_eq(poll(&readable, 1, (int)(TEST_DEADLINE / 1000000) * time_factor()), 1);
    ck_assert_int_eq(read(readable.fd, &index, sizeof(index)), sizeof(index));
    ck_assert_uint_eq(index, 0);
    close(readable.fd);
    wait_until(open_descriptors() == before, TEST_DEADLINE); /* its thread has ended */
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Each item leads to two smaller ones, put before it is done: at no moment may join see an end too
 * early.
 */
enum { DEPTH = 7, WORKERS = 3 };

struct tree {
    _Atomic unsigned done;
};
static struct tree *tree;

static int work(struct shk_queue *queue)
{
    int64_t depth, child;
    ssize_t n;

    while ((n = shk_queue_get(queue, &depth, sizeof(depth), SHK_FOREVER)) == sizeof(depth)) {
        child = depth - 1;
        for (int i = 0; child >= 0 && i < 2; i++)
            assert_code(shk_queue_put(queue, &child, sizeof(child), SHK_FOREVER), 0);
        tree->done++;
        assert_code(shk_queue_task_done(queue), 0);
    }
    return n == -EPIPE ? 0 : (int)n;
}

START_TEST(test_join_is_never_too_early)
{
    const struct kind wide = {kinds[_i].order, kinds[_i].capacity ? 1000 : 0};
    struct shk_queue *queue = create_queue(&wide);
    struct actor *workers[WORKERS];

    tree = shared_memory(sizeof(*tree));
    for (int i = 0; i < WORKERS; i++)
        workers[i] = start_actor(work);
    for (unsigned lap = 1; lap <= 30; lap++) {
        put(queue, DEPTH);
        assert_code(shk_queue_join(queue, SHK_FOREVER), 0);
        ck_assert_uint_eq(tree->done, lap * ((2u << DEPTH) - 1));
    }
    assert_code(shk_queue_shutdown(queue), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_result(result_of(workers[i]), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue tasks");
    TCase *tasks = test_case(suite, "tasks"), *deaths = test_case(suite, "deaths"),
          *watchers = test_case(suite, "watchers");

    tcase_add_loop_test(tasks, test_an_empty_queue_without_tasks_is_done, 0, KINDS);
    tcase_add_loop_test(tasks, test_unfinished_tasks_are_counted, 0, KINDS);
    tcase_add_loop_test(tasks, test_join_waits_for_what_is_in_the_queue_and_for_what_was_taken, 0,
                        KINDS);
    tcase_add_loop_test(tasks, test_the_last_task_wakes_all_joins, 0, KINDS);
    tcase_add_loop_test(tasks, test_a_task_is_finished_by_the_thread_that_took_it, 0, KINDS);
    tcase_add_loop_test(tasks, test_join_ends_with_the_queue_and_not_with_a_shutdown, 0, KINDS);
    tcase_add_loop_test(tasks, test_join_is_never_too_early, 0, KINDS);
    tcase_add_loop_test(deaths, test_join_does_not_wait_for_the_dead_and_says_so_once, 0, KINDS);
    tcase_add_loop_test(deaths, test_tasks_of_a_member_that_has_left_are_orphans_too, 0, KINDS);
    tcase_add_loop_test(deaths, test_orphans_are_told_though_their_record_is_in_use_again, 0,
                        KINDS);
    tcase_add_loop_test(deaths, test_a_finished_member_that_dies_is_no_orphan, 0, KINDS);
    tcase_add_loop_test(watchers, test_ready_when_all_is_done, 0, KINDS);
    tcase_add_loop_test(watchers, test_the_last_task_wakes_all_watchers_beside_a_join, 0, KINDS);
    tcase_add_loop_test(watchers, test_a_watcher_does_not_wait_for_the_dead, 0, KINDS);
    tcase_add_loop_test(watchers, test_a_watcher_of_tasks_is_told_of_the_end_of_the_queue, 0,
                        KINDS);
    tcase_add_loop_test(watchers, test_a_descriptor_tells_that_all_is_done, 0, KINDS);
    return run_tests(suite);
}
