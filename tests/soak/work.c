/* What all workers have in common. */
#include "soak.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define CAPACITY 16
#define PAUSE_NS 300000  /* at most */
#define LIFE_NS  8000000 /* of CPU time, at most */

const char *const role_names[ROLES] = {
    "producer", "consumer",  "closer", "depositor", "drawer", "giver",  "taker",  "locker",
    "turner",   "passenger", "poster", "waiter",    "clerk",  "setter", "reader", "lodger"};
const char *const queue_names[QUEUES] = {"fifo", "lifo",    "priority", "unbounded",
                                         "jobs", "errands", "line"};
const uint32_t queue_orders[QUEUES] = {SHK_FIFO, SHK_LIFO,     SHK_PRIORITY, SHK_FIFO,
                                       SHK_FIFO, SHK_PRIORITY, SHK_FIFO};

struct soak soak;
struct notes *notes;

struct place *me;
struct shk_segment *segment;
struct shk_queue *queues[QUEUES];
struct shk_lock *locks[LOCKS];
struct shk_cond *account, *given, *taken;
struct shk_event *turnstile[2];
struct shk_semaphore *permits, *flats;
struct shk_value *newest, *number;
struct shk_rwlock *board;
struct ledger *ledgers;

void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (atomic_exchange(&notes->failing, 1) == 0) {
        vsnprintf(notes->failure, sizeof(notes->failure), format, arguments);
        atomic_store(&notes->failed, 1);
    }
    va_end(arguments);
    _exit(1);
}

void expect(const char *call, long long result)
{
    if (result < 0)
        fail("%s gave %lld to a %s: %s", call, result, role_names[me->role], shk_last_error());
}

bool is_wait_over(long long result)
{
    return result == -EAGAIN || result == -ETIMEDOUT;
}

bool stopping(void)
{
    return atomic_load_explicit(&notes->stop, memory_order_relaxed) != 0;
}

void get_on(void)
{
    atomic_fetch_add_explicit(&me->progress, 1, memory_order_relaxed);
}

