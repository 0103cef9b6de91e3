/*
 * A lock on etcd.
 *
 *     holder   the thread that holds it, with its process's lease: it goes when the process dies
 *     held     stays when the holder's key goes by itself
 *
 *     acquire                                     release
 *     compare holder is absent                    compare its create_revision is still mine
 *     put holder, put held                        delete holder, delete held
 *     held.version > 1: SHK_ORPHANED
 *
 * The release deletes `held`, so its version is 1 for the next holder. If the lease ends instead,
 * `held` stays, and the next put makes its version 2: that tells the next holder of the death, also
 * when the reply to its own put was lost.
 *
 * The token is the create_revision of `holder`: revisions of the store only grow.
 *
 * A waiter watches for the deletion of `holder`, and compares again. In one process one thread
 * tries at a time.
 *
 * An acquire that was given up while its request was under way may be carried out late, and so may
 * an earlier sending of one that was refused: then the holder has this process's lease, and no
 * thread of it knows. The watch finds that, or the next attempt, and gives it back: is_stray().
 * `held` stays then, if it was there before: no holder has been told of that death.
 */
#ifndef SHKE_LOCK_H
#define SHKE_LOCK_H

#include "etcd/object.h"

struct shke_lock {
    struct shke_object object;
    struct shke_watch *watch;
    bool recursive;

    /* ---- With the object's lock ---- */
    /* What the watch has told, or a transaction; the revision up to which it is known. */
    int64_t holder_created; /* 0: there is none */
    int64_t holder_lease;
    int64_t known;
    char holder_name[SHK_NAME_MAX + 1];
    int32_t holder_pid;
    bool is_trying; /* a thread of this process is in a transaction to acquire or release it */
    /* The thread of this process that holds it. */
    pid_t owner; /* 0: none */
    uint32_t again;
    int64_t token, lease;
};

/* What came of an attempt to acquire it. */
struct shke_attempt {
    bool has_it, is_orphaned;
    int64_t created, revision;
    struct shke_kv holder; /* if another one has it */
};

/* ---- lock.c, for conditions, which have one: with the object's lock ---- */

/* What a watch tells: false: it is of another key. Of a watcher: see watch.h; without the lock. */
bool shke_lock_event(struct shke_lock *, const struct shke_kv *, bool deleted);
bool shke_lock_mend(void *lock);
/* Whether the calling thread holds it; 0, or what it is told if not. */
bool shke_lock_is_mine(struct shke_lock *);
int shke_lock_check_holder(const struct shki_object *handle, struct shke_lock *);
int shke_lock_say_lost(const struct shke_lock *);
/* Acquire it as often again as before, whatever happens: as shk_lock_acquire(). */
int shke_lock_acquire_again(struct shke_lock *, const struct shki_object *handle, uint32_t again);

/* ---- lock_txn.c ---- */

/* With the object's lock: the holder's key as of that revision. */
void shke_lock_learn(struct shke_lock *, const struct shke_kv *holder, int64_t revision);

/* Acquire it, if no thread has it, as a holder with that nonce and lease. As shke_call(). */
int shke_lock_try(struct shke_lock *, const char *nonce, const struct shke_trial *, int64_t lease,
                  struct shke_attempt *);

/*
 * Delete what that revision has created, if it is still there: also a second time, or late.
 * `unused`: no thread has had it.
 */
int shke_lock_give_back(struct shke_lock *, int64_t created, bool unused, const struct shke_trial *,
                        struct shke_reply *);

/* Ask the servers, and note what they say: the revision, or an error. Without the object's lock. */
int64_t shke_lock_look(struct shke_lock *, const struct shke_trial *);

/* Whether a thread has it: 0 or 1, or an error. */
int shke_lock_ask(struct shke_lock *);

/* ---- lock_sight.c: see sight.h ---- */

void shke_lock_sight_look(struct shke_txn *, const char *prefix);
int shke_lock_sight_tell(struct shke_sight *, struct shk_object_info *);

#endif
