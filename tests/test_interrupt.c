/*
 * What ends a wait from within its own process: the thread's interrupt call, the close of the
 * segment.
 */
#include "common.h"

#include "base/permits.h"
#include "segment/member.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every way to wait; and what ends the wait with success. */
enum {
    LOCK,
    COND,
    COND_PTHREAD,
    EVENT,
    SEMAPHORE,
    BARRIER,
    GET,
    PUT,
    PUT_PRIORITY,
    JOIN,
    READ,
    SHARE,
    WRITE,
    ONCE,
    ANY,
    WAYS
};

struct things {
    struct shk_lock *lock;
    struct shk_cond *cond[2];
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_barrier *barrier;
    struct shk_queue *empty, *full, *heap;
    struct shk_stream *stream;
    struct shk_reader *reader;
    struct shk_rwlock *written, *read; /* to share; to write */
    struct shk_once *once;
};

static const struct shk_semaphore_options none = {.value = 0, .max = 100};

/* if not NULL, where the things are, instead of test_segment() */
static struct shk_segment *own_segment;

static const char *where(void)
{
    return segment_name(own_segment ? "own" : NULL);
}

static void open_things(struct things *t)
{
    struct shk_segment *s = own_segment ? own_segment : test_segment();

    assert_code(shk_lock_open(s, "lock", SHK_CREATE, NULL, &t->lock), 0);
    for (uint32_t kind = SHK_COND_ROBUST; kind <= SHK_COND_PTHREAD; kind++) {
        const struct shk_cond_options options = {.kind = kind};
        assert_code(
            shk_cond_open(s, kind ? "pthread" : "cond", SHK_CREATE, &options, &t->cond[kind]), 0);
    }
    assert_code(shk_event_open(s, "event", SHK_CREATE, NULL, &t->event), 0);
    assert_code(shk_semaphore_open(s, "semaphore", SHK_CREATE, &none, &t->semaphore), 0);
    assert_code(shk_barrier_open(s, "barrier", SHK_CREATE,
                                 &(struct shk_barrier_options){.parties = 2}, &t->barrier),
                0);
    const struct shk_queue_options fifo = {.capacity = 1, .item_size = 8};
    const struct shk_queue_options heap = {.order = SHK_PRIORITY, .capacity = 1, .item_size = 8};
    assert_code(shk_queue_open(s, "empty", SHK_CREATE, &fifo, &t->empty), 0);
    assert_code(shk_queue_open(s, "full", SHK_CREATE, &fifo, &t->full), 0);
    assert_code(shk_queue_open(s, "heap", SHK_CREATE, &heap, &t->heap), 0);
    const struct shk_stream_options stream = {.sample_size = 8, .history = 8};
    assert_code(shk_stream_open(s, "stream", SHK_CREATE, &stream, &t->stream), 0);
    assert_code(shk_reader_open(t->stream, SHK_NEXT, &t->reader), 0);
    assert_code(shk_rwlock_open(s, "written", SHK_CREATE, NULL, &t->written), 0);
    assert_code(shk_rwlock_open(s, "read", SHK_CREATE, NULL, &t->read), 0);
    assert_code(shk_once_open(s, "once", SHK_CREATE, NULL, &t->once), 0);
}

