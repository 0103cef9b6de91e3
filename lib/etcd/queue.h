/*
 * A queue on etcd. Its parts:
 *
 *     .state            "open" or "shut"
 *     slot/S            an item: struct header, then its bytes. S is below the capacity, so no more
 *                       items than that can be there; a queue without a limit has names that no
 *                       other producer uses
 *     slot.claim/S      the item is peeked or leased: with the lease of the process that has it
 *     slot.tries/S      how often it has been leased, and when it may be again
 *     cursor/PRODUCER   nonce of the producer's last put, and the places that it took
 *     cursor/at-SOURCE  likewise, and how many items of the source have been put: queue_at.c
 *     last/CONSUMER     what the consumer did last, and the tasks that it has: struct shke_last
 *     told/CONSUMER     … that a join has told of, because its process has gone
 *     .role...          producers and consumers by role: roles.h
 *
 *     put                                get
 *     compare .state is as it was seen   compare last/CONSUMER is as I left it
 *     compare cursor/PRODUCER is         of the first items in the order that are seen, the first
 *         as I left it                       of which slot/S is as it was seen, and slot.claim/S
 *     compare slot/S is absent               is absent:
 *     put slot/S, put cursor/PRODUCER    delete slot/S, put last/CONSUMER
 *
 * The key that a producer (a consumer) leaves behind makes a request that is sent twice, because
 * the reply to the first was lost, happen once: the second finds the nonce of its own. No other
 * process writes that key, so none waits for it. One that is carried out late, after its call was
 * given up, finds the key changed, or is found by the next call.
 *
 * A consumer has the items in memory: one read, then a watch. Several consumers want the same item,
 * the next one. So a get of one item names the first few, one within the other ("if the first is
 * there, take it; else if the second is there ..."), and is given one by a single request, whatever
 * the others have taken meanwhile; the order is kept. A get of many items takes those that it names
 * or none. What has gone the view learns from the reply. No list is read in the path of an item. A
 * producer of a queue with a limit knows likewise which places are free.
 *
 * The files: queue_state.c is the state, queue_view.c what a consumer sees, queue_first.c which of
 * it a call takes, queue_consumer.c what it writes, queue_wait.c its waits; queue_places.c what a
 * producer knows; queue_put.c, queue_at.c, queue_get.c, queue_claim.c (for queue_peek.c and
 * queue_lease.c) and queue_tasks.c are the calls; queue_ready.c is for sets, queue.c the kind.
 */
#ifndef SHKE_QUEUE_H
#define SHKE_QUEUE_H

#include "etcd/roles.h"
#include "queue/handle.h"

#define SHKE_CAPACITY_MAX 10000
#define SHKE_ITEM_MAX     (1u << 20)
/* Items of one transaction: two comparisons each, of 128. And bytes: a request has 1.5 MiB. */
#define SHKE_BATCH       60
#define SHKE_BATCH_BYTES (1u << 20)

/* In front of an item's bytes, in network order. */
struct shke_header {
    uint8_t version; /* 1 */
    uint8_t reserved;
    uint8_t number[2];   /* in its batch */
    uint8_t priority[8]; /* + 2^63 */
};

/* The names of slots: 5 digits, or a nonce and a number. */
#define SHKE_SLOT_MAX 56

/* An item as a consumer sees it. */
struct shke_item {
    char slot[SHKE_SLOT_MAX];
    int64_t create, mod;
    unsigned number;
    int64_t priority;
    int64_t claim, claim_lease; /* create_revision of its claim, 0: none */
    int64_t claim_known;        /* the revision up to which that is known */
    int64_t held;               /* … if a thread of this process has it; else another, or 0 */
    int64_t tries_mod;          /* mod_revision of slot.tries/S; 0: it is absent */
    int64_t tries_known;        /* the revision up to which that is known */
    unsigned tries;             /* how often it has been leased */
    bool was_leased;            /* it goes before others when it has come back */
    int64_t due;                /* CLOCK_MONOTONIC: it came back, and waits until then; 0 */
    unsigned refs;              /* the view, and a thread that tries it */
    bool is_there;              /* in the view */
    bool is_foreign;            /* no item of shmkit's: it is left alone */
    bool is_tried;              /* by a thread of this process */
    bool is_found;              /* of a view that is read anew */
    unsigned char *bytes;
    size_t length;
    struct shke_item *next, *previous; /* in order */
    struct shke_item *chain;           /* with the same hash */
};

