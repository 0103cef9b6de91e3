/* Objects of every kind, created, found, closed and unlinked: killed. */
#include "harness.h"

#include <errno.h>
#include <string.h>

#define NAME        "object"
#define ROOM        "room"
#define PAGE        4096
#define REGION_SIZE 200

/* A row's variant is the kind of object. A condition with a given lock: */
#define COND_WITH_LOCK 100

static void **handle(struct world *w)
{
    switch (w->row->variant) {
    case SHK_KIND_LOCK:
        return (void **)&w->lock;
    case SHK_KIND_EVENT:
        return (void **)&w->event;
    case SHK_KIND_SEMAPHORE:
        return (void **)&w->semaphore;
    case SHK_KIND_BARRIER:
        return (void **)&w->barrier;
    case SHK_KIND_QUEUE:
        return (void **)&w->queue;
    case SHK_KIND_STREAM:
        return (void **)&w->stream;
    case SHK_KIND_REGION:
        return (void **)&w->region;
    case SHK_KIND_RWLOCK:
        return (void **)&w->rwlock;
    case SHK_KIND_ONCE:
        return (void **)&w->once;
    case SHK_KIND_VALUE:
        return (void **)&w->value;
    default:
        return (void **)&w->cond;
    }
}

static int64_t open_with(struct world *w, unsigned flags)
{
    switch (w->row->variant) {
    case SHK_KIND_LOCK:
        return shk_lock_open(w->segment, NAME, flags, NULL, &w->lock);
    case SHK_KIND_EVENT:
        return shk_event_open(w->segment, NAME, flags, NULL, &w->event);
    case SHK_KIND_SEMAPHORE:
        return shk_semaphore_open(w->segment, NAME, flags, NULL, &w->semaphore);
    case SHK_KIND_BARRIER:
        return shk_barrier_open(w->segment, NAME, flags,
                                &(struct shk_barrier_options){.parties = 1}, &w->barrier);
    case SHK_KIND_STREAM:
        return shk_stream_open(w->segment, NAME, flags,
                               &(struct shk_stream_options){.sample_size = 8, .history = 8},
                               &w->stream);
    case SHK_KIND_QUEUE:
        return shk_queue_open(w->segment, NAME, flags,
                              &(struct shk_queue_options){.capacity = 4, .item_size = 16},
                              &w->queue);
    case SHK_KIND_REGION:
        return shk_region_open(w->segment, NAME, flags,
                               &(struct shk_region_options){.size = REGION_SIZE}, &w->region);
    case SHK_KIND_RWLOCK:
        return shk_rwlock_open(w->segment, NAME, flags, NULL, &w->rwlock);
    case SHK_KIND_ONCE:
        return shk_once_open(w->segment, NAME, flags, NULL, &w->once);
    case SHK_KIND_VALUE:
        return shk_value_open(w->segment, NAME, flags, &(struct shk_value_options){.size = 8},
                              &w->value);
    case COND_WITH_LOCK:
        return shk_cond_open(w->segment, NAME, flags, &(struct shk_cond_options){.lock = w->lock_2},
                             &w->cond);
    default:
        return shk_cond_open(w->segment, NAME, flags, NULL, &w->cond);
    }
}

static int64_t open_or_create(struct world *w, int64_t unused)
{
    (void)unused;
    return open_with(w, SHK_CREATE);
}

static int64_t open_existing(struct world *w, int64_t unused)
{
    (void)unused;
    return open_with(w, 0);
}

static int64_t close_handle(struct world *w, int64_t unused)
{
    void *object = *handle(w);

    (void)unused;
    *handle(w) = NULL;
    switch (w->row->variant) {
    case SHK_KIND_LOCK:
        return shk_lock_close(object);
    case SHK_KIND_EVENT:
        return shk_event_close(object);
    case SHK_KIND_SEMAPHORE:
        return shk_semaphore_close(object);
    case SHK_KIND_BARRIER:
        return shk_barrier_close(object);
    case SHK_KIND_STREAM:
        return shk_stream_close(object);
    case SHK_KIND_QUEUE:
        return shk_queue_close(object);
    case SHK_KIND_REGION:
        return shk_region_close(object);
    case SHK_KIND_RWLOCK:
        return shk_rwlock_close(object);
    case SHK_KIND_ONCE:
        return shk_once_close(object);
    case SHK_KIND_VALUE:
        return shk_value_close(object);
    default:
        return shk_cond_close(object);
    }
}

static int64_t unlink_object(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_object_unlink(w->segment, NAME);
}

