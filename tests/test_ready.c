/* Waiting for any of several objects: what <shmkit/ready.h> says, sentence by sentence. */
#include "common.h"

#include "base/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* One of each kind, in this order in the set. */
enum { GET, PUT, EVENT, SEMAPHORE, STREAM, KINDS };

struct things {
    struct shk_queue *in, *out; /* empty; full, of one item */
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_stream *stream;
    struct shk_reader *reader;
    struct shk_ready set[KINDS];
};

static void open_things(struct things *t)
{
    struct shk_segment *s = test_segment();

    assert_code(shk_queue_open(s, "in", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 4, .item_size = 8}, &t->in),
                0);
    assert_code(shk_queue_open(s, "out", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1, .item_size = 8}, &t->out),
                0);
    assert_code(shk_event_open(s, "event", SHK_CREATE, NULL, &t->event), 0);
    assert_code(shk_semaphore_open(s, "semaphore", SHK_CREATE,
                                   &(struct shk_semaphore_options){.max = 4}, &t->semaphore),
                0);
    assert_code(shk_stream_open(s, "stream", SHK_CREATE,
                                &(struct shk_stream_options){.sample_size = 8, .history = 8},
                                &t->stream),
                0);
    assert_code(shk_reader_open(t->stream, SHK_NEXT, &t->reader), 0);
    const struct shk_ready set[KINDS] = {
        [GET] = {SHK_KIND_QUEUE, SHK_READABLE, t->in},
        [PUT] = {SHK_KIND_QUEUE, SHK_WRITABLE, t->out},
        [EVENT] = {SHK_KIND_EVENT, SHK_READABLE, t->event},
        [SEMAPHORE] = {SHK_KIND_SEMAPHORE, SHK_READABLE, t->semaphore},
        [STREAM] = {SHK_KIND_STREAM, SHK_READABLE, t->reader},
    };
    memcpy(t->set, set, sizeof(set));
}

/* … none of which is ready. */
static void make_things(struct things *t)
{
    open_things(t);
    assert_code(shk_queue_put(t->out, "full", 4, SHK_NOWAIT), 0);
}

static void close_things(struct things *t)
{
    assert_code(shk_reader_close(t->reader), 0);
    assert_code(shk_stream_close(t->stream), 0);
    assert_code(shk_semaphore_close(t->semaphore), 0);
    assert_code(shk_event_close(t->event), 0);
    assert_code(shk_queue_close(t->out), 0);
    assert_code(shk_queue_close(t->in), 0);
}

static void make_ready(struct things *t, int which)
{
    char item[8];

    switch (which) {
    case GET:
        assert_code(shk_queue_put(t->in, "item", 4, SHK_NOWAIT), 0);
        break;
    case PUT:
        assert_code(shk_queue_get(t->out, item, sizeof(item), SHK_NOWAIT), 4);
        break;
    case EVENT:
        assert_code(shk_event_set(t->event), 0);
        break;
    case SEMAPHORE:
        assert_code(shk_semaphore_release(t->semaphore, 1), 0);
        break;
    case STREAM:
        assert_code(shk_stream_append(t->stream, "a sample", 1), 0);
        break;
    }
}

static void take(struct things *t, int which)
{
    char item[8];

    switch (which) {
    case GET:
        assert_code(shk_queue_get(t->in, item, sizeof(item), SHK_NOWAIT), 4);
        break;
    case PUT:
        assert_code(shk_queue_put(t->out, "full", 4, SHK_NOWAIT), 0);
        break;
    case EVENT:
        assert_code(shk_event_clear(t->event), 0);
        break;
    case SEMAPHORE:
        assert_code(shk_semaphore_acquire(t->semaphore, SHK_NOWAIT), 0);
        break;
    case STREAM:
        assert_code(shk_reader_read(t->reader, item, 1, SHK_NOWAIT), 1);
        break;
    }
}

/* ---- Arguments ---- */