/* The value of last/CONSUMER. */
struct shke_last {
    char nonce[SHKE_NONCE_SIZE]; /* of the last request that wrote it */
    unsigned index;              /* which of the items that it named it has taken */
    unsigned tasks;              /* items taken, and not done: never too few */
    int64_t lease;               /* of the process: while that is a member, it does them */
};
#define SHKE_LAST_MAX 80

/* What a thread of this process puts, or gets, as. Not used by two threads at once. */
struct shke_actor {
    char key[SHKE_KEY_MAX]; /* cursor/…, or last/… */
    char id[SHKE_NONCE_SIZE];
    int64_t mod;    /* of its key; 0: it is absent */
    uint64_t count; /* of its slots */
    struct shke_actor *next;
    /* Consumers: a get that was given up, not knowing what has come of it. */
    char doubtful[SHKE_NONCE_SIZE]; /* "": none */
    struct shke_item *items[SHKE_BATCH];
    unsigned n_items;
    bool takes_first; /* one of them, the first that is there; else all */
    bool owns;        /* they are this process's, and wait for its next get */
    unsigned tasks;   /* as its key has them, or more than it needs to have */
    pid_t tid;        /* the thread that has most of them */
};

/* An item that is peeked, or leased. */
struct shke_claim {
    pid_t tid; /* of the thread that has it */
    bool is_lease;
    struct shke_item *item;
    char claim[SHKE_KEY_MAX], slot[SHKE_KEY_MAX], tries[SHKE_KEY_MAX];
    int64_t created, lease;
    unsigned attempts; /* of a lease, this one too */
    int64_t since;     /* … CLOCK_MONOTONIC */
    struct shke_claim *next;
};
/* The value of slot.tries/S: "MOD TRIES DELAY NONCE". */
#define SHKE_TRIES_MAX 100

/* What is known of a place of a queue with a limit. */
struct shke_place {
    int64_t known;      /* the revision up to which it is */
    int64_t free_since; /* CLOCK_MONOTONIC */
    bool is_taken;      /* by an item */
    bool is_tried;      /* by a thread of this process */
};

/* A producer that has put. */
struct shke_rival {
    char id[SHKE_NONCE_SIZE];
    int64_t put_at; /* CLOCK_MONOTONIC: when it was told of last; 0: there is none */
};
#define SHKE_RIVALS 64 /* so many have regions */

struct shke_queue {
    struct shke_object object;
    uint32_t order;
    size_t capacity, item_size;
    struct shke_watch *control; /* of .state, .object and .role... */
    struct shke_roles roles;

    /* ---- With the object's lock ---- */
    bool is_shut;
    int64_t state_known, state_mod; /* the revision up to which; of the key, 0: not known */
    unsigned shutdowns;             /* that have been seen */
    struct shke_actor *producers, *consumers; /* that no thread uses */
    struct shke_worker *workers;
    struct shke_claim *peeks, *leases;
    unsigned claims_moving; /* threads that are in the middle of a claim, or of its end */
    bool may_have_stray;    /* claims have been told of since strays were looked for */

    /* The consumer's view. */
    pthread_mutex_t starting; /* held over its first read, and the producer's; before the lock */
    struct shke_watch *view;
    void (*told)(struct shke_queue *); /* of the claims: without the lock, after each news */
    struct shke_item *head, *tail;
    struct shke_item **table; /* by hash of the slot */
    size_t table_size, n_items;
    unsigned named;     /* items that a get of one names, so that other consumers leave it one */
    int64_t claimed_at; /* CLOCK_MONOTONIC: when a claim was seen last */
    unsigned streak;    /* gets in a row that were given the first */

    /* The producer's: see queue_places.c. */
    struct shke_watch *deletes, *cursors;
    struct shke_place *places;
    size_t n_free;
    struct shke_source *sources; /* whose cursors are known */
    struct shke_rival rivals[SHKE_RIVALS];
    int64_t steal_delay; /* ns */

    /* For joins: what consumers write, and which processes go. */
    struct shke_watch *lasts, *members;
    unsigned endings;             /* of tasks and members: after each, all may be done */
    char untold[SHKE_NONCE_SIZE]; /* of a join that was given up while it noted orphans */
    /* What sets know of that: see shke_tasks_look(). */
    uint64_t looks;          /* so many have been made */
    unsigned looked_endings; /* as of the last */
    int64_t looked_at;       /* … CLOCK_MONOTONIC */
    int64_t done_known;      /* … its revision */
    bool is_done;            /* … what it found */
    bool wants_look;         /* a set asks for another one */
};

/* A handle; the base is zero, but for its object and its order. */
struct shke_queue_handle {
    struct shk_queue base;
    struct shke_queue *queue;
};

static inline struct shke_queue *shke_queue_of(const struct shk_queue *q)
{
    return ((const struct shke_queue_handle *)(const void *)q)->queue;
}