static int64_t unlink_unused(struct world *w, int64_t unused)
{
    int64_t r;

    (void)unused;
    r = shk_object_unlink_unused(w->segment, NAME);
    return w->row->prepare && r == -EBUSY ? 0 : r;
}

static int64_t use_lock(struct world *w)
{
    int64_t r = shk_lock_acquire(w->lock, SHK_FOREVER);

    return r == 0 ? shk_lock_release(w->lock) : r;
}

static int64_t use_cond(struct world *w)
{
    int64_t r = shk_cond_acquire(w->cond, SHK_FOREVER), released;

    if (r != 0)
        return r;
    r = shk_cond_wait(w->cond, SHK_MS(1));
    if (r == -ETIMEDOUT)
        r = shk_cond_notify_all(w->cond);
    released = shk_cond_release(w->cond);
    return r != 0 ? r : released;
}

static int64_t use_event(struct world *w)
{
    int64_t r = shk_event_is_set(w->event);

    if (r == 0)
        r = shk_event_set(w->event);
    return r == 0 ? shk_event_clear(w->event) : r;
}

static int64_t use_semaphore(struct world *w)
{
    int64_t r = shk_semaphore_acquire(w->semaphore, SHK_FOREVER);

    return r == 0 ? shk_semaphore_release(w->semaphore, 1) : r;
}

static int64_t use_stream(struct world *w)
{
    struct shk_reader *reader;
    int64_t sample = 7, got = 0, r = shk_reader_open(w->stream, SHK_NEXT, &reader);

    if (r < 0)
        return r;
    r = shk_stream_append(w->stream, &sample, 1);
    if (r == 0)
        r = shk_reader_read(reader, &got, 1, SHK_FOREVER) == 1 && got == sample ? 0 : -EILSEQ;
    shk_reader_close(reader);
    return r;
}

static int64_t use_queue(struct world *w)
{
    int64_t item = 7, got = 0, r = shk_queue_put(w->queue, &item, sizeof(item), SHK_FOREVER);

    if (r < 0)
        return r;
    return shk_queue_get(w->queue, &got, sizeof(got), SHK_FOREVER) == sizeof(item) && got == item
               ? 0
               : -EILSEQ;
}

static int64_t use_region(struct world *w)
{
    unsigned char *bytes;
    size_t size;
    int64_t r = shk_region_data(w->region, (void **)&bytes, &size);

    if (r < 0 || size != REGION_SIZE)
        return r < 0 ? r : -EILSEQ;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return -EILSEQ;
    memset(bytes, 1, size);
    memset(bytes, 0, size);
    return 0;
}

static int64_t use_rwlock(struct world *w)
{
    int64_t r = shk_rwlock_acquire(w->rwlock, SHK_FOREVER);

    if (r == 0)
        r = shk_rwlock_downgrade(w->rwlock);
    return r == 0 ? shk_rwlock_release(w->rwlock) : r;
}

static int64_t use_once(struct world *w)
{
    int64_t r = shk_once_begin(w->once, SHK_FOREVER);

    if (r < 0)
        return r;
    r = r == SHK_ONCE_MINE ? shk_once_done(w->once) : -EILSEQ;
    return r == 0 ? shk_once_reset(w->once) : r;
}

/* Its version grows, and the number in it is the same again. */
static int64_t use_value(struct world *w)
{
    int64_t sum = 1, r = shk_value_add(w->value, 5, NULL);

    if (r > 0)
        r = shk_value_add(w->value, -5, &sum);
    return r < 0 ? r : sum == 0 ? 0 : -EILSEQ;
}

/* What it is for; and it is as it was after that: everybody finds it as new. */
static int64_t use(struct world *w, int64_t unused)
{
    (void)unused;
    switch (w->row->variant) {
    case SHK_KIND_LOCK:
        return use_lock(w);
    case SHK_KIND_EVENT:
        return use_event(w);
    case SHK_KIND_SEMAPHORE:
        return use_semaphore(w);
    case SHK_KIND_VALUE:
        return use_value(w);
    case SHK_KIND_BARRIER:
        return shk_barrier_wait(w->barrier, SHK_FOREVER);
    case SHK_KIND_STREAM:
        return use_stream(w);
    case SHK_KIND_QUEUE:
        return use_queue(w);
    case SHK_KIND_REGION:
        return use_region(w);
    case SHK_KIND_RWLOCK:
        return use_rwlock(w);
    case SHK_KIND_ONCE:
        return use_once(w);
    default:
        return use_cond(w);
    }
}

static int64_t wait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_wait(w->event, SHK_FOREVER);
}

