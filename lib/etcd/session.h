/*
 * This process, as the servers see it: one lease, on which all that it holds hangs, and the watches
 * of what it waits for. There is one session in a process, however many segments it has open.
 *
 * The lease lasts SHMKIT_ETCD_TTL seconds (5) and is kept alive by one thread, each third of that
 * time. The process counts from the *sending* of the last keep-alive that was answered, which is
 * before the server counts from it: so the process knows that it has lost the lease before any
 * other process can be given what hung on it. A machine that sleeps counts, too (CLOCK_BOOTTIME).
 *
 * A lease that is lost is not the end: the next call that needs one is given another.
 */
#ifndef SHKE_SESSION_H
#define SHKE_SESSION_H

#include "etcd/txn.h"
#include "etcd/waits.h"
#include "etcd/watch.h"

struct shke_session;

/*
 * The session, with one more reference; the first one starts it. A child of fork(2) is given
 * another one than its parent. 0 or as shke_client_new().
 */
int shke_session_ref(struct shke_session **);
/* One reference less; the last one gives the lease back. */
void shke_session_unref(struct shke_session *);

struct shke_client *shke_session_client(struct shke_session *);

/* Whether the session is that of the calling process, not of its parent. */
bool shke_session_is_own(const struct shke_session *);

/* What tells the session from all others: 16 hexadecimal digits. */
#define SHKE_PROCESS_SIZE 17
const char *shke_session_process(const struct shke_session *);

/* A lease that is good now, another one if need be: 0, or as shke_call(). */
int shke_session_lease(struct shke_session *, const struct shke_trial *, int64_t *lease);

/* The servers do not know that lease any more. */
void shke_session_lost(struct shke_session *, int64_t lease);

/* Whether that lease is still this process's. */
bool shke_session_has(struct shke_session *, int64_t lease);

/* Where its watches are: see watch.h. */
struct shke_watches *shke_session_watches(struct shke_session *);

/* What its threads wait for: see waits.h. */
struct shke_waits *shke_session_waits(struct shke_session *);

#endif
