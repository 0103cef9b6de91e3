/* Producers, consumers, and those that shut the queues down and open them again. */
#include "soak.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* items on end, then a pause: so the queue is full now and empty then */
#define BURST          64
#define PILE           20000 /* so many may be in the queue without a limit */
#define PRIORITIES     4
#define LIVES          4096 /* producers that a consumer remembers */
#define ROUNDS_CLAIMED 32

static enum queue_number which;
static struct shk_queue *queue;
static struct ring *ring; /* the control's, to be used instead; NULL */
static unsigned claimed;  /* calls for which the side is still kept */

/* What a consumer has leased. */
#define LEASES 4
static struct {
    uint64_t ticket, number;
} leased[LEASES];
static unsigned leases;

static int64_t some_timeout(void)
{
    static const int64_t timeouts[] = {SHK_FOREVER, SHK_FOREVER, SHK_FOREVER, SHK_MS(1),
                                       SHK_NOWAIT};

    if (leases > 0) /* it would wait for itself when the queue is shut down */
        return chance(2) ? SHK_MS(1) : SHK_NOWAIT;
    return timeouts[chance(sizeof(timeouts) / sizeof(*timeouts))];
}

static void choose_queue(void)
{
    which = me->queue;
    queue = queues[which];
    ring = soak.rings[which];
}

/* Now and then one keeps its side of the queue for a while. */
static void claim_at_times(unsigned side)
{
    if (claimed > 0 && --claimed == 0)
        expect("queue_unclaim", shk_queue_unclaim(queue, side));
    if (claimed == 0 && (which == FIFO || which == UNBOUNDED) && !ring && chance(256) == 0) {
        long long r = shk_queue_claim(queue, side, some_timeout());

        if (!is_wait_over(r)) {
            expect("queue_claim", r);
            claimed = ROUNDS_CLAIMED;
        }
    }
}

/*
 * Now and then one waits as a program with several objects does. Another may be faster
 * then.
 */
static void watch_at_times(uint32_t want)
{
    struct shk_ready ready = {SHK_KIND_QUEUE, want, queue};

    if (!ring && leases == 0 && chance(64) == 0)
        expect("wait_any", shk_wait_any(&ready, 1, SHK_FOREVER));
}

/* ---- Items ---- */

/* Length, priority and bytes follow from the number. */
static size_t length_of(uint64_t number)
{
    return offsetof(struct item, rest) + number % sizeof(((struct item *)0)->rest);
}

static int64_t priority_of(uint64_t number)
{
    return (int64_t)(number / 3 % PRIORITIES);
}

static unsigned char byte_of(uint64_t number, size_t i)
{
    return (unsigned char)(number * 31 + i);
}

static size_t fill(struct item *item, uint64_t number)
{
    size_t length = length_of(number);

    atomic_store_explicit(&item->number, number, memory_order_relaxed);
    item->life = me->life;
    item->priority = priority_of(number);
    for (size_t i = 0; i < length - offsetof(struct item, rest); i++)
        item->rest[i] = byte_of(number, i);
    return length;
}

static void check(const struct item *item, size_t length)
{
    uint64_t number = atomic_load_explicit(&item->number, memory_order_relaxed);

    if (number >= ITEMS_MAX || length != length_of(number) || item->priority < 0 ||
        item->priority >= PRIORITIES)
        fail("an item of %zu bytes came from queue %s, and says that it is number %llu", length,
             queue_names[which], (unsigned long long)number);
    for (size_t i = 0; i < length - offsetof(struct item, rest); i++)
        if (item->rest[i] != byte_of(number, i))
            fail("item %llu of queue %s is torn at byte %zu", (unsigned long long)number,
                 queue_names[which], i);
}

/* ---- Producers ---- */

static int put_one(struct item *item, size_t length)
{
    int r;

    if (ring) {
        ring_put(ring, item, length);
        return 1;
    }
    if (queue_orders[which] == SHK_PRIORITY)
        r = shk_queue_put_priority(queue, item, length, item->priority, some_timeout());
    else
        r = shk_queue_put(queue, item, length, some_timeout());
    return r < 0 ? r : 1;
}

/*
 * In place. Up to the commit it must not come out, whatever happens; priority 0, but not said so in
 * the item.
 */
