/*
 * Objects of a segment that lies elsewhere: another implementation of the same public calls, in a
 * library that is loaded when such a segment is opened.
 *
 * A handle of such an object begins with struct shki_object, as each handle does, and its segment
 * has `remote`. No thread is ever a member of that segment. So each call fails at the check with
 * which it begins, the thread is not a member yet, in the first thing that its slow half does:
 * shki_enter() gives SHKI_REMOTE. There the call goes on in the other implementation:
 *
 *     int r = lock ? shki_enter(&lock->object, &m) : SHKI_NO_HANDLE;
 *
 *     if (r < 0)
 *         return SHKI_ELSEWHERE(r, lock, lock, acquire, (lock, timeout));
 *
 * The fast half has no instruction for it: it asks for its member before anything else. A handle of
 * the other implementation begins with the kind's own struct, zeroed but for `object` and what the
 * public call reads before it enters (the order of a queue).
 *
 * A kind that can lie elsewhere says where its operations are (struct shki_kind.remote); others
 * cannot be opened there, -ENOTSUP. Nor can a call be made that the other implementation leaves
 * out.
 */
#ifndef SHKI_REMOTE_H
#define SHKI_REMOTE_H

#include "base/deadline.h"
#include "object/object.h"

#include <limits.h>
#include <shmkit/queue.h>

struct shk_barrier;
struct shk_barrier_options;
struct shk_cond;
struct shk_cond_options;
struct shk_event;
struct shk_event_options;
struct shk_lock;
struct shk_lock_options;
struct shk_object_info;
struct shk_member_event;
struct shk_member_info;
struct shk_member_watch;
struct shk_cluster_info;
struct shk_item_info;
struct shk_rwlock;
struct shk_rwlock_options;
struct shki_watch;
struct shk_segment_info;
struct shk_semaphore;
struct shk_semaphore_options;
struct shk_server_info;
struct shk_snapshot;
struct shk_reader;
struct shk_stream;
struct shk_stream_options;

/* The object lies elsewhere. It never leaves the library. */
enum { SHKI_REMOTE = INT_MIN };

/* ---- The operations: each is the public call of that name ---- */

struct shki_lock_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_lock_options *, struct shk_lock **out);
    int (*close)(struct shk_lock *);
    int (*acquire)(struct shk_lock *, int64_t timeout);
    int (*release)(struct shk_lock *);
    int (*is_held)(struct shk_lock *);
    int (*depth)(struct shk_lock *);
    int (*stamp)(struct shk_lock *);
    int (*token)(struct shk_lock *, uint64_t *token);
};

struct shki_barrier_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_barrier_options *, struct shk_barrier **out);
    int (*close)(struct shk_barrier *);
    int (*wait)(struct shk_barrier *, int64_t timeout);
    int (*reset)(struct shk_barrier *);
    int (*abort)(struct shk_barrier *);
    int (*waiting)(struct shk_barrier *);
    int (*parties)(struct shk_barrier *);
    int (*broken)(struct shk_barrier *);
};

/* Its lock is a handle in its handle: acquire, release and stamp are calls on that. */
struct shki_cond_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_cond_options *, struct shk_cond **out);
    int (*close)(struct shk_cond *);
    int (*wait)(struct shk_cond *, int64_t timeout);
    int (*was_notified)(struct shk_cond *);
    int (*notify)(struct shk_cond *, unsigned n); /* UINT32_MAX: all */
    int (*native)(struct shk_cond *, pthread_cond_t **, pthread_mutex_t **);
};

struct shki_event_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_event_options *, struct shk_event **out);
    int (*close)(struct shk_event *);
    int (*set)(struct shk_event *);
    int (*clear)(struct shk_event *);
    int (*is_set)(struct shk_event *);
    int (*wait)(struct shk_event *, int64_t timeout);
};

/*
 * A watch of members is a handle, too. take: the next event, which is taken: its kind; 0: there is
 * none.
 */
struct shki_member_calls {
    int (*open)(struct shk_segment *, const char *name, uint64_t id, uint32_t want,
                struct shk_member_watch **out);
    int (*close)(struct shk_member_watch *);
    uint32_t (*take)(struct shk_member_watch *, struct shk_member_event *);
    int (*living)(struct shk_member_watch *);
};

