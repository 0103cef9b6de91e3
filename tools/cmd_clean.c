/* shmctl clean: remove the segments that are not used. */
#include "common.h"
#include "print.h"
#include "quantity.h"
#include "shmctl.h"
#include "table.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER (COLUMN_RIGHT | COLUMN_NUMBER)

static const struct column columns[] = {
    {"NAME", "name of the segment", 0},
    {"RESULT", "removed, unused (it would be removed), or kept", 0},
    {"MEMORY", "memory that is given back", NUMBER},
    {"OBJECTS", "how many objects were in it", NUMBER},
    {"MEMBERS", "how many living threads are attached", NUMBER},
    {"DEAD", "how many died attached and have not been cleared away", NUMBER},
    {"REASON", "why it is kept", COLUMN_CUT},
    {0},
};

static const struct table_kind cleaned_table = {"cleaned", columns};

struct cleaning {
    struct table *table;
    unsigned flags; /* of shk_segment_unlink_unused() */
    bool dry_run;
    size_t removed; /* or would be */
    uint64_t memory;
};

static void add_row(struct cleaning *c, const struct shk_segment_info *s, const char *result,
                    const char *reason)
{
    table_row(c->table);
    table_set(c->table, "NAME", "%s", s->name);
    table_set(c->table, "RESULT", "%s", result);
    table_set_size(c->table, "MEMORY", reason ? 0 : s->resident);
    table_set(c->table, "OBJECTS", "%" PRIu32, s->objects);
    table_set(c->table, "MEMBERS", "%" PRIu32, s->members_alive);
    table_set(c->table, "DEAD", "%" PRIu32, s->members_dead);
    if (reason)
        table_set(c->table, "REASON", "%s", reason);
}

static bool is_unused(const struct shk_segment_info *s)
{
    return s->state == SHK_SEGMENT_RETIRED ||
           (s->state == SHK_SEGMENT_GOOD && s->members_alive == 0);
}

/*
 * The snapshot only says what is worth a try: what has been joined meanwhile, the library does not
 * remove.
 */
static int clean(struct cleaning *c, const struct shk_segment_info *s)
{
    int r = c->dry_run ? 0 : shk_segment_unlink_unused(s->name, c->flags);

    if (r < 0) {
        if (r != -EBUSY && r != -ENOENT)
            add_row(c, s, "kept", shk_last_error());
        return r;
    }
    add_row(c, s, c->dry_run ? "unused" : "removed", NULL);
    c->removed++;
    c->memory += s->resident;
    return 0;
}

static int clean_all(struct cleaning *c)
{
    struct shk_segment_info *list;
    ssize_t n = shk_segment_list(0, &list);

    if (n < 0)
        return failed("segments", (int)n);
    for (ssize_t i = 0; i < n; i++) {
        if (is_unused(&list[i]))
            clean(c, &list[i]);
    }
    free(list);
    return STATUS_DONE;
}

/*
 * What a dead process held there goes when its lease ends. A segment that no process has open is
 * not for the dustbin: it may be meant to last.
 */
static int clean_etcd(const char *operand)
{
    struct shk_segment_info *list;
    struct shk_snapshot *snapshot;
    ssize_t n;

    if (is_all_of_etcd(operand)) {
        n = shk_segment_list(SHK_LIST_ETCD, &list);
        if (n < 0)
            return failed("segments on etcd", (int)n);
        free(list);
    } else {
        n = shk_snapshot_open(operand, &snapshot);
        if (n < 0)
            return failed(operand, (int)n);
        shk_snapshot_close(snapshot);
    }
    complain(operand, "nothing is cleaned on etcd: what a process held goes when its lease ends; "
                      "'shmctl rm' removes a segment");
    return STATUS_DONE;
}

/* Of a segment that is named it is told when it stays. */
static int clean_one(struct cleaning *c, const char *operand)
{
    const struct shk_segment_info *s;
    struct shk_snapshot *snapshot;
    struct path path;
    int r;

    parse_path(operand, &path);
    if (is_on_etcd(path.segment) && *operand != '/')
        return clean_etcd(path.segment);
    r = shk_snapshot_open(path.segment, &snapshot);
    if (r < 0)
        return failed(path.text, r);
    s = shk_snapshot_segment(snapshot);
    r = is_unused(s) ? clean(c, s) : -EBUSY;
    if (r == -EBUSY)
        add_row(c, s, "kept", "a living member uses it");
    shk_snapshot_close(snapshot);
    return r < 0 && r != -ENOENT ? STATUS_FAILED : STATUS_DONE;
}

static void print_sum(const struct cleaning *c)
{
    char memory[QUANTITY_MAX];

    if (!c->removed)
        puts(c->dry_run ? "nothing would be removed" : "nothing to remove");
    else
        printf("%zu segment%s %sremoved, %s of memory given back\n", c->removed,
               c->removed == 1 ? "" : "s", c->dry_run ? "would be " : "",
               format_size(memory, c->memory));
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct cleaning cleaning = {0};
    bool only_etcd;
    struct path path;
    int status = STATUS_DONE;
    int printed;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == OPTION_PRIVATE)
            cleaning.dry_run = true;
        else if (key == OPTION_ANY_OWNER)
            cleaning.flags |= SHK_ANY_OWNER;
        else
            table_option(&style, key);
    }
    only_etcd = optind < argc;
    for (int i = optind; i < argc; i++) {
        parse_path(argv[i], &path);
        if (*path.object)
            usage_error("'%s' is an object, not a segment", argv[i]);
        only_etcd = only_etcd && is_on_etcd(path.segment);
    }
    cleaning.table = table_new(&cleaned_table, "NAME,RESULT,MEMORY,OBJECTS,DEAD,REASON", &style);
    if (optind == argc)
        status = clean_all(&cleaning);
    for (int i = optind; i < argc; i++) {
        int one = clean_one(&cleaning, argv[i]);
        status = status == STATUS_DONE ? one : status;
    }
    printed = table_print(cleaning.table);
    if (!style.json && !style.raw && !style.output && !only_etcd)
        print_sum(&cleaning);
    table_free(cleaning.table);
    return printed == STATUS_DONE ? status : printed;
}

static const struct option_row options[] = {
    {OPTION_PRIVATE, "dry-run", NULL, "only tell what would be removed"},
    ANY_OWNER_ROW,
    TABLE_ROWS,
    {0},
};

const struct command cmd_clean = {
    .name = "clean",
    .arguments = "[OPTION...] [SEGMENT...]",
    .summary = "remove the segments, or those of these, that are not used",
    .notes = "A segment is used as long as a thread is attached. What waits in it for the next\n"
             "process, as items of a queue, goes with it. A process that joins meanwhile is\n"
             "safe. Other programs' shared memory is never touched. On etcd there is nothing\n"
             "to clean: what a process held goes when its lease ends.",
    .options = options,
    .tables = (const struct table_kind *const[]){&cleaned_table, NULL},
    .run = run,
};