START_TEST(test_ready_refuses_bad_arguments)
{
    struct things t;
    struct shk_segment *s = test_segment(), *other;
    struct shk_event *far;
    struct shk_lock *lock;
    struct shk_ready many[SHK_READY_MAX + 1];
    unsigned before;

    make_things(&t);
    assert_code(shk_lock_open(s, "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_segment_open(segment_name("2"), SHK_CREATE, NULL, &other), 0);
    assert_code(shk_event_open(other, "far", SHK_CREATE, NULL, &far), 0);
    for (int i = 0; i <= SHK_READY_MAX; i++)
        many[i] = t.set[EVENT];
    const struct {
        struct shk_ready set[2];
        int code;
    } bad[] = {
        {{t.set[GET], {SHK_KIND_EVENT, SHK_READABLE, NULL}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_STREAM, SHK_READABLE, NULL}}, -EINVAL},
        {{t.set[GET], {0, SHK_READABLE, t.event}}, -EINVAL},
        {{t.set[GET], {99, SHK_READABLE, t.event}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_QUEUE, 0, t.in}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_QUEUE, SHK_READABLE | SHK_WRITABLE, t.in}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_QUEUE, 4, t.in}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_QUEUE, SHK_READABLE | SHK_ALL_DONE, t.in}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_EVENT, SHK_ALL_DONE, t.event}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_EVENT, SHK_WRITABLE, t.event}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_SEMAPHORE, SHK_WRITABLE, t.semaphore}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_STREAM, SHK_WRITABLE, t.reader}}, -EINVAL},
        {{t.set[GET], {SHK_KIND_LOCK, SHK_READABLE, lock}}, -ENOTSUP},
        {{t.set[GET], {SHK_KIND_COND, SHK_READABLE, lock}}, -ENOTSUP},
        {{t.set[GET], {SHK_KIND_BARRIER, SHK_READABLE, lock}}, -ENOTSUP},
        {{t.set[GET], {SHK_KIND_REGION, SHK_READABLE, lock}}, -ENOTSUP},
        {{t.set[GET], {SHK_KIND_EVENT, SHK_READABLE, far}}, -EXDEV},
    };
    before = open_descriptors();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_code(shk_wait_any(bad[i].set, 2, SHK_NOWAIT), bad[i].code);
        assert_code(shk_ready_fd(bad[i].set, 2), bad[i].code);
    }
    assert_code(shk_wait_any(NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_wait_any(t.set, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_wait_any(many, SHK_READY_MAX + 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_wait_any(many, SHK_READY_MAX, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_ready_fd(NULL, 1), -EINVAL);
    assert_code(shk_ready_fd(t.set, 0), -EINVAL);
    assert_code(shk_ready_fd(many, SHK_READY_MAX + 1), -EINVAL);
    ck_assert_uint_eq(open_descriptors(), before);
    assert_code(shk_event_close(far), 0);
    assert_code(shk_segment_close(other), 0);
    assert_code(shk_segment_unlink(segment_name("2")), 0);
    assert_code(shk_lock_close(lock), 0);
    close_things(&t);
}
END_TEST

START_TEST(test_ready_of_what_is_gone)
{
    struct things t;
    struct shk_segment *s;
    struct shk_event *event;

    make_things(&t);
    assert_code(shk_object_unlink(test_segment(), "event"), 0);
    assert_code(shk_wait_any(t.set, KINDS, SHK_NOWAIT), -ESTALE);
    assert_code(shk_ready_fd(t.set, KINDS), -ESTALE);
    close_things(&t);
    assert_code(shk_segment_open(segment_name("2"), SHK_CREATE, NULL, &s), 0);
    assert_code(shk_event_open(s, "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_segment_close(s), 0);
    const struct shk_ready closed = {SHK_KIND_EVENT, SHK_READABLE, event};
    assert_code(shk_wait_any(&closed, 1, SHK_NOWAIT), -EBADF);
    assert_code(shk_ready_fd(&closed, 1), -EBADF);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_unlink(segment_name("2")), 0);
}
END_TEST

/* ---- What is ready ---- */

START_TEST(test_ready_tells_what_is_ready_and_takes_nothing)
{
    struct things t;

    make_things(&t);
    assert_code(shk_wait_any(t.set, KINDS, SHK_NOWAIT), -EAGAIN);
    for (int which = 0; which < KINDS; which++) {
        make_ready(&t, which);
        for (int i = 0; i < 3; i++)
            assert_code(shk_wait_any(t.set, KINDS, i == 2 ? SHK_FOREVER : SHK_NOWAIT), which);
        take(&t, which);
        assert_code(shk_wait_any(t.set, KINDS, SHK_NOWAIT), -EAGAIN);
    }
    close_things(&t);
}
END_TEST

START_TEST(test_ready_of_a_queue_of_any_order)
{
    const struct shk_queue_options options = {
        .order = (uint32_t)(_i / 2), .capacity = _i % 2 ? 2 : 0, .item_size = 8};
    struct shk_queue *q;
    char item[8];

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, &options, &q), 0);
    const struct shk_ready get = {SHK_KIND_QUEUE, SHK_READABLE, q},
                           put = {SHK_KIND_QUEUE, SHK_WRITABLE, q};
    assert_code(shk_wait_any(&get, 1, SHK_NOWAIT), -EAGAIN);
    for (int i = 0; i < 2; i++) {
        assert_code(shk_wait_any(&put, 1, SHK_NOWAIT), 0);
        assert_code(shk_queue_put(q, "item", 4, SHK_NOWAIT), 0);
        assert_code(shk_wait_any(&get, 1, SHK_NOWAIT), 0);
    }
    assert_code(shk_wait_any(&put, 1, SHK_NOWAIT), options.capacity ? -EAGAIN : 0);
    assert_code(shk_queue_shutdown(q), 0); /* so that no member waits for it any more */
    assert_code(shk_wait_any(&put, 1, SHK_NOWAIT), 0);
    for (int i = 0; i < 2; i++)
        assert_code(shk_queue_get(q, item, sizeof(item), SHK_NOWAIT), 4);
    assert_code(shk_wait_any(&get, 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_reopen(q), 0);
    assert_code(shk_wait_any(&get, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_queue_close(q), 0);
}
END_TEST

/* Each in its turn while all stay ready, also when the thread waits for other sets in between. */
START_TEST(test_ready_gives_each_its_turn)
{
    struct things t;
    unsigned count[KINDS] = {0}, pair[2] = {0};
    int last = -1;

    make_things(&t);
    for (int which = 0; which < KINDS; which++)
        make_ready(&t, which);
    for (int i = 0; i < 10 * KINDS; i++) {
        int got = shk_wait_any(t.set, KINDS, SHK_FOREVER),
            other = shk_wait_any(&t.set[EVENT], 2, SHK_NOWAIT);
        ck_assert_int_ge(got, 0);
        ck_assert_int_ge(other, 0);
        ck_assert(last < 0 || got == (last + 1) % KINDS);
        last = got;
        count[got]++;
        pair[other]++;
    }
    for (int which = 0; which < KINDS; which++)
        ck_assert_uint_eq(count[which], 10);
    ck_assert_uint_eq(pair[0], pair[1]);
    take(&t, EVENT);
    for (int i = 0; i < 2 * KINDS; i++)
        ck_assert_int_ne(shk_wait_any(t.set, KINDS, SHK_FOREVER), EVENT);
    close_things(&t);
}
END_TEST

START_TEST(test_ready_of_as_many_as_there_may_be)
{
    struct shk_ready set[SHK_READY_MAX];
    struct shk_event *events[SHK_READY_MAX];
    char name[32];

    for (int i = 0; i < SHK_READY_MAX; i++) {
        snprintf(name, sizeof(name), "event %d", i);
        assert_code(shk_event_open(test_segment(), name, SHK_CREATE, NULL, &events[i]), 0);
        set[i] = (struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, events[i]};
    }
    assert_code_after(SHK_MS(30), shk_wait_any(set, SHK_READY_MAX, SHK_MS(30)), -ETIMEDOUT);
    for (int i = 0; i < SHK_READY_MAX; i++) {
        assert_code(shk_event_set(events[i]), 0);
        assert_code(shk_wait_any(set, SHK_READY_MAX, SHK_FOREVER), i);
        assert_code(shk_event_clear(events[i]), 0);
    }
    for (int i = 0; i < SHK_READY_MAX; i++)
        assert_code(shk_event_close(events[i]), 0);
}
END_TEST

START_TEST(test_ready_waits_as_long_as_it_was_told)
{
    struct things t;

    make_things(&t);
    assert_code_after(SHK_MS(1), shk_wait_any(t.set, KINDS, SHK_MS(1)), -ETIMEDOUT);
    assert_code_after(SHK_MS(250), shk_wait_any(t.set, KINDS, SHK_MS(250)), -ETIMEDOUT);
    close_things(&t);
}
END_TEST

/* ---- Programs ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool relies_on_being_told; /* it does not check again by itself after each recheck interval */
    _Atomic int result;
};

static int wait_for_any(void *argument)
{
    struct actor *actor = argument;
    struct things t;

    open_things(&t);
    interruptible();
    if (actor->relies_on_being_told)
        shki_test_disable = SHKI_REPAIR_BACKSTOP;
    actor->result = shk_wait_any(t.set, KINDS, actor->timeout);
    return 0;
}

static bool is_watching(pid_t pid)
{
    struct shk_member_info member;

    return look_at_member(segment_name(NULL), pid, &member) &&
           member.waits_for == SHK_WAITS_FOR_ANY;
}

static struct actor *start(struct actor how)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = how;
    actor->result = PENDING;
    actor->pid = stranger_start(wait_for_any, actor);
    wait_until(is_watching(actor->pid), TEST_DEADLINE);
    wait_until_waiting(segment_name(NULL), actor->pid, "in");
    return actor;
}

static struct actor *start_watcher(void)
{
    return start((struct actor){.timeout = SHK_FOREVER});
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

START_TEST(test_ready_wakes_all_waiters)
{
    struct things t;
    struct actor *watchers[3];

    make_things(&t);
    for (int i = 0; i < 3; i++)
        watchers[i] = start_watcher();
    make_ready(&t, _i);
    for (int i = 0; i < 3; i++)
        assert_result(result_of(watchers[i]), _i);
    close_things(&t);
}
END_TEST

/*
 * Not by its own check at the end of a recheck interval, and again and again: the flag is set anew
 * each time.
 */
START_TEST(test_ready_is_told_by_the_member_that_made_it_ready)
{
    struct things t;

    make_things(&t);
    for (int i = 0; i < 5; i++) {
        struct actor *watcher =
            start((struct actor){.timeout = SHK_FOREVER, .relies_on_being_told = true});
        make_ready(&t, _i);
        assert_result(result_of(watcher), _i);
        take(&t, _i);
    }
    close_things(&t);
}
END_TEST

/* Likewise, when the last task of a queue is done. */
static int watch_tasks(void *unused)
{
    struct shk_queue *jobs;

    (void)unused;
    assert_code(shk_queue_open(test_segment(), "jobs", 0, NULL, &jobs), 0);
    shki_test_disable = SHKI_REPAIR_BACKSTOP;
    return shk_wait_any(&(struct shk_ready){SHK_KIND_QUEUE, SHK_ALL_DONE, jobs}, 1, SHK_FOREVER);
}

START_TEST(test_ready_is_told_that_all_tasks_are_done)
{
    const struct shk_queue_options options = {.capacity = 2, .item_size = 8};
    struct shk_queue *jobs;
    char item[8];

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &jobs), 0);
    for (int i = 0; i < 5; i++) {
        assert_code(shk_queue_put(jobs, "one", 4, SHK_NOWAIT), 0);
        pid_t watcher = stranger_start(watch_tasks, NULL);
        wait_until(is_watching(watcher), TEST_DEADLINE);
        wait_until_waiting(segment_name(NULL), watcher, "jobs");
        assert_code(shk_queue_get(jobs, item, sizeof(item), SHK_NOWAIT), 4);
        assert_code(shk_queue_task_done(jobs), 0);
        child_succeeds(watcher);
    }
    assert_code(shk_queue_close(jobs), 0);
}
END_TEST

#define BYSTANDERS 16
#define ITEMS      1000

static int take_each_item(void *unused)
{
    struct shk_segment *segment = test_segment();
    struct shk_queue *items, *taken;
    struct shk_event *never;

    (void)unused;
    assert_code(shk_queue_open(segment, "items", 0, NULL, &items), 0);
    assert_code(shk_queue_open(segment, "taken", 0, NULL, &taken), 0);
    assert_code(shk_event_open(segment, "event", 0, NULL, &never), 0);
    struct shk_ready set[] = {{SHK_KIND_EVENT, SHK_READABLE, never},
                              {SHK_KIND_QUEUE, SHK_READABLE, items}};
    shki_test_disable = SHKI_REPAIR_BACKSTOP;
    for (uint64_t i = 0, item; i < ITEMS; i++) {
        if (shk_wait_any(set, 2, SHK_FOREVER) != 1)
            return 1;
        if (shk_queue_get(items, &item, sizeof(item), SHK_NOWAIT) != sizeof(item) || item != i)
            return 2;
        if (shk_queue_put(taken, &item, sizeof(item), SHK_NOWAIT) != 0)
            return 3;
    }
    return 0;
}

/*
 * Watchers of other objects in the same segment share the waitlist. Without any recheck each item
 * has to be told in spite of them, and the watchers have to be told of theirs at last: one lost
 * wake-up, and the test waits in vain. That holds at any speed.
 */
START_TEST(test_ready_is_told_beside_watchers_of_other_objects)
{
    struct things t;
    struct shk_queue *items, *taken;
    struct actor *bystanders[BYSTANDERS];
    pid_t consumer;

    make_things(&t);
    assert_code(shk_queue_open(test_segment(), "items", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1, .item_size = 8}, &items),
                0);
    assert_code(shk_queue_open(test_segment(), "taken", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1, .item_size = 8}, &taken),
                0);
    for (int i = 0; i < BYSTANDERS; i++)
        bystanders[i] = start((struct actor){.timeout = SHK_FOREVER, .relies_on_being_told = true});
    consumer = stranger_start(take_each_item, NULL);
    for (uint64_t i = 0, item; i < ITEMS; i++) {
        assert_code(shk_queue_put(items, &i, sizeof(i), SHK_NOWAIT), 0);
        assert_code(shk_queue_get(taken, &item, sizeof(item), TEST_DEADLINE * time_factor()),
                    sizeof(item));
        ck_assert_uint_eq(item, i);
    }
    child_succeeds(consumer);
    make_ready(&t, GET);
    for (int i = 0; i < BYSTANDERS; i++)
        assert_result(result_of(bystanders[i]), GET);
    assert_code(shk_queue_close(items), 0);
    assert_code(shk_queue_close(taken), 0);
    close_things(&t);
}
END_TEST

