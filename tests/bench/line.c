/* What all channels have in common, the list of them, and those that Python measures. */
#include "channel.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct channel channel_shmkit, channel_shmkit_claimed, channel_shmkit_in_place,
    channel_shmkit_claimed_in_place, channel_shmkit_batch, channel_shmkit_claimed_batch,
    channel_shmkit_event, channel_shmkit_semaphore, channel_shmkit_cond, channel_limit_ring,
    channel_cache_line, channel_futex, channel_futex_recheck, channel_memcpy, channel_ck,
    channel_zeromq, channel_nng, channel_boost_queue, channel_boost_condition, channel_iceoryx,
    channel_condition_ring, channel_semaphore_ring, channel_condition_pair, channel_semaphore_pair,
    channel_pipe, channel_socket, channel_mqueue;

#ifdef PYTHON
static const struct channel channel_python_queue = {
    .name = "Python mp.Queue", .is = PEER, .python = "queue"};
static const struct channel channel_python_condition = {.name = "Python mp.Condition",
                                                        .is = PEER,
                                                        .python = "condition",
                                                        .item_max = 8,
                                                        .capacity_max = 1};
#endif

const struct channel *const channels[] = {
    &channel_shmkit,
    &channel_shmkit_claimed,
    &channel_shmkit_in_place,
    &channel_shmkit_claimed_in_place,
    &channel_shmkit_batch,
    &channel_shmkit_claimed_batch,
    &channel_shmkit_event,
    &channel_shmkit_semaphore,
    &channel_shmkit_cond,
    &channel_limit_ring,
    &channel_cache_line,
    &channel_futex,
    &channel_futex_recheck,
    &channel_memcpy,
#ifdef HAVE_CK
    &channel_ck,
#endif
#ifdef HAVE_ZEROMQ
    &channel_zeromq,
#endif
#ifdef HAVE_NNG
    &channel_nng,
#endif
#ifdef HAVE_BOOST
    &channel_boost_queue,
    &channel_boost_condition,
#endif
    &channel_condition_ring,
    &channel_semaphore_ring,
    &channel_condition_pair,
    &channel_semaphore_pair,
    &channel_pipe,
    &channel_socket,
    &channel_mqueue,
#ifdef PYTHON
    &channel_python_queue,
    &channel_python_condition,
#endif
    NULL,
};

const struct channel *channel_named(const char *name)
{
    for (const struct channel *const *c = channels; *c; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

static char directory[64];

static void remove_directory(void)
{
    if (directory[0])
        rmdir(directory);
    directory[0] = '\0';
}

void line_path(const struct line *line, char *path, size_t size)
{
    snprintf(path, size, "%s/%u", directory, line->number);
}

bool line_create(struct line *line, const struct channel *channel, unsigned number, size_t item,
                 unsigned capacity, unsigned producers)
{
    *line = (struct line){.channel = channel,
                          .number = number,
                          .item = item,
                          .capacity = capacity,
                          .producers = producers,
                          .fd = {-1, -1}};
    if (!directory[0]) {
        strcpy(directory, "/tmp/shmkit-bench-XXXXXX");
        if (!mkdtemp(directory))
            return team_fails("mkdtemp: %s", strerror(errno));
        atexit(remove_directory);
    }
    if (channel->shared) {
        line->shared_size = channel->shared(line);
        line->shared = mmap(NULL, line->shared_size, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (line->shared == MAP_FAILED) {
            line->shared = NULL;
            return team_fails("mmap: %s", strerror(errno));
        }
    }
    if (!channel->create || channel->create(line))
        return true;
    if (line->shared)
        munmap(line->shared, line->shared_size);
    line->shared = NULL;
    return false;
}

void line_attach(struct line *line, unsigned sides)
{
    line->buffer = aligned_alloc(64, (line->item * 32 + 63) / 64 * 64);
    if (!line->buffer)
        give_up("out of memory");
    memset(line->buffer, 0, line->item * 32);
    if (line->channel->attach)
        line->channel->attach(line, sides);
}

void line_destroy(struct line *line)
{
    char path[100];

    if (line->channel->destroy)
        line->channel->destroy(line);
    if (line->shared)
        munmap(line->shared, line->shared_size);
    line_path(line, path, sizeof(path));
    unlink(path);
}

/* ---- Python ---- */

#ifdef PYTHON
static void run_python(void *argument, unsigned role)
{
    (void)role;
    stage_ready();
    execl("/bin/sh", "sh", "-c", argument, (char *)NULL);
    give_up("sh: %s", strerror(errno));
}
#endif

/* In a session of its own, so that its children end with it. */
bool python_measures(double figures[FIGURES], const char *program, const char *format, ...)
{
#ifdef PYTHON
    char numbers[100], command[700], output[80], line[200] = "";
    va_list arguments;
    FILE *file;

    va_start(arguments, format);
    vsnprintf(numbers, sizeof(numbers), format, arguments);
    va_end(arguments);
    snprintf(output, sizeof(output), "%s/python", directory[0] ? directory : "/tmp");
    snprintf(command, sizeof(command),
             "exec setsid -w timeout -k 1 60 %s '%s'/%s %s >'%s' 2>'%s.err'", PYTHON, BENCH_SRCDIR,
             program, numbers, output, output);
    team_start();
    team_add(run_python, command, ANY_CPU);
    bool well = team_ready() && team_finish();
    file = fopen(output, "r");
    if (file) {
        if (!fgets(line, sizeof(line), file))
            well = false;
        fclose(file);
        unlink(output);
    }
    snprintf(command, sizeof(command), "%s.err", output);
    unlink(command);
    if (!well ||
        sscanf(line, "%lf %lf %lf %lf", &figures[0], &figures[1], &figures[2], &figures[3]) < 1)
        return team_fails("%s has failed", program);
    return true;
#else
    (void)figures;
    (void)program;
    (void)format;
    return team_fails("no Python");
#endif
}
