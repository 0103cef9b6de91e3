/*
 * A stream, carried to etcd as it comes: what has come in a twentieth of a second is a block. It is
 * a live signal: samples that are overwritten before they could be carried are lost, and counted.
 * So are those of a block of which it is not known whether it has come, since to send it again
 * might have it come twice.
 *
 * One bridge alone carries a stream to a certain other one. It holds a lock of the local segment,
 * whose name is made of both: a bridge that is stopped keeps it, and of one that is killed the next
 * one has it immediately.
 *
 *     killed here                        left
 *     before the lock is acquired        a lock that is free; the next bridge uses and removes it
 *     until it is removed                likewise, orphaned
 */
#include "bridge.h"
#include "describe.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_EACH SHK_MS(50)
#define BLOCK_MOST ((size_t)256 << 10) /* bytes */
#define LOCK_LIMIT SHK_SEC(1)

struct carrier {
    struct bridge *b;
    struct shk_stream *stream, *target;
    struct shk_reader *reader;
    struct shk_lock *lock;
    char lock_name[32];
    size_t size, room; /* bytes of a sample; samples of a block */
    unsigned char *samples;
    int64_t *stamps; /* NULL: there are none */
    int64_t dropped; /* that has been told of */
    uint64_t unsure; /* samples of blocks that may have come, or not */
    uint64_t told;   /* of these, likewise */
    bool orphaned;
};

/* ---- One bridge alone ---- */

static uint64_t add_hash(uint64_t h, const char *text)
{
    do
        h = (h ^ (unsigned char)*text) * 1099511628211u; /* FNV-1a */
    while (*text++);
    return h;
}

/* On other servers a stream of that name is another one. */
static void name_lock(struct carrier *c)
{
    const struct bridge *b = c->b;
    const char *endpoints = getenv("ETCDCTL_ENDPOINTS");
    uint64_t h = add_hash(14695981039346656037u, b->from.object);

    h = add_hash(add_hash(h, b->to.segment), b->to.object);
    h = add_hash(h, endpoints ? endpoints : "");
    snprintf(c->lock_name, sizeof(c->lock_name), "bridge-%016" PRIx64, h);
}

/* "bridge (4711 on north)" */
static void find_holder(const struct carrier *c, char holder[DESCRIPTION_MAX])
{
    const char *machine = getenv("SHMKIT_ETCD_MACHINE");
    const struct shk_object_info *object;
    const struct shk_member_info *member;
    struct shk_snapshot *snapshot;
    char host[256] = "";

    snprintf(holder, DESCRIPTION_MAX, "another bridge");
    if (shk_snapshot_open(c->b->from.segment, &snapshot) != 0)
        return;
    gethostname(host, sizeof(host) - 1);
    object = shk_snapshot_find_object(snapshot, c->lock_name);
    member = object ? shk_snapshot_find_member(snapshot, object->holder) : NULL;
    if (member)
        snprintf(holder, DESCRIPTION_MAX, "%s (%" PRId32 " on %.100s)", member->name, member->pid,
                 machine && *machine ? machine : host);
    shk_snapshot_close(snapshot);
}

static int acquire_lock(struct carrier *c)
{
    struct bridge *b = c->b;
    char holder[DESCRIPTION_MAX];
    int r;

    name_lock(c);
    do {
        r = shk_lock_open(b->local, c->lock_name, SHK_CREATE, NULL, &c->lock);
        if (r < 0)
            return failed(b->from.text, r);
        r = shk_lock_acquire(c->lock, LOCK_LIMIT);
        if (r < 0) {
            shk_lock_close(c->lock);
            c->lock = NULL;
        }
    } while (r == -ESTALE); /* the bridge that had it has removed it */
    if (r == -ETIMEDOUT) {
        find_holder(c, holder);
        complain(b->from.text,
                 "%s carries it to %s: a second bridge would have each sample come twice; end "
                 "that one first, or name another stream",
                 holder, b->to.text);
        return STATUS_BLOCKED;
    }
    if (r < 0)
        return failed(b->from.text, r);
    shk_lock_stamp(c->lock);
    return STATUS_DONE;
}

static void release_lock(struct carrier *c)
{
    if (c->lock == NULL)
        return;
    shk_lock_release(c->lock);
    shk_lock_close(c->lock);
    shk_object_unlink_unused(c->b->local, c->lock_name);
}

/* ---- The two ends ---- */

static int open_any_stream(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_stream_open(segment, name, flags, NULL, to);
}

static int open_local(struct carrier *c)
{
    struct bridge *b = c->b;
    const struct opening opening = {.path = &b->from,
                                    .flags = b->acting.flags & ~SHK_CREATE,
                                    .kind = "stream",
                                    .options = "--sample-size N",
                                    .open = open_any_stream,
                                    .to = &c->stream};
    int status = open_object(&opening, &b->local);
    int r;

    if (status == STATUS_DONE)
        status = acquire_lock(c);
    if (status != STATUS_DONE)
        return status;
    r = shk_reader_open(c->stream, b->once ? SHK_OLDEST : SHK_NEXT, &c->reader);
    if (r < 0)
        return failed(b->from.text, r);
    bridge_begin(b);
    c->size = (size_t)shk_stream_sample_size(c->stream);
    c->room = BLOCK_MOST / c->size ? BLOCK_MOST / c->size : 1;
    c->samples = allocate(c->room, c->size);
    if (shk_stream_is_stamped(c->stream) == 1)
        c->stamps = allocate(c->room, sizeof(*c->stamps));
    return STATUS_DONE;
}

