/* The queue, killed. */
#include "harness.h"

#include "queue/side.h"

#include <errno.h>

#define CAPACITY 4
#define OLD      1   /* items 1, 2 … were in it at first */
#define VICTIMS  100 /* what the victim puts */
#define SLEEPERS 200 /* what sleeper n puts: 200 + n */
#define HOSTS    300 /* what the host puts, 300, 301 … */

/* A row's variant: how many items there are at first; and */
enum {
    ITEMS = 15,
    CONSUMERS = 16, /* the sleepers are consumers, else producers */
    WRAPPED = 32,   /* the ring has been gone round one and a half times before */
    LONG = 64,      /* the items fill the slots: for the copying */
    BIASED = 128,   /* the host is the bias owner of both sides */
};

/* An item says itself whether it is whole. */
struct item {
    int64_t number, check[11];
};

static size_t item_size(const struct world *w)
{
    return w->row->variant & LONG ? sizeof(struct item) : 3 * sizeof(int64_t);
}

static int64_t put_for(struct world *w, int64_t number, int64_t timeout)
{
    struct item item = {.number = number};

    for (int i = 0; i < 11; i++)
        item.check[i] = ~number * (i + 1);
    return shk_queue_put(w->queue, &item, item_size(w), timeout);
}

/* Its number, or -errno; -EILSEQ: torn. */
static int64_t get_for(struct world *w, int64_t timeout)
{
    struct item item = {0};
    ssize_t n = shk_queue_get(w->queue, &item, sizeof(item), timeout);

    if (n < 0)
        return n;
    for (size_t i = 0; i < item_size(w) / sizeof(int64_t) - 1; i++)
        if (item.check[i] != ~item.number * ((int64_t)i + 1))
            return -EILSEQ;
    return (size_t)n == item_size(w) ? item.number : -EILSEQ;
}

/* Come so often that both locks have a bias_owner. */
static int64_t move_in(struct world *w, int64_t unused)
{
    int64_t r = attach(w, unused);

    for (int i = 0; r == 0 && i < 200; i++) {
        r = put_for(w, 999, SHK_NOWAIT);
        if (r == 0)
            r = get_for(w, SHK_NOWAIT) == 999 ? 0 : -EILSEQ;
    }
    return r;
}

/* … and leave as many items as the row wants. */
static int64_t move_in_with_items(struct world *w, int64_t unused)
{
    int64_t r = move_in(w, unused);

    for (int i = 0; r == 0 && i < (w->row->variant & ITEMS); i++)
        r = put_for(w, OLD + i, SHK_NOWAIT);
    return r;
}

/* The latest wait was short, as of a consumer that has had items soon: it polls for the next. */
static int64_t attach_and_poll(struct world *w, int64_t unused)
{
    int64_t r = attach(w, unused);

    if (r == 0) {
        atomic_store(&w->queue->not_empty_spinner.hit, 1);
        atomic_store(&w->queue->get_adaptive.waits,
                     1); /* not one that leaves it to the slow loop */
    }
    return r;
}

/*
 * Expect the next item two pauses after the call, as a consumer does that has had items that soon.
 * It is set here, since clocks would decide otherwise.
 */
static int64_t expect_soon(struct world *w, int64_t r)
{
    if (r == 0) {
        atomic_store(&w->queue->poll.sixteenths, 32);
        atomic_store(&w->queue->get_adaptive.waits, 1);
    }
    return r;
}

static int64_t attach_and_expect(struct world *w, int64_t unused)
{
    return expect_soon(w, attach(w, unused));
}

static int64_t move_in_and_expect(struct world *w, int64_t unused)
{
    return expect_soon(w, move_in_with_items(w, unused));
}

