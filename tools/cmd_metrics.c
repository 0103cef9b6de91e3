/*
 * shmctl metrics: what a monitoring system is to know of all segments, as text.
 *
 * The format is OpenMetrics 1.0. The older text format of Prometheus, which node_exporter's
 * textfile collector reads, takes it as well: it knows neither the types info and stateset nor time
 * stamps, so there are none.
 */
#include "common.h"
#include "describe.h"
#include "shmctl.h"
#include "snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- families: a line for each number ---- */

#define IN_MEMORY 0x80000000u

struct metric {
    const char *name; /* without "shmkit_" and "_total" */
    const char *help;
    const char *unit; /* the end of the name; NULL: none */
    bool counts;      /* a counter: it only grows */
    uint32_t kind;    /* of objects that have it; 0: all; | IN_MEMORY: on etcd nothing counts it */
    /* False: this object, or segment, has none. */
    bool (*of_segment)(const struct shk_segment_info *, double *);
    bool (*of_object)(const struct shk_snapshot *, const struct shk_object_info *, double *);
};

#define OF_SEGMENT(name, value)                                        \
    static bool name(const struct shk_segment_info *s, double *result) \
    {                                                                  \
        *result = (double)(value);                                     \
        return true;                                                   \
    }
#define OF_OBJECT(name, value)                                                      \
    static bool name(const struct shk_snapshot *s, const struct shk_object_info *o, \
                     double *result)                                                \
    {                                                                               \
        (void)s;                                                                    \
        *result = (double)(value);                                                  \
        return true;                                                                \
    }

static bool is_readable(const struct shk_segment_info *s)
{
    return s->state == SHK_SEGMENT_GOOD || s->state == SHK_SEGMENT_RETIRED;
}

OF_SEGMENT(segment_good, s->state == SHK_SEGMENT_GOOD)
OF_SEGMENT(segment_resident, s->resident)
OF_SEGMENT(segment_members, s->members_alive)
OF_SEGMENT(segment_max_members, s->max_members)
OF_SEGMENT(segment_dead, s->members_dead)
OF_SEGMENT(segment_objects, s->objects)
OF_SEGMENT(segment_max_objects, s->max_objects)

OF_OBJECT(object_memory, o->size)
OF_OBJECT(object_users, o->users)
OF_OBJECT(object_waiters, o->waiters)
OF_OBJECT(holders_lost, o->holders_lost)
OF_OBJECT(waiters_reaped, o->waiters_buried)
OF_OBJECT(wakeups_passed_on, o->wakeups_passed_on)
OF_OBJECT(rebuilds, o->rebuilds)
OF_OBJECT(rwlock_readers, o->as.rwlock.readers)
OF_OBJECT(once_done, o->as.once.done)
OF_OBJECT(event_set, o->as.event.is_set)
OF_OBJECT(queue_items, o->as.queue.size)
OF_OBJECT(queue_high_water, o->as.queue.high_water)
OF_OBJECT(queue_puts, o->as.queue.puts)
OF_OBJECT(queue_gets, o->as.queue.gets)
OF_OBJECT(queue_shut_down, o->as.queue.shut_down)
OF_OBJECT(queue_leased, o->as.queue.leased)
OF_OBJECT(queue_came_back, o->as.queue.came_back)
OF_OBJECT(queue_delayed, o->as.queue.delayed)
OF_OBJECT(queue_longest_lease, o->as.queue.leased ? (double)o->as.queue.lease / 1e9 : 0)
OF_OBJECT(queue_lease_attempts, o->as.queue.leased ? o->as.queue.attempts : 0)
OF_OBJECT(semaphore_permits, o->as.semaphore.value)
OF_OBJECT(barrier_parties, o->as.barrier.parties)
OF_OBJECT(barrier_arrived, o->as.barrier.arrived)
OF_OBJECT(barrier_broken, o->as.barrier.broken)
OF_OBJECT(stream_samples, o->as.stream.position)
OF_OBJECT(value_versions, o->as.value.version)
OF_OBJECT(value_bytes, o->as.value.length)
OF_OBJECT(value_max_bytes, o->as.value.size)

static bool queue_capacity(const struct shk_snapshot *s, const struct shk_object_info *o,
                           double *result)
{
    (void)s;
    *result = (double)o->as.queue.capacity;
    return o->as.queue.capacity != 0;
}