struct shki_rwlock_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_rwlock_options *, struct shk_rwlock **out);
    int (*close)(struct shk_rwlock *);
    int (*acquire_shared)(struct shk_rwlock *, int64_t timeout);
    int (*acquire)(struct shk_rwlock *, int64_t timeout);
    int (*release)(struct shk_rwlock *);
    int (*downgrade)(struct shk_rwlock *);
    int (*recover)(struct shk_rwlock *);
    int (*is_held)(struct shk_rwlock *);
};

struct shki_semaphore_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_semaphore_options *, struct shk_semaphore **out);
    int (*close)(struct shk_semaphore *);
    int (*acquire_many)(struct shk_semaphore *, unsigned n, int64_t timeout);
    int (*release)(struct shk_semaphore *, unsigned n);
    int (*value)(struct shk_semaphore *);
    int (*held)(struct shk_semaphore *);
};

enum shki_stream_geometry {
    SHKI_STREAM_SAMPLE_SIZE,
    SHKI_STREAM_HISTORY,
    SHKI_STREAM_CHANNELS,
    SHKI_STREAM_STAMPED
};

/* stamps: NULL: the stream has none, or they are not asked for. */
struct shki_stream_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_stream_options *, struct shk_stream **out);
    int (*close)(struct shk_stream *);
    int (*append)(struct shk_stream *, const void *samples, const int64_t *stamps, size_t n);
    int64_t (*position)(struct shk_stream *);
    int64_t (*geometry)(struct shk_stream *, enum shki_stream_geometry);
    int (*rate)(struct shk_stream *, double *out);
    int (*set_rate)(struct shk_stream *, double rate);
    int (*reader_open)(struct shk_stream *, uint32_t from, struct shk_reader **out);
    int (*reader_close)(struct shk_reader *);
    ssize_t (*read)(struct shk_reader *, void *buf, int64_t *stamps, size_t n, int64_t timeout);
    ssize_t (*latest)(struct shk_reader *, void *buf, int64_t *stamps, size_t n);
};

struct shki_queue_calls {
    int (*open)(struct shk_segment *, const char *name, unsigned flags,
                const struct shk_queue_options *, struct shk_queue **out);
    int (*close)(struct shk_queue *);
    int (*put)(struct shk_queue *, const void *item, size_t len, int64_t priority, int64_t timeout);
    int (*put_many)(struct shk_queue *, const struct iovec *items, unsigned n, int64_t timeout);
    /* priority: NULL, or where it goes */
    ssize_t (*get)(struct shk_queue *, void *buf, size_t size, int64_t timeout, int64_t *priority);
    int (*get_many)(struct shk_queue *, struct iovec *bufs, unsigned n, int64_t timeout);
    ssize_t (*peek)(struct shk_queue *, const void **item, int64_t timeout);
    int (*consume)(struct shk_queue *);
    int (*unpeek)(struct shk_queue *);
    ssize_t (*size)(struct shk_queue *);
    ssize_t (*capacity)(struct shk_queue *);
    ssize_t (*item_size)(struct shk_queue *);
    int (*full)(struct shk_queue *);
    int (*shutdown)(struct shk_queue *);
    int (*is_shut_down)(struct shk_queue *);
    int (*reopen)(struct shk_queue *);
    /* not there yet, or never: a pointer into shared memory promises what no network keeps */
    int (*reserve)(struct shk_queue *, size_t len, void **slot, int64_t timeout);
    int (*commit)(struct shk_queue *, size_t len);
    int (*cancel)(struct shk_queue *);
    int (*claim)(struct shk_queue *, unsigned sides, int64_t timeout);
    int (*task_done)(struct shk_queue *);
    int (*join)(struct shk_queue *, int64_t timeout);
    ssize_t (*unfinished)(struct shk_queue *);
    int (*put_at)(struct shk_queue *, const char *source, uint64_t position, const struct iovec *,
                  unsigned n, int64_t timeout);
    int (*cursor)(struct shk_queue *, const char *source, uint64_t *position, uint64_t *before);
    int (*set_cursor)(struct shk_queue *, const char *source, uint64_t position);
    int (*incarnation)(struct shk_queue *, uint64_t *);
    int (*position)(struct shk_queue *, uint64_t *);
    ssize_t (*lease)(struct shk_queue *, void *buf, size_t size, int64_t timeout, uint64_t *ticket);
    int (*ack)(struct shk_queue *, uint64_t ticket);
    int (*nack)(struct shk_queue *, uint64_t ticket, int64_t delay);
    int (*lease_info)(struct shk_queue *, uint64_t ticket, struct shk_lease_info *);
};

