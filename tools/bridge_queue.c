/*
 * A queue, carried to etcd: each item once, in order, whatever is killed.
 *
 * h: position of the next item in the local queue, whose consumer side the bridge has claimed.
 * c: cursor of the local queue's incarnation, at the remote one. A batch is put, and moves c, in
 * one transaction; then it is taken, and moves h, in one call.
 *
 *     killed here                        left        started again
 *     before the transaction is sent     c = h       carries the batch
 *     before it is carried out           c = h       puts; the comparison with c lets one through
 *     after it                           c = h + n   takes the batch, which is there already
 *     in the call that takes             either      one of the rows above
 *     between that and task_done         c = h       a join is told of a task that was lost
 *     with the machine                   no queue    another incarnation, which has its own cursor
 *
 * In no other case are c and h apart: then items were taken past the bridge, or one end has been
 * restored from a copy, and it stops.
 */
#include "bridge.h"
#include "describe.h"
#include "queue.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH        60 /* as many items as a put at the cursor takes */
#define CLAIM_LIMIT  SHK_SEC(1)
#define LISTED_BYTES ((size_t)2 << 20) /* about: so much is read of the queue at a time */
/* What a queue on etcd can be; more is cut down to it when the bridge creates one. */
#define REMOTE_CAPACITY  10000
#define REMOTE_ITEM_SIZE ((size_t)1 << 20)

struct carrier {
    struct bridge *b;
    struct shk_queue *queue, *target;
    char source[17];
    uint64_t position;
    size_t most; /* items of a batch: fewer if they are long */
    struct shk_item_info *items;
    size_t n;
    unsigned char *buffer; /* where taken items go */
    size_t room;
    bool orphaned; /* a producer by role has died */
};

static uint64_t waiting(const struct carrier *c)
{
    ssize_t n = shk_queue_size(c->queue);

    return n > 0 ? (uint64_t)n : 0;
}

/* ---- The local queue ---- */

/* "another bridge (4711)", the member that has the consumer's side; "" if none is seen. */
static void find_holder(const struct bridge *b, char holder[DESCRIPTION_MAX])
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;

    *holder = '\0';
    if (shk_snapshot_open(b->from.segment, &snapshot) != 0)
        return;
    object = shk_snapshot_find_object(snapshot, b->from.object);
    if (object && object->kind == SHK_KIND_QUEUE && object->as.queue.consumer)
        describe_member_id(holder, snapshot, object->as.queue.consumer);
    shk_snapshot_close(snapshot);
}

static int claim(const struct carrier *c)
{
    char holder[DESCRIPTION_MAX];
    int r = shk_queue_claim(c->queue, SHK_CONSUMER, CLAIM_LIMIT);

    if (r == 0)
        return STATUS_DONE;
    if (r != -ETIMEDOUT && r != -EAGAIN)
        return failed(c->b->from.text, r);
    find_holder(c->b, holder);
    complain(c->b->from.text, "%s has its consumer side: a bridge takes all items by itself",
             *holder ? holder : "another member");
    return STATUS_BLOCKED;
}

/* What was leased is not in the order of positions when it comes back. */
static int refuse_leases(const struct bridge *b)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    uint32_t n = 0;

    if (shk_snapshot_open(b->from.segment, &snapshot) != 0)
        return failed(b->from.text, -EIO);
    object = shk_snapshot_find_object(snapshot, b->from.object);
    if (object && object->kind == SHK_KIND_QUEUE)
        n = object->as.queue.leased + object->as.queue.came_back;
    shk_snapshot_close(snapshot);
    if (n == 0)
        return STATUS_DONE;
    complain(b->from.text,
             "workers have leased %" PRIu32
             " of its items, which are theirs, or the next worker's: "
             "a bridge carries what has not been handed out; try again when they are done",
             n);
    return STATUS_FAILED;
}

