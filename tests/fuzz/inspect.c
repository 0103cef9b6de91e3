/*
 * A fuzz target: any bytes at all, as a segment, are looked at with <shmkit/inspect.h>. For
 * libFuzzer, or, with -DREPLAY, a program of its own: inspect SECONDS CORPUS-FILE..., which looks
 * at the files, then at damaged ones until the time is over.
 *
 * The file is /dev/shm/$FUZZ_SEGMENT, so that the bytes come the way they always come; a crash
 * leaves it there, to be looked at again.
 */
#include "damage.h"

#include <shmkit/inspect.h>
#include <shmkit/segment.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_EACH 16 /* a list is of everybody's segments */

static char name[SHK_SEGMENT_NAME_MAX + 1], path[SHK_SEGMENT_NAME_MAX + 16];
static int file = -1;

#define ASSERT(condition)                                                    \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "inspect: line %d: %s\n", __LINE__, #condition); \
            abort();                                                         \
        }                                                                    \
    } while (0)

/* ---- what is promised about any bytes ---- */

/* UTF-8 without control characters, which ends within the room. */
static bool is_text(const char *text, size_t room)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = strnlen(text, room);

    if (n == room)
        return false;
    while (*s) {
        static const uint32_t least[] = {0x20, 0xa0, 0x800, 0x10000};
        int more = *s < 0x80             ? 0
                   : (*s & 0xe0) == 0xc0 ? 1
                   : (*s & 0xf0) == 0xe0 ? 2
                   : (*s & 0xf8) == 0xf0 ? 3
                                         : -1;
        uint32_t c = more > 0 ? *s & (0x3f >> more) : *s;

        if (more < 0)
            return false;
        s++;
        for (int i = 0; i < more; i++, s++) {
            if ((*s & 0xc0) != 0x80)
                return false;
            c = c << 6 | (*s & 0x3f);
        }
        if (c < least[more] || c == 0x7f || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
    }
    return true;
}

#define IS_TEXT(array) is_text(array, sizeof(array))

static void check_segment(const struct shk_segment_info *info)
{
    ASSERT(IS_TEXT(info->name) && IS_TEXT(info->problem));
    ASSERT(info->state <= SHK_SEGMENT_DENIED);
    ASSERT((info->state == SHK_SEGMENT_GOOD) == (*info->problem == '\0'));
}

static void check_object(const struct shk_snapshot *look, const struct shk_object_info *object)
{
    const struct shk_object_info *found = shk_snapshot_find_object(look, object->name);

    ASSERT(IS_TEXT(object->name));
    ASSERT(found && strcmp(found->name, object->name) == 0);
    if (object->kind == SHK_KIND_COND)
        ASSERT(IS_TEXT(object->as.cond.lock));
    if (object->kind == SHK_KIND_QUEUE && object->as.queue.capacity)
        ASSERT(object->as.queue.size <= object->as.queue.capacity);
    shk_snapshot_find_member(look, object->holder);
}

/* A role is one of the two that there are, and of a process that is alive. */
static void check_roles(const struct shk_snapshot *look, const struct shk_object_info *object)
{
    const struct shk_member_info *member;
    unsigned roles;

    ASSERT(object->producer_line <= SHK_LINE_BROKEN && object->consumer_line <= SHK_LINE_BROKEN);
    for (size_t i = 0; (member = shk_snapshot_member(look, i)); i++) {
        roles = shk_snapshot_roles(look, object, member);
        ASSERT((roles & ~(unsigned)(SHK_PRODUCER | SHK_CONSUMER)) == 0);
        ASSERT(roles == 0 || member->alive);
    }
}

static void check_member(const struct shk_snapshot *look, const struct shk_member_info *member)
{
    const struct shk_member_info *found = shk_snapshot_find_member(look, member->id);

    ASSERT(IS_TEXT(member->command) && IS_TEXT(member->name) && IS_TEXT(member->waits_on));
    ASSERT(found && found->id == member->id);
    ASSERT(member->waiting >= 0);
    ASSERT(member->waits_for <= SHK_WAITS_FOR_VERSION);
    ASSERT(*member->waits_on == '\0' || shk_snapshot_find_object(look, member->waits_on));
}

/* Any bytes give items or an error, and no more of them than was asked for. */
static void list_items(const struct shk_object_info *object)
{
    struct shk_item_info *items = NULL;
    size_t max = object->serial % 2 ? SIZE_MAX : 3;
    ssize_t n = shk_item_list(name, object->name, max, &items);
    uint64_t sum = 0;

    ASSERT(n >= 0 ? items != NULL && (size_t)n <= max : items == NULL && *shk_last_error());
    for (ssize_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].length; k++)
            sum += items[i].bytes[k];
    ASSERT(n >= 0 || sum == 0);
    free(items);
}

