#include "account.h"
#include "ledger.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One transaction and what the account is after it. */
struct entry {
    int64_t amount; /* below zero: drawn */
    int64_t balance;
    uint32_t paid_in;          /* the article's flag: 1 after a deposit, 0 after a draw */
    char by[SHK_NAME_MAX + 1]; /* the name of the process that made it */
};

/*
 * In shared memory, zero at first; all but `way` under the account's lock.
 *
 * A transaction fills the entry that is not current, and counting it is the one store that makes it
 * current. So a process that is killed, at whatever moment, leaves the account as it is after some
 * whole number of transactions.
 */
struct account {
    _Atomic uint32_t way;   /* enum way; set once, by the first process */
    _Atomic uint64_t done;  /* transactions so far: entries[done % 2] is the account */
    _Atomic uint64_t begun; /* done + 1: the other entry is filled; done: counted; 0: printed */
    struct entry entries[2];
};

/* How a process that cannot go on waits. All users of an account must do it in the same way. */
enum way { UNDECIDED, CONDITION, EVENTS };

/* This process at the counter. */
struct teller {
    const struct side *side;
    const struct place *place;
    struct account *account;
    struct shk_cond *changed;        /* CONDITION: with its own lock */
    struct shk_lock *lock;           /* EVENTS */
    struct shk_event *ready, *other; /* EVENTS: set whenever this side, the other side may go on */
    struct shk_region *region;
    struct shk_queue *ledger; /* on etcd, in place of the region */
    struct entry seen;        /* … its newest entry, as of the acquire */
    int64_t deadline;         /* of the transaction at hand */
};

static const char *name; /* of this process */
static int64_t amount = 800, times = 100;
static int64_t interval = SHK_MS(1), timeout = SHK_FOREVER;
static bool attempts, with_events;

static const struct entry *current(const struct teller *teller)
{
    return teller->ledger ? &teller->seen : &teller->account->entries[teller->account->done % 2];
}

/* ---- the lock, and waiting ---- */

static int64_t time_left(const struct teller *teller)
{
    int64_t left = teller->deadline - now();

    if (timeout == SHK_FOREVER)
        return SHK_FOREVER;
    return left > 0 ? left : SHK_NOWAIT;
}

/*
 * The former holder of the lock died with it. The account needs no repair; say what became of the
 * transaction that was being made.
 */
static void report_death(struct teller *teller)
{
    struct account *account = teller->account;
    const struct entry *last;

    if (teller->ledger) {
        complain("%s: a process died holding the lock; the balance is %lld", teller->place->path,
                 (long long)teller->seen.balance);
        return;
    }
    last = &account->entries[account->begun % 2];
    if (account->begun == 0)
        complain("%s: a process died between two transactions; the balance is %lld",
                 teller->place->path, (long long)current(teller)->balance);
    else
        complain("%s: %.*s died in the middle of a %s of %lld, which %s; the balance is %lld",
                 teller->place->path, SHK_NAME_MAX, last->by, last->amount < 0 ? "draw" : "deposit",
                 llabs(last->amount), account->begun == account->done ? "counts" : "does not count",
                 (long long)current(teller)->balance);
    account->begun = 0;
}

static void release(struct teller *teller)
{
    if (with_events)
        shk_lock_release(teller->lock);
    else
        shk_cond_release(teller->changed);
}

static int acquire(struct teller *teller)
{
    int64_t left = time_left(teller);
    int r = with_events ? shk_lock_acquire(teller->lock, left)
                        : shk_cond_acquire(teller->changed, left);
    int read = r >= 0 && teller->ledger
                   ? ledger_read(teller->ledger, &teller->seen, sizeof(teller->seen))
                   : 0;

    if (read < 0) {
        release(teller);
        return read;
    }
    if (r == SHK_ORPHANED)
        report_death(teller);
    return r < 0 ? r : 0;
}

static int wait_condition(struct teller *teller)
{
    int r = shk_cond_wait(teller->changed, time_left(teller));

    if (r == SHK_ORPHANED)
        report_death(teller);
    if (r < 0)
        release(teller);
    return r < 0 ? r : 0;
}