static int64_t create(struct world *w, int64_t variant)
{
    struct shk_queue_options options = {.capacity = CAPACITY, .item_size = item_size(w)};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_queue_open(w->segment, QUEUE, SHK_CREATE, &options, &w->queue);
    for (int i = 0; r == 0 && variant & WRAPPED && i < CAPACITY + CAPACITY / 2; i++) {
        r = put_for(w, 999, SHK_NOWAIT);
        if (r == 0)
            r = get_for(w, SHK_NOWAIT) == 999 ? 0 : -EILSEQ;
    }
    if (r == 0 && variant & BIASED)
        r = move_in(w, 0);
    for (int i = 0; r == 0 && i < (variant & ITEMS); i++)
        r = put_for(w, OLD + i, SHK_NOWAIT);
    return r;
}

/* ---- Acts ---- */

static int64_t put(struct world *w, int64_t number)
{
    return put_for(w, number ? number : VICTIMS, SHK_FOREVER);
}

static int64_t put_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return put_for(w, VICTIMS, SHK_NOWAIT);
}

static int64_t put_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return put_for(w, VICTIMS, IN_TIME);
}

static int64_t get(struct world *w, int64_t unused)
{
    (void)unused;
    return get_for(w, SHK_FOREVER);
}

static int64_t get_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return get_for(w, SHK_NOWAIT);
}

static int64_t get_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return get_for(w, IN_TIME);
}

/* What an actor has taken out in one call, for the worker. */
struct taken {
    unsigned n;
    int64_t number[32];
};

/* All there is; what ended it. */
static int64_t take_all(struct world *w, int64_t unused)
{
    struct taken *taken = (struct taken *)w->board->scratch;
    int64_t r = -E2BIG;

    (void)unused;
    for (taken->n = 0; taken->n < 32 && (r = get_for(w, SHK_NOWAIT)) >= 0; taken->n++)
        taken->number[taken->n] = r;
    return r;
}

static int64_t size(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_size(w->queue);
}

static int64_t shutdown(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_shutdown(w->queue);
}

/* ---- Scripts ---- */

static void one_sleeps(struct world *w)
{
    if (w->row->variant & CONSUMERS)
        start_sleeper(w, get, 0);
    else
        start_sleeper(w, put, SLEEPERS + w->last_sleeper + 1);
}