static void take_look(void)
{
    const struct shk_segment_info *info;
    const struct shk_object_info *object;
    const struct shk_member_info *member;
    struct shk_snapshot *look = NULL;
    uint64_t objects = 0, members = 0, waiters = 0;
    int r = shk_snapshot_open(name, &look);

    ASSERT(r == 0 || (r == -EPROTO && !look && *shk_last_error()));
    if (r < 0)
        return;
    info = shk_snapshot_segment(look);
    check_segment(info);
    for (; (object = shk_snapshot_object(look, objects)); objects++) {
        check_object(look, object);
        check_roles(look, object);
        ASSERT(objects == 0 ||
               strcmp(shk_snapshot_object(look, objects - 1)->name, object->name) <= 0);
        ASSERT(object->users <= info->members_alive);
        list_items(object);
        waiters += object->waiters;
    }
    for (; (member = shk_snapshot_member(look, members)); members++)
        check_member(look, member);
    ASSERT(objects == info->objects && objects <= info->max_objects);
    ASSERT(members == (uint64_t)info->members_alive + info->members_dead &&
           members <= info->max_members);
    ASSERT(waiters <= info->members_alive);
    shk_snapshot_close(look);
}

static void list(void)
{
    struct shk_segment_info *infos;
    ssize_t n = shk_segment_list(SHK_LIST_FOREIGN, &infos);
    bool found = false;

    ASSERT(n >= 0);
    for (ssize_t i = 0; i < n; i++) {
        check_segment(&infos[i]);
        found = found || strcmp(infos[i].name, name) == 0;
    }
    ASSERT(found);
    free(infos);
}

/* ---- the file ---- */

static void remove_file(void)
{
    unlink(path);
}

static void open_file(void)
{
    const char *given = getenv("FUZZ_SEGMENT");

    if (given)
        snprintf(name, sizeof(name), "%s", given);
    else
        snprintf(name, sizeof(name), "fuzz-%d", (int)getpid());
    snprintf(path, sizeof(path), "/dev/shm/%s", name);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(file >= 0);
    atexit(remove_file);
}

static void write_file(const uint8_t *bytes, size_t size)
{
    ASSERT(ftruncate(file, 0) == 0);
    ASSERT(pwrite(file, bytes, size, 0) == (ssize_t)size);
    ASSERT(ftruncate(file, (off_t)file_size(bytes, size)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static unsigned runs;

    if (file < 0)
        open_file();
    write_file(bytes, size);
    take_look();
    if (runs++ % LIST_EACH == 0)
        list();
    return 0;
}

#ifndef REPLAY

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

/*
 * libFuzzer's own changes, which know what the code compares with, in part of it and without moving
 * the rest.
 */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed)
{
    enum { PART = 64 };
    size_t at;

    (void)most;
    if (seed % 4 != 0 || size < PART)
        return damage(bytes, size, seed);
    at = seed / 4 % (size / PART) * PART;
    LLVMFuzzerMutate(bytes + at, PART, PART);
    return size;
}

#else

#define MOST_SECONDS_A_LOOK 20

struct sample {
    uint8_t *bytes;
    size_t size;
};

static struct sample read_sample(const char *from)
{
    struct sample sample = {0};
    FILE *in = fopen(from, "rb");
    long size;

    if (!in || fseek(in, 0, SEEK_END) != 0 || (size = ftell(in)) < 0 ||
        !(sample.bytes = malloc(size + 1))) {
        perror(from);
        exit(1);
    }
    rewind(in);
    sample.size = fread(sample.bytes, 1, size, in);
    fclose(in);
    return sample;
}

static void run(const uint8_t *bytes, size_t size)
{
    alarm(MOST_SECONDS_A_LOOK); /* a hang is a failure */
    LLVMFuzzerTestOneInput(bytes, size);
}

int main(int argc, char **argv)
{
    struct sample *samples = calloc(argc, sizeof(*samples));
    long seconds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    uint64_t seed = 0;
    time_t end = time(NULL) + seconds;

    if (argc < 3 || !samples) {
        fprintf(stderr, "usage: inspect SECONDS FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        samples[i] = read_sample(argv[i]);
        run(samples[i].bytes, samples[i].size);
    }
    while (time(NULL) < end) {
        const struct sample *sample = &samples[2 + seed % (argc - 2)];
        uint8_t *bytes =
            malloc(sample->size + 1); /* anew, so that a sanitizer sees where it ends */

        ASSERT(bytes);
        memcpy(bytes, sample->bytes, sample->size);
        seed++;
        run(bytes, damage(bytes, sample->size, seed));
        free(bytes);
    }
    for (int i = 2; i < argc; i++)
        free(samples[i].bytes);
    free(samples);
    printf("%llu damaged segments looked at\n", (unsigned long long)seed);
    return 0;
}

#endif