/* A region of so many bytes comes and goes. */
static int64_t room_for(struct world *w, int64_t size)
{
    struct shk_region *room;
    int64_t r = shk_region_open(w->segment, ROOM, SHK_CREATE | SHK_EXCL,
                                &(struct shk_region_options){.size = (size_t)size}, &room);

    if (r == 0)
        r = shk_object_unlink(w->segment, ROOM);
    return r == 0 ? shk_region_close(room) : r;
}

static int64_t create(struct world *w, int64_t unused)
{
    int64_t r = create_segment(w, 0);

    (void)unused;
    if (r == 0 && w->row->variant == COND_WITH_LOCK)
        r = shk_lock_open(w->segment, LOCK_2, SHK_CREATE, NULL, &w->lock_2);
    return r;
}

/* The largest region that there is room for, or -errno. */
static int64_t measure_room(struct world *w, int64_t unused)
{
    int64_t size = 1 << 18, r;

    (void)unused;
    while ((r = room_for(w, size)) == -ENOSPC)
        size -= PAGE;
    return r < 0 ? r : size;
}

/* ---- Scripts ---- */

static void set_absent(struct world *w)
{
    start_host(w, create, 0);
    if (w->memo == 0) /* the room is the same in all runs of the row */
        w->memo = call(w, HOST, measure_room, 0);
    EXPECT(w, w->memo > 0, "no room: %lld", (long long)w->memo);
}

static void set_present(struct world *w)
{
    set_absent(w);
    EXPECT(w, call(w, HOST, open_or_create, 0) == 0, "the host cannot create the object");
}

/* … and no member has it open. */
static void set_unused(struct world *w)
{
    set_present(w);
    EXPECT(w, call(w, HOST, close_handle, 0) == 0, "the host cannot close the object");
}

/*
 * An unlinked one whose memory is to be taken back, for the last that had it open has been killed.
 */
static void set_left_behind(struct world *w)
{
    set_present(w);
    start_attached(w, NEWCOMER);
    EXPECT(w, call(w, NEWCOMER, open_existing, 0) == 0, "the newcomer cannot open the object");
    EXPECT(w, call(w, HOST, unlink_object, 0) == 0 && call(w, HOST, close_handle, 0) == 0,
           "the host cannot remove it");
    kill_actor(w, NEWCOMER);
}

static void one_waits(struct world *w)
{
    start_attached(w, SLEEPER_1);
    w->last_sleeper = SLEEPER_1;
    EXPECT(w, call(w, SLEEPER_1, open_existing, 0) == 0, "the sleeper cannot open the object");
    start(w, SLEEPER_1, wait, 0);
    EXPECT(w, falls_asleep(w, SLEEPER_1), "the sleeper does not wait");
}

static void set_with_sleeper(struct world *w)
{
    set_present(w);
    one_waits(w);
}

/* Whether it exists. An actor that finds it can use it. */
static bool look(struct world *w, unsigned actor)
{
    int64_t r = call(w, actor, open_existing, 0);

    EXPECT(w, r == 0 || r == -ENOENT, "opening it: %lld", (long long)r);
    if (r == -ENOENT)
        return false;
    r = call(w, actor, use, 0);
    EXPECT(w, r == 0, "using it: %lld", (long long)r);
    r = call(w, actor, close_handle, 0);
    EXPECT(w, r == 0, "closing it: %lld", (long long)r);
    return true;
}

static void check_create(struct world *w)
{
    bool there = look(w, HOST);

    EXPECT(w, there || !w->acknowledged, "what was created is gone");
    EXPECT(w, !there || !w->untouched, "it was created, but not by the victim");
}

static void check_present(struct world *w)
{
    EXPECT(w, look(w, HOST), "it is gone");
}

static void check_unlink(struct world *w)
{
    bool there, open = w->row->setup != set_unused;
    int64_t r;

    start_attached(w, NEWCOMER);
    there = look(w, NEWCOMER);
    kill_actor(w, NEWCOMER);
    EXPECT(w, !there || !w->acknowledged, "it is still there");
    EXPECT(w, there || !w->untouched, "it was unlinked, but not by the victim");
    if (w->last_sleeper == SLEEPER_1) {
        r = finish(
            w, SLEEPER_1); /* woken by the use that the newcomer made of it, if that was possible */
        EXPECT(w, r == (there ? 0 : -ESTALE), "the sleeper got %lld", (long long)r);
        kill_actor(w, SLEEPER_1);
    }
    if (!open)
        return;
    r = call(w, HOST, use, 0);
    if (there || w->row->variant != SHK_KIND_REGION)
        EXPECT(w, r == (there ? 0 : -ESTALE), "the host's use: %lld", (long long)r);
    EXPECT(w, call(w, HOST, close_handle, 0) == 0, "the host cannot close it");
}