static void set_0(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void set_empty(struct world *w)
{
    start_host(w, create, w->row->variant & ~ITEMS);
}

static void set_1(struct world *w)
{
    set_0(w);
    one_sleeps(w);
}

static void set_2(struct world *w)
{
    set_1(w);
    one_sleeps(w);
}

static void set_dead_and_1(struct world *w)
{
    set_1(w);
    kill_actor(w, SLEEPER_1);
    one_sleeps(w);
}

/* As many as there are members asleep: which of them goes on first does not matter. */
static void host_puts(struct world *w)
{
    for (unsigned actor = SLEEPER_1 - 1; actor <= w->last_sleeper; actor++)
        EXPECT(w, call(w, HOST, put, HOSTS) == 0, "the host cannot put");
}

static void host_gets(struct world *w)
{
    for (unsigned actor = SLEEPER_1 - 1, old = OLD; actor <= w->last_sleeper; actor++, old++) {
        int64_t r = call(w, HOST, get, 0);

        EXPECT(w, r == old, "the host got %lld", (long long)r);
    }
}

static void host_shuts_down(struct world *w)
{
    EXPECT(w, call(w, HOST, shutdown, 0) == 0, "the host cannot shut down");
}

/* What became of the items. */
struct account {
    unsigned old, hosts, victims, sleepers, others;
};

static void enter_item(struct world *w, struct account *a, int64_t number)
{
    unsigned *count = number > HOSTS      ? &a->others
                      : number == HOSTS   ? &a->hosts
                      : number > SLEEPERS ? &a->sleepers
                      : number == VICTIMS ? &a->victims
                                          : &a->old;

    EXPECT(w, number >= OLD, "a get gave %lld", (long long)number);
    ++*count;
}

static unsigned busy_sleepers(const struct world *w)
{
    unsigned n = 0;

    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        n += is_busy(w, actor);
    return n;
}

/* Sleeping consumers: as many wake as there are items, and the rest with the host's help. */
static void consumers_come_back(struct world *w, struct account *a, int64_t items)
{
    for (unsigned n = busy_sleepers(w); n > 0; n--) {
        if (items-- <= 0)
            EXPECT(w, call(w, HOST, put, HOSTS + n) == 0, "the host cannot put");
        enter_item(w, a, finish_any_sleeper(w));
    }
}

/* Sleeping producers: likewise for as much room as there is. */
static void producers_come_back(struct world *w, struct account *a, int64_t room)
{
    for (unsigned n = busy_sleepers(w); n > 0; n--) {
        if (room-- <= 0)
            enter_item(w, a, call(w, HOST, get, 0));
        EXPECT(w, finish_any_sleeper(w) == 0, "a put failed");
    }
}

static void drain(struct world *w, struct account *a, unsigned actor)
{
    const struct taken *taken = (struct taken *)w->board->scratch;
    int64_t ended = call(w, actor, take_all, 0), last_old = 0;

    EXPECT(w, ended == -EAGAIN || ended == -EPIPE, "a get at once gave %lld", (long long)ended);
    for (unsigned i = 0; i < taken->n; i++) {
        if (taken->number[i] < VICTIMS) {
            EXPECT(w, taken->number[i] > last_old, "item %lld after %lld",
                   (long long)taken->number[i], (long long)last_old);
            last_old = taken->number[i];
        }
        enter_item(w, a, taken->number[i]);
    }
}

/*
 * Each item has come once; only the victim's, if it was not acknowledged, may have come in or gone
 * out or not.
 */
static void check(struct world *w)
{
    bool puts = w->row->operation == put || w->row->operation == put_nowait ||
                w->row->operation == put_in_time;
    unsigned unsure = !w->acknowledged && !w->untouched && !w->asleep,
             done = w->acknowledged && w->result >= 0;
    unsigned asleep = busy_sleepers(w),
             by_host = w->on_sleep_runs * (1 + w->last_sleeper - (SLEEPER_1 - 1));
    unsigned items = w->row->variant & ITEMS, least, most;
    struct account a = {0};
    int64_t n = call(w, HOST, size, 0);

    EXPECT(w, n >= 0 && n <= CAPACITY, "the size is %lld", (long long)n);
    if (w->row->variant & CONSUMERS)
        consumers_come_back(w, &a, n);
    else
        producers_come_back(w, &a, CAPACITY - n);
    drain(w, &a, HOST);
    if (!(w->row->variant & CONSUMERS))
        EXPECT(w, a.sleepers == asleep, "%u of %u items of sleepers have come", a.sleepers, asleep);
    if (puts) {
        items -= by_host;
        EXPECT(w, a.old == items, "%u of %u old items have come", a.old, items);
        EXPECT(w, a.victims >= done && a.victims <= done + unsure,
               "the victim's item has come %u times", a.victims);
        return;
    }
    most = items + by_host - done;
    least = most - (unsure && most > 0);
    EXPECT(w, a.old + a.hosts >= least && a.old + a.hosts <= most,
           "%u items have come, not %u to %u", a.old + a.hosts, least, most);
}

static void check_shutdown(struct world *w)
{
    unsigned items = w->row->variant & ITEMS;
    struct account a = {0};
    int64_t r;

    /* Where it is full, "over" comes before "full". */
    r = call(w, HOST, put_nowait, 0);
    EXPECT(w, r == 0 || r == -EAGAIN || r == -EPIPE, "a put at once gave %lld", (long long)r);
    EXPECT(w, r == -EPIPE || !w->acknowledged, "it is not shut down: %lld", (long long)r);
    EXPECT(w, r != -EPIPE || !w->untouched, "it was shut down, but not by the victim");
    if (r != -EPIPE)
        host_shuts_down(w);
    items += r == 0;
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        int64_t got = finish(w, actor);

        if (w->row->variant & CONSUMERS && got >= 0)
            enter_item(w, &a, got);
        else
            EXPECT(w, got == -EPIPE, "a sleeper got %lld", (long long)got);
    }
    drain(w, &a, HOST);
    EXPECT(w, a.old + a.victims == items, "%u of %u items have come", a.old + a.victims, items);
}