static int put_in_place(uint64_t number)
{
    void *slot;
    int r;

    begin(RESERVING);
    r = shk_queue_reserve(queue, sizeof(struct item), &slot, some_timeout());
    if (r < 0)
        return r;
    size_t length = fill(slot, number);
    ((struct item *)slot)->priority = 0;
    if (chance(4) == 0) {
        expect("queue_cancel", shk_queue_cancel(queue));
        return -EAGAIN;
    }
    begin(PUTTING);
    r = shk_queue_commit(queue, length);
    return r < 0 ? r : 1;
}

static int put_many(uint64_t first, unsigned n)
{
    struct item items[BATCH];
    struct iovec pieces[BATCH];

    for (unsigned i = 0; i < n; i++) {
        pieces[i] = (struct iovec){&items[i], fill(&items[i], first + i)};
        items[i].priority = 0; /* put_many gives them no other */
    }
    begin(PUTTING);
    return shk_queue_put_many(queue, pieces, n, some_timeout());
}

static int put(uint64_t first, unsigned n)
{
    struct item item;
    size_t length;

    if (n > 1)
        return put_many(first, n);
    if (chance(8) == 0 && !ring)
        return put_in_place(first);
    length = fill(&item, first);
    begin(PUTTING);
    return put_one(&item, length);
}

static void write_down_put(uint64_t first, unsigned n, int r)
{
    int done = r > 0 ? r : 0;

    for (unsigned i = 0; i < n; i++)
        atomic_fetch_or(&notes->item[which][first + i], (int)i < done ? ITEM_PUT : ITEM_REFUSED);
    end_step();
    /* -EBUSY: another keeps the side */
    if (r < 0 && !is_wait_over(r) && r != -EPIPE && r != -EBUSY)
        expect("a put", r);
}

/* Once, an item or several. */
static void produce_some(void)
{
    unsigned n = chance(8) == 0 && !ring ? 2 + (unsigned)chance(BATCH - 1) : 1;
    uint64_t first = atomic_fetch_add(&notes->next_item[which], n);
    int r;

    if (first + n > ITEMS_MAX) {
        get_on();
        usleep(1000);
        return;
    }
    watch_at_times(SHK_WRITABLE);
    atomic_store(&me->first, first);
    atomic_store(&me->count, n);
    r = put(first, n);
    write_down_put(first, n, r);
    get_on();
    if (r == -EPIPE && which == LINE)
        fail("a put to the line gave -EPIPE, though a consumer is there");
    if (chance(BURST) == 0 || r == -EPIPE)
        pause_a_little();
}

/* ---- The line: its producer begins one, ends it, and begins the next ---- */

static void see_no_doubt(uint64_t mine)
{
    if (atomic_load(&notes->line_doubted) == mine)
        fail("consumers were told of the end of a line whose producer is there");
}

/*
 * The consumer that is not killed is there, and has been told of the end of the line before. The
 * first line waits for it: a consumer that comes after the end of a line is not told of that.
 */
static bool line_has_ended(void)
{
    return atomic_load(&notes->line_has_consumer) &&
           atomic_load(&notes->line_ended) >= atomic_load(&notes->line_begun);
}

static void produce_line(void)
{
    uint64_t mine = atomic_load(&notes->line_begun) + 1;
    unsigned minds = chance(2) ? SHK_EPIPE : 0;

    expect("queue_open",
           shk_queue_open(segment, queue_names[LINE], SHK_AS(SHK_PRODUCER) | minds, NULL, &queue));
    /* Killed before: its end is one more of the line before. */
    atomic_store(&notes->line_begun, mine);
    atomic_store(&notes->line_open, mine);
    for (uint64_t i = chance(200); i > 0 && !stopping(); i--) {
        produce_some();
        see_no_doubt(mine);
    }
    atomic_store(&notes->line_open, 0);
    expect("queue_close", shk_queue_close(queue));
}

static void produce_lines(void)
{
    while (!stopping()) {
        if (line_has_ended())
            produce_line();
        else
            pause_a_little();
        get_on();
    }
}

void produce(void)
{
    choose_queue();
    if (which == LINE) {
        produce_lines();
        return;
    }
    while (!stopping()) {
        produce_some();
        claim_at_times(SHK_PRODUCER);
        while (which == UNBOUNDED && shk_queue_size(queue) > PILE && !stopping()) {
            get_on();
            pause_a_little();
        }
    }
}

/* ---- Consumers ---- */

