#include "rows.h"
#include "describe.h"
#include "quantity.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#define NUMBER (COLUMN_RIGHT | COLUMN_NUMBER)

static int64_t since(int64_t seconds)
{
    int64_t now = time(NULL);

    return seconds > 0 && seconds < now ? SHK_SEC(now - seconds) : 0;
}

/* ---- segments ---- */

static const struct column segment_columns[] = {
    {"NAME", "name of the segment", 0},
    {"OWNER", "the user that it belongs to", 0},
    {"GROUP", "the group", 0},
    {"MODE", "permission bits", 0},
    {"SIZE", "address space", NUMBER},
    {"RESIDENT", "memory in use", NUMBER},
    {"OBJECTS", "how many objects are in it", NUMBER},
    {"MAX-OBJECTS", "how many may be in it", NUMBER},
    {"MEMBERS", "how many living threads are attached; on etcd processes", NUMBER},
    {"MAX-MEMBERS", "how many may be attached", NUMBER},
    {"DEAD", "how many died attached and have not been cleared away", NUMBER},
    {"AGE", "time since it was created", NUMBER},
    {"CREATED", "when it was created", 0},
    {"CREATOR", "the process that created it", NUMBER},
    {"STATE", "good, retired (being removed), foreign, mismatch, corrupt, denied", 0},
    {"PROBLEM", "what is wrong with it", COLUMN_CUT},
    {"LAYOUT", "version of its layout", NUMBER},
    {"ID", "random number that tells it from others of that name", 0},
    {"INODE", "inode of its file", NUMBER},
    {"NAMESPACE", "the pid namespace in which it can be used", NUMBER},
    {"REVISION", "on etcd: how many changes there had been when it was read", NUMBER},
    {0},
};

const struct table_kind segment_table = {"segments", segment_columns};

/* It has no file. */
static void add_segment_on_etcd(struct table *t, const struct shk_segment_info *s)
{
    table_set(t, "OBJECTS", "%" PRIu32, s->objects);
    table_set(t, "MEMBERS", "%" PRIu32, s->members_alive);
    table_set_duration(t, "AGE", since(s->created));
    table_set_date(t, "CREATED", s->created);
    table_set(t, "CREATOR", "%" PRId32, s->creator);
    table_set(t, "ID", "%016" PRIx64, s->id);
    table_set(t, "REVISION", "%" PRIu64, s->revision);
}

void add_segment(struct table *t, const struct shk_segment_info *s)
{
    char buffer[DESCRIPTION_MAX];

    table_row(t);
    table_set(t, "NAME", "%s", s->name);
    table_set(t, "STATE", "%s", segment_state_name(s->state));
    table_set(t, "PROBLEM", "%s", s->problem);
    if (s->revision != 0) {
        add_segment_on_etcd(t, s);
        return;
    }
    table_set(t, "OWNER", "%s", user_name(buffer, s->uid));
    if (table_shows(t, "GROUP"))
        table_set(t, "GROUP", "%s", group_name(buffer, s->gid));
    table_set(t, "MODE", "%04" PRIo32, s->mode & 07777);
    table_set_size(t, "SIZE", s->size);
    table_set_size(t, "RESIDENT", s->resident);
    table_set(t, "INODE", "%" PRIu64, s->inode);
    if (s->state != SHK_SEGMENT_GOOD && s->state != SHK_SEGMENT_RETIRED)
        return;
    table_set(t, "OBJECTS", "%" PRIu32, s->objects);
    table_set(t, "MAX-OBJECTS", "%" PRIu32, s->max_objects);
    table_set(t, "MEMBERS", "%" PRIu32, s->members_alive);
    table_set(t, "MAX-MEMBERS", "%" PRIu32, s->max_members);
    table_set(t, "DEAD", "%" PRIu32, s->members_dead);
    table_set_duration(t, "AGE", since(s->created));
    table_set_date(t, "CREATED", s->created);
    table_set(t, "CREATOR", "%" PRId32, s->creator);
    table_set(t, "LAYOUT", "%" PRIu32, s->layout);
    table_set(t, "ID", "%016" PRIx64, s->id);
    table_set(t, "NAMESPACE", "%" PRIu64, s->namespace_);
}

/* ---- objects ---- */

