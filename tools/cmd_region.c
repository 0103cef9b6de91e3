/* shmctl region: numbers and bytes of a region, at an offset. */
#include "common.h"
#include "open.h"
#include "sample.h"
#include "shmctl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { GET, SET, ADD };

struct request {
    int action;
    struct path path;
    struct acting acting;
    const struct format *format;
    uint64_t offset, count; /* bytes; values, 0: not given */
    char **operands;        /* behind the region; NULL at the end */
    struct shk_region *region;
    unsigned char *at; /* where the offset is */
    size_t room;       /* bytes from there on */
};

/*
 * A number whose place is a multiple of its size is loaded and stored in one step, so that no
 * other process sees half of it. Relaxed: what it has to do with other bytes is the programs'
 * affair, and their lock's.
 */
#define IN_ONE_STEP(type, at) ((uintptr_t)(at) % sizeof(type) == 0)

static void load(const struct format *f, const unsigned char *from, unsigned char *to)
{
    if (f->size == 8 && IN_ONE_STEP(uint64_t, from))
        memcpy(to,
               &(uint64_t){__atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_RELAXED)},
               8);
    else if (f->size == 4 && IN_ONE_STEP(uint32_t, from))
        memcpy(to,
               &(uint32_t){__atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_RELAXED)},
               4);
    else if (f->size == 2 && IN_ONE_STEP(uint16_t, from))
        memcpy(to,
               &(uint16_t){__atomic_load_n((const uint16_t *)(const void *)from, __ATOMIC_RELAXED)},
               2);
    else
        memcpy(to, from, f->size);
}

static void store(const struct format *f, const unsigned char *from, unsigned char *to)
{
    uint64_t n64;
    uint32_t n32;
    uint16_t n16;

    if (f->size == 8 && IN_ONE_STEP(uint64_t, to)) {
        memcpy(&n64, from, 8);
        __atomic_store_n((uint64_t *)(void *)to, n64, __ATOMIC_RELAXED);
    } else if (f->size == 4 && IN_ONE_STEP(uint32_t, to)) {
        memcpy(&n32, from, 4);
        __atomic_store_n((uint32_t *)(void *)to, n32, __ATOMIC_RELAXED);
    } else if (f->size == 2 && IN_ONE_STEP(uint16_t, to)) {
        memcpy(&n16, from, 2);
        __atomic_store_n((uint16_t *)(void *)to, n16, __ATOMIC_RELAXED);
    } else {
        memcpy(to, from, f->size);
    }
}

/* The sum, in `number` as well; it wraps around. */
static void add_in_one_step(const struct format *f, unsigned char *at, unsigned char *number)
{
    uint64_t n64;
    uint32_t n32;
    uint16_t n16;

    if (f->size == 8) {
        memcpy(&n64, number, 8);
        n64 = __atomic_add_fetch((uint64_t *)(void *)at, n64, __ATOMIC_SEQ_CST);
        memcpy(number, &n64, 8);
    } else if (f->size == 4) {
        memcpy(&n32, number, 4);
        n32 = __atomic_add_fetch((uint32_t *)(void *)at, n32, __ATOMIC_SEQ_CST);
        memcpy(number, &n32, 4);
    } else if (f->size == 2) {
        memcpy(&n16, number, 2);
        n16 = __atomic_add_fetch((uint16_t *)(void *)at, n16, __ATOMIC_SEQ_CST);
        memcpy(number, &n16, 2);
    } else {
        *number = __atomic_add_fetch(at, *number, __ATOMIC_SEQ_CST);
    }
}

/* ---- the actions ---- */

/* So many values lie in the region, behind the offset. */
static bool has(const struct request *q, uint64_t n)
{
    if (n <= q->room / q->format->size)
        return true;
    complain(q->path.text,
             "it has %zu bytes behind offset %" PRIu64 ", which are not %" PRIu64 " of format %s",
             q->room, q->offset, n, q->format->name);
    return false;
}

static int get(const struct request *q)
{
    bool raw = q->format->kind == RAW;
    uint64_t n = q->count ? q->count : raw ? q->room : 1;
    unsigned char number[8];

    if (!has(q, n))
        return STATUS_FAILED;
    if (raw)
        fwrite(q->at, 1, n, stdout);
    for (uint64_t i = 0; !raw && i < n; i++) {
        load(q->format, q->at + i * q->format->size, number);
        print_sample(stdout, q->format, number, q->format->size);
    }
    return STATUS_DONE;
}

static int set_raw(const struct request *q)
{
    unsigned char buffer[4096];
    size_t done = 0, n;

    while ((n = fread(buffer, 1, sizeof(buffer), stdin)) > 0 && n <= q->room - done) {
        memcpy(q->at + done, buffer, n);
        done += n;
    }
    if (n == 0 && !ferror(stdin))
        return STATUS_DONE;
    if (n == 0)
        complain("standard input", "%s", strerror(errno));
    else
        complain(q->path.text,
                 "the input is longer than the %zu bytes behind offset %" PRIu64 "; %zu were set",
                 q->room, q->offset, done);
    return STATUS_FAILED;
}