static void carry_on(struct world *w)
{
    struct account a = {0};

    start_attached(w, NEWCOMER);
    drain(w, &a, NEWCOMER);
    for (int i = 0; i < CAPACITY + 1; i++) {
        unsigned giver = i % 2 ? HOST : NEWCOMER, taker = i % 2 ? NEWCOMER : HOST;
        int64_t r = call(w, giver, put, HOSTS + 50 + i);

        EXPECT(w, r == 0, "put gave %lld", (long long)r);
        r = call(w, taker, get, 0);
        EXPECT(w, r == HOSTS + 50 + i, "get gave %lld", (long long)r);
    }
}

static void carry_on_shut_down(struct world *w)
{
    struct account a = {0};

    start_attached(w, NEWCOMER);
    drain(w, &a, NEWCOMER);
    EXPECT(w, call(w, NEWCOMER, get, 0) == -EPIPE && call(w, HOST, get, 0) == -EPIPE,
           "a get does not say that it is over");
    EXPECT(w, call(w, NEWCOMER, put, 0) == -EPIPE && call(w, HOST, put, 0) == -EPIPE,
           "a put does not say that it is over");
}

#define CHECKS .check = check, .carry_on = carry_on
#define SHUTS  .operation = shutdown, .check = check_shutdown, .carry_on = carry_on_shut_down

