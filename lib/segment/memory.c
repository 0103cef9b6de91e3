/*
 * Memory is allocated and freed through the mapping, so that no descriptor is kept. A descriptor's
 * number belongs to the program: close_range(2) closes it, and the number may then be that of a
 * file of the program's.
 *
 * Kernels before 5.14 have no MADV_POPULATE_WRITE. There a descriptor is kept, at FIRST_DESCRIPTOR
 * or above, and compared with the segment's device and inode before each use and before it is
 * closed.
 *
 * Source: madvise(2), mlock2(2), fallocate(2), fcntl(2).
 */
#include "segment/memory.h"

#include "base/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#define PIECE            (UINT64_C(16) << 20) /* bytes at a time: a signal is answered soon */
#define FIRST_DESCRIPTOR 100                  /* the lowest number of a descriptor that is kept */
#define STANDARD         3                    /* standard input, output and error are below this */

static uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

int shki_open(const char *path, int flags, mode_t mode)
{
    int low[STANDARD], n = 0, fd, error;

    /*
     * Where a standard descriptor is closed, one that can be neither read nor written has its
     * number meanwhile: what another thread prints then must not go into a segment.
     */
    while ((fd = open("/", O_PATH | O_CLOEXEC)) >= 0 && fd < STANDARD && n < STANDARD)
        low[n++] = fd;
    if (fd >= 0)
        close(fd);
    fd = open(path, flags | O_CLOEXEC, mode);
    error = errno;
    while (n > 0)
        close(low[--n]);
    errno = error;
    return fd;
}

/* Whether mlock(2) or mlockall(2) holds the page there. MADV_DONTNEED changes nothing of a file. */
static bool is_locked(void *at)
{
    return madvise(at, page_size(), MADV_DONTNEED) != 0 && errno == EINVAL;
}

void *shki_map(int fd, uint64_t size)
{
    void *base = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    int error;

    if (base == MAP_FAILED)
        return NULL;
    /* A core dump would allocate each page, and dump what belongs to other processes. */
    madvise(base, size, MADV_DONTDUMP);
    if (mprotect(base, size, PROT_READ | PROT_WRITE) != 0) {
        error = errno;
        munmap(base, size);
        errno = error;
        return NULL;
    }
    /*
     * After mlockall(MCL_FUTURE) a mapping is locked, and a readable one is allocated as a whole:
     * therefore PROT_NONE above. From here on a page is locked when it is first touched.
     */
    if (is_locked(base) && mlock2(base, size, MLOCK_ONFAULT) != 0)
        munlock(base, size);
    return base;
}

static bool is_file_of(int fd, uint64_t device, uint64_t inode)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Whether the kernel allocates through a mapping. A segment's first page is allocated already. */
static bool populates(void *base)
{
    return shki_repair_enabled(SHKI_POPULATE) &&
           madvise(base, page_size(), MADV_POPULATE_WRITE) == 0;
}

void shki_memory_open(struct shki_memory *m, int fd, const struct stat *st)
{
    m->device = st->st_dev;
    m->inode = st->st_ino;
    m->descriptor = populates(m->base) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
    m->needs_descriptor = !populates(m->base);
}

/*
 * A duplicate of the descriptor that is kept, for one use: no other thread can exchange it. -1: it
 * is not the segment's any more.
 */
static int own_descriptor(struct shki_memory *m)
{
    int fd = fcntl(m->descriptor, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);

    if (fd >= 0 && !is_file_of(fd, m->device, m->inode)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void shki_memory_close(struct shki_memory *m)
{
    if (m->needs_descriptor && is_file_of(m->descriptor, m->device, m->inode))
        close(m->descriptor);
    m->descriptor = -1;
}

static int populate(unsigned char *at, uint64_t size)
{
    int r;

    do
        r = madvise(at, size, MADV_POPULATE_WRITE);
    while (r != 0 && (errno == EINTR || errno == EAGAIN));
    /* EFAULT stands for the SIGBUS that a store would have caused. */
    return r == 0 ? 0 : errno == EFAULT ? -ENOSPC : -errno;
}

static int allocate_by_descriptor(struct shki_memory *m, uint64_t at, uint64_t size)
{
    int fd = own_descriptor(m), r;

    if (fd < 0)
        return -EBADF;
    r = shki_allocate_file(fd, at, size);
    close(fd);
    return r;
}

int shki_allocate_file(int fd, uint64_t at, uint64_t size)
{
    uint64_t done = 0;
    int r = 0;

    while (done < size && r == 0) {
        uint64_t piece = size - done < PIECE ? size - done : PIECE;

        do
            r = posix_fallocate(fd, (off_t)(at + done), (off_t)piece);
        while (r == EINTR);
        done += piece;
    }
    return -r;
}

int shki_memory_allocate(struct shki_memory *m, uint64_t at, uint64_t size, bool undo)
{
    uint64_t done = at / page_size() * page_size(), end = at + size, piece;
    int r = 0;

    if (m->needs_descriptor)
        r = allocate_by_descriptor(m, at, size);
    for (; !m->needs_descriptor && done < end && r == 0; done += piece) {
        piece = end - done < PIECE ? end - done : PIECE;
        r = populate(m->base + done, piece);
    }
    if (r < 0 && undo)
        shki_memory_punch(m, at, size);
    return r;
}

int shki_memory_allocate_zeroed(struct shki_memory *m, uint64_t at, uint64_t size, uint64_t first)
{
    uint64_t page = page_size(), end = at + first;
    uint64_t head = (at + page - 1) / page * page, tail = end / page * page;
    bool zero = shki_memory_punch(m, at, size);
    int r = shki_memory_allocate(m, at, first, true);

    if (r < 0)
        return r;
    if (!zero || head >= end || tail < head) {
        memset(m->base + at, 0, first);
    } else {
        /* The whole pages between are zero; the rest of the pages at the ends is other objects'. */
        memset(m->base + at, 0, head - at);
        memset(m->base + tail, 0, end - tail);
    }
    return 0;
}

bool shki_memory_punch(struct shki_memory *m, uint64_t at, uint64_t size)
{
    uint64_t page = page_size(), from = (at + page - 1) / page * page;
    uint64_t end = (at + size) / page * page;
    unsigned char *first = m->base + from;
    bool done;

    if (end <= from)
        return true;
    if (madvise(first, end - from, MADV_REMOVE) == 0)
        return true;
    if (!is_locked(first) || munlock(first, end - from) != 0)
        return false;
    done = madvise(first, end - from, MADV_REMOVE) == 0;
    mlock2(first, end - from, MLOCK_ONFAULT);
    return done;
}