/*
 * Under the lock, and this side may not go on: so its event may be cleared, and must be, or the
 * wait would spin. From here on each process that makes it this side's turn sets the event, so
 * there is nothing to miss between release and wait.
 */
static int wait_event(struct teller *teller)
{
    int r = shk_event_clear(teller->ready);

    release(teller);
    if (r == 0)
        r = shk_event_wait(teller->ready, time_left(teller));
    return r == 0 ? acquire(teller) : r;
}

/*
 * Give up the lock, sleep until the account has changed, take the lock. Returns 0, or -errno
 * without the lock.
 */
static int wait_for_change(struct teller *teller)
{
    return with_events ? wait_event(teller) : wait_condition(teller);
}

/* ---- transactions ---- */

static int say_it(const struct teller *teller, const struct entry *e)
{
    return say("%s%*s %s:%lld\n账户余额为：%lld\n", name, padding(name, NAME_COLUMNS), "",
               teller->side->does, (long long)amount, (long long)e->balance);
}

static struct entry next_entry(const struct teller *teller)
{
    struct entry e = {.amount = teller->side->sign * amount, .paid_in = !teller->side->needs};

    e.balance = current(teller)->balance + e.amount;
    snprintf(e.by, sizeof(e.by), "%s", name);
    return e;
}

/* On etcd: as carry_out(), but what counts may not be printed if the process is killed. */
static int carry_out_on_etcd(struct teller *teller)
{
    struct entry next = next_entry(teller);
    int status = DONE, r = shk_event_set(teller->other);

    if (r == 0)
        status = wait_to_say();
    if (r == 0 && status == DONE)
        r = ledger_write(teller->ledger, teller->lock, &next, sizeof(next));
    if (r == 0 && status == DONE)
        status = say_it(teller, &next);
    if (r == 0 && status == DONE)
        r = shk_event_clear(teller->ready);
    return r < 0 ? failed(teller->place, r) : status;
}

/*
 * Under the lock, which the others need before they can check whose turn it is. They are woken
 * first: if this process is killed after it has counted, no process that could go on sleeps on.
 *
 * The transaction counts when its lines are sure to be taken without blocking, and just before they
 * are written, because a kill does not cut such a write short: what counts is printed.
 */
static int carry_out(struct teller *teller)
{
    struct account *account = teller->account;
    struct entry *next = &account->entries[(account->done + 1) % 2];
    int r, status;

    *next = next_entry(teller);
    account->begun = account->done + 1;

    r = with_events ? shk_event_set(teller->other) : shk_cond_notify_all(teller->changed);
    status = r < 0 ? failed(teller->place, r) : wait_to_say();
    if (status == DONE) {
        account->done++;
        status = say_it(teller, next);
        if (status != DONE)
            account->done--;
    }
    account->begun = 0;
    r = with_events && status == DONE ? shk_event_clear(teller->ready) : 0;
    return r < 0 ? failed(teller->place, r) : status;
}

/*
 * One deposit or draw; one attempt at it if `attempts`: as in the article's code, a process
 * that had to wait has had the attempt.
 */
static int transact(struct teller *teller)
{
    bool waited = false;
    int r, status = DONE;

    teller->deadline = now() + timeout;
    r = acquire(teller);
    while (r == 0 && current(teller)->paid_in != teller->side->needs && !(waited && attempts)) {
        r = wait_for_change(teller);
        waited = true;
    }
    if (r < 0)
        return failed(teller->place, r);
    if (!(waited && attempts))
        status = teller->ledger ? carry_out_on_etcd(teller) : carry_out(teller);
    release(teller);
    return status;
}

/* ---- coming and going ---- */

/*
 * "account.lock": what belongs to the account is named after it. Too long a name is left to the
 * library to refuse.
 */
static const char *part(const struct teller *teller, const char *suffix)
{
    static char part_name[2 * SHK_NAME_MAX];

    snprintf(part_name, sizeof(part_name), "%s.%s", teller->place->object, suffix);
    return part_name;
}

