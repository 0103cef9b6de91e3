/*
 * The soak: many processes work on seven queues, an account, a relay, an event's turnstile, two
 * semaphores, two values, a board under a rwlock and a set of locks, while others of their kind are
 * killed at random moments and replaced. What each has done it writes down where no kill reaches
 * it. At the end of a round all are let go, the queues are drained, and all is added up.
 *
 *     supervisor (soak.c)   starts, kills, replaces and watches
 *     workers (work_*.c)    do their role's work
 *     account.c             adds up what a round has left in the notes
 *
 * Of most roles there is one worker that is never killed: the watch looks at whether that one gets
 * on. The others are mortal. A mortal has a place in the notes; its replacement takes that over,
 * and what is unsettled there.
 */
#ifndef SOAK_H
#define SOAK_H

#include <shmkit.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum role {
    PRODUCER,
    CONSUMER,
    CLOSER,
    DEPOSITOR,
    DRAWER,
    GIVER,
    TAKER,
    LOCKER,
    TURNER,
    PASSENGER,
    POSTER,
    WAITER,
    CLERK,
    SETTER,
    READER,
    LODGER,
    ROLES
};
extern const char *const role_names[ROLES];

/* JOBS and ERRANDS are leased; LINE ends when its producer has gone. */
enum queue_number { FIFO, LIFO, PRIORITY, UNBOUNDED, JOBS, ERRANDS, LINE, QUEUES };
extern const char *const queue_names[QUEUES];
extern const uint32_t queue_orders[QUEUES];

enum { LOCKS = 4, ACCOUNT = LOCKS, RELAY, BOARD, LEDGERS };

#define ITEM_MAX   200
#define BATCH      8
#define ITEMS_MAX  (UINT64_C(1) << 26) /* of a queue in a round, which ends when they are used up */
#define PLACES_MAX 96
#define NO_ITEM    UINT64_MAX

struct item {
    _Atomic uint64_t number; /* NO_ITEM in a consumer's hand: nothing has come yet */
    uint64_t life;           /* of its producer */
    int64_t priority;
    unsigned char rest[ITEM_MAX - 24];
};

/* What has become of an item. Each bit is set once and stays. */
enum {
    ITEM_PUT = 1,     /* acknowledged: it must come out, once */
    ITEM_REFUSED = 2, /* the put failed, or was not committed: it must not come out */
    ITEM_GOT = 4,
    /* it was in the hand of a consumer that was killed in its get, or its ack */
    ITEM_TAKEN_ALONG = 8,
    ITEM_LEASED = 16 /* it has been leased, and its attempt counted */
};

/* The call whose outcome its caller has not written down yet. */
enum step {
    NO_STEP,
    PUTTING,   /* items first to first + count - 1 */
    RESERVING, /* the same, before the commit */
    GETTING,   /* into hand */
    ACKING,    /* item number first */
    NOTIFYING,
    COND_WAITING,
    POSTING, /* count permits */
    PERMIT_WAITING,
    SETTING,
    ADDING
};

/* Written by the worker alone; by the supervisor before it starts and after it has been reaped. */
struct place {
    pid_t pid;
    unsigned number;
    enum role role;
    enum queue_number queue;
    bool mortal;
    bool clock;                 /* it kills itself, too, after some CPU time */
    int64_t started, condemned; /* when; condemned: killed by the supervisor, 0: not */
    _Atomic uint32_t runs;      /* it has got a CPU for the first time */
    uint64_t life;              /* number of this incarnation, from 1 */
    _Atomic uint64_t progress;  /* grows with each thing done */
    _Atomic uint32_t step;
    _Atomic uint64_t first;
    _Atomic uint32_t count;
    struct item hand[BATCH];
    /* its commits; settled by the next actor that has the place */
    _Atomic uint64_t acked[LEDGERS];
    _Atomic uint32_t committing[LEDGERS]; /* a commit is on its way */
    _Atomic uint64_t laps;                /* a passenger's */
    _Atomic uint64_t given, taken;        /* wake-ups; permits */
    _Atomic uint64_t sets, adds;          /* of the values, acknowledged; and */
    uint64_t sets_unsure, adds_unsure;    /* killed in the call: the supervisor's */
};

/* The value `newest`: how often the actor of each place has set it, and the version that it has. */
struct newest {
    uint64_t count[PLACES_MAX];
    uint64_t version;
};