/* What is held by several kinds of locks, besides the lock. */
static void hold_others(struct things *t)
{
    assert_code(shk_rwlock_acquire(t->written, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire_shared(t->read, SHK_NOWAIT), 0);
    assert_code(shk_once_begin(t->once, SHK_NOWAIT), SHK_ONCE_MINE);
}

static void release_others(struct things *t)
{
    shk_rwlock_release(t->written);
    shk_rwlock_release(t->read);
    shk_once_abandon(t->once);
}

static void close_things(struct things *t)
{
    release_others(t); /* unless that has been done */
    assert_code(shk_rwlock_close(t->written), 0);
    assert_code(shk_rwlock_close(t->read), 0);
    assert_code(shk_once_close(t->once), 0);
    assert_code(shk_lock_close(t->lock), 0);
    assert_code(shk_cond_close(t->cond[0]), 0);
    assert_code(shk_cond_close(t->cond[1]), 0);
    assert_code(shk_event_close(t->event), 0);
    assert_code(shk_semaphore_close(t->semaphore), 0);
    assert_code(shk_barrier_close(t->barrier), 0);
    assert_code(shk_queue_close(t->empty), 0);
    assert_code(shk_queue_close(t->full), 0);
    assert_code(shk_queue_close(t->heap), 0);
    assert_code(shk_reader_close(t->reader), 0);
    assert_code(shk_stream_close(t->stream), 0);
}

/* So that the others have to wait. */
static void prepare(struct things *t)
{
    open_things(t);
    assert_code(shk_lock_acquire(t->lock, SHK_NOWAIT), 0);
    hold_others(t);
    assert_code(shk_queue_put(t->full, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_put_priority(t->heap, "a", 1, 7, SHK_NOWAIT), 0);
}

/*
 * The way number `way`, for ever: the call's result; if it is 0 or more, what was taken is given
 * back.
 */
static int wait_in(struct things *t, int way)
{
    struct shk_cond *cond = t->cond[way == COND_PTHREAD];
    char item[8];
    int r;

    switch (way) {
    case LOCK:
        r = shk_lock_acquire(t->lock, SHK_FOREVER);
        if (r >= 0)
            assert_code(shk_lock_release(t->lock), 0);
        return r;
    case COND:
    case COND_PTHREAD:
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
        r = shk_cond_wait(cond, SHK_FOREVER);
        assert_code(shk_cond_release(cond), 0);
        return r;
    case EVENT:
        return shk_event_wait(t->event, SHK_FOREVER);
    case SEMAPHORE:
        return shk_semaphore_acquire(t->semaphore, SHK_FOREVER);
    case BARRIER:
        r = shk_barrier_wait(t->barrier, SHK_FOREVER);
        return r < 0 ? r : 0;
    case GET:
        r = (int)shk_queue_get(t->empty, item, sizeof(item), SHK_FOREVER);
        return r < 0 ? r : 0;
    case PUT:
        return shk_queue_put(t->full, "b", 1, SHK_FOREVER);
    case PUT_PRIORITY:
        return shk_queue_put_priority(t->heap, "b", 1, 7, SHK_FOREVER);
    case JOIN:
        return shk_queue_join(t->full, SHK_FOREVER);
    case READ:
        r = (int)shk_reader_read(t->reader, item, 1, SHK_FOREVER);
        return r < 0 ? r : 0;
    case SHARE:
        r = shk_rwlock_acquire_shared(t->written, SHK_FOREVER);
        if (r >= 0)
            assert_code(shk_rwlock_release(t->written), 0);
        return r;
    case WRITE:
        r = shk_rwlock_acquire(t->read, SHK_FOREVER);
        if (r >= 0)
            assert_code(shk_rwlock_release(t->read), 0);
        return r;
    case ONCE:
        r = shk_once_begin(t->once, SHK_FOREVER);
        if (r > 0)
            assert_code(shk_once_done(t->once), 0);
        return r < 0 ? r : 0;
    default:
        return shk_wait_any(&(struct shk_ready){SHK_KIND_EVENT, SHK_READABLE, t->event}, 1,
                            SHK_FOREVER);
    }
}

static const char *const names[WAYS] = {"lock",    "cond",    "pthread", "event", "semaphore",
                                        "barrier", "empty",   "full",    "heap",  "full",
                                        "stream",  "written", "read",    "once",  NULL};

static void end_wait(struct things *t, int way)
{
    struct shk_cond *cond = t->cond[way == COND_PTHREAD];
    char item[8];

    switch (way) {
    case LOCK:
        assert_code(shk_lock_release(t->lock), 0);
        break;
    case COND:
    case COND_PTHREAD:
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
        assert_code(shk_cond_notify(cond, 1), 1);
        assert_code(shk_cond_release(cond), 0);
        break;
    case SEMAPHORE:
        assert_code(shk_semaphore_release(t->semaphore, 1), 0);
        break;
    case BARRIER:
        assert_code(shk_barrier_wait(t->barrier, SHK_FOREVER), 1);
        break;
    case GET:
        assert_code(shk_queue_put(t->empty, "a", 1, SHK_NOWAIT), 0);
        break;
    case PUT:
        assert_code(shk_queue_get(t->full, item, sizeof(item), SHK_NOWAIT), 1);
        break;
    case PUT_PRIORITY:
        assert_code(shk_queue_get(t->heap, item, sizeof(item), SHK_NOWAIT), 1);
        break;
    case JOIN:
        assert_code(shk_queue_get(t->full, item, sizeof(item), SHK_NOWAIT), 1);
        assert_code(shk_queue_task_done(t->full), 0);
        break;
    case READ:
        assert_code(shk_stream_append(t->stream, "samples.", 1), 0);
        break;
    case SHARE:
    case WRITE:
    case ONCE:
        release_others(t);
        break;
    default:
        assert_code(shk_event_set(t->event), 0);
        break;
    }
}

/* A process or thread that waits. */
struct waiter {
    int way;
    _Atomic int answer; /* of its interrupt call */
    _Atomic unsigned calls, handled;
    _Atomic int result;
    _Atomic pid_t tid;
    int nested, closing;
    struct things *things; /* NULL: it opens its own */
    bool has_flag;         /* an interrupt flag, which stays 0 */
};

static struct waiter *handling;

static void handle(int signal)
{
    (void)signal;
    handling->handled++;
}

static int check(void *arg)
{
    struct waiter *w = arg;

    w->calls++;
    return w->answer;
}

static int wait_with_call(void *arg)
{
    const struct sigaction action = {.sa_handler = handle}; /* no SA_RESTART */
    struct waiter *w = handling = arg;
    struct things t;

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    open_things(&t);
    assert_code(shk_set_interrupt_call(test_segment(), check, w), 0);
    w->result = wait_in(&t, w->way);
    close_things(&t);
    return 0;
}

static bool waits(pid_t tid, int way)
{
    struct shk_member_info m;

    return names[way] ? is_waiting(where(), tid, names[way])
                      : look_at_member(where(), tid, &m) && m.waits_for == SHK_WAITS_FOR_ANY;
}

static struct waiter *start_waiter(int way, int answer, pid_t *child)
{
    struct waiter *w = shared_memory(sizeof(*w));

    w->way = way;
    w->answer = answer;
    w->result = 1000;
    *child = child_start(wait_with_call, w);
    wait_until(waits(*child, way), TEST_DEADLINE);
    return w;
}

static void send_signals(struct waiter *w, pid_t child, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned handled = w->handled, calls;

        ck_assert_int_eq(kill(child, SIGUSR1), 0);
        wait_until(w->handled > handled, TEST_DEADLINE);
        calls = w->calls;
        wait_until(w->calls > calls, TEST_DEADLINE);
    }
}

START_TEST(test_a_wait_goes_on_if_the_interrupt_call_says_so)
{
    struct things t;
    struct waiter *w;
    pid_t child;

    prepare(&t);
    w = start_waiter(_i, 0, &child);
    send_signals(w, child, 3);
    ck_assert_int_eq(w->result, 1000);
    end_wait(&t, _i);
    child_succeeds(child);
    assert_result(w->result, 0);
    if (_i != LOCK)
        assert_code(shk_lock_release(t.lock), 0);
    close_things(&t);
}
END_TEST

START_TEST(test_a_wait_ends_if_the_interrupt_call_says_so)
{
    struct things t;
    struct waiter *w;
    pid_t child;

    prepare(&t);
    w = start_waiter(_i, 0, &child);
    send_signals(w, child, 1);
    w->answer = 1;
    ck_assert_int_eq(kill(child, SIGUSR1), 0);
    child_succeeds(child);
    assert_result(w->result, -EINTR);
    if (_i == BARRIER)
        assert_code(shk_barrier_broken(t.barrier), 1);
    assert_code(shk_lock_release(t.lock), 0);
    close_things(&t);
}
END_TEST

/* No signal: the call asks whatever it likes, and is asked each recheck interval. */
START_TEST(test_the_interrupt_call_is_asked_without_a_signal_too)
{
    struct things t;
    struct waiter *w;
    pid_t child;

    prepare(&t);
    w = start_waiter(_i, 0, &child);
    wait_until(w->calls >= 3, TEST_DEADLINE);
    w->answer = -1;
    child_succeeds(child);
    assert_result(w->result, -EINTR);
    ck_assert_uint_eq(w->handled, 0);
    assert_code(shk_lock_release(t.lock), 0);
    close_things(&t);
}
END_TEST

START_TEST(test_an_interrupt_call_does_not_lose_the_place_in_the_line)
{
    struct things t;
    struct waiter *first, *second;
    pid_t children[2];

    prepare(&t);
    first = start_waiter(SEMAPHORE, 0, &children[0]);
    second = start_waiter(SEMAPHORE, 0, &children[1]);
    send_signals(first, children[0], 5);
    assert_code(shk_semaphore_release(t.semaphore, 1), 0);
    child_succeeds(children[0]);
    assert_result(first->result, 0);
    ck_assert_int_eq(second->result, 1000);
    assert_code(shk_semaphore_release(t.semaphore, 1), 0);
    child_succeeds(children[1]);
    assert_code(shk_lock_release(t.lock), 0);
    close_things(&t);
}
END_TEST

static void *wait_in_thread(void *arg)
{
    struct waiter *w = arg;

    w->tid = (pid_t)syscall(SYS_gettid);
    if (w->answer >= 0)
        assert_code(shk_set_interrupt_call(test_segment(), check, w), 0);
    w->result = wait_in(w->things, w->way);
    return NULL;
}

/* Other threads of the process, with another call or none, do not notice. */
START_TEST(test_an_interrupt_call_is_of_its_thread_alone)
{
    struct waiter waiters[3] = {{.way = EVENT}, {.way = EVENT}, {.way = EVENT, .answer = -1}};
    pthread_t threads[3];
    struct things t;

    open_things(&t);
    for (int i = 0; i < 3; i++) {
        waiters[i].things = &t;
        waiters[i].result = 1000;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, &waiters[i]), 0);
        wait_until(waiters[i].tid && waits(waiters[i].tid, EVENT), TEST_DEADLINE);
    }
    waiters[0].answer = 1;
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    assert_result(waiters[0].result, -EINTR);
    ck_assert_int_eq(waiters[1].result, 1000);
    ck_assert_int_eq(waiters[2].result, 1000);
    ck_assert_uint_eq(waiters[2].calls, 0);
    assert_code(shk_event_set(t.event), 0);
    for (int i = 1; i < 3; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        assert_result(waiters[i].result, 0);
    }
    close_things(&t);
}
END_TEST