static const struct column object_columns[] = {
    {"NAME", "name of the object", 0},
    {"PATH", "SEGMENT/NAME", 0},
    {"KIND", "its kind, as 'shmctl create' names it", 0},
    {"STATE", "its holder, what is in it", COLUMN_CUT},
    {"SIZE", "memory set aside for it", NUMBER},
    {"AGE", "time since it was created", NUMBER},
    {"SERIAL", "its number, which never repeats in a segment", NUMBER},
    {"CREATED", "when it was created", 0},
    {"CREATOR", "the process that created it", NUMBER},
    {"USERS", "how many members of processes that have it open", NUMBER},
    {"WAITERS", "how many are asleep on it", NUMBER},
    {"WAITING", "the members asleep on it and how long, in order of arrival",
     COLUMN_CUT | COLUMN_LIST},
    {"HOLDER", "the member that holds it", COLUMN_CUT},
    {"HELD", "how long its holder has held it, where that was noted", NUMBER},
    {"RECURSIVE", "whether its holder may acquire it again", COLUMN_BOOL},
    {"DEPTH", "how often its holder has acquired it", NUMBER},
    {"ORPHANED", "whether a holder died and no later holder has been told yet", COLUMN_BOOL},
    {"READERS", "how many members have a share of the rwlock", NUMBER},
    {"WRITING", "whether its holder writes, and does not wait for readers", COLUMN_BOOL},
    {"DONE", "whether it is done", COLUMN_BOOL},
    {"DEADLOCK-CHECK", "whether an acquire that would never end is refused", COLUMN_BOOL},
    {"TYPE", "of a condition: robust or pthread", 0},
    {"LOCK", "the lock that a condition goes with, if not its own", 0},
    {"SET", "whether the event is set", COLUMN_BOOL},
    {"ORDER", "fifo, lifo or priority", 0},
    {"CAPACITY", "how many items the queue holds", NUMBER},
    {"ITEM-SIZE", "the largest item", NUMBER},
    {"ITEMS", "how many items are in the queue", NUMBER},
    {"CAPACITY-BYTES", "how many bytes the queue holds", NUMBER},
    {"BYTES", "bytes in the queue, if it has items at their length", NUMBER},
    {"PUTS", "how many were put since it was created", NUMBER},
    {"GETS", "how many were taken", NUMBER},
    {"LEASED", "how many are leased and not acknowledged", NUMBER},
    {"DELAYED", "how many have been given back and are not due yet", NUMBER},
    {"SHUT-DOWN", "whether it takes no more items", COLUMN_BOOL},
    {"VALUE", "how many permits the semaphore has", NUMBER},
    {"MAX", "how many it has at most", NUMBER},
    {"OWNERS", "whether processes own what they have taken", COLUMN_BOOL},
    {"CAME-BACK", "how many permits of processes that were over have come back", NUMBER},
    {"PARTIES", "how many meet at the barrier", NUMBER},
    {"ARRIVED", "how many have come", NUMBER},
    {"BROKEN", "whether a member gave up, died or aborted it", COLUMN_BOOL},
    {"SAMPLE-SIZE", "bytes of a sample of the stream", NUMBER},
    {"HISTORY", "how many of the last samples can be read", NUMBER},
    {"POSITION", "how many were appended since it was created", NUMBER},
    {"CHANNELS", "how many values a sample of the stream has", NUMBER},
    {"RATE", "samples a second, as the writer of the stream has noted", NUMBER},
    {"STAMPED", "whether each sample has a time stamp", COLUMN_BOOL},
    {"DATA-SIZE", "bytes of the region, or at most of the value", NUMBER},
    {"VERSION", "how often the value has been set", NUMBER},
    {"LENGTH", "how many bytes its newest version has", NUMBER},
    {"ALIGN", "alignment of its first byte", NUMBER},
    {"FILL", "how full it is, in per cent", NUMBER},
    {"PRODUCERS", "how many processes are producers by role", NUMBER},
    {"CONSUMERS", "how many are consumers by role", NUMBER},
    {"HIGH-WATER", "the most items that were seen in it", NUMBER},
    {"PUT-RATE", "items put or samples appended, a second (show -i, watch)", NUMBER},
    {"GET-RATE", "items taken a second (show -i, watch)", NUMBER},
    {"TIME", "when this was read (watch)", 0},
    {"REPAIRS", "how often a death was repaired: the sum of the following", NUMBER},
    {"HOLDERS-LOST", "how many died holding it, or in the middle of a change", NUMBER},
    {"WAITERS-BURIED", "how many died while they waited for it", NUMBER},
    {"WAKEUPS-PASSED-ON", "how often the wake-up of a dead waiter went to the next", NUMBER},
    {"REBUILDS", "how often the list of waiters was rebuilt after a death", NUMBER},
    {0},
};

const struct table_kind object_table = {"objects", object_columns};