static int set(const struct request *q)
{
    unsigned char number[8];
    uint64_t n = 0;

    if (q->format->kind == RAW)
        return set_raw(q);
    while (q->operands[n]) /* all of them are checked before the first is set */
        if (!parse_sample(q->operands[n++], q->path.text, q->format, number, q->format->size))
            return STATUS_USAGE;
    if (!has(q, n))
        return STATUS_FAILED;
    for (uint64_t i = 0; i < n; i++) {
        parse_sample(q->operands[i], q->path.text, q->format, number, q->format->size);
        store(q->format, number, q->at + i * q->format->size);
    }
    return STATUS_DONE;
}

static int add(const struct request *q)
{
    unsigned char number[8];

    if (!parse_sample(*q->operands, q->path.text, q->format, number, q->format->size))
        return STATUS_USAGE;
    if (!has(q, 1))
        return STATUS_FAILED;
    if ((uintptr_t)q->at % q->format->size) {
        complain(q->path.text, "offset %" PRIu64 " is no multiple of the %zu bytes of format %s",
                 q->offset, q->format->size, q->format->name);
        return STATUS_FAILED;
    }
    add_in_one_step(q->format, q->at, number);
    print_sample(stdout, q->format, number, q->format->size);
    return STATUS_DONE;
}

/* ---- */

static int open_region(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_region_open(segment, name, flags, NULL, &((struct request *)to)->region);
}

static int act(struct request *q)
{
    static int (*const functions[])(const struct request *) = {
        [GET] = get, [SET] = set, [ADD] = add};
    struct opening opening = {.path = &q->path,
                              .flags = q->acting.flags & ~SHK_CREATE,
                              .kind = "region",
                              .options = "--size SIZE",
                              .open = open_region,
                              .to = q};
    struct shk_segment *segment = NULL;
    int status = open_object(&opening, &segment);
    size_t size = 0;
    void *data;

    if (status == STATUS_DONE) {
        shk_region_data(q->region, &data, &size);
        if (q->offset > size) {
            complain(q->path.text, "it has %zu bytes, and none at offset %" PRIu64, size,
                     q->offset);
            status = STATUS_FAILED;
        } else {
            q->at = (unsigned char *)data + q->offset;
            q->room = size - q->offset;
            status = functions[q->action](q);
        }
    }
    fflush(stdout);
    shk_region_close(q->region);
    shk_segment_close(segment);
    return status;
}

static int find_action(const char *name)
{
    static const char *const names[] = {[GET] = "get", [SET] = "set", [ADD] = "add"};

    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    usage_error("unknown action '%s'; known: get, set, add", name);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request q = {.acting = ACTING_DEFAULTS, .format = find_format("int64")};
    bool raw;
    int key;

    while ((key = next_own_option(command, argc, argv, &q.acting)) != -1) {
        if (key == 'F')
            q.format = find_format(optarg);
        else if (key == 'c')
            q.count = parse_number(optarg, SIZE_MAX);
        else
            q.offset = parse_number(optarg, SIZE_MAX);
    }
    check_operands(argc, 2, argc);
    q.action = find_action(argv[optind]);
    raw = q.format->kind == RAW;
    if (q.format->kind == TEXT)
        usage_error("a region has no lines of text; format raw has bytes");
    if (q.count && q.action != GET)
        usage_error("--count is for 'region get'");
    if (q.action == ADD && (raw || q.format->kind == FLOATING))
        usage_error("'region add' is for the formats of whole numbers");
    check_operands(argc, q.action == GET || (q.action == SET && raw) ? 2 : 3,
                   q.action == SET && !raw ? argc
                   : q.action == ADD       ? 3
                                           : 2);
    parse_object_path(argv[optind + 1], &q.path);
    q.operands = argv + optind + 2;
    return act(&q);
}

static const struct option_row options[] = {
    {'F', "format", "FORMAT", "what is there: int64, double, uint8, raw … (int64)"},
    {OPTION_PRIVATE, "offset", "N", "bytes from its beginning (0)"},
    {'c', "count", "N", "with get: how many values (1), or raw bytes (all)"},
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_region = {
    .name = "region",
    .arguments = "[OPTION...] get|set|add REGION [VALUE...]",
    .summary = "get numbers or bytes of a region, set them, or add to a number",
    .notes = "The formats are those of 'shmctl stream'. 'set' of format raw takes the input.\n"
             "A number whose place is a multiple of its size is got and set in one step.\n"
             "'add' is one step, wraps around, and prints the sum. Several values are not\n"
             "one step: a lock is for that. Values that begin with '-' go after '--'.",
    .options = options,
    .run = run,
};
