#include "soak.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CAPACITY 16
#define ITEM_MAX 200
#define AMOUNT 800
#define BURST 64         /* items on end, then a pause: so the queue is full now and empty then */
#define PAUSE_NS 300000  /* at most */
#define LIVES 4096       /* producers that a consumer remembers */

const char *const role_names[ROLES] = { "producer", "consumer", "depositor", "drawer",     "locker",
                                        "setter",   "event waiter", "notifier", "condition waiter" };

static const struct soak *soak;
static struct notes *notes;
static struct place *me;

static struct shk_segment *segment;
static struct shk_queue *queue;
static struct shk_cond *account, *relay;
static struct shk_event *event;
static struct shk_lock *locks[LOCKS];
static struct ledger *ledgers;

/* ---- Small things ---- */

static _Noreturn void violation(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (atomic_exchange(&notes->violated, 1) == 0)
        vsnprintf(notes->violation, sizeof(notes->violation), format, arguments);
    va_end(arguments);
    _exit(1);
}

static void expect(const char *what, long long r)
{
    if (r < 0)
        violation("%s gave %lld: %s", what, r, shk_last_error());
}

static uint64_t chance(uint64_t below)
{
    static uint64_t state;

    if (state == 0)
        state = (uint64_t)getpid() * 0x9E3779B97F4A7C15u | 1;
    state ^= state << 13; /* xorshift */
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void pause_a_little(void)
{
    struct timespec t = { .tv_nsec = (long)chance(PAUSE_NS) };

    nanosleep(&t, NULL);
}

static bool stopping(void)
{
    return atomic_load(&notes->stop) != 0;
}

static void get_on(void)
{
    atomic_fetch_add_explicit(&me->progress, 1, memory_order_relaxed);
}

/* Whoever needs something first makes it. */
static void open_all(void)
{
    static const struct shk_segment_options small = { .max_members = 2 * PLACES_MAX };
    const uint32_t kind = soak->control && strcmp(soak->control, "pthread") == 0 ? SHK_COND_PTHREAD : SHK_COND_ROBUST;
    struct shk_region *region;
    char name[16];

    expect("segment_open", shk_segment_open(soak->segment, SHK_CREATE, &small, &segment));
    expect("queue_open", shk_queue_open(segment, "queue", SHK_CREATE, &(struct shk_queue_options){ .capacity = CAPACITY, .item_size = ITEM_MAX }, &queue));
    expect("cond_open", shk_cond_open(segment, "account", SHK_CREATE, &(struct shk_cond_options){ .kind = kind }, &account));
    expect("cond_open", shk_cond_open(segment, "relay", SHK_CREATE, &(struct shk_cond_options){ .kind = kind }, &relay));
    expect("event_open", shk_event_open(segment, "event", SHK_CREATE, NULL, &event));
    for (unsigned i = 0; i < LOCKS; i++) {
        snprintf(name, sizeof(name), "lock-%u", i);
        expect("lock_open", shk_lock_open(segment, name, SHK_CREATE, &(struct shk_lock_options){ .recursive = i % 2 }, &locks[i]));
    }
    expect("region_open", shk_region_open(segment, "ledgers", SHK_CREATE, &(struct shk_region_options){ .size = LEDGERS * sizeof(*ledgers) }, &region));
    expect("region_data", shk_region_data(region, (void **)&ledgers, NULL));
}

/* ---- The queue ---- */

struct item {
    uint64_t number, life;
    unsigned char rest[ITEM_MAX - 16];
};

/* Lengths and bytes follow from the number. */
static size_t fill(struct item *item, uint64_t number)
{
    size_t length = number % sizeof(item->rest);

    item->number = number;
    item->life = me->life;
    for (size_t i = 0; i < length; i++)
        item->rest[i] = (unsigned char)(number * 31 + i);
    return offsetof(struct item, rest) + length;
}

static void check(const struct item *item, size_t length)
{
    if (item->number >= ITEMS_MAX || length != offsetof(struct item, rest) + item->number % sizeof(item->rest))
        violation("an item of %zu bytes says that it is number %llu", length, (unsigned long long)item->number);
    for (size_t i = 0; i < length - offsetof(struct item, rest); i++)
        if (item->rest[i] != (unsigned char)(item->number * 31 + i))
            violation("item %llu is torn at byte %zu", (unsigned long long)item->number, i);
}

static long long put(struct item *item, size_t length)
{
    static const int64_t timeouts[] = { SHK_FOREVER, SHK_FOREVER, SHK_FOREVER, SHK_MS(1), SHK_NOWAIT };

    if (soak->ring) {
        ring_put(soak->ring, item->number);
        return 0;
    }
    return shk_queue_put(queue, item, length, timeouts[chance(5)]);
}

static long long get(struct item *item)
{
    static const int64_t timeouts[] = { SHK_FOREVER, SHK_FOREVER, SHK_FOREVER, SHK_MS(1), SHK_NOWAIT };

    if (soak->ring)
        return (long long)fill(item, ring_get(soak->ring));
    return shk_queue_get(queue, item, sizeof(*item), timeouts[chance(5)]);
}

static bool is_patience(long long r)
{
    return r == -EAGAIN || r == -ETIMEDOUT;
}

static void produce(void)
{
    struct item item;

    while (!stopping()) {
        uint64_t number = atomic_fetch_add(&notes->next_item, 1);
        long long r;

        if (number >= ITEMS_MAX)
            violation("the soak is too long for its notes");
        atomic_fetch_or(&notes->item[number], ITEM_TRIED);
        do {
            r = put(&item, fill(&item, number));
            get_on();
        } while (is_patience(r) && !stopping());
        if (r == 0)
            atomic_fetch_or(&notes->item[number], ITEM_PUT);
        else if (r != -EPIPE && !is_patience(r))
            expect("put", r);
        if (chance(BURST) == 0)
            pause_a_little();
    }
}

/* What one producer has put comes in its order. */
static void check_order(const struct item *item)
{
    static struct {
        uint64_t life, number;
    } last[LIVES];
    uint64_t i = item->life % LIVES;

    if (soak->ring)
        return; /* whose it was, that does not say */
    if (last[i].life == item->life && last[i].number >= item->number)
        violation("item %llu came after %llu", (unsigned long long)item->number, (unsigned long long)last[i].number);
    last[i].life = item->life;
    last[i].number = item->number;
}

static void consume(void)
{
    struct item item;

    for (;;) {
        long long r;

        atomic_store(&me->in_call, 1);
        r = get(&item);
        if (r >= 0 && atomic_fetch_or(&notes->item[item.number % ITEMS_MAX], ITEM_GOT) & ITEM_GOT)
            violation("item %llu came twice", (unsigned long long)item.number);
        atomic_store(&me->in_call, 0);
        get_on();
        if (r == -EPIPE || (soak->ring && stopping()))
            return;
        if (is_patience(r))
            continue;
        expect("get", r);
        check(&item, (size_t)r);
        check_order(&item);
        if (!(atomic_load(&notes->item[item.number]) & ITEM_TRIED))
            violation("item %llu was never put", (unsigned long long)item.number);
        if (chance(BURST) == 0)
            pause_a_little();
    }
}

/* ---- Ledgers ---- */

static uint64_t a_for(unsigned which, uint64_t count)
{
    return which == ACCOUNT ? count % 2 * AMOUNT : count;
}

static uint64_t b_for(unsigned which, uint64_t count)
{
    return which == ACCOUNT ? count % 2 : ~count;
}

/* With the lock. r: what acquiring it said. */
static void enter(unsigned which, long long r)
{
    struct ledger *l = &ledgers[which];
    uint64_t count = atomic_load(&l->count);

    expect("acquire", r);
    if (r == SHK_ORPHANED) { /* put in order what the dead left */
        atomic_store(&l->a, a_for(which, count));
        atomic_store(&l->b, b_for(which, count));
    } else if (atomic_load(&l->inside) != 0) {
        violation("two in the critical section of ledger %u", which);
    }
    if (count != 0 && (atomic_load(&l->a) != a_for(which, count) || atomic_load(&l->b) != b_for(which, count)))
        violation("ledger %u is half done at %llu, and nobody said so", which, (unsigned long long)count);
    atomic_store(&l->inside, me->life);
}

static void leave(unsigned which)
{
    if (atomic_exchange(&ledgers[which].inside, 0) != me->life)
        violation("somebody else came into the critical section of ledger %u", which);
}

static void commit(unsigned which)
{
    struct ledger *l = &ledgers[which];
    uint64_t number = atomic_load(&l->count) + 1;

    atomic_store(&me->acked_before, atomic_load(&me->acked[which]));
    atomic_store(&me->number, number);
    atomic_store(&me->writer, me->life);
    atomic_store(&me->ledger, which + 1);
    atomic_store(&l->by[number % RECENT], me->life);
    atomic_store(&l->count, number);
    atomic_fetch_add(&me->acked[which], 1); /* acknowledges */
    atomic_store(&me->ledger, 0);
    atomic_store(&l->a, a_for(which, number));
    atomic_store(&l->b, b_for(which, number));
    get_on();
}

/* Whoever had this place before may have been killed on its way to a commit: was it the last that it did? */
static void settle(void)
{
    uint32_t which = atomic_load(&me->ledger);
    uint64_t number = atomic_load(&me->number), count;
    bool committed;

    if (which-- == 0)
        return;
    count = atomic_load(&ledgers[which].count);
    committed = count >= number && atomic_load(&ledgers[which].by[number % RECENT]) == atomic_load(&me->writer);
    if (count >= number + RECENT)
        violation("too late to see who made commit %llu", (unsigned long long)number);
    /* Killed here, too: the next one comes to the same. */
    atomic_store(&me->acked[which], atomic_load(&me->acked_before) + committed);
    atomic_store(&me->ledger, 0);
}

/* Deposits and draws alternate: the count's parity says whose turn it is. */
static void transact(void)
{
    uint64_t parity = me->role == DRAWER;
    long long r;

    while (!stopping()) {
        r = shk_cond_acquire(account, SHK_FOREVER);
        enter(ACCOUNT, r);
        while (atomic_load(&ledgers[ACCOUNT].count) % 2 != parity && !stopping()) {
            leave(ACCOUNT);
            r = shk_cond_wait(account, SHK_FOREVER);
            enter(ACCOUNT, r);
        }
        if (!stopping()) {
            commit(ACCOUNT);
            expect("notify_all", shk_cond_notify_all(account));
        }
        leave(ACCOUNT);
        expect("release", shk_cond_release(account));
        if (chance(4) == 0)
            pause_a_little();
    }
}

static long long acquire(unsigned i)
{
    static const int64_t timeouts[] = { SHK_FOREVER, SHK_FOREVER, SHK_MS(1), SHK_NOWAIT };

    return shk_lock_acquire(locks[i], timeouts[chance(4)]);
}

static void use_lock(unsigned i, long long r)
{
    enter(i, r);
    if (i % 2 && chance(2) == 0) { /* it is recursive */
        expect("acquire again", shk_lock_acquire(locks[i], SHK_FOREVER));
        commit(i);
        expect("release once", shk_lock_release(locks[i]));
    } else {
        commit(i);
    }
    leave(i);
    expect("release", shk_lock_release(locks[i]));
}

/* One lock, or two in an order in which there is no deadlock. */
static void lock_and_unlock(void)
{
    while (!stopping()) {
        unsigned i = (unsigned)chance(LOCKS), j = i + (unsigned)chance(LOCKS - i);
        long long outer = acquire(i), inner;

        get_on();
        if (is_patience(outer))
            continue;
        expect("acquire", outer);
        inner = j > i ? acquire(j) : -EAGAIN;
        if (!is_patience(inner))
            use_lock(j, inner);
        use_lock(i, outer);
        if (chance(16) == 0)
            pause_a_little();
    }
}

/* ---- The event ---- */

static void set_and_clear(void)
{
    while (!stopping()) {
        expect("set", shk_event_set(event));
        atomic_fetch_add(&notes->sets, 1);
        if (chance(2) == 0)
            pause_a_little();
        expect("clear", shk_event_clear(event));
        get_on();
        pause_a_little();
    }
}

static void wait_for_event(void)
{
    while (!stopping()) {
        long long r = shk_event_wait(event, chance(4) ? SHK_FOREVER : SHK_MS(1));

        if (!is_patience(r))
            expect("event_wait", r);
        atomic_fetch_add(&notes->waits, r == 0);
        get_on();
    }
}

/* ---- The condition: each wake-up that is given arrives once ---- */

static void notify(void)
{
    while (!stopping()) {
        long long r;

        expect("acquire", shk_cond_acquire(relay, SHK_FOREVER));
        atomic_store(&me->in_call, 1);
        r = chance(8) ? shk_cond_notify(relay, 1 + (unsigned)chance(2)) : shk_cond_notify_all(relay);
        expect("notify", r);
        atomic_fetch_add(&notes->notified, (uint64_t)r);
        atomic_store(&me->in_call, 0);
        expect("release", shk_cond_release(relay));
        get_on();
        pause_a_little();
    }
}

static void wait_for_notify(void)
{
    while (!stopping()) {
        long long r;

        expect("acquire", shk_cond_acquire(relay, SHK_FOREVER));
        atomic_store(&me->in_call, 1);
        r = shk_cond_wait(relay, chance(4) ? SHK_FOREVER : SHK_MS(1));
        if (!is_patience(r))
            expect("cond_wait", r);
        if (r >= 0)
            atomic_fetch_add(r == SHK_ORPHANED ? &notes->orphaned : &notes->woken, 1);
        atomic_store(&me->in_call, 0);
        expect("release", shk_cond_release(relay));
        get_on();
    }
}

void work(const struct soak *s, struct place *place)
{
    static void (*const duties[ROLES])(void) = { produce,       consume,        transact, transact,       lock_and_unlock,
                                                 set_and_clear, wait_for_event, notify,   wait_for_notify };

    soak = s;
    notes = s->notes;
    me = place;
    open_all();
    settle();
    duties[place->role]();
    _exit(0);
}

void release_all(const struct soak *s)
{
    struct place nobody = { 0 };

    soak = s;
    notes = s->notes;
    me = &nobody;
    open_all();
    for (;;) {
        shk_queue_shutdown(queue);
        shk_event_set(event);
        shk_cond_acquire(account, SHK_FOREVER);
        shk_cond_notify_all(account);
        shk_cond_release(account);
        shk_cond_acquire(relay, SHK_FOREVER);
        shk_cond_notify_all(relay);
        shk_cond_release(relay);
        for (int i = 0; soak->ring && i < CAPACITY; i++)
            sched_yield();
        usleep(1000);
    }
}

void audit(const struct soak *s)
{
    const struct shk_object_info *object;
    struct shk_snapshot *look;
    struct place nobody = { 0 };

    soak = s;
    notes = s->notes;
    me = &nobody;
    open_all();
    for (unsigned i = 0; i < LEDGERS; i++)
        notes->counts[i] = atomic_load(&ledgers[i].count);
    expect("snapshot_open", shk_snapshot_open(s->segment, &look));
    for (size_t i = 0; (object = shk_snapshot_object(look, i)); i++) {
        notes->repairs[0] += object->holders_lost;
        notes->repairs[1] += object->waiters_buried;
        notes->repairs[2] += object->wakeups_passed_on;
        notes->repairs[3] += object->rebuilds;
    }
    shk_snapshot_close(look);
    expect("unlink", shk_segment_unlink(s->segment));
    _exit(0);
}
