/*
 * A queue on etcd. Its parts:
 *
 *     .state            "open" or "shut"
 *     slot/S            an item: struct header, then its bytes. S is below the capacity, so no more
 *                       items than that can be there; a queue without a limit has names that no
 *                       other producer uses
 *     slot.claim/S      the item is peeked: with the lease of the process that has it
 *     cursor/PRODUCER   nonce of the producer's last put
 *     last/CONSUMER     nonce of the consumer's last get
 *
 *     put                                get
 *     compare .state is "open"           compare last/CONSUMER is as I left it
 *     compare cursor/PRODUCER is         compare slot/S is as it was seen, slot.claim/S is absent
 *         as I left it                   delete slot/S, put last/CONSUMER
 *     compare slot/S is absent
 *     put slot/S, put cursor/PRODUCER
 *
 * The key that a producer (a consumer) leaves behind makes a request that is sent twice, because
 * the reply to the first was lost, happen once: the second finds the nonce of its own. No other
 * process writes that key, so none waits for it. One that is carried out late, after its call was
 * given up, finds the key changed, or is found by the next call.
 *
 * A consumer has the items in memory: one read, then a watch. It tries the first that it sees; if
 * another one has it, the view learns that from the reply. No list is read in the path of an item.
 * A producer of a queue with a limit knows likewise which places are free.
 *
 * The files: queue_view.c is what a consumer sees, queue_wait.c its waits; queue_put.c, queue_get.c
 * and queue_peek.c are the calls; queue.c the kind.
 */
#ifndef SHKE_QUEUE_H
#define SHKE_QUEUE_H

#include "etcd/object.h"
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

/* What a thread of this process puts, or gets, as. Not used by two threads at once. */
struct shke_actor {
    char key[SHKE_KEY_MAX]; /* cursor/…, or last/… */
    char id[SHKE_NONCE_SIZE];
    int64_t mod;        /* of its key; 0: it is absent */
    uint64_t count;     /* of its slots */
    unsigned rank, all; /* of a producer, among those that were seen; 0 of 0: not known yet */
    struct shke_actor *next;
    /* Consumers: a get that was given up, not knowing what has come of it. */
    char doubtful[SHKE_NONCE_SIZE]; /* "": none */
    struct shke_item *items[SHKE_BATCH];
    unsigned n_items;
};

/* An open peek. */
struct shke_peek {
    pid_t tid;
    struct shke_item *item;
    char claim[SHKE_KEY_MAX], slot[SHKE_KEY_MAX];
    int64_t created, lease;
    struct shke_peek *next;
};

/* What is known of a place of a queue with a limit. */
struct shke_place {
    int64_t known; /* the revision up to which it is */
    bool is_taken; /* by an item */
    bool is_tried; /* by a thread of this process */
};

struct shke_queue {
    struct shke_object object;
    uint32_t order;
    size_t capacity, item_size;
    struct shke_watch *control; /* of .state and .object */

    /* ---- With the object's lock ---- */
    bool is_shut;
    int64_t state_known;
    unsigned shutdowns;                       /* that have been seen */
    struct shke_actor *producers, *consumers; /* that no thread uses */
    struct shke_peek *peeks;
    unsigned peeks_begun; /* threads that are in the middle of one, or of its end */
    bool may_have_stray;  /* claims have been told of since strays were looked for */

    /* The consumer's view. */
    pthread_mutex_t starting; /* held over its first read, and the producer's; before the lock */
    struct shke_watch *view;
    void (*told)(struct shke_queue *); /* of the peeks: without the lock, after each news */
    struct shke_item *head, *tail;
    struct shke_item **table; /* by hash of the slot */
    size_t table_size, n_items;

    /* The producer's. */
    struct shke_watch *deletes;
    struct shke_place *places;
    size_t n_free;
    int64_t steal_delay; /* ns: see queue_put.c */
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

/*
 * With the object's lock: the next items to be taken, up to n, and as many as a transaction has,
 * marked as tried and referenced: how many.
 */
unsigned shke_view_take(struct shke_queue *, struct shke_item **items, unsigned n);
/* Whether it can be taken. */
static inline bool shke_item_is_free(const struct shke_item *i)
{
    return !i->claim && !i->is_tried && !i->is_foreign;
}

/* With the object's lock: its claim as of that revision. */
void shke_item_learn_claim(struct shke_item *, int64_t created, int64_t lease, int64_t revision);
/* Not tried any more; one reference less. */
void shke_item_release(struct shke_item *);
void shke_item_unref(struct shke_item *);
/* It is not there any more: one reference less, if it was. */
void shke_view_drop(struct shke_queue *, struct shke_item *);

/* What the servers say: state, and numbers. Notes the state. -ESTALE. */
struct shke_look {
    bool is_shut;
    int64_t items, claims;
};
int shke_queue_look(struct shke_queue *, const struct shke_trial *, struct shke_look *);
/* With the object's lock. */
void shke_queue_learn_state(struct shke_queue *, const struct shke_kv *, int64_t revision);

/*
 * An actor that no thread uses, and that has nothing left to do, or a new one; NULL: no memory.
 * With the object's lock.
 */
struct shke_actor *shke_actor_take(struct shke_queue *, bool producer);
void shke_actor_give(struct shke_queue *, struct shke_actor *, bool producer);

/* ---- queue_wait.c ---- */

/* A wait for an item. */
struct shke_wait {
    const struct shki_object *handle;
    struct shki_deadline deadline;
    bool has_looked;    /* the servers have been asked */
    unsigned shutdowns; /* when it began */
    int64_t behind;     /* since when the view is known to be behind; 0: it is not */
};
struct shke_wait shke_wait_begin(struct shke_queue *, const struct shki_object *handle,
                                 int64_t timeout);
/* With the object's lock: 0: there may be an item; -EPIPE: drained; the deadline's end. */
int shke_wait_more(struct shke_queue *, struct shke_wait *);

/* ---- queue_put.c ---- */

int shke_queue_put(struct shk_queue *, const void *item, size_t len, int64_t priority,
                   int64_t timeout);
int shke_queue_put_many(struct shk_queue *, const struct iovec *, unsigned n, int64_t timeout);
void shke_places_free(struct shke_queue *);

/* ---- queue_get.c ---- */

ssize_t shke_queue_get(struct shk_queue *, void *buf, size_t size, int64_t timeout,
                       int64_t *priority);
int shke_queue_get_many(struct shk_queue *, struct iovec *, unsigned n, int64_t timeout);

/* ---- queue_peek.c ---- */

ssize_t shke_queue_peek(struct shk_queue *, const void **item, int64_t timeout);
int shke_queue_consume(struct shk_queue *);
int shke_queue_unpeek(struct shk_queue *);
/* Whether the calling thread has one; without the object's lock. */
bool shke_peek_is_open(struct shke_queue *);
/* By the watch: claims of this process that no thread knows of are given back. */
void shke_peek_give_back_strays(struct shke_queue *);
void shke_peeks_free(struct shke_queue *);

#endif
