/* shmctl why: for each blocked member the chain of what it waits for, and whether that can end. */
#include "common.h"
#include "describe.h"
#include "print.h"
#include "quantity.h"
#include "shmctl.h"
#include "table.h"
#include "verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_STRANDED = 6, STATUS_DEADLOCKED = 7, STATUS_STALLED = 8 };

static const struct column columns[] = {
    {"VERDICT", "deadlocked, stranded, stalled or waiting", 0},
    {"SEGMENT", "the segment of what it waits for", 0},
    {"PID", "its process", COLUMN_RIGHT | COLUMN_NUMBER},
    {"TID", "its thread", COLUMN_RIGHT | COLUMN_NUMBER},
    {"COMMAND", "the program", COLUMN_CUT},
    {"NAME", "its name in the segment", COLUMN_CUT},
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

static const char *const verdicts[] = {
    [VERDICT_AWAKE] = "awake",           [VERDICT_WAITING] = "waiting",
    [VERDICT_STALLED] = "stalled",       [VERDICT_STRANDED] = "stranded",
    [VERDICT_DEADLOCKED] = "deadlocked",
};

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
    int32_t pid;         /* 0: any */
};

static bool is_wanted(const struct request *request, const struct thread *t)
{
    return t->verdict != VERDICT_AWAKE && (!request->pid || t->pid == request->pid) &&
           (!request->segment ||
            strcmp(shk_snapshot_segment(t->snapshot)->name, request->segment) == 0);
}

/* ---- as a table ---- */

static void add_thread(struct table *t, const struct world *world, const struct thread *thread)
{
    const struct shk_member_info *m = thread->member;
    const struct thread *next = next_in_chain(thread);
    const struct thread *other;
    char buffer[DESCRIPTION_MAX];

    table_row(t);
    table_set(t, "VERDICT", "%s", verdicts[thread->verdict]);
    table_set(t, "SEGMENT", "%s", shk_snapshot_segment(thread->snapshot)->name);
    table_set(t, "PID", "%" PRId32, m->pid);
    table_set(t, "TID", "%" PRId32, m->tid);
    table_set(t, "COMMAND", "%s", m->command);
    table_set(t, "NAME", "%s", m->name);
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
    if (next)
        table_append(t, "WAKERS", "%s", describe_member(buffer, next->member));
    for (size_t at = 0; !next && (other = possible_waker(world, thread, &at));)
        table_append(t, "WAKERS", "%s", describe_member(buffer, other->member));
}

/* ---- in words ---- */

/*
 * "waits to acquire bank/till", "waits for race/go to be set"; what could wake it: "could release
 * it", "could set it"
 */
static const struct words {
    const char *before, *after, *wake;
} words[] = {
    [SHK_WAITS_TO_ACQUIRE] = {"to acquire ", "", "release it"},
    [SHK_WAITS_FOR_NOTIFY] = {"for a notify of ", "", "notify it"},
    [SHK_WAITS_FOR_SET] = {"for ", " to be set", "set it"},
    [SHK_WAITS_TO_PUT] = {"to put into ", "", "get from it"},
    [SHK_WAITS_TO_GET] = {"to get from ", "", "put into it"},
    [SHK_WAITS_FOR_PERMIT] = {"for a permit of ", "", "release one"},
    [SHK_WAITS_FOR_PARTIES] = {"for the others at ", "", "come"},
    [SHK_WAITS_FOR_SAMPLES] = {"for samples of ", "", "append some"},
    [SHK_WAITS_TO_JOIN] = {"for the tasks of ", " to be done", "finish them"},
    [SHK_WAITS_FOR_VERSION] = {"for a newer version of ", "", "set it"},
    [SHK_WAITS_FOR_ANY] = {"for any of several, the first of them ", "", "make one ready"},
    [SHK_WAITS_TO_READ] = {"to share ", "", "release it"},
    [SHK_WAITS_FOR_ONCE] = {"for ", " to be done", "do it"},
};

