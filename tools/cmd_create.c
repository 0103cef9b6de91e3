/* shmctl create: an object, and its segment if there is none yet. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct wanted {
    struct shk_segment_options segment;
    struct shk_lock_options lock;
    struct shk_cond_options cond;
    struct shk_semaphore_options semaphore;
    struct shk_barrier_options barrier;
    struct shk_queue_options queue;
    struct shk_stream_options stream;
    struct shk_region_options region;
    struct shk_rwlock_options rwlock;
    const char *cond_lock; /* name of the lock for a condition */
    unsigned flags;
};

/* Each creates an object of its kind and closes the handle at once. Returns 0 or -errno. */

static int create_lock(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_lock *lock;
    int r = shk_lock_open(segment, name, w->flags, &w->lock, &lock);

    return r < 0 ? r : shk_lock_close(lock);
}

static int create_cond(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_cond_options options = w->cond;
    struct shk_cond *cond = NULL;
    int r = w->cond_lock ? shk_lock_open(segment, w->cond_lock, 0, NULL, &options.lock) : 0;

    if (r < 0)
        return r;
    r = shk_cond_open(segment, name, w->flags, &options, &cond);
    shk_cond_close(cond);
    shk_lock_close(options.lock);
    return r;
}

static int create_event(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_event *event;
    int r = shk_event_open(segment, name, w->flags, NULL, &event);

    return r < 0 ? r : shk_event_close(event);
}

static int create_semaphore(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_semaphore *semaphore;
    int r = shk_semaphore_open(segment, name, w->flags, &w->semaphore, &semaphore);

    return r < 0 ? r : shk_semaphore_close(semaphore);
}

static int create_barrier(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_barrier *barrier;
    int r = shk_barrier_open(segment, name, w->flags, &w->barrier, &barrier);

    return r < 0 ? r : shk_barrier_close(barrier);
}

static int create_stream(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_stream *stream;
    int r = shk_stream_open(segment, name, w->flags, &w->stream, &stream);

    return r < 0 ? r : shk_stream_close(stream);
}

static int create_queue(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_queue *queue;
    int r = shk_queue_open(segment, name, w->flags, &w->queue, &queue);

    return r < 0 ? r : shk_queue_close(queue);
}

static int create_region(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_region *region;
    int r = shk_region_open(segment, name, w->flags, &w->region, &region);

    return r < 0 ? r : shk_region_close(region);
}

static int create_rwlock(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_rwlock *rwlock;
    int r = shk_rwlock_open(segment, name, w->flags, &w->rwlock, &rwlock);

    return r < 0 ? r : shk_rwlock_close(rwlock);
}

static int create_once(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_once *once;
    int r = shk_once_open(segment, name, w->flags, NULL, &once);

    return r < 0 ? r : shk_once_close(once);
}

static int create_value(struct shk_segment *segment, const char *name, const struct wanted *w)
{
    struct shk_value_options options = {.size = w->region.size};
    struct shk_value *value;
    int r = shk_value_open(segment, name, w->flags, &options, &value);

    return r < 0 ? r : shk_value_close(value);
}

struct kind {
    const char *name;
    int (*create)(struct shk_segment *, const char *name, const struct wanted *);
};

static const struct kind kinds[] = {
    {"lock", create_lock},           {"cond", create_cond},       {"event", create_event},
    {"semaphore", create_semaphore}, {"barrier", create_barrier}, {"queue", create_queue},
    {"stream", create_stream},       {"region", create_region},   {"rwlock", create_rwlock},
    {"once", create_once},           {"value", create_value},     {"segment", NULL},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    usage_error("unknown kind '%s'; known: lock, cond, event, semaphore, barrier, queue, stream, "
                "region, rwlock, once, value, segment",
                name);
}

/* ---- options: what each sets ---- */

static void set_flag(void *at, const char *text)
{
    (void)text;
    *(uint32_t *)at = 1;
}

static void set_exclusive(void *at, const char *text)
{
    (void)text;
    *(unsigned *)at |= SHK_EXCL;
}

static void set_size(void *at, const char *text)
{
    *(size_t *)at = parse_size(text);
}

static void set_number(void *at, const char *text)
{
    *(size_t *)at = parse_number(text, SIZE_MAX);
}

static void set_number_32(void *at, const char *text)
{
    *(uint32_t *)at = (uint32_t)parse_number(text, UINT32_MAX);
}

static void set_rate(void *at, const char *text)
{
    char *end;
    double rate = strtod(text, &end);

    if (end == text || *end || !isfinite(rate) || rate <= 0)
        usage_error("invalid rate '%s'; examples: 1000, 0.5", text);
    *(double *)at = rate;
}