START_TEST(test_ready_wait_ends)
{
    struct things t;
    struct actor *watcher;

    make_things(&t);
    watcher = start_watcher();
    switch (_i) {
    case 0:
        ck_assert_int_eq(kill(watcher->pid, SIGINT), 0);
        assert_result(result_of(watcher), -EINTR);
        break;
    case 1:
        assert_code(shk_object_unlink(test_segment(), "semaphore"), 0);
        assert_result(result_of(watcher), -ESTALE);
        break;
    case 2:
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
        assert_result(result_of(watcher), -ESTALE);
        break;
    case 3:
        assert_code(shk_queue_shutdown(t.in), 0);
        assert_result(result_of(watcher), GET);
        break;
    case 4:
        assert_code(shk_queue_shutdown(t.out), 0);
        assert_result(result_of(watcher), PUT);
        break;
    }
    close_things(&t);
}
END_TEST

/* Neither killed nor stopped watchers hold up any member, and their records are used again. */
START_TEST(test_ready_survives_watchers_that_die_or_stop)
{
    struct things t;
    struct actor *watchers[4];

    test_segment_with(&(struct shk_segment_options){.max_members = 6});
    make_things(&t);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 4; i++)
            watchers[i] = start_watcher();
        child_kill(watchers[0]->pid);
        child_kill(watchers[2]->pid);
        child_stop(watchers[1]->pid);
        make_ready(&t, round % KINDS);
        assert_result(result_of(watchers[3]), round % KINDS);
        child_continue(watchers[1]->pid);
        assert_result(result_of(watchers[1]), round % KINDS);
        take(&t, round % KINDS);
    }
    close_things(&t);
}
END_TEST

