#include "segment/create.h"

#include "base/error.h"
#include "base/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* bytes of address space: memory is allocated only for what is in it */
#define SIZE_DEFAULT     (UINT64_C(1) << (sizeof(void *) > 4 ? 36 : 30))
#define SIZE_DEFAULT_MIN (UINT64_C(1) << 30)
#define SIZE_MIN         (UINT64_C(64) << 10)
#define SIZE_MAX_        (UINT64_C(1) << 40)
#define MEMBERS_DEFAULT  1024u
#define OBJECTS_DEFAULT  256u

/*
 * The default size: as much as there may ever be memory for. Less if this process is not given
 * twice that in address space (ulimit -v, a processor with few address bits, mlockall with a
 * limit), or may not have a file of that size.
 */
static uint64_t default_size(void)
{
    uint64_t size = SIZE_DEFAULT;
    struct rlimit limit;
    void *probe;

    for (; size > SIZE_DEFAULT_MIN; size /= 2) {
        probe = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (probe != MAP_FAILED) {
            munmap(probe, 2 * size);
            break;
        }
    }
    while (size > SIZE_DEFAULT_MIN && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur)
        size /= 2;
    return size;
}

static int make_header(const char *name, struct shki_header *h, const struct shk_segment_options *o)
{
    struct shki_geometry g;

    memcpy(h->magic, SHKI_MAGIC, sizeof(h->magic));
    h->layout = SHKI_LAYOUT;
    h->header_size = sizeof(*h);
    h->fingerprint = shki_fingerprint();
    h->pid_namespace = shki_pid_namespace();
    h->created = time(NULL);
    h->creator = getpid();
    h->size = o->size ? shki_round_up(o->size, SHKI_PAGE) : default_size();
    h->max_members = o->max_members ? o->max_members : MEMBERS_DEFAULT;
    h->max_objects = o->max_objects ? o->max_objects : OBJECTS_DEFAULT;
    if (h->size < SIZE_MIN || h->size > SIZE_MAX_)
        return shki_fail(-EINVAL, "segment /%s: its size must be from 64 KiB to 1 TiB", name);
    if (h->max_members > SHKI_TABLE_MAX || h->max_objects > SHKI_TABLE_MAX)
        return shki_fail(-EINVAL, "segment /%s: no more than %u members and objects", name,
                         SHKI_TABLE_MAX);
    g = shki_geometry(h->max_members, h->max_objects, h->size);
    if (g.heap_offset + SHKI_PAGE > h->size)
        return shki_fail(-EINVAL,
                         "segment /%s: %llu bytes have no room for so many members and objects",
                         name, (unsigned long long)h->size);
    h->entries_offset = g.entries_offset;
    h->members_offset = g.members_offset;
    h->nodes_offset = g.nodes_offset;
    h->processes_offset = g.processes_offset;
    h->blocks_offset = g.blocks_offset;
    h->heap_offset = g.heap_offset;
    h->heap_top = g.heap_offset;
    store_relaxed(&h->pool_floor, (uint32_t)(h->size / SHKI_BLOCK));
    h->next_serial = 1;
    store_relaxed(&h->watchers.next_ticket, 1);
    h->next_join = 1;
    h->asymmetric = shki_fence_is_wanted() && shki_fence_register();
    if (getrandom(&h->id, sizeof(h->id), GRND_NONBLOCK) != sizeof(h->id))
        h->id = (uint64_t)shki_now() ^ (uint64_t)getpid() << 32;
    return 0;
}

/* An empty file without a name where possible, else with one that cannot be opened as a segment. */
static int open_unnamed(char temporary[SHKI_PATH_MAX])
{
    int fd = shki_open(SHKI_DIRECTORY, O_TMPFILE | O_RDWR, 0600);

    *temporary = '\0';
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd >= 0 ? fd : -errno;
    snprintf(temporary, SHKI_PATH_MAX, "%s/.shmkit-%d-%llx", SHKI_DIRECTORY, (int)getpid(),
             (unsigned long long)shki_now());
    fd = shki_open(temporary, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0)
        *temporary = '\0';
    return fd >= 0 ? fd : -errno;
}

int shki_segment_publish(int fd, const char *temporary, const char *path)
{
    char self[64];
    int r;

    if (*temporary)
        return link(temporary, path) == 0 ? 0 : -errno;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    r = linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
    if (r != 0 && errno == ENOENT) /* no /proc */
        r = linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH);
    return r == 0 ? 0 : -errno;
}

/* Killed at any time before it is published: nothing is left. */
int shki_segment_create(const char *name, const struct shk_segment_options *options,
                        char temporary[SHKI_PATH_MAX])
{
    struct shk_segment_options defaults = {0};
    const struct shk_segment_options *o = options ? options : &defaults;
    mode_t mode = o->mode ? o->mode : 0600;
    struct shki_header fields = {0}, *h = MAP_FAILED;
    struct rlimit limit;
    int fd, r;

    if (mode & ~(mode_t)0777)
        return shki_fail(-EINVAL, "segment /%s: the mode has more than permission bits", name);
    r = make_header(name, &fields, o);
    if (r < 0)
        return r;
    fd = open_unnamed(temporary);
    if (fd < 0)
        return shki_fail(fd, "segment /%s cannot be created in " SHKI_DIRECTORY ": %s", name,
                         strerror(-fd));
    r = -EFBIG;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        fields.size > limit.rlim_cur)
        goto fail; /* the kernel would send SIGXFSZ */
    if (ftruncate(fd, (off_t)fields.size) != 0 || fchmod(fd, mode) != 0) {
        r = -errno;
        goto fail;
    }
    r = shki_allocate_file(fd, 0, fields.members_offset);
    if (r < 0)
        goto fail;
    h = mmap(NULL, SHKI_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (h == MAP_FAILED) {
        r = -errno;
        goto fail;
    }
    memcpy(h, &fields, sizeof(fields));
    r = shki_robust_init(&h->lock.robust);
    if (r == 0)
        r = shki_robust_init(&h->watchers.mutex.robust);
    munmap(h, SHKI_PAGE);
    if (r == 0)
        return fd;
fail:
    if (*temporary)
        unlink(temporary);
    close(fd);
    return shki_fail(r, "segment /%s cannot be created: %s", name, strerror(-r));
}
