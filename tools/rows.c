#include "rows.h"
#include "describe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define NUMBER (COLUMN_RIGHT | COLUMN_NUMBER)

static int64_t since(int64_t seconds)
{
    int64_t now = time(NULL);

    return seconds < now ? SHK_SEC(now - seconds) : 0;
}

/* ---- segments ---- */

enum {
    S_NAME, S_OWNER, S_GROUP, S_MODE, S_SIZE, S_RESIDENT, S_OBJECTS, S_MAX_OBJECTS, S_MEMBERS, S_MAX_MEMBERS, S_DEAD, S_AGE,
    S_CREATED, S_CREATOR, S_STATE, S_PROBLEM, S_LAYOUT, S_ID, S_INODE, S_NAMESPACE
};

static const struct column segment_columns[] = {
    [S_NAME] = {"NAME", "name of the segment", COLUMN_CUT},
    [S_OWNER] = {"OWNER", "the user whom it belongs to", COLUMN_CUT},
    [S_GROUP] = {"GROUP", "the group", COLUMN_CUT},
    [S_MODE] = {"MODE", "permission bits", 0},
    [S_SIZE] = {"SIZE", "address space", NUMBER},
    [S_RESIDENT] = {"RESIDENT", "memory in use", NUMBER},
    [S_OBJECTS] = {"OBJECTS", "how many objects are in it", NUMBER},
    [S_MAX_OBJECTS] = {"MAX-OBJECTS", "how many may be in it", NUMBER},
    [S_MEMBERS] = {"MEMBERS", "how many living threads are attached", NUMBER},
    [S_MAX_MEMBERS] = {"MAX-MEMBERS", "how many may be attached", NUMBER},
    [S_DEAD] = {"DEAD", "how many died attached and have not been cleared away", NUMBER},
    [S_AGE] = {"AGE", "time since it was created", NUMBER},
    [S_CREATED] = {"CREATED", "when it was created", 0},
    [S_CREATOR] = {"CREATOR", "the process that created it", NUMBER},
    [S_STATE] = {"STATE", "good, retired (being removed), foreign, mismatch, corrupt, denied", 0},
    [S_PROBLEM] = {"PROBLEM", "what is wrong with it", COLUMN_CUT},
    [S_LAYOUT] = {"LAYOUT", "version of its layout", NUMBER},
    [S_ID] = {"ID", "random number that tells it from others of that name", 0},
    [S_INODE] = {"INODE", "inode of its file", NUMBER},
    [S_NAMESPACE] = {"NAMESPACE", "the pid namespace in which it can be used", NUMBER},
    {0},
};

const struct table_kind segment_table = {"segments", segment_columns};

void add_segment(struct table *t, const struct shk_segment_info *s)
{
    char buffer[DESCRIPTION_MAX];

    table_row(t);
    table_set(t, S_NAME, "%s", s->name);
    table_set(t, S_OWNER, "%s", user_name(buffer, s->uid));
    table_set(t, S_GROUP, "%s", group_name(buffer, s->gid));
    table_set(t, S_MODE, "%04" PRIo32, s->mode & 07777);
    table_set_size(t, S_SIZE, s->size);
    table_set_size(t, S_RESIDENT, s->resident);
    table_set(t, S_STATE, "%s", segment_state_name(s->state));
    table_set(t, S_PROBLEM, "%s", s->problem);
    table_set(t, S_INODE, "%" PRIu64, s->inode);
    if (s->state != SHK_SEGMENT_GOOD && s->state != SHK_SEGMENT_RETIRED)
        return;
    table_set(t, S_OBJECTS, "%" PRIu32, s->objects);
    table_set(t, S_MAX_OBJECTS, "%" PRIu32, s->max_objects);
    table_set(t, S_MEMBERS, "%" PRIu32, s->members_alive);
    table_set(t, S_MAX_MEMBERS, "%" PRIu32, s->max_members);
    table_set(t, S_DEAD, "%" PRIu32, s->members_dead);
    table_set_duration(t, S_AGE, since(s->created));
    table_set_date(t, S_CREATED, s->created);
    table_set(t, S_CREATOR, "%" PRId32, s->creator);
    table_set(t, S_LAYOUT, "%" PRIu32, s->layout);
    table_set(t, S_ID, "%016" PRIx64, s->id);
    table_set(t, S_NAMESPACE, "%" PRIu64, s->namespace_);
}

