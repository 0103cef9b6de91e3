/*
 * Segments and objects as keys:
 *
 *     /shmkit/SEGMENT                       the segment: {"shmkit":1,"nonce":...}
 *     /shmkit/SEGMENT/.members/LEASE        a process that has it open: its name, pid and machine
 *     /shmkit/SEGMENT/.members.left         the lease of the last one that closed it
 *     /shmkit/SEGMENT/.waits/LEASE          what its threads wait for: see waits.h
 *     /shmkit/SEGMENT/.objects/OBJECT       an object: what it is; so a list reads no items
 *     /shmkit/SEGMENT/OBJECT/.object        the same, among its parts: its create_revision tells
 *                                           this object from a later one of that name
 *     /shmkit/SEGMENT/OBJECT/.uses/LEASE    a process that has the object open
 *     /shmkit/SEGMENT/OBJECT/...            its parts, as its kind has them
 *
 * No name has a slash in it, or a dot in front.
 *
 * Each transaction on an object compares the create_revision of its .object, so nothing is done to
 * an object that has been unlinked. Members of a process share what is known of an object: it is
 * there once, however many handles there are.
 */
#ifndef SHKE_OBJECT_H
#define SHKE_OBJECT_H

#include "etcd/machine.h"
#include "etcd/session.h"
#include "object/watch.h"

#define SHKE_ROOT "/shmkit/"

/* A call that has no timeout: so long a majority may keep it waiting. */
#define SHKE_LIMIT SHK_SEC(10)

/* Room for a key; what a kind adds to an object's prefix has at most 100 bytes. */
#define SHKE_KEY_MAX (sizeof(SHKE_ROOT) + SHK_SEGMENT_NAME_MAX + SHK_NAME_MAX + 104)

struct shke_segment {
    struct shk_segment segment; /* what a handle needs of it: name, openness, remote */
    struct shke_session *session;
    char prefix[sizeof(SHKE_ROOT) + SHK_SEGMENT_NAME_MAX + 2]; /* "/shmkit/bank/" */
    char member[SHK_NAME_MAX + 1];                             /* this process's name in it */
    char command[16];
    struct shke_machine machine;
    int64_t joined;              /* seconds since 1970 */
    int64_t created;             /* its create_revision */
    unsigned refs;               /* opens and objects; with `segments` */
    struct shke_segment *next;   /* with `segments` */
    struct shke_object *objects; /* with `segments` */

    pthread_mutex_t lock;     /* protects the following, and is held over a request */
    int64_t member_lease;     /* whose record of the member is there; 0: none */
    struct shke_object *used; /* the objects that are open, each with a key */
};

struct shke_object;
struct shke_sight;

/* A kind. */
struct shke_kind {
    uint32_t number;  /* enum shk_kind */
    const char *name; /* in the record: "lock" */
    size_t size;      /* of its struct, which begins with struct shke_object */
    /* Add to a record, behind its other fields: ,"capacity":4. NULL: nothing. */
    void (*describe)(struct shke_buffer *, const void *options);
    /* Why none can be created with these options; NULL: it can. NULL as a function: always. */
    const char *(*refuse)(const void *options);
    /* Keys that a new object has, besides its record. NULL: none. */
    void (*create)(struct shke_object *, struct shke_txn *);
    /* Whether the record fits the options (NULL: any): 0, -EPROTOTYPE, -EPROTO; copies it. */
    int (*check)(struct shke_object *, json_object *record, const void *options);
    /*
     * The segment has been closed in this process, which still has a handle of the object: give
     * back what only an open segment may hold. NULL: nothing.
     */
    void (*leave)(struct shke_object *);
    /* What it begins once it is open in this process, and its end. NULL: nothing. */
    int (*start)(struct shke_object *);
    void (*stop)(struct shke_object *);
    /*
     * Begin to be told whether it is ready, and fill in is_ready, note and repair of the watch, see
     * object/watch.h; the rest is there, for a handle that is the object. 0 or an error. NULL: it
     * cannot be waited for together with others.
     */
    int (*watch)(struct shke_object *, void *handle, uint32_t want, struct shki_watch *);
    /*
     * Its figures for <shmkit/inspect.h>: ask for the keys, with `looks` operations, and read what
     * has come, 0 or an error: see sight.h. NULL: none.
     */
    unsigned looks;
    void (*look)(struct shke_txn *, const char *prefix);
    int (*tell)(struct shke_sight *, struct shk_object_info *);
};