static const struct words *words_for(const struct thread *t)
{
    static const struct words unknown = {"for ", "", "wake it"};
    uint32_t i = t->member->waits_for;

    return i < sizeof(words) / sizeof(*words) && words[i].before ? &words[i] : &unknown;
}

static void print_wait(const struct thread *t)
{
    const struct shk_member_info *m = t->member;
    char duration[QUANTITY_MAX];

    if (t->command) {
        puts("waits for its command");
        return;
    }
    printf("waits %s%s/%s%s, for %s%s\n", words_for(t)->before,
           shk_snapshot_segment(t->snapshot)->name, *m->waits_on ? m->waits_on : "(removed)",
           words_for(t)->after, format_duration(duration, m->waiting),
           m->has_deadline ? ", with a deadline" : "");
}

/* ", which has been stopped for 3m05s" */
static void print_activity(int32_t pid, int32_t tid, enum activity activity, const char *if_running)
{
    static const struct {
        const char *now, *for_long;
    } sentences[] = {
        [ASLEEP] = {"sleeps", "has slept"},
        [IN_DISK_SLEEP] = {"is in disk sleep", "has been in disk sleep"},
        [IS_STOPPED] = {"is stopped", "has been stopped"},
        [IS_TRACED] = {"is stopped by a debugger", "has been stopped by a debugger"},
        [IS_FROZEN] = {"is frozen", "has been frozen"},
        [DUMPS_CORE] = {"has crashed and dumps its core", NULL},
        [HAS_ENDED] = {"has ended", NULL},
    };
    char duration[QUANTITY_MAX];
    int64_t idle = 0;

    if (activity == ACTIVITY_UNKNOWN || activity == RUNS) {
        printf(", which %s", if_running);
        return;
    }
    if (sentences[activity].for_long)
        idle = idle_for(pid, tid);
    if (idle)
        printf(", which %s for %s", sentences[activity].for_long, format_duration(duration, idle));
    else
        printf(", which %s", sentences[activity].now);
}

static void print_at_work(const struct thread *t)
{
    const struct process *p = &t->stopped;

    if (p->pid) {
        printf(", which waits for %s (%" PRId32 ")", p->command, p->pid);
        print_activity(p->pid, p->pid, p->activity, "");
    } else {
        print_activity(t->pid, t->tid, t->activity, "is at work");
    }
    putchar('\n');
}

/* What waits for the same is the last of which to expect it. */
static bool waits_alike(const struct thread *a, const struct thread *b)
{
    return a->object == b->object && a->member->waits_for == b->member->waits_for;
}

/* The end of a chain: what could wake the last one in it. */
static void print_wakers(const struct world *world, const struct thread *t)
{
    const char *wake = words_for(t)->wake;
    char buffer[DESCRIPTION_MAX];
    size_t at = 0;
    const struct thread *other = possible_waker(world, t, &at), *next;
    uint64_t dead = lost_waker(t);
    size_t more = 0;

    if (!other && t->able) {
        puts(t->object && t->member->has_deadline
                 ? "nothing is attached now that could, but it will give up by itself"
                 : "about to go on");
        return;
    }
    if (!other) {
        printf("nothing is attached now that could %s", wake);
        if (dead)
            printf("; %s has died",
                   describe_member(buffer, shk_snapshot_find_member(t->snapshot, dead)));
        putchar('\n');
        return;
    }
    while ((next = possible_waker(world, t, &at))) {
        more++;
        other = waits_alike(other, t) && !waits_alike(next, t) ? next : other;
    }
    printf("%s", describe_member(buffer, other->member));
    if (more)
        printf(" and %zu more", more);
    if (other->stalled && !more)
        print_activity(other->pid, other->tid, other->activity, "is at work");
    printf("%s could %s\n", other->stalled && !more ? "," : "", wake);
}