static int open_or_make_target(struct bridge *b, void *carrier)
{
    struct carrier *c = carrier;
    struct shk_stream_options options = {.sample_size = c->size,
                                         .history = (size_t)shk_stream_history(c->stream),
                                         .channels = (uint32_t)shk_stream_channels(c->stream),
                                         .stamped = c->stamps != NULL};
    struct shk_stream_options same = options;
    int r;

    same.history = 0;
    shk_stream_rate(c->stream, &options.rate);
    do {
        r = shk_stream_open(b->remote, b->to.object, 0, &same, &c->target);
        if (r == -ENOENT && b->acting.flags & SHK_CREATE)
            r = shk_stream_open(b->remote, b->to.object, SHK_CREATE | SHK_EXCL, &options,
                                &c->target);
    } while (r == -EEXIST);
    return r;
}

/* ---- Carrying ---- */

/* Tell of the samples that have been lost since the last time. */
static void tell_lost(struct carrier *c)
{
    int64_t dropped = shk_reader_dropped(c->reader);

    c->b->lost = (uint64_t)dropped + c->unsure;
    if (c->b->quiet || (dropped == c->dropped && c->unsure == c->told))
        return;
    bridge_end_line(c->b);
    if (dropped > c->dropped)
        complain(c->b->from.text,
                 "%" PRId64 " samples were overwritten before they could be carried",
                 dropped - c->dropped);
    if (c->unsure > c->told)
        complain(c->b->to.text, "%" PRIu64 " samples may have come, or not", c->unsure - c->told);
    c->dropped = dropped;
    c->told = c->unsure;
}

static ssize_t read_block(const struct carrier *c, int64_t timeout)
{
    if (interrupted())
        return -EINTR;
    return c->stamps ? shk_reader_read_stamped(c->reader, c->samples, c->stamps, c->room, timeout)
                     : shk_reader_read(c->reader, c->samples, c->room, timeout);
}

static int append(const struct carrier *c, size_t n)
{
    return c->stamps ? shk_stream_append_stamped(c->target, c->samples, c->stamps, n)
                     : shk_stream_append(c->target, c->samples, n);
}

/* Carry what has come: 0, or an error of the end that *about has. */
static int carry(struct carrier *c, const struct path **about)
{
    struct bridge *b = c->b;
    int64_t timeout = b->once ? SHK_NOWAIT : b->shows ? SHK_SEC(0.5) : SHK_FOREVER, begun;
    ssize_t n;
    int r;

    *about = &b->from;
    bridge_show(b, BRIDGE_NO_COUNT);
    n = read_block(c, timeout);
    tell_lost(c);
    if (n < 0)
        return n == -ETIMEDOUT ? 0 : (int)n;
    *about = &b->to;
    begun = monotonic_now();
    r = append(c, (size_t)n);
    if (r == 0) {
        b->carried += (uint64_t)n;
        bridge_reached(b, BRIDGE_NO_COUNT);
    } else if (r == -EHOSTUNREACH || r == -ENOSPC) {
        c->unsure += (uint64_t)n;
    }
    if (r < 0)
        return bridge_may_wait(b, r, BRIDGE_NO_COUNT);
    return b->once || sleep_until(begun + BLOCK_EACH) ? 0 : -EINTR;
}

static int carry_all(struct carrier *c)
{
    struct bridge *b = c->b;
    const struct path *about;
    int r;

    do {
        r = carry(c, &about);
        if (r == -EOWNERDEAD) {
            c->orphaned = true;
            bridge_end_line(b);
            complain(b->from.text, "a writer has died: what it had to append may not be complete");
            r = 0;
        }
    } while (r == 0);
    tell_lost(c);
    bridge_end_line(b);
    if (b->once)
        printf("%" PRIu64 "\n", b->carried);
    if (about == &b->from && (r == -EPIPE || (r == -EAGAIN && b->once)))
        return c->orphaned ? STATUS_FAILED : STATUS_DONE;
    return bridge_failed(b, about, r);
}

int bridge_stream(struct bridge *b)
{
    struct carrier c = {.b = b};
    int status;

    b->what = "sample";
    status = open_local(&c);
    if (status == STATUS_DONE)
        status = bridge_open(b, "stream", open_or_make_target, &c);
    if (status == STATUS_DONE)
        status = carry_all(&c);
    free(c.samples);
    free(c.stamps);
    shk_stream_close(c.target);
    shk_reader_close(c.reader);
    shk_stream_close(c.stream);
    release_lock(&c);
    return status;
}
