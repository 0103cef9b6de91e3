/* shmctl hz: how fast items or samples come and go. */
#include "common.h"
#include "print.h"
#include "rates.h"
#include "shmctl.h"
#include "snapshots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RATE (COLUMN_RIGHT | COLUMN_NUMBER)

static const struct column columns[] = {
    {"PUT-RATE", "items put, or samples appended, a second since the last line", RATE},
    {"PUT-MEAN", "the same over the window", RATE},
    {"PUT-MIN", "the lowest of the window", RATE},
    {"PUT-MAX", "the highest of the window", RATE},
    {"GET-RATE", "items taken a second since the last line", RATE},
    {"GET-MEAN", "the same over the window", RATE},
    {"GET-MIN", "the lowest of the window", RATE},
    {"GET-MAX", "the highest of the window", RATE},
    {"WINDOW", "how many lines the window is over", RATE},
    {0},
};

static const struct table_kind rate_table = {"rates", columns};

struct measurement {
    const struct path *path;
    struct table_style style;
    int64_t interval;
    uint64_t count;      /* of lines; 0: until it is interrupted */
    size_t room;         /* of the window, in intervals */
    size_t n;            /* taken so far */
    struct moves *moves; /* room + 1 of them, around and around */
    struct table *all;   /* for JSON, which is one document */
    struct shk_snapshot *snapshot;
    int64_t when; /* … when it was asked for */
    bool is_over; /* a signal has come first */
};

/* The i-th last measurement. */
static const struct moves *earlier(const struct measurement *m, size_t i)
{
    return &m->moves[(m->n - 1 - i) % (m->room + 1)];
}

static int look(void *measurement)
{
    struct measurement *m = measurement;

    m->when = monotonic_now();
    return shk_snapshot_open(m->path->segment, &m->snapshot);
}

/* STATUS_DONE; or that is the end. */
static int read_counters(struct measurement *m)
{
    const struct look one = {.look = look, .arg = m, .outlives_signals = m->style.json};
    const struct shk_object_info *object;
    struct moves moves;
    int r = look_until_it_answers(m->path->text, m->interval, &one);

    m->is_over = r == -EINTR;
    if (r < 0)
        return m->is_over ? STATUS_DONE : failed(m->path->text, r);
    object = shk_snapshot_find_object(m->snapshot, m->path->object);
    moves = object ? moves_of(m->snapshot, object, m->when) : (struct moves){0};
    shk_snapshot_close(m->snapshot);
    if (!object) {
        complain(m->path->text, "there is no object %s in segment %s%s", m->path->object,
                 is_on_etcd(m->path->segment) ? "" : "/", m->path->segment);
        return STATUS_ABSENT;
    }
    if (!moves.has_puts) {
        complain(m->path->text, is_on_etcd(m->path->segment)
                                    ? "it is no stream; on etcd a queue has no rate, since its "
                                      "items are counted nowhere: 'shmctl watch' shows how many "
                                      "it has"
                                    : "it is no queue and no stream, and has no rate");
        return STATUS_FAILED;
    }
    if (m->n &&
        (moves.segment != earlier(m, 0)->segment || moves.object != earlier(m, 0)->object)) {
        complain(m->path->text, "it has been removed, and another one has its name");
        return STATUS_ABSENT;
    }
    m->moves[m->n++ % (m->room + 1)] = moves;
    return STATUS_DONE;
}

/* Numbers that a person watches stay where they are. */
static void set(const struct measurement *m, struct table *t, const char *column, double value)
{
    bool pad = !m->style.json && !m->style.raw;

    if (value >= 0)
        table_set(t, column, "%*.1f", pad ? 8 : 0, value);
}

