/*
 * W7: LIFO and PRIORITY queues that hold few or many items: one more is put, one is taken. Beside
 * them the same heap, or stack, in private memory under a robust mutex.
 */
#include "common.h"

#include <stdlib.h>

struct private_item {
    uint64_t length, item;
};

/* The same heap, entries and slots apart, in private memory under the same kind of mutex. */
struct private_heap {
    pthread_mutex_t mutex;
    struct private_entry {
        int64_t priority;
        uint64_t sequence;
        uint32_t slot;
    } * entries;
    struct private_item *slots;
    uint32_t *unused; /* free slots, a stack */
    uint32_t count, capacity;
    uint64_t sequence;
};

static bool goes_before(const struct private_entry *a, const struct private_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

static void private_put(struct private_heap *h, uint64_t item, int64_t priority)
{
    struct private_entry entry = {priority, h->sequence++, h->unused[h->count]};
    uint32_t hole = h->count++;

    h->slots[entry.slot] = (struct private_item){8, item};
    for (; hole > 0 && goes_before(&entry, &h->entries[(hole - 1) / 2]); hole = (hole - 1) / 2)
        h->entries[hole] = h->entries[(hole - 1) / 2];
    h->entries[hole] = entry;
}

static uint64_t private_get(struct private_heap *h)
{
    uint32_t slot = h->entries[0].slot, hole = 0, child;
    uint64_t item = h->slots[slot].item;
    struct private_entry last = h->entries[--h->count];

    h->unused[h->count] = slot;
    while ((child = 2 * hole + 1) < h->count) {
        if (child + 1 < h->count && goes_before(&h->entries[child + 1], &h->entries[child]))
            child++;
        if (!goes_before(&h->entries[child], &last))
            break;
        h->entries[hole] = h->entries[child];
        hole = child;
    }
    h->entries[hole] = last;
    return item;
}

/* … and the same for a stack. */
static void private_push(struct private_heap *h, uint64_t item)
{
    h->slots[h->count++] = (struct private_item){8, item};
}

static uint64_t private_pop(struct private_heap *h)
{
    return h->slots[--h->count].item;
}

struct holding {
    bool ours, priority;
    unsigned held;
};

static void hold_in_private(const struct holding *holding, struct note *note)
{
    struct private_heap *h = calloc(1, sizeof(*h));
    uint64_t random = 88172645463325252, done = 0, sum = 0;
    size_t room = holding->held + 1;

    h->entries = malloc(room * sizeof(*h->entries));
    h->slots = malloc(room * sizeof(*h->slots));
    h->unused = malloc(room * sizeof(*h->unused));
    if (!h->entries || !h->slots || !h->unused)
        give_up("out of memory");
    shared_mutex(&h->mutex, true);
    for (uint32_t i = 0; i < room; i++)
        h->unused[i] = i;
    for (unsigned i = 0; i < holding->held; i++) {
        uint64_t number = random_number(&random);
        holding->priority ? private_put(h, number, (int64_t)(number >> 1))
                          : private_push(h, number);
    }
    stage_ready();
    int64_t begin = now();
    do {
        for (int i = 0; i < 100; i++, done++) {
            uint64_t number = random_number(&random);
            pthread_mutex_lock(&h->mutex);
            holding->priority ? private_put(h, number, (int64_t)(number >> 1))
                              : private_push(h, number);
            pthread_mutex_unlock(&h->mutex);
            pthread_mutex_lock(&h->mutex);
            sum += holding->priority ? private_get(h) : private_pop(h);
            pthread_mutex_unlock(&h->mutex);
        }
    } while (!stopped());
    note->figure[0] = (double)(now() - begin) / (double)done;
    note->count = sum; /* so that it is not optimised away */
}

static void hold_in_queue(const struct holding *holding, struct note *note)
{
    struct shk_queue_options options = {.order = holding->priority ? SHK_PRIORITY : SHK_LIFO,
                                        .capacity = holding->held + 1,
                                        .item_size = 8};
    uint64_t random = 88172645463325252, done = 0, sum = 0;
    struct shk_queue *queue;

    must(shk_queue_open(common_segment(NULL), "kept", SHK_CREATE, &options, &queue));
    for (unsigned i = 0; i < holding->held; i++) {
        uint64_t number = random_number(&random);
        must(holding->priority
                 ? shk_queue_put_priority(queue, &number, 8, (int64_t)(number >> 1), SHK_NOWAIT)
                 : shk_queue_put(queue, &number, 8, SHK_NOWAIT));
    }
    stage_ready();
    int64_t begin = now();
    do {
        for (int i = 0; i < 100; i++, done++) {
            uint64_t number = random_number(&random);
            must(holding->priority ? shk_queue_put_priority(queue, &number, 8,
                                                            (int64_t)(number >> 1), SHK_FOREVER)
                                   : shk_queue_put(queue, &number, 8, SHK_FOREVER));
            must(shk_queue_get(queue, &number, 8, SHK_FOREVER));
            sum += number;
        }
    } while (!stopped());
    note->figure[0] = (double)(now() - begin) / (double)done;
    note->count = sum;
}

static void hold_items(void *argument, unsigned role)
{
    const struct holding *holding = argument;

    if (holding->ours)
        hold_in_queue(holding, &stage->role[role]);
    else
        hold_in_private(holding, &stage->role[role]);
}

static bool measure_held(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    struct holding holding = {
        .ours = subject->is & OURS, .priority = contest->capacity, .held = contest->n};

    team_start();
    team_add(hold_items, &holding, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    in_child(common_unlink, NULL);
    return well;
}

void run_w7(void)
{
    static const struct unit pair = {.name = "ns", .scale = 1};
    static const struct {
        const char *name;
        bool priority;
        unsigned held;
    } rows[] = {{"LIFO, 10 held", false, 10},           {"LIFO, 1000 held", false, 1000},
                {"LIFO, 1000000 held", false, 1000000}, {"PRIORITY, 10 held", true, 10},
                {"PRIORITY, 1000 held", true, 1000},    {"PRIORITY, 1000000 held", true, 1000000}};
    const struct subject subjects[] = {{"shmkit", OURS, NULL}, {"private memory", LIMIT, NULL}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W7",
                                  .row = rows[i].name,
                                  .place = "alone",
                                  .unit = &pair,
                                  .measure = measure_held,
                                  .n = rows[i].held,
                                  .capacity = rows[i].priority,
                                  .pinned = true};
        if (!bench.smoke || rows[i].held <= 1000)
            contest_run(&contest, subjects, COUNT(subjects));
    }
}