/* All kinds, NULL at the end: kinds.c. */
extern const struct shke_kind *const shke_kinds[];
extern const struct shke_kind shke_lock_kind, shke_event_kind, shke_queue_kind, shke_semaphore_kind,
    shke_rwlock_kind, shke_barrier_kind, shke_cond_kind, shke_stream_kind;

/* The first part of what is known of an object. */
struct shke_object {
    struct shke_segment *segment;
    const struct shke_kind *kind;
    char name[SHK_NAME_MAX + 1];
    char prefix[SHKE_KEY_MAX];     /* "/shmkit/bank/till/" */
    int64_t created;               /* create_revision of its record */
    int64_t revision;              /* of the store when it was found */
    unsigned refs;                 /* with `segments` */
    struct shke_object *next;      /* with `segments` */
    struct shke_object *next_used; /* with the segment's lock */
    _Atomic bool is_gone;          /* it has been unlinked; relaxed: comparisons tell for sure */
    struct shki_object self;       /* for what outlives handles: a set, see ready.c */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* with the lock: what a thread of this process may wait for */
};

/* ---- Segments: segment.c ---- */

/* "bank" of "etcd:bank": 0, or as shki_check_name(). */
int shke_segment_name(const char *name, const char **bare);
/* `calls`: of the segment, and of the objects in it. */
int shke_segment_open(const char *name, unsigned flags, const struct shk_segment_options *,
                      const struct shki_remote *calls, struct shk_segment **out);
int shke_segment_unlink(const char *name, unsigned flags);
/* leave: shke_objects_leave(), for a segment that is not open any more. */
int shke_segment_close(struct shk_segment *, void (*leave)(struct shke_segment *));
int shke_segment_rename(struct shk_segment *, const char *utf8);
void shke_segment_ref(struct shke_segment *);
void shke_segment_unref(struct shke_segment *);

/* Guards the segments of this process and their objects. */
void shke_segments_lock(void);
void shke_segments_unlock(void);

static inline struct shke_segment *shke_segment_of(const struct shk_segment *s)
{
    return (struct shke_segment *)(uintptr_t)s;
}

/* ---- The member: member.c ---- */

/* The name that it has at first. */
void shke_member_take_name(struct shke_segment *);

/* A lease that is good now, with this process's record in the segment: 0, or as shke_call(). */
int shke_segment_lease(struct shke_segment *, const struct shke_trial *, int64_t *lease);

/*
 * The object is open in this process, as others are told by a key with its lease, and not any more.
 * Without `segments`.
 */
int shke_segment_use(struct shke_object *);
void shke_segment_unuse(struct shke_object *);

/* What tells a thread of this process: "4711 host name". */
void shke_segment_describe_thread(const struct shke_segment *, struct shke_buffer *);

/* Of a value that begins so, for sentences: the name ("": it tells none) and pid of the thread. */
void shke_read_thread(const struct shke_kv *, char name[SHK_NAME_MAX + 1], int32_t *pid);
/* Its "nonce", or "". */
void shke_read_nonce(const struct shke_kv *, char *nonce, size_t size);

/* ---- Objects: object.c ---- */

/* What the open call of a kind does: 0 with one more reference to the object. */
int shke_object_open(struct shk_segment *, const char *name, unsigned flags,
                     const struct shke_kind *, const void *options, struct shke_object **out);
void shke_object_unref(struct shke_object *);
/* What only an open segment may hold is given back. */
void shke_objects_leave(struct shke_segment *);
int shke_object_unlink(struct shk_segment *, const char *name, bool only_unused);

/* One more reference. */
void shke_object_ref(struct shke_object *);

