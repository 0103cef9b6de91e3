/* shmctl ps: the members, what they hold and what they wait for. */
#include "common.h"
#include "describe.h"
#include "snapshots.h"
#include "print.h"
#include "shmctl.h"
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct column columns[] = {
    {"SEGMENT", "the segment it is attached to", 0},
    {"MACHINE", "of a segment on etcd: where its process runs", 0},
    {"PID", "its process", COLUMN_RIGHT | COLUMN_NUMBER},
    {"TID", "its thread", COLUMN_RIGHT | COLUMN_NUMBER},
    {"COMMAND", "the program", COLUMN_CUT},
    {"NAME", "its name in the segment", COLUMN_CUT},
    {"ALIVE", "whether it lives", COLUMN_BOOL},
    {"HOLDS", "the locks and conditions that it holds", COLUMN_CUT | COLUMN_LIST},
    {"HELD", "how long it has held one of them, where that was noted",
     COLUMN_RIGHT | COLUMN_NUMBER},
    {"ROLES", "of what its process is a producer (>) or a consumer (<) by role",
     COLUMN_CUT | COLUMN_LIST},
    {"WAITS", "what it waits for: acquire, set, put, get and so on, and the object", COLUMN_CUT},
    {"FOR", "how long it has been waiting", COLUMN_RIGHT | COLUMN_NUMBER},
    {"ON", "the object that it waits on", 0},
    {"TASKS", "how many items it has taken from queues and not finished",
     COLUMN_RIGHT | COLUMN_NUMBER},
    {"LEASES", "how many items of queues it has leased", COLUMN_RIGHT | COLUMN_NUMBER},
    {"JOINED", "when it joined", 0},
    {"DIED", "when another member first found it dead, if one did", 0},
    {"ID", "its number, which never repeats in a segment", COLUMN_RIGHT | COLUMN_NUMBER},
    {"TIME", "when that was seen (--follow)", 0},
    {"EVENT", "present, joined, left or died (--follow)", 0},
    {0},
};

static const struct table_kind member_table = {"members", columns};

/* What there is to tell: columns that would be empty are left out, but not of JSON. */
struct told {
    bool threads; /* several of a process, which TID tells apart */
    bool held, dead, roles;
    bool machines; /* a segment is on etcd */
};

/*
 * What is held in a segment, in the order of its holders' ids, which is the order of the members.
 */
struct holding {
    uint64_t holder;
    const struct shk_object_info *object;
    bool shared;
    uint32_t permits; /* of a semaphore with owners; else 0 */
};

struct held {
    struct holding *holdings;
    size_t n;
    size_t next; /* to be shown */
};

static int by_holder(const void *left, const void *right)
{
    const struct holding *a = left;
    const struct holding *b = right;

    if (a->holder != b->holder)
        return a->holder < b->holder ? -1 : 1;
    return strcmp(a->object->name, b->object->name);
}

static void hold(struct held *held, uint64_t holder, const struct shk_object_info *object,
                 bool shared)
{
    if (holder)
        held->holdings[held->n++] =
            (struct holding){.holder = holder, .object = object, .shared = shared};
}

_Static_assert(OWNERS_MAX <= 1 + READERS_MAX, "list_held() has room for so many");

/* Whether a member before it is a thread of the same process, also on etcd. */
static bool is_further_thread(const struct shk_snapshot *snapshot, size_t i)
{
    const struct shk_member_info *m = shk_snapshot_member(snapshot, i), *other;

    for (size_t k = 0; k < i; k++) {
        other = shk_snapshot_member(snapshot, k);
        if (other->alive && other->pid == m->pid && other->namespace_ == m->namespace_)
            return true;
    }
    return false;
}

/* Permits belong to a process: they are shown with the first of its threads. */
static void hold_permits(struct held *held, const struct shk_snapshot *snapshot,
                         const struct shk_object_info *object)
{
    const struct shk_member_info *m;
    unsigned found = 0;

    for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)) && found < OWNERS_MAX; i++) {
        uint32_t permits = shk_snapshot_permits(snapshot, object, m);

        if (permits == 0 || is_further_thread(snapshot, i))
            continue;
        hold(held, m->id, object, false);
        held->holdings[held->n - 1].permits = permits;
        found++;
    }
}

static struct held list_held(const struct shk_snapshot *snapshot)
{
    const struct shk_object_info *object;
    struct held held = {0};

    held.holdings = allocate(shk_snapshot_segment(snapshot)->objects * (1 + READERS_MAX),
                             sizeof(*held.holdings));
    for (size_t i = 0; (object = shk_snapshot_object(snapshot, i)); i++) {
        bool is_rwlock = object->kind == SHK_KIND_RWLOCK;

        if (!is_rwlock || object->as.rwlock.writing)
            hold(&held, object->holder, object, false);
        for (size_t k = 0; is_rwlock && k < READERS_MAX; k++)
            hold(&held, object->as.rwlock.reader[k], object, true);
        if (object->kind == SHK_KIND_SEMAPHORE && object->as.semaphore.owners)
            hold_permits(&held, snapshot, object);
    }
    qsort(held.holdings, held.n, sizeof(*held.holdings), by_holder);
    return held;
}