/* It may use the library, but not wait in it, nor close the segment that the wait is in. */
static int use_the_library(void *arg)
{
    struct waiter *w = arg;

    if (w->calls++ == 0) {
        w->nested = wait_in(w->things, w->answer);
        w->closing = shk_segment_close(test_segment());
        assert_code(shk_set_interrupt_call(test_segment(), NULL, NULL), -EBUSY);
        assert_code(shk_event_set(w->things->event), 0);
        assert_code(shk_event_is_set(w->things->event), 1);
        assert_code(shk_semaphore_acquire(w->things->semaphore, SHK_NOWAIT), -EAGAIN);
        assert_code(shk_semaphore_acquire(w->things->semaphore, -1), -ETIMEDOUT);
        assert_code(shk_semaphore_release(w->things->semaphore, 1), 0);
        assert_code(shk_semaphore_acquire(w->things->semaphore, SHK_FOREVER), 0);
    }
    return w->calls > 2;
}

static int hold_the_lock(void *arg)
{
    _Atomic bool *held = arg;
    struct things t;

    prepare(&t);
    *held = true;
    pause();
    return 0;
}

START_TEST(test_an_interrupt_call_may_use_the_library_but_not_wait_in_it)
{
    struct waiter w = {.answer = _i};
    _Atomic bool *held = shared_memory(sizeof(*held));
    struct things t;
    pid_t child;

    if (_i == COND_PTHREAD || _i == ANY || _i == EVENT) { /* the event is set by the call itself */
        return;
    }
    test_segment();
    child = child_start(hold_the_lock, (void *)held);
    wait_until(*held, TEST_DEADLINE);
    open_things(&t);
    w.things = &t;
    assert_code(shk_set_interrupt_call(test_segment(), use_the_library, &w), 0);
    ck_assert_int_eq(wait_in(&t, _i == COND ? READ : COND), -EINTR);
    assert_result(w.nested, -EDEADLK);
    assert_result(w.closing, -EBUSY);
    assert_code(shk_set_interrupt_call(test_segment(), NULL, NULL), 0);
    child_kill(child);
    close_things(&t);
}
END_TEST

