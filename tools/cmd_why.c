/* shmctl why: for each blocked member the chain of what it waits for, and whether that can end. */
#include "chains.h"
#include "common.h"
#include "describe.h"
#include "print.h"
#include "quantity.h"
#include "shmctl.h"
#include "snapshots.h"
#include "table.h"
#include "verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TREE_MAX 64 /* so deep a process tree is followed */

enum { STATUS_STRANDED = 6, STATUS_DEADLOCKED = 7, STATUS_STALLED = 8 };

static const struct column columns[] = {
    {"VERDICT", "deadlocked, stranded, stalled or waiting", 0},
    {"SEGMENT", "the segment of what it waits for", 0},
    {"PID", "its process", COLUMN_RIGHT | COLUMN_NUMBER},
    {"TID", "its thread", COLUMN_RIGHT | COLUMN_NUMBER},
    {"COMMAND", "the program", COLUMN_CUT},
    {"NAME", "its name in the segment", COLUMN_CUT},
    {"MACHINE", "of a segment on etcd: where it runs", 0},
    {"WAITS", "what it waits for: acquire, set and so on, and the object", 0},
    {"FOR", "how long it has been waiting", COLUMN_RIGHT | COLUMN_NUMBER},
    {"DEADLINE", "whether it gives up by itself one day", COLUMN_BOOL},
    {"WAKERS", "what holds what it waits for, or could wake it", COLUMN_CUT | COLUMN_LIST},
    {"HELD", "how long the holder has had the lock, where that was noted",
     COLUMN_RIGHT | COLUMN_NUMBER},
    {"HOLDER-STATE", "of the holder: running, sleeping, stopped and the like", 0},
    {"IDLE", "how long the holder has not run, if it does not", COLUMN_RIGHT | COLUMN_NUMBER},
    {"CIRCLE", "whether it is itself in the circle", COLUMN_BOOL},
    {0},
};

static const struct table_kind blocked_table = {"blocked", columns};

static const char *const states[] = {
    [RUNS] = "running",
    [ASLEEP] = "sleeping",
    [IN_DISK_SLEEP] = "disk-sleep",
    [IS_STOPPED] = "stopped",
    [IS_TRACED] = "traced",
    [IS_FROZEN] = "frozen",
    [DUMPS_CORE] = "dumping-core",
    [HAS_ENDED] = "ended",
};

/* What is asked for. */
struct request {
    const char *segment; /* NULL: any */
    int32_t pid;         /* with its descendants; 0: any */
    bool on_etcd;        /* only segments on etcd */
};

/* ---- the process tree ---- */

/* Whether one process is the other, or above it. As /proc had it when it was read. */
static bool is_above(const struct world *world, int32_t above, int32_t pid)
{
    const struct process *p = find_process(&world->processes, pid);

    for (size_t steps = 0; p && p->pid != above && steps <= world->processes.n; steps++)
        p = find_process(&world->processes, p->parent);
    return above == pid || (p && p->pid == above);
}

static bool is_in_tree(const struct world *world, int32_t top, const struct thread *t)
{
    return t->pid == top || (t->pid_namespace == world->here &&
                             (is_above(world, top, t->pid) ||
                              (t->script.pid && is_above(world, top, t->script.pid))));
}

static bool is_wanted(const struct world *world, const struct thread *t, const void *arg)
{
    const struct request *request = arg;

    return t->verdict != VERDICT_AWAKE && (!request->pid || is_in_tree(world, request->pid, t)) &&
           (!request->segment ||
            strcmp(shk_snapshot_segment(t->snapshot)->name, request->segment) == 0) &&
           (!request->on_etcd || shk_snapshot_segment(t->snapshot)->revision != 0);
}

/* ---- as a table ---- */

static void add_thread(struct table *t, const struct world *world, const struct thread *thread)
{
    const struct shk_member_info *m = thread->member;
    const struct thread *next = next_in_chain(thread);
    const struct thread *other;
    char buffer[DESCRIPTION_MAX];

    table_row(t);
    table_set(t, "VERDICT", "%s", verdict_names[thread->verdict]);
    table_set(t, "SEGMENT", "%s", shk_snapshot_segment(thread->snapshot)->name);
    table_set(t, "PID", "%" PRId32, m->pid);
    table_set(t, "TID", "%" PRId32, m->tid);
    table_set(t, "COMMAND", "%s", m->command);
    table_set(t, "NAME", "%s", m->name);
    table_set(t, "MACHINE", "%s", shk_snapshot_machine(thread->snapshot, m));
    table_set(t, "WAITS", "%s", thread->command ? "its command" : describe_wait(buffer, m));
    if (!thread->command) {
        table_set_duration(t, "FOR", m->waiting);
        table_set_bool(t, "DEADLINE", m->has_deadline);
    }
    table_set_bool(t, "CIRCLE", thread->in_circle);
    if (thread->holder && thread->object->held)
        table_set_duration(t, "HELD", thread->object->held);
    if (thread->holder && thread->holder->activity != ACTIVITY_UNKNOWN) {
        table_set(t, "HOLDER-STATE", "%s", NAME_OF(states, thread->holder->activity));
        if (thread->holder->activity != RUNS && table_shows(t, "IDLE"))
            table_set_duration(t, "IDLE", idle_for(thread->holder->pid, thread->holder->tid));
    }
    for (size_t i = 0; waits_for_owners(thread) && i < thread->n_leaves; i++)
        table_append(t, "WAKERS", "%s",
                     describe_member(buffer, thread->snapshot, thread->leaves[i]->member));
    if (next && next->script.pid)
        table_append(t, "WAKERS", "%s (%" PRId32 ")", next->member->name, next->script.pid);
    else if (next && !waits_for_owners(thread))
        table_append(t, "WAKERS", "%s", describe_member(buffer, next->snapshot, next->member));
    for (size_t at = 0; !next && (other = possible_waker(world, thread, &at));)
        table_append(t, "WAKERS", "%s", describe_member(buffer, other->snapshot, other->member));
}