/* ---- queue_view.c ---- */

/* Read what there is, and watch: 0 or an error. Without the object's lock. */
int shke_view_start(struct shke_queue *, const struct shke_trial *);
void shke_view_free(struct shke_queue *);

/* Whether it can be taken; … by another thread than that which tries it. */
bool shke_item_is_due(const struct shke_item *);
static inline bool shke_item_may_be_named(const struct shke_item *i)
{
    return !i->claim && !i->is_foreign && (i->due == 0 || shke_item_is_due(i));
}
static inline bool shke_item_is_free(const struct shke_item *i)
{
    return !i->is_tried && shke_item_may_be_named(i);
}

/* With the object's lock: its claim as of that revision. */
void shke_item_learn_claim(struct shke_item *, int64_t created, int64_t lease, int64_t revision);
/* … how often it was leased, and whether it waits; as of that revision. */
void shke_item_learn_tries(struct shke_queue *, struct shke_item *, const struct shke_kv *,
                           int64_t revision);
/* … this process has written it so. */
void shke_item_set_tries(struct shke_queue *, struct shke_item *, unsigned tries, int64_t delay,
                         int64_t revision);
/* Not tried any more; one reference less. */
void shke_item_release(struct shke_item *);
void shke_item_unref(struct shke_item *);
/* It is not there any more: one reference less, if it was. */
void shke_view_drop(struct shke_queue *, struct shke_item *);

/* ---- queue_first.c: with the object's lock ---- */

/*
 * How many of the items that are to be taken next fit into the buffers; 0: there is none;
 * -EMSGSIZE.
 */
int shke_view_fit(struct shke_queue *, const struct iovec *bufs, unsigned n);
/* -EMSGSIZE: the buffer is too small for it. */
int shke_say_small(const struct shke_queue *, const struct shke_item *, size_t room);
/*
 * The next items to be taken, up to n, and as many as a transaction has, marked as tried and
 * referenced: how many.
 */
unsigned shke_view_take(struct shke_queue *, struct shke_item **items, unsigned n);
/*
 * … or, to take one of them, those that a request for one names, as far as they fit into the
 * buffer. Only the first is marked as tried.
 */
#define SHKE_NAMED_MAX 8
unsigned shke_view_name(struct shke_queue *, struct shke_item **items, size_t room);
/* A request for one was given the index-th, of so many. */
void shke_view_learn_rivals(struct shke_queue *, unsigned index, unsigned n);

/*
 * Add a transaction that takes the first of the consumer's items that is there; take() adds to one
 * of them what is compared for an item, and what is done. Without the lock, as nothing is read but
 * what does not change.
 */
typedef void shke_first_take(void *arg, unsigned index, struct shke_txn *);
void shke_first_add(struct shke_txn *, const struct shke_queue *, const struct shke_actor *,
                    bool asks_for_tries, shke_first_take *, void *arg);
/*
 * It was the first operation: 0: the consumer has the item that was taken, as its only one; 1: none
 * was there; or an error. What is known of the items before it is noted.
 */
int shke_first_read(struct shke_queue *, struct shke_actor *, bool asks_for_tries,
                    const struct shke_reply *);
/* What the servers say of an item that could not be taken: its slot, its claim, its tries. */
int shke_item_learn(struct shke_queue *, struct shke_item *, const struct shke_reply *,
                    unsigned answer, bool has_tries);

/* ---- queue_state.c ---- */

/* What the servers say: state, lines, and numbers. Notes the state and the lines. -ESTALE. */
struct shke_look {
    bool is_shut;
    int64_t items, claims;
    int64_t revision;
    struct shke_side sides[SHKI_SIDES];
};
int shke_queue_look(struct shke_queue *, const struct shke_trial *, struct shke_look *);
/*
 * Without the object's lock: have begin() read what there is, and watch, unless another thread has
 * done that; with `starting`. What it returns.
 */
int shke_queue_begin(struct shke_queue *,
                     int (*begin)(struct shke_queue *, const struct shke_trial *),
                     const struct shke_trial *);
/* With `starting`: watch that part of the queue from the revision on, if it is not watched yet. */
int shke_queue_watch(struct shke_queue *, struct shke_watch **, const char *part, int64_t revision,
                     bool deletes, const struct shke_watcher *);
/* With the object's lock. */
void shke_queue_learn_state(struct shke_queue *, const struct shke_kv *, int64_t revision);

/*
 * With the object's lock: a producer that no thread uses, or a new one; a new actor. NULL: no
 * memory.
 */
