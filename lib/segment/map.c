#include "segment/map.h"

#include "base/error.h"
#include "base/name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * The C library, and which semaphores waiters sleep on: they must be the same for all that share a
 * segment. 0: glibc, with its own.
 */
#ifdef __GLIBC__
#define OTHER_LIBC UINT64_C(0)
#define LIBC_NAME  "glibc"
#else
#define OTHER_LIBC (UINT64_C(1) << 32)
#define LIBC_NAME  "another C library than glibc"
#endif
#ifdef HAVE_SEM_CLOCKWAIT
#define OWN_PERMITS UINT64_C(0)
#else
#define OWN_PERMITS (UINT64_C(1) << 33)
#endif

uint64_t shki_fingerprint(void)
{
    const uint64_t facts[] = {
        sizeof(void *),
        0x0102030405060708u,
        sizeof(pthread_mutex_t),
        sizeof(pthread_cond_t),
        sizeof(sem_t) | OTHER_LIBC | OWN_PERMITS,
        shki_robust_word_offset(),
        sizeof(struct shki_header),
        sizeof(struct shki_entry),
        sizeof(struct shki_member_shared),
        sizeof(struct shki_node),
        sizeof(struct shki_waitlist_shared),
    };
    const unsigned char *byte = (const unsigned char *)facts;
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < sizeof(facts); i++)
        h = (h ^ byte[i]) * 1099511628211u;
    return h;
}

uint64_t shki_pid_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

int shki_check_namespace(const char *name, uint64_t created_in)
{
    uint64_t here = shki_pid_namespace();

    if (created_in == here || created_in == 0 || here == 0)
        return 0;
    return shki_fail(
        -EXDEV,
        "segment /%s was created in another pid namespace; robust mutexes do not work across them",
        name);
}

/* ---- Names ---- */

void shki_path(char path[SHKI_PATH_MAX], const char *name)
{
    snprintf(path, SHKI_PATH_MAX, "%s/%s", SHKI_DIRECTORY, name);
}

int shki_segment_name(const char *name, const char **bare)
{
    if (name && *name == '/')
        name++;
    *bare = name;
    return shki_check_name("the segment's name", name, SHK_SEGMENT_NAME_MAX);
}

/* ---- The file ---- */

int shki_segment_open_file(const char *name, int access)
{
    static const struct timespec nap = {.tv_nsec = 1000000};
    char path[SHKI_PATH_MAX];
    int fd;

    shki_path(path, name);
    fd = shki_open(path, access | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd >= 0 || errno == ENOENT)
        return fd >= 0 ? fd : -ENOENT;
    if (errno == EAGAIN) { /* a process that removes it has a lease on it for a moment */
        nanosleep(&nap, NULL);
        return -EAGAIN;
    }
    return shki_fail(errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EPROTO : -errno,
                     "segment /%s cannot be opened: %s", name, strerror(errno));
}

int shki_check_header(const char *name, const struct shki_header *h, uint64_t file_size)
{
    struct shki_geometry g;

    if (memcmp(h->magic, SHKI_MAGIC, sizeof(h->magic)) != 0)
        return shki_fail(-EPROTO, "/%s is not a segment of shmkit", name);
    if (h->layout != SHKI_LAYOUT)
        return shki_fail(-EPROTO,
                         "segment /%s was created by layout %u, this library reads layout %u", name,
                         h->layout, SHKI_LAYOUT);
    if (h->header_size != sizeof(*h) || h->fingerprint != shki_fingerprint())
        return shki_fail(
            -EPROTO,
            "segment /%s was created by a program of another machine type or C library (this one "
            "is of %u bits, with %s); all that share a segment must have the same",
            name, (unsigned)sizeof(void *) * CHAR_BIT, LIBC_NAME);
    if (h->size != file_size)
        return shki_fail(-EPROTO, "segment /%s is damaged: it has %llu bytes, not %llu", name,
                         (unsigned long long)file_size, (unsigned long long)h->size);
    if (h->asymmetric > 1)
        return shki_fail(-EPROTO, "segment /%s is damaged: its kind of fences", name);
    if (h->max_members < 1 || h->max_members > SHKI_TABLE_MAX || h->max_objects < 1 ||
        h->max_objects > SHKI_TABLE_MAX)
        return shki_fail(-EPROTO, "segment /%s is damaged: the size of its tables", name);
    g = shki_geometry(h->max_members, h->max_objects, h->size);
    if (h->entries_offset != g.entries_offset || h->members_offset != g.members_offset ||
        h->nodes_offset != g.nodes_offset || h->processes_offset != g.processes_offset ||
        h->blocks_offset != g.blocks_offset || h->heap_offset != g.heap_offset ||
        g.heap_offset >= h->size || h->members_ready > h->max_members ||
        h->processes_ready > h->max_members)
        return shki_fail(-EPROTO, "segment /%s is damaged: the places of its tables", name);
    return 0;
}