static void set_mode(void *at, const char *text)
{
    if (!*text || strlen(text) > 4 || strspn(text, "01234567") != strlen(text))
        usage_error("invalid mode '%s'; examples: 0600, 0660", text);
    *(mode_t *)at = (mode_t)strtoul(text, NULL, 8);
}

static void set_string(void *at, const char *text)
{
    *(const char **)at = text;
}

static void set_cond_kind(void *at, const char *text)
{
    if (strcmp(text, "robust") != 0 && strcmp(text, "pthread") != 0)
        usage_error("unknown kind of condition '%s'; known: robust, pthread", text);
    *(uint32_t *)at = strcmp(text, "pthread") == 0 ? SHK_COND_PTHREAD : SHK_COND_ROBUST;
}

static void set_order(void *at, const char *text)
{
    static const char *const orders[] = {
        [SHK_FIFO] = "fifo", [SHK_LIFO] = "lifo", [SHK_PRIORITY] = "priority"};

    for (uint32_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        if (strcmp(text, orders[i]) == 0) {
            *(uint32_t *)at = i;
            return;
        }
    }
    usage_error("unknown order '%s'; known: fifo, lifo, priority", text);
}

#define OPTIONS (sizeof(settings) / sizeof(*settings))

/* An option's key is OPTION_PRIVATE and its place in here, which is the same in the two tables. */
static const struct setting {
    const char *kind; /* NULL: for every kind */
    size_t at;        /* in struct wanted */
    void (*set)(void *at, const char *text);
} settings[] = {
    {NULL, offsetof(struct wanted, flags), set_exclusive},
    {"queue", offsetof(struct wanted, queue.capacity), set_number},
    {"queue", offsetof(struct wanted, queue.item_size), set_size},
    {"region or value", offsetof(struct wanted, region.size), set_size},
    {"region", offsetof(struct wanted, region.align), set_size},
    {"lock", offsetof(struct wanted, lock.recursive), set_flag},
    {"lock", offsetof(struct wanted, lock.no_deadlock_check), set_flag},
    {"cond", offsetof(struct wanted, cond_lock), set_string},
    {"cond", offsetof(struct wanted, cond.kind), set_cond_kind},
    {NULL, offsetof(struct wanted, segment.size), set_size},
    {NULL, offsetof(struct wanted, segment.max_members), set_number_32},
    {NULL, offsetof(struct wanted, segment.max_objects), set_number_32},
    {NULL, offsetof(struct wanted, segment.mode), set_mode},
    {"queue", offsetof(struct wanted, queue.order), set_order},
    {"semaphore", offsetof(struct wanted, semaphore.value), set_number_32},
    {"semaphore", offsetof(struct wanted, semaphore.max), set_number_32},
    {"barrier", offsetof(struct wanted, barrier.parties), set_number_32},
    {"stream", offsetof(struct wanted, stream.sample_size), set_size},
    {"stream", offsetof(struct wanted, stream.history), set_number},
    {"stream", offsetof(struct wanted, stream.channels), set_number_32},
    {"stream", offsetof(struct wanted, stream.rate), set_rate},
    {"stream", offsetof(struct wanted, stream.stamped), set_flag},
    {"semaphore", offsetof(struct wanted, semaphore.owners), set_flag},
    {"queue", offsetof(struct wanted, queue.capacity_bytes), set_size},
};

