/*
 * A rwlock on etcd.
 *
 *     writer     the thread that writes, with its process's lease
 *     writing    is there while a writer writes; stays when the writer's key goes by itself
 *     reader/T   a thread that has a share, likewise with a lease
 *     wait/r.T   a thread that waits to read, wait/w.T: … to write; with leases
 *     turn       written whenever a writer has finished
 *
 *     read                                       write
 *     compare writer is absent                   compare writer is absent
 *     compare no thread waits to write           compare there is no reader/, no wait/
 *     put reader/T, get writing                  put writer, put writing, get writing
 *
 *     finish reading                             finish writing
 *     compare reader/T is mine                   compare writer is mine
 *     delete it                                  delete writer, put turn
 *                                                delete writing, unless what it says is not mended
 *
 * `writing` that another revision has created than the writer's key is that of a writer that died:
 * SHK_ORPHANED. A writer that does not mend it leaves it as it is. The readers are told, too: no
 * writer is there then, and `writing` is.
 *
 * A thread that cannot enter at once puts its key into the line, wait/, and watches. It is
 * phase-fair: a reader of the line enters
 *   - if no writer waits that came before it, or
 *   - if it has waited since before `turn` was written: a writer has finished meanwhile.
 * A writer of the line enters if no thread waits that came before it, and no reader that has been
 * let in by the second rule. So the first of the line can always enter once the others have left,
 * and neither readers nor writers pass others for ever. Each rule is a comparison: of what has been
 * created before the own key, of `turn`.
 *
 * Twice, or late: the key that the first has put lets the second fail, and has a name that no other
 * call has: the call finds by it that the first succeeded. A sending that the last one's refusal
 * has overtaken may be carried out while its thread waits in the line: the thread looks for its own
 * key, too, and not only whether it may enter. Late, after the call was given up, such a key is a
 * stray, which the watch deletes.
 */
#ifndef SHKE_RWLOCK_H
#define SHKE_RWLOCK_H

#include "etcd/line.h"

/* A thread of this process that holds the rwlock, or tries to. */
struct shke_rw_holder {
    struct shke_ticket ticket; /* of reader/; its name is the nonce of `writer`, too */
    pid_t tid;
    bool writes;
    bool is_orphaned; /* a writer has died, and the caller has been told */
    bool was_in;      /* it has entered by an earlier sending, maybe not from its place */
    uint32_t again;
    struct shke_rw_holder *next;
};

struct shke_rwlock {
    struct shke_object object;
    struct shke_watch *watch;

    /* ---- With the object's lock ---- */
    struct shke_line line;    /* wait/ */
    struct shke_line readers; /* reader/; and the tickets of all holders */
    struct shke_rw_holder *holders;
    int64_t writer_created, writer_known; /* 0: there is none */
    int64_t writer_lease;
    char writer_nonce[SHKE_SPOT_MAX];
    char writer_name[SHK_NAME_MAX + 1];
    int32_t writer_pid;
    int64_t turn, turn_known; /* mod_revision */
};

/* Ask the servers, and note what they say: the revision, or an error. Without the object's lock. */
int64_t shke_rwlock_look(struct shke_rwlock *, const struct shke_trial *);

/* What the watch tells. With the object's lock. */
void shke_rwlock_event(struct shke_rwlock *, const struct shke_kv *, bool deleted);

/* With the object's lock: whether a thread might enter, as far as is known; its place in the line,
 * NULL: it has none. */
bool shke_rwlock_may_enter(const struct shke_rwlock *, bool writes,
                           const struct shke_ticket *place);
/* … the revision that created its key, whose lease is good; 0: there is none. */
int64_t shke_rwlock_key(const struct shke_rwlock *, const struct shke_rw_holder *);

/*
 * Enter, as `h` says: 0; 1: it cannot, as things were known; or as shke_call(). With the object's
 * lock, which is not held over the request.
 */
int shke_rwlock_enter(struct shke_rwlock *, struct shke_rw_holder *,
                      const struct shke_ticket *place, const struct shke_trial *);

/*
 * Finish writing; `to_reader`: and go on as a reader. 0; 1: the key was not there any more; or as
 * shke_call(). As above.
 */
int shke_rwlock_finish(struct shke_rwlock *, struct shke_rw_holder *, bool to_reader,
                       const struct shke_trial *);

/* A writer's key of this process that no thread knows of is given back. False: not yet. */
bool shke_rwlock_mend(struct shke_rwlock *);

/* ---- rwlock_sight.c: see sight.h ---- */

void shke_rwlock_sight_look(struct shke_txn *, const char *prefix);
int shke_rwlock_sight_tell(struct shke_sight *, struct shk_object_info *);

#endif
