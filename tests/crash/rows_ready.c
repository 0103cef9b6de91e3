/* shk_wait_any, killed: in its calls, and in the calls that make it ready. */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* A set is a pair of these: the row's, and the one beside it. */
enum { READY_QUEUE, READY_EVENT, READY_SEMAPHORE, READY_STREAM, KINDS };

/* A row's variant: which of the set becomes ready; and */
enum {
    WHICH = 7,
    DEAD_AHEAD = 8, /* the first watcher has died */
};

#define FOR_A_DESCRIPTOR (SHK_FOREVER - 1)

/* Returns which is ready, or what went wrong; or the descriptor. */
static int64_t wait_for(struct world *w, int64_t which, int64_t timeout)
{
    const struct shk_ready all[KINDS] = {
        [READY_QUEUE] = {SHK_KIND_QUEUE, SHK_READABLE, w->queue},
        [READY_EVENT] = {SHK_KIND_EVENT, SHK_READABLE, w->event},
        [READY_SEMAPHORE] = {SHK_KIND_SEMAPHORE, SHK_READABLE, w->semaphore},
        [READY_STREAM] = {SHK_KIND_STREAM, SHK_READABLE, w->reader},
    };
    int64_t first = which / 2 * 2, r;

    if (timeout == FOR_A_DESCRIPTOR)
        return shk_ready_fd(&all[first], 2);
    r = shk_wait_any(&all[first], 2, timeout);
    return r < 0 ? r : first + r;
}

static int64_t wait_any_of(struct world *w, int64_t which)
{
    return wait_for(w, which, SHK_FOREVER);
}

static int64_t wait_any(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_for(w, w->row->variant & WHICH, SHK_FOREVER);
}

static int64_t wait_any_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_for(w, w->row->variant & WHICH, IN_TIME);
}

static int64_t wait_any_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_for(w, w->row->variant & WHICH, SHK_NOWAIT);
}

static int64_t ready_fd(struct world *w, int64_t unused)
{
    (void)unused;
    return w->descriptor = (int)wait_for(w, w->row->variant & WHICH, FOR_A_DESCRIPTOR);
}

static int64_t close_fd(struct world *w, int64_t unused)
{
    (void)unused;
    return close(w->descriptor);
}

/* What the descriptor says (the row's pair is the first), when it has something to say. */
static int64_t read_fd(struct world *w, int64_t unused)
{
    struct pollfd ready = {.fd = w->descriptor, .events = POLLIN};
    uint32_t index;

    (void)unused;
    if (poll(&ready, 1, -1) != 1 || read(w->descriptor, &index, sizeof(index)) != sizeof(index))
        return -errno;
    return index;
}

/* Make one of the set ready, and not ready again. */
static int64_t make_ready(struct world *w, int64_t which)
{
    int64_t sample = 7;

    switch (which) {
    case READY_QUEUE:
        return shk_queue_put(w->queue, &sample, sizeof(sample), SHK_FOREVER);
    case READY_EVENT:
        return shk_event_set(w->event);
    case READY_SEMAPHORE:
        return shk_semaphore_release(w->semaphore, 1);
    default:
        return shk_stream_append(w->stream, &sample, 1);
    }
}

static int64_t make_ready_mine(struct world *w, int64_t unused)
{
    (void)unused;
    return make_ready(w, w->row->variant & WHICH);
}

static int64_t take(struct world *w, int64_t which)
{
    int64_t sample, r;

    switch (which) {
    case READY_QUEUE:
        return shk_queue_get(w->queue, &sample, sizeof(sample), SHK_NOWAIT);
    case READY_EVENT:
        return shk_event_clear(w->event);
    case READY_SEMAPHORE:
        return shk_semaphore_acquire(w->semaphore, SHK_NOWAIT);
    default:
        r = shk_reader_read(w->reader, &sample, 1, SHK_NOWAIT);
        return r == 1 ? 0 : r;
    }
}

static int64_t create(struct world *w, int64_t unused)
{
    int64_t r = create_segment(w, 0);

    (void)unused;
    if (r == 0)
        r = shk_queue_open(w->segment, QUEUE, SHK_CREATE,
                           &(struct shk_queue_options){.capacity = 4, .item_size = 8}, &w->queue);
    if (r == 0)
        r = shk_event_open(w->segment, EVENT, SHK_CREATE, NULL, &w->event);
    if (r == 0)
        r = shk_semaphore_open(w->segment, SEMAPHORE, SHK_CREATE,
                               &(struct shk_semaphore_options){.value = 0, .max = 9},
                               &w->semaphore);
    if (r == 0)
        r = shk_stream_open(w->segment, STREAM, SHK_CREATE,
                            &(struct shk_stream_options){.sample_size = 8, .history = 8},
                            &w->stream);
    return r == 0 ? shk_reader_open(w->stream, SHK_NEXT, &w->reader) : r;
}

/* ---- Scripts ---- */

static void set_0(struct world *w)
{
    start_host(w, create, 0);
    if (w->row->variant & DEAD_AHEAD) {
        start_sleeper(w, wait_any, 0);
        kill_actor(w, SLEEPER_1);
    }
}

static void set_1(struct world *w)
{
    set_0(w);
    start_sleeper(w, wait_any, 0);
}

static void set_2(struct world *w)
{
    set_1(w);
    start_sleeper(w, wait_any, 0);
}

static void one_is_ready(struct world *w)
{
    EXPECT(w, call(w, HOST, make_ready_mine, 0) == 0, "the host cannot make it ready");
}

