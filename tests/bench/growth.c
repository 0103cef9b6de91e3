/* W9: what more of everything costs: segments, objects in one, members of one. */
#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What there are many of, and what is done meanwhile, over and over. */
struct growth {
    void (*prepare)(unsigned n);
    void (*once)(void);
    const char *command[3]; /* instead: shmctl VERB [SEGMENT], the last word is filled in */
};

static struct shk_segment *segment;
static struct shk_cond *cond;
static struct shk_queue *queue;

static const char *numbered(unsigned i)
{
    static char name[80];

    snprintf(name, sizeof(name), "%s-%u", unique_name(), i);
    return name;
}

static void many_segments(unsigned n)
{
    const struct shk_segment_options small = {
        .size = 256 << 10, .max_members = 8, .max_objects = 8};
    struct statvfs room;

    if (statvfs("/dev/shm", &room) < 0 || (double)room.f_bavail * (double)room.f_frsize < 256e3 * n)
        give_up("there is not room enough in /dev/shm");
    for (unsigned i = 0; i < n; i++) {
        struct shk_segment *made;
        must(shk_segment_open(numbered(i), SHK_CREATE, &small, &made));
        must(shk_segment_close(made));
    }
}

static void open_segment(void)
{
    struct shk_segment *opened;

    must(shk_segment_open(numbered(0), 0, NULL, &opened));
    must(shk_segment_close(opened));
}

/* The segment with what is worked on, and n objects altogether. */
static void many_objects(unsigned n)
{
    char name[20];

    segment = common_segment(&(struct shk_segment_options){.max_objects = n + 8});
    must(shk_queue_open(segment, "queue", SHK_CREATE,
                        &(struct shk_queue_options){.capacity = 4, .item_size = 8}, &queue));
    must(shk_cond_open(segment, "cond", SHK_CREATE, NULL, &cond));
    for (unsigned i = 0; i < n; i++) {
        struct shk_event *event;
        snprintf(name, sizeof(name), "event%u", i);
        must(shk_event_open(segment, name, SHK_CREATE, NULL, &event));
        must(shk_event_close(event));
    }
}

static void open_object(void)
{
    struct shk_event *event;

    must(shk_event_open(segment, "event0", 0, NULL, &event));
    must(shk_event_close(event));
}

static void put_and_get(void)
{
    uint64_t item = 1;

    must(shk_queue_put(queue, &item, sizeof(item), SHK_FOREVER));
    must(shk_queue_get(queue, &item, sizeof(item), SHK_FOREVER));
}

static void notify(void)
{
    must(shk_cond_acquire(cond, SHK_FOREVER));
    must(shk_cond_notify(cond, 1));
    must(shk_cond_release(cond));
}

/* ---- Members are threads ---- */

static pthread_barrier_t all_joined;

static void *join_and_stay(void *argument)
{
    int r = shk_set_member_name(segment, "one of many");

    pthread_barrier_wait(&all_joined);
    while (r == 0)
        pause();
    return argument;
}

static void many_members(unsigned n)
{
    pthread_attr_t attributes;
    pthread_t thread;

    segment = common_segment(&(struct shk_segment_options){.max_members = n + 8});
    must(shk_queue_open(segment, "queue", SHK_CREATE,
                        &(struct shk_queue_options){.capacity = 4, .item_size = 8}, &queue));
    must(shk_cond_open(segment, "cond", SHK_CREATE, NULL, &cond));
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_barrier_init(&all_joined, NULL, n + 1);
    for (unsigned i = 0; i < n; i++) {
        int r = pthread_create(&thread, &attributes, join_and_stay, NULL);
        if (r != 0)
            give_up("thread %u of %u: %s", i + 1, n, strerror(r));
    }
    pthread_barrier_wait(&all_joined);
    /* They all still run a little, on the CPU that is measured, before they sleep. */
    nanosleep(&(struct timespec){.tv_sec = n / 10000, .tv_nsec = 100000L * (n % 10000)}, NULL);
}

/* ---- One thread in 100 segments, while there are many more ---- */

#define JOINED 100

static void *join_and_leave(void *argument)
{
    struct shk_segment *opened[JOINED];
    int r = 0;

    for (unsigned i = 0; i < JOINED && r == 0; i++) {
        char name[80];
        snprintf(name, sizeof(name), "%s-%u", unique_name(), i);
        r = shk_segment_open(name, 0, NULL, &opened[i]);
    }
    if (r < 0)
        give_up("%s", shk_last_error());
    for (unsigned i = 0; i < JOINED; i++)
        must(shk_segment_close(opened[i]));
    return argument;
}