/* Is it among the first ones of the chain? */
static bool is_met_before(const struct thread *first, const struct thread *t, size_t depth)
{
    for (; depth > 0; depth--, first = next_in_chain(first)) {
        if (first == t)
            return true;
    }
    return false;
}

/* "  held by backup.sh (4711) for 3h05m": how the chain goes on from `t`. */
static void print_link(const struct thread *t, size_t depth)
{
    const struct thread *next = next_in_chain(t);
    char buffer[DESCRIPTION_MAX], duration[QUANTITY_MAX];

    printf("%*s%s %s", (int)depth * 2, "",
           t->holder              ? "held by"
           : t->is_command_itself ? "which is"
                                  : "in which",
           describe_member(buffer, next->member));
    if (t->holder && t->object->held)
        printf(" for %s", format_duration(duration, t->object->held));
}

/* The thread, the holder of what it waits for, what that one waits for, and so on. */
static void print_chain(const struct world *world, const struct thread *first)
{
    const struct thread *t = first;
    char buffer[DESCRIPTION_MAX];
    size_t depth = 1;

    printf("%s: %s", verdicts[first->verdict], describe_member(buffer, first->member));
    if (first->stalled && !first->command)
        print_activity(first->pid, first->tid, first->activity, "is at work");
    fputs(first->stalled && !first->command ? ", " : " ", stdout);
    print_wait(first);
    for (; next_in_chain(t); depth++) {
        const struct thread *next = next_in_chain(t);
        bool by_command = !t->holder && !t->is_command_itself;

        print_link(t, depth);
        t = next;
        if (t->verdict == VERDICT_AWAKE) {
            print_at_work(t);
            return;
        }
        if (is_met_before(first, t, depth)) {
            puts(", which closes the circle");
            return;
        }
        fputs(by_command ? " " : ", which ", stdout);
        print_wait(t);
    }
    printf("%*s", (int)depth * 2, "");
    print_wakers(world, t);
}

/* The worst first; a circle once. */
static void print_chains(const struct world *world, const struct request *request)
{
    bool *told = allocate(world->n, sizeof(*told));

    for (enum verdict v = VERDICT_DEADLOCKED; v > VERDICT_AWAKE; v--) {
        for (size_t i = 0; i < world->n; i++) {
            const struct thread *t = &world->threads[i];

            if (t->verdict != v || told[i] || !is_wanted(request, t))
                continue;
            print_chain(world, t);
            for (const struct thread *u = t; t->in_circle && !told[u - world->threads];
                 u = next_in_chain(u))
                told[u - world->threads] = true;
        }
    }
    free(told);
}

/* ---- */

static int status_of(const struct world *world, const struct request *request)
{
    enum verdict worst = VERDICT_AWAKE;

    for (size_t i = 0; i < world->n; i++) {
        if (is_wanted(request, &world->threads[i]) && world->threads[i].verdict > worst)
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
        print_chains(world, request);
        return STATUS_DONE;
    }
    t = table_new(&blocked_table,
                  "VERDICT,SEGMENT,PID,TID,COMMAND,NAME,WAITS,FOR,WAKERS,HELD,HOLDER-STATE,CIRCLE",
                  style);
    for (size_t i = 0; i < world->n; i++) {
        if (is_wanted(request, &world->threads[i]))
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

static bool is_member(const struct world *world, int32_t pid)
{
    for (size_t i = 0; i < world->n; i++) {
        if (world->threads[i].pid == pid)
            return true;
    }
    return false;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct request request = {0};
    struct world world;
    struct path path;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1)
        table_option(&style, key);
    check_operands(argc, 0, 1);
    if (optind < argc) {
        status = parse_request(&request, argv[optind], &path);
        if (status != STATUS_DONE)
            return status;
    }
    status = judge_world(&world);
    if (status == STATUS_DONE && request.pid && !is_member(&world, request.pid)) {
        complain(argv[optind], "this process is a member of no segment that can be read");
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
    .arguments = "[OPTION...] [SEGMENT | PID]",
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