START_TEST(test_an_interrupt_call_is_set_in_an_open_segment)
{
    struct shk_segment *other;

    assert_code(shk_set_interrupt_call(NULL, check, NULL), -EINVAL);
    assert_code(shk_segment_open(segment_name("other"), SHK_CREATE, NULL, &other), 0);
    assert_code(shk_set_interrupt_call(other, check, NULL), 0);
    assert_code(shk_set_interrupt_call(other, NULL, NULL), 0);
    assert_code(shk_segment_close(other), 0);
    assert_code(shk_segment_unlink(segment_name("other")), 0);
}
END_TEST

/* ---- What a wait in vain says ---- */

static void assert_said(const char *object, const char *state)
{
    char expected[600];

    snprintf(expected, sizeof(expected), "%s/%s: %s", segment_name(NULL) + 1, object, state);
    ck_assert_str_eq(shk_last_error(), expected);
    ck_assert_str_eq(shk_last_error(), expected); /* it stays */
}

static int hold_by_name(void *arg)
{
    _Atomic bool *held = arg;
    struct things t;

    open_things(&t);
    assert_code(shk_set_member_name(test_segment(), "backup.sh"), 0);
    assert_code(shk_lock_acquire(t.lock, SHK_NOWAIT), 0);
    *held = true;
    pause();
    return 0;
}

