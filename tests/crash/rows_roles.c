/*
 * Producers and consumers by role, of a queue and of a stream, killed: the others learn of the end,
 * and what was put is there.
 */
#include "harness.h"

#include <errno.h>

#define CAPACITY 4
#define VICTIMS  100 /* what the victim gives, 100, 101 … */
#define HOSTS    300

/* A row's variant: how many items the victim gives before its operation; and */
enum {
    ITEMS = 7,
    OF_STREAM = 8, /* else of a queue */
    GROWS = 16,    /* without a capacity */
};

static bool of_stream(const struct world *w)
{
    return w->row->variant & OF_STREAM;
}

static int64_t give(struct world *w, int64_t number)
{
    if (of_stream(w))
        return shk_stream_append(w->stream, &number, 1);
    return shk_queue_put(w->queue, &number, sizeof(number), SHK_FOREVER);
}

/* The number, or -errno. */
static int64_t take_within(struct world *w, int64_t timeout)
{
    int64_t number, r;

    if (of_stream(w))
        r = shk_reader_read(w->reader, &number, 1, timeout);
    else
        r = shk_queue_get(w->queue, &number, sizeof(number), timeout);
    return r < 0 ? r : number;
}

static int64_t take(struct world *w, int64_t unused)
{
    (void)unused;
    return take_within(w, SHK_FOREVER);
}

static int64_t take_now(struct world *w, int64_t unused)
{
    (void)unused;
    return take_within(w, SHK_NOWAIT);
}

static int64_t take_soon(struct world *w, int64_t unused)
{
    (void)unused;
    return take_within(w, SHK_MS(300));
}

/* ---- Roles ---- */

static int64_t close_handle(struct world *w, int64_t unused)
{
    struct shk_queue *queue = w->queue;
    struct shk_reader *reader = w->reader;
    struct shk_stream *stream = w->stream;
    int64_t r;

    (void)unused;
    w->queue = NULL;
    w->reader = NULL;
    w->stream = NULL;
    r = shk_queue_close(queue);
    r = r ? r : shk_reader_close(reader);
    return r ? r : shk_stream_close(stream);
}

static int64_t open_with(struct world *w, unsigned flags)
{
    if (of_stream(w))
        return shk_stream_open(w->segment, STREAM, flags, NULL, &w->stream);
    return shk_queue_open(w->segment, QUEUE, flags, NULL, &w->queue);
}

static int64_t open_producer(struct world *w, int64_t unused)
{
    (void)unused;
    return open_with(w, SHK_AS(SHK_PRODUCER));
}

static int64_t attach_without(struct world *w, int64_t unused)
{
    int64_t r = attach(w, unused);

    return r < 0 ? r : close_handle(w, 0);
}

static int64_t become(struct world *w, unsigned flags)
{
    int64_t r = attach_without(w, 0);

    return r < 0 ? r : open_with(w, flags);
}

static int64_t become_producer(struct world *w, int64_t unused)
{
    int64_t r = become(w, SHK_AS(SHK_PRODUCER));

    (void)unused;
    for (int i = 0; r == 0 && i < (w->row->variant & ITEMS); i++)
        r = give(w, VICTIMS + i);
    return r;
}

static int64_t become_consumer(struct world *w, int64_t unused)
{
    (void)unused;
    return become(w, SHK_AS(SHK_CONSUMER));
}

/* Until it is killed. */
static int64_t produce_and_wait(struct world *w, int64_t unused)
{
    int64_t r = become(w, SHK_AS(SHK_PRODUCER));

    (void)unused;
    return r < 0 ? r : shk_event_wait(w->event, SHK_FOREVER);
}

static int64_t fill_and_mind(struct world *w, int64_t unused)
{
    int64_t r = become(w, SHK_AS(SHK_PRODUCER) | SHK_EPIPE);

    (void)unused;
    for (int i = 0; r == 0 && i < CAPACITY + 1; i++)
        r = give(w, HOSTS + i);
    return r;
}

/* ---- What the victim does ---- */

static int64_t give_next(struct world *w, int64_t unused)
{
    (void)unused;
    return give(w, VICTIMS + (w->row->variant & ITEMS));
}

static int64_t leave(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_close(w->segment);
}

/* ---- Members that come and go ---- */