/* ---- objects ---- */

enum {
    NAME, PATH, KIND, STATE, WAITERS, WAITING, USERS, SIZE, AGE, CREATED, CREATOR, SERIAL, HOLDER, DEPTH, RECURSIVE, ORPHANED,
    DEADLOCK_CHECK, TYPE, LOCK, IS_SET, ORDER, CAPACITY, ITEM_SIZE, ITEMS, PUTS, GETS, SHUT_DOWN, DATA_SIZE, ALIGN, REPAIRS,
    HOLDERS_LOST, WAITERS_BURIED, WAKEUPS_PASSED_ON, REBUILDS
};

static const struct column object_columns[] = {
    [NAME] = {"NAME", "name of the object", COLUMN_CUT},
    [PATH] = {"PATH", "SEGMENT/NAME", COLUMN_CUT},
    [KIND] = {"KIND", "lock, cond, event, queue, region", 0},
    [STATE] = {"STATE", "who holds it, what is in it", COLUMN_CUT},
    [SIZE] = {"SIZE", "memory set aside for it", NUMBER},
    [AGE] = {"AGE", "time since it was created", NUMBER},
    [SERIAL] = {"SERIAL", "its number, which never repeats in a segment", NUMBER},
    [CREATED] = {"CREATED", "when it was created", 0},
    [CREATOR] = {"CREATOR", "the process that created it", NUMBER},
    [USERS] = {"USERS", "how many members of processes that have it open", NUMBER},
    [WAITERS] = {"WAITERS", "how many are asleep on it", NUMBER},
    [WAITING] = {"WAITING", "who is asleep on it and how long, in line", COLUMN_CUT | COLUMN_LIST},
    [HOLDER] = {"HOLDER", "who holds it", COLUMN_CUT},
    [RECURSIVE] = {"RECURSIVE", "whether its holder may acquire it again", COLUMN_BOOL},
    [DEPTH] = {"DEPTH", "how often its holder has acquired it", NUMBER},
    [ORPHANED] = {"ORPHANED", "whether a holder died and nobody has been told yet", COLUMN_BOOL},
    [DEADLOCK_CHECK] = {"DEADLOCK-CHECK", "whether an acquire that would never end is refused", COLUMN_BOOL},
    [TYPE] = {"TYPE", "of a condition: robust or pthread", 0},
    [LOCK] = {"LOCK", "the lock that a condition goes with, if not its own", 0},
    [IS_SET] = {"SET", "whether the event is set", COLUMN_BOOL},
    [ORDER] = {"ORDER", "fifo, lifo or priority", 0},
    [CAPACITY] = {"CAPACITY", "how many items the queue holds", NUMBER},
    [ITEM_SIZE] = {"ITEM-SIZE", "the largest item", NUMBER},
    [ITEMS] = {"ITEMS", "how many items are in the queue", NUMBER},
    [PUTS] = {"PUTS", "how many were put since it was created", NUMBER},
    [GETS] = {"GETS", "how many were taken", NUMBER},
    [SHUT_DOWN] = {"SHUT-DOWN", "whether it takes no more items", COLUMN_BOOL},
    [DATA_SIZE] = {"DATA-SIZE", "bytes of the region", NUMBER},
    [ALIGN] = {"ALIGN", "alignment of its first byte", NUMBER},
    [REPAIRS] = {"REPAIRS", "how often something was put right after a death: the sum of the following", NUMBER},
    [HOLDERS_LOST] = {"HOLDERS-LOST", "how many died holding it, or in the middle of a change", NUMBER},
    [WAITERS_BURIED] = {"WAITERS-BURIED", "how many died in line", NUMBER},
    [WAKEUPS_PASSED_ON] = {"WAKEUPS-PASSED-ON", "how often the wake-up of a dead waiter went to the next", NUMBER},
    [REBUILDS] = {"REBUILDS", "how often the line of waiters was rebuilt after a death", NUMBER},
    {0},
};

