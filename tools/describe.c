#include "describe.h"
#include "quantity.h"
#include "table.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {
        [SHK_KIND_LOCK] = "lock",       [SHK_KIND_COND] = "cond",
        [SHK_KIND_EVENT] = "event",     [SHK_KIND_SEMAPHORE] = "semaphore",
        [SHK_KIND_BARRIER] = "barrier", [SHK_KIND_QUEUE] = "queue",
        [SHK_KIND_STREAM] = "stream",   [SHK_KIND_REGION] = "region",
        [SHK_KIND_RWLOCK] = "rwlock",   [SHK_KIND_ONCE] = "once",
        [SHK_KIND_VALUE] = "value",
    };

    return NAME_OF(names, kind);
}

const char *segment_state_name(uint32_t state)
{
    static const char *const names[] = {
        [SHK_SEGMENT_GOOD] = "good",       [SHK_SEGMENT_RETIRED] = "retired",
        [SHK_SEGMENT_FOREIGN] = "foreign", [SHK_SEGMENT_MISMATCH] = "mismatch",
        [SHK_SEGMENT_CORRUPT] = "corrupt", [SHK_SEGMENT_DENIED] = "denied",
    };

    return NAME_OF(names, state);
}

const char *describe_wait(char *buffer, const struct shk_member_info *member)
{
    static const char *const verbs[] = {
        [SHK_WAITS_TO_ACQUIRE] = "acquire", [SHK_WAITS_FOR_NOTIFY] = "notify",
        [SHK_WAITS_FOR_SET] = "set",        [SHK_WAITS_TO_PUT] = "put",
        [SHK_WAITS_TO_GET] = "get",         [SHK_WAITS_FOR_PERMIT] = "permit",
        [SHK_WAITS_FOR_PARTIES] = "meet",   [SHK_WAITS_FOR_SAMPLES] = "read",
        [SHK_WAITS_TO_JOIN] = "join",       [SHK_WAITS_TO_READ] = "share",
        [SHK_WAITS_FOR_ONCE] = "once",      [SHK_WAITS_FOR_VERSION] = "newer",
    };

    *buffer = '\0';
    if (member->waits_for == SHK_WAITS_FOR_ANY)
        strcpy(buffer, "any of several");
    else if (member->waits_for != SHK_WAITS_NOT)
        snprintf(buffer, DESCRIPTION_MAX, "%s %s", NAME_OF(verbs, member->waits_for),
                 *member->waits_on ? member->waits_on : "(removed)");
    return buffer;
}

const char *describe_member(char *buffer, const struct shk_snapshot *snapshot,
                            const struct shk_member_info *member)
{
    const char *machine = shk_snapshot_machine(snapshot, member);
    char thread[16] = "";

    if (member->tid != member->pid)
        snprintf(thread, sizeof(thread), "/%" PRId32, member->tid);
    snprintf(buffer, DESCRIPTION_MAX, "%s (%" PRId32 "%s%s%s)", member->name, member->pid, thread,
             *machine ? " on " : "", machine);
    return buffer;
}

const char *describe_member_id(char *buffer, const struct shk_snapshot *snapshot, uint64_t id)
{
    const struct shk_member_info *member = shk_snapshot_find_member(snapshot, id);

    if (member) {
        describe_member(buffer, snapshot, member);
        if (!member->alive)
            strcat(buffer, ", dead");
        return buffer;
    }
    snprintf(buffer, DESCRIPTION_MAX, "member %" PRIx64 " (gone)", id);
    return buffer;
}

static void describe_holder(char *buffer, const struct shk_snapshot *snapshot,
                            const struct shk_object_info *object, uint32_t depth, uint32_t orphaned)
{
    char name[DESCRIPTION_MAX], duration[QUANTITY_MAX];
    uint64_t holder = object->holder;
    int n;

    if (!holder)
        n = snprintf(buffer, DESCRIPTION_MAX, "free");
    else
        n = snprintf(buffer, DESCRIPTION_MAX, "held by %s",
                     describe_member_id(name, snapshot, holder));
    if (holder && depth > 1)
        n += snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), " %" PRIu32 " times", depth);
    if (holder && object->held)
        n += snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), " for %s",
                      format_duration(duration, object->held));
    if (orphaned)
        snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), ", orphaned");
}