/* A permit that was promised to a waiter which died is one for the watchers. */
static int acquire(void *unused)
{
    struct things t;

    (void)unused;
    open_things(&t);
    return shk_semaphore_acquire(t.semaphore, SHK_FOREVER);
}

START_TEST(test_ready_gets_the_permit_of_the_dead)
{
    struct things t;
    struct actor *watcher;

    make_things(&t);
    pid_t waiter = stranger_start(acquire, NULL);
    wait_until_waiting(segment_name(NULL), waiter, "semaphore");
    child_stop(waiter);
    watcher = start_watcher();
    make_ready(&t, SEMAPHORE);
    child_kill(waiter);
    assert_result(result_of(watcher), SEMAPHORE);
    close_things(&t);
}
END_TEST

/* Wakers are killed at random, watchers too: those that are left get on. */
struct storm {
    _Atomic bool stop;
    _Atomic long seen;
};

static int put_all_the_time(void *argument)
{
    struct storm *storm = argument;
    struct things t;

    open_things(&t);
    while (!storm->stop) {
        (void)shk_queue_put(t.in, "item", 4, SHK_MS(1));
        (void)shk_event_set(t.event);
        (void)shk_event_clear(t.event);
        (void)shk_semaphore_release(t.semaphore, 1);
        (void)shk_stream_append(t.stream, "a sample", 1);
    }
    return 0;
}