struct notes {
    /* 1: all but consumers end. 2: those, too, when the queues are drained. 3: all have */
    _Atomic uint32_t stop;
    _Atomic uint32_t failing; /* the first to set it writes the sentence, */
    _Atomic uint32_t failed;  /* then this */
    char failure[256];
    _Atomic uint32_t phase; /* the turnstile's: which of its events is set, or going to be */
    /* the immortal one is in the relay's line, or on its way out of it */
    _Atomic uint32_t taker_waits;
    _Atomic uint64_t orphaned; /* SHK_ORPHANED was returned */
    /* Of queues, in the middle of the round; one is about to come; it is over, up to that one. */
    _Atomic uint64_t closings, shutting, shut;
    _Atomic uint64_t leases, given_back, came_again; /* leases; nacks; leases of what came back */
    _Atomic uint64_t lodgings;                       /* permits with owners that were taken */
    /*
     * The line: how often a producer has begun one; which of them consumers have seen the end of;
     * which one is open, 0: none; which one has ended though it was, so that its producer must be
     * dead. And the immortal consumer is there.
     */
    _Atomic uint64_t line_begun, line_ended, line_open, line_doubted, lines_orphaned;
    _Atomic uint32_t line_has_consumer;
    /* The audit's */
    uint64_t left_in_queue[QUEUES], counts[LEDGERS], permits;
    int64_t balance;
    struct newest newest;
    uint64_t number;
    /* ---- */
    _Atomic uint64_t next_item[QUEUES];
    struct place place[PLACES_MAX];
    _Atomic uint8_t item[QUEUES][ITEMS_MAX];
};

/* ---- What is in the segment beside the objects ---- */

/*
 * A counter under a lock, and what depends on it, which is half done for a moment. The store to
 * `count` commits; last[n % 2] says which life made commit n and which of its own it was. The life
 * that comes next enters that into credit: so it is always known how many each has made, whatever
 * it was killed in.
 */
struct ledger {
    _Atomic uint64_t count;
    _Atomic uint64_t inside; /* life in the critical section */
    _Atomic int64_t balance; /* functions of count, when no life is inside */
    _Atomic uint64_t reverse;
    struct {
        _Atomic uint64_t place, mine;
    } last[2];
    _Atomic uint64_t credit[PLACES_MAX];
};

#define AMOUNT 800
#define FLATS  4 /* permits with owners */

/* ---- Everybody's ---- */

/* Something else in the place of what shmkit promises, to see that the soak notices. */
struct control {
    const char *name, *what;
    unsigned disabled; /* SHKI_REPAIR_… */
};

struct soak {
    char segment[64];
    const struct control *control; /* NULL: none */
    struct ring *rings[QUEUES];    /* the textbook's, instead of the queues */
    bool pthread;                  /* conditions of the kind SHK_COND_PTHREAD */
};

extern struct soak soak;
extern struct notes *notes;

/* ---- The workers ---- */

extern struct place *me;
extern struct shk_segment *segment;
extern struct shk_queue *queues[QUEUES];
extern struct shk_lock *locks[LOCKS];
extern struct shk_cond *account, *given, *taken;
extern struct shk_event *turnstile[2];
extern struct shk_semaphore *permits, *flats;
extern struct shk_value *newest, *number;
extern struct shk_rwlock *board;
extern struct ledger *ledgers;

_Noreturn void work(struct place *);
_Noreturn void release_all(struct place *); /* all waiters, again and again, for the end */
_Noreturn void audit(struct place *);       /* when all have ended: what is left */

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void expect(const char *call, long long result); /* it has not failed */
bool is_wait_over(long long result);
bool stopping(void);
void get_on(void);
uint64_t chance(uint64_t below);
void pause_a_little(void);
void begin(enum step); /* from here on the outcome is unknown if this one is killed */
void end_step(void);

void enter(unsigned ledger, long long acquired); /* acquired: what taking the lock gave */
void commit(unsigned ledger);
void leave(unsigned ledger);
void check_ledger(unsigned ledger); /* by a reader, which has not been told of a death */

void produce(void), consume(void), close_and_reopen(void);
void transact(void), give(void), take(void), lock_and_unlock(void);
void turn(void), pass(void), post(void), wait_for_permits(void), read_and_write(void);
void set_values(void), read_values(void), take_and_leave(void);
void set_newest(void); /* once, by the one that is `me` */
void audit_values(void), audit_flats(void);

/* ---- The supervisor's ---- */

/* A mortal has been killed and reaped: note what it had under way. */
void account_for_death(struct place *);

struct totals {
    uint64_t rounds;
    struct {
        uint64_t put, got, unsure, came, refused, taken_along, lost, phantom;
    } queue[QUEUES];
    uint64_t commits[LEDGERS], acked[LEDGERS];
    uint64_t deposits, withdrawals;
    int64_t balance;
    uint64_t wakeups, resumed, wakeups_unsure, permits_given, permits_taken, permits_unsure, laps,
        closings, orphaned, leases, given_back, came_again, lines, lines_orphaned, lodgings, sets,
        adds, values_unsure;
};
extern struct totals totals;

void begin_account(void);

/*
 * Add the round to the totals. Returns false, with the sentence in problem, if it does not come out
 * right.
 */
bool add_up(unsigned places, char *problem, size_t size);
void print_totals(void);

/* The textbook's ring. */
struct ring *ring_new(void);
void ring_put(struct ring *, const struct item *, size_t length);
size_t ring_get(struct ring *, struct item *);

#endif