static void add_held(struct table *t, struct held *held, uint64_t id)
{
    int64_t longest = 0;

    while (held->next < held->n && held->holdings[held->next].holder < id)
        held->next++; /* its holder has left */
    for (; held->next < held->n && held->holdings[held->next].holder == id; held->next++) {
        const struct holding *h = &held->holdings[held->next];
        const struct shk_object_info *o = h->object;

        if (h->permits)
            table_append(t, "HOLDS", "%s (%" PRIu32 ")", o->name, h->permits);
        else
            table_append(t, "HOLDS", "%s%s", o->name, h->shared ? " (shared)" : "");
        longest = o->held > longest ? o->held : longest;
    }
    if (longest)
        table_set_duration(t, "HELD", longest);
}

static void add_roles(struct table *t, const struct shk_snapshot *snapshot,
                      const struct shk_member_info *m)
{
    static const char *const signs[] = {"", ">", "<", "<>"};
    const struct shk_object_info *o;
    unsigned roles;

    for (size_t i = 0; (o = shk_snapshot_object(snapshot, i)); i++) {
        roles = shk_snapshot_roles(snapshot, o, m);
        if (roles)
            table_append(t, "ROLES", "%s%s", signs[roles & 3], o->name);
    }
}

static void add_member(struct table *t, const struct shk_snapshot *snapshot,
                       const struct shk_member_info *m, struct held *held)
{
    char buffer[DESCRIPTION_MAX];

    table_row(t);
    table_set(t, "SEGMENT", "%s", shk_snapshot_segment(snapshot)->name);
    table_set(t, "MACHINE", "%s", shk_snapshot_machine(snapshot, m));
    table_set(t, "PID", "%" PRId32, m->pid);
    table_set(t, "TID", "%" PRId32, m->tid);
    table_set(t, "COMMAND", "%s", m->command);
    table_set(t, "NAME", "%s", m->name);
    table_set_bool(t, "ALIVE", m->alive);
    if (table_shows(t, "ROLES"))
        add_roles(t, snapshot, m);
    add_held(t, held, m->id);
    table_set(t, "TASKS", "%" PRIu64, m->tasks);
    table_set(t, "LEASES", "%" PRIu64, m->leases);
    table_set_date(t, "JOINED", m->joined);
    table_set(t, "ID", "%" PRIu64, m->id);
    if (m->death_noticed)
        table_set_date(t, "DIED", m->death_noticed);
    if (m->waits_for == SHK_WAITS_NOT || !m->alive)
        return;
    table_set(t, "WAITS", "%s", describe_wait(buffer, m));
    table_set(t, "ON", "%s", m->waits_on);
    table_set_duration(t, "FOR", m->waiting);
}

static struct told what_there_is(struct shk_snapshot *const *snapshots)
{
    const struct shk_object_info *o;
    const struct shk_member_info *m;
    struct told told = {0};

    for (; *snapshots; snapshots++) {
        told.machines = told.machines || shk_snapshot_segment(*snapshots)->revision != 0;
        for (size_t i = 0; (m = shk_snapshot_member(*snapshots, i)); i++) {
            told.threads = told.threads || m->tid != m->pid;
            told.dead = told.dead || !m->alive;
        }
        for (size_t i = 0; (o = shk_snapshot_object(*snapshots, i)); i++) {
            told.held = told.held || o->held;
            told.roles = told.roles || o->producers || o->consumers;
        }
    }
    return told;
}

static struct table *new_table(const struct table_style *style, struct told told)
{
    char *usual = print_to_memory(
        "SEGMENT,%sPID,%sCOMMAND,NAME,%sHOLDS,%s%sWAITS,FOR%s", told.machines ? "MACHINE," : "",
        style->json || told.threads ? "TID," : "", style->json || told.dead ? "ALIVE," : "",
        style->json || told.held ? "HELD," : "", told.roles ? "ROLES," : "",
        style->json || told.dead ? ",DIED" : "");
    struct table *t = table_new(&member_table, usual, style);

    free(usual);
    return t;
}

/* The living before the dead, each in the order of joining. */
static void add_members(struct table *t, struct shk_snapshot *const *snapshots, bool alive)
{
    const struct shk_member_info *member;

    for (; *snapshots; snapshots++) {
        struct held held = list_held(*snapshots);

        for (size_t i = 0; (member = shk_snapshot_member(*snapshots, i)); i++) {
            if ((member->alive != 0) == alive)
                add_member(t, *snapshots, member, &held);
        }
        free(held.holdings);
    }
}

/* ---- as they come and go ---- */