static int take_all_the_time(void *argument)
{
    struct storm *storm = argument;
    struct things t;
    char item[8];

    open_things(&t);
    while (!storm->stop) {
        switch (shk_wait_any(t.set, KINDS, SHK_MS(50))) {
        case GET:
            storm->seen += shk_queue_get(t.in, item, sizeof(item), SHK_NOWAIT) == 4;
            break;
        case SEMAPHORE:
            storm->seen += shk_semaphore_acquire(t.semaphore, SHK_NOWAIT) == 0;
            break;
        case STREAM:
            storm->seen += shk_reader_read(t.reader, item, 1, SHK_NOWAIT) == 1;
            break;
        }
    }
    return 0;
}

START_TEST(test_ready_in_a_storm)
{
    struct storm *storm = shared_memory(sizeof(*storm));
    struct things t;
    pid_t wakers[2], watchers[2];
    struct actor *last;

    make_things(&t);
    for (int i = 0; i < 2; i++) {
        wakers[i] = stranger_start(put_all_the_time, storm);
        watchers[i] = stranger_start(take_all_the_time, storm);
    }
    for (int i = 0; i < 60; i++) {
        long before = storm->seen;
        wait_until(storm->seen > before + 20, TEST_DEADLINE);
        pid_t *victim = i % 2 ? &wakers[i / 2 % 2] : &watchers[i / 2 % 2];
        child_kill(*victim);
        *victim = stranger_start(i % 2 ? put_all_the_time : take_all_the_time, storm);
    }
    storm->stop = true;
    for (int i = 0; i < 2; i++) {
        child_succeeds(wakers[i]);
        child_succeeds(watchers[i]);
    }
    while (shk_queue_get(t.in, (char[8]){0}, 8, SHK_NOWAIT) > 0)
        ;
    while (shk_semaphore_acquire(t.semaphore, SHK_NOWAIT) == 0)
        ;
    assert_code(shk_event_clear(t.event), 0);
    last = start_watcher();
    make_ready(&t, EVENT);
    assert_result(result_of(last), EVENT);
    close_things(&t);
}
END_TEST

/* ---- The descriptor ---- */

