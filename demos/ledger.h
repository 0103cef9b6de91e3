/*
 * The account on etcd, where there is no memory to share: its entries are items of a queue.
 *
 * The newest one is what the account is. A transaction puts the next entry, which is the one change
 * that makes it count, and then gets the older one. All of it happens under the account's lock. So
 * a process that is killed leaves one entry, or two; of two the next process drops the older one.
 *
 * A process that is stopped between its last look at its lease and the put, for longer than the
 * lease lasts, would put an entry that others do not expect. What must not be wrong even then
 * compares shk_lock_token() where the entries are kept.
 */
#ifndef DEMOS_LEDGER_H
#define DEMOS_LEDGER_H

#include <shmkit.h>

/* Open the queue, or make it. As shk_queue_open(). */
int ledger_open(struct shk_segment *, const char *name, struct shk_queue **);

/* Under the lock: the newest entry; zero if there is none yet. 0 or an error. */
int ledger_read(struct shk_queue *, void *entry, size_t size);

/* Under the lock: another entry is the newest from here on. 0 or an error. */
int ledger_write(struct shk_queue *, struct shk_lock *, const void *entry, size_t size);

#endif