static void add_line(const struct measurement *m, struct table *t)
{
    size_t window = m->n - 1 < m->room ? m->n - 1 : m->room;
    struct rates now = rates_between(earlier(m, 1), earlier(m, 0));
    struct rates mean = rates_between(earlier(m, window), earlier(m, 0));
    struct rates low = now, high = now;

    for (size_t i = 1; i < window; i++) {
        struct rates r = rates_between(earlier(m, i + 1), earlier(m, i));

        low.put = r.put < low.put ? r.put : low.put;
        low.get = r.get < low.get ? r.get : low.get;
        high.put = r.put > high.put ? r.put : high.put;
        high.get = r.get > high.get ? r.get : high.get;
    }
    table_row(t);
    set(m, t, "PUT-RATE", now.put);
    set(m, t, "PUT-MEAN", mean.put);
    set(m, t, "PUT-MIN", low.put);
    set(m, t, "PUT-MAX", high.put);
    set(m, t, "GET-RATE", now.get);
    set(m, t, "GET-MEAN", mean.get);
    set(m, t, "GET-MIN", low.get);
    set(m, t, "GET-MAX", high.get);
    table_set(t, "WINDOW", "%zu", window);
}

static struct table *new_table(const struct measurement *m, const struct table_style *style)
{
    return table_new(&rate_table,
                     earlier(m, 0)->has_gets ? "PUT-RATE,PUT-MEAN,PUT-MIN,PUT-MAX,GET-RATE,"
                                               "GET-MEAN,GET-MIN,GET-MAX,WINDOW"
                                             : "PUT-RATE,PUT-MEAN,PUT-MIN,PUT-MAX,WINDOW",
                     style);
}

/* Print the line, or keep it for the end if it is JSON. */
static int tell(struct measurement *m)
{
    struct table_style style = m->style;
    struct table *t;
    int status;

    if (m->all) {
        add_line(m, m->all);
        return STATUS_DONE;
    }
    style.noheadings = style.noheadings || m->n > 2;
    t = new_table(m, &style);
    add_line(m, t);
    status = table_print(t);
    table_free(t);
    if (fflush(stdout) != 0)
        status = STATUS_FAILED; /* finish() says why */
    return status;
}

static int measure(struct measurement *m)
{
    int status = read_counters(m);

    if (status != STATUS_DONE || m->is_over)
        return status;
    if (m->style.json)
        m->all = new_table(m, &m->style);
    for (uint64_t i = 0; status == STATUS_DONE && (!m->count || i < m->count); i++) {
        if (!sleep_until(earlier(m, 0)->when + m->interval))
            break;
        status = read_counters(m);
        if (m->is_over)
            break;
        if (status == STATUS_DONE)
            status = tell(m);
    }
    if (m->all && status == STATUS_DONE)
        status = table_print(m->all);
    table_free(m->all);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct measurement m = {.interval = SHK_SEC(1), .room = 10};
    struct path path;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'i')
            m.interval = parse_timeout(optarg);
        else if (key == 'c')
            m.count = parse_number(optarg, UINT32_MAX);
        else if (key == OPTION_PRIVATE)
            m.room = parse_number(optarg, 100000);
        else
            table_option(&m.style, key);
    }
    check_operands(argc, 1, 1);
    if (m.interval < SHK_MS(1) || m.room < 1)
        usage_error("the interval is 1ms at least, the window 1");
    parse_object_path(argv[optind], &path);
    m.path = &path;
    m.moves = allocate(m.room + 1, sizeof(*m.moves));
    catch_interrupts();
    status = measure(&m);
    free(m.moves);
    return status;
}

static const struct option_row options[] = {
    {'i', "interval", "TIME", "between two lines (1s)"},
    {OPTION_PRIVATE, "window", "N", "mean, lowest and highest are of the last N lines (10)"},
    {'c', "count", "N", "end after N lines; otherwise Ctrl-C ends it"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_hz = {
    .name = "hz",
    .arguments = "[OPTION...] QUEUE|STREAM",
    .summary = "tell how many items or samples a second come and go",
    .notes = "It reads the counters from outside, and disturbs no process. JSON is printed at\n"
             "the end. While no majority of etcd answers it says so, and goes on asking.",
    .options = options,
    .tables = (const struct table_kind *const[]){&rate_table, NULL},
    .run = run,
};