static void join_hundred(void)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, join_and_leave, NULL);

    if (r != 0 || pthread_join(thread, NULL) != 0)
        give_up("pthread_create: %s", strerror(r));
}

/* ---- shmctl ---- */

static void run_shmctl(const char *const *words)
{
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        execlp("shmctl", "shmctl", words[0], words[1], (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        give_up("shmctl %s has failed: is it in PATH?", words[0]);
}

static void grower(void *argument, unsigned role)
{
    const struct growth *growth = argument;
    const char *words[2] = {growth->command[0], NULL};
    unsigned batch = growth->command[0] ? 1 : 20;
    uint64_t done = 0;
    int64_t begin;

    growth->prepare((unsigned)stage->role[role].count);
    if (growth->command[0]) {
        int null = open("/dev/null", O_WRONLY);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
            give_up("/dev/null: %s", strerror(errno));
        words[1] = growth->command[1] ? unique_name() : NULL;
    }
    stage_ready();
    begin = now();
    do {
        for (unsigned i = 0; i < batch; i++) {
            if (growth->command[0])
                run_shmctl(words);
            else
                growth->once();
        }
        done += batch;
    } while (!stopped());
    stage->role[role].figure[0] = (double)(now() - begin) / (double)done;
}

/* The process that made them has ended: only the names are left. */
static void remove_all(void *argument)
{
    const char *prefix = unique_name();
    struct dirent *entry;
    DIR *directory = opendir("/dev/shm");

    (void)argument;
    while (directory && (entry = readdir(directory))) {
        size_t length = strlen(prefix);
        if (strncmp(entry->d_name, prefix, length) == 0 &&
            (entry->d_name[length] == '-' || entry->d_name[length] == '\0'))
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
}

/*
 * How many of everything there are is what takes turns, so that what else the machine does falls on
 * few and on many alike.
 */
struct many {
    const struct growth *growth;
    unsigned n;
};

static bool measure_growth(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    const struct many *many = subject->what;

    team_start();
    stage->role[0].count = many->n;
    team_add(grower, (void *)many->growth, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    in_child(remove_all, NULL);
    return well;
}

void run_w9(void)
{
    static const struct growth open_it = {.prepare = many_segments, .once = open_segment},
                               hundred = {.prepare = many_segments, .once = join_hundred},
                               list = {.prepare = many_segments, .command = {"ls"}},
                               object = {.prepare = many_objects, .once = open_object},
                               put_objects = {.prepare = many_objects, .once = put_and_get},
                               notify_objects = {.prepare = many_objects, .once = notify},
                               list_objects = {.prepare = many_objects,
                                               .command = {"ls", "segment"}},
                               put_members = {.prepare = many_members, .once = put_and_get},
                               notify_members = {.prepare = many_members, .once = notify},
                               members = {.prepare = many_members, .command = {"ps", "segment"}};
    static const struct unit each = {.name = "us", .scale = 1e3};
    static const struct {
        const char *name, *of;
        const struct growth *growth;
        unsigned least;
    } rows[] = {
        {"open segment", "segment", &open_it, 1},
        {"thread joins 100", "segment", &hundred, JOINED},
        {"shmctl ls", "segment", &list, 1},
        {"open object", "object", &object, 1},
        {"put, get, beside objects", "object", &put_objects, 1},
        {"notify, beside objects", "object", &notify_objects, 1},
        {"shmctl ls SEGMENT", "object", &list_objects, 1},
        {"put, get, beside members", "member", &put_members, 1},
        {"notify, beside members", "member", &notify_members, 1},
        {"shmctl ps", "member", &members, 1},
    };
    static const unsigned counts[] = {1, 100, 10000};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W9",
                                  .row = rows[i].name,
                                  .place = "alone",
                                  .unit = &each,
                                  .measure = measure_growth,
                                  .pinned = true};
        /* 10,000 threads take seconds to begin, and to end: once is enough for such rows */
        if (rows[i].growth->prepare == many_members)
            contest.rounds = 1;
        struct many many[COUNT(counts)];
        struct subject subjects[COUNT(counts)];
        char names[COUNT(counts)][40];
        size_t number = 0;
        for (size_t k = 0; k < COUNT(counts); k++) {
            if (counts[k] < rows[i].least || (bench.smoke && counts[k] > 100))
                continue;
            snprintf(names[number], sizeof(names[number]), "%u %s%s", counts[k], rows[i].of,
                     counts[k] == 1 ? "" : "s");
            many[number] = (struct many){rows[i].growth, counts[k]};
            /* the fewest are what the others are compared with */
            subjects[number] =
                (struct subject){names[number], number == 0 ? OURS | LIMIT : OURS, &many[number]};
            number++;
        }
        contest_run(&contest, subjects, number);
    }
}
