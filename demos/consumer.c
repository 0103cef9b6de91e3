/* consumer QUEUE: gets items and prints them. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *name;
static bool raw;
static int64_t count;
static struct queue_wish wish = ANY_QUEUE;
static int64_t interval = -1, timeout = SHK_FOREVER;

static const struct option_row options[] = {
    {"name", "NAME", "its name, here and in shmctl ps (process-PID)", .text = &name},
    {"raw", NULL, "print the items alone, byte for byte, one a line", .flag = &raw},
    {"count", "N", "end after N items (only when the queue is shut down)", .number = &count,
     .least = 1},
    {"interval", "DURATION", "pause before each item (0.2; with --raw 0)", .duration = &interval},
    {"timeout", "DURATION", "wait that long at most for an item (for ever)", .duration = &timeout},
    QUEUE_OPTIONS(wish),
    {0},
};

static const struct program program = {
    .name = "consumer",
    .operand = "SEGMENT/QUEUE",
    .purpose = "Get items from a queue and print them, until it is shut down and drained.",
    .notes = QUEUE_NOTES,
    .options = options,
};

static int print_item(char *item, size_t length)
{
    char *text;
    int status;

    if (raw)
        return say_bytes((struct iovec[]){{item, length}, {"\n", 1}}, 2);
    text = printable(item, length);
    if (!text) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    status = say("%s%*s 消费者消费[ %s ]元素完成！\n", name, padding(name, NAME_COLUMNS), "", text);
    free(text);
    return status;
}

/* What an item is copied into. It grows with what comes, and not with what might. */
struct buffer {
    char *data;
    size_t size;
};

enum { FIRST_SIZE = 4096 };

/* Returns the length of the item, or the library's error; one that does not fit stays there. */
static ssize_t get_item(struct shk_queue *queue, struct buffer *buffer)
{
    ssize_t length;

    while ((length = shk_queue_get(queue, buffer->data, buffer->size, timeout)) == -EMSGSIZE) {
        size_t size = 2 * buffer->size;
        char *data = realloc(buffer->data, size);

        if (!data)
            return length;
        buffer->data = data;
        buffer->size = size;
    }
    return length;
}

static int consume(const struct place *place, struct shk_queue *queue, struct buffer *buffer)
{
    for (int64_t n = 0; count == 0 || n < count; n++) {
        ssize_t length;
        int status = DONE;

        if (!raw)
            status = say("%s%*s 消费者准备消费元组元素！\n", name, padding(name, NAME_COLUMNS), "");
        if (status != DONE)
            return status;
        pause_for(interval);
        if (interrupted)
            return FAILED;
        length = get_item(queue, buffer);
        if (length == -EPIPE && count == 0)
            return DONE;
        if (length < 0)
            return failed(place, length);
        status = print_item(buffer->data, length);
        if (status != DONE)
            return status;
    }
    return DONE;
}

int main(int argc, char **argv)
{
    struct place place;
    struct shk_queue *queue = NULL;
    struct buffer buffer = {.size = FIRST_SIZE};
    int status = enter(argc, argv, &program, &name, &place);

    if (interval < 0)
        interval = raw ? 0 : SHK_MS(200);
    if (status == DONE)
        status = open_queue(&place, &wish, &queue);
    if (status == DONE && !(buffer.data = malloc(buffer.size))) {
        complain("%s", strerror(ENOMEM));
        status = FAILED;
    }
    if (status == DONE)
        status = consume(&place, queue, &buffer);
    free(buffer.data);
    shk_queue_close(queue);
    return leave(&place, status);
}