static int open_local(struct carrier *c)
{
    struct bridge *b = c->b;
    const struct opening opening = {.path = &b->from,
                                    .flags = b->acting.flags,
                                    .kind = "queue",
                                    .open = open_any_queue,
                                    .to = &c->queue};
    uint64_t incarnation = 0;
    int status = open_object(&opening, &b->local);
    int r;

    if (status == STATUS_DONE)
        status = claim(c);
    if (status == STATUS_DONE)
        status = refuse_leases(b);
    if (status != STATUS_DONE)
        return status;
    bridge_begin(b);
    r = shk_queue_incarnation(c->queue, &incarnation);
    if (r == 0)
        r = shk_queue_position(c->queue, &c->position);
    snprintf(c->source, sizeof(c->source), "%016" PRIx64, incarnation);
    return r == 0 ? STATUS_DONE : failed(b->from.text, r);
}

/*
 * The line of its producers by role has ended, and they may come again: a handle that is opened
 * anew waits for those. The claim is another handle's then, and no other consumer may have come in
 * between, which the cursor tells.
 */
static int open_again(struct carrier *c)
{
    int r = shk_queue_unclaim(c->queue, SHK_CONSUMER);

    if (r == 0)
        r = shk_queue_close(c->queue);
    if (r == 0) {
        c->queue = NULL;
        r = shk_queue_open(c->b->local, c->b->from.object, 0, NULL, &c->queue);
    }
    return r < 0 ? r : claim(c) == STATUS_DONE ? 0 : BRIDGE_COMPLAINED;
}

/* Read the items at its front, up to c->most: 0 or an error. */
static int list_items(struct carrier *c)
{
    size_t bytes = 0;
    ssize_t n;
    int r;

    free(c->items);
    c->items = NULL;
    c->n = 0;
    r = shk_queue_position(c->queue, &c->position);
    if (r < 0)
        return r;
    n = shk_item_list(c->b->from.segment, c->b->from.object, c->most, &c->items);
    if (n < 0)
        return (int)n;
    c->n = (size_t)n;
    for (size_t i = 0; i < c->n; i++)
        bytes += c->items[i].length;
    if (bytes > LISTED_BYTES && c->most > 1)
        c->most /= 2;
    else if (c->most < BATCH && bytes * 4 < LISTED_BYTES)
        c->most = c->most * 2 < BATCH ? c->most * 2 : BATCH;
    return 0;
}

/* Take the first n that have been listed, all or none: 0 or an error. */
static int take(struct carrier *c, size_t n)
{
    struct iovec to[BATCH];
    size_t bytes = 0;
    int r;

    for (size_t i = 0; i < n; i++)
        bytes += c->items[i].length;
    if (bytes > c->room) {
        free(c->buffer);
        c->buffer = allocate(bytes, 1);
        c->room = bytes;
    }
    bytes = 0;
    for (size_t i = 0; i < n; i++) {
        to[i] = (struct iovec){c->buffer + bytes, c->items[i].length};
        bytes += c->items[i].length;
    }
    r = shk_queue_get_many(c->queue, to, (unsigned)n, SHK_NOWAIT);
    for (int i = 0; i < r; i++)
        shk_queue_task_done(c->queue);
    if (r < 0 || (size_t)r == n)
        return r < 0 ? r : 0;
    complain(c->b->from.text, "%d items were taken, not the %zu that have been carried", r, n);
    return BRIDGE_COMPLAINED;
}

/* ---- The cursor ---- */

static int say_apart(const struct carrier *c, uint64_t cursor)
{
    const struct bridge *b = c->b;
    char *more = cursor > c->position && cursor - c->position <= waiting(c)
                     ? print_to_memory("; --resume-at %" PRIu64 " takes out those before, too, and "
                                       "does not carry them",
                                       cursor)
                     : print_to_memory("%s", "");

    complain(b->from.text,
             "its next item is number %" PRIu64 ", and %s was given those before %" PRIu64
             ": items were taken past the bridge, or one of both was restored from a copy. "
             "--resume-at %" PRIu64 " carries on with the next item%s",
             c->position, b->to.text, cursor, c->position, more);
    free(more);
    return BRIDGE_COMPLAINED;
}

/*
 * Compare the cursor with the position: 0: the next item is to be carried; *n: so many have been
 * carried already, and are only to be taken. Or an error.
 */