/* Created by one, used by both; and when it is gone, so is all that it took. */
static void carry_on(struct world *w)
{
    int64_t r;

    start_attached(w, NEWCOMER);
    r = call(w, NEWCOMER, open_or_create, 0);
    EXPECT(w, r == 0, "the newcomer cannot open it: %lld", (long long)r);
    EXPECT(w, look(w, HOST), "the host does not see it");
    r = call(w, NEWCOMER, use, 0);
    EXPECT(w, r == 0, "the newcomer's use: %lld", (long long)r);
    EXPECT(w, call(w, NEWCOMER, unlink_object, 0) == 0 && call(w, NEWCOMER, close_handle, 0) == 0,
           "it cannot be removed");
    if (w->stopped)
        return; /* a stopped actor has it open */
    if (w->row->setup == set_present && w->row->check == check_present)
        EXPECT(w, call(w, HOST, close_handle, 0) == 0, "the host cannot close it");
    r = call(w, HOST, room_for, w->memo);
    EXPECT(w, r == 0, "its memory has not been given back: %lld", (long long)r);
}

/* clang-format off */
#define KIND_ROWS(prefix, text, kind)                                                             \
    {prefix "_open", "absent: creates it" text, .setup = set_absent, .operation = open_or_create, \
     .check = check_create, .carry_on = carry_on, .variant = kind},                               \
    {prefix "_open", "present: finds it" text, .setup = set_unused, .operation = open_existing,   \
     .check = check_present, .carry_on = carry_on, .variant = kind},                              \
    {prefix "_close", "no other has it open" text, .setup = set_unused, .prepare = open_existing, \
     .operation = close_handle, .check = check_present, .carry_on = carry_on, .variant = kind},   \
    {"shk_object_unlink", prefix ", others have it open" text, .setup = set_present,              \
     .operation = unlink_object, .check = check_unlink, .carry_on = carry_on, .variant = kind}

static const struct row rows[] = {
    KIND_ROWS("shk_lock", "", SHK_KIND_LOCK),
    KIND_ROWS("shk_cond", "", SHK_KIND_COND),
    KIND_ROWS("shk_cond", ", with a given lock", COND_WITH_LOCK),
    KIND_ROWS("shk_event", "", SHK_KIND_EVENT),
    KIND_ROWS("shk_semaphore", "", SHK_KIND_SEMAPHORE),
    KIND_ROWS("shk_barrier", "", SHK_KIND_BARRIER),
    KIND_ROWS("shk_queue", "", SHK_KIND_QUEUE),
    KIND_ROWS("shk_stream", "", SHK_KIND_STREAM),
    KIND_ROWS("shk_region", "", SHK_KIND_REGION),
    KIND_ROWS("shk_rwlock", "", SHK_KIND_RWLOCK),
    KIND_ROWS("shk_once", "", SHK_KIND_ONCE),
    KIND_ROWS("shk_value", "", SHK_KIND_VALUE),
    {"shk_region_open", "absent, an unlinked one is cleared first", .setup = set_left_behind,
     .operation = open_or_create, .check = check_create, .carry_on = carry_on,
     .variant = SHK_KIND_REGION},
    {"shk_object_unlink", "shk_event, not open anywhere", .setup = set_unused,
     .operation = unlink_object, .check = check_unlink, .carry_on = carry_on,
     .variant = SHK_KIND_EVENT},
    {"shk_object_unlink_unused", "shk_event, not open anywhere", .setup = set_unused,
     .operation = unlink_unused, .check = check_unlink, .carry_on = carry_on,
     .variant = SHK_KIND_EVENT},
    {"shk_object_unlink_unused", "shk_event, the caller has it open", .setup = set_unused,
     .prepare = open_existing, .operation = unlink_unused, .check = check_present,
     .carry_on = carry_on, .variant = SHK_KIND_EVENT},
    {"shk_object_unlink", "shk_event, one sleeps on it", .setup = set_with_sleeper,
     .operation = unlink_object, .check = check_unlink, .carry_on = carry_on,
     .variant = SHK_KIND_EVENT},
    {"shk_object_unlink", "shk_event, the caller has it open", .setup = set_unused,
     .prepare = open_existing, .operation = unlink_object, .check = check_unlink,
     .carry_on = carry_on, .variant = SHK_KIND_EVENT},
};
/* clang-format on */
const struct rows object_rows = ROWS(rows);