static bool queue_bytes(const struct shk_snapshot *s, const struct shk_object_info *o,
                        double *result)
{
    (void)s;
    *result = (double)o->as.queue.bytes;
    return o->as.queue.at_length;
}

static bool queue_capacity_bytes(const struct shk_snapshot *s, const struct shk_object_info *o,
                                 double *result)
{
    (void)s;
    *result = (double)o->as.queue.capacity_bytes;
    return o->as.queue.capacity_bytes != 0;
}

/* ---- producers and consumers by role ---- */

static bool has_roles(const struct shk_object_info *o)
{
    return o->kind == SHK_KIND_QUEUE || o->kind == SHK_KIND_STREAM;
}

static bool has_gone(uint32_t line)
{
    return line == SHK_LINE_CLOSED || line == SHK_LINE_BROKEN;
}

#define OF_ROLES(name, value)                                                       \
    static bool name(const struct shk_snapshot *s, const struct shk_object_info *o, \
                     double *result)                                                \
    {                                                                               \
        (void)s;                                                                    \
        *result = (double)(value);                                                  \
        return has_roles(o);                                                        \
    }

OF_ROLES(producers, o->producers)
OF_ROLES(consumers, o->consumers)
OF_ROLES(producers_gone, has_gone(o->producer_line))
OF_ROLES(consumers_gone, has_gone(o->consumer_line))
OF_ROLES(producers_died, o->producer_line == SHK_LINE_BROKEN)
OF_ROLES(consumers_died, o->consumer_line == SHK_LINE_BROKEN)

/* Of those that wait on the object for that, or with SHK_WAITS_NOT for anything. */
static bool longest_wait(const struct shk_snapshot *s, const struct shk_object_info *o,
                         uint32_t waits_for, double *result)
{
    const struct shk_member_info **waiters;
    size_t n = list_waiters(s, o->name, &waiters);

    *result = 0;
    for (size_t i = 0; i < n; i++) {
        double seconds = (double)waiters[i]->waiting / 1e9;

        if ((waits_for == SHK_WAITS_NOT || waiters[i]->waits_for == waits_for) && seconds > *result)
            *result = seconds;
    }
    free(waiters);
    return true;
}

static bool object_wait(const struct shk_snapshot *s, const struct shk_object_info *o,
                        double *result)
{
    return longest_wait(s, o, SHK_WAITS_NOT, result);
}

static bool put_wait(const struct shk_snapshot *s, const struct shk_object_info *o, double *result)
{
    return longest_wait(s, o, SHK_WAITS_TO_PUT, result);
}

static bool get_wait(const struct shk_snapshot *s, const struct shk_object_info *o, double *result)
{
    return longest_wait(s, o, SHK_WAITS_TO_GET, result);
}

/* A lock, also of a condition; a rwlock, while a member writes. */
static bool has_holder(const struct shk_object_info *o)
{
    return o->kind == SHK_KIND_LOCK || o->kind == SHK_KIND_COND || o->kind == SHK_KIND_RWLOCK;
}

static bool lock_held(const struct shk_snapshot *s, const struct shk_object_info *o, double *result)
{
    (void)s;
    *result = o->kind == SHK_KIND_RWLOCK ? o->as.rwlock.writing : o->holder != 0;
    return has_holder(o);
}

static bool lock_held_for(const struct shk_snapshot *s, const struct shk_object_info *o,
                          double *result)
{
    (void)s;
    *result = (double)o->held / 1e9;
    return has_holder(o) && o->kind != SHK_KIND_RWLOCK && (o->held || !o->holder);
}

static bool lock_orphaned(const struct shk_snapshot *s, const struct shk_object_info *o,
                          double *result)
{
    (void)s;
    *result = o->kind == SHK_KIND_LOCK     ? o->as.lock.orphaned
              : o->kind == SHK_KIND_RWLOCK ? o->as.rwlock.orphaned
                                           : o->as.cond.orphaned;
    return has_holder(o);
}