struct shke_actor *shke_producer_take(struct shke_queue *);
struct shke_actor *shke_actor_new(struct shke_queue *, bool producer);
void shke_actor_give(struct shke_queue *, struct shke_actor *, bool producer);

/* ---- queue_wait.c ---- */

/* A wait for an item. */
struct shke_wait {
    const struct shki_object *handle;
    struct shki_roles *roles; /* of the handle */
    struct shki_deadline deadline;
    bool has_looked;    /* the servers have been asked */
    unsigned shutdowns; /* when it began */
    int64_t behind;     /* since when the view is known to be behind; 0: it is not */
};
struct shke_wait shke_wait_begin(struct shke_queue *, const struct shki_object *handle,
                                 int64_t timeout);
/* With the object's lock: 0: there may be an item; -EPIPE: drained; the deadline's end. */
int shke_wait_more(struct shke_queue *, struct shke_wait *);

/* ---- queue_ready.c ---- */

int shke_queue_begin_watch(struct shke_object *, void *handle, uint32_t want, struct shki_watch *);

/* ---- queue_put.c ---- */

int shke_queue_put(struct shk_queue *, const void *item, size_t len, int64_t priority,
                   int64_t timeout);
int shke_queue_put_many(struct shk_queue *, const struct iovec *, unsigned n, int64_t timeout);

/* ---- queue_places.c: of a queue with a limit ---- */

/* Without the object's lock. Read which are taken, and watch: 0 or an error. */
int shke_places_start(struct shke_queue *, const struct shke_trial *);
void shke_places_free(struct shke_queue *);
/* … read: the revision as of which, or an error. */
int64_t shke_places_read(struct shke_queue *, const struct shke_trial *);
/* With the object's lock: what is known as of that revision. */
void shke_place_learn(struct shke_queue *, long place, bool is_taken, int64_t revision);
/*
 * … up to n places that the producer is to try, marked as tried: how many. `any`: it must not wait.
 */
unsigned shke_places_choose(struct shke_queue *, const struct shke_actor *producer, bool any,
                            long *places, unsigned n, bool *has_stolen);
/* … those of other regions may be tried so much later; ns. */
int64_t shke_places_wait(const struct shke_queue *);
/* … after a try of such: whether another producer had one. */
void shke_places_adjust(struct shke_queue *, bool was_taken);

/*
 * With `at` not NULL: if its cursor is where it says, which moves on by as many items as are put.
 * How many; -ESTALE: the cursor is elsewhere.
 */
struct shke_at;
int shke_queue_put_checked(struct shk_queue *, const struct iovec *, unsigned n, int64_t priority,
                           struct shke_at *at, int64_t timeout);

/* ---- queue_cursor.c ---- */

/*
 * Have a put not carried out any more that begins its producer's key with `known_by` and a colon:
 * 0: it has been; SHKE_NOT_PUT: not, and never; or an error.
 */
#define SHKE_NOT_PUT 1
int shke_put_settle(struct shke_queue *, struct shke_actor *producer, const char *known_by,
                    const struct shke_trial *);
/*
 * It was refused, but not because of what it compares: an earlier sending may have been carried
 * out; also this one, when etcd has just reached its quota. 0: so it is; else the refusal.
 */
int shke_put_find(struct shke_queue *, struct shke_actor *producer, const char *known_by,
                  const struct shke_trial *, int refusal);

/* A put of a source. */
struct shke_at {
    struct shke_actor actor; /* its key is the cursor's */
    const char *source;
    uint64_t position;
};

/* Room for what is written there: "POSITION BEFORE NONCE". */
#define SHKE_CURSOR_SIZE (2 * 21 + SHKE_NONCE_SIZE)

/* What the cursor becomes with n items more; `written` has the nonce. */
void shke_at_write(const struct shke_at *, unsigned n, char written[SHKE_CURSOR_SIZE]);
/* -ESTALE, with its sentence. */
int shke_at_stale(const struct shke_queue *, const struct shke_at *);

/* ---- queue_at.c ---- */

int shke_queue_put_at(struct shk_queue *, const char *source, uint64_t position,
                      const struct iovec *, unsigned n, int64_t timeout);
int shke_queue_cursor(struct shk_queue *, const char *source, uint64_t *position, uint64_t *before);
int shke_queue_set_cursor(struct shk_queue *, const char *source, uint64_t position);
void shke_sources_free(struct shke_queue *);

/* ---- queue_get.c ---- */

ssize_t shke_queue_get(struct shk_queue *, void *buf, size_t size, int64_t timeout,
                       int64_t *priority);
int shke_queue_get_many(struct shk_queue *, struct iovec *, unsigned n, int64_t timeout);

