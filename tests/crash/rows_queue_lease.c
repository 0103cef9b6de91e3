/* Leased items, killed: an item is in the queue, is leased by the living, or is done. */
#include "harness.h"

#include "queue/lease_records.h"
#include "queue/order.h"

#include <errno.h>
#include <string.h>

#define CAPACITY 4
#define SLEEPERS 200 /* what a sleeper puts */
#define HOSTS    300 /* what the others put */
#define MOST     16

/* A row's variant: how many items there are at first; and */
enum {
    ITEMS = 15,
    LIFO = 16,
    PRIORITY = 32,
    GROWS = 64,   /* capacity 0 */
    WARM = 128,   /* there has been a lease before */
    BACK = 256,   /* the first item has come back */
    DELAYED = 512 /* … and is due in a moment */
};

static uint64_t ticket; /* of the actor's last lease */

static uint32_t order_of(const struct row *row)
{
    return row->variant & LIFO ? SHK_LIFO : row->variant & PRIORITY ? SHK_PRIORITY : SHK_FIFO;
}

/* ---- Acts ---- */

static int64_t put_in(struct world *w, int64_t number, int64_t timeout)
{
    int64_t item[3] = {number, ~number, number * 7};

    if (order_of(w->row) == SHK_PRIORITY)
        return shk_queue_put_priority(w->queue, item, sizeof(item), number, timeout);
    return shk_queue_put(w->queue, item, sizeof(item), timeout);
}

/* -EILSEQ: torn */
static int64_t number_of(const int64_t item[3], ssize_t length)
{
    if (length < 0)
        return length;
    return length == 3 * sizeof(*item) && item[1] == ~item[0] && item[2] == item[0] * 7 ? item[0]
                                                                                        : -EILSEQ;
}

static int64_t get_in(struct world *w, int64_t timeout)
{
    int64_t item[3] = {0};

    return number_of(item, shk_queue_get(w->queue, item, sizeof(item), timeout));
}

static int64_t lease_in(struct world *w, int64_t timeout)
{
    int64_t item[3] = {0};

    return number_of(item, shk_queue_lease(w->queue, item, sizeof(item), timeout, &ticket));
}

static int64_t put(struct world *w, int64_t number)
{
    return put_in(w, number, SHK_FOREVER);
}

static int64_t put_nowait(struct world *w, int64_t number)
{
    return put_in(w, number, SHK_NOWAIT);
}

static int64_t get(struct world *w, int64_t unused)
{
    (void)unused;
    return get_in(w, SHK_FOREVER);
}

static int64_t get_and_finish(struct world *w, int64_t unused)
{
    int64_t number = get(w, unused), r = number < 0 ? 0 : shk_queue_task_done(w->queue);

    return r < 0 ? r : number;
}

static int64_t lease(struct world *w, int64_t unused)
{
    (void)unused;
    return lease_in(w, SHK_FOREVER);
}

static int64_t ack(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_ack(w->queue, ticket);
}

static int64_t nack(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_nack(w->queue, ticket, 0);
}

static int64_t nack_later(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_nack(w->queue, ticket, SHK_MS(30));
}

static int64_t peek(struct world *w, int64_t unused)
{
    const void *item;
    ssize_t r = shk_queue_peek(w->queue, &item, SHK_FOREVER);

    (void)unused;
    return r < 0 ? r : *(const int64_t *)item;
}

static int64_t consume(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_consume(w->queue);
}

static int64_t join(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_join(w->queue, SHK_FOREVER);
}

static int64_t shutdown(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_shutdown(w->queue);
}

static int64_t reopen(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_reopen(w->queue);
}

/* What is in the queue, leased or back. */
static int64_t left(struct world *w, int64_t unused)
{
    (void)unused;
    return (int64_t)(w->queue->ops->counts(w->queue).items + shki_leases_out(w->queue));
}

/*
 * With nothing leased: bits that are set all the same. A lease that finds nothing clears them, as
 * soon as the owner's death is known.
 */
static int64_t count_bits(struct world *w)
{
    int64_t r = lease_in(w, SHK_NOWAIT), n = 0;

    for (uint32_t i = 0; i < shki_lease_words(w->queue); i++)
        n += __builtin_popcountll(atomic_load(&w->queue->leases->out[i])) +
             __builtin_popcountll(atomic_load(&w->queue->leases->back[i]));
    return r == -EAGAIN ? n : -EILSEQ;
}