static const struct metric metrics[] = {
    {"segment_good", "Whether the segment can be used: 1, or 0 if damaged, foreign or removed.",
     NULL, false, 0, segment_good, NULL},
    {"segment_resident_bytes", "Memory in use.", "bytes", false, IN_MEMORY, segment_resident, NULL},
    {"segment_members", "Living threads that are attached.", NULL, false, 0, segment_members, NULL},
    {"segment_max_members", "Threads that may be attached.", NULL, false, IN_MEMORY,
     segment_max_members, NULL},
    {"segment_dead_members", "Members that died attached and have not been cleared away.", NULL,
     false, IN_MEMORY, segment_dead, NULL},
    {"segment_objects", "Objects in the segment.", NULL, false, 0, segment_objects, NULL},
    {"segment_max_objects", "Objects that may be in the segment.", NULL, false, IN_MEMORY,
     segment_max_objects, NULL},

    {"object_memory_bytes", "Memory set aside for the object.", "bytes", false, IN_MEMORY, NULL,
     object_memory},
    {"object_users", "Members of processes that have the object open.", NULL, false, IN_MEMORY,
     NULL, object_users},
    {"object_waiters", "Members asleep on the object.", NULL, false, 0, NULL, object_waiters},
    {"object_longest_wait_seconds", "How long one of its waiters has been waiting.", "seconds",
     false, 0, NULL, object_wait},
    {"object_holders_lost", "Members that died holding it, or in the middle of a change.", NULL,
     true, IN_MEMORY, NULL, holders_lost},
    {"object_waiters_reaped", "Members that died while they waited for it.", NULL, true, IN_MEMORY,
     NULL, waiters_reaped},
    {"object_producers", "Processes that are producers of the queue or stream by role.", NULL,
     false, 0, NULL, producers},
    {"object_consumers", "Processes that are consumers of the queue or stream by role.", NULL,
     false, 0, NULL, consumers},
    {"object_producers_gone", "Whether there were producers by role, and the last has gone.", NULL,
     false, 0, NULL, producers_gone},
    {"object_consumers_gone", "Whether there were consumers by role, and the last has gone.", NULL,
     false, 0, NULL, consumers_gone},
    {"object_producers_died", "Whether they have gone, and one of them died.", NULL, false, 0, NULL,
     producers_died},
    {"object_consumers_died", "Whether they have gone, and one of them died.", NULL, false, 0, NULL,
     consumers_died},
    {"object_wakeups_passed_on", "Wake-ups of dead waiters that went to the next.", NULL, true,
     IN_MEMORY, NULL, wakeups_passed_on},
    {"object_rebuilds", "Rebuilds of what a death left half done.", NULL, true, IN_MEMORY, NULL,
     rebuilds},

    {"lock_held", "Whether a member holds the lock; of a rwlock: to write.", NULL, false, 0, NULL,
     lock_held},
    {"lock_held_seconds", "How long its holder has had it, where that is noted.", "seconds", false,
     0, NULL, lock_held_for},
    {"lock_orphaned", "Whether a holder died and no later holder has been told.", NULL, false, 0,
     NULL, lock_orphaned},
    {"rwlock_readers", "Members that share the rwlock.", NULL, false, SHK_KIND_RWLOCK, NULL,
     rwlock_readers},
    {"once_done", "Whether it is done.", NULL, false, SHK_KIND_ONCE, NULL, once_done},
    {"event_set", "Whether the event is set.", NULL, false, SHK_KIND_EVENT, NULL, event_set},
    {"queue_items", "Items that wait in the queue.", NULL, false, SHK_KIND_QUEUE, NULL,
     queue_items},
    {"queue_capacity", "Items that the queue holds at most; of a queue with a limit.", NULL, false,
     SHK_KIND_QUEUE, NULL, queue_capacity},
    {"queue_high_water", "The most items that were seen in the queue.", NULL, false,
     SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_high_water},
    {"queue_puts", "Items put.", NULL, true, SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_puts},
    {"queue_gets", "Items taken.", NULL, true, SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_gets},
    {"queue_put_wait_seconds", "How long a producer has been waiting.", "seconds", false,
     SHK_KIND_QUEUE, NULL, put_wait},
    {"queue_get_wait_seconds", "How long a consumer has been waiting.", "seconds", false,
     SHK_KIND_QUEUE, NULL, get_wait},
    {"queue_shut_down", "Whether the queue is shut down.", NULL, false, SHK_KIND_QUEUE, NULL,
     queue_shut_down},
    {"queue_bytes", "Bytes of the items that wait, where items are kept at their length.", "bytes",
     false, SHK_KIND_QUEUE, NULL, queue_bytes},
    {"queue_capacity_bytes", "Bytes at which a put waits; of a queue with such a limit.", "bytes",
     false, SHK_KIND_QUEUE, NULL, queue_capacity_bytes},
    {"queue_leased", "Items that are leased and not acknowledged.", NULL, false,
     SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_leased},
    {"queue_came_back", "Items that wait to be handed out once more.", NULL, false,
     SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_came_back},
    {"queue_delayed", "Of these, items whose delay is not over.", NULL, false,
     SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_delayed},
    {"queue_longest_lease_seconds", "How long an item has been leased; 0: none is.", "seconds",
     false, SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_longest_lease},
    {"queue_longest_lease_attempts", "How often that item was handed out, 1: once; 0: none is.",
     NULL, false, SHK_KIND_QUEUE | IN_MEMORY, NULL, queue_lease_attempts},
    {"semaphore_permits", "Permits that are free.", NULL, false, SHK_KIND_SEMAPHORE, NULL,
     semaphore_permits},
    {"barrier_parties", "How many the barrier is for.", NULL, false, SHK_KIND_BARRIER, NULL,
     barrier_parties},
    {"barrier_arrived", "How many have come to the barrier.", NULL, false, SHK_KIND_BARRIER, NULL,
     barrier_arrived},
    {"barrier_broken", "Whether the barrier is broken.", NULL, false, SHK_KIND_BARRIER, NULL,
     barrier_broken},
    {"stream_samples", "Samples appended.", NULL, true, SHK_KIND_STREAM, NULL, stream_samples},
    {"value_versions", "Versions that were set.", NULL, true, SHK_KIND_VALUE, NULL, value_versions},
    {"value_bytes", "Bytes of the newest version.", "bytes", false, SHK_KIND_VALUE, NULL,
     value_bytes},
    {"value_max_bytes", "Bytes that the value has room for.", "bytes", false, SHK_KIND_VALUE, NULL,
     value_max_bytes},
};

