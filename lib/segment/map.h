/*
 * A segment as this process has it mapped, and the file behind it: its name, the check of its
 * header, mapping and unmapping. Once per process, however often it is opened: see registry.h.
 */
#ifndef SHKI_MAP_H
#define SHKI_MAP_H

#include "base/deadline.h"
#include "segment/layout.h"
#include "segment/memory.h"

#include <pthread.h>
#include <shmkit/segment.h>
#include <sys/stat.h>

struct shki_kind;
struct shki_member;
struct shki_remote;
struct shk_segment;

/* What a segment's objects do for the layers below them: see lib/kinds.c. */
struct shki_kinds {
    const struct shki_kind *(*of)(uint32_t number); /* NULL: of an unknown kind */
    bool (*uses_pool)(uint32_t number);             /* its objects may have blocks of the pool */
    void (*reap)(struct shk_segment *);             /* take dead members out of all waitlists */
    /* name the calling thread's member; NULL: in its record */
    int (*rename)(struct shk_segment *, const char *utf8);
};

struct shk_segment {
    char name[SHK_SEGMENT_NAME_MAX + 1]; /* without slash */
    unsigned char *base; /* NULL: unmapped, and only handles still point to this struct */
    struct shki_memory memory;
    struct shki_header *header;

    /* Validated copies. The library never indexes by what it has just read from shared memory. */
    uint64_t id, size, inode, device;
    uint32_t max_members, max_objects;
    struct shki_geometry geometry;
    bool asymmetric; /* see base/fence.h */
    bool unnamed;    /* it has never had a name, and is not lost without one */

    struct shki_recovery recovery;  /* for shki_mutex_lock(): see recover.h */
    const struct shki_kinds *kinds; /* of objects; NULL: mapped only in order to be retired */

    /* Relaxed: a waiter that reads the old one is interrupted one SHKI_RECHECK later. */
    const volatile sig_atomic_t *_Atomic interrupt;
    /*
     * this process's view of header.watchers, a struct shki_waitlist: see poll/poll.c. Written
     * once, at the first open.
     */
    void *_Atomic watchers;
    /*
     * shk_segment_open()s that are not closed yet. Changed with the registry's lock; relaxed reads
     * give -EBADF early.
     */
    struct shki_openness openness;

    pthread_mutex_t local;       /* protects the following */
    struct shki_member *members; /* of this process's threads */
    unsigned pins;               /* calls of threads that are no members yet */
    unsigned handles;            /* of objects; the struct lives as long as there are any */
    uint32_t *uses;              /* handles by entry index */
    uint32_t *roles;             /* of those, by entry: producers, consumers: presence.h */
    /*
     * this process's row in the table of processes, and that of a child that is being forked;
     * SHKI_NO_ROW: none
     */
    uint32_t row, child;
    uint64_t row_word, child_word;

    struct shk_segment *next; /* in the registry, with its lock */

    /*
     * Not NULL: it lies elsewhere (object/remote.h), is in no registry, and has a name and
     * `openness` of all this.
     */
    const struct shki_remote *remote;
};

#define SHKI_NO_ROW UINT32_MAX

/* ---- Names ---- */

#define SHKI_DIRECTORY "/dev/shm"
#define SHKI_PATH_MAX  (sizeof(SHKI_DIRECTORY) + 1 + 256)

/* "/dev/shm/" and the name, which has been checked. */
void shki_path(char path[SHKI_PATH_MAX], const char *name);

/* Check a segment's name: 0 or -errno; `bare` is where it starts behind a slash. */
int shki_segment_name(const char *name, const char **bare);

/* ---- The file ---- */

/*
 * Open the file, O_RDONLY or O_RDWR: its descriptor. -ENOENT and -EAGAIN (it is being removed at
 * this moment) come without a sentence: they may be no failures.
 */
int shki_segment_open_file(const char *name, int access);

/*
 * Whether the bytes are a header that this library understands, in a file of that size: 0 or
 * -EPROTO with a sentence.
 */
int shki_check_header(const char *name, const struct shki_header *, uint64_t file_size);

/* Read and check the header through the descriptor: the mapping of a truncated file would fault. */
int shki_segment_read_header(const char *name, int fd, const struct stat *, struct shki_header *);

/* Whether a segment that was created in that pid namespace may be joined from here: 0 or -EXDEV. */
int shki_check_namespace(const char *name, uint64_t created_in);

/* ---- The mapping ---- */

/* Map what the descriptor is open on, which stays the caller's. Not in the registry. */
int shki_segment_map(const char *name, int fd, unsigned flags, struct shk_segment **out);

/* Unmap it; the struct stays, for its handles. */
void shki_segment_unmap(struct shk_segment *);
/* Free the struct of a segment that is unmapped. */
void shki_segment_destroy(struct shk_segment *);
/* Both, for one that is not in the registry. */
void shki_segment_discard(struct shk_segment *);

/* Allocate [offset, offset + size), and free it: see shki_memory_allocate() and _punch(). */
static inline int shki_allocate(struct shk_segment *s, uint64_t offset, uint64_t size, bool undo)
{
    return shki_memory_allocate(&s->memory, offset, size, undo);
}

static inline bool shki_punch(struct shk_segment *s, uint64_t offset, uint64_t size)
{
    return shki_memory_punch(&s->memory, offset, size);
}

static inline bool shki_segment_is_retired(const struct shk_segment *s)
{
    /* RT1: acquire; pairs with the releases in retire() and shki_segment_is_lost(). */
    return load_acquire(&s->header->retired) != 0;
}

/*
 * Whether the segment's name does not lead to it any more, removed by rm(1) or the like: two
 * processes would wait in different segments of one name. If so, it is retired. One lstat(2); each
 * waiter calls it once per SHKI_RECHECK.
 */
bool shki_segment_is_lost(struct shk_segment *);

#endif