uint64_t chance(uint64_t below)
{
    static uint64_t state;

    if (state == 0)
        state = (uint64_t)getpid() * 0x9E3779B97F4A7C15u | 1;
    state ^= state << 13; /* xorshift */
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

void pause_a_little(void)
{
    struct timespec t = {.tv_nsec = (long)chance(PAUSE_NS)};

    nanosleep(&t, NULL);
}

/* Only program order matters: the supervisor looks after this process has ended. */
void begin(enum step step)
{
    atomic_store(&me->step, step);
}

void end_step(void)
{
    atomic_store(&me->step, NO_STEP);
}

/* ---- The segment ---- */

static void open_queues(void)
{
    for (int i = 0; i < QUEUES; i++) {
        const struct shk_queue_options options = {
            .order = queue_orders[i],
            .capacity = i == UNBOUNDED ? 0 : CAPACITY,
            .item_size = sizeof(struct item),
        };
        /* the producer of the line opens it with its role when it begins one */
        unsigned role =
            i == LINE && me->role == CONSUMER && me->queue == LINE ? SHK_AS(SHK_CONSUMER) : 0;
        expect("queue_open",
               shk_queue_open(segment, queue_names[i], SHK_CREATE | role, &options, &queues[i]));
    }
}

static void open_locks(void)
{
    struct shk_cond_options options = {.kind = soak.pthread ? SHK_COND_PTHREAD : SHK_COND_ROBUST};
    struct shk_lock *lock;
    char name[16];

    for (int i = 0; i < LOCKS; i++) {
        snprintf(name, sizeof(name), "lock-%d", i);
        const struct shk_lock_options recursive = {.recursive = i % 2};
        expect("lock_open", shk_lock_open(segment, name, SHK_CREATE, &recursive, &locks[i]));
    }
    expect("cond_open", shk_cond_open(segment, "account", SHK_CREATE, &options, &account));
    expect("lock_open", shk_lock_open(segment, "relay", SHK_CREATE, NULL, &lock));
    options.lock = lock;
    expect("cond_open", shk_cond_open(segment, "given", SHK_CREATE, &options, &given));
    expect("cond_open", shk_cond_open(segment, "taken", SHK_CREATE, &options, &taken));
    expect("lock_close", shk_lock_close(lock));
}

/* The first actor that needs something makes it. */
static void open_all(void)
{
    static const struct shk_segment_options small = {.max_members = 2 * PLACES_MAX};
    static const struct shk_region_options room = {.size = LEDGERS * sizeof(struct ledger)};
    struct shk_region *region;
    void *data;

    expect("segment_open", shk_segment_open(soak.segment, SHK_CREATE, &small, &segment));
    open_queues();
    open_locks();
    expect("event_open", shk_event_open(segment, "in", SHK_CREATE, NULL, &turnstile[0]));
    expect("event_open", shk_event_open(segment, "out", SHK_CREATE, NULL, &turnstile[1]));
    expect("semaphore_open", shk_semaphore_open(segment, "permits", SHK_CREATE,
                                                &(struct shk_semaphore_options){0}, &permits));
    expect("semaphore_open",
           shk_semaphore_open(segment, "flats", SHK_CREATE,
                              &(struct shk_semaphore_options){.value = FLATS, .owners = 1},
                              &flats));
    expect("value_open",
           shk_value_open(segment, "newest", SHK_CREATE,
                          &(struct shk_value_options){.size = sizeof(struct newest)}, &newest));
    expect("value_open", shk_value_open(segment, "number", SHK_CREATE,
                                        &(struct shk_value_options){.size = 8}, &number));
    expect("rwlock_open", shk_rwlock_open(segment, "board", SHK_CREATE, NULL, &board));
    expect("region_open", shk_region_open(segment, "ledgers", SHK_CREATE, &room, &region));
    expect("region_data", shk_region_data(region, &data, NULL));
    ledgers = data;
}

/* ---- Ledgers ---- */

static int64_t balance_at(unsigned ledger, uint64_t count)
{
    return ledger == ACCOUNT ? (int64_t)(count % 2) * AMOUNT : (int64_t)count;
}

/*
 * The life that had this place before may have been killed on its way to a commit: was that the
 * last thing that it did?
 */
static void settle(unsigned ledger, uint64_t count)
{
    struct ledger *l = &ledgers[ledger];
    uint64_t acked = atomic_load(&me->acked[ledger]);
    bool unsure = atomic_load(&me->committing[ledger]);
    uint64_t mine;

    /* Killed here: the next one does the same. */
    if (count > 0)
        atomic_store(&l->credit[atomic_load(&l->last[count % 2].place) % PLACES_MAX],
                     atomic_load(&l->last[count % 2].mine));
    mine = atomic_load(&l->credit[me->number]);
    if (mine != acked && !(unsure && mine == acked + 1))
        fail("of its %llu commits, a %s finds %llu in ledger %u", (unsigned long long)acked,
             role_names[me->role], (unsigned long long)mine, ledger);
    if (unsure) {
        atomic_store(&me->acked[ledger], mine);
        atomic_store(&me->committing[ledger], 0);
    }
}

void check_ledger(unsigned ledger)
{
    const struct ledger *l = &ledgers[ledger];
    uint64_t count = atomic_load(&l->count);

    if (atomic_load(&l->inside) != 0 ||
        (count != 0 && (atomic_load(&l->balance) != balance_at(ledger, count) ||
                        atomic_load(&l->reverse) != ~count)) ||
        atomic_load(&l->count) != count)
        fail("a reader sees ledger %u half done at %llu, and the rwlock has not said so", ledger,
             (unsigned long long)count);
}

void enter(unsigned ledger, long long acquired)
{
    struct ledger *l = &ledgers[ledger];
    uint64_t count = atomic_load(&l->count);

    expect("acquire", acquired);
    if (acquired == SHK_ORPHANED) { /* put in order what the dead left */
        atomic_fetch_add(&notes->orphaned, 1);
        atomic_store(&l->balance, balance_at(ledger, count));
        atomic_store(&l->reverse, ~count);
    } else if (atomic_load(&l->inside) != 0) {
        fail("two in the critical section of ledger %u, or one died there and the lock has not "
             "said so",
             ledger);
    }
    if (count != 0 && (atomic_load(&l->balance) != balance_at(ledger, count) ||
                       atomic_load(&l->reverse) != ~count))
        fail("ledger %u is half done at %llu, and the lock has not said so", ledger,
             (unsigned long long)count);
    atomic_store(&l->inside, me->life);
    settle(ledger, count);
}

void leave(unsigned ledger)
{
    if (atomic_exchange(&ledgers[ledger].inside, 0) != me->life)
        fail("another came into the critical section of ledger %u", ledger);
}

void commit(unsigned ledger)
{
    struct ledger *l = &ledgers[ledger];
    uint64_t number = atomic_load(&l->count) + 1, mine = atomic_load(&me->acked[ledger]) + 1;

    atomic_store(&me->committing[ledger], 1);
    atomic_store(&l->last[number % 2].place, me->number);
    atomic_store(&l->last[number % 2].mine, mine);
    atomic_store(&l->count, number);
    atomic_store(&me->acked[ledger], mine);
    atomic_store(&me->committing[ledger], 0);
    atomic_store(&l->balance, balance_at(ledger, number));
    atomic_store(&l->reverse, ~number);
    get_on();
}

/* ---- Lives ---- */

/*
 * A kill by the supervisor finds most workers asleep. This one comes after some CPU time of the
 * worker's own, so it is at work. Where there is no such timer, there are still the supervisor's.
 */
static void arm_death(void)
{
    struct sigevent death = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value.tv_nsec = 1 + (long)chance(LIFE_NS)};
    timer_t timer;

    if (timer_create(CLOCK_PROCESS_CPUTIME_ID, &death, &timer) == 0)
        timer_settime(timer, 0, &when, NULL);
}

