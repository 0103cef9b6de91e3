/* The queue's orders, queues without a limit, and all but the plain put and get, killed. */
#include "harness.h"

#include "queue/side.h"
#include "segment/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CAPACITY 8
#define BATCH    3   /* how many a batch moves */
#define VICTIMS  100 /* what the victim puts: 100, 101 … */
#define SLEEPERS 200 /* what a sleeper puts */
#define HOSTS    300 /* what the others put */
#define MOST     32

/* A row's variant: how many items there are at first; and */
enum {
    ITEMS = 15,
    LIFO = 16,
    PRIORITY = 32,
    GROWS = 64, /* capacity 0, and no memory to spare */
    FLOWN =
        128, /* capacity 0: items have come and gone; FIFO: large ones, that leave a spare chunk,
                and 16 bytes of the last one */
    CONSUMER = 256, /* the sleeper is one, else a producer */
    CLAIMED = 512,  /* by the host: the producers' side */
    SHUT = 1024,    /* shut down at first */
    SMALL = 2048,   /* capacity 0, in a segment that is soon searched */
    SHUFFLED =
        4096, /* it has been full and drained: the free slots are not used in the order of their
                 numbers */
    LIMITED = 8192,  /* items at their length: limited in items */
    WEIGHED = 16384, /* limited in bytes alone */
    LONG = 32768,    /* with GROWS: items longer than a chunk, reserved and peeked */
    AT_LENGTH = GROWS | LIMITED | WEIGHED,
};

/* Two records of a FIFO queue without a limit leave 16 bytes of a chunk. */
static unsigned char half_a_chunk[(128 << 10) - 16];

struct item {
    int64_t number, check[2];
};

/* A chunk and a half. Only its beginning is written. */
static unsigned char long_item[384 << 10];

static struct item item_of(int64_t number)
{
    return (struct item){number, {~number, number * 7}};
}

static int64_t number_of(const struct item *item, ssize_t length)
{
    if (length < 0)
        return length;
    return (length == sizeof(*item) || length == sizeof(long_item)) &&
                   item->check[0] == ~item->number && item->check[1] == item->number * 7
               ? item->number
               : -EILSEQ;
}

static uint32_t order_of(const struct row *row)
{
    return row->variant & LIFO ? SHK_LIFO : row->variant & PRIORITY ? SHK_PRIORITY : SHK_FIFO;
}

static size_t length_of(const struct row *row)
{
    return row->variant & LONG ? sizeof(long_item) : sizeof(struct item);
}

static int64_t priority_of(int64_t number)
{
    return number * 5 % 7 - 3;
}

static int64_t put_for(struct world *w, int64_t number, int64_t timeout)
{
    struct item item = item_of(number);
    const void *bytes = w->row->variant & LONG ? memcpy(long_item, &item, sizeof(item)) : &item;

    if (order_of(w->row) == SHK_PRIORITY)
        return shk_queue_put_priority(w->queue, bytes, length_of(w->row), priority_of(number),
                                      timeout);
    return shk_queue_put(w->queue, bytes, length_of(w->row), timeout);
}

static int64_t get_for(struct world *w, int64_t timeout)
{
    struct item item = {0};
    void *bytes = w->row->variant & LONG ? (void *)long_item : &item;
    ssize_t length = shk_queue_get(w->queue, bytes, length_of(w->row), timeout);

    return number_of(bytes, length);
}

/* ---- Acts ---- */

static int64_t open_it(struct world *w, int64_t variant)
{
    struct shk_queue_options options = {
        .order = order_of(w->row),
        .capacity = variant & (GROWS | SMALL | WEIGHED) ? 0 : CAPACITY,
        .item_size = variant & LIMITED     ? 1 << 20
                     : variant & LONG      ? sizeof(long_item)
                     : variant & AT_LENGTH ? sizeof(half_a_chunk)
                                           : sizeof(struct item),
        .capacity_bytes = variant & WEIGHED ? CAPACITY * sizeof(struct item) : 0};

    shki_test_no_spare = 1;
    return shk_queue_open(w->segment, QUEUE, SHK_CREATE, &options, &w->queue);
}

static int64_t create_only_segment(struct world *w, int64_t unused)
{
    struct shk_segment_options options = {
        .size = w->row->variant & SMALL ? 1 << 20 : 64 << 20, .max_members = 16, .max_objects = 16};

    (void)unused;
    return shk_segment_open(w->name, SHK_CREATE | SHK_EXCL, &options, &w->segment);
}