const struct table_kind object_table = {"objects", object_columns};

/* The columns that only its kind has. */
static void fill_kind(struct table *t, const struct shk_object_info *o)
{
    static const char *const orders[] = {[SHK_FIFO] = "fifo", [SHK_LIFO] = "lifo", [SHK_PRIORITY] = "priority"};

    switch (o->kind) {
    case SHK_KIND_LOCK:
        table_set_bool(t, RECURSIVE, o->as.lock.recursive);
        table_set(t, DEPTH, "%" PRIu32, o->as.lock.depth);
        table_set_bool(t, ORPHANED, o->as.lock.orphaned);
        table_set_bool(t, DEADLOCK_CHECK, !o->as.lock.no_deadlock_check);
        break;
    case SHK_KIND_COND:
        table_set(t, TYPE, "%s", o->as.cond.kind == SHK_COND_PTHREAD ? "pthread" : "robust");
        table_set(t, LOCK, "%s", o->as.cond.lock);
        table_set_bool(t, RECURSIVE, o->as.cond.recursive);
        table_set(t, DEPTH, "%" PRIu32, o->as.cond.depth);
        table_set_bool(t, ORPHANED, o->as.cond.orphaned);
        break;
    case SHK_KIND_EVENT:
        table_set_bool(t, IS_SET, o->as.event.is_set);
        break;
    case SHK_KIND_QUEUE:
        table_set(t, ORDER, "%s", NAME_OF(orders, o->as.queue.order));
        table_set(t, CAPACITY, "%" PRIu64, o->as.queue.capacity);
        table_set_size(t, ITEM_SIZE, o->as.queue.item_size);
        table_set(t, ITEMS, "%" PRIu64, o->as.queue.size);
        table_set(t, PUTS, "%" PRIu64, o->as.queue.puts);
        table_set(t, GETS, "%" PRIu64, o->as.queue.gets);
        table_set_bool(t, SHUT_DOWN, o->as.queue.shut_down);
        break;
    case SHK_KIND_REGION:
        table_set_size(t, DATA_SIZE, o->as.region.size);
        table_set(t, ALIGN, "%" PRIu64, o->as.region.align);
        break;
    }
}

void add_object(struct table *t, const struct shk_snapshot *look, const struct shk_object_info *o)
{
    const struct shk_member_info **waiters;
    char buffer[DESCRIPTION_MAX];
    char duration[QUANTITY_MAX];
    size_t n;

    table_row(t);
    table_set(t, NAME, "%s", o->name);
    table_set(t, PATH, "%s/%s", shk_snapshot_segment(look)->name, o->name);
    table_set(t, KIND, "%s", kind_name(o->kind));
    table_set(t, STATE, "%s", describe_object(buffer, look, o));
    table_set_size(t, SIZE, o->size);
    table_set(t, SERIAL, "%" PRIu64, o->serial);
    table_set_duration(t, AGE, since(o->created));
    table_set_date(t, CREATED, o->created);
    table_set(t, CREATOR, "%" PRId32, o->creator);
    table_set(t, USERS, "%" PRIu64, o->users);
    table_set(t, WAITERS, "%" PRIu64, o->waiters);
    n = list_waiters(look, o->name, &waiters);
    for (size_t i = 0; i < n; i++)
        table_append(t, WAITING, "%s for %s", describe_member(buffer, waiters[i]),
                     format_duration(duration, waiters[i]->waiting));
    free(waiters);
    if (o->holder)
        table_set(t, HOLDER, "%s", describe_member_id(buffer, look, o->holder));
    fill_kind(t, o);
    table_set(t, REPAIRS, "%" PRIu64, o->holders_lost + o->waiters_buried + o->wakeups_passed_on + o->rebuilds);
    table_set(t, HOLDERS_LOST, "%" PRIu64, o->holders_lost);
    table_set(t, WAITERS_BURIED, "%" PRIu64, o->waiters_buried);
    table_set(t, WAKEUPS_PASSED_ON, "%" PRIu64, o->wakeups_passed_on);
    table_set(t, REBUILDS, "%" PRIu64, o->rebuilds);
}