/* What one producer has put comes in its order; from a PRIORITY queue, that of one priority. */
static void check_order(const struct item *item)
{
    static struct {
        uint64_t life, number[PRIORITIES];
    } last[LIVES];
    uint64_t i = item->life % LIVES, number = item->number;

    if (which == LIFO || which == JOBS || which == ERRANDS || ring)
        return;
    if (last[i].life == item->life && last[i].number[item->priority] > number)
        fail("item %llu of queue %s came after %llu", (unsigned long long)number,
             queue_names[which], (unsigned long long)last[i].number[item->priority]);
    if (last[i].life != item->life)
        memset(&last[i], 0, sizeof(last[i]));
    last[i].life = item->life;
    last[i].number[item->priority] = number;
}

static void empty_hand(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&me->hand[i].number, NO_ITEM);
}

static int get_many(struct iovec *pieces, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        pieces[i] = (struct iovec){&me->hand[i], sizeof(me->hand[i])};
    empty_hand();
    begin(GETTING);
    return shk_queue_get_many(queue, pieces, n, some_timeout());
}

static int get_one(struct iovec *piece)
{
    ssize_t r;

    empty_hand();
    begin(GETTING);
    if (ring)
        r = (ssize_t)ring_get(ring, &me->hand[0]);
    else
        r = shk_queue_get(queue, &me->hand[0], sizeof(me->hand[0]), some_timeout());
    if (ring && me->hand[0].number == NO_ITEM) { /* the ring's end, which is for the others, too */
        ring_put(ring, &me->hand[0], (size_t)r);
        r = -EPIPE;
    }
    piece->iov_len = (size_t)r;
    return r < 0 ? (int)r : 1;
}

/* Killed with a peek open, nothing is lost: only in consume the item is in its hand. */
static int peek_and_consume(struct iovec *piece)
{
    const void *item;
    ssize_t r = shk_queue_peek(queue, &item, some_timeout());

    if (r < 0)
        return (int)r;
    check(item, (size_t)r);
    if (chance(4) == 0) {
        expect("queue_unpeek", shk_queue_unpeek(queue));
        return -EAGAIN;
    }
    empty_hand();
    memcpy(&me->hand[0], item, (size_t)r);
    begin(GETTING);
    expect("queue_consume", shk_queue_consume(queue));
    piece->iov_len = (size_t)r;
    return 1;
}

static int get(struct iovec *pieces)
{
    if (ring)
        return get_one(pieces);
    if (chance(8) == 0)
        return get_many(pieces, 2 + (unsigned)chance(BATCH - 1));
    return chance(8) == 0 ? peek_and_consume(pieces) : get_one(pieces);
}

static void write_down_got(const struct iovec *pieces, int n)
{
    for (int i = 0; i < n; i++) {
        const struct item *item = &me->hand[i];
        uint64_t number = item->number;

        check(item, pieces[i].iov_len);
        if (atomic_fetch_or(&notes->item[which][number], ITEM_GOT) & ITEM_GOT)
            fail("item %llu of queue %s came twice", (unsigned long long)number,
                 queue_names[which]);
        check_order(item);
    }
    end_step();
    for (int i = 0; i < n && !ring; i++)
        expect("queue_task_done", shk_queue_task_done(queue));
}

/* ---- … that lease items, several at a time, and settle them in any order ---- */

static bool leases_now(void)
{
    if (ring)
        return false;
    return which == JOBS || which == ERRANDS ? chance(4) != 0 : which == LIFO && chance(4) == 0;
}

/* Killed with leases, or in a call, it loses nothing: they come back. */
static int lease_one(void)
{
    struct shk_lease_info info = {0};
    struct item item;
    uint64_t ticket;
    unsigned before;
    ssize_t r = shk_queue_lease(queue, &item, sizeof(item), some_timeout(), &ticket);

    if (r < 0)
        return (int)r;
    check(&item, (size_t)r);
    expect("queue_lease_info", shk_queue_lease_info(queue, ticket, &info));
    before = atomic_fetch_or(&notes->item[which][item.number], ITEM_LEASED);
    if (before & ITEM_GOT)
        fail("item %llu of queue %s was leased after it had been acknowledged",
             (unsigned long long)item.number, queue_names[which]);
    if (info.pid != getpid() || info.attempts < 1 || (info.attempts == 1 && before & ITEM_LEASED))
        fail("item %llu of queue %s is leased to process %d, attempt %u%s",
             (unsigned long long)item.number, queue_names[which], (int)info.pid, info.attempts,
             before & ITEM_LEASED ? ", and was leased before" : "");
    atomic_fetch_add(&notes->leases, 1);
    atomic_fetch_add(&notes->came_again, info.attempts > 1);
    leased[leases].ticket = ticket;
    leased[leases++].number = item.number;
    return 1;
}