static int64_t bits_left(struct world *w, int64_t unused)
{
    int64_t n = count_bits(w);

    (void)unused;
    if (n > 0 && lease_in(w, SHK_MS(300)) == -ETIMEDOUT)
        n = count_bits(w);
    return n;
}

/* Each item leased, and acknowledged. */
static int64_t work_off(struct world *w, int64_t unused)
{
    int64_t r;

    while ((r = lease_in(w, SHK_NOWAIT)) >= 0)
        if (ack(w, unused) < 0)
            return -EILSEQ;
    return r == -EAGAIN ? 0 : r;
}

static int64_t create(struct world *w, int64_t variant)
{
    struct shk_segment_options size = {.size = 8 << 20, .max_members = 16, .max_objects = 16};
    struct shk_queue_options options = {.order = order_of(w->row),
                                        .capacity = variant & GROWS ? 0 : CAPACITY,
                                        .item_size = 3 * sizeof(int64_t)};
    int64_t r = shk_segment_open(w->name, SHK_CREATE | SHK_EXCL, &size, &w->segment);

    if (r == 0)
        r = shk_queue_open(w->segment, QUEUE, SHK_CREATE, &options, &w->queue);
    if (r == 0 && variant & WARM) {
        r = put_in(w, 99, SHK_NOWAIT);
        if (r == 0)
            r = work_off(w, 0);
    }
    for (int i = 1; r == 0 && i <= (variant & ITEMS); i++)
        r = put_in(w, order_of(w->row) == SHK_LIFO ? (variant & ITEMS) + 1 - i : i, SHK_NOWAIT);
    if (r == 0 && variant & (BACK | DELAYED)) {
        r = lease_in(w, SHK_NOWAIT) == 1 ? 0 : -EILSEQ;
        if (r == 0)
            r = variant & DELAYED ? nack_later(w, 0) : nack(w, 0);
    }
    return r;
}

/* ---- What is right ---- */

struct list {
    int64_t number[MOST];
    unsigned n;
};

/* All that is there or comes back, taken by the host. Items are 1, 2 … in the order of the queue.*/
static struct list collect(struct world *w)
{
    struct list l = {.n = 0};

    while (call(w, HOST, left, 0) > 0) {
        EXPECT(w, l.n < MOST, "more and more items come");
        l.number[l.n] = call(w, HOST, get_and_finish, 0);
        EXPECT(w, l.number[l.n] > 0, "a get gave %lld", (long long)l.number[l.n]);
        l.n++;
    }
    return l;
}

static bool has(const struct list *l, int64_t number)
{
    unsigned n = 0;

    for (unsigned i = 0; i < l->n; i++)
        n += l->number[i] == number;
    return n == 1;
}

/* Item 1 is, or may be, the victim's: the others come once each, and in order. Whether it comes. */
static bool check_items(struct world *w, const struct list *l, int64_t last)
{
    bool first = has(l, 1);
    int64_t next = 2;

    for (unsigned i = 0; i < l->n; i++)
        if (l->number[i] >= 2 && l->number[i] < SLEEPERS) {
            EXPECT(w, l->number[i] == next, "item %lld came for %lld", (long long)l->number[i],
                   (long long)next);
            next++;
        }
    EXPECT(w, next == last + 1, "item %lld is lost", (long long)next);
    EXPECT(w, l->n == (unsigned)last - 1 + first, "%u items came", l->n);
    return first;
}

/* The victim leases, or gives back: nothing is lost. */
static void check_kept(struct world *w)
{
    struct list l;

    EXPECT(w, !w->acknowledged || w->result >= 0, "the operation gave %lld", (long long)w->result);
    l = collect(w);
    EXPECT(w, check_items(w, &l, w->row->variant & ITEMS), "item 1 is lost");
}