static void set_ready(struct world *w)
{
    set_0(w);
    one_is_ready(w);
}

static void one_watches(struct world *w)
{
    start_sleeper(w, wait_any, 0);
}

static void all_come_back(struct world *w)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (is_busy(w, actor)) {
            int64_t r = finish(w, actor);

            EXPECT(w, r == (w->row->variant & WHICH), "wait_any gave %lld", (long long)r);
        }
}

/*
 * The other waiters find out, even when the victim has died as a watcher. Nothing has been taken.
 */
static void check_wait(struct world *w)
{
    if (w->row->setup != set_ready && !w->on_sleep_runs) {
        for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
            EXPECT(w, !is_busy(w, actor) || !finished(w, actor),
                   "nothing was ready, and a wait has ended");
        one_is_ready(w);
    }
    all_come_back(w);
    if (w->acknowledged && w->row->operation == wait_any)
        EXPECT(w, w->result == (w->row->variant & WHICH), "the victim got %lld",
               (long long)w->result);
    EXPECT(w, call(w, HOST, take, w->row->variant & WHICH) >= 0, "what was ready is gone");
}

/* The victim makes something ready; if it has not come to that, the host does. */
static void check_make_ready(struct world *w)
{
    int64_t which = w->row->variant & WHICH, r = call(w, HOST, wait_any_nowait, 0);

    EXPECT(w, r == which || (r == -EAGAIN && !w->acknowledged), "ready is %lld", (long long)r);
    EXPECT(w, r == -EAGAIN || !w->untouched, "it was made ready, but not by the victim");
    if (r == -EAGAIN)
        one_is_ready(w);
    all_come_back(w);
    EXPECT(w, call(w, HOST, take, which) >= 0, "what was ready is gone");
}

/*
 * One waits for any, the other makes one ready, each kind once; and each learns it from a
 * descriptor.
 */
static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int64_t which = 0; which < KINDS; which++)
        call(w, HOST, take, which); /* if it is ready */
    for (int64_t which = 0; which < KINDS; which++) {
        unsigned waiter = which % 2 ? HOST : NEWCOMER, other = which % 2 ? NEWCOMER : HOST;

        start(w, waiter, wait_any_of, which);
        EXPECT(w, falls_asleep(w, waiter), "something is ready");
        EXPECT(w, call(w, other, make_ready, which) == 0, "it cannot be made ready");
        EXPECT(w, finish(w, waiter) == which, "wait_any gave something else");
        EXPECT(w, call(w, waiter, take, which) >= 0, "it cannot be taken");
        if (which == READY_STREAM)
            EXPECT(w, call(w, other, take, which) >= 0, "the other reader cannot read");
    }
}

static void carry_on_with_fd(struct world *w)
{
    carry_on(w);
    EXPECT(w, call(w, HOST, ready_fd, 0) >= 0, "there is no descriptor");
    start(w, HOST, read_fd, 0);
    EXPECT(w, call(w, NEWCOMER, make_ready, READY_EVENT) == 0 && finish(w, HOST) == READY_EVENT,
           "the descriptor says something else");
    EXPECT(w, call(w, HOST, close_fd, 0) == 0, "it cannot be closed");
}

#define WAITS .operation = wait_any, .check = check_wait, .carry_on = carry_on
#define WAKES .operation = make_ready_mine, .check = check_make_ready, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_wait_any", "one is ready", .setup = set_ready, WAITS, .variant = READY_SEMAPHORE},
    {"shk_wait_any", "none is ready, a put comes", .setup = set_0, .on_sleep = one_is_ready, WAITS,
     .variant = READY_QUEUE},
    {"shk_wait_any", "none is ready, one waits ahead, a set comes", .setup = set_1,
     .on_sleep = one_is_ready, WAITS, .variant = READY_EVENT},
    {"shk_wait_any", "none is ready, a dead one ahead, one behind", .setup = set_0,
     .waiters = one_watches, .on_sleep = one_is_ready, WAITS, .variant = READY_STREAM | DEAD_AHEAD},
    {"shk_wait_any", "none is ready, timeout", .setup = set_1, .operation = wait_any_in_time,
     .on_sleep = one_is_ready, .on_sleep_from = NEVER, .check = check_wait, .carry_on = carry_on,
     .variant = READY_QUEUE},
    {"shk_ready_fd", "none is ready, one waits for any", .setup = set_1, .operation = ready_fd,
     .check = check_wait, .carry_on = carry_on_with_fd, .variant = READY_QUEUE},
    {"shk_ready_fd", "its descriptor is closed, one waits for any", .setup = set_1,
     .prepare = ready_fd, .operation = close_fd, .check = check_wait, .carry_on = carry_on_with_fd,
     .variant = READY_EVENT},
    {"shk_queue_put", "empty, one waits for any", .setup = set_1, WAKES, .variant = READY_QUEUE},
    {"shk_event_set", "clear, two wait for any", .setup = set_2, WAKES, .variant = READY_EVENT},
    {"shk_event_set", "clear, a dead one and another wait for any", .setup = set_1, WAKES,
     .variant = READY_EVENT | DEAD_AHEAD},
    {"shk_semaphore_release", "0, one waits for any", .setup = set_1, WAKES,
     .variant = READY_SEMAPHORE},
    {"shk_stream_append", "one waits for any", .setup = set_1, WAKES, .variant = READY_STREAM},
};
/* clang-format on */
const struct rows ready_rows = ROWS(rows);