static int64_t create(struct world *w, int64_t variant)
{
    int64_t r = create_only_segment(w, 0);
    int flow = variant & FLOWN ? 6 : 0, shuffle = variant & SHUFFLED ? CAPACITY : 0;
    size_t length = order_of(w->row) == SHK_FIFO ? sizeof(half_a_chunk) : sizeof(struct item);

    if (r == 0)
        r = open_it(w, variant);
    for (int i = 0; r == 0 && i < flow; i++)
        r = shk_queue_put(w->queue, half_a_chunk, length, SHK_NOWAIT);
    for (int i = 0; r == 0 && i < flow; i++)
        r = shk_queue_get(w->queue, half_a_chunk, length, SHK_NOWAIT) == (ssize_t)length
                ? shk_queue_task_done(w->queue)
                : -EILSEQ;
    for (int i = 1; r == 0 && i <= shuffle; i++)
        r = put_for(w, i, SHK_NOWAIT);
    for (int i = 0; r == 0 && i < shuffle; i++)
        r = get_for(w, SHK_NOWAIT) > 0 ? shk_queue_task_done(w->queue) : -EILSEQ;
    for (int i = 1; r == 0 && i <= (variant & ITEMS); i++)
        r = put_for(w, i, SHK_NOWAIT);
    if (r == 0 && variant & CLAIMED)
        r = shk_queue_claim(w->queue, SHK_PRODUCER, SHK_NOWAIT);
    if (r == 0 && variant & SHUT)
        r = shk_queue_shutdown(w->queue);
    return r;
}

/* Often enough in a row to become the bias_owner of both locks. */
static int64_t move_in(struct world *w, int64_t unused)
{
    int64_t r = 0;

    (void)unused;
    for (int i = 0; r == 0 && i < 200; i++) {
        r = put_for(w, 1, SHK_NOWAIT);
        if (r == 0)
            r = get_for(w, SHK_NOWAIT) == 1 ? shk_queue_task_done(w->queue) : -EILSEQ;
    }
    return r;
}

static int64_t put(struct world *w, int64_t number)
{
    return put_for(w, number ? number : VICTIMS, SHK_FOREVER);
}