/* ---- the members around a process ---- */

/* It holds the object, or shares it, or has permits of it, as far as that is known. */
static bool holds(const struct shk_snapshot *snapshot, const struct shk_member_info *m,
                  const struct shk_object_info *o)
{
    if (shk_snapshot_permits(snapshot, o, m) > 0)
        return true;
    if (o->kind != SHK_KIND_RWLOCK)
        return o->holder == m->id;
    for (size_t i = 0; i < READERS_MAX; i++) {
        if (o->as.rwlock.reader[i] == m->id)
            return true;
    }
    return o->as.rwlock.writing && o->holder == m->id;
}

/* Whether the member is that process, or holds a lock for it by a descriptor. */
static bool acts_for(const struct world *world, const struct shk_member_info *m, int32_t pid)
{
    for (size_t i = 0; i < world->n; i++) {
        if (world->threads[i].script.pid == pid && world->threads[i].pid == m->pid)
            return true;
    }
    return m->pid == pid;
}

/* ": holds bank/till, bank/log"; false: nothing. */
static bool print_held(const struct world *world, int32_t pid)
{
    const struct shk_object_info *o;
    const struct shk_member_info *m;
    bool any = false;

    for (struct shk_snapshot **s = world->snapshots; *s; s++) {
        for (size_t i = 0; (m = shk_snapshot_member(*s, i)); i++) {
            if (!m->alive || m->namespace_ != world->here || !acts_for(world, m, pid))
                continue;
            for (size_t k = 0; (o = shk_snapshot_object(*s, k)); k++) {
                if (!holds(*s, m, o))
                    continue;
                printf("%s%s/%s", any ? ", " : ": holds ", shk_snapshot_segment(*s)->name, o->name);
                any = true;
            }
        }
    }
    return any;
}

/* "  tar (4711): holds bank/till; waits to put into bank/jobs, for 3.0s" */
static void print_process(const struct world *world, const struct process *p, int depth)
{
    bool any;

    printf("%*s%s (%" PRId32 ")", depth * 2, "", p->command, p->pid);
    any = print_held(world, p->pid);
    for (size_t i = 0; i < world->n; i++) {
        const struct thread *t = &world->threads[i];

        if (t->pid != p->pid || t->pid_namespace != world->here ||
            (t->member->waits_for == SHK_WAITS_NOT && !t->command))
            continue;
        fputs(any ? "; " : ": ", stdout);
        print_wait(stdout, t);
        any = true;
    }
    putchar('\n');
}

static bool is_member(const struct world *world, int32_t pid)
{
    for (size_t i = 0; i < world->n; i++) {
        if (world->threads[i].pid == pid || world->threads[i].script.pid == pid)
            return true;
    }
    return false;
}

static bool has_members_below(const struct world *world, int32_t pid)
{
    for (size_t i = 0; i < world->n; i++) {
        if (is_in_tree(world, pid, &world->threads[i]))
            return true;
    }
    return false;
}

/* The process and all below it that are members, or above such. */
static void print_tree(const struct world *world, const struct process *p, int depth)
{
    print_process(world, p, depth);
    for (size_t i = 0; depth < TREE_MAX && i < world->processes.n; i++) {
        const struct process *child = &world->processes.list[i];

        if (child->parent == p->pid && child->pid != p->pid && has_members_below(world, child->pid))
            print_tree(world, child, depth + 1);
    }
}

/* The members above a process, the highest first: how deep they are. */
static int print_ancestors(const struct world *world, const struct process *p, int left)
{
    const struct process *parent = find_process(&world->processes, p->parent);
    int depth = parent && left > 0 ? print_ancestors(world, parent, left - 1) : 0;

    if (!parent || !is_member(world, parent->pid))
        return depth;
    print_process(world, parent, depth);
    return depth + 1;
}

static bool has_members_above(const struct world *world, int32_t pid)
{
    for (size_t i = 0; i < world->n; i++) {
        const struct thread *t = &world->threads[i];

        if (t->pid_namespace != world->here)
            continue;
        if ((t->pid != pid && is_above(world, t->pid, pid)) ||
            (t->script.pid && t->script.pid != pid && is_above(world, t->script.pid, pid)))
            return true;
    }
    return false;
}