/* By the name that they give themselves: a sanitizer has threads of its own. */
static unsigned threads_of_descriptors(void)
{
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned n = 0;

    while ((entry = readdir(directory))) {
        char path[300], name[20] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) /* "." and "..", or it has just ended */
            continue;
        n += fgets(name, sizeof(name), file) && strcmp(name, "shk_ready_fd\n") == 0;
        fclose(file);
    }
    closedir(directory);
    return n;
}

static bool becomes_readable(int epoll, int fd, int milliseconds)
{
    struct epoll_event event;
    int n = epoll_wait(epoll, &event, 1, milliseconds);

    return n == 1 && event.data.fd == fd;
}

static int epoll_of(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    ck_assert_int_ge(epoll, 0);
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    return epoll;
}

#define PATIENT ((int)(TEST_DEADLINE / 1000000) * time_factor())

static void assert_told(int epoll, int fd, uint32_t expected)
{
    uint32_t index;

    ck_assert(becomes_readable(epoll, fd, PATIENT));
    ck_assert_int_eq(read(fd, &index, sizeof(index)), sizeof(index));
    ck_assert_uint_eq(index, expected);
}

START_TEST(test_ready_fd_is_readable_when_something_is_ready)
{
    struct things t;
    unsigned descriptors;
    uint32_t index;

    make_things(&t);
    descriptors = open_descriptors();
    int fd = shk_ready_fd(t.set, KINDS);
    ck_assert_int_ge(fd, 0);
    wait_until(threads_of_descriptors() == 1, TEST_DEADLINE);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    int epoll = epoll_of(fd);
    ck_assert(!becomes_readable(epoll, fd, 150));
    ck_assert_int_eq(read(fd, &index, sizeof(index)), -1);
    ck_assert_int_eq(errno, EAGAIN);
    for (int round = 0; round < 3; round++)
        for (int which = 0; which < KINDS; which++) {
            make_ready(&t, which);
            ck_assert(becomes_readable(epoll, fd, PATIENT));
            take(&t, which);                         /* first take, then read: it is told once */
            assert_told(epoll, fd, (uint32_t)which); /* it stays readable until then */
            ck_assert(!becomes_readable(epoll, fd, 30));
        }
    make_ready(&t, GET);
    make_ready(&t, EVENT);
    bool seen[KINDS] = {false};
    for (int i = 0; i < 4; i++) { /* what stays ready is told again, each in its turn */
        ck_assert(becomes_readable(epoll, fd, PATIENT));
        ck_assert_int_eq(read(fd, &index, sizeof(index)), sizeof(index));
        seen[index] = true;
    }
    ck_assert(seen[GET] && seen[EVENT]);
    close(epoll);
    close(fd);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    close_things(&t);
}
END_TEST

static int set_event(void *argument)
{
    const _Atomic bool *go = argument;
    struct things t;

    open_things(&t);
    wait_until(*go, TEST_DEADLINE);
    return shk_event_set(t.event);
}

START_TEST(test_ready_fd_tells_what_another_process_does)
{
    struct things t;
    struct shk_member_info member;
    _Atomic bool *go = shared_memory(sizeof(*go));
    bool found = false;

    make_things(&t);
    /* forked while there is one thread: the sanitizers want it so */
    pid_t child = stranger_start(set_event, go);
    int fd = shk_ready_fd(t.set, KINDS), epoll = epoll_of(fd);
    DIR *directory = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(directory));)
        if (look_at_member(segment_name(NULL), atoi(entry->d_name), &member))
            found |= strcmp(member.command, "shk_ready_fd") == 0;
    closedir(directory);
    ck_assert(found);
    *go = true;
    child_succeeds(child);
    assert_told(epoll, fd, EVENT);
    close(epoll);
    close(fd);
    close_things(&t);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
}
END_TEST

/* The thread of a descriptor, as it is shown; false: it does not wait. */
static bool look_at_thread(struct shk_member_info *info)
{
    DIR *directory = opendir("/proc/self/task");
    bool found = false;

    for (struct dirent *entry; !found && (entry = readdir(directory));)
        found = look_at_member(segment_name(NULL), atoi(entry->d_name), info) &&
                strcmp(info->command, "shk_ready_fd") == 0 && info->waits_for == SHK_WAITS_FOR_ANY;
    closedir(directory);
    return found;
}

START_TEST(test_the_thread_of_a_descriptor_is_shown_as_what_it_is)
{
    struct things t;
    struct shk_member_info info;

    make_things(&t);
    assert_code(shk_set_member_name(test_segment(), "a consumer"), 0);
    int fd = shk_ready_fd(t.set, KINDS);
    wait_until(look_at_thread(&info), TEST_DEADLINE);
    ck_assert_str_eq(info.name, "a consumer (descriptor)");
    ck_assert_uint_eq(info.has_deadline, 0);
    /*
     * It waits for as long as there is nothing, not anew from recheck interval to recheck interval.
     */
    wait_until(look_at_thread(&info) && info.waiting > SHK_MS(350), TEST_DEADLINE);
    close(fd);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    /* A name of full length, with a character of three bytes where it has to be cut. */
    assert_code(
        shk_set_member_name(test_segment(),
                            "0123456789012345678901234567890123456789012345678款89012345678"),
        0);
    fd = shk_ready_fd(t.set, KINDS);
    wait_until(look_at_thread(&info), TEST_DEADLINE);
    ck_assert_str_eq(info.name, "0123456789012345678901234567890123456789012345678 (descriptor)");
    close(fd);
    close_things(&t);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
}
END_TEST

