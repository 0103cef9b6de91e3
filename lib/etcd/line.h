/*
 * The keys of one part of an object, as the watch tells of them, in the order in which they were
 * created: the line of the threads that wait, what processes hold. Each has the lease of the
 * process that has put it, so it goes with that process.
 *
 * A thread that puts such a key has a ticket, from before the request until after the one that
 * deletes it. A key of this process that has no ticket is a stray: of a call that was given up, and
 * carried out late. See `mend` in watch.h.
 */
#ifndef SHKE_LINE_H
#define SHKE_LINE_H

#include "etcd/object.h"

/* The longest name of a key behind the part. */
#define SHKE_SPOT_MAX 56

/* A key. */
struct shke_spot {
    char name[SHKE_SPOT_MAX];
    int64_t create, mod, lease;
    int64_t number; /* "n" of its value */
    bool is_found;  /* of a line that is read anew */
    struct shke_spot *next, *previous;
};

/* What a thread of this process has put, or is about to. */
struct shke_ticket {
    char name[SHKE_SPOT_MAX];
    int64_t created; /* 0: it is not there */
    int64_t lease;
    struct shke_ticket *next;
};

/* All with the object's lock. */
struct shke_line {
    struct shke_object *object;
    const char *part; /* "wait/" */
    struct shke_spot *head, *tail;
    size_t n;
    int64_t read; /* the revision as of which all of it has been read; 0: it has not been */
    int64_t seen; /* of the last news; at least `read` */
    struct shke_ticket *tickets;
};

void shke_line_init(struct shke_line *, struct shke_object *, const char *part);
void shke_line_free(struct shke_line *);

/* Whether the key is of this part; then what the watch has told of it is noted. */
bool shke_line_event(struct shke_line *, const struct shke_kv *, bool deleted);
/*
 * All its keys are those of the n-th answer, as of the reply's revision; older news change nothing.
 * 0, -ENOMEM, -EPROTO.
 */
int shke_line_read(struct shke_line *, const struct shke_reply *, unsigned n);

struct shke_spot *shke_line_find(const struct shke_line *, const char *name);
/* Whether a ticket's key is gone: its lease has ended. */
bool shke_line_has_lost(const struct shke_line *, const struct shke_ticket *);

/* A ticket with a new name; `prefix` is put in front of it: "w." */
void shke_ticket_take(struct shke_line *, struct shke_ticket *, const char *prefix);
/*
 * Whether there is another key of its name than the one that it knows of: a stray now, of which the
 * watch has told already. So shke_watch_mend() is to be called.
 */
bool shke_ticket_give(struct shke_line *, struct shke_ticket *);

bool shke_line_has_ticket(const struct shke_line *, const char *name);
/* A key without a ticket; NULL: there is none. */
const struct shke_spot *shke_line_stray(const struct shke_line *);

/* "/shmkit/bank/till/wait/" and the name. */
void shke_line_key(char key[SHKE_KEY_MAX], const struct shke_line *, const char *name);

/*
 * Put the ticket's key, with a value that tells the thread, ending with `more` (",\"n\":1}"): 0, or
 * as shke_call(); -ESTALE also if the lease has just ended, and a later try may do. Without the
 * object's lock.
 *
 * Killed before: nothing; after: the key goes with the lease. Carried out twice: the second finds
 * the key; late: a stray.
 */
int shke_line_enter(struct shke_line *, struct shke_ticket *, const char *more,
                    const struct shke_trial *);
/*
 * Delete a key that was created by that revision: 0, or as shke_call(). Twice, or late: it is gone,
 * and created by another revision, if at all. Without the object's lock.
 */
int shke_line_leave(struct shke_line *, const char *name, int64_t created,
                    const struct shke_trial *);

/* Delete strays, for a mend(): false: not all. */
bool shke_line_mend(struct shke_line *);

#endif