/* What the other implementation has of a segment, and its kinds; NULL: not there. */
struct shki_remote {
    int (*close)(struct shk_segment *);
    int (*unlink_object)(struct shk_segment *, const char *name, bool only_unused);
    /*
     * One object of a set, see object/watch.h: 0 or an error. `handle` is what the caller has: of a
     * stream a reader. The watch's own handle has no `refs` if it is kept by ref() until unref().
     * No mark is set: what the other implementation is told wakes all sets of the process.
     */
    int (*watch)(const struct shki_object *, void *handle, uint32_t want, struct shki_watch *);
    void (*ref)(void *handle);
    /*
     * Wait until check(set) is not `none`: what it is; or the deadline's end. The thread waits for
     * the object, as others see it.
     */
    int (*wait)(const struct shki_object *, const struct shki_deadline *, int (*check)(void *set),
                void *set, int none);
    const struct shki_member_calls *member;
    const struct shki_lock_calls *lock;
    const struct shki_event_calls *event;
    const struct shki_queue_calls *queue;
    const struct shki_semaphore_calls *semaphore;
    const struct shki_rwlock_calls *rwlock;
    const struct shki_barrier_calls *barrier;
    const struct shki_cond_calls *cond;
    const struct shki_stream_calls *stream;
};

/* ---- The other library ---- */

/* What it uses of this one, whose symbols are not public. */
struct shki_remote_host {
    int (*fail)(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
    int (*object_say)(const struct shki_object *, int code, const char *state);
    void (*note_holder)(const char *name, int32_t pid);
    void (*error_save)(struct shki_saved_error *);
    int (*error_settle)(int r, const struct shki_saved_error *);
    int (*check_name)(const char *what, const char *name, size_t longest);
    int (*check_label)(const char *what, const char *label, size_t longest);
    struct shki_deadline (*deadline)(const struct shki_object *, int64_t timeout,
                                     const char *state);
    int (*deadline_check)(const struct shki_deadline *);
    bool (*deadline_has_passed)(const struct shki_deadline *);
    const char *(*last_error)(void);
    void (*copy_label)(char *to, size_t size, const char *from, size_t length);
    void (*deadline_slept)(const struct shki_deadline *);
};

/* What it gives. */
struct shki_remote_library {
    uint32_t interface; /* SHKI_REMOTE_INTERFACE */
    int (*open)(const char *name, unsigned flags, const struct shk_segment_options *,
                struct shk_segment **out);
    /* flags: as shk_segment_unlink_unused(), or SHKI_RETIRE_FORCED (segment/retire.h) */
    int (*unlink)(const char *name, unsigned flags);
    /* What <shmkit/inspect.h> has of them; read_snapshot() fills in one that is zero. */
    ssize_t (*list_segments)(unsigned flags, struct shk_segment_info **list);
    int (*read_snapshot)(const char *name, struct shk_snapshot *);
    ssize_t (*list_items)(const char *segment, const char *queue, size_t max,
                          struct shk_item_info **list);
    ssize_t (*list_servers)(struct shk_cluster_info *, struct shk_server_info **list);
};

/* Both sides are built together: any change of this file, or of a struct in it, is another one. */
#define SHKI_REMOTE_INTERFACE 11u
/* The one symbol of that library. */
#define SHKI_REMOTE_ENTRY "shki_remote_entry"
typedef const struct shki_remote_library *shki_remote_entry_call(const struct shki_remote_host *);

#define SHKI_REMOTE_LIBRARY "libshmkit-etcd.so.0"
#define SHKI_REMOTE_SCHEME  "etcd:"

/* Whether a segment of that name, or NULL, lies elsewhere. */
bool shki_remote_is_name(const char *name);

/* The library that carries such segments, loaded by the first call: 0 or -ENOTSUP. */
int shki_remote_load(const struct shki_remote_library **);

/* -ENOTSUP: what there is not, of an object that lies elsewhere. */
int shki_remote_lacks(const struct shk_segment *, const char *name, const char *what)
    __attribute__((cold));

/*
 * The end of a call that could not enter: r, or what the other implementation says to it, with
 * these arguments.
 */
#define SHKI_ELSEWHERE(r, handle, kind, call, arguments)                      \
    ((r) != SHKI_REMOTE ? (r)                                                 \
     : (handle)->object.segment->remote->kind->call                           \
         ? (handle)->object.segment->remote->kind->call arguments             \
         : shki_remote_lacks((handle)->object.segment, (handle)->object.name, \
                             #kind "_" #call "()"))

#endif
