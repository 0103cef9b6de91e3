/* producer QUEUE: puts items, the article's or the lines of its standard input. */
#include "common.h"
#include "lines.h"

#include <errno.h>
#include <string.h>

#define NO_PRIORITY INT64_MIN

static const char *name;
static bool from_stdin, shut_down;
static int64_t count;
static int64_t priority = NO_PRIORITY;
static struct queue_wish wish = ANY_QUEUE;
static int64_t interval = -1, timeout = SHK_FOREVER;

static const struct option_row options[] = {
    {"name", "NAME", "its name, here and in shmctl ps (process-PID)", .text = &name},
    {"stdin", NULL, "put each line of standard input, and say nothing", .flag = &from_stdin},
    {"count", "N", "end after N items (99999; with --stdin all lines)", .number = &count,
     .least = 1},
    {"interval", "DURATION", "pause before each item (0.2; with --stdin 0)", .duration = &interval},
    {"priority", "N",
     "its items' priority, the lowest first (their own order:\nthat of their first 8 bytes)",
     .number = &priority, .least = NO_PRIORITY + 1},
    {"timeout", "DURATION", "wait that long at most for a free place (for ever)",
     .duration = &timeout},
    {"shutdown", NULL, "shut the queue down in the end", .flag = &shut_down},
    QUEUE_OPTIONS(wish),
    {0},
};

static const struct program program = {
    .name = "producer",
    .operand = "SEGMENT/QUEUE",
    .purpose = "Put Python, Kotlin and Swift in turn into a queue, or lines of text.",
    .notes = QUEUE_NOTES,
    .options = options,
};

/*
 * A number in the order of the strings, as far as eight bytes go: that is how Python's
 * PriorityQueue compares them.
 */
static int64_t order_of(const unsigned char *item, size_t length)
{
    uint64_t number = 0;

    for (size_t i = 0; i < sizeof(number); i++)
        number = number << 8 | (i < length ? item[i] : 0);
    return (int64_t)(number ^ (uint64_t)1 << 63);
}

static int put(const struct place *place, struct shk_queue *queue, const void *item, size_t length)
{
    int64_t its = priority == NO_PRIORITY ? order_of(item, length) : priority;
    int r = shk_queue_put_priority(queue, item, length, its, timeout);

    if (r == -ENOTSUP && priority == NO_PRIORITY) /* a queue of another order */
        r = shk_queue_put(queue, item, length, timeout);
    return r == 0 ? DONE : failed(place, r);
}

/* The article's product(). */
static int produce(const struct place *place, struct shk_queue *queue)
{
    static const char *const tuple[] = {"Python", "Kotlin", "Swift"};

    for (int64_t i = 0; i < count; i++) {
        const char *item = tuple[i % 3];
        int status = say("%s%*s 生产者准备生产元组元素！\n", name, padding(name, NAME_COLUMNS), "");

        if (status == DONE)
            pause_for(interval);
        if (interrupted)
            return FAILED;
        if (status == DONE)
            status = put(place, queue, item, strlen(item));
        if (status == DONE)
            status = say("%s%*s 生产者生产元组元素完成！\n", name, padding(name, NAME_COLUMNS), "");
        if (status != DONE)
            return status;
    }
    return DONE;
}

static int produce_lines(const struct place *place, struct shk_queue *queue, struct input *input,
                         size_t most)
{
    for (int64_t i = 1; count == 0 || i <= count; i++) {
        const char *line;
        size_t length;
        int status, r = next_line(input, most, &line, &length);

        if (r == 0)
            return DONE;
        if (r == -EMSGSIZE) {
            bool whole = memchr(input->data + input->start, '\n', input->end - input->start);

            complain("%s: line %lld has %s%zu bytes, the longest item of this queue %zu",
                     place->path, (long long)i, whole ? "" : "at least ", length, most);
        } else if (r < 0 && !interrupted) {
            complain("standard input: %s", strerror(-r));
        }
        if (r < 0)
            return FAILED;
        pause_for(interval);
        if (interrupted)
            return FAILED;
        status = put(place, queue, line, length);
        if (status != DONE)
            return status;
    }
    return DONE;
}

static int produce_stdin(const struct place *place, struct shk_queue *queue)
{
    struct input input = {0};
    ssize_t most = shk_queue_item_size(queue);
    int status;

    if (most < 0)
        status = failed(place, most);
    else
        status = produce_lines(place, queue, &input, most);
    close_input(&input);
    return status;
}

static int work(const struct place *place, struct shk_queue *queue)
{
    int status = from_stdin ? produce_stdin(place, queue) : produce(place, queue);

    if (shut_down && status == DONE) {
        int r = shk_queue_shutdown(queue);

        if (r < 0)
            status = failed(place, r);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct place place;
    struct shk_queue *queue = NULL;
    int status = enter(argc, argv, &program, &name, &place);

    if (interval < 0)
        interval = from_stdin ? 0 : SHK_MS(200);
    if (count == 0 && !from_stdin)
        count = 99999;
    if (status == DONE)
        status = open_queue(&place, &wish, &queue);
    if (status == DONE)
        status = work(&place, queue);
    shk_queue_close(queue);
    return leave(&place, status);
}