static int64_t open_watch(struct world *w, int64_t want)
{
    return shk_member_watch_open(w->segment, NULL, 0, (uint32_t)want, &w->members);
}

static int64_t close_watch(struct world *w, int64_t unused)
{
    int64_t r = shk_member_watch_close(w->members);

    (void)unused;
    w->members = NULL;
    return r;
}

static int64_t watch_deaths(struct world *w, int64_t unused)
{
    int64_t r = attach(w, unused);

    return r < 0 ? r : open_watch(w, SHK_DIED);
}

/* What has become of the member with that pid. That others have died, too, may be found late. */
static int64_t learn_of(struct world *w, int64_t pid)
{
    struct shk_member_event event;
    int64_t r;

    do
        r = shk_member_watch_read(w->members, &event, SHK_FOREVER);
    while (r >= 0 && event.pid != pid);
    return r;
}

/*
 * The dead store nothing, so that the victim learns of the death at the end of a recheck interval,
 * which is short in the row: else each run would take as long as its wait.
 */
static int64_t read_watch(struct world *w, int64_t unused)
{
    struct shk_member_event event;

    (void)unused;
    return shk_member_watch_read(w->members, &event, SHK_SEC(2));
}

/* ---- Scripts ---- */

static int64_t create(struct world *w, int64_t unused)
{
    const struct shk_queue_options options = {.capacity = w->row->variant & GROWS ? 0 : CAPACITY,
                                              .item_size = sizeof(int64_t)};
    const struct shk_stream_options samples = {.sample_size = sizeof(int64_t), .history = 8};
    const struct shk_segment_options large = {
        .size = 64 << 20, .max_members = 16, .max_objects = 16};
    int64_t r = w->row->variant & GROWS
                    ? shk_segment_open(w->name, SHK_CREATE | SHK_EXCL, &large, &w->segment)
                    : create_segment(w, 0);

    (void)unused;
    if (r == 0)
        r = shk_event_open(w->segment, EVENT, SHK_CREATE, NULL, &w->event);
    if (r == 0 && !of_stream(w))
        return shk_queue_open(w->segment, QUEUE, SHK_CREATE, &options, &w->queue);
    if (r == 0)
        r = shk_stream_open(w->segment, STREAM, SHK_CREATE, &samples, &w->stream);
    return r == 0 ? shk_reader_open(w->stream, SHK_NEXT, &w->reader) : r;
}

static void set_0(struct world *w)
{
    start_host(w, create, 0);
}

static void one_takes(struct world *w)
{
    start_sleeper(w, take, 0);
}

static void set_1(struct world *w)
{
    set_0(w);
    one_takes(w);
}

static void one_is_full(struct world *w)
{
    start_sleeper(w, fill_and_mind, 0);
}

static void set_producer(struct world *w)
{
    set_0(w);
    start_sleeper(w, produce_and_wait, 0);
}

static void producer_dies(struct world *w)
{
    kill_actor(w, SLEEPER_1);
}

static void set_ended(struct world *w)
{
    int64_t r;

    set_producer(w);
    producer_dies(w);
    r = call(w, HOST, take, 0);
    EXPECT(w, r == -EOWNERDEAD, "the host got %lld", (long long)r);
}

static bool is_end(int64_t r)
{
    return r == -EPIPE || r == -EOWNERDEAD;
}

/* What an actor takes until the end: how many of the victim's, in order. */
static int64_t drain(struct world *w, unsigned actor, int64_t victims, int64_t first)
{
    int64_t r, last = victims;

    for (r = first; r >= VICTIMS && r < HOSTS; r = call(w, actor, take, 0)) {
        EXPECT(w, r == VICTIMS + last, "%lld came, not %lld", (long long)r,
               (long long)(VICTIMS + last));
        last++;
    }
    EXPECT(w, is_end(r), "a consumer got %lld", (long long)r);
    return last;
}

