/*
 * A stream on etcd: the last blocks of samples.
 *
 *     position    how many samples have been appended; the time stamp of the last
 *     block/P     the samples from position P on: what one append has, or a part of it
 *     rate        samples a second, as they were noted last; absent: as when it was created
 *
 *     append
 *     compare position is as it was seen
 *     put position + n, put the blocks, delete blocks that are older than the history
 *
 * What one append has stays together, and is there whole or not at all. A process that reads has
 * the blocks in memory: one read, then a watch, from which they come with what is in them. So a
 * reader makes no request, and holds no writer up: it is no member of anything. What it did not get
 * before it was deleted, it finds missing between two blocks, and counts.
 *
 * Twice, or late: `position` is another one then. An append whose reply was lost finds its nonce in
 * its own block. Late, after it was given up, or refused because no reader was left, an earlier
 * sending may be carried out, if no other append came between.
 */
#ifndef SHKE_STREAM_H
#define SHKE_STREAM_H

#include "etcd/roles.h"

#include "object/stream.h"

/* Bytes of one append, with time stamps; of a block. A request has 1.5 MiB. */
#define SHKE_APPEND_MAX (1u << 20)
#define SHKE_BLOCK_MAX  (1u << 18)

/* In front of a block's time stamps, if it has any, and its samples; in network order. */
struct shke_block_header {
    uint8_t version; /* 1 */
    uint8_t stamped;
    uint8_t reserved[2];
    uint8_t n[4];
    char nonce[16];
};

/* A block in memory. */
struct shke_block {
    int64_t from;
    uint32_t n;
    struct shke_block *next;
    const unsigned char *stamps, *samples; /* in `bytes`; stamps in network order, NULL: none */
    unsigned char bytes[];
};

struct shke_stream {
    struct shke_object object;
    size_t sample_size, history;
    uint32_t channels;
    bool stamped;
    double rate;           /* when it was created */
    size_t block_max;      /* samples of a block */
    pthread_mutex_t begin; /* held over the first read of the view; before the object's lock */

    /* ---- With the object's lock ---- */
    int64_t position, stamp, position_mod, position_known;
    bool is_appending;       /* a thread of this process is in an append */
    struct shke_roles roles; /* told of by the view, or by `lines`; not by both */
    struct shke_watch *lines;
    /* What readers have. */
    struct shke_watch *view;         /* NULL: no reader has been opened */
    struct shke_block *head, **tail; /* in order; tail: where the next one goes */
    int64_t end;                     /* of the last block that has been told */
};

static inline struct shke_stream *shke_stream_of(const struct shk_stream *st)
{
    return (struct shke_stream *)(void *)st->object.shared;
}

/* ---- stream_state.c ---- */

/* A key of the stream, which is the caller's to free: 0, or as shke_call(). Without the lock. */
int shke_stream_ask(struct shke_stream *, const char *part, struct shke_kv *,
                    const struct shke_trial *, int64_t *revision);
/* Ask for position and the lines, and note them: likewise. */
int shke_stream_look(struct shke_stream *, const struct shke_trial *, int64_t *revision);
/* With the object's lock. */
void shke_stream_learn(struct shke_stream *, const struct shke_kv *position, int64_t revision);
void shke_stream_read_position(const struct shke_kv *, int64_t *position, int64_t *stamp,
                               char nonce[SHKE_NONCE_SIZE]);
/* One reference to a handle less: 0; or -EHOSTUNREACH, and it stays open. */
int shke_stream_unref(struct shk_stream *);

/* ---- stream_view.c: what readers have, and writers that mind ---- */

/* Read what there is, and watch: 0 or an error. Without the object's lock. */
int shke_stream_view_start(struct shke_stream *, const struct shke_trial *);
/* Watch the lines, known as of that revision, if the view does not: likewise. */
int shke_stream_lines_start(struct shke_stream *, int64_t revision);
void shke_stream_view_stop(struct shke_stream *);
/*
 * With the object's lock: copy up to n samples from *position on, which are in memory, up to a gap:
 * how many. *position is then where the first of them is.
 */
size_t shke_stream_copy(const struct shke_stream *, int64_t *position, void *buf, int64_t *stamps,
                        size_t n);

/* ---- stream_reader.c: the calls of readers ---- */

int shke_reader_open(struct shk_stream *, uint32_t from, struct shk_reader **);
int shke_reader_close(struct shk_reader *);
ssize_t shke_reader_read(struct shk_reader *, void *buf, int64_t *stamps, size_t n,
                         int64_t timeout);
ssize_t shke_reader_latest(struct shk_reader *, void *buf, int64_t *stamps, size_t n);

/* ---- stream_ready.c: a reader in a set ---- */

int shke_reader_begin_watch(struct shke_object *, void *reader, uint32_t want, struct shki_watch *);

#endif
