/*
 * A segment in this process: mapped once, however often it is opened. Create, open, publish,
 * retire, and who is in it.
 *
 * Order of locks: header.lock (shared), `registry` (process), `local` (this segment, process). The
 * latter two are held for moments only, and never while another process is waited for: fork(2)
 * takes them.
 */
#ifndef SHKI_SEGMENT_H
#define SHKI_SEGMENT_H

#include "base/deadline.h"
#include "segment/layout.h"
#include "segment/memory.h"

#include <pthread.h>
#include <shmkit/segment.h>
#include <sys/stat.h>

struct shki_kind;
struct shki_member;
struct shk_segment;

/* What a segment's objects do for the layers below them: see lib/kinds.c. */
struct shki_kinds {
    const struct shki_kind *(*of)(uint32_t number); /* NULL: of an unknown kind */
    bool (*uses_pool)(uint32_t number);             /* its objects may have blocks of the pool */
    void (*reap)(struct shk_segment *);             /* take the dead out of all waitlists */
};

struct shk_segment {
    char name[SHK_SEGMENT_NAME_MAX + 1]; /* without slash */
    unsigned char *base; /* NULL when it has been unmapped and only handles still point here */
    struct shki_memory memory;
    struct shki_header *header;

    /*
     * Validated copies. Nothing in the library indexes by what it has just read from shared memory.
     */
    uint64_t id, size, inode, device;
    uint32_t max_members, max_objects;
    struct shki_geometry geometry;
    bool asymmetric; /* see base/fence.h */

    struct shki_recovery recovery;  /* for shki_mutex_lock(): see recover.h */
    const struct shki_kinds *kinds; /* of objects; NULL: mapped only in order to be retired */

    /* relaxed: whoever sees it late is interrupted a slice later */
    const volatile sig_atomic_t *_Atomic interrupt;
    /*
     * this process's view of header.watchers, a struct shki_waitlist: see poll/poll.c. Set once,
     * at the first open
     */
    void *_Atomic watchers;
    /*
     * shk_segment_open()s not yet closed; changed under `registry`; relaxed reads give -EBADF early
     */
    struct shki_openness openness;

    pthread_mutex_t local;       /* the following: */
    struct shki_member *members; /* of this process's threads */
    /* calls that need the mapping, of threads that are no members yet */
    unsigned pins;
    /* of objects; the struct lives as long as there are any */
    unsigned handles;
    uint32_t *uses; /* handles by entry index */
    /*
     * of this process, and of one that is being forked, in the table of processes; UINT32_MAX: none
     */
    uint32_t row, child;
    uint64_t row_word, child_word;

    struct shk_segment *next; /* under `registry` */
};

/* A thread's place in a segment. Private to the thread, but for the list in the segment. */
/* so many whom a thread releases at once are woken when there is no lock in their way */
#define SHKI_UNPARK_LATER 16u

struct shki_member {
    struct shk_segment *segment;
    struct shki_member_shared *record;
    struct shki_node *node; /* its first */
    uint64_t id;
    uint32_t index;
    /* robust mutexes of this segment that the thread holds, without its life */
    uint32_t held;
    uint32_t may_hold; /* … before it has to ask */
    /*
     * for an item, awake, since it last put one into a ring: most often the next one is an answer,
     * that is awaited in its turn
     */
    bool has_waited;
    struct shki_interrupt_call call;
    bool notified;      /* the thread's last wait on a condition ended with a notification, */
    uint64_t waited_on; /* … that on the condition with this serial */
    /* members that the thread has released: see shki_unpark_released() */
    uint32_t to_unpark[SHKI_UNPARK_LATER], n_to_unpark;
    struct shki_member *next_of_thread, *next_in_segment;
};

/*
 * How many robust mutexes a thread may hold: the kernel walks 2048 of a dead thread's and no more.
 */
#define SHKI_HELD_MAX 2000

/*
 * Take the segment's lock, waiting at most 10 s: 0, -EBUSY; -ESTALE if it is retired. Repairs what
 * a dead holder left.
 */
int shki_segment_lock(struct shk_segment *);
/* The same, be it retired or not, waiting at most that long. */
int shki_segment_lock_within(struct shk_segment *, int64_t limit);
/* Whether the calling thread has it. */
bool shki_segment_lock_is_mine(const struct shk_segment *);
void shki_segment_unlock(struct shk_segment *);

static inline bool shki_segment_is_retired(const struct shk_segment *s)
{
    /* RT1: acquire; pairs with the release in retire(). */
    return load_acquire(&s->header->retired) != 0;
}

