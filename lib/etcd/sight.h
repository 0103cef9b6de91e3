/*
 * Segments on etcd as they are seen from outside, for <shmkit/inspect.h>: with requests that only
 * read, by a process that need not be a member. What is read may be anything: each value is checked
 * before it is used.
 *
 * Each kind tells of its objects by two functions of struct shke_kind:
 *
 *     static void look(struct shke_txn *t, const char *prefix)     ask for its keys
 *     {
 *         char key[SHKE_KEY_MAX];
 *
 *         shke_then_get(t, shke_part(key, prefix, "set"));
 *     }
 *
 *     static int tell(struct shke_sight *s, struct shk_object_info *info)      and read them
 *     {
 *         struct shke_kv set;
 *         int r = shke_sight_kv(s, 0, 0, &set);
 *
 *         if (r == 0)
 *             info->as.event.is_set = set.create != 0;
 *         shke_kv_free(&set);
 *         return r;
 *     }
 */
#ifndef SHKE_SIGHT_H
#define SHKE_SIGHT_H

#include "etcd/object.h"
#include "etcd/machine.h"
#include "inspect/snapshot.h"

/* struct shke_kind.looks: operations that look() adds; at most so many. */
#define SHKE_LOOKS 10

/* A snapshot in the making. */
struct shke_snapshot {
    struct shke_client *client;
    struct shk_snapshot *out;
    char prefix[sizeof(SHKE_ROOT) + SHK_SEGMENT_NAME_MAX + 2]; /* "/shmkit/bank/" */
    size_t members_room;
    /* of each process: its lease, and where its main thread is among the members */
    struct shke_process {
        int64_t lease, created;
        size_t main;
    } * processes;
    size_t n_processes;
    struct shke_machine here; /* of the calling process */
};

/* An object, while its kind tells of it. */
struct shke_sight {
    struct shke_snapshot *snapshot;
    const struct shke_reply *reply;
    unsigned first; /* its first operation */
    json_object *record;
};

/* The object's record; it is a JSON object. */
json_object *shke_sight_record(const struct shke_sight *);

/* Of the n-th operation of look(): the i-th key, see shke_reply_kv_at(); how many; the count. */
int shke_sight_kv(const struct shke_sight *, unsigned n, size_t i, struct shke_kv *);
size_t shke_sight_n(const struct shke_sight *, unsigned n);
int64_t shke_sight_count(const struct shke_sight *, unsigned n);

/*
 * The member whose thread has written the key, with its lease: its id; 0: the key is absent, or
 * that member is not there any more. The value may say which thread, as
 * shke_segment_describe_thread() does; else it is the process.
 */
uint64_t shke_sight_member(struct shke_sight *, const struct shke_kv *);
/*
 * The process with whose lease the key is has that role of the object, or, with 0, so many permits:
 * noted for shk_snapshot_roles() and shk_snapshot_permits(). 0 or -ENOMEM.
 */
int shke_sight_add_role(struct shke_sight *, const struct shke_kv *, uint64_t serial, unsigned role,
                        uint32_t permits);

/* With a client of its own: 0, or as shke_client_new(). */
int shke_look_begin(const char *name, const char **bare, struct shke_client **);
/* How long a look is tried. */
extern const struct shke_trial shke_looking;

/* ---- The members of a snapshot ---- */

/* From the key of a process: 0, -ENOMEM. `processes` has room for it. */
int shke_snapshot_add_process(struct shke_snapshot *, const struct shke_kv *);
/* The process with that lease; NULL: it is not there. */
const struct shke_process *shke_snapshot_process(const struct shke_snapshot *, int64_t lease);
/* A thread of it, added if it is not there yet; NULL: no memory. */
struct shk_member_info *shke_snapshot_thread(struct shke_snapshot *, const struct shke_process *,
                                             int32_t tid);
#define SHKE_TID_MAX (1 << 22) /* Linux has fewer */
/*
 * What tells a member from all that have ever been in the segment: the revision that created its
 * record, and the thread.
 */
uint64_t shke_member_id(int64_t created, int32_t tid);

/* ---- Values of any origin ---- */

/* The JSON in a value; NULL: it is none of that type. */
json_object *shke_parse(const struct shke_kv *, json_type);
/* A label: valid UTF-8, no control characters; "": there is none. */
void shke_copy_text(char *to, size_t size, json_object *from, const char *key);

/* ns since then, as the clock of that machine had it; two clocks may differ. 0: not known. */
int64_t shke_time_since(int64_t ms);
/* … since the holder of a lock has it. */
int64_t shke_sight_held(const struct shke_kv *holder);

/* What is behind the last slash of a key. */
const char *shke_last_part(const char *key);

/* "/shmkit/bank/till/" and a part, in `key`. */
const char *shke_part(char key[SHKE_KEY_MAX], const char *prefix, const char *part);

#endif