/* ---- writing ---- */

struct reading {
    struct shk_segment_info *segments; /* also those that cannot be read */
    size_t n;
    struct shk_snapshot **snapshots;
};

static void write_label(FILE *to, const char *before, const char *name, const char *value)
{
    fprintf(to, "%s%s=\"", before, name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            fputc('\\', to);
        fputc(*value, to);
    }
    fputc('"', to);
}

static void write_sample(FILE *to, const struct metric *m, const char *segment, const char *kind,
                         const char *object, double value)
{
    fprintf(to, "shmkit_%s%s", m->name, m->counts ? "_total" : "");
    write_label(to, "{", "segment", segment);
    if (object) {
        write_label(to, ",", "object", object);
        write_label(to, ",", "kind", kind);
    }
    fprintf(to, "} %.15g\n", value);
}

static void write_objects(FILE *to, const struct metric *m, const struct shk_snapshot *snapshot)
{
    const struct shk_object_info *o;
    double value;

    if (m->kind & IN_MEMORY && shk_snapshot_segment(snapshot)->revision != 0)
        return;
    for (size_t i = 0; (o = shk_snapshot_object(snapshot, i)); i++) {
        if (((m->kind & ~IN_MEMORY) == 0 || (m->kind & ~IN_MEMORY) == o->kind) &&
            m->of_object(snapshot, o, &value))
            write_sample(to, m, shk_snapshot_segment(snapshot)->name, kind_name(o->kind), o->name,
                         value);
    }
}

/* A family: its description, then its samples, and nothing of another in between. */
static void write_metric(FILE *to, const struct metric *m, const struct reading *r)
{
    double value;

    fprintf(to, "# TYPE shmkit_%s %s\n", m->name, m->counts ? "counter" : "gauge");
    if (m->unit)
        fprintf(to, "# UNIT shmkit_%s %s\n", m->name, m->unit);
    fprintf(to, "# HELP shmkit_%s %s\n", m->name, m->help);
    for (size_t i = 0; m->of_segment && i < r->n; i++) {
        if (m->kind & IN_MEMORY && r->segments[i].revision != 0)
            continue;
        if ((m->of_segment == segment_good || is_readable(&r->segments[i])) &&
            m->of_segment(&r->segments[i], &value))
            write_sample(to, m, r->segments[i].name, NULL, NULL, value);
    }
    for (size_t i = 0; m->of_object && r->snapshots[i]; i++)
        write_objects(to, m, r->snapshots[i]);
}

