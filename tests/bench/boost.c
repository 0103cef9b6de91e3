/* Boost.Interprocess. */
#include "boost.h"
#include "channel.h"

#include <stdio.h>

static bool boost_create(struct line *line)
{
    char name[60];

    snprintf(name, sizeof(name), "%s-%u", unique_name(), line->number);
    line->handle[0] = boost_queue_create(name, line->capacity, line->item);
    return line->handle[0] || team_fails("message_queue: %s", boost_trouble());
}

static void boost_destroy(struct line *line)
{
    boost_queue_destroy(line->handle[0]);
}

static inline void boost_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    if (!boost_queue_send(line->handle[0], line->buffer, line->item))
        give_up("message_queue::send: %s", boost_trouble());
}

static inline uint64_t boost_receive(struct line *line)
{
    if (!boost_queue_receive(line->handle[0], line->buffer, line->item))
        give_up("message_queue::receive: %s", boost_trouble());
    return item_check(line->buffer, line->item);
}
LOOPS(boost)

const struct channel channel_boost_queue = {.name = "Boost message_queue",
                                            .is = PEER,
                                            .create = boost_create,
                                            .destroy = boost_destroy,
                                            .loops = &boost_loops};

static size_t boost_condition_shared(const struct line *line)
{
    return boost_ring_size(line->capacity, line->item);
}

static bool boost_condition_create(struct line *line)
{
    boost_ring_create(line->shared, line->capacity, line->item);
    return true;
}

static inline void boost_condition_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    boost_ring_send(line->shared, line->buffer);
}

static inline uint64_t boost_condition_receive(struct line *line)
{
    boost_ring_receive(line->shared, line->buffer);
    return item_check(line->buffer, line->item);
}
LOOPS(boost_condition)

const struct channel channel_boost_condition = {.name = "Boost condition",
                                                .is = PEER,
                                                .shared = boost_condition_shared,
                                                .create = boost_condition_create,
                                                .loops = &boost_condition_loops};
