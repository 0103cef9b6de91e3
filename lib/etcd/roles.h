/*
 * Producers and consumers by role, SHK_AS() in <shmkit/common.h>, of a queue or a stream on etcd. A
 * line is one side of an object, from its first producer to the end of its last one; and so for
 * consumers (in the keys: p, c).
 *
 *     .role/p/T        a process that is a producer, with its lease
 *     .role.had/p/T    stays if the process dies
 *     .role.line/p     written when a line begins: that revision tells the line from others
 *     .role.mine/p/P   what a process did last, with its lease; "T", or "-T"
 *
 *     begin                                            end
 *     compare .role.mine/p/P is as I left it           compare .role.mine/p/P is as I left it
 *     put it                                           put it
 *     if there is no .role/p/: put .role.line/p,       if .role/p/T is there: delete it and
 *         delete all .role.had/p/                          .role.had/p/T
 *     put .role/p/T and .role.had/p/T
 *
 * What always holds: a line has ended if it has begun and there is no .role/p/. A producer of it
 * has died if there are more .role.had/p/ than .role/p/. So each revision says it, and all
 * processes come to the same, whichever of them are told. A handle notes the line of whose death it
 * has told: so that is told once.
 *
 * The watch of the object counts: a name is used once, so each of these keys comes and goes once.
 * No list is read. The watch may be late: what a consumer is told, the servers have said, which it
 * asks for the line and the items in one transaction.
 *
 * A put of a producer compares that its .role/p/T is there. So a consumer that finds that a line
 * has ended, and then no item, has seen all that its producers have put.
 *
 * Twice, or late: .role.mine is another one then. Killed: .role/p/T goes with the lease, and
 * .role.had/p/T stays until the next line begins. A process whose lease has ended has died as a
 * producer; it begins anew, under another name, with its next call, or while that or a set waits.
 */
#ifndef SHKE_ROLES_H
#define SHKE_ROLES_H

#include "etcd/object.h"
#include "object/roles.h"

/* A line as of a revision. The sides are SHKI_PRODUCERS and SHKI_CONSUMERS. */
struct shke_side {
    int64_t begun;       /* the revision at which it did; 0: there has never been one */
    int64_t living, had; /* processes; with those that have died since it began */
};

/* This process on one side of an object. */
struct shke_role {
    /* Changed with the segment's lock. Relaxed: without it they are a hint. */
    _Atomic unsigned handles;
    _Atomic int64_t lease;     /* with which its key was put; 0: it was not */
    char name[SHKE_OWN_SIZE];  /* T, or ""; changed with the object's lock, too */
    char stray[SHKE_OWN_SIZE]; /* one that was given up and has come through; "": none */
    int64_t mine, mine_lease;  /* mod_revision of .role.mine, and with which lease */
};

/* Of an object. */
struct shke_roles {
    struct shke_role own[SHKI_SIDES];

    /* ---- With the object's lock ---- */
    struct shke_side sides[SHKI_SIDES];
    int64_t known, told; /* revisions: of the last read, and of the last event since */
};

/* ---- roles.c: what the process knows of lines ---- */

/* Ask for both lines, with so many operations; `otherwise`: if the comparisons do not hold. */
#define SHKE_ROLES_LOOKS 6u
void shke_roles_ask(struct shke_txn *, const char *prefix, bool otherwise);
/* The answer, from that operation on: 0 or an error. */
int shke_roles_read(const struct shke_reply *, unsigned first, struct shke_side[SHKI_SIDES]);
/* … which is noted. With the object's lock. */
void shke_roles_learn(struct shke_object *, struct shke_roles *, const struct shke_side[SHKI_SIDES],
                      int64_t revision);
/* What a watch tells: false: it is of another key. With the object's lock. */
bool shke_roles_event(struct shke_object *, struct shke_roles *, const struct shke_kv *,
                      bool deleted);

/* Whether a line has ended, since the handle was opened. */
static inline bool shke_side_has_ended(const struct shke_side sides[SHKI_SIDES],
                                       const struct shki_roles *handle, unsigned side)
{
    return sides[side].begun && sides[side].living == 0 &&
           (uint64_t)sides[side].begun != handle->ended_before[side];
}
/* … as far as is known; with the object's lock. */
static inline bool shke_roles_has_ended(const struct shke_roles *r, const struct shki_roles *handle,
                                        unsigned side)
{
    return shke_side_has_ended(r->sides, handle, side);
}
/* … and puts are to end with -EPIPE. */
static inline bool shke_roles_is_alone(const struct shke_roles *r, const struct shki_roles *handle)
{
    return handle->minds && shke_roles_has_ended(r, handle, SHKI_CONSUMERS);
}

/*
 * What a consumer is told that finds nothing left: -EOWNERDEAD once for each line and each `told`,
 * if a producer of that line has died; else -EPIPE. And a producer that minds that it is alone.
 */
int shke_roles_say_ended(const struct shki_object *, const struct shke_side *producers,
                         _Atomic uint64_t *told, const char *drained, const char *died);
int shke_roles_say_alone(const struct shki_object *);

/*
 * With the object's lock: what a put, or an append, compares: that its producer is still one; and,
 * if it minds, that there is a consumer, or that there has been none since it was known.
 */
void shke_roles_compare(struct shke_txn *, const struct shke_object *, const struct shke_roles *,
                        const struct shki_roles *handle);
/*
 * Ask why these comparisons did not hold, if there are any: as many operations more as it returns;
 * and note the answer. With the object's lock.
 */
unsigned shke_roles_ask_why(struct shke_txn *, const struct shke_object *,
                            const struct shke_roles *, const struct shki_roles *handle,
                            bool otherwise);
int shke_roles_learn_why(struct shke_object *, struct shke_roles *, const struct shki_roles *handle,
                         const struct shke_reply *, unsigned first);

/* ---- roles_own.c: the roles of this process; without the object's lock ---- */

/*
 * A handle has been opened, with these flags: 0 or an error, and nothing is left of it. `items`:
 * what is left of what producers have put ("slot/"); NULL: nothing is. *revision as of which the
 * lines are known.
 */
int shke_roles_open(struct shke_object *, struct shke_roles *, struct shki_roles *handle,
                    unsigned flags, const char *items, int64_t *revision);
/* Before it is closed: 0; or -EHOSTUNREACH, and it stays open. */
int shke_roles_close(struct shke_object *, struct shke_roles *, struct shki_roles *handle);
/* The segment has been closed in this process. */
void shke_roles_leave(struct shke_object *, struct shke_roles *);
/* The roles that the process has lost with its lease begin anew: 0 or an error. */
int shke_roles_keep(struct shke_object *, struct shke_roles *, const struct shke_trial *);
/* Whether it has lost one. A hint, without a lock. */
bool shke_roles_are_lost(const struct shke_object *, const struct shke_roles *);
/* With the object's lock, which is not held over a request: they begin anew, if it has. */
void shke_roles_keep_waiting(struct shke_object *, struct shke_roles *);
/* For the repair of a set, in which nothing is ready. */
void shke_roles_keep_set(struct shke_object *, struct shke_roles *);

/* ---- roles_sight.c: see sight.h ---- */

/* With SHKE_ROLES_LOOKS operations; the answers from the n-th on. */
void shke_roles_look(struct shke_txn *, const char *prefix);
int shke_roles_tell(struct shke_sight *, unsigned n, struct shk_object_info *);

#endif