/* most 0: no limit */
static uint64_t per_cent(uint64_t n, uint64_t most)
{
    return most ? (uint64_t)((double)n * 100 / (double)most) : 0;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The columns that only its kind has. */
static void fill_kind(struct table *t, const struct shk_object_info *o, bool on_etcd)
{
    static const char *const orders[] = {
        [SHK_FIFO] = "fifo", [SHK_LIFO] = "lifo", [SHK_PRIORITY] = "priority"};

    switch (o->kind) {
    case SHK_KIND_LOCK:
        table_set_bool(t, "RECURSIVE", o->as.lock.recursive);
        table_set(t, "DEPTH", "%" PRIu32, o->as.lock.depth);
        table_set_bool(t, "ORPHANED", o->as.lock.orphaned);
        table_set_bool(t, "DEADLOCK-CHECK", !o->as.lock.no_deadlock_check);
        break;
    case SHK_KIND_COND:
        table_set(t, "TYPE", "%s", o->as.cond.kind == SHK_COND_PTHREAD ? "pthread" : "robust");
        table_set(t, "LOCK", "%s", o->as.cond.lock);
        table_set_bool(t, "RECURSIVE", o->as.cond.recursive);
        table_set(t, "DEPTH", "%" PRIu32, o->as.cond.depth);
        table_set_bool(t, "ORPHANED", o->as.cond.orphaned);
        break;
    case SHK_KIND_EVENT:
        table_set_bool(t, "SET", o->as.event.is_set);
        break;
    case SHK_KIND_QUEUE:
        table_set(t, "ORDER", "%s", NAME_OF(orders, o->as.queue.order));
        table_set(t, "CAPACITY", "%" PRIu64, o->as.queue.capacity);
        if (o->as.queue.capacity_bytes)
            table_set_size(t, "CAPACITY-BYTES", o->as.queue.capacity_bytes);
        table_set_size(t, "ITEM-SIZE", o->as.queue.item_size);
        table_set(t, "ITEMS", "%" PRIu64, o->as.queue.size);
        if (!on_etcd) { /* no figure that each put would have to write */
            table_set(t, "PUTS", "%" PRIu64, o->as.queue.puts);
            table_set(t, "GETS", "%" PRIu64, o->as.queue.gets);
            table_set(t, "HIGH-WATER", "%" PRIu64, o->as.queue.high_water);
            table_set(t, "LEASED", "%" PRIu32, o->as.queue.leased); /* there, one of the items */
            table_set(t, "DELAYED", "%" PRIu32, o->as.queue.delayed);
        }
        if (o->as.queue.at_length)
            table_set_size(t, "BYTES", o->as.queue.bytes);
        if (o->as.queue.capacity || o->as.queue.capacity_bytes)
            table_set(t, "FILL", "%" PRIu64,
                      higher(per_cent(o->as.queue.size + o->as.queue.leased, o->as.queue.capacity),
                             per_cent(o->as.queue.bytes, o->as.queue.capacity_bytes)));
        table_set_bool(t, "SHUT-DOWN", o->as.queue.shut_down);
        break;
    case SHK_KIND_SEMAPHORE:
        table_set(t, "VALUE", "%" PRIu32, o->as.semaphore.value);
        table_set(t, "MAX", "%" PRIu32, o->as.semaphore.max);
        table_set_bool(t, "OWNERS", o->as.semaphore.owners);
        if (o->as.semaphore.owners)
            table_set(t, "CAME-BACK", "%" PRIu64, o->as.semaphore.came_back);
        break;
    case SHK_KIND_BARRIER:
        table_set(t, "PARTIES", "%" PRIu32, o->as.barrier.parties);
        table_set(t, "ARRIVED", "%" PRIu32, o->as.barrier.arrived);
        table_set_bool(t, "BROKEN", o->as.barrier.broken);
        break;
    case SHK_KIND_STREAM:
        table_set_size(t, "SAMPLE-SIZE", o->as.stream.sample_size);
        table_set(t, "HISTORY", "%" PRIu64, o->as.stream.history);
        table_set(t, "POSITION", "%" PRIu64, o->as.stream.position);
        table_set(t, "CHANNELS", "%" PRIu32, o->as.stream.channels);
        if (isfinite(o->as.stream.rate) && o->as.stream.rate > 0)
            table_set(t, "RATE", "%g", o->as.stream.rate);
        table_set_bool(t, "STAMPED", o->as.stream.stamped);
        break;
    case SHK_KIND_RWLOCK:
        table_set(t, "READERS", "%" PRIu32, o->as.rwlock.readers);
        table_set_bool(t, "WRITING", o->as.rwlock.writing);
        table_set_bool(t, "ORPHANED", o->as.rwlock.orphaned);
        table_set_bool(t, "DEADLOCK-CHECK", !o->as.rwlock.no_deadlock_check);
        break;
    case SHK_KIND_ONCE:
        table_set_bool(t, "DONE", o->as.once.done);
        table_set_bool(t, "ORPHANED", o->as.once.orphaned);
        break;
    case SHK_KIND_VALUE:
        table_set_size(t, "DATA-SIZE", o->as.value.size);
        table_set(t, "VERSION", "%" PRIu64, o->as.value.version);
        table_set_size(t, "LENGTH", o->as.value.length);
        break;
    case SHK_KIND_REGION:
        table_set_size(t, "DATA-SIZE", o->as.region.size);
        table_set(t, "ALIGN", "%" PRIu64, o->as.region.align);
        break;
    }
}

void add_segment_as_object(struct table *t, const struct shk_segment_info *s,
                           const struct shk_snapshot *snapshot)
{
    const struct shk_member_info *m;
    size_t waiters = 0;

    table_row(t);
    table_set(t, "NAME", "%s", s->name);
    table_set(t, "PATH", "%s", s->name);
    table_set(t, "KIND", "segment");
    table_set(t, "STATE", "%s", *s->problem ? s->problem : segment_state_name(s->state));
    if (s->revision == 0)
        table_set_size(t, "SIZE", s->resident);
    if (!snapshot)
        return;
    for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)); i++)
        waiters += m->alive && m->waits_for != SHK_WAITS_NOT;
    table_set(t, "USERS", "%" PRIu32, s->members_alive);
    table_set(t, "WAITERS", "%zu", waiters);
    table_set_duration(t, "AGE", since(s->created));
    table_set_date(t, "CREATED", s->created);
    table_set(t, "CREATOR", "%" PRId32, s->creator);
}