/* The victim has died in it, or after it: each consumer is told once. */
static void check_end(struct world *w)
{
    bool closes = w->row->operation == close_handle || w->row->operation == leave;
    int64_t before = w->row->variant & ITEMS, n = before, r;
    bool unsure = w->row->operation == give_next && !w->acknowledged && !w->untouched,
         done = w->row->operation == give_next && w->acknowledged;

    /* A stream's samples come to each of its readers, a queue's items to one. */
    if (w->last_sleeper >= SLEEPER_1 && w->actors[SLEEPER_1].pid) {
        r = finish(w, SLEEPER_1);
        if (r >= 0)
            EXPECT(w, r == VICTIMS, "a consumer got %lld", (long long)r);
        else
            EXPECT(w, is_end(r), "a consumer got %lld", (long long)r);
        if (r < 0 && w->acknowledged)
            EXPECT(w, (r == -EPIPE) == closes, "it was told %lld", (long long)r);
        n = r >= 0 && !of_stream(w) ? drain(w, HOST, 1, call(w, HOST, take, 0))
                                    : drain(w, HOST, 0, call(w, HOST, take, 0));
    } else {
        n = drain(w, HOST, 0, call(w, HOST, take, 0));
    }
    EXPECT(w, n >= before + done && n <= before + done + unsure, "%lld items have come",
           (long long)n);
    r = call(w, HOST, take, 0);
    EXPECT(w, r == -EPIPE, "after the end the host got %lld", (long long)r);
}

/* If it has become a producer, it is a dead one; else all is as it was. */
static void check_open(struct world *w)
{
    int64_t r;

    if (w->acknowledged) {
        r = w->last_sleeper >= SLEEPER_1 && w->row->setup == set_1 ? finish(w, SLEEPER_1)
                                                                   : call(w, HOST, take, 0);
        EXPECT(w, r == -EOWNERDEAD, "a consumer got %lld", (long long)r);
        return;
    }
    if (w->row->setup != set_1) {
        r = call(w, HOST, take, 0);
        EXPECT(w, is_end(r), "the host got %lld", (long long)r);
        return;
    }
    EXPECT(w, call(w, HOST, give, HOSTS) == 0, "the host cannot give");
    r = finish(w, SLEEPER_1);
    EXPECT(w, r == HOSTS || (r == -EOWNERDEAD && !w->untouched), "a consumer got %lld",
           (long long)r);
    if (r != HOSTS || of_stream(w))
        EXPECT(w, call(w, HOST, take, 0) == HOSTS, "what the host has given is lost");
}

/* The producer that is asleep, since it is full, learns that the last consumer has gone. */
static void check_no_consumer(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == -EPIPE, "the producer got %lld", (long long)r);
    for (int i = 0; i < CAPACITY; i++)
        EXPECT(w, call(w, HOST, take, 0) == HOSTS + i, "an item is lost");
    kill_actor(w, SLEEPER_1);
}

/* The end was found, by the victim or not: each is told. */
static void check_find(struct world *w)
{
    int64_t r = call(w, HOST, take, 0);

    EXPECT(w, !w->acknowledged || w->result == -EOWNERDEAD, "the victim was told %lld",
           (long long)w->result);
    EXPECT(w, r == -EOWNERDEAD, "the host was told %lld", (long long)r);
    r = call(w, HOST, take, 0);
    EXPECT(w, r == -EPIPE, "then the host was told %lld", (long long)r);
}

static void sleeper_dies(struct world *w)
{
    kill_actor(w, SLEEPER_1);
}

/* The host watches, too, and learns that one joins, and that it dies. */
static void check_watch(struct world *w)
{
    pid_t newcomer;

    EXPECT(w, call(w, HOST, open_watch, SHK_JOINED | SHK_DIED) == 0, "the host cannot watch");
    start_attached(w, NEWCOMER);
    newcomer = w->actors[NEWCOMER].pid;
    EXPECT(w, call(w, HOST, learn_of, newcomer) == SHK_JOINED, "the host did not see it join");
    start(w, HOST, learn_of, newcomer);
    EXPECT(w, falls_asleep(w, HOST), "the newcomer has died already");
    kill_actor(w, NEWCOMER);
    EXPECT(w, finish(w, HOST) == SHK_DIED, "the host did not see the death");
    EXPECT(w, call(w, HOST, close_watch, 0) == 0, "the host cannot close its watch");
    EXPECT(w, !w->acknowledged || w->result == (w->on_sleep_runs ? SHK_DIED : -ETIMEDOUT),
           "the victim got %lld", (long long)w->result);
}