/* Become a member, leave, and come again. */
static void visit(void)
{
    int r = shk_lock_acquire(locks[0], SHK_MS(1));

    if (!is_wait_over(r)) {
        enter(0, r);
        leave(0);
        expect("lock_release", shk_lock_release(locks[0]));
    }
    expect("segment_close", shk_segment_close(segment));
    open_all();
}

void work(struct place *place)
{
    static void (*const duties[ROLES])(void) = {
        produce,
        consume,
        close_and_reopen,
        transact,
        transact,
        give,
        take,
        lock_and_unlock,
        turn,
        pass,
        post,
        wait_for_permits,
        read_and_write,
        set_values,
        read_values,
        take_and_leave,
    };

    me = place;
    atomic_store(&me->runs, 1);
    if (me->clock)
        arm_death();
    open_all();
    if (me->mortal && chance(4) == 0)
        visit();
    duties[place->role]();
    _exit(0);
}

static void end_queues(void)
{
    static const struct item end = {.number = NO_ITEM};
    static bool rings_have_it;

    for (int i = 0; i < QUEUES; i++) {
        shk_queue_shutdown(queues[i]);
        if (soak.rings[i] && !rings_have_it)
            ring_put(soak.rings[i], &end, sizeof(end));
    }
    rings_have_it = true;
}

static void wake_all(struct shk_cond *cond)
{
    if (shk_cond_acquire(cond, SHK_FOREVER) < 0)
        return;
    shk_cond_notify_all(cond);
    shk_cond_release(cond);
}

void release_all(struct place *place)
{
    me = place;
    open_all();
    while (atomic_load(&notes->stop) < 3) {
        shk_event_set(turnstile[0]);
        shk_event_set(turnstile[1]);
        if (shk_semaphore_value(permits) == 0 && shk_semaphore_release(permits, PLACES_MAX) == 0)
            atomic_fetch_add(&me->given, PLACES_MAX);
        set_newest();
        wake_all(account);
        wake_all(given);
        wake_all(taken);
        if (atomic_load(&notes->stop) == 2)
            end_queues();
        usleep(1000);
    }
    _exit(0);
}

void audit(struct place *place)
{
    me = place;
    open_all();
    for (unsigned i = 0; i < LEDGERS; i++) {
        notes->counts[i] = atomic_load(&ledgers[i].count);
        for (unsigned p = 0; p < PLACES_MAX; p++) {
            me = &notes->place[p];
            settle(i, notes->counts[i]);
        }
    }
    me = place;
    notes->balance = balance_at(ACCOUNT, notes->counts[ACCOUNT]);
    notes->permits = (uint64_t)shk_semaphore_value(permits);
    audit_values();
    audit_flats();
    for (int i = 0; i < QUEUES; i++) {
        notes->left_in_queue[i] = (uint64_t)shk_queue_size(queues[i]);
        expect("queue_join", shk_queue_join(queues[i], SHK_SEC(10)));
    }
    expect("segment_close", shk_segment_close(segment));
    _exit(0);
}