void add_object(struct table *t, const struct shk_snapshot *snapshot,
                const struct shk_object_info *o)
{
    const struct shk_member_info **waiters;
    char buffer[DESCRIPTION_MAX];
    char duration[QUANTITY_MAX];
    bool on_etcd = shk_snapshot_segment(snapshot)->revision != 0;
    size_t n;

    table_row(t);
    table_set(t, "NAME", "%s", o->name);
    table_set(t, "PATH", "%s/%s", shk_snapshot_segment(snapshot)->name, o->name);
    table_set(t, "KIND", "%s", kind_name(o->kind));
    table_set(t, "STATE", "%s", describe_object(buffer, snapshot, o));
    if (!on_etcd)
        table_set_size(t, "SIZE", o->size);
    table_set(t, "SERIAL", "%" PRIu64, o->serial);
    table_set_duration(t, "AGE", since(o->created));
    table_set_date(t, "CREATED", o->created);
    table_set(t, "CREATOR", "%" PRId32, o->creator);
    if (!on_etcd)
        table_set(t, "USERS", "%" PRIu64, o->users);
    table_set(t, "WAITERS", "%" PRIu64, o->waiters);
    if (o->waiters && table_shows(t, "WAITING")) {
        n = list_waiters(snapshot, o->name, &waiters);
        for (size_t i = 0; i < n; i++)
            table_append(t, "WAITING", "%s for %s", describe_member(buffer, snapshot, waiters[i]),
                         format_duration(duration, waiters[i]->waiting));
        free(waiters);
    }
    if (o->holder && table_shows(t, "HOLDER"))
        table_set(t, "HOLDER", "%s", describe_member_id(buffer, snapshot, o->holder));
    if (o->held)
        table_set_duration(t, "HELD", o->held);
    fill_kind(t, o, on_etcd);
    if (o->producer_line != SHK_LINE_NONE)
        table_set(t, "PRODUCERS", "%" PRIu32, o->producers);
    if (o->consumer_line != SHK_LINE_NONE)
        table_set(t, "CONSUMERS", "%" PRIu32, o->consumers);
    if (on_etcd)
        return; /* leases repair, and nothing counts it */
    table_set(t, "REPAIRS", "%" PRIu64,
              o->holders_lost + o->waiters_buried + o->wakeups_passed_on + o->rebuilds);
    table_set(t, "HOLDERS-LOST", "%" PRIu64, o->holders_lost);
    table_set(t, "WAITERS-BURIED", "%" PRIu64, o->waiters_buried);
    table_set(t, "WAKEUPS-PASSED-ON", "%" PRIu64, o->wakeups_passed_on);
    table_set(t, "REBUILDS", "%" PRIu64, o->rebuilds);
}