/* ---- queue_consumer.c ---- */

/* false: it is absent, or no such value. */
bool shke_last_read(const struct shke_kv *, struct shke_last *);
/* Put the key: the index-th item, and n tasks more. */
void shke_consumer_write(const struct shke_actor *, const char *nonce, unsigned index, unsigned n,
                         int64_t lease, struct shke_txn *);
/* Without the object's lock: what the key says: whether a request of that nonce has written it. */
bool shke_consumer_read(struct shke_queue *, struct shke_actor *, const struct shke_kv *,
                        const char *nonce);
/* With the object's lock: of the items that it named it has that one, or none. */
void shke_consumer_choose(struct shke_actor *, unsigned index);
void shke_consumer_give_up(struct shke_actor *);
/* Without the object's lock: find out what has come of a request in doubt: 0 or an error. */
int shke_consumer_settle(struct shke_queue *, struct shke_actor *, const struct shke_trial *);
/* … write how many tasks it has. */
int shke_consumer_note(struct shke_queue *, struct shke_actor *, const struct shke_trial *);
/*
 * With the object's lock: a consumer, which shke_actor_give() gives back; `settled`: with no items,
 * and not in doubt. NULL: no memory.
 */
struct shke_actor *shke_consumer_take(struct shke_queue *, bool settled);
/* … one that has tasks; NULL: there is none, or other threads use them. */
struct shke_actor *shke_consumer_take_busy(struct shke_queue *);

/* ---- queue_tasks.c ---- */

/* What a thread has taken, and not done. */
struct shke_worker {
    pid_t tid;
    unsigned tasks;
    struct shke_worker *next;
};
/* With the object's lock: that of the calling thread; NULL: no memory. */
struct shke_worker *shke_worker(struct shke_queue *);
void shke_workers_free(struct shke_queue *);

int shke_queue_task_done(struct shk_queue *);
int shke_queue_join(struct shk_queue *, int64_t timeout);
ssize_t shke_queue_unfinished(struct shk_queue *);

/*
 * For sets, without the object's lock: ask whether all is done, and be told from now on when it may
 * be: 0 or an error. Of items that are put no watch tells: what a look has found is good for one
 * wait.
 */
int shke_tasks_look(struct shke_queue *, const struct shke_trial *);
/* … again, if what has been told since makes it worth a request; ten times a second at most. */
void shke_tasks_check(void *queue);

/* ---- queue_claim.c ---- */

/*
 * Claim the next item of at most `room` bytes, and list it: 0 or an error. Without the object's
 * lock.
 */
int shke_claim_next(struct shke_queue *, struct shke_claim *, size_t room, struct shke_wait *);
/* With the object's lock: it is about to end. */
struct shke_claim *shke_claim_unlist(struct shke_queue *, struct shke_claim *);
/* … it has ended. */
void shke_claim_discard(struct shke_queue *, struct shke_claim *);
/*
 * Without the object's lock, of one that is not in the list: take its item out: 0; 1: it is not
 * this process's any more; or an error. A peek's becomes a task of the calling thread.
 */
int shke_claim_consume(struct shke_queue *, struct shke_claim *);
/* … leave it in; of a lease as shk_queue_nack(): 0; -ENOENT, without a sentence; or an error. */
int shke_claim_give_back(struct shke_queue *, struct shke_claim *, int64_t delay);
/* By the watch: claims of this process that no thread knows of are given back. */
void shke_claims_give_back_strays(struct shke_queue *);
void shke_claims_free(struct shke_queue *);

/* ---- queue_lease.c ---- */

ssize_t shke_queue_lease(struct shk_queue *, void *buf, size_t size, int64_t timeout,
                         uint64_t *ticket);
int shke_queue_ack(struct shk_queue *, uint64_t ticket);
int shke_queue_nack(struct shk_queue *, uint64_t ticket, int64_t delay);
int shke_queue_lease_info(struct shk_queue *, uint64_t ticket, struct shk_lease_info *);

/* ---- queue_peek.c ---- */

ssize_t shke_queue_peek(struct shk_queue *, const void **item, int64_t timeout);
int shke_queue_consume(struct shk_queue *);
int shke_queue_unpeek(struct shk_queue *);
/* Whether the calling thread has one; without the object's lock. */
bool shke_peek_is_open(struct shke_queue *);

/* ---- queue_sight.c: see sight.h ---- */

#define SHKE_QUEUE_LOOKS (4 + SHKE_ROLES_LOOKS)
void shke_queue_look_from_outside(struct shke_txn *, const char *prefix);
int shke_queue_tell(struct shke_sight *, struct shk_object_info *);

#endif