/* The sleeper has not died if the victim never slept. */
static void carry_on_watched(struct world *w)
{
    int64_t r;

    if (w->stopped > 0)
        return;
    EXPECT(w, call(w, HOST, give, HOSTS) == 0, "the host cannot give");
    r = w->actors[SLEEPER_1].pid ? finish(w, SLEEPER_1) : call(w, HOST, take, 0);
    EXPECT(w, r == HOSTS, "a consumer got %lld", (long long)r);
}

/* A newcomer begins the line anew, or goes on with it, and ends it. */
static void carry_on(struct world *w)
{
    int64_t r = 0;

    start_attached(w, NEWCOMER);
    EXPECT(w, call(w, NEWCOMER, become_producer, 0) == 0, "the newcomer is no producer");
    /* What is left from before, and perhaps the end of a line. A stopped consumer may keep it. */
    for (int i = 0; i < 16 && r != -EAGAIN && r != -EBUSY; i++)
        r = call(w, HOST, take_now, 0);
    EXPECT(w, r == -EAGAIN || w->stopped > 0, "the host got %lld at last", (long long)r);
    EXPECT(w, call(w, NEWCOMER, give, HOSTS + 50) == 0, "the newcomer cannot give");
    r = call(w, HOST, take, 0);
    EXPECT(w, r == HOSTS + 50, "the host got %lld", (long long)r);
    EXPECT(w, call(w, NEWCOMER, close_handle, 0) == 0, "the newcomer cannot close");
    r = call(w, HOST, take_soon, 0);
    EXPECT(w, is_end(r) || w->stopped > 0, "after the end the host got %lld", (long long)r);
}

#define ENDS .check = check_end, .carry_on = carry_on
#define OPENS \
    .prepare = attach_without, .operation = open_producer, .check = check_open, .carry_on = carry_on
#define FINDS                                                                                \
    .setup = set_producer, .waiters = producer_dies, .operation = take, .check = check_find, \
    .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_queue_open", "as a producer, a consumer asleep", .setup = set_1, OPENS},
    {"shk_queue_open", "as a producer, the last one has died", .setup = set_ended, OPENS},
    {"shk_queue_put", "the last producer, a consumer asleep", .setup = set_1,
     .prepare = become_producer, .operation = give_next, ENDS},
    {"shk_queue_put", "the last producer, three items", .setup = set_0,
     .prepare = become_producer, .operation = give_next, ENDS, .variant = 3},
    {"shk_queue_put", "the last producer, capacity 0, three items", .setup = set_0,
     .prepare = become_producer, .operation = give_next, ENDS, .variant = 3 | GROWS},
    {"shk_queue_close", "the last producer, a consumer asleep", .setup = set_1,
     .prepare = become_producer, .operation = close_handle, ENDS},
    {"shk_queue_close", "the last producer, three items", .setup = set_0,
     .prepare = become_producer, .operation = close_handle, ENDS, .variant = 3},
    {"shk_segment_close", "the last producer, a consumer asleep", .setup = set_1,
     .prepare = become_producer, .operation = leave, ENDS},
    {"shk_queue_close", "the last consumer, a producer asleep", .setup = set_0,
     .prepare = become_consumer, .waiters = one_is_full, .operation = close_handle,
     .check = check_no_consumer, .carry_on = carry_on},
    {"shk_queue_get", "the last producer has died", FINDS},
    {"shk_member_watch_read", "a member dies", .setup = set_1, .prepare = watch_deaths,
     .operation = read_watch, .on_sleep = sleeper_dies, .check = check_watch,
     .carry_on = carry_on_watched},
    {"shk_stream_open", "as a writer, a reader asleep", .setup = set_1, OPENS,
     .variant = OF_STREAM},
    {"shk_stream_append", "the last writer, a reader asleep", .setup = set_1,
     .prepare = become_producer, .operation = give_next, ENDS, .variant = OF_STREAM},
    {"shk_stream_append", "the last writer, three samples", .setup = set_0,
     .prepare = become_producer, .operation = give_next, ENDS, .variant = 3 | OF_STREAM},
    {"shk_stream_close", "the last writer, a reader asleep", .setup = set_1,
     .prepare = become_producer, .operation = close_handle, ENDS, .variant = OF_STREAM},
    {"shk_reader_read", "the last writer has died", FINDS, .variant = OF_STREAM},
};
/* clang-format on */
const struct rows roles_rows = ROWS(rows);