/* Closing the handles first, while the thread is at them, or before the message is read. */
START_TEST(test_ready_fd_keeps_what_it_needs)
{
    struct things t, again;

    make_things(&t);
    open_things(&again);
    for (int i = 0; i < 20; i++) {
        struct things mine;
        open_things(&mine);
        int fd = shk_ready_fd(mine.set, KINDS), epoll = epoll_of(fd);
        close_things(&mine);
        if (i % 2) {
            make_ready(&t, EVENT);
            ck_assert(becomes_readable(epoll, fd, PATIENT));
            take(&t, EVENT);
        }
        close(epoll);
        close(fd);
    }
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    close_things(&again);
    close_things(&t);
}
END_TEST

START_TEST(test_ready_fd_comes_to_an_end)
{
    struct things t;
    struct shk_segment *s;
    struct shk_event *event;
    uint32_t index;

    make_things(&t);
    assert_code(shk_segment_open(segment_name("2"), SHK_CREATE, NULL, &s), 0);
    assert_code(shk_event_open(s, "event", SHK_CREATE, NULL, &event), 0);
    const struct shk_ready set = {SHK_KIND_EVENT, SHK_READABLE, event};
    unsigned maps = mappings();
    int fd = shk_ready_fd(&set, 1), epoll = epoll_of(fd);
    if (_i == 1) {
        assert_code(shk_event_set(event), 0); /* so that the thread waits for the reader */
        assert_told(epoll, fd, 0);
        ck_assert(becomes_readable(epoll, fd, PATIENT));
    }
    if (_i == 2)
        assert_code(shk_object_unlink(s, "event"), 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(s), 0);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    ck_assert_uint_eq(mappings(), maps - 1);
    ck_assert(becomes_readable(epoll, fd, PATIENT));
    if (_i == 1)
        ck_assert_int_eq(read(fd, &index, sizeof(index)), sizeof(index));
    ck_assert_int_eq(read(fd, &index, sizeof(index)), 0);
    close(epoll);
    close(fd);
    assert_code(shk_segment_unlink(segment_name("2")), 0);
    close_things(&t);
}
END_TEST

static int wait_to_be_killed(void *unused)
{
    (void)unused;
    pause();
    return 0;
}

/* A child that was forked meanwhile has copies of what its parent had open. */
START_TEST(test_ready_fd_comes_to_an_end_beside_a_forked_child)
{
    struct shk_event *event;
    struct things t;
    uint32_t index;

    make_things(&t);
    assert_code(shk_event_open(test_segment(), "other", SHK_CREATE, NULL, &event), 0);
    const struct shk_ready set = {SHK_KIND_EVENT, SHK_READABLE, event};
    int fd = shk_ready_fd(&set, 1), epoll = epoll_of(fd);
    pid_t child = child_start(wait_to_be_killed, NULL);
    assert_code(shk_object_unlink(test_segment(), "other"), 0);
    ck_assert(becomes_readable(epoll, fd, PATIENT));
    ck_assert_int_eq(read(fd, &index, sizeof(index)), 0);
    child_kill(child);
    close(epoll);
    close(fd);
    assert_code(shk_event_close(event), 0);
    close_things(&t);
}
END_TEST

static int close_and_read_on(void *arg)
{
    struct things *t = arg;
    unsigned before = open_descriptors();

    close_things(t); /* the handles were kept by the parent's thread alone */
    ck_assert_uint_eq(open_descriptors(), before);
    return 0;
}

START_TEST(test_ready_fd_keeps_nothing_in_a_forked_child)
{
    struct things t;
    int fd;

    make_things(&t);
    unsigned before = open_descriptors();
    fd = shk_ready_fd(t.set, KINDS);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(open_descriptors(), before + 2);
    child_succeeds(child_start(close_and_read_on, &t));
    close(fd);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    ck_assert_uint_eq(open_descriptors(), before);
    close_things(&t);
}
END_TEST

