/* Watches: what the servers tell of changes to keys, by one thread of the process. */
#ifndef SHKE_WATCH_H
#define SHKE_WATCH_H

#include "etcd/txn.h"

struct shke_watches;
struct shke_watch;

/*
 * What is told to a watcher, by the thread of all watches. A call must be short, and must not stop
 * a watch.
 */
struct shke_watcher {
    /* A key has been written, or deleted; then it has only its name and `mod`. */
    void (*event)(void *arg, const struct shke_kv *, bool deleted);
    /* All events that have come together have been told. */
    void (*told)(void *arg);
    /*
     * History is missing: read anew all that is watched. The revision as of which it has been read;
     * or an error, and it is called again later.
     */
    int64_t (*reload)(void *arg);
    /*
     * Undo what calls that were given up have left behind, if there is anything, within half a
     * second. Called after each told(), and when shke_watch_mend() asks for it. False: something
     * may be left, and it is called again a second later. NULL: nothing is ever left.
     */
    bool (*mend)(void *arg);
};

/*
 * Watch all keys with that prefix, for what happens after the revision; `deletes`: only for keys
 * that are deleted. NULL: no memory.
 */
struct shke_watch *shke_watch_start(struct shke_watches *, const char *prefix, int64_t revision,
                                    bool deletes, const struct shke_watcher *, void *arg);
/* Have the watcher's mend() called soon, by the thread of the watches. */
void shke_watch_mend(struct shke_watch *);
/* No call of its watcher runs any more. Not with a lock that such a call takes. NULL is allowed. */
void shke_watch_stop(struct shke_watch *);

/* The thread of all watches of a session: 0 or an error. */
int shke_watches_new(struct shke_client *, struct shke_watches **);
void shke_watches_free(struct shke_watches *);

/*
 * How often something has been told by any of them; and wait until it is once more, or that time.
 */
unsigned shke_watches_news(struct shke_watches *);
void shke_watches_sleep(struct shke_watches *, unsigned news, int64_t until);

#endif