static int settle(struct carrier *c, size_t *n)
{
    uint64_t cursor = 0, before = 0;
    int r;

    *n = 0;
    do {
        r = shk_queue_cursor(c->target, c->source, &cursor, &before);
        if (r == 0 || r == -ENOENT)
            break;
        r = bridge_may_wait(c->b, r, waiting(c));
    } while (r == 0);
    if (r < 0 && r != -ENOENT)
        return r;
    bridge_reached(c->b, waiting(c));
    if (r == -ENOENT) {
        if (c->position > 0 && !c->b->quiet)
            complain(c->b->to.text, "nothing of %s has come here yet: it begins with item %" PRIu64,
                     c->b->from.text, c->position);
        return 0;
    }
    if (cursor == c->position)
        return 0;
    if (before != c->position || cursor < c->position || cursor - c->position > BATCH)
        return say_apart(c, cursor);
    *n = (size_t)(cursor - c->position);
    return 0;
}

/* Items of the batch that came before a kill: they are all there. */
static int take_carried(struct carrier *c, size_t n)
{
    size_t most = c->most;
    int r;

    c->most = BATCH;
    r = list_items(c);
    c->most = most;
    if (r != 0)
        return r;
    if (n > c->n)
        return say_apart(c, c->position + n);
    return take(c, n);
}

/*
 * --resume-at: first the cursor, then the items before it.
 * killed here, between the two: the cursor is ahead, and the bridge stops until it is told again.
 */
static int resume(struct carrier *c)
{
    const struct bridge *b = c->b;
    uint64_t left = b->resume_at - c->position;
    const void *item;
    ssize_t r;

    if (b->resume_at < c->position || left > waiting(c)) {
        complain(b->from.text,
                 "its items are number %" PRIu64 " to %" PRIu64 ": it cannot resume at %" PRIu64,
                 c->position, c->position + waiting(c), b->resume_at);
        return BRIDGE_COMPLAINED;
    }
    r = shk_queue_set_cursor(c->target, c->source, b->resume_at);
    for (; r >= 0 && left > 0; left--) {
        r = shk_queue_peek(c->queue, &item, SHK_NOWAIT);
        if (r >= 0)
            r = queue_take_peeked(c->queue);
    }
    return r < 0 ? (int)r : 0;
}

/* ---- The queue on etcd ---- */

/* As the local one, as far as there can be such a queue. */
static int open_or_make_target(struct bridge *b, void *carrier)
{
    struct carrier *c = carrier;
    ssize_t capacity = shk_queue_capacity(c->queue), item_size = shk_queue_item_size(c->queue);
    struct shk_queue_options options = {
        .capacity = capacity < REMOTE_CAPACITY ? (size_t)capacity : REMOTE_CAPACITY,
        .item_size = (size_t)item_size < REMOTE_ITEM_SIZE ? (size_t)item_size : REMOTE_ITEM_SIZE};
    int r;

    do {
        r = shk_queue_open(b->remote, b->to.object, 0, NULL, &c->target);
        if (r == -ENOENT && b->acting.flags & SHK_CREATE)
            r = shk_queue_open(b->remote, b->to.object, SHK_CREATE | SHK_EXCL, &options,
                               &c->target);
    } while (r == -EEXIST);
    return r;
}

/* Put what has been listed, or its first items: how many; 0: settle; or an error. */
static int put(struct carrier *c)
{
    struct iovec items[BATCH];
    int r;

    for (size_t i = 0; i < c->n; i++)
        items[i] = (struct iovec){(void *)(uintptr_t)c->items[i].bytes, c->items[i].length};
    do {
        r = interrupted() ? -EINTR
                          : shk_queue_put_at(c->target, c->source, c->position, items,
                                             (unsigned)c->n, BRIDGE_TURN);
        if (r > 0)
            bridge_reached(c->b, waiting(c));
        else if (r == -ESTALE)
            return 0;
        else
            r = bridge_may_wait(c->b, r, waiting(c));
    } while (r == 0);
    return r;
}

/* ---- Carrying ---- */