static int open_events(struct teller *teller)
{
    struct shk_segment *segment = teller->place->segment;
    int r = shk_lock_open(segment, part(teller, "lock"), SHK_CREATE, NULL, &teller->lock);

    if (r == 0)
        r = shk_event_open(segment, part(teller, teller->side->ready), SHK_CREATE, NULL,
                           &teller->ready);
    if (r == 0)
        r = shk_event_open(segment, part(teller, teller->side->other), SHK_CREATE, NULL,
                           &teller->other);
    return r;
}

/* A segment on etcd has no memory, and its account is always used with events. */
static int open_account_on_etcd(struct teller *teller)
{
    int r = ledger_open(teller->place->segment, teller->place->object, &teller->ledger);

    with_events = true;
    if (r == 0)
        r = open_events(teller);
    return r < 0 ? failed(teller->place, r) : DONE;
}

static int open_account(struct teller *teller)
{
    struct shk_segment *segment = teller->place->segment;
    struct shk_region_options options = {.size = sizeof(struct account),
                                         .align = _Alignof(struct account)};
    uint32_t mine = with_events ? EVENTS : CONDITION, way = UNDECIDED;
    int r = shk_region_open(segment, teller->place->object, SHK_CREATE, &options, &teller->region);

    if (r == 0)
        r = shk_region_data(teller->region, (void **)&teller->account, NULL);
    if (r == 0 && with_events)
        r = open_events(teller);
    else if (r == 0)
        r = shk_cond_open(segment, part(teller, "changed"), SHK_CREATE, NULL, &teller->changed);
    if (r < 0)
        return failed(teller->place, r);
    if (!atomic_compare_exchange_strong(&teller->account->way, &way, mine) && way != mine) {
        complain("%s: its other processes use it %s --event; all must do it alike",
                 teller->place->path, way == EVENTS ? "with" : "without");
        return FAILED;
    }
    return DONE;
}

static void close_account(struct teller *teller)
{
    shk_event_close(teller->ready);
    shk_event_close(teller->other);
    shk_lock_close(teller->lock);
    shk_cond_close(teller->changed);
    shk_region_close(teller->region);
    shk_queue_close(teller->ledger);
}

static const struct option_row options[] = {
    {"name", "NAME", "its name, here and in shmctl ps (存款者, 取钱者)", .text = &name},
    {"amount", "N", "how much each time (800)", .number = &amount, .least = 1, .most = 1000000000},
    {"times", "N", "how often (100)", .number = &times, .least = 0},
    {"attempts", NULL,
     "let --times count attempts, as the article's code does:\n"
     "to wait for the turn is one",
     .flag = &attempts},
    {"interval", "DURATION", "pause before each time, so that others get theirs (1ms)",
     .duration = &interval},
    {"event", NULL, "wait for events beside a lock, not for a condition", .flag = &with_events},
    {"timeout", "DURATION", "wait that long at most each time (for ever)", .duration = &timeout},
    {0},
};

int account_main(int argc, char **argv, const struct side *side)
{
    const struct program program = {
        .name = side->program,
        .operand = "SEGMENT/ACCOUNT",
        .purpose = side->purpose,
        .notes = "Deposits and draws alternate strictly, in whatever process. The account is\n"
                 "made, empty, if it is absent; all its processes must agree on --event. On\n"
                 "etcd (etcd:SEGMENT/ACCOUNT) they always wait for events.\n",
        .options = options,
    };
    struct place place;
    struct teller teller = {.side = side, .place = &place};
    int status;

    name = side->name;
    status = enter(argc, argv, &program, &name, &place);
    if (status == DONE)
        status = is_on_etcd(&place) ? open_account_on_etcd(&teller) : open_account(&teller);
    for (int64_t i = 0; status == DONE && i < times; i++) {
        pause_for(interval);
        status = interrupted ? FAILED : transact(&teller);
    }
    close_account(&teller);
    return leave(&place, status);
}
