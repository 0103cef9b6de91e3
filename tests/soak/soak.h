/*
 * The soak: many processes work on one queue, one account, one event, one condition and a few locks, while others of
 * their kind are killed at random moments and replaced. What each has done it writes down where that survives it; in the end all is
 * added up. Of each role there are mortals, and one that is never killed: the watch looks at whether that one gets on.
 */
#ifndef SOAK_H
#define SOAK_H

#include <shmkit.h>
#include <stdatomic.h>
#include <stdbool.h>

enum role { PRODUCER, CONSUMER, DEPOSITOR, DRAWER, LOCKER, SETTER, EVENT_WAITER, NOTIFIER, COND_WAITER, ROLES };

#define LOCKS 4
#define ACCOUNT LOCKS /* the ledger after those of the locks */
#define LEDGERS (LOCKS + 1)

/* ---- The notes: an anonymous mapping that the kills do not reach ---- */

/* What has become of an item; each bit is set once. */
enum { ITEM_TRIED = 1, ITEM_PUT = 2, ITEM_GOT = 4 };
#define ITEMS_MAX (UINT64_C(1) << 28)

/* A worker's place; its replacement takes it over. Written by the worker alone, read by the director when it is dead. */
struct place {
    pid_t pid;
    enum role role;
    bool mortal;
    uint64_t life;                 /* number of this incarnation, from 1 */
    _Atomic uint64_t progress;     /* grows with each thing done */
    _Atomic uint32_t in_call;      /* in the one call whose outcome is not written down yet if it is killed */
    /* Its commits to the ledgers. The one on its way: number, writer, how many were acked before, and then, in which ledger. */
    _Atomic uint64_t acked[LEDGERS], number, writer, acked_before;
    _Atomic uint32_t ledger;       /* 1 + which; 0: none is on its way */
};

#define PLACES_MAX 64

struct notes {
    _Atomic uint32_t stop;         /* end when you can */
    _Atomic uint32_t violated;     /* the first who sets it writes the sentence */
    char violation[256];
    _Atomic uint64_t next_item;
    _Atomic uint64_t sets, waits;                 /* of the event */
    _Atomic uint64_t notified, woken, orphaned;   /* of the condition: wake-ups given; waits that were notified; … that cannot say */
    uint64_t counts[LEDGERS];                     /* the ledgers' in the end */
    uint64_t repairs[4];                          /* of all objects: holders lost, waiters buried, wake-ups passed on, rebuilds */
    struct place place[PLACES_MAX];
    _Atomic uint8_t item[ITEMS_MAX];
};

/* ---- What is in the segment beside the objects ---- */

#define RECENT (1u << 16)

/* A counter under a lock. What depends on it is half done for a moment. */
struct ledger {
    _Atomic uint64_t count;         /* commits */
    _Atomic uint64_t inside;        /* life of who is in the critical section */
    _Atomic uint64_t a, b;          /* functions of count, when nobody is inside */
    _Atomic uint64_t by[RECENT];    /* who made commit n, at n % RECENT; written before it */
};

/* ---- The workers ---- */

struct soak {
    struct notes *notes;
    char segment[64];
    const char *control;            /* NULL; "pthread", "ring": use that instead of shmkit's own */
    struct ring *ring;              /* for that */
};

extern const char *const role_names[ROLES];

/* Do the role's work until it is time to stop. */
_Noreturn void work(const struct soak *, struct place *);

/* Release whoever waits, again and again, for the end. */
_Noreturn void release_all(const struct soak *);

/* When all have ended: note what the segment says, and unlink it. */
_Noreturn void audit(const struct soak *);

/* The textbook's ring. */
struct ring *ring_new(void);
void ring_put(struct ring *, uint64_t number);
uint64_t ring_get(struct ring *);

#endif
