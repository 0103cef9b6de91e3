#include "common.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Names and items are UTF-8: where the environment names no such locale, the plain one will do.
 * Numbers keep their point.
 */
static void use_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* SEGMENT/OBJECT; the segment may have its slash in front. */
static int split_path(const char *path, struct place *place)
{
    char *slash;

    place->path = path;
    place->segment_name = strdup(path);
    if (!place->segment_name) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    slash = *path ? strchr(place->segment_name + 1, '/') : NULL;
    if (!slash || !slash[1]) {
        complain("%s: not of the form SEGMENT/OBJECT", path);
        return USAGE;
    }
    *slash = '\0';
    place->object = slash + 1;
    return DONE;
}

bool is_on_etcd(const struct place *place)
{
    return strncmp(place->segment_name, "etcd:", strlen("etcd:")) == 0;
}

int failed(const struct place *place, int r)
{
    if (r == -EINTR && interrupted)
        return FAILED;
    complain("%s: %s", place->path, shk_last_error());
    switch (r) {
    case -EAGAIN:
    case -ETIMEDOUT:
        return NOT_NOW;
    case -ENOENT:
    case -ESTALE:
        return ABSENT;
    case -EPIPE:
        return SHUT_DOWN;
    case -EINVAL:
    case -ENAMETOOLONG:
    case -EILSEQ:
        return USAGE;
    default:
        return FAILED;
    }
}

char **begin(int argc, char **argv, const struct program *program)
{
    program_name = program->name;
    use_utf8();
    catch_signals();
    return parse_arguments(argc, argv, program);
}

/* The language of messages, as the C library finds it in the environment. */
static bool is_chinese(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        const char *language = getenv(variables[i]);

        if (language && *language)
            return strncmp(language, "zh", 2) == 0;
    }
    return false;
}

/*
 * Open the segment and name this process in it. With found, the segment is not created, and the
 * library's code is stored there: -ENOENT is no failure then. Returns an exit code.
 */
static int open_place(struct place *place, const char *path, const char **member, int *found)
{
    static char process[32];
    int r, status;

    *place = (struct place){0};
    status = split_path(path, place);
    if (status != DONE)
        return status;
    if (!*member) {
        snprintf(process, sizeof(process), is_chinese() ? "进程-%d" : "process-%d", (int)getpid());
        *member = process;
    }
    r = shk_segment_open(place->segment_name, found ? 0 : SHK_CREATE, NULL, &place->segment);
    if (found) {
        *found = r;
        if (r == -ENOENT)
            return DONE;
    }
    if (r == 0)
        r = shk_set_interrupt(place->segment, &interrupted);
    if (r == 0)
        r = shk_set_member_name(place->segment, *member);
    return r == 0 ? DONE : failed(place, r);
}

int place_enter(struct place *place, const char *path, const char **member)
{
    return open_place(place, path, member, NULL);
}

int place_find(struct place *place, const char *path, const char **member, int *found)
{
    return open_place(place, path, member, found);
}

int enter(int argc, char **argv, const struct program *program, const char **member,
          struct place *place)
{
    return place_enter(place, *begin(argc, argv, program), member);
}

void place_leave(struct place *place)
{
    shk_segment_close(place->segment);
    free(place->segment_name);
}

int finish(int status)
{
    if (interrupted) {
        signal(interrupted, SIG_DFL);
        raise(interrupted);
    }
    return status;
}

int leave(struct place *place, int status)
{
    place_leave(place);
    return finish(status);
}

/* Is it as it is wished? Its order has been checked before. */
static int check_queue(const struct place *place, const struct queue_wish *wish,
                       struct shk_queue *queue)
{
    ssize_t capacity = shk_queue_capacity(queue);
    ssize_t item_size = shk_queue_item_size(queue);

    if (capacity < 0 || item_size < 0)
        return failed(place, capacity < 0 ? capacity : item_size);
    if ((wish->capacity == ANY || wish->capacity == capacity) &&
        (wish->item_size == 0 || wish->item_size == item_size))
        return DONE;
    if (capacity == 0)
        complain("%s: it is a queue without a limit, for items of at most %zd bytes", place->path,
                 item_size);
    else
        complain("%s: it is a queue for %zd items of at most %zd bytes", place->path, capacity,
                 item_size);
    return FAILED;
}

int open_queue(const struct place *place, const struct queue_wish *wish, struct shk_queue **queue)
{
    struct shk_queue_options of_order = {.order = wish->order};
    struct shk_queue_options made = {
        .order = wish->order == (uint32_t)ANY ? SHK_FIFO : wish->order,
        .capacity = wish->capacity == ANY ? DEFAULT_CAPACITY : wish->capacity,
        .item_size = wish->item_size ? wish->item_size : DEFAULT_ITEM_SIZE,
    };
    int r;

    do {
        r = shk_queue_open(place->segment, place->object, 0,
                           wish->order == (uint32_t)ANY ? NULL : &of_order, queue);
        if (r == -ENOENT)
            r = shk_queue_open(place->segment, place->object, SHK_CREATE | SHK_EXCL, &made, queue);
    } while (r == -EEXIST && !interrupted); /* another process made it between the two: find it */
    return r == 0 ? check_queue(place, wish, *queue) : failed(place, r);
}

int open_stream(const struct place *place, const struct stream_wish *wish,
                struct shk_stream **stream)
{
    struct shk_stream_options found = {
        .sample_size = wish->channels * sizeof(double),
        .history = wish->history,
        .channels = wish->channels,
        .stamped = wish->stamped,
    };
    struct shk_stream_options made = found;
    unsigned role = wish->is_producer ? SHK_AS(SHK_PRODUCER) : 0;
    int r;

    made.history = wish->history ? wish->history : DEFAULT_HISTORY;
    made.rate = wish->rate;
    do {
        r = shk_stream_open(place->segment, place->object, role, &found, stream);
        if (r == -ENOENT)
            r = shk_stream_open(place->segment, place->object, SHK_CREATE | SHK_EXCL | role, &made,
                                stream);
    } while (r == -EEXIST && !interrupted);
    if (r == 0)
        r = shk_stream_set_rate(*stream, wish->rate);
    return r == 0 ? DONE : failed(place, r);
}
