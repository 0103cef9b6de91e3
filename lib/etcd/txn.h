/*
 * Transactions of etcd: what is compared, what is done if all of it holds, what is asked if not;
 * and the keys and values that come back.
 *
 *     struct shke_txn t = {0};
 *
 *     shke_if_created(&t, holder, 0);              holder is absent
 *     shke_then_put(&t, holder, me, length, lease);
 *     shke_else_get(&t, holder);
 *     r = shke_txn_run(client, &t, &trial, &reply);
 *     if (r == 0 && reply.succeeded) ...
 *     shke_reply_free(&reply);
 *
 * etcd permits 128 comparisons, 128 operations, and 1.5 MiB.
 */
#ifndef SHKE_TXN_H
#define SHKE_TXN_H

#include "etcd/client.h"

#define SHKE_OPERATIONS_MAX 128

struct shke_txn {
    struct shke_buffer compare, success, failure;
};

/* A key with its value; what is absent is zero. Of the reply that it is in. */
struct shke_kv {
    char *key; /* a zero behind it */
    unsigned char *value;
    size_t key_length, length;
    int64_t create, mod, version, lease;
};

struct shke_reply {
    json_object *root;
    bool succeeded;
    unsigned sent;    /* how often, as of shke_call() */
    int64_t revision; /* of the store, after it */
};

/* ---- Comparisons ---- */

/* The key has been created by that revision; 0: it is absent. */
void shke_if_created(struct shke_txn *, const char *key, int64_t revision);
/* … has been written last by that revision. */
void shke_if_written(struct shke_txn *, const char *key, int64_t revision);
/* … has that value. */
void shke_if_value(struct shke_txn *, const char *key, const void *value, size_t length);

/* … after that revision. */
void shke_if_written_after(struct shke_txn *, const char *key, int64_t revision);

/* There is no key that begins so. */
void shke_if_none(struct shke_txn *, const char *prefix);
/* Each key that begins so, if there is one, has been written last by that revision, or before. */
void shke_if_none_written_after(struct shke_txn *, const char *prefix, int64_t revision);
/* There are keys that begin so, and each has been created after that revision. */
void shke_if_all_created_after(struct shke_txn *, const char *prefix, int64_t revision);

/* ---- If all hold ---- */

void shke_then_put(struct shke_txn *, const char *key, const void *value, size_t length,
                   int64_t lease);
void shke_then_delete(struct shke_txn *, const char *key);
/* … all keys that begin so. */
void shke_then_delete_all(struct shke_txn *, const char *prefix);
/* … and come before `end`. */
void shke_then_delete_below(struct shke_txn *, const char *prefix, const char *end);
void shke_then_get(struct shke_txn *, const char *key);
/* … without its value. */
void shke_then_get_key(struct shke_txn *, const char *key);
/* … all keys that begin so. */
void shke_then_get_all(struct shke_txn *, const char *prefix);
/* … without their values, at most so many. */
void shke_then_keys(struct shke_txn *, const char *prefix, unsigned limit);
/* … how many there are. */
void shke_then_count(struct shke_txn *, const char *prefix);

/* ---- If not ---- */

void shke_else_get(struct shke_txn *, const char *key);
/* … without its value. */
void shke_else_get_key(struct shke_txn *, const char *key);
/* … all keys that begin so, without values, at most so many. */
void shke_else_keys(struct shke_txn *, const char *prefix, unsigned limit);
void shke_else_count(struct shke_txn *, const char *prefix);
/* … all keys that begin so, with values. */
void shke_else_get_all(struct shke_txn *, const char *prefix);

/* ---- A transaction in another, which is empty then ---- */

void shke_then_txn(struct shke_txn *, struct shke_txn *inner);
void shke_else_txn(struct shke_txn *, struct shke_txn *inner);

/* Carry it out; the transaction is empty then. As shke_call(). */
int shke_txn_run(struct shke_client *, struct shke_txn *, const struct shke_trial *,
                 struct shke_reply *);
/* Give it up unsent. */
void shke_txn_free(struct shke_txn *);

/* ---- Replies ---- */

void shke_reply_free(struct shke_reply *);

/*
 * The first key of the n-th operation's answer: 0, and *kv is the caller's to free; all zero if it
 * has none. -ENOMEM, -EPROTO.
 */
int shke_reply_kv(const struct shke_reply *, unsigned n, struct shke_kv *kv);
/* … and the i-th; how many have come. */
int shke_reply_kv_at(const struct shke_reply *, unsigned n, size_t i, struct shke_kv *kv);
size_t shke_reply_n(const struct shke_reply *, unsigned n);
/* How many keys the n-th operation has found, or deleted. */
int64_t shke_reply_count(const struct shke_reply *, unsigned n);
/*
 * The n-th answer is that of a transaction: *inner is valid as long as the reply; not to be freed.
 */
void shke_reply_inner(const struct shke_reply *, unsigned n, struct shke_reply *inner);
void shke_kv_free(struct shke_kv *);
/* From the JSON of one: likewise. */
int shke_kv_read(json_object *, struct shke_kv *);

/* ---- Ranges ---- */

struct shke_range {
    const char *prefix; /* all keys that begin so, … */
    const char *from;   /* … from this one, if it is not NULL */
    int64_t revision;   /* as it was then; 0: now */
    int64_t limit;      /* keys; 0: all */
    bool keys_only, count_only;
};
/* The keys of a reply are in root's "kvs". */
int shke_range(struct shke_client *, const struct shke_range *, const struct shke_trial *,
               struct shke_reply *);
int shke_get(struct shke_client *, const char *key, const struct shke_trial *, struct shke_reply *);
/* Of either: the keys that have come; the i-th, as shke_reply_kv(); all that there are, and whether
 * there are more than have come. */
size_t shke_range_n(const struct shke_reply *);
int shke_range_kv(const struct shke_reply *, size_t i, struct shke_kv *);
int64_t shke_range_count(const struct shke_reply *);
bool shke_range_has_more(const struct shke_reply *);

/* "key":…,"range_end":…: all keys that begin so. */
void shke_add_prefix_range(struct shke_buffer *, const char *from, const char *prefix);

#endif