static void give_back(uint64_t ticket, uint64_t number)
{
    int64_t delay = (int64_t)chance(SHK_MS(2)) - SHK_MS(1);

    if (delay < 0) /* this time does not count */
        atomic_fetch_and(&notes->item[which][number], (uint8_t)~ITEM_LEASED);
    expect("queue_nack", shk_queue_nack(queue, ticket, delay));
    atomic_fetch_add(&notes->given_back, 1);
}

static void acknowledge(uint64_t ticket, uint64_t number)
{
    atomic_store(&me->first, number);
    begin(ACKING);
    expect("queue_ack", shk_queue_ack(queue, ticket));
    if (atomic_fetch_or(&notes->item[which][number], ITEM_GOT) & ITEM_GOT)
        fail("item %llu of queue %s was acknowledged twice", (unsigned long long)number,
             queue_names[which]);
    end_step();
}

static void settle_one(void)
{
    unsigned i = (unsigned)chance(leases);
    uint64_t ticket = leased[i].ticket, number = leased[i].number;

    leased[i] = leased[--leases];
    if (chance(8) == 0)
        give_back(ticket, number);
    else
        acknowledge(ticket, number);
}

/* ---- … that are told of the end of the line ---- */

/* began, open: the line's, before the call that has said so. */
static void note_end_of_line(int result, uint64_t began, uint64_t open)
{
    if (open != 0 && atomic_load(&notes->line_open) == open && !stopping())
        atomic_store(&notes->line_doubted, open); /* that producer is dead, or says so */
    if (!me->mortal)
        atomic_store(&notes->line_ended, began);
    atomic_fetch_add(&notes->lines_orphaned, result == -EOWNERDEAD);
}

static int consume_some(void)
{
    struct iovec pieces[BATCH];
    int r;

    if (leases == LEASES || (leases > 0 && chance(2) == 0)) {
        settle_one();
        return 1;
    }
    if (leases_now())
        return lease_one();
    watch_at_times(SHK_READABLE);
    r = get(pieces);
    write_down_got(pieces, r > 0 ? r : 0);
    return r;
}

void consume(void)
{
    choose_queue();
    if (which == LINE && !me->mortal)
        atomic_store(&notes->line_has_consumer, 1);
    for (;;) {
        /* looked at before: no producer is left, so an empty queue stays so */
        bool end = atomic_load(&notes->stop) == 2;
        uint64_t began = atomic_load(&notes->line_begun), open = atomic_load(&notes->line_open);
        uint64_t shut = atomic_load(&notes->shut), shutting = atomic_load(&notes->shutting);
        int r = consume_some();

        get_on();
        if (r == -EPIPE && leases > 0 && shut == shutting &&
            atomic_load(&notes->shutting) == shutting) /* not: reopened while it slept */
            fail("queue %s says that it is drained, and an item of it is leased",
                 queue_names[which]);
        if (which == LINE && (r == -EPIPE || r == -EOWNERDEAD)) {
            note_end_of_line(r, began, open);
            pause_a_little();
            r = r == -EPIPE ? r : 0;
        }
        if (r == -EPIPE && end)
            return;
        if (r < 0 && !is_wait_over(r) && r != -EPIPE && r != -EBUSY)
            expect("a get", r);
        claim_at_times(SHK_CONSUMER);
        if (chance(BURST) == 0 || r == -EPIPE)
            pause_a_little();
    }
}

/* ---- Shutting down and opening again ---- */

void close_and_reopen(void)
{
    for (int i = 0; i < QUEUES; i++) /* the one before may have been killed in between */
        expect("queue_reopen", shk_queue_reopen(queues[i]));
    atomic_store(&notes->shut, atomic_load(&notes->shutting));
    while (!stopping()) {
        struct shk_queue *some = queues[chance(LINE)]; /* the line ends by itself */

        for (uint64_t i = chance(200); i > 0 && !stopping(); i--)
            pause_a_little();
        atomic_fetch_add(&notes->shutting, 1);
        expect("queue_shutdown", shk_queue_shutdown(some));
        atomic_fetch_add(&notes->closings, 1);
        pause_a_little();
        expect("queue_reopen", shk_queue_reopen(some));
        atomic_store(&notes->shut, atomic_load(&notes->shutting));
        get_on();
    }
}
