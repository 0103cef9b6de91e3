#include "process.h"
#include "common.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* The beginning of a file, zero-terminated. Returns false if there is none, or nothing in it. */
static bool read_file(const char *path, char *buffer, size_t size)
{
    FILE *stream = fopen(path, "re");
    size_t n;

    if (!stream)
        return false;
    n = fread(buffer, 1, size - 1, stream);
    fclose(stream);
    buffer[n] = '\0';
    return n > 0;
}

/* A file of /proc, by the process or by one thread of it. */
static bool read_of(int32_t pid, int32_t tid, const char *file, char *buffer, size_t size)
{
    char path[96];

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/task/%" PRId32 "/%s", pid, tid, file);
    return read_file(path, buffer, size);
}

/* The number after "key:" or "key   :" in such a file. */
static bool find_number(const char *text, const char *key, double *number)
{
    const char *at = text;

    while ((at = strstr(at, key))) {
        at += strlen(key);
        if (sscanf(at, " : %lf", number) == 1 || sscanf(at, ":%lf", number) == 1)
            return true;
    }
    return false;
}

static enum activity activity_by_letter(char letter)
{
    switch (letter) {
    case 'R':
        return RUNS;
    case 'S':
    case 'I':
        return ASLEEP;
    case 'D':
        return IN_DISK_SLEEP;
    case 'T':
        return IS_STOPPED;
    case 't':
        return IS_TRACED;
    case 'Z':
    case 'X':
    case 'x':
        return HAS_ENDED;
    }
    return ACTIVITY_UNKNOWN;
}

/* From /proc/PID/stat: proc(5). */
static bool parse_stat(const char *line, struct process *p)
{
    const char *name = strchr(line, '(');
    const char *after_name = strrchr(line, ')');
    char letter;

    if (!name || !after_name ||
        sscanf(after_name + 1,
               " %c %" SCNd32 " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
               &letter, &p->parent, &p->threads) != 3)
        return false;
    p->activity = activity_by_letter(letter);
    snprintf(p->command, sizeof(p->command), "%.*s", (int)(after_name - name - 1), name + 1);
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *p = a;
    const struct process *q = b;

    return (p->pid > q->pid) - (p->pid < q->pid);
}

struct processes list_processes(void)
{
    struct processes all = {0};
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    size_t room = 0;
    char line[1024];

    while (directory && (entry = readdir(directory))) {
        struct process p = {.pid = (int32_t)strtol(entry->d_name, NULL, 10)};

        if (!isdigit((unsigned char)*entry->d_name) ||
            !read_of(p.pid, p.pid, "stat", line, sizeof(line)) || !parse_stat(line, &p))
            continue;
        if (all.n == room) {
            struct process *more = allocate(room = room ? 2 * room : 64, sizeof(*more));

            if (all.n)
                memcpy(more, all.list, all.n * sizeof(*more));
            free(all.list);
            all.list = more;
        }
        all.list[all.n++] = p;
    }
    if (directory)
        closedir(directory);
    if (all.n)
        qsort(all.list, all.n, sizeof(*all.list), by_pid);
    return all;
}

void drop_processes(struct processes *all)
{
    free(all->list);
}

const struct process *find_process(const struct processes *all, int32_t pid)
{
    const struct process key = {.pid = pid};

    return all->n ? bsearch(&key, all->list, all->n, sizeof(key), by_pid) : NULL;
}

/*
 * A control group is frozen with all its processes: by the group's own file (cgroup_freezer: of
 * version 1, where a frozen process seems to be in disk sleep; cgroup.freeze of version 2, where it
 * seems to sleep). Where version 1 is mounted, too, version 2 is in "unified". See cgroups(7).
 */
static const struct freezer {
    const char *line;      /* what its line of /proc/PID/cgroup has before the group's path */
    const char *directory; /* above that path */
    const char *file;
    const char *says;
} FREEZERS[] = {
    {"0::", "/sys/fs/cgroup", "cgroup.events", "frozen 1"},
    {"0::", "/sys/fs/cgroup/unified", "cgroup.events", "frozen 1"},
    {":freezer:", "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"},
};

