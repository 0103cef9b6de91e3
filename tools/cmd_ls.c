/* shmctl ls: the segments; the objects of one. */
#include "common.h"
#include "print.h"
#include "rows.h"
#include "shmctl.h"
#include "snapshots.h"

#include <stdlib.h>
#include <string.h>

static int list_segments(unsigned flags, const struct table_style *style)
{
    struct shk_segment_info *list;
    ssize_t n = shk_segment_list(flags, &list);
    struct table *t;
    bool problems = style->json;
    const char *usual;
    int status;

    if (n < 0)
        return failed(flags & SHK_LIST_ETCD ? "segments on etcd" : "segments", (int)n);
    for (ssize_t i = 0; i < n; i++)
        problems = problems || list[i].state != SHK_SEGMENT_GOOD;
    if (flags & SHK_LIST_ETCD)
        usual = problems ? "NAME,OBJECTS,MEMBERS,AGE,STATE,PROBLEM" : "NAME,OBJECTS,MEMBERS,AGE";
    else
        usual = problems ? "NAME,OWNER,MODE,RESIDENT,OBJECTS,MEMBERS,DEAD,AGE,STATE,PROBLEM"
                         : "NAME,OWNER,MODE,RESIDENT,OBJECTS,MEMBERS,DEAD,AGE";
    t = table_new(&segment_table, usual, style);
    for (ssize_t i = 0; i < n; i++)
        add_segment(t, &list[i]);
    status = table_print(t);
    table_free(t);
    free(list);
    return status;
}

static const char *name_of(const struct shk_snapshot *snapshot)
{
    return shk_snapshot_segment(snapshot)->name;
}

/* The segments, each with its objects below it. */
static int list_all(const char *operand, unsigned flags, const struct table_style *style)
{
    const struct shk_object_info *object;
    struct shk_snapshot **snapshots, **next;
    struct shk_segment_info *list = NULL;
    struct table *t;
    int status;
    ssize_t n = 0;

    next = snapshots = take_snapshots(operand, &status);
    if (status == STATUS_DONE && (!operand || is_all_of_etcd(operand)))
        n = shk_segment_list(flags, &list);
    if (status == STATUS_DONE && n < 0)
        status = failed("segments", (int)n);
    if (status == STATUS_DONE) {
        t = table_new(&object_table,
                      operand && is_on_etcd(operand) ? "PATH,KIND,STATE,WAITERS"
                                                     : "PATH,KIND,STATE,WAITERS,USERS,SIZE",
                      style);
        for (ssize_t i = 0; i < n || *next;) {
            /* Both are in order of name. One that cannot be read has no snapshot. */
            int order = i == n ? -1 : *next ? strcmp(name_of(*next), list[i].name) : 1;
            const struct shk_snapshot *s = order <= 0 ? *next++ : NULL;

            add_segment_as_object(t, s ? shk_snapshot_segment(s) : &list[i], s);
            for (size_t k = 0; s && (object = shk_snapshot_object(s, k)); k++)
                add_object(t, s, object);
            i += order >= 0;
        }
        status = table_print(t);
        table_free(t);
    }
    free(list);
    drop_snapshots(snapshots);
    return status;
}

static int list_objects(const char *operand, const struct table_style *style)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    struct table *t;
    struct path path;
    int status;
    int r;

    parse_path(operand, &path);
    if (*path.object)
        usage_error("'%s' is an object; 'shmctl show' shows it", operand);
    r = shk_snapshot_open(path.segment, &snapshot);
    if (r < 0)
        return failed(path.text, r);
    t = table_new(&object_table,
                  is_on_etcd(path.segment) ? "NAME,KIND,STATE,WAITERS"
                                           : "NAME,KIND,STATE,WAITERS,USERS,SIZE",
                  style);
    for (size_t i = 0; (object = shk_snapshot_object(snapshot, i)); i++)
        add_object(t, snapshot, object);
    status = table_print(t);
    table_free(t);
    shk_snapshot_close(snapshot);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    unsigned flags = 0;
    bool recursive = false, of_etcd;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'a')
            flags |= SHK_LIST_FOREIGN;
        else if (key == 'R')
            recursive = true;
        else
            table_option(&style, key);
    }
    check_operands(argc, 0, 1);
    of_etcd = optind < argc && is_all_of_etcd(argv[optind]);
    if (of_etcd)
        flags |= SHK_LIST_ETCD;
    if (recursive)
        return list_all(argv[optind], flags, &style);
    return optind < argc && !of_etcd ? list_objects(argv[optind], &style)
                                     : list_segments(flags, &style);
}

static const struct option_row options[] = {
    {'a', "all", NULL, "list what is not shmkit's, too"},
    {'R', "recursive", NULL, "list the objects of each segment, too"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_ls = {
    .name = "ls",
    .arguments = "[OPTION...] [SEGMENT | etcd:]",
    .summary = "list the segments, or the objects of one",
    .notes = "With etcd: the segments on the servers that ETCDCTL_ENDPOINTS names.",
    .options = options,
    .tables = (const struct table_kind *const[]){&segment_table, &object_table, NULL},
    .run = run,
};