static const struct shk_snapshot *find_segment(struct shk_snapshot *const *in, uint64_t id)
{
    while (*in && shk_snapshot_segment(*in)->id != id)
        in++;
    return *in;
}

/* The same member in other snapshots; NULL: it is not there. */
static const struct shk_member_info *find_again(struct shk_snapshot *const *in,
                                                const struct shk_snapshot *snapshot,
                                                const struct shk_member_info *m)
{
    const struct shk_snapshot *s = find_segment(in, shk_snapshot_segment(snapshot)->id);

    return s ? shk_snapshot_find_member(s, m->id) : NULL;
}

static void add_event(struct table *t, const char *event, const struct shk_snapshot *snapshot,
                      const struct shk_member_info *m)
{
    struct held held = list_held(snapshot);

    add_member(t, snapshot, m, &held);
    table_set(t, "EVENT", "%s", event);
    table_set_date(t, "TIME", time(NULL));
    free(held.holdings);
}

/* What has changed between two looks; before: NULL at the first. */
static void add_events(struct table *t, struct shk_snapshot *const *before,
                       struct shk_snapshot *const *now)
{
    const struct shk_member_info *m, *was;

    for (size_t s = 0; before && before[s]; s++) {
        for (size_t i = 0; (m = shk_snapshot_member(before[s], i)); i++) {
            if (m->alive && !find_again(now, before[s], m))
                add_event(t, "left", before[s], m);
        }
    }
    for (size_t s = 0; now[s]; s++) {
        for (size_t i = 0; (m = shk_snapshot_member(now[s], i)); i++) {
            was = before ? find_again(before, now[s], m) : NULL;
            if (m->alive && !was)
                add_event(t, before ? "joined" : "present", now[s], m);
            else if (!m->alive && (before ? !was || was->alive : true))
                add_event(t, "died", now[s], m);
        }
    }
}

struct following {
    const char *operand;
    struct shk_snapshot **before, **now; /* before: NULL at the first look */
};

static int look(void *following)
{
    struct following *f = following;
    int r;

    f->now = try_snapshots(f->operand, &r);
    if (r != 0)
        drop_snapshots(f->now);
    return r;
}

static int print_events(const struct following *f, struct table_style *style)
{
    struct table *t =
        table_new(&member_table, "TIME,EVENT,SEGMENT,PID,TID,COMMAND,NAME,HOLDS,WAITS", style);
    int status;

    add_events(t, f->before, f->now);
    status = table_print(t);
    style->noheadings = style->noheadings || t->rows;
    table_free(t);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

static int follow(const char *operand, struct table_style *style, int64_t interval)
{
    struct following f = {.operand = operand};
    int64_t next = monotonic_now(), now;
    int r, status = STATUS_DONE;

    style->lines = style->json;
    catch_interrupts();
    do {
        r = look_until_it_answers(operand, interval, &(struct look){.look = look, .arg = &f});
        if (r != 0)
            break;
        status = print_events(&f, style);
        if (f.before)
            drop_snapshots(f.before);
        f.before = f.now;
        now = monotonic_now();
        next = next + interval < now ? now : next + interval;
    } while (status == STATUS_DONE && sleep_until(next));
    if (f.before)
        drop_snapshots(f.before);
    return r == 0 || r == -EINTR ? status : snapshots_failed(operand, r);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct shk_snapshot **snapshots;
    int64_t interval = SHK_SEC(1);
    bool follows = false;
    struct table *t;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'f')
            follows = true;
        else if (key == 'i')
            interval = parse_timeout(optarg);
        else
            table_option(&style, key);
    }
    check_operands(argc, 0, 1);
    if (interval < SHK_MS(10))
        usage_error("the interval is 10ms at least");
    if (follows)
        return follow(argv[optind], &style, interval);
    snapshots = take_snapshots(argv[optind], &status);
    if (status != STATUS_DONE)
        goto done;
    t = new_table(&style, what_there_is(snapshots));
    add_members(t, snapshots, true);
    add_members(t, snapshots, false);
    status = table_print(t);
    table_free(t);

done:
    drop_snapshots(snapshots);
    return status;
}

static const struct option_row options[] = {
    {'f', "follow", NULL, "go on: print those that join, leave and die"},
    {'i', "interval", "TIME", "with --follow: between two looks (1s)"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_ps = {
    .name = "ps",
    .arguments = "[OPTION...] [SEGMENT | etcd:]",
    .summary = "list the members: what each holds, what it waits for and how long",
    .notes = "With etcd: the members of all segments on etcd, which are processes; a wait is\n"
             "seen there once it has lasted 0.2 s.\n\n"
             "What --follow prints in JSON is an object a line. A member that comes and goes\n"
             "between two looks is not seen. While no majority of etcd answers it says so, and\n"
             "goes on asking.",
    .options = options,
    .tables = (const struct table_kind *const[]){&member_table, NULL},
    .run = run,
};