static const struct option_row options[] = {
    {OPTION_PRIVATE + 0, "exclusive", NULL, "fail if it is there already"},
    {OPTION_PRIVATE + 1, "capacity", "N", "queue: how many items it holds; 0: no limit (0)"},
    {OPTION_PRIVATE + 2, "item-size", "SIZE", "queue: the largest item (1K)"},
    {OPTION_PRIVATE + 3, "size", "SIZE", "region: how many bytes; value: at most (1K)"},
    {OPTION_PRIVATE + 4, "align", "SIZE", "region: alignment of its first byte (64)"},
    {OPTION_PRIVATE + 5, "recursive", NULL, "lock: its holder may acquire it again"},
    {OPTION_PRIVATE + 6, "no-deadlock-check", NULL, "lock: waiters that wait for each other go on"},
    {OPTION_PRIVATE + 7, "lock", "NAME", "cond: its lock, an object of the segment (its own)"},
    {OPTION_PRIVATE + 8, "kind", "KIND", "cond: robust or pthread (robust)"},
    {OPTION_PRIVATE + 9, "segment-size", "SIZE", "address space of a new segment (64G)"},
    {OPTION_PRIVATE + 10, "max-members", "N", "how many threads a new segment has room for (1024)"},
    {OPTION_PRIVATE + 11, "max-objects", "N", "how many objects a new segment has room for (256)"},
    {OPTION_PRIVATE + 12, "mode", "MODE", "permission bits of a new segment (0600)"},
    {OPTION_PRIVATE + 13, "order", "ORDER", "queue: fifo, lifo or priority (fifo)"},
    {OPTION_PRIVATE + 14, "value", "N", "semaphore: permits at first (1)"},
    {OPTION_PRIVATE + 15, "max", "N", "semaphore: permits at most (2147483647)"},
    {OPTION_PRIVATE + 16, "parties", "N", "barrier: how many meet; to be given"},
    {OPTION_PRIVATE + 17, "sample-size", "SIZE", "stream: bytes of a sample (8 a channel)"},
    {OPTION_PRIVATE + 18, "history", "N", "stream: how many of the last can be read (4096)"},
    {OPTION_PRIVATE + 19, "channels", "N", "stream: how many values a sample has (1)"},
    {OPTION_PRIVATE + 20, "rate", "N", "stream: samples a second, noted for its readers"},
    {OPTION_PRIVATE + 21, "stamped", NULL, "stream: each sample has a time stamp"},
    {OPTION_PRIVATE + 22, "owners", NULL, "semaphore: permits of the dead come back"},
    {OPTION_PRIVATE + 23, "capacity-bytes", "SIZE", "queue: how many bytes it holds; 0: any (0)"},
    ANY_OWNER_ROW,
    {0},
};

/* "region or value" is for both. */
static bool is_for(const char *kinds, const char *kind)
{
    const char *at = strstr(kinds, kind);

    return at && (at == kinds || at[-1] == ' ');
}

static int create(const struct kind *kind, const struct path *path, const struct wanted *w,
                  unsigned any_owner)
{
    bool only_new = !kind->create && w->flags & SHK_EXCL;
    struct shk_segment *segment;
    int status = STATUS_DONE;
    bool made = false;
    int r;

    if (only_new)
        r = shk_segment_open(path->segment, SHK_CREATE | SHK_EXCL | any_owner, &w->segment,
                             &segment);
    else
        r = open_or_make_segment(path->segment, any_owner, &w->segment, &made, &segment);
    if (r < 0)
        return failed_to_open(
            &(struct opening){.path = path, .flags = any_owner, .kind = kind->name}, r);
    if (kind->create) {
        r = kind->create(segment, path->object, w);
        if (r < 0)
            status = failed(path->text, r);
    }
    shk_segment_close(segment);
    if (r < 0 && made)
        unmake_segment(path->segment, any_owner);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct wanted wanted = {.flags = SHK_CREATE, .semaphore.value = 1};
    bool given[OPTIONS] = {false};
    unsigned any_owner = 0;
    const struct kind *kind;
    struct path path;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == OPTION_ANY_OWNER) {
            any_owner = SHK_ANY_OWNER;
            continue;
        }
        key -= OPTION_PRIVATE;
        given[key] = true;
        settings[key].set((char *)&wanted + settings[key].at, optarg);
    }
    check_operands(argc, 2, 2);
    kind = find_kind(argv[optind]);
    for (size_t i = 0; i < OPTIONS; i++) {
        if (given[i] && settings[i].kind && !is_for(settings[i].kind, kind->name))
            usage_error("--%s is for a %s", options[i].name, settings[i].kind);
    }
    if (wanted.stream.sample_size == 0)
        wanted.stream.sample_size =
            (wanted.stream.channels ? wanted.stream.channels : 1) * sizeof(double);
    parse_path(argv[optind + 1], &path);
    if (!kind->create != !*path.object)
        usage_error(kind->create ? "'%s' is a segment, not an object: SEGMENT/OBJECT"
                                 : "'%s' is an object, not a segment",
                    argv[optind + 1]);
    return create(kind, &path, &wanted, any_owner);
}

const struct command cmd_create = {
    .name = "create",
    .arguments = "[OPTION...] KIND PATH",
    .summary = "create an object of that kind, or a segment, if it is absent",
    .notes = "The kinds are lock, cond, event, semaphore, barrier, queue, stream, region,\n"
             "rwlock, once, value and segment. The segment is created, too, if it is absent.\n"
             "What is there already must be of that kind and geometry; a segment that is there\n"
             "is left as it is.",
    .options = options,
    .run = run,
};
