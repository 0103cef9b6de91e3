/*
 * What answers as a server of etcd does through its JSON gateway, from memory, in a thread of the
 * test: so that a test can have a request lost, or its reply, or have it carried out late. Leases
 * do not end, and watches tell nothing, unless stub_tell() is called.
 */
#ifndef TESTS_ETCD_STUB_H
#define TESTS_ETCD_STUB_H

#include "../common.h"

struct stub;

/* What becomes of a transaction that puts an item, or claims or takes one: see stub_mind(), too. */
enum stub_fault {
    STUB_ANSWERS,
    STUB_LOSES_REQUEST, /* the connection ends, and nothing is done */
    STUB_LOSES_REPLY,   /* it is done, and the connection ends */
    STUB_DELAYS,        /* the connection ends, and it is done after a later one of another try */
    /*
     * The connection ends, and another process has the places or the items that it wants: until
     * stub_release(), or a later one with the next fault; and then it is done.
     */
    STUB_HOLDS,
    STUB_RELEASES,
    STUB_REFUSES /* as a server whose quota is used up */
};

/* A server, and $ETCDCTL_ENDPOINTS says where it is. */
struct stub *stub_start(void);
void stub_stop(struct stub *);

/* Watches tell what happens while they are there. Before any begins. */
void stub_tell(struct stub *);
bool stub_is_watched(struct stub *, const char *key);

/*
 * Faults are for transactions that put or delete a key that has `part` in it. With STUB_HOLDS
 * another process has the key `rival`, which begins with no lease and that value.
 */
void stub_mind(struct stub *, const char *part, const char *rival, const char *value);
/* What another process does. */
void stub_put(struct stub *, const char *key, const char *value);
void stub_delete(struct stub *, const char *key);

/* From now on: one fault after the other, again and again. */
void stub_set_faults(struct stub *, const enum stub_fault *, unsigned n);
/* Carry out now what has been delayed, or is held: how many. */
unsigned stub_release(struct stub *);

/* Keys that have this in them; those of them that have no lease. */
unsigned stub_keys(struct stub *, const char *part);
unsigned stub_keys_without_lease(struct stub *, const char *part);

/* How often each has happened; how many such transactions there were. */
unsigned stub_count(const struct stub *, enum stub_fault);
/* Requests of any kind. */
unsigned stub_requests(const struct stub *);

/*
 * The items of all queues, in the order in which they have come, without what was taken by an
 * earlier call: each is passed to `see`, and is gone then. How many.
 */
unsigned stub_take_items(struct stub *, void (*see)(void *arg, const char *item, size_t length),
                         void *arg);

#endif
