/* shmctl show: everything about one segment or object, a line each. */
#include "common.h"
#include "print.h"
#include "rates.h"
#include "rows.h"
#include "shmctl.h"

#include <stdlib.h>
#include <string.h>

#define COMMON  "PATH,KIND,STATE,SIZE,SERIAL,CREATED,CREATOR,USERS,WAITERS,WAITING,"
#define REPAIRS ",HOLDERS-LOST,WAITERS-BURIED,WAKEUPS-PASSED-ON,REBUILDS"

static const char *usual_columns(uint32_t kind)
{
    switch (kind) {
    case SHK_KIND_LOCK:
        return COMMON "HOLDER,HELD,DEPTH,RECURSIVE,ORPHANED,DEADLOCK-CHECK" REPAIRS;
    case SHK_KIND_COND:
        return COMMON "TYPE,LOCK,HOLDER,HELD,DEPTH,RECURSIVE,ORPHANED" REPAIRS;
    case SHK_KIND_EVENT:
        return COMMON "SET" REPAIRS;
    case SHK_KIND_QUEUE:
        return COMMON
            "ORDER,CAPACITY,CAPACITY-BYTES,ITEM-SIZE,ITEMS,BYTES,FILL,HIGH-WATER,PUTS,GETS,"
            "LEASED,DELAYED,PUT-RATE,GET-RATE,"
            "SHUT-DOWN" REPAIRS;
    case SHK_KIND_SEMAPHORE:
        return COMMON "VALUE,MAX,OWNERS,CAME-BACK" REPAIRS;
    case SHK_KIND_BARRIER:
        return COMMON "PARTIES,ARRIVED,BROKEN" REPAIRS;
    case SHK_KIND_STREAM:
        return COMMON "SAMPLE-SIZE,CHANNELS,RATE,STAMPED,HISTORY,POSITION,PUT-RATE" REPAIRS;
    case SHK_KIND_RWLOCK:
        return COMMON "HOLDER,WRITING,READERS,ORPHANED,DEADLOCK-CHECK" REPAIRS;
    case SHK_KIND_ONCE:
        return COMMON "HOLDER,DONE,ORPHANED" REPAIRS;
    case SHK_KIND_VALUE:
        return COMMON "DATA-SIZE,VERSION,LENGTH" REPAIRS;
    case SHK_KIND_REGION:
        return COMMON "DATA-SIZE,ALIGN";
    }
    return COMMON "HOLDER" REPAIRS;
}

/* What is not counted there, or has no meaning; each between commas. */
#define NOT_ON_ETCD                                                               \
    ",SIZE,USERS,DEPTH,DEADLOCK-CHECK,CAPACITY-BYTES,BYTES,HIGH-WATER,PUTS,GETS," \
    "LEASED,DELAYED,PUT-RATE,GET-RATE,CAME-BACK,HOLDERS-LOST,WAITERS-BURIED,"     \
    "WAKEUPS-PASSED-ON,REBUILDS,"

/* The columns that an object on etcd has, which the caller frees. */
static char *columns_on_etcd(const char *usual)
{
    char *left = print_to_memory("%s", ""), *more, *item;

    for (size_t length; *usual; usual += length + (usual[length] == ',')) {
        length = strcspn(usual, ",");
        item = print_to_memory(",%.*s,", (int)length, usual);
        if (!strstr(NOT_ON_ETCD, item)) {
            more = print_to_memory("%s%s%.*s", left, *left ? "," : "", (int)length, usual);
            free(left);
            left = more;
        }
        free(item);
    }
    return left;
}

static const char *const segment_columns =
    "NAME,STATE,PROBLEM,OWNER,GROUP,MODE,SIZE,RESIDENT,INODE,LAYOUT,ID,CREATED,CREATOR,NAMESPACE,"
    "MEMBERS,DEAD,MAX-MEMBERS,OBJECTS,MAX-OBJECTS";

/* Before and after an interval. An object that was not there before has no rates. */
static int show(const struct path *path, const struct shk_snapshot *before, int64_t then,
                const struct shk_snapshot *snapshot, int64_t now, const struct table_style *style)
{
    const struct shk_object_info *was =
        before ? shk_snapshot_find_object(before, path->object) : NULL;
    const struct shk_object_info *object = NULL;
    bool on_etcd = shk_snapshot_segment(snapshot)->revision != 0;
    char *columns;
    struct table *t;
    int status;

    if (!*path->object) {
        t = table_new(&segment_table,
                      on_etcd ? "NAME,STATE,PROBLEM,ID,CREATED,CREATOR,REVISION,MEMBERS,OBJECTS"
                              : segment_columns,
                      style);
        add_segment(t, shk_snapshot_segment(snapshot));
    } else {
        object = shk_snapshot_find_object(snapshot, path->object);
        if (!object) {
            complain(path->text, "there is no object %s in segment %s%s", path->object,
                     on_etcd ? "" : "/", path->segment);
            return STATUS_ABSENT;
        }
        columns = on_etcd ? columns_on_etcd(usual_columns(object->kind))
                          : print_to_memory("%s", usual_columns(object->kind));
        t = table_new(&object_table, columns, style);
        free(columns);
        add_object(t, snapshot, object);
        if (was) {
            struct moves first = moves_of(before, was, then),
                         second = moves_of(snapshot, object, now);
            struct rates rates = rates_between(&first, &second);

            add_rates(t, &rates);
        }
    }
    status = table_print_vertical(t);
    table_free(t);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct shk_snapshot *before = NULL, *snapshot = NULL;
    int64_t interval = 0, then = 0, now;
    struct path path;
    int status;
    int key;
    int r = 0;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'i')
            interval = parse_timeout(optarg);
        else
            table_option(&style, key);
    }
    check_operands(argc, 1, 1);
    if (interval < 0)
        usage_error("the interval is negative");
    parse_path(argv[optind], &path);
    if (interval) {
        then = monotonic_now();
        r = shk_snapshot_open(path.segment, &before);
        if (r == 0)
            sleep_until(then + interval);
    }
    now = monotonic_now();
    if (r == 0)
        r = shk_snapshot_open(path.segment, &snapshot);
    status = r < 0 ? failed(path.text, r) : show(&path, before, then, snapshot, now, &style);
    shk_snapshot_close(before);
    shk_snapshot_close(snapshot);
    return status;
}

static const struct option_row options[] = {
    {'i', "interval", "TIME", "read it twice, so long apart, and show the rates, too"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_show = {
    .name = "show",
    .arguments = "[OPTION...] PATH",
    .summary = "show everything about a segment or an object",
    .options = options,
    .tables = (const struct table_kind *const[]){&segment_table, &object_table, NULL},
    .run = run,
};