/* With owners: which processes hold how many of them. */
static void describe_permits(char *buffer, const struct shk_object_info *object)
{
    int n = snprintf(buffer, DESCRIPTION_MAX, "%" PRIu32 " permit%s", object->as.semaphore.value,
                     object->as.semaphore.value == 1 ? "" : "s");
    uint32_t i;

    for (i = 0; i < object->as.semaphore.n_holders && i < OWNERS_MAX; i++)
        n += snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), "%s%" PRIu32 " by %" PRId32,
                      i ? ", " : "; held: ", object->as.semaphore.holders[i].permits,
                      object->as.semaphore.holders[i].pid);
    if (i < object->as.semaphore.n_holders)
        snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), ", and by %" PRIu32 " more processes",
                 object->as.semaphore.n_holders - i);
}

/* "read by X (4711) and 2 more, Y (4712) waits to write"; "held by" as of a lock. */
static void describe_rwlock(char *buffer, const struct shk_snapshot *snapshot,
                            const struct shk_object_info *object)
{
    char name[DESCRIPTION_MAX];
    uint32_t readers = object->as.rwlock.readers;
    int n;

    if (readers == 0) {
        describe_holder(buffer, snapshot, object, 1, object->as.rwlock.orphaned);
        return;
    }
    n = snprintf(buffer, DESCRIPTION_MAX, "read by %s",
                 describe_member_id(name, snapshot, object->as.rwlock.reader[0]));
    if (readers > 1)
        n += snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), " and %" PRIu32 " more",
                      readers - 1);
    if (object->holder)
        n += snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), ", %s waits to write",
                      describe_member_id(name, snapshot, object->holder));
    if (object->as.rwlock.orphaned)
        snprintf(buffer + n, (size_t)(DESCRIPTION_MAX - n), ", orphaned");
}

static void describe_once(char *buffer, const struct shk_snapshot *snapshot,
                          const struct shk_object_info *object)
{
    char name[DESCRIPTION_MAX];

    if (object->as.once.done)
        strcpy(buffer, "done");
    else if (object->holder)
        snprintf(buffer, DESCRIPTION_MAX, "being done by %s",
                 describe_member_id(name, snapshot, object->holder));
    else
        snprintf(buffer, DESCRIPTION_MAX, "not done%s",
                 object->as.once.orphaned ? ", orphaned" : "");
}

/* ", 3 leased (longest: 12s by 4711 worker, 2 attempts), 1 delayed" */
static void describe_leases(char *buffer, size_t size, const struct shk_snapshot *snapshot,
                            const struct shk_object_info *object)
{
    char name[DESCRIPTION_MAX], lease[QUANTITY_MAX], attempts[48] = "";
    const struct shk_member_info *m = shk_snapshot_find_member(snapshot, object->as.queue.lessee);
    int n = 0;

    *buffer = '\0';
    if (m)
        describe_member_id(name, snapshot, m->id);
    else
        snprintf(name, sizeof(name), "%" PRId32, object->as.queue.lessee_pid);
    if (object->as.queue.attempts > 1)
        snprintf(attempts, sizeof(attempts), ", %" PRIu32 " attempts", object->as.queue.attempts);
    if (object->as.queue.leased)
        n = snprintf(buffer, size, ", %" PRIu32 " leased (longest: %s by %s%s)",
                     object->as.queue.leased, format_duration(lease, object->as.queue.lease), name,
                     attempts);
    if (object->as.queue.delayed && (size_t)n < size)
        snprintf(buffer + n, size - (size_t)n, ", %" PRIu32 " delayed", object->as.queue.delayed);
}