/* Memory for [at, at + size), and back: see shki_memory_allocate() and shki_memory_punch(). */
static inline int shki_allocate(struct shk_segment *s, uint64_t at, uint64_t size, bool undo)
{
    return shki_memory_allocate(&s->memory, at, size, undo);
}

static inline bool shki_punch(struct shk_segment *s, uint64_t at, uint64_t size)
{
    return shki_memory_punch(&s->memory, at, size);
}

/* A segment's name without slash: checks, and gives where it starts. */
int shki_segment_name(const char *name, const char **bare);

/*
 * Whether the bytes are a header that this library understands, in a file of that size: 0 or
 * -EPROTO with a sentence.
 */
int shki_check_header(const char *name, const struct shki_header *, uint64_t file_size);

/* Whether a segment that was created in that pid namespace may be joined from here: 0 or -EXDEV. */
int shki_check_namespace(const char *name, uint64_t created_in);

/* "/dev/shm/" and the name, which has been checked. */
#define SHKI_DIRECTORY "/dev/shm"
#define SHKI_PATH_MAX  (sizeof(SHKI_DIRECTORY) + 1 + 256)
void shki_path(char path[SHKI_PATH_MAX], const char *name);

/* What shk_segment_open() does, with the kinds that its objects may be of. */
int shki_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *, struct shk_segment **out);

/*
 * What shk_segment_unlink() does, but for waking those who sleep in it: `wake` is called for that,
 * without any lock, while the segment is mapped. flags: those of shk_segment_unlink_unused(), or
 * this one.
 */
#define SHKI_RETIRE_FORCED 0x100u
int shki_segment_retire(const char *name, unsigned flags, void (*wake)(struct shk_segment *));

/* … and what shk_segment_unlink_any() does. */
int shki_segment_remove(const char *name, void (*wake)(struct shk_segment *));

/*
 * Take away the name of a segment that has been retired: 0, or -ENOENT without a sentence: it was
 * gone.
 */
int shki_segment_finish_unlink(struct shk_segment *);

/* Remove the name of a segment of another pid namespace if no process uses it: 0, -EBUSY, … */
int shki_segment_remove_deserted(const char *name);

/*
 * Whether its name does not lead to it any more, removed by rm(1) or the like: two processes would
 * wait in different segments of one name. If so, it is retired. One lstat(2): for every wait at the
 * end of a slice.
 */
bool shki_segment_is_lost(struct shk_segment *);

/*
 * Open the file, O_RDONLY or O_RDWR: its descriptor. -ENOENT and -EAGAIN (removed at this moment)
 * come without a sentence: they may be no failures.
 */
int shki_segment_open_file(const char *name, int access);

/* Read and check the header through the descriptor: the mapping of a truncated file would fault. */
int shki_segment_read_header(const char *name, int fd, const struct stat *, struct shki_header *);

/*
 * Map what the descriptor is open on, which stays the caller's; it is in no list. Unmap it and free
 * the struct.
 */
int shki_segment_map(const char *name, int fd, unsigned flags, struct shk_segment **out);
void shki_segment_discard(struct shk_segment *);

/* The segment with that file if this process has it mapped, pinned; else NULL. */
struct shk_segment *shki_segment_pin_mapped(const struct stat *);

/* Its lock, retired or not: 0, -EBUSY. */
int shki_segment_lock_in_any_state(struct shk_segment *);

/*
 * What shk_segment_close() does, but for waking the threads of this process that wait in it: `wake`
 * is called for that, with `registry` and `local`, when the last open of the process is closed.
 */
int shki_segment_close(struct shk_segment *, void (*wake)(struct shk_segment *));

/* Handles keep the struct: one more, one less. The latter may free it. */
void shki_segment_ref(struct shk_segment *);
void shki_segment_unref(struct shk_segment *);

/* -EBADF, with the sentence. */
int shki_say_closed(const struct shk_segment *);

static inline bool shki_segment_is_closed(const struct shk_segment *s)
{
    return load_relaxed(&s->openness.opens) == 0;
}

/*
 * Called with `registry` when a member or a pin has ended, or a close was the last: unmap when
 * nothing needs the mapping any more.
 */
void shki_segment_unmap_if_unused(struct shk_segment *);

/*
 * Keep the mapping during a call of a thread that may be no member: 0, or -EBADF (closed). Each pin
 * wants its unpin, which may unmap the segment.
 */
int shki_segment_pin(struct shk_segment *);
void shki_segment_unpin(struct shk_segment *);

/*
 * Set with `registry` held, by a higher layer: what it has to do in a forked child. Called when the
 * library is in order again there.
 */
extern void (*shki_in_forked_child)(void);

/* The process's list of segments is locked between the two. */
void shki_registry_lock(void);
void shki_registry_unlock(void);

#endif