static void write_all(FILE *to, const struct reading *r)
{
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++)
        write_metric(to, &metrics[i], r);
    fputs("# EOF\n", to);
}

/* ---- */

/* With a segment's name, that one alone. Returns an exit status; to be given back in any case. */
static int take_reading(const char *operand, struct reading *r)
{
    ssize_t n = 0;
    int status;

    r->snapshots = take_snapshots(operand, &status);
    if (status == STATUS_DONE && (!operand || is_all_of_etcd(operand))) {
        n = shk_segment_list(operand ? SHK_LIST_ETCD : 0, &r->segments);
        status = n < 0 ? failed("segments", (int)n) : STATUS_DONE;
    } else if (status == STATUS_DONE) {
        r->segments = allocate(1, sizeof(*r->segments));
        *r->segments = *shk_snapshot_segment(r->snapshots[0]);
        n = 1;
    }
    r->n = (size_t)(n > 0 ? n : 0);
    return status;
}

static void drop_reading(struct reading *r)
{
    free(r->segments);
    drop_snapshots(r->snapshots);
}

static int failed_to_write(const char *file)
{
    complain(file, "%s", strerror(errno));
    return STATUS_FAILED;
}

/* As a program that creates a file would leave it: mkostemp(3) lets no other user read it. */
static mode_t usual_mode(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return 0666 & ~mask;
}

/*
 * A reader finds the file as it was or as it is, and never a part. Killed before the rename: a
 * file with a dot in front is left, which node_exporter does not read.
 */
static int replace_file(const char *file, const struct reading *r)
{
    const char *slash = strrchr(file, '/');
    int directory = slash ? (int)(slash - file) + 1 : 0;
    char *other = print_to_memory("%.*s.%s.XXXXXX", directory, file, file + directory);
    int fd = mkostemp(other, O_CLOEXEC), status = STATUS_DONE;
    FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
    bool written;

    if (!to) {
        status = failed_to_write(file);
        free(other);
        return status;
    }
    write_all(to, r);
    written = fchmod(fd, usual_mode()) == 0 && !ferror(to);
    if (fclose(to) != 0 || !written || rename(other, file) != 0) {
        status = failed_to_write(file);
        unlink(other);
    }
    free(other);
    return status;
}

static int report(const char *operand, const char *file)
{
    struct reading r = {0};
    int status = take_reading(operand, &r);

    if (status == STATUS_DONE && file)
        status = replace_file(file, &r);
    else if (status == STATUS_DONE)
        write_all(stdout, &r);
    drop_reading(&r);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *file = NULL;
    int64_t interval = 0, next;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'o')
            file = optarg;
        else if (key == 'i')
            interval = parse_timeout(optarg);
    }
    check_operands(argc, 0, 1);
    if (interval && !file)
        usage_error("--interval is for --output: the file is written again and again");
    if (interval && interval < SHK_MS(10))
        usage_error("the interval is 10ms at least");
    if (!interval)
        return report(argv[optind], file);
    catch_interrupts();
    next = monotonic_now();
    do {
        status = report(argv[optind], file);
        next += interval;
    } while (status == STATUS_DONE && sleep_until(next));
    return status;
}

static const struct option_row options[] = {
    {'o', "output", "FILE", "replace this file as a whole, and print nothing"},
    {'i', "interval", "TIME", "with --output: again and again, so far apart"},
    {0},
};

const struct command cmd_metrics = {
    .name = "metrics",
    .arguments = "[OPTION...] [SEGMENT | etcd:]",
    .summary = "print figures for a monitoring system (OpenMetrics)",
    .notes = "For node_exporter's textfile collector let --output be a file *.prom in its\n"
             "directory. With etcd: the segments on the servers that ETCDCTL_ENDPOINTS names.",
    .options = options,
    .run = run,
};