/* The victim takes the item for good. */
static void check_taken(struct world *w)
{
    struct list l;
    bool first;

    EXPECT(w, !w->acknowledged || w->result >= 0, "the operation gave %lld", (long long)w->result);
    l = collect(w);
    first = check_items(w, &l, w->row->variant & ITEMS);
    EXPECT(w, first || !w->untouched, "item 1 is lost");
    EXPECT(w, !first || !w->acknowledged, "item 1 came back, though it was done");
}

/* One more, of a producer that slept since it was full. */
static void check_taken_producer(struct world *w)
{
    struct list l = collect(w), more;

    EXPECT(w, finish(w, SLEEPER_1) == 0, "the sleeper cannot put");
    more = collect(w);
    for (unsigned i = 0; i < more.n; i++)
        l.number[l.n++] = more.number[i];
    EXPECT(w, has(&l, SLEEPERS), "the sleeper's item is lost");
    for (unsigned i = 0, n = l.n, k = 0; i < n; i++)
        if (l.number[i] != SLEEPERS) {
            l.number[k++] = l.number[i];
            l.n = k;
        }
    EXPECT(w, check_items(w, &l, CAPACITY) != w->acknowledged || !w->acknowledged,
           "item 1 came back, though it was done");
}

static void check_taken_join(struct world *w)
{
    struct list l = collect(w);
    bool first = check_items(w, &l, 1);
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == 0, "join gave %lld", (long long)r);
    EXPECT(w, first || !w->untouched, "item 1 is lost");
    EXPECT(w, !first || !w->acknowledged, "item 1 came back, though it was done");
}

/* A consumer slept. It is told that nothing comes, or is given the item. */
static void check_taken_shut(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == -EPIPE || (r == 1 && !w->acknowledged), "the sleeper was given %lld",
           (long long)r);
    EXPECT(w, r == 1 || !w->untouched, "item 1 is lost");
    EXPECT(w, call(w, HOST, get, 0) == -EPIPE, "it is not over");
    EXPECT(w, call(w, HOST, reopen, 0) == 0, "the host cannot reopen it");
}

/* A consumer slept, and is given what comes back. */
static void check_kept_consumer(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == 1, "the sleeper was given %lld", (long long)r);
}

/* The victim slept until the host put item 1. */
static void host_puts(struct world *w)
{
    EXPECT(w, call(w, HOST, put, 1) == 0, "the host cannot put");
}

static void check_slept(struct world *w)
{
    struct list l;

    if (!w->on_sleep_runs)
        host_puts(w);
    l = collect(w);
    EXPECT(w, check_items(w, &l, 1), "item 1 is lost");
}

/* The queue holds as much as before, and leases go on. */
static void carry_on(struct world *w)
{
    int64_t r;

    start_attached(w, NEWCOMER);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < CAPACITY; i++)
            EXPECT(w, (r = call(w, HOST, put_nowait, HOSTS + i)) == 0, "put gave %lld",
                   (long long)r);
        if (!(w->row->variant & GROWS))
            EXPECT(w, (r = call(w, HOST, put_nowait, HOSTS)) == -EAGAIN, "full, put gave %lld",
                   (long long)r);
        EXPECT(w, (r = call(w, NEWCOMER, lease, 0)) > 0, "lease gave %lld", (long long)r);
        if (!(w->row->variant & GROWS))
            EXPECT(w, (r = call(w, HOST, put_nowait, HOSTS)) == -EAGAIN,
                   "full of leased items, put gave %lld", (long long)r);
        EXPECT(w, (r = call(w, NEWCOMER, ack, 0)) == 0, "ack gave %lld", (long long)r);
        EXPECT(w, (r = call(w, NEWCOMER, work_off, 0)) == 0, "lease gave %lld", (long long)r);
    }
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        kill_actor(w, actor);
    r = call(w, HOST, join, 0);
    EXPECT(w, r >= 0, "join gave %lld", (long long)r);
    EXPECT(w, (r = call(w, HOST, bits_left, 0)) == 0, "%lld bits are left", (long long)r);
}

/* ---- Scripts ---- */