static bool freezes(const struct freezer *f, const char *groups)
{
    const char *group = strstr(groups, f->line);
    char path[4200], text[256];

    if (!group)
        return false;
    group += strlen(f->line);
    snprintf(path, sizeof(path), "%s%.*s/%s", f->directory, (int)strcspn(group, "\n"), group,
             f->file);
    return read_file(path, text, sizeof(text)) && strstr(text, f->says);
}

static bool is_in_freezer(int32_t pid, int32_t tid)
{
    char groups[4096];

    if (!read_of(pid, tid, "cgroup", groups, sizeof(groups)))
        return false;
    for (size_t i = 0; i < sizeof(FREEZERS) / sizeof(*FREEZERS); i++) {
        if (freezes(&FREEZERS[i], groups))
            return true;
    }
    return false;
}

enum activity activity_of(int32_t pid, int32_t tid)
{
    struct process p;
    char text[4096];
    double dumps = 0;

    if (!read_of(pid, tid, "stat", text, sizeof(text)) || !parse_stat(text, &p))
        return ACTIVITY_UNKNOWN;
    if (p.activity != RUNS && p.activity != HAS_ENDED && is_in_freezer(pid, tid))
        return IS_FROZEN;
    if (p.activity != HAS_ENDED && read_of(pid, tid, "status", text, sizeof(text)) &&
        find_number(text, "CoreDumping", &dumps) && dumps > 0)
        return DUMPS_CORE;
    return p.activity;
}

/*
 * The flags and the start of a process, from /proc/PID/stat. PF_EXITING is set before the process
 * gives up its files.
 */
#define PF_EXITING 0x4u

static bool find_start(int32_t pid, char *letter, unsigned *flags, uint64_t *start)
{
    const char *after_name;
    char line[1024];

    if (!read_of(pid, pid, "stat", line, sizeof(line)))
        return false;
    after_name = strrchr(line, ')');
    return after_name &&
           sscanf(after_name + 1,
                  " %c %*s %*s %*s %*s %*s %u %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                  " %" SCNu64,
                  letter, flags, start) == 3;
}

uint64_t start_of(int32_t pid)
{
    uint64_t start;
    unsigned flags;
    char letter;

    return find_start(pid, &letter, &flags, &start) ? start : 0;
}

bool is_alive(int32_t pid, uint64_t start)
{
    unsigned flags;
    uint64_t now;
    char letter;

    return find_start(pid, &letter, &flags, &now) && now == start && !(flags & PF_EXITING) &&
           activity_by_letter(letter) != HAS_ENDED;
}

uint64_t switches_of(int32_t pid, int32_t tid)
{
    char text[4096];
    double given_up = 0, taken_away = 0;

    if (!read_of(pid, tid, "status", text, sizeof(text)) ||
        !find_number(text, "\nvoluntary_ctxt_switches", &given_up) ||
        !find_number(text, "nonvoluntary_ctxt_switches", &taken_away))
        return 0;
    return (uint64_t)given_up + (uint64_t)taken_away;
}

/* When it was last given a CPU, in milliseconds by the scheduler's clock. */
static bool last_run(int32_t pid, int32_t tid, double *when)
{
    char text[8192];

    return read_of(pid, tid, "sched", text, sizeof(text)) && find_number(text, "exec_start", when);
}

int64_t idle_for(int32_t pid, int32_t tid)
{
    int32_t us = (int32_t)getpid();
    double now, then;

    /*
     * That clock is another than those for programs; but this thread runs, so it says what time it
     * is.
     */
    if (!last_run(pid, tid, &then) || !last_run(us, us, &now) || now <= then)
        return 0;
    return (int64_t)((now - then) * 1e6);
}

int waits_for_child(int32_t pid)
{
    char place[64];

    if (!read_of(pid, pid, "wchan", place, sizeof(place)) || strcmp(place, "0") == 0)
        return -1;
    return strcmp(place, "do_wait") == 0;
}

uint64_t our_pid_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}
