/* shmctl why: for each blocked member the chain of what it waits for, and whether that can end. */
#include "common.h"
#include "describe.h"
#include "shmctl.h"
#include "table.h"
#include "verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_STRANDED = 6, STATUS_DEADLOCKED = 7 };

static const struct column columns[] = {
    {"VERDICT", "deadlocked, stranded or waiting", 0},
    {"SEGMENT", "the segment of what it waits for", 0},
    {"PID", "its process", COLUMN_RIGHT | COLUMN_NUMBER},
    {"TID", "its thread", COLUMN_RIGHT | COLUMN_NUMBER},
    {"COMMAND", "the program", COLUMN_CUT},
    {"NAME", "its name in the segment", 0},
    {"WAITS", "what it waits for: acquire, notify, set, put or get, and on which object; or its command", 0},
    {"FOR", "how long it has been waiting", COLUMN_RIGHT | COLUMN_NUMBER},
    {"DEADLINE", "whether it gives up by itself one day", COLUMN_BOOL},
    {"WAKERS", "who holds what it waits for, or could wake it", COLUMN_CUT | COLUMN_LIST},
    {"CIRCLE", "whether it is itself in the circle", COLUMN_BOOL},
    {0},
};

static const struct table_kind blocked_table = {"blocked", columns};

static const char *const verdicts[] = {
    [VERDICT_AWAKE] = "awake",
    [VERDICT_WAITING] = "waiting",
    [VERDICT_STRANDED] = "stranded",
    [VERDICT_DEADLOCKED] = "deadlocked",
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
            strcmp(shk_snapshot_segment(t->look)->name, request->segment) == 0);
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
    table_set(t, "SEGMENT", "%s", shk_snapshot_segment(thread->look)->name);
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
    if (next)
        table_append(t, "WAKERS", "%s", describe_member(buffer, next->member));
    for (size_t at = 0; !next && (other = possible_waker(world, thread, &at));)
        table_append(t, "WAKERS", "%s", describe_member(buffer, other->member));
}

/* ---- in words ---- */

/* "waits to acquire bank/till", "waits for race/go to be set"; who could wake it "could release it", "could set it" */
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
    [SHK_WAITS_FOR_ANY] = {"for any of several, the first of them ", "", "make one ready"},
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
    printf("waits %s%s/%s%s, for %s%s\n", words_for(t)->before, shk_snapshot_segment(t->look)->name,
           *m->waits_on ? m->waits_on : "(removed)", words_for(t)->after,
           format_duration(duration, m->waiting), m->has_deadline ? ", with a deadline" : "");
}

/* The end of a chain: who could wake the last one in it. */
static void print_wakers(const struct world *world, const struct thread *t)
{
    const char *wake = words_for(t)->wake;
    char buffer[DESCRIPTION_MAX];
    size_t at = 0;
    const struct thread *other = possible_waker(world, t, &at);
    size_t more = 0;

    if (t->verdict == VERDICT_STRANDED) {
        printf("no live member is left that could %s\n", wake);
        return;
    }
    if (!other) {
        puts(t->object && t->member->has_deadline
                 ? "no live member is left that could, but it will give up by itself"
                 : "about to go on");
        return;
    }
    while (possible_waker(world, t, &at))
        more++;
    printf("%s", describe_member(buffer, other->member));
    if (more)
        printf(" and %zu more", more);
    printf(" could %s\n", wake);
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

/* The thread, the holder of what it waits for, what that one waits for, and so on. */
static void print_chain(const struct world *world, const struct thread *first)
{
    const struct thread *t = first;
    char buffer[DESCRIPTION_MAX];
    size_t depth = 1;

    printf("%s: %s ", verdicts[first->verdict], describe_member(buffer, first->member));
    print_wait(first);
    for (; next_in_chain(t); depth++) {
        bool command = t->command != NULL;

        t = next_in_chain(t);
        printf("%*s%s %s", (int)depth * 2, "", command ? "which is" : "held by",
               describe_member(buffer, t->member));
        if (t->verdict == VERDICT_AWAKE) {
            puts(", who is at work");
            return;
        }
        if (is_met_before(first, t, depth)) {
            puts(", which closes the circle");
            return;
        }
        fputs(", who ", stdout);
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
    t = table_new(&blocked_table, "VERDICT,SEGMENT,PID,TID,COMMAND,NAME,WAITS,FOR,WAKERS,CIRCLE",
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
    struct shk_snapshot *look;
    int r;

    parse_path(operand, path);
    if (*path->object)
        usage_error("'%s' is an object, not a segment or a process", operand);
    r = shk_snapshot_open(path->segment, &look);
    if (r == 0)
        shk_snapshot_close(look);
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
    status = look_at_world(&world);
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
    .summary = "tell of the blocked who waits, who is stranded, who is deadlocked",
    .notes =
        "deadlocked: its chain of locks and holders leads into a circle\n"
        "stranded:   no live member is left that could wake it\n"
        "waiting:    somebody could\n\n"
        "Exit status: 7 somebody is deadlocked; 6 nobody is, but somebody is stranded; 0 neither.",
    .options = options,
    .tables = (const struct table_kind *const[]){&blocked_table, NULL},
    .run = run,
};