static int64_t put_many(struct world *w, int64_t unused)
{
    struct item items[BATCH];
    struct iovec vector[BATCH];

    (void)unused;
    for (int i = 0; i < BATCH; i++) {
        items[i] = item_of(VICTIMS + i);
        vector[i] = (struct iovec){&items[i], sizeof(items[i])};
    }
    return shk_queue_put_many(w->queue, vector, BATCH, SHK_FOREVER);
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

/* The priority belongs to the item. */
static int64_t get_priority(struct world *w, int64_t unused)
{
    struct item item = {0};
    int64_t priority = INT64_MIN;
    ssize_t length = shk_queue_get_priority(w->queue, &item, sizeof(item), SHK_FOREVER, &priority);
    int64_t number = number_of(&item, length);

    (void)unused;
    return number < 0 || priority == priority_of(number) ? number : -EILSEQ;
}

static int64_t get_many(struct world *w, int64_t unused)
{
    struct item items[BATCH] = {{0}};
    struct iovec vector[BATCH];

    (void)unused;
    for (int i = 0; i < BATCH; i++)
        vector[i] = (struct iovec){&items[i], sizeof(items[i])};
    return shk_queue_get_many(w->queue, vector, BATCH, SHK_FOREVER);
}

static int64_t reserve(struct world *w, int64_t unused)
{
    struct item item = item_of(VICTIMS);
    void *slot;
    int r = shk_queue_reserve(w->queue, length_of(w->row), &slot, SHK_FOREVER);

    (void)unused;
    if (r == 0)
        memcpy(slot, &item, sizeof(item));
    return r;
}

static int64_t commit(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_commit(w->queue, length_of(w->row));
}

static int64_t cancel(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_cancel(w->queue);
}

static int64_t peek(struct world *w, int64_t unused)
{
    const void *item = NULL;
    ssize_t length = shk_queue_peek(w->queue, &item, SHK_FOREVER);

    (void)unused;
    return length < 0 ? length : number_of(item, length);
}

static int64_t consume(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_consume(w->queue);
}

static int64_t unpeek(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_unpeek(w->queue);
}

static int64_t claim(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_claim(w->queue, SHK_PRODUCER | SHK_CONSUMER, SHK_FOREVER);
}

static int64_t unclaim(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_unclaim(w->queue, SHK_PRODUCER | SHK_CONSUMER);
}

static int64_t unclaim_producer(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_unclaim(w->queue, SHK_PRODUCER);
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

static int64_t reopen(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_reopen(w->queue);
}

static int64_t task_done(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_task_done(w->queue);
}

static int64_t all_done(struct world *w, int64_t unused)
{
    (void)unused;
    while (shk_queue_task_done(w->queue) == 0)
        ;
    return 0;
}

static int64_t join(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_queue_join(w->queue, SHK_FOREVER);
}

static int64_t watch_tasks(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_wait_any(&(struct shk_ready){SHK_KIND_QUEUE, SHK_ALL_DONE, w->queue}, 1,
                        SHK_FOREVER);
}

/* ---- What is right ---- */

struct list {
    int64_t number[MOST];
    unsigned n;
};

/* What an actor has taken out in one call, for the worker. */
static struct list *taken(struct world *w)
{
    return (struct list *)w->board->scratch;
}

/* At most so many; what ended it. */
static int64_t take_some(struct world *w, int64_t most)
{
    struct list *l = taken(w);
    int64_t r = 0;

    for (l->n = 0; l->n < most && (r = get_for(w, SHK_NOWAIT)) >= 0; l->n++)
        l->number[l->n] = r;
    return r < 0 ? r : 0;
}

static int64_t put_half(struct world *w, int64_t first)
{
    int64_t r = 0;

    for (int i = 0; r == 0 && i < CAPACITY / 2; i++)
        r = put_for(w, first + i, SHK_FOREVER);
    return r;
}

/*
 * Blocks that are the queue's though none of its chunks has them. A FIFO queue's next chunk may
 * have its blocks already.
 */
static int64_t lost_blocks(struct world *w, int64_t unused)
{
    struct shk_queue *q = w->queue;
    struct shki_queue_shared *shared = q->shared;
    uint64_t memory = atomic_load(&shared->put_lock.chunks),
             mapped = memory >> SHKI_NOT_RECYCLED_BITS;
    int64_t n = 0;

    (void)unused;
    for (uint32_t b = 0; b < shki_pool_limit(w->segment); b++)
        for (unsigned i = 0; i < q->n_lists; i++)
            for (uint64_t c = 0; c <= q->chunks; c++)
                if (shki_blocks_are(w->segment, b, 1, shki_block_word(q->object.index, i, c)))
                    n += order_of(w->row) == SHK_FIFO
                             ? c > mapped || c < mapped - (memory & SHKI_CHUNKS_MAX)
                             : c >= q->lists[i].shared->chunks;
    return n;
}

static void append(struct world *w, struct list *l, int64_t number)
{
    EXPECT(w, l->n < MOST, "more and more items come");
    l->number[l->n++] = number;
}

/* In the order of the queue: `l` has them in the order of arrival. */
static void sort(struct world *w, struct list *l)
{
    for (unsigned i = 1; i < l->n; i++)
        for (unsigned k = i; k > 0; k--) {
            int64_t a = l->number[k - 1], b = l->number[k];
            /* Priorities of puts by way of the calls that give none are 0. */
            bool plain = w->row->operation == put_many || w->row->operation == commit;
            int64_t pa = plain && a >= VICTIMS && a < SLEEPERS ? 0 : priority_of(a);
            int64_t pb = plain && b >= VICTIMS && b < SLEEPERS ? 0 : priority_of(b);
            bool turn =
                order_of(w->row) == SHK_LIFO || (order_of(w->row) == SHK_PRIORITY && pb < pa);

            if (!turn)
                break;
            l->number[k - 1] = b;
            l->number[k] = a;
        }
}

static struct list old_items(struct world *w)
{
    struct list l = {.n = 0};

    for (int i = 1; i <= (w->row->variant & ITEMS); i++)
        append(w, &l, i);
    return l;
}

static struct list drain(struct world *w, unsigned actor)
{
    int64_t r = call(w, actor, take_some, MOST);

    EXPECT(w, r == -EAGAIN || r == -EPIPE, "a get at once gave %lld", (long long)r);
    return *taken(w);
}

static bool same(const struct list *a, const struct list *b)
{
    return a->n == b->n && memcmp(a->number, b->number, a->n * sizeof(a->number[0])) == 0;
}

static void fail_lists(struct world *w, const struct list *is)
{
    char text[200] = "";
    size_t at = 0;

    for (unsigned i = 0; i < is->n && at < sizeof(text) - 24; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " %lld", (long long)is->number[i]);
    fail(w, "in the queue:%s", text);
}

/* How many items the operation puts, or takes. */
static unsigned moves(const struct row *row)
{
    return row->operation == put_many || row->operation == get_many
               ? BATCH
               : row->operation == put || row->operation == get || row->operation == get_priority ||
                     row->operation == commit || row->operation == consume;
}

static bool in_part(const struct row *row)
{
    return order_of(row) == SHK_PRIORITY && moves(row) > 1;
}

/* No actor sleeps. What is in the queue now is what there was before the operation, or after it. */
static void check(struct world *w)
{
    bool puts =
        w->row->operation == put || w->row->operation == put_many || w->row->operation == commit;
    unsigned most = moves(w->row), least = 0;
    struct list is;

    if (w->acknowledged) {
        EXPECT(w, w->result >= 0, "the operation gave %lld", (long long)w->result);
        least = most;
    }
    if (w->untouched)
        most = 0;
    is = drain(w, HOST);
    for (unsigned j = least; j <= most; j += in_part(w->row) || most == 0 ? 1 : most) {
        struct list l = old_items(w);

        for (unsigned i = 0; puts && i < j; i++)
            append(w, &l, VICTIMS + i);
        sort(w, &l);
        if (!puts) {
            memmove(l.number, l.number + j, (l.n - j) * sizeof(l.number[0]));
            l.n -= j;
        }
        if (same(&is, &l))
            return;
    }
    fail_lists(w, &is);
}

/* A consumer slept, and the victim put: it comes back with that, or with what the host puts. */
static void check_consumer(struct world *w)
{
    bool host_puts = call(w, HOST, size, 0) == 0 && !finished(w, SLEEPER_1) && !w->acknowledged;
    unsigned victims = 0, hosts = 0;
    struct list rest;

    if (host_puts)
        EXPECT(w, call(w, HOST, put, HOSTS) == 0, "the host cannot put");
    append(w, (rest.n = 0, &rest), finish(w, SLEEPER_1));
    struct list is = drain(w, HOST);
    for (unsigned i = 0; i < is.n; i++)
        append(w, &rest, is.number[i]);
    for (unsigned i = 0; i < rest.n; i++) {
        victims += rest.number[i] >= VICTIMS && rest.number[i] < SLEEPERS;
        hosts += rest.number[i] == HOSTS;
    }
    EXPECT(w, hosts == host_puts && victims + hosts == rest.n, "what came is not what was put");
    EXPECT(w, victims == moves(w->row) || (!w->acknowledged && (victims == 0 || in_part(w->row))),
           "%u items of the victim", victims);
}

/* It was full, a producer slept, and the victim took: that comes back when there is room. */
static void check_producer(struct world *w)
{
    unsigned old = 0, sleepers = 0, taken = 0;
    struct list is;

    if (call(w, HOST, size, 0) == CAPACITY && !finished(w, SLEEPER_1) && !w->acknowledged)
        taken = call(w, HOST, get_nowait, 0) >= 0;
    EXPECT(w, finish(w, SLEEPER_1) == 0, "the sleeper cannot put");
    is = drain(w, HOST);
    for (unsigned i = 0; i < is.n; i++) {
        sleepers += is.number[i] == SLEEPERS;
        old += is.number[i] <= CAPACITY;
    }
    taken += old;
    EXPECT(w, sleepers + old == is.n && sleepers == 1, "what came is not what was put");
    EXPECT(w,
           taken + moves(w->row) == CAPACITY ||
               (!w->acknowledged && taken <= CAPACITY && taken + moves(w->row) >= CAPACITY),
           "%u of the old items", taken);
}

/* One puts, each half of what there is room for; the other takes it. */
static void go_round(struct world *w)
{
    struct list l = {.n = 0};

    for (int i = 0; i < CAPACITY; i++)
        append(w, &l, HOSTS + i);
    sort(w, &l);
    for (int half = 0; half < 2; half++) {
        int64_t r = call(w, half ? NEWCOMER : HOST, put_half, HOSTS + half * CAPACITY / 2);

        EXPECT(w, r == 0, "put gave %lld", (long long)r);
    }
    for (int half = 0; half < 2; half++) {
        int64_t r = call(w, half ? HOST : NEWCOMER, take_some, CAPACITY / 2);

        EXPECT(w, r == 0, "get gave %lld", (long long)r);
        EXPECT(w,
               memcmp(taken(w)->number, l.number + half * CAPACITY / 2,
                      CAPACITY / 2 * sizeof(l.number[0])) == 0,
               "the items come in another order");
    }
}

/* The actors that are left can put and take, in order, and in the end all is done. */
static void carry_on(struct world *w)
{
    int64_t r;

    start_attached(w, NEWCOMER);
    drain(w, NEWCOMER);
    go_round(w);
    go_round(w);
    call(w, HOST, all_done, 0);
    call(w, NEWCOMER, all_done, 0);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        kill_actor(w, actor);
    r = call(w, HOST, join, 0);
    EXPECT(w, r >= 0, "join gave %lld", (long long)r);
    if (w->row->variant & GROWS)
        EXPECT(w, (r = call(w, HOST, lost_blocks, 0)) == 0, "%lld blocks are lost", (long long)r);
}

/* ---- Scripts ---- */

static void set_0(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void set_1(struct world *w)
{
    set_0(w);
    if (w->row->variant & CONSUMER)
        start_sleeper(w, get, 0);
    else
        start_sleeper(w, put, SLEEPERS);
}

static void set_segment(struct world *w)
{
    start_host(w, create_only_segment, 0);
}

/* All the pool's free blocks are another's: the victim has to make it larger. */
static int64_t create_used_up(struct world *w, int64_t variant)
{
    int64_t r = create(w, variant);
    _Atomic uint32_t hint = 0;
    uint32_t n = 0;

    for (uint32_t b = 0; r == 0 && b < shki_pool_limit(w->segment); b++)
        n += shki_blocks_are(w->segment, b, 1, SHKI_BLOCK_FREE);
    for (; r == 0 && n > 0; n--)
        r = shki_pool_allocate(w->segment, 1, shki_block_word(15, 0, n), &hint);
    return r;
}

static void set_used_up(struct world *w)
{
    start_host(w, create_used_up, w->row->variant);
}

static int64_t create_it(struct world *w, int64_t unused)
{
    (void)unused;
    return open_it(w, w->row->variant);
}

static void check_created(struct world *w)
{
    EXPECT(w, call(w, HOST, create_it, 0) == 0, "the host cannot open it");
}

static void host_unclaims(struct world *w)
{
    EXPECT(w, call(w, HOST, unclaim_producer, 0) == 0, "the host cannot unclaim");
}

/* The host has claimed one side. */
static void check_claimed(struct world *w)
{
    if (!w->on_sleep_runs)
        host_unclaims(w);
    check(w);
}

static void check_reopened(struct world *w)
{
    int64_t r = call(w, HOST, put, HOSTS);

    EXPECT(w, r == 0 || r == -EPIPE, "a put gave %lld", (long long)r);
    EXPECT(w, r == 0 || !w->acknowledged, "it is not open");
    if (r == 0)
        EXPECT(w, !w->untouched && call(w, HOST, get, 0) == HOSTS, "the item does not come");
    else
        EXPECT(w, call(w, HOST, reopen, 0) == 0, "the host cannot reopen it");
}

/* The host has claimed it, and a consumer sleeps. */
static void check_shut(struct world *w)
{
    int64_t r = call(w, HOST, put, HOSTS);

    EXPECT(w, r == -EPIPE || (r == 0 && !w->acknowledged), "a put gave %lld", (long long)r);
    if (r == 0)
        EXPECT(w, finish(w, SLEEPER_1) == HOSTS && call(w, HOST, shutdown, 0) == 0,
               "the sleeper did not get it");
    else
        EXPECT(w, finish(w, SLEEPER_1) == -EPIPE, "the sleeper was not told");
    EXPECT(w, call(w, HOST, get, 0) == -EPIPE, "it is not over");
    EXPECT(w, call(w, HOST, reopen, 0) == 0, "the host cannot reopen it");
    host_unclaims(w);
}

static void sleeper_joins(struct world *w)
{
    start_sleeper(w, join, 0);
}

/* The victim's task was the last one, and a sleeper waits for it. */
static void check_task_done(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == 0 || (r == SHK_ORPHANED && !w->acknowledged), "join gave %lld", (long long)r);
    EXPECT(w, r == SHK_ORPHANED || !w->untouched, "join took the task as done");
}

static void sleeper_watches(struct world *w)
{
    start_sleeper(w, watch_tasks, 0);
}

/* … by waiting for any of several objects, which takes nothing: a join is told what was lost. */
static void check_watched_task_done(struct world *w)
{
    int64_t r = finish(w, SLEEPER_1);

    EXPECT(w, r == 0, "wait_any gave %lld", (long long)r);
    r = call(w, HOST, join, 0);
    EXPECT(w, r == 0 || (r == SHK_ORPHANED && !w->acknowledged), "join gave %lld", (long long)r);
    EXPECT(w, r == SHK_ORPHANED || !w->untouched, "the watcher took the task as done");
}

static void set_host_task(struct world *w)
{
    set_0(w);
    EXPECT(w, call(w, HOST, get, 0) == 1, "the host got something else");
}

static void host_is_done(struct world *w)
{
    EXPECT(w, call(w, HOST, task_done, 0) == 0, "the host cannot finish its task");
}

static void check_join(struct world *w)
{
    EXPECT(w, !w->acknowledged || (w->on_sleep_runs && w->result == 0), "join gave %lld",
           (long long)w->result);
    if (!w->on_sleep_runs)
        host_is_done(w);
    EXPECT(w, call(w, HOST, join, 0) == 0, "the host cannot join");
}

/* The victim dies with a task, or without. */
static void check_orphan(struct world *w)
{
    int64_t r;

    drain(w, HOST);
    call(w, HOST, all_done, 0);
    r = call(w, HOST, join, 0);
    EXPECT(w, r == SHK_ORPHANED || (r == 0 && !w->acknowledged), "join gave %lld", (long long)r);
    EXPECT(w, r == 0 || !w->untouched, "a task was lost, but not the victim's");
}

#define CHECKS .check = check, .carry_on = carry_on
/* clang-format off */
#define OF(what, order) .variant = (what) | (order)
#define PLAIN(what, order)                                                                         \
    {"shk_queue_put", what ", empty", .setup = set_0, .operation = put, CHECKS,                    \
     OF(0, order)},                                                                                \
    {"shk_queue_put", what ", one item", .setup = set_0, .operation = put, CHECKS,                 \
     OF(1, order)},                                                                                \
    {"shk_queue_put", what ", seven items", .setup = set_0, .operation = put, CHECKS,              \
     OF(7, order)},                                                                                \
    {"shk_queue_put", what ", a consumer asleep", .setup = set_1, .operation = put,                \
     .check = check_consumer, .carry_on = carry_on, OF(CONSUMER, order)},                          \
    {"shk_queue_get", what ", one item", .setup = set_0, .operation = get, CHECKS,                 \
     OF(1, order)},                                                                                \
    {"shk_queue_get", what ", two items", .setup = set_0, .operation = get, CHECKS,                \
     OF(2, order)},                                                                                \
    {"shk_queue_get", what ", eight items", .setup = set_0, .operation = get, CHECKS,              \
     OF(8, order)},                                                                                \
    {"shk_queue_get", what ", dead with a task", .setup = set_0, .operation = get,                 \
     .check = check_orphan, .carry_on = carry_on, OF(8, order)},                                   \
    {"shk_queue_put_many", what ", three items", .setup = set_0, .operation = put_many, CHECKS,    \
     OF(3, order)},                                                                                \
    {"shk_queue_get_many", what ", five items", .setup = set_0, .operation = get_many, CHECKS,     \
     OF(5, order)},                                                                                \
    {"shk_queue_reserve", what ", three items", .setup = set_0, .operation = reserve, CHECKS,      \
     OF(3, order)},                                                                                \
    {"shk_queue_commit", what ", three items", .setup = set_0, .prepare = reserve,                 \
     .operation = commit, CHECKS, OF(3, order)},                                                   \
    {"shk_queue_cancel", what ", three items", .setup = set_0, .prepare = reserve,                 \
     .operation = cancel, CHECKS, OF(3, order), .never_stopped = true},                            \
    {"shk_queue_peek", what ", three items", .setup = set_0, .operation = peek, CHECKS,            \
     OF(3, order)},                                                                                \
    {"shk_queue_consume", what ", three items", .setup = set_0, .prepare = peek,                   \
     .operation = consume, CHECKS, OF(3, order)},                                                  \
    {"shk_queue_unpeek", what ", three items", .setup = set_0, .prepare = peek,                    \
     .operation = unpeek, CHECKS, OF(3, order)}

#define BOUNDED(what, order)                                                                       \
    {"shk_queue_get", what ", full, a producer asleep", .setup = set_1, .operation = get,          \
     .check = check_producer, .carry_on = carry_on, OF(CAPACITY, order)},                          \
    {"shk_queue_get_many", what ", full, a producer asleep", .setup = set_1,                       \
     .operation = get_many, .check = check_producer, .carry_on = carry_on,                         \
     OF(CAPACITY, order)}

#define GROWING(what, order)                                                                       \
    {"shk_queue_open", what ", creates", .setup = set_segment, .operation = create_it,             \
     .check = check_created, .carry_on = carry_on, .variant = SMALL | ((order) & ~GROWS)},         \
    {"shk_queue_put", what ", after a flow", .setup = set_0, .operation = put, CHECKS,             \
     OF(FLOWN, order)},                                                                            \
    {"shk_queue_put", what ", the first, the pool is used up", .setup = set_used_up,               \
     .operation = put, CHECKS, OF(0, order)},                                                      \
    {"shk_queue_get", what ", after a flow, the last item", .setup = set_0, .operation = get,      \
     CHECKS, OF(1 | FLOWN, order)},                                                                \
    {"shk_queue_get", what ", after a flow", .setup = set_0, .operation = get, CHECKS,             \
     OF(3 | FLOWN, order)}

#define LONG_ITEMS(what, order)                                                                    \
    {"shk_queue_reserve", what ", long items", .setup = set_0, .operation = reserve, CHECKS,       \
     OF(2 | LONG | GROWS, order)},                                                                 \
    {"shk_queue_commit", what ", long items", .setup = set_0, .prepare = reserve,                  \
     .operation = commit, CHECKS, OF(2 | LONG | GROWS, order)},                                    \
    {"shk_queue_cancel", what ", long items", .setup = set_0, .prepare = reserve,                  \
     .operation = cancel, CHECKS, OF(2 | LONG | GROWS, order),                                     \
     .never_stopped = true},                                                                       \
    {"shk_queue_consume", what ", long items", .setup = set_0, .prepare = peek,                    \
     .operation = consume, CHECKS, OF(3 | LONG | GROWS, order)}

static const struct row rows[] = {
    PLAIN("LIFO", LIFO),
    BOUNDED("LIFO", LIFO),
    PLAIN("PRIORITY", PRIORITY),
    BOUNDED("PRIORITY", PRIORITY),
    PLAIN("FIFO", 0),
    BOUNDED("FIFO", 0),
    PLAIN("FIFO without limit", GROWS),
    GROWING("FIFO without limit", GROWS),
    PLAIN("LIFO without limit", LIFO | GROWS),
    GROWING("LIFO without limit", LIFO | GROWS),
    PLAIN("PRIORITY without limit", PRIORITY | GROWS),
    GROWING("PRIORITY without limit", PRIORITY | GROWS),
    BOUNDED("FIFO at length", LIMITED),
    BOUNDED("LIFO at length", LIFO | LIMITED),
    BOUNDED("PRIORITY at length", PRIORITY | LIMITED),
    PLAIN("FIFO limited in bytes", WEIGHED),
    BOUNDED("FIFO limited in bytes", WEIGHED),
    PLAIN("LIFO limited in bytes", LIFO | WEIGHED),
    BOUNDED("LIFO limited in bytes", LIFO | WEIGHED),
    PLAIN("PRIORITY limited in bytes", PRIORITY | WEIGHED),
    BOUNDED("PRIORITY limited in bytes", PRIORITY | WEIGHED),
    LONG_ITEMS("FIFO", 0),
    LONG_ITEMS("LIFO", LIFO),
    LONG_ITEMS("PRIORITY", PRIORITY),
    {"shk_queue_put_many", "FIFO, as the bias owner", .setup = set_0, .prepare = move_in,
     .operation = put_many, CHECKS},
    {"shk_queue_put_priority", "five items", .setup = set_0, .operation = put, CHECKS,
     .variant = 5 | PRIORITY},
    {"shk_queue_put_priority", "five items, free slots in any order", .setup = set_0,
     .operation = put, CHECKS, .variant = 5 | PRIORITY | SHUFFLED},
    {"shk_queue_get", "PRIORITY, five items, free slots in any order", .setup = set_0,
     .operation = get, CHECKS, .variant = 5 | PRIORITY | SHUFFLED},
    {"shk_queue_get_priority", "five items", .setup = set_0, .operation = get_priority, CHECKS,
     .variant = 5 | PRIORITY},
    {"shk_queue_get_priority", "without limit, five items", .setup = set_0,
     .operation = get_priority, CHECKS, .variant = 5 | PRIORITY | GROWS},
    {"shk_queue_get", "PRIORITY, eight items, slots in any order", .setup = set_0, .operation = get,
     CHECKS, .variant = 8 | PRIORITY | SHUFFLED},
    {"shk_queue_commit", "PRIORITY, free slots in any order", .setup = set_0, .prepare = reserve,
     .operation = commit, CHECKS, .variant = 3 | PRIORITY | SHUFFLED},
    {"shk_queue_claim", "free", .setup = set_0, .operation = claim, CHECKS, .variant = 3},
    {"shk_queue_claim", "claimed by another, unclaimed then", .setup = set_0, .operation = claim,
     .on_sleep = host_unclaims, .check = check_claimed, .carry_on = carry_on,
     .variant = 3 | CLAIMED, .never_stopped = true},
    {"shk_queue_unclaim", "claimed", .setup = set_0, .prepare = claim, .operation = unclaim, CHECKS,
     .variant = 3},
    {"shk_queue_put", "claimed", .setup = set_0, .prepare = claim, .operation = put, CHECKS,
     .variant = 3},
    {"shk_queue_get", "claimed", .setup = set_0, .prepare = claim, .operation = get, CHECKS,
     .variant = 3},
    {"shk_queue_put", "claimed, without limit", .setup = set_0, .prepare = claim, .operation = put,
     CHECKS, .variant = 2 | GROWS},
    {"shk_queue_get", "claimed, without limit, after a flow", .setup = set_0, .prepare = claim,
     .operation = get, CHECKS, .variant = 1 | GROWS | FLOWN},
    {"shk_queue_reserve", "claimed", .setup = set_0, .prepare = claim, .operation = reserve, CHECKS,
     .variant = 3},
    {"shk_queue_put", "claimed by another, unclaimed then", .setup = set_0, .operation = put,
     .on_sleep = host_unclaims, .check = check_claimed, .carry_on = carry_on,
     .variant = 3 | CLAIMED},
    {"shk_queue_shutdown", "claimed by another, a consumer asleep", .setup = set_1,
     .operation = shutdown, .check = check_shut, .carry_on = carry_on,
     .variant = CLAIMED | CONSUMER, .never_stopped = true},
    {"shk_queue_reopen", "shut down", .setup = set_0, .operation = reopen, .check = check_reopened,
     .carry_on = carry_on, .variant = SHUT, .never_stopped = true},
    {"shk_queue_task_done", "the last task, one waits for it", .setup = set_0, .prepare = get,
     .waiters = sleeper_joins, .operation = task_done, .check = check_task_done,
     .carry_on = carry_on, .variant = 1},
    {"shk_queue_task_done", "the last task, one waits for any", .setup = set_0, .prepare = get,
     .waiters = sleeper_watches, .operation = task_done, .check = check_watched_task_done,
     .carry_on = carry_on, .variant = 1},
    {"shk_queue_join", "nothing to do", .setup = set_0, .operation = join, CHECKS},
    {"shk_queue_join", "a task, which is done", .setup = set_host_task, .operation = join,
     .on_sleep = host_is_done, .check = check_join, .carry_on = carry_on, .variant = 1,
     .never_stopped = true},
    {"shk_queue_join", "a task, done after a recheck", .setup = set_host_task,
     .operation = join, .on_sleep = host_is_done, .on_sleep_from = 2, .recheck = SHORT_RECHECK,
     .check = check_join, .carry_on = carry_on, .variant = 1, .never_stopped = true},
};
/* clang-format on */
const struct rows queue_order_rows = ROWS(rows);