int shki_segment_read_header(const char *name, int fd, const struct stat *st, struct shki_header *h)
{
    ssize_t n = pread(fd, h, sizeof(*h), 0);

    if (n < 0)
        return shki_fail(-errno, "segment /%s cannot be read: %s", name, strerror(errno));
    if (n < (ssize_t)sizeof(*h))
        return shki_fail(-EPROTO,
                         "/%s is not a segment of shmkit, or it is damaged: it has only %lld bytes",
                         name, (long long)st->st_size);
    return shki_check_header(name, h, (uint64_t)st->st_size);
}

/* Whether this process may trust its memory to the owner of that file. */
static int check_owner(const char *name, const struct stat *st, unsigned flags)
{
    char owner[64];

    if (!S_ISREG(st->st_mode))
        return shki_fail(-EPROTO, "/%s is not a segment of shmkit, not even a file", name);
    if (st->st_uid != geteuid() && st->st_uid != 0 && !(flags & SHK_ANY_OWNER))
        return shki_fail(
            -EPERM,
            "segment /%s belongs to %s (%u); use SHK_ANY_OWNER (shmctl: --any-owner) if you trust "
            "that user",
            name, shki_user_name(owner, sizeof(owner), st->st_uid), (unsigned)st->st_uid);
    return 0;
}

/* ---- The mapping ---- */

static int say_not_mapped(const char *name, int error)
{
    if (error == EAGAIN) /* mlockall(MCL_FUTURE) */
        return shki_fail(
            -ENOMEM,
            "segment /%s cannot be mapped: the process locks its memory, and the segment's "
            "address space is above its limit (RLIMIT_MEMLOCK)",
            name);
    return shki_fail(-error, "segment /%s cannot be mapped: %s", name, strerror(error));
}

int shki_segment_map(const char *name, int fd, unsigned flags, struct shk_segment **out)
{
    struct shk_segment *s = NULL;
    struct shki_header h;
    struct stat st;
    int r;

    if (fstat(fd, &st) != 0)
        return shki_fail(-errno, "segment /%s: %s", name, strerror(errno));
    r = check_owner(name, &st, flags);
    if (r == 0)
        r = shki_segment_read_header(name, fd, &st, &h);
    if (r == 0)
        r = shki_check_namespace(name, h.pid_namespace);
    if (r == 0 && (!shki_robust_is_intact(&h.lock.robust) ||
                   !shki_robust_is_intact(&h.watchers.mutex.robust)))
        r = shki_fail(-EPROTO, "segment /%s is damaged: a mutex of its header", name);
    if (r < 0)
        return r;
    s = calloc(1, sizeof(*s));
    if (s)
        s->uses = calloc(h.max_objects, 3 * sizeof(*s->uses));
    if (s == NULL || s->uses == NULL) {
        r = shki_say(-ENOMEM, "out of memory");
        goto fail;
    }
    s->base = s->memory.base = shki_map(fd, h.size);
    if (s->base == NULL) {
        r = say_not_mapped(name, errno);
        goto fail;
    }
    s->roles = s->uses + h.max_objects;
    shki_memory_open(&s->memory, fd, &st);
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->row = s->child = SHKI_NO_ROW;
    s->header = (struct shki_header *)(void *)s->base;
    s->id = h.id;
    s->size = h.size;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->max_members = h.max_members;
    s->max_objects = h.max_objects;
    s->geometry = shki_geometry(h.max_members, h.max_objects, h.size);
    s->asymmetric = h.asymmetric;

    pthread_mutex_init(&s->local, NULL);
    *out = s;
    return 0;
fail:
    if (s)
        free(s->uses);
    free(s);
    return r;
}

void shki_segment_unmap(struct shk_segment *s)
{
    munmap(s->base, s->size);
    shki_memory_close(&s->memory);
    s->base = s->memory.base = NULL;
    s->header = NULL;
}

void shki_segment_destroy(struct shk_segment *s)
{
    pthread_mutex_destroy(&s->local);
    free(s->watchers);
    free(s->uses);
    free(s);
}

void shki_segment_discard(struct shk_segment *s)
{
    shki_segment_unmap(s);
    shki_segment_destroy(s);
}

bool shki_segment_is_lost(struct shk_segment *s)
{
    char path[SHKI_PATH_MAX];
    struct stat st;

    if (shki_segment_is_retired(s))
        return true;
    if (s->unnamed)
        return false;
    shki_path(path, s->name);
    if (lstat(path, &st) == 0 ? st.st_ino == s->inode && st.st_dev == s->device : errno != ENOENT)
        return false;
    /* After chroot(2) and the like there is another directory of that name, or none. */
    if (stat(SHKI_DIRECTORY, &st) != 0 || st.st_dev != s->device)
        return false;
    /*
     * RT1: as an unlinker does it; pairs with the acquire in shki_segment_is_retired(). Killed
     * before or after: the next waiter finds it.
     */
    store_release(&s->header->retired, 1);
    return true;
}