/* A program closes all descriptors that it does not know, and opens a file of its own. */
START_TEST(test_ready_fd_leaves_alone_what_gets_its_number)
{
    char path[] = "/tmp/shmkit-ready-XXXXXX";
    struct things t;
    struct stat st;
    uint32_t index;
    int own = mkstemp(path), high = 100;
    bool taken[200];

    make_things(&t);
    ck_assert_int_ge(own, 0);
    for (int i = 0; i < 200; i++)
        taken[i] = fcntl(i, F_GETFD) >= 0;
    int fd = shk_ready_fd(&t.set[EVENT], 1), epoll = epoll_of(fd);
    while (high < 200 && (taken[high] || fcntl(high, F_GETFD) < 0))
        high++;
    ck_assert_int_lt(high, 200);
    ck_assert_int_eq(dup2(own, high), high);
    make_ready(&t, EVENT);
    ck_assert(becomes_readable(epoll, fd, PATIENT));
    ck_assert_int_eq(read(fd, &index, sizeof(index)), 0);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    ck_assert_int_eq(fstat(high, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    close(high);
    close(own);
    unlink(path);
    close(epoll);
    close(fd);
    close_things(&t);
}
END_TEST

START_TEST(test_ready_fd_wants_a_member_record)
{
    struct things t;
    unsigned descriptors;

    test_segment_with(&(struct shk_segment_options){.max_members = 2});
    make_things(&t);
    /*
     * The first wait of a process opens a file for a moment: not in the thread, while descriptors
     * are counted.
     */
    assert_code(shk_wait_any(t.set, KINDS, SHK_MS(1)), -ETIMEDOUT);
    int fd = shk_ready_fd(t.set, KINDS);
    ck_assert_int_ge(fd, 0);
    descriptors = open_descriptors();
    assert_code(shk_ready_fd(t.set, KINDS), -EUSERS);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    /* The thread that was started in vain has told that, and may still be ending. */
    wait_until(threads_of_descriptors() <= 1, TEST_DEADLINE);
    close(fd);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    close_things(&t);
}
END_TEST

/* Signals are for the others: the thread takes none of them. */
static volatile sig_atomic_t handled_by;

static void note_thread(int signal)
{
    (void)signal;
    handled_by = gettid();
}

START_TEST(test_ready_fd_takes_no_signals)
{
    struct things t;
    sigset_t usr1;

    make_things(&t);
    int fd = shk_ready_fd(t.set, KINDS), epoll = epoll_of(fd);
    signal(SIGUSR1, note_thread);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
    ck_assert(!becomes_readable(epoll, fd, 50));
    ck_assert_int_eq(handled_by, 0);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    ck_assert_int_eq(handled_by, gettid());
    close(epoll);
    close(fd);
    wait_until(threads_of_descriptors() == 0, TEST_DEADLINE);
    close_things(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ready");
    TCase *arguments = test_case(suite, "arguments");
    TCase *state = test_case(suite, "state");
    TCase *programs = test_case(suite, "programs");
    TCase *deaths = test_case(suite, "deaths");
    TCase *descriptor = test_case(suite, "descriptor");

    tcase_add_test(arguments, test_ready_refuses_bad_arguments);
    tcase_add_test(arguments, test_ready_of_what_is_gone);
    tcase_add_test(state, test_ready_tells_what_is_ready_and_takes_nothing);
    tcase_add_loop_test(state, test_ready_of_a_queue_of_any_order, 0, 6);
    tcase_add_test(state, test_ready_gives_each_its_turn);
    tcase_add_test(state, test_ready_of_as_many_as_there_may_be);
    tcase_add_test(state, test_ready_waits_as_long_as_it_was_told);
    tcase_add_loop_test(programs, test_ready_wakes_all_waiters, 0, KINDS);
    tcase_add_loop_test(programs, test_ready_is_told_by_the_member_that_made_it_ready, 0, KINDS);
    tcase_add_test(programs, test_ready_is_told_that_all_tasks_are_done);
    tcase_add_test(programs, test_ready_is_told_beside_watchers_of_other_objects);
    tcase_add_loop_test(programs, test_ready_wait_ends, 0, 5);
    tcase_add_test(deaths, test_ready_survives_watchers_that_die_or_stop);
    tcase_add_test(deaths, test_ready_gets_the_permit_of_the_dead);
    tcase_add_test(deaths, test_ready_in_a_storm);
    tcase_add_test(descriptor, test_ready_fd_is_readable_when_something_is_ready);
    tcase_add_test(descriptor, test_ready_fd_tells_what_another_process_does);
    tcase_add_test(descriptor, test_the_thread_of_a_descriptor_is_shown_as_what_it_is);
    tcase_add_test(descriptor, test_ready_fd_keeps_what_it_needs);
    tcase_add_loop_test(descriptor, test_ready_fd_comes_to_an_end, 0, 3);
    tcase_add_test(descriptor, test_ready_fd_comes_to_an_end_beside_a_forked_child);
    tcase_add_test(descriptor, test_ready_fd_keeps_nothing_in_a_forked_child);
    tcase_add_test(descriptor, test_ready_fd_leaves_alone_what_gets_its_number);
    tcase_add_test(descriptor, test_ready_fd_wants_a_member_record);
    tcase_add_test(descriptor, test_ready_fd_takes_no_signals);
    return run_tests(suite);
}