static int say_too_long(const struct carrier *c)
{
    const struct bridge *b = c->b;

    complain(b->from.text,
             "%s; 'shmctl get %s' takes it out when it is the next one, and --resume-at %" PRIu64
             " carries on behind it",
             shk_last_error(), b->from.text, c->position + 1);
    return BRIDGE_COMPLAINED;
}

/*
 * Carry a batch: 0, or an error, of the end that *about has. An item that is too long for the other
 * end is met alone, when those before it have been carried.
 */
static int carry(struct carrier *c, const struct path **about)
{
    size_t carried;
    int n, r;

    *about = &c->b->from;
    r = list_items(c);
    if (r != 0 || c->n == 0)
        return r;
    *about = &c->b->to;
    n = put(c);
    if (n == -EMSGSIZE && c->n > 1) {
        c->n = 1;
        c->most = 1;
        n = put(c);
    }
    if (n == -EMSGSIZE)
        return say_too_long(c);
    if (n < 0)
        return n;
    if (n == 0) { /* the cursor is not where it was: a request that was given up has come through */
        r = settle(c, &carried);
        if (r != 0 || carried == 0)
            return r;
        n = (int)carried;
    }
    *about = &c->b->from;
    r = (size_t)n > c->n ? take_carried(c, (size_t)n) : take(c, (size_t)n);
    if (r == 0)
        c->b->carried += (unsigned)n;
    return r;
}

/* Wait for an item: 1: there is one; 0: look again; or an error. */
static int wait_for_item(struct carrier *c)
{
    struct bridge *b = c->b;
    const void *item;
    int64_t timeout = b->once ? SHK_NOWAIT : b->shows ? SHK_SEC(0.5) : SHK_FOREVER;
    ssize_t r;

    bridge_show(b, waiting(c));
    r = interrupted() ? -EINTR : shk_queue_peek(c->queue, &item, timeout);
    if (r >= 0)
        r = shk_queue_unpeek(c->queue);
    else if (r == -ETIMEDOUT)
        return 0;
    return r < 0 ? (int)r : 1;
}

/* There is no item. 0: go on; or how it ends. */
static int at_the_end(struct carrier *c, int error)
{
    struct bridge *b = c->b;

    if (error == -EOWNERDEAD) {
        c->orphaned = true;
        bridge_end_line(b);
        complain(b->from.text, "a producer has died: what it had to put may not be complete");
        return 0;
    }
    if (error == -EPIPE && !b->once && shk_queue_is_shut_down(c->queue) == 0)
        return open_again(c);
    return error;
}

static int carry_all(struct carrier *c)
{
    struct bridge *b = c->b;
    const struct path *about = &b->from;
    int r = 0, ended = 0;

    while (r == 0) {
        about = &b->from;
        r = wait_for_item(c);
        if (r == 1)
            r = carry(c, &about);
        else if (r < 0)
            r = ended = at_the_end(c, r);
    }
    bridge_end_line(b);
    if (b->once)
        printf("%" PRIu64 "\n", b->carried);
    if (r == ended && (r == -EPIPE || (r == -EAGAIN && b->once)))
        return c->orphaned && b->once ? STATUS_FAILED : STATUS_DONE;
    return bridge_failed(b, about, r);
}

static int begin(struct carrier *c)
{
    struct bridge *b = c->b;
    const struct path *about = &b->to;
    size_t n = 0;
    int r = b->resumes ? resume(c) : settle(c, &n);

    if (r == 0 && n > 0) {
        about = &b->from;
        r = take_carried(c, n);
    }
    return r == 0 ? STATUS_DONE : bridge_failed(b, about, r);
}

int bridge_queue(struct bridge *b)
{
    struct carrier c = {.b = b, .most = BATCH};
    int status;

    b->what = "item";
    status = open_local(&c);
    if (status == STATUS_DONE)
        status = bridge_open(b, "queue", open_or_make_target, &c);
    if (status == STATUS_DONE)
        status = begin(&c);
    if (status == STATUS_DONE)
        status = carry_all(&c);
    free(c.items);
    free(c.buffer);
    shk_queue_close(c.target);
    if (c.queue)
        shk_queue_unclaim(c.queue, SHK_CONSUMER);
    shk_queue_close(c.queue);
    return status;
}