/* What is around a process: nothing is printed of one that is alone, and holds nothing. */
static void print_family(const struct world *world, int32_t pid)
{
    const struct process *p = find_process(&world->processes, pid);
    size_t relatives = 0;

    for (size_t i = 0; p && i < world->n; i++)
        relatives += world->threads[i].pid != pid && is_in_tree(world, pid, &world->threads[i]);
    if (p && (relatives || has_members_above(world, pid)))
        print_tree(world, p, print_ancestors(world, p, TREE_MAX));
}

/* ---- */

static int status_of(const struct world *world, const struct request *request)
{
    enum verdict worst = VERDICT_AWAKE;

    for (size_t i = 0; i < world->n; i++) {
        if (is_wanted(world, &world->threads[i], request) && world->threads[i].verdict > worst)
            worst = world->threads[i].verdict;
    }
    return worst == VERDICT_DEADLOCKED ? STATUS_DEADLOCKED
           : worst == VERDICT_STRANDED ? STATUS_STRANDED
           : worst == VERDICT_STALLED  ? STATUS_STALLED
                                       : STATUS_DONE;
}

static int print(const struct world *world, const struct request *request,
                 const struct table_style *style)
{
    struct table *t;
    int status = STATUS_DONE;

    if (!style->json && !style->raw && !style->output) {
        if (request->pid)
            print_family(world, request->pid);
        print_chains(stdout, world, is_wanted, request);
        return STATUS_DONE;
    }
    t = table_new(&blocked_table,
                  "VERDICT,SEGMENT,PID,TID,COMMAND,NAME,WAITS,FOR,WAKERS,HELD,HOLDER-STATE,CIRCLE",
                  style);
    for (size_t i = 0; i < world->n; i++) {
        if (is_wanted(world, &world->threads[i], request))
            add_thread(t, world, &world->threads[i]);
    }
    status = table_print(t);
    table_free(t);
    return status;
}

/* A number is a process; or a segment, if there is one of that name. Returns an exit status. */
static int parse_request(struct request *request, const char *operand, struct path *path)
{
    struct shk_snapshot *snapshot;
    int r;

    parse_path(operand, path);
    if (*path->object)
        usage_error("'%s' is an object, not a segment or a process", operand);
    request->on_etcd = is_all_of_etcd(operand);
    if (request->on_etcd)
        return STATUS_DONE;
    r = shk_snapshot_open(path->segment, &snapshot);
    if (r == 0)
        shk_snapshot_close(snapshot);
    if (r == -ENOENT && operand[strspn(operand, "0123456789")] == '\0') {
        request->pid = (int32_t)parse_number(operand, INT32_MAX);
        return STATUS_DONE;
    }
    request->segment = path->segment;
    return r < 0 ? failed(path->text, r) : STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct request request = {0};
    struct world world;
    struct path path;
    const char *on_etcd;
    int status, error;
    int key;

    while ((key = next_option(command, argc, argv)) != -1)
        table_option(&style, key);
    check_operands(argc, 0, 1);
    if (optind < argc) {
        status = parse_request(&request, argv[optind], &path);
        if (status != STATUS_DONE)
            return status;
    }
    on_etcd = optind < argc && is_on_etcd(path.segment) ? path.segment : NULL;
    error = judge_world(&world, on_etcd);
    status = error ? snapshots_failed(on_etcd, error) : STATUS_DONE;
    if (status == STATUS_DONE && request.pid && !world.processes.n) {
        world.here = our_pid_namespace();
        world.processes = list_processes();
        find_scripts(&world);
    }
    if (status == STATUS_DONE && request.pid && !has_members_below(&world, request.pid) &&
        !has_members_above(&world, request.pid)) {
        complain(argv[optind], "neither this process nor one above or below it is a member of a "
                               "segment that can be read");
        status = STATUS_ABSENT;
    }
    if (status == STATUS_DONE)
        status = print(&world, &request, &style);
    if (status == STATUS_DONE)
        status = status_of(&world, &request);
    drop_world(&world);
    return status;
}

static const struct option_row options[] = {TABLE_ROWS, {0}};

const struct command cmd_why = {
    .name = "why",
    .arguments = "[OPTION...] [SEGMENT | etcd: | PID]",
    .summary = "tell what the blocked wait for, and whether that can end",
    .notes = "deadlocked: its chain of locks and holders leads into a circle\n"
             "stranded:   the member that would have woken it is known to have died\n"
             "stalled:    what it waits for is stopped, traced, frozen, or in disk sleep\n"
             "waiting:    all else; nothing may be attached at the moment that could wake it\n\n"
             "Exit status: 7 a member is deadlocked; 6 none is, but one is stranded; 8 none of\n"
             "these, but one is stalled; 0 otherwise.",
    .options = options,
    .tables = (const struct table_kind *const[]){&blocked_table, NULL},
    .run = run,
};