const char *describe_object(char *buffer, const struct shk_snapshot *snapshot,
                            const struct shk_object_info *object)
{
    char limit[32] = "", bytes[64] = "";
    int n;

    *buffer = '\0';
    switch (object->kind) {
    case SHK_KIND_LOCK:
        describe_holder(buffer, snapshot, object, object->as.lock.depth, object->as.lock.orphaned);
        break;
    case SHK_KIND_COND:
        if (object->as.cond.own_lock)
            describe_holder(buffer, snapshot, object, object->as.cond.depth,
                            object->as.cond.orphaned);
        else
            snprintf(buffer, DESCRIPTION_MAX, "with lock %s", object->as.cond.lock);
        break;
    case SHK_KIND_EVENT:
        strcpy(buffer, object->as.event.is_set ? "set" : "clear");
        break;
    case SHK_KIND_QUEUE:
        if (object->as.queue.capacity)
            snprintf(limit, sizeof(limit), "/%" PRIu64, object->as.queue.capacity);
        if (object->as.queue.capacity_bytes)
            snprintf(bytes, sizeof(bytes), ", %" PRIu64 "/%" PRIu64 " bytes",
                     object->as.queue.bytes, object->as.queue.capacity_bytes);
        n = snprintf(buffer, DESCRIPTION_MAX, "%" PRIu64 "%s items%s%s", object->as.queue.size,
                     limit, bytes, object->as.queue.shut_down ? ", shut down" : "");
        describe_leases(buffer + n, (size_t)(DESCRIPTION_MAX - n), snapshot, object);
        break;
    case SHK_KIND_SEMAPHORE:
        describe_permits(buffer, object);
        break;
    case SHK_KIND_BARRIER:
        snprintf(buffer, DESCRIPTION_MAX, "%" PRIu32 "/%" PRIu32 " have come%s",
                 object->as.barrier.arrived, object->as.barrier.parties,
                 object->as.barrier.broken ? ", broken" : "");
        break;
    case SHK_KIND_STREAM:
        snprintf(buffer, DESCRIPTION_MAX, "%" PRIu64 " samples", object->as.stream.position);
        break;
    case SHK_KIND_VALUE:
        snprintf(buffer, DESCRIPTION_MAX, "version %" PRIu64 ", %" PRIu64 " bytes",
                 object->as.value.version, object->as.value.length);
        break;
    case SHK_KIND_REGION:
        snprintf(buffer, DESCRIPTION_MAX, "%" PRIu64 " bytes", object->as.region.size);
        break;
    case SHK_KIND_RWLOCK:
        describe_rwlock(buffer, snapshot, object);
        break;
    case SHK_KIND_ONCE:
        describe_once(buffer, snapshot, object);
        break;
    }
    return buffer;
}

static int by_arrival(const void *left, const void *right)
{
    const struct shk_member_info *a = *(const struct shk_member_info *const *)left;
    const struct shk_member_info *b = *(const struct shk_member_info *const *)right;

    if (a->ticket != b->ticket)
        return a->ticket < b->ticket ? -1 : 1;
    return a->waiting > b->waiting ? -1 : a->waiting < b->waiting;
}

size_t list_waiters(const struct shk_snapshot *snapshot, const char *object,
                    const struct shk_member_info ***out)
{
    const struct shk_member_info *member;
    size_t members = 0;
    size_t n = 0;

    while (shk_snapshot_member(snapshot, members))
        members++;
    *out = allocate(members, sizeof(**out));
    for (size_t i = 0; (member = shk_snapshot_member(snapshot, i)); i++) {
        if (member->alive && member->waits_for != SHK_WAITS_NOT &&
            strcmp(member->waits_on, object) == 0)
            (*out)[n++] = member;
    }
    qsort(*out, n, sizeof(**out), by_arrival);
    return n;
}

/* A file is read for each name, and most often it is the same again. */
const char *user_name(char *buffer, uint32_t uid)
{
    static char known[DESCRIPTION_MAX];
    static uint32_t whose;
    const struct passwd *user;

    if (!*known || whose != uid) {
        user = getpwuid(uid);
        whose = uid;
        if (user)
            snprintf(known, DESCRIPTION_MAX, "%s", user->pw_name);
        else
            snprintf(known, DESCRIPTION_MAX, "%" PRIu32, uid);
    }
    return strcpy(buffer, known);
}

const char *group_name(char *buffer, uint32_t gid)
{
    const struct group *group = getgrgid(gid);

    if (group)
        snprintf(buffer, DESCRIPTION_MAX, "%s", group->gr_name);
    else
        snprintf(buffer, DESCRIPTION_MAX, "%" PRIu32, gid);
    return buffer;
}