START_TEST(test_a_wait_in_vain_says_what_it_waited_for)
{
    _Atomic bool *held = shared_memory(sizeof(*held));
    char item[8], expected[200];
    struct things t;
    pid_t holder;

    open_things(&t);
    holder = child_start(hold_by_name, (void *)held);
    wait_until(*held, TEST_DEADLINE);
    assert_code(shk_lock_acquire(t.lock, SHK_NOWAIT), -EAGAIN);
    snprintf(expected, sizeof(expected), "the lock is held by backup.sh (%d)", holder);
    assert_said("lock", expected);
    assert_code(shk_lock_acquire(t.lock, SHK_MS(1.5)), -ETIMEDOUT);
    snprintf(expected, sizeof(expected),
             "timed out after 1.5 ms; the lock is held by backup.sh (%d)", holder);
    assert_said("lock", expected);
    child_kill(holder);
    assert_code(shk_event_wait(t.event, SHK_NOWAIT), -EAGAIN);
    assert_said("event", "the event is not set");
    assert_code(shk_event_wait(t.event, 999), -ETIMEDOUT);
    assert_said("event", "timed out after 999 ns; the event is not set");
    assert_code(shk_event_wait(t.event, -7), -ETIMEDOUT);
    assert_said("event", "timed out at once, since the timeout is negative; the event is not set");
    assert_code(shk_semaphore_acquire(t.semaphore, SHK_NOWAIT), -EAGAIN);
    assert_said("semaphore", "no permit is free");
    assert_code(shk_barrier_wait(t.barrier, SHK_NOWAIT), -EAGAIN);
    assert_said("barrier", "not all parties have arrived");
    assert_code(shk_queue_get(t.empty, item, sizeof(item), SHK_MS(20)), -ETIMEDOUT);
    assert_said("empty", "timed out after 20 ms; the queue is empty");
    assert_code(shk_queue_put(t.full, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_put(t.full, "a", 1, SHK_NOWAIT), -EAGAIN);
    assert_said("full", "the queue is full");
    assert_code(shk_queue_join(t.full, SHK_NOWAIT), -EAGAIN);
    assert_said("full", "there are unfinished tasks");
    assert_code(shk_reader_read(t.reader, item, 1, SHK_NOWAIT), -EAGAIN);
    assert_said("stream", "there are no new samples");
    assert_code(shk_lock_release(t.lock), -EPERM);
    assert_said("lock", "the calling thread does not hold the lock");
    close_things(&t);
}
END_TEST

/* ---- The close of the segment ---- */

struct closing {
    int way;
    struct things *things;
    _Atomic pid_t tid;
    _Atomic bool held;
    _Atomic int result;
    pthread_barrier_t end;
};

static void *hold_in_thread(void *arg)
{
    struct closing *c = arg;

    assert_code(shk_lock_acquire(c->things->lock, SHK_NOWAIT), 0);
    hold_others(c->things);
    c->held = true;
    pthread_barrier_wait(&c->end);
    release_others(c->things);
    assert_code(shk_lock_release(c->things->lock), 0);
    return NULL;
}

static void *wait_until_closed(void *arg)
{
    struct closing *c = arg;
    struct shk_cond *cond = c->things->cond[c->way == COND_PTHREAD];

    c->tid = (pid_t)syscall(SYS_gettid);
    if (c->way == COND || c->way == COND_PTHREAD) {
        assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
        c->result = shk_cond_wait(cond, SHK_FOREVER);
        assert_code(shk_cond_release(cond), 0);
    } else {
        c->result = wait_in(c->things, c->way);
    }
    return NULL;
}

/* A close that a new open follows at once ends the waits, too. */
START_TEST(test_closing_the_segment_ends_the_waits_of_this_process)
{
    bool again = _i >= WAYS;
    struct closing c = {.way = _i % WAYS};
    struct shk_segment *opened = NULL;
    pthread_t holder, waiter;
    struct things t;

    assert_code(shk_segment_open(segment_name("own"), SHK_CREATE, NULL, &own_segment), 0);
    open_things(&t);
    assert_code(shk_queue_put(t.full, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_put_priority(t.heap, "a", 1, 7, SHK_NOWAIT), 0);
    c.things = &t;
    pthread_barrier_init(&c.end, NULL, 2);
    ck_assert_int_eq(pthread_create(&holder, NULL, hold_in_thread, &c), 0);
    wait_until(c.held, TEST_DEADLINE);
    ck_assert_int_eq(pthread_create(&waiter, NULL, wait_until_closed, &c), 0);
    wait_until(c.tid && waits(c.tid, c.way), TEST_DEADLINE);
    assert_code(shk_segment_close(own_segment), 0);
    if (again)
        assert_code(shk_segment_open(where(), 0, NULL, &opened), 0);
    ck_assert_int_eq(pthread_join(waiter, NULL), 0);
    assert_result(c.result, -EBADF);
    pthread_barrier_wait(&c.end);
    ck_assert_int_eq(pthread_join(holder, NULL), 0);
    close_things(&t);
    if (again)
        assert_code(shk_segment_close(opened), 0);
    assert_code(shk_segment_unlink(where()), 0);
    pthread_barrier_destroy(&c.end);
}
END_TEST

/* ---- How often idle sleepers wake ---- */

enum { IDLE = 24 };

static int wait_plainly(void *arg)
{
    static const volatile sig_atomic_t never;
    struct waiter *w = arg;
    struct things t;

    open_things(&t);
    if (w->has_flag)
        assert_code(shk_set_interrupt(test_segment(), &never), 0);
    w->result = wait_in(&t, w->way);
    close_things(&t);
    return 0;
}

static long wake_ups_of(pid_t pid)
{
    char path[40], line[200];
    long n = 0;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        sscanf(line, "voluntary_ctxt_switches: %ld", &n);
    fclose(file);
    return n;
}

/*
 * Each 100 ms by itself each wakes ten times a second; two of them do, where there are leaders, and
 * the others ever more seldom.
 */
START_TEST(test_idle_sleepers_wake_seldom_and_notice_a_death_all_the_same)
{
    static const int ways[] = {SEMAPHORE, COND, EVENT, GET, LOCK, COND_PTHREAD, READ, ANY};
    struct waiter *waiters = shared_memory(IDLE * sizeof(*waiters));
    int way = ways[_i / 2], got = 0;
    pid_t children[IDLE];
    long before = 0, after = 0;
    struct things t;
    int64_t start;

    open_things(&t);
    if (way == LOCK)
        assert_code(shk_lock_acquire(t.lock, SHK_NOWAIT), 0);
    for (int i = 0; i < IDLE; i++) {
        waiters[i].way = way;
        waiters[i].has_flag = _i % 2 == 1;
        waiters[i].result = 1000;
        children[i] = child_start(wait_plainly, &waiters[i]);
        wait_until(waits(children[i], way), TEST_DEADLINE);
    }
    usleep(1500000);
    for (int i = 0; i < IDLE; i++)
        before += wake_ups_of(children[i]);
    start = time_now();
    usleep(2000000);
    for (int i = 0; i < IDLE; i++)
        after += wake_ups_of(children[i]);
    ck_assert_msg((after - before) * SHK_SEC(1) / (time_now() - start) < IDLE * 10 / 2,
                  "%ld wake-ups in 2 s", after - before);
    if (way == SEMAPHORE) { /* the first is promised the permit, and dies before it takes it */
        child_stop(children[0]);
        end_wait(&t, way);
        start = time_now();
        child_kill(children[0]);
        while (got == 0) {
            for (int i = 1; i < IDLE; i++)
                got += waiters[i].result == 0;
            ck_assert(time_now() - start < TEST_DEADLINE);
            pause_briefly();
        }
        ck_assert_msg(time_now() - start < SHK_SEC(1) * time_factor(), "only after %lld ns",
                      (long long)(time_now() - start));
    }
    for (int i = way == SEMAPHORE; i < IDLE; i++) {
        if (waiters[i].result == 0)
            child_succeeds(children[i]);
        else
            child_kill(children[i]);
    }
    if (way == LOCK)
        assert_code(shk_lock_release(t.lock), 0);
    close_things(&t);
}
END_TEST

/* ---- Permits that no thread has waited for ---- */

static int permits(struct shk_segment *s)
{
    const struct shki_member *m = shki_member_find(s);
    int n = -1;

    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(sem_getvalue(&m->record->park, &n), 0);
    return n;
}

/* A waiter that was awake when it was released leaves a permit; they do not add up. */
START_TEST(test_wake_ups_of_an_awake_waiter_do_not_add_up)
{
    struct shk_segment *s = test_segment();
    struct shk_semaphore *semaphore;
    struct shki_member *m;

    assert_code(shk_semaphore_open(s, "semaphore", SHK_CREATE, &none, &semaphore), 0);
    m = shki_member_find(s);
    for (int i = 0; i < 100; i++)
        shki_permits_post(&m->record->park);
    assert_code_after(SHK_MS(1), shk_semaphore_acquire(semaphore, SHK_MS(1)), -ETIMEDOUT);
    ck_assert_int_eq(permits(s), 0);
    assert_code(shk_semaphore_close(semaphore), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interrupt");
    TCase *calls = test_case(suite, "calls");
    tcase_add_loop_test(calls, test_a_wait_goes_on_if_the_interrupt_call_says_so, 0, WAYS);
    tcase_add_loop_test(calls, test_a_wait_ends_if_the_interrupt_call_says_so, 0, WAYS);
    tcase_add_loop_test(calls, test_the_interrupt_call_is_asked_without_a_signal_too, 0, WAYS);
    tcase_add_test(calls, test_an_interrupt_call_does_not_lose_the_place_in_the_line);
    tcase_add_test(calls, test_an_interrupt_call_is_of_its_thread_alone);
    tcase_add_loop_test(calls, test_an_interrupt_call_may_use_the_library_but_not_wait_in_it, 0,
                        WAYS);
    tcase_add_test(calls, test_an_interrupt_call_is_set_in_an_open_segment);

    TCase *sentences = test_case(suite, "sentences");
    tcase_add_test(sentences, test_a_wait_in_vain_says_what_it_waited_for);

    TCase *closing = test_case(suite, "closing");
    tcase_add_loop_test(closing, test_closing_the_segment_ends_the_waits_of_this_process, 0,
                        2 * WAYS);

    TCase *idle = test_case(suite, "idle");
    tcase_add_loop_test(idle, test_idle_sleepers_wake_seldom_and_notice_a_death_all_the_same, 0,
                        16);

    TCase *permits_ = test_case(suite, "permits");
    tcase_add_test(permits_, test_wake_ups_of_an_awake_waiter_do_not_add_up);
    return run_tests(suite);
}
