/* shmctl put: items into a queue. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct source {
    char **items;  /* the operands, NULL: standard input */
    int separator; /* what ends an item there */
    bool whole;    /* all of it is one item */
    size_t limit;  /* more than the queue takes is not worth reading */
    char *line;
    size_t room;
    unsigned long long count; /* of items so far */
};

enum { FIRST_ROOM = 4096 }; /* bytes */

/*
 * Make the buffer larger: it follows what comes, which may be less by far than the queue takes.
 * Never for more than one byte too much. False: it is as large already.
 */
static bool make_room(struct source *from)
{
    size_t most = from->limit + 1, room = from->room ? 2 * from->room : FIRST_ROOM;
    char *line;

    if (from->room == most)
        return false;
    from->room = room < most ? room : most;
    line = realloc(from->line, from->room);
    if (!line) {
        complain("standard input", "%s", strerror(ENOMEM));
        exit(STATUS_FAILED);
    }
    from->line = line;
    return true;
}

/* All of the standard input, or as much as is too much; -1 at its end. */
static ssize_t read_whole(struct source *from)
{
    size_t length = 0;

    if (from->line)
        return -1; /* that was it */
    while (!feof(stdin) && !ferror(stdin) && (length < from->room || make_room(from)))
        length += fread(from->line + length, 1, from->room - length, stdin);
    return ferror(stdin) ? -1 : (ssize_t)length;
}

/*
 * The next line, without what ends it: its length, -1 at the end. Of a line that is too long no
 * more is kept than fits.
 */
static ssize_t read_line(struct source *from)
{
    size_t length = 0;
    int c;

    if (!from->line)
        make_room(from);
    while ((c = getc_unlocked(stdin)) != EOF && c != from->separator) {
        if (length < from->room || make_room(from))
            from->line[length] = (char)c;
        length++;
    }
    return c == EOF && (length == 0 || ferror(stdin)) ? -1 : (ssize_t)length;
}

/* The next item: its length, -1 at the end. Valid until the next call. */
static ssize_t next_item(struct source *from, const char **item)
{
    ssize_t length;

    if (from->items) {
        *item = *from->items;
        return *item ? (ssize_t)strlen(*from->items++) : -1;
    }
    if (let_interrupts_kill(true))
        return -1;
    length = from->whole ? read_whole(from) : read_line(from);
    let_interrupts_kill(false);
    *item = from->line;
    return length;
}

/* How the items are to be put. */
struct manner {
    struct acting acting;
    bool has_priority; /* or the queue's own way */
    int64_t priority;
    bool skips_long;  /* items that the queue does not take */
    bool is_producer; /* by role, and minds that the last consumer has gone */
    struct shk_queue *queue;
};

/* The items that were too long. */
struct skipped {
    unsigned long long count;
    unsigned long long first; /* its number among all */
};

static int put_item(const struct manner *how, const char *item, size_t length)
{
    if (how->has_priority)
        return shk_queue_put_priority(how->queue, item, length, how->priority, how->acting.timeout);
    return shk_queue_put(how->queue, item, length, how->acting.timeout);
}

static void tell_skipped(const struct path *path, const struct source *from,
                         const struct skipped *skipped)
{
    if (skipped->count)
        complain(path->text,
                 "%llu of %llu items were longer than %zu bytes, and skipped; the first: %llu",
                 skipped->count, from->count, from->limit, skipped->first);
}

static int put_all(const struct manner *how, const struct path *path, struct source *from)
{
    struct skipped skipped = {0};
    const char *item;
    ssize_t length;
    int status;
    int r;

    from->limit = (size_t)shk_queue_item_size(how->queue);
    while ((length = next_item(from, &item)) >= 0) {
        from->count++;
        /* One that is too long is refused before it is read: there is no more of it than fits. */
        r = put_item(how, item, (size_t)length);
        if (r == -EMSGSIZE && how->skips_long) {
            if (!skipped.count++)
                skipped.first = from->count;
        } else if (r < 0) {
            status = failed_to_wait(path, &how->acting, r, "the queue is full");
            tell_skipped(path, from, &skipped);
            if (from->count - skipped.count > 1)
                complain(path->text, "%llu items were put before", from->count - skipped.count - 1);
            return status;
        }
    }
    tell_skipped(path, from, &skipped);
    if (!from->items && ferror(stdin)) {
        complain("standard input", "%s", strerror(errno));
        return STATUS_FAILED;
    }
    return STATUS_DONE;
}

/* Priorities are for a queue of that order: so it is created, if it is. */
static int open_queue(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct manner *how = to;
    struct shk_queue_options options = {.order = how->has_priority ? SHK_PRIORITY : SHK_FIFO};
    unsigned role = how->is_producer ? SHK_AS(SHK_PRODUCER) | SHK_EPIPE : 0;

    return shk_queue_open(segment, name, flags | role, flags & SHK_CREATE ? &options : NULL,
                          &how->queue);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct source from = {.separator = '\n'};
    struct manner how = {.acting = ACTING_DEFAULTS};
    bool standard_input = false;
    struct path path;
    struct opening opening = {.path = &path, .kind = "queue", .open = open_queue, .to = &how};
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &how.acting)) != -1) {
        switch (key) {
        case 's':
            standard_input = true;
            break;
        case 'w':
            standard_input = from.whole = true;
            break;
        case '0':
            from.separator = '\0';
            break;
        case OPTION_PRIVATE:
            how.skips_long = true;
            break;
        case 'P':
            how.is_producer = true;
            break;
        case 'p':
            how.has_priority = true;
            how.priority = parse_signed(optarg);
            break;
        }
    }
    check_operands(argc, standard_input ? 1 : 2, standard_input ? 1 : argc);
    parse_object_path(argv[optind], &path);
    if (!standard_input)
        from.items = argv + optind + 1;

    opening.flags = how.acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = put_all(&how, &path, &from);
    free(from.line);
    shk_queue_close(how.queue);
    shk_segment_close(segment);
    return status;
}

static const struct option_row options[] = {
    {'s', "stdin", NULL, "put each line of the standard input"},
    {'w', "whole", NULL, "put the whole standard input as one item"},
    {'0', "null", NULL, "with --stdin: a zero byte ends an item, not a newline"},
    {'p', "priority", "N", "priority in a priority queue: the lowest is first (0)"},
    {OPTION_PRIVATE, "skip-long", NULL, "skip items that are too long, and tell how many"},
    {'P', "producer", NULL, "consumers learn of the end; ends behind the last of them"},
    TIMEOUT_ROW("wait no longer for each free place"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_put = {
    .name = "put",
    .arguments = "[OPTION...] QUEUE {ITEM... | --stdin | --whole}",
    .summary = "put items into a queue",
    .notes = "Items that begin with '-' go after '--'. The queue is created if it is absent:\n"
             "first in, first out, without a limit; with --priority a priority queue.\n"
             "With 'put --producer' and 'get --follow --consumer' it ends as a pipe does.",
    .options = options,
    .run = run,
};