/* clang-format off */
static const struct row rows[] = {
    {"shk_queue_put", "empty, no sleeper", .setup = set_0, .operation = put, CHECKS},
    {"shk_queue_put", "empty, a consumer asleep", .setup = set_1, .operation = put, CHECKS,
     .variant = CONSUMERS},
    {"shk_queue_put", "empty, two consumers asleep", .setup = set_2, .operation = put, CHECKS,
     .variant = CONSUMERS},
    {"shk_queue_put", "empty, a dead and a living consumer asleep", .setup = set_dead_and_1,
     .operation = put, CHECKS, .variant = CONSUMERS},
    {"shk_queue_put", "half full", .setup = set_0, .operation = put, CHECKS, .variant = 2},
    {"shk_queue_put", "half full, long items, the ring wraps", .setup = set_0, .operation = put,
     CHECKS, .variant = 2 | LONG | WRAPPED},
    {"shk_queue_put", "full, a get comes", .setup = set_0, .operation = put, .on_sleep = host_gets,
     CHECKS, .variant = CAPACITY},
    {"shk_queue_put", "full, a get comes after a recheck", .setup = set_0, .operation = put,
     .on_sleep = host_gets, .on_sleep_from = 2, .recheck = SHORT_RECHECK, CHECKS,
     .variant = CAPACITY},
    {"shk_queue_put", "full, another producer asleep, gets come", .setup = set_1, .operation = put,
     .on_sleep = host_gets, CHECKS, .variant = CAPACITY},
    {"shk_queue_put", "full, timeout", .setup = set_0, .operation = put_in_time,
     .on_sleep = host_gets, .on_sleep_from = NEVER, CHECKS, .variant = CAPACITY},
    {"shk_queue_put", "full, SHK_NOWAIT", .setup = set_0, .operation = put_nowait, CHECKS,
     .variant = CAPACITY},
    {"shk_queue_put", "as the bias owner", .setup = set_0, .prepare = move_in, .operation = put,
     CHECKS},
    {"shk_queue_put", "as the bias owner, a consumer asleep", .setup = set_0, .prepare = move_in,
     .waiters = one_sleeps, .operation = put, CHECKS, .variant = CONSUMERS},
    {"shk_queue_put", "as the bias owner, a consumer asleep, perhaps one awake", .setup = set_0,
     .prepare = move_in, .waiters = one_sleeps, .operation = put, CHECKS, .variant = CONSUMERS,
     .spins_first = true},
    {"shk_queue_put", "another is the bias owner", .setup = set_0, .operation = put, CHECKS,
     .variant = BIASED},
    {"shk_queue_get", "as the bias owner", .setup = set_empty, .prepare = move_in_with_items,
     .operation = get, CHECKS, .variant = 2},
    {"shk_queue_get", "another is the bias owner", .setup = set_0, .operation = get, CHECKS,
     .variant = 2 | BIASED},
    {"shk_queue_get", "as the bias owner, expected soon", .setup = set_empty,
     .prepare = move_in_and_expect, .operation = get, CHECKS, .variant = 2},
    {"shk_queue_get", "another is the bias owner, expected soon", .setup = set_0,
     .prepare = attach_and_expect, .operation = get, CHECKS, .variant = 2 | BIASED},
    {"shk_queue_get", "empty, expected in vain, a put comes", .setup = set_0,
     .prepare = attach_and_expect, .operation = get, .on_sleep = host_puts, CHECKS},
    {"shk_queue_get", "empty, polled in vain, a put comes", .setup = set_0,
     .prepare = attach_and_poll, .operation = get, .on_sleep = host_puts, CHECKS},
    {"shk_queue_shutdown", "another is the bias owner", .setup = set_0, SHUTS,
     .variant = 2 | BIASED},
    {"shk_queue_get", "one item", .setup = set_0, .operation = get, CHECKS, .variant = 1},
    {"shk_queue_get", "half full", .setup = set_0, .operation = get, CHECKS, .variant = 2},
    {"shk_queue_get", "half full, long items, the ring wraps", .setup = set_0, .operation = get,
     CHECKS, .variant = 2 | LONG | WRAPPED},
    {"shk_queue_get", "full, no sleeper", .setup = set_0, .operation = get, CHECKS,
     .variant = CAPACITY},
    {"shk_queue_get", "full, a producer asleep", .setup = set_1, .operation = get, CHECKS,
     .variant = CAPACITY},
    {"shk_queue_get", "full, two producers asleep", .setup = set_2, .operation = get, CHECKS,
     .variant = CAPACITY},
    {"shk_queue_get", "full, a dead and a living producer asleep", .setup = set_dead_and_1,
     .operation = get, CHECKS, .variant = CAPACITY},
    {"shk_queue_get", "empty, a put comes", .setup = set_0, .operation = get, .on_sleep = host_puts,
     CHECKS},
    {"shk_queue_get", "empty, a put comes after a recheck", .setup = set_0, .operation = get,
     .on_sleep = host_puts, .on_sleep_from = 2, .recheck = SHORT_RECHECK, CHECKS},
    {"shk_queue_get", "empty, another consumer asleep, puts come", .setup = set_1, .operation = get,
     .on_sleep = host_puts, CHECKS, .variant = CONSUMERS},
    {"shk_queue_get", "empty, timeout", .setup = set_0, .operation = get_in_time,
     .on_sleep = host_puts, .on_sleep_from = NEVER, CHECKS},
    {"shk_queue_get", "empty, SHK_NOWAIT", .setup = set_0, .operation = get_nowait, CHECKS},
    {"shk_queue_get", "empty, a shutdown comes", .setup = set_0, .operation = get,
     .on_sleep = host_shuts_down, .check = check_shutdown, .carry_on = carry_on_shut_down},
    {"shk_queue_put", "full, a shutdown comes", .setup = set_0, .operation = put,
     .on_sleep = host_shuts_down, .check = check_shutdown, .carry_on = carry_on_shut_down,
     .variant = CAPACITY},
    {"shk_queue_shutdown", "empty, no sleeper", .setup = set_0, SHUTS},
    {"shk_queue_shutdown", "empty, a consumer asleep", .setup = set_1, SHUTS, .variant = CONSUMERS},
    {"shk_queue_shutdown", "empty, two consumers asleep", .setup = set_2, SHUTS,
     .variant = CONSUMERS},
    {"shk_queue_shutdown", "half full, no sleeper", .setup = set_0, SHUTS, .variant = 2},
    {"shk_queue_shutdown", "full, a producer asleep", .setup = set_1, SHUTS, .variant = CAPACITY},
    {"shk_queue_shutdown", "full, two producers asleep", .setup = set_2, SHUTS,
     .variant = CAPACITY},
};
/* clang-format on */
const struct rows queue_rows = ROWS(rows);