/* One that is zero, which the caller has allocated, and its end. It is in no list. */
void shke_object_init(struct shke_object *, struct shke_segment *, const char *name,
                      const struct shke_kind *);
void shke_object_destroy(struct shke_object *);

/* ---- Sets: ready.c ---- */

int shke_ready_watch(const struct shki_object *, void *handle, uint32_t want, struct shki_watch *);
void shke_ready_ref(void *object);
int shke_ready_wait(const struct shki_object *, const struct shki_deadline *,
                    int (*check)(void *set), void *set, int none);

/* Fill in a handle's first part; `shared` is the object. */
void shke_object_bind(struct shki_object *, struct shke_object *);

/* The first line of each call: 0; -EBADF: closed, or of a parent process; -ESTALE: unlinked. */
int shke_enter(const struct shki_object *, const struct shke_object *);

/* "/shmkit/bank/till/" and what is formatted. */
void shke_key(char key[SHKE_KEY_MAX], const struct shke_object *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Compare that the object is still there; ask for it if not all comparisons hold. */
void shke_if_there(struct shke_txn *, const struct shke_object *);
/*
 * After a transaction that did not succeed, and whose first question was for the object's record,
 * which shke_if_there() has put there: 0: it is there; -ESTALE, and it is noted; -ENOMEM, -EPROTO.
 */
int shke_check_there(struct shke_object *, const struct shke_reply *);
int shke_stale(struct shke_object *);

/*
 * With the object's lock: wait for a change, for 100 ms at most; then the deadline's end, or 0.
 */
int shke_object_wait(struct shke_object *, const struct shki_deadline *);
/* … without asking about the deadline: 0. */
int shke_object_sleep(struct shke_object *, const struct shki_deadline *);

/* What the calling thread waits for, around all of its waiting; shke_waiting_end() is its end. */
static inline void shke_waiting_begin(struct shke_waiting *w, const struct shke_object *o,
                                      uint32_t waits_for, const struct shki_deadline *deadline)
{
    *w = (struct shke_waiting){.waits = shke_session_waits(o->segment->session),
                               .prefix = o->segment->prefix,
                               .object = o->name,
                               .created = o->segment->created,
                               .waits_for = waits_for,
                               .has_deadline = deadline->at != SHKI_NEVER};
    shke_waiting_push(w);
}

/* Whether a key is that of the object's record. */
bool shke_is_record(const struct shke_object *, const struct shke_kv *);
/* It has been deleted: note that, and wake all. With the object's lock. */
void shke_object_is_gone(struct shke_object *);
/* A watcher's told(): wake all that wait for a change. */
void shke_object_told(void *object);

static inline struct shke_client *shke_object_client(const struct shke_object *o)
{
    return shke_session_client(o->segment->session);
}

/* Bytes that no other call has: 16 of them, as hexadecimal digits. */
#define SHKE_NONCE_SIZE 33
void shke_nonce(char nonce[SHKE_NONCE_SIZE]);
/* Whether a value begins with that text and a colon: the request of that nonce has written it. */
bool shke_begins_with(const struct shke_kv *, const char *text);

/* A new name for a key that a thread of this process puts: "P.N", see shke_session_process(). */
#define SHKE_OWN_SIZE 34
void shke_own_name(const struct shke_object *, char name[SHKE_OWN_SIZE]);
bool shke_is_own_name(const struct shke_object *, const char *name);

/* The calling thread's id. */
pid_t shke_tid(void);

/* The calls of the kinds. */
extern const struct shki_lock_calls shke_lock_calls;
extern const struct shki_member_calls shke_member_calls;
extern const struct shki_barrier_calls shke_barrier_calls;
extern const struct shki_cond_calls shke_cond_calls;
extern const struct shki_event_calls shke_event_calls;
extern const struct shki_queue_calls shke_queue_calls;
extern const struct shki_rwlock_calls shke_rwlock_calls;
extern const struct shki_semaphore_calls shke_semaphore_calls;
extern const struct shki_stream_calls shke_stream_calls;

#endif