static void set(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void producer_sleeps(struct world *w)
{
    start_sleeper(w, put, SLEEPERS);
}

static void consumer_sleeps(struct world *w)
{
    start_sleeper(w, get, 0);
}

static void joiner_sleeps(struct world *w)
{
    start_sleeper(w, join, 0);
}

static void consumer_sleeps_shut(struct world *w)
{
    EXPECT(w, call(w, HOST, shutdown, 0) == 0, "the host cannot shut it down");
    consumer_sleeps(w);
}

/* clang-format off */
#define CHECKS(of) .setup = set, .check = check_##of, .carry_on = carry_on
#define OF(what, order) .variant = (what) | (order)
#define OF_AN_ORDER(what, order)                                                                   \
    {"shk_queue_lease", what ", three items", .operation = lease, CHECKS(kept),                    \
     OF(3 | WARM, order)},                                                                         \
    {"shk_queue_lease", what ", the first one", .operation = lease, CHECKS(kept),                  \
     OF(2, order)},                                                                                \
    {"shk_queue_lease", what ", an item has come back", .operation = lease, CHECKS(kept),          \
     OF(3 | BACK, order)},                                                                         \
    {"shk_queue_ack", what ", three items", .prepare = lease, .operation = ack, CHECKS(taken),     \
     OF(3, order)},                                                                                \
    {"shk_queue_nack", what ", three items", .prepare = lease, .operation = nack, CHECKS(kept),    \
     OF(3, order)},                                                                                \
    {"shk_queue_get", what ", an item has come back", .operation = get, CHECKS(taken),             \
     OF(3 | BACK, order)},                                                                         \
    {"shk_queue_consume", what ", an item has come back", .prepare = peek, .operation = consume,   \
     CHECKS(taken), OF(3 | BACK, order)}

static const struct row rows[] = {
    OF_AN_ORDER("leases, FIFO", 0),
    OF_AN_ORDER("leases, LIFO", LIFO),
    OF_AN_ORDER("leases, PRIORITY", PRIORITY),
    OF_AN_ORDER("leases, FIFO without limit", GROWS),
    OF_AN_ORDER("leases, LIFO without limit", LIFO | GROWS),
    OF_AN_ORDER("leases, PRIORITY without limit", PRIORITY | GROWS),
    {"shk_queue_lease", "leases, empty, then an item", .operation = lease, .on_sleep = host_puts,
     CHECKS(slept), .variant = WARM, .never_stopped = true},
    {"shk_queue_lease", "leases, empty, an item after a recheck", .operation = lease,
     .on_sleep = host_puts, .on_sleep_from = 2, .recheck = SHORT_RECHECK, CHECKS(slept),
     .variant = WARM, .never_stopped = true},
    {"shk_queue_peek", "leases, an item has come back", .operation = peek, CHECKS(kept),
     .variant = 3 | BACK},
    {"shk_queue_ack", "leases, full, a producer asleep", .prepare = lease,
     .waiters = producer_sleeps, .operation = ack, CHECKS(taken_producer), .variant = CAPACITY,
     .never_stopped = true},
    {"shk_queue_ack", "leases, LIFO, full, a producer asleep", .prepare = lease,
     .waiters = producer_sleeps, .operation = ack, CHECKS(taken_producer),
     .variant = CAPACITY | LIFO,
     .never_stopped = true},
    {"shk_queue_ack", "leases, the last one, one joins", .prepare = lease, .waiters = joiner_sleeps,
     .operation = ack, CHECKS(taken_join), .variant = 1,
     .never_stopped = true},
    {"shk_queue_ack", "leases, shut down, a consumer asleep", .prepare = lease,
     .waiters = consumer_sleeps_shut, .operation = ack, CHECKS(taken_shut), .variant = 1,
     .never_stopped = true},
    {"shk_queue_nack", "leases, a consumer asleep", .prepare = lease, .waiters = consumer_sleeps,
     .operation = nack, CHECKS(kept_consumer), .variant = 1,
     .never_stopped = true},
    {"shk_queue_nack", "leases, later, a consumer asleep", .prepare = lease,
     .waiters = consumer_sleeps, .operation = nack_later, CHECKS(kept_consumer), .variant = 1,
     .never_stopped = true},
    {"shk_queue_nack", "leases, PRIORITY without limit, later", .prepare = lease,
     .operation = nack_later, CHECKS(kept), .variant = 3 | PRIORITY | GROWS},
};
/* clang-format on */
const struct rows queue_lease_rows = ROWS(rows);
