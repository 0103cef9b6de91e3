#include "segment/image.h"

#include "base/error.h"
#include "segment/tables.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int shki_image_use(struct shki_image *r, const char *name, int fd)
{
    ssize_t n;
    int error;

    r->fd = fd;
    r->base = NULL;
    if (fstat(fd, &r->stat) != 0)
        return shki_fail(-errno, "/%s: %s", name, strerror(errno));
    n = S_ISREG(r->stat.st_mode) ? pread(fd, &r->header, sizeof(r->header), 0) : 0;
    if (n < 0)
        return shki_fail(-errno, "/%s cannot be read: %s", name, strerror(errno));
    if (n < (ssize_t)sizeof(r->header))
        return shki_fail(-EPROTO,
                         "/%s is not a segment of shmkit, or it is damaged: it has only %lld bytes",
                         name, (long long)r->stat.st_size);
    error = shki_check_header(name, &r->header, (uint64_t)r->stat.st_size);
    if (error < 0)
        return error;
    r->geometry = shki_geometry(r->header.max_members, r->header.max_objects, r->header.size);
    r->members_ready = r->header.members_ready < r->header.max_members ? r->header.members_ready
                                                                       : r->header.max_members;
    r->processes_ready = r->header.processes_ready < r->header.max_members
                             ? r->header.processes_ready
                             : r->header.max_members;
    return 0;
}

int shki_image_open(struct shki_image *r, const char *name)
{
    char path[SHKI_PATH_MAX];
    int fd, error;

    shki_path(path, name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? shki_fail(-ENOENT, "there is no segment /%s", name)
                               : shki_fail(errno == ELOOP ? -EPROTO : -errno,
                                           "/%s cannot be opened: %s", name, strerror(errno));
    error = shki_image_use(r, name, fd);
    if (error < 0)
        close(fd);
    return error;
}

void shki_image_close(struct shki_image *r)
{
    if (r->base == NULL)
        close(r->fd);
}

void shki_image_use_mapped(struct shki_image *r, const struct shk_segment *s)
{
    memset(r, 0, sizeof(*r));
    r->fd = -1;
    r->base = s->base;
    r->geometry = s->geometry;
    r->header.size = s->size;
    r->header.max_members = s->max_members;
    r->header.max_objects = s->max_objects;
    r->members_ready = shki_members_ready(s);
}

int shki_image_find(struct shki_image *r, uint64_t inode, uint64_t id)
{
    DIR *directory = opendir(SHKI_DIRECTORY);
    struct dirent *e;
    int found = -ENOENT;

    while (directory && found < 0 && (e = readdir(directory))) {
        if (e->d_ino != inode || strlen(e->d_name) > SHK_SEGMENT_NAME_MAX ||
            shki_image_open(r, e->d_name) < 0)
            continue;
        if (r->header.id == id)
            found = 0;
        else
            shki_image_close(r);
    }
    if (directory)
        closedir(directory);
    return found;
}

/* As pread(2), and it does not fault either. */
static ssize_t read_at(const struct shki_image *r, void *to, size_t size, uint64_t offset)
{
    struct iovec from, into = {to, size};

    if (r->base == NULL)
        return pread(r->fd, to, size, (off_t)offset);
    from = (struct iovec){(void *)(uintptr_t)(r->base + offset), size};
    return process_vm_readv(getpid(), &into, 1, &from, 1, 0);
}

bool shki_image_read(const struct shki_image *r, uint64_t offset, void *to, size_t size)
{
    return offset <= r->header.size && size <= r->header.size - offset &&
           read_at(r, to, size, offset) == (ssize_t)size;
}

bool shki_image_entry(const struct shki_image *r, uint32_t index, struct shki_entry *e)
{
    return index < r->header.max_objects &&
           shki_image_read(r, r->geometry.entries_offset + (uint64_t)index * sizeof(*e), e,
                           sizeof(*e));
}

bool shki_image_member(const struct shki_image *r, uint32_t index, struct shki_member_shared *m)
{
    return index < r->members_ready &&
           shki_image_read(r, r->geometry.members_offset + (uint64_t)index * sizeof(*m), m,
                           sizeof(*m));
}

/*
 * From a table of `n` records. The geometry has been checked against the size of the file, which
 * may have been made shorter since.
 */
static uint32_t read_records(const struct shki_image *r, uint64_t offset, uint32_t n,
                             uint32_t first, void *to, size_t size)
{
    uint32_t left = first < n ? n - first : 0;
    ssize_t got = read_at(r, to, size * (left < SHKI_IMAGE_BATCH ? left : SHKI_IMAGE_BATCH),
                          offset + (uint64_t)first * size);

    return got > 0 ? (uint32_t)((size_t)got / size) : 0;
}

uint32_t shki_image_entries(const struct shki_image *r, uint32_t first,
                            struct shki_entry entries[SHKI_IMAGE_BATCH])
{
    return read_records(r, r->geometry.entries_offset, r->header.max_objects, first, entries,
                        sizeof(*entries));
}

uint32_t shki_image_members(const struct shki_image *r, uint32_t first,
                            struct shki_member_shared members[SHKI_IMAGE_BATCH])
{
    return read_records(r, r->geometry.members_offset, r->members_ready, first, members,
                        sizeof(*members));
}

bool shki_image_has(const struct shki_image *r, const struct shki_entry *e, size_t size)
{
    return e->offset >= r->geometry.heap_offset && e->offset % shki_extent_unit(e->size) == 0 &&
           e->offset <= r->header.size && e->size <= r->header.size - e->offset && size <= e->size;
}
