#include "segment/segment.h"

#include "base/error.h"
#include "base/fence.h"
#include "base/name.h"
#include "base/thread.h"
#include "segment/directory.h"
#include "segment/member.h"
#include "segment/process.h"
#include "segment/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* of address space: memory is only what is in it */
#define SIZE_DEFAULT     (UINT64_C(1) << (sizeof(void *) > 4 ? 36 : 30))
#define SIZE_DEFAULT_MIN (UINT64_C(1) << 30)
#define SIZE_MIN         (UINT64_C(64) << 10)
#define SIZE_MAX_        (UINT64_C(1) << 40)
#define MEMBERS_DEFAULT  1024u
#define OBJECTS_DEFAULT  256u
#define TABLE_MAX        65535u
/* the lock is held for microseconds; who has it longer is stopped */
#define LOCK_LIMIT SHK_SEC(10)
#define ATTEMPTS   1000 /* to open what others create and unlink all the time */

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct shk_segment *segments; /* under `registry` */

void shki_registry_lock(void)
{
    pthread_mutex_lock(&registry);
}

void shki_registry_unlock(void)
{
    pthread_mutex_unlock(&registry);
}

void (*shki_in_forked_child)(void);

/*
 * fork: the child gets the mappings and the handles, but no thread of it is a member of anything.
 */
static void before_fork(void)
{
    pthread_mutex_lock(&registry);
    for (struct shk_segment *s = segments; s; s = s->next) {
        pthread_mutex_lock(&s->local);
        shki_process_before_fork(s);
    }
    shki_members_before_fork();
}

static void after_fork_in_parent(void)
{
    shki_members_after_fork_in_parent();
    for (struct shk_segment *s = segments; s; s = s->next)
        pthread_mutex_unlock(&s->local);
    pthread_mutex_unlock(&registry);
}

static void after_fork_in_child(void)
{
    for (struct shk_segment *s = segments; s; s = s->next) {
        s->pins = 0;
        shki_members_after_fork(s);
        shki_process_after_fork(s);
        pthread_mutex_unlock(&s->local);
    }
    shki_members_forget_parent();
    pthread_mutex_unlock(&registry);
    if (shki_in_forked_child)
        shki_in_forked_child();
}

static int no_fork_handlers;

/*
 * When the library is loaded, before the program can register handlers of its own: those may use
 * the library then, since what comes first is called last before a fork, and first after it.
 */
static void __attribute__((constructor)) register_fork_handlers(void)
{
    no_fork_handlers = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

uint64_t shki_fingerprint(void)
{
    const uint64_t facts[] = {
        sizeof(void *),
        0x0102030405060708u,
        sizeof(pthread_mutex_t),
        sizeof(pthread_cond_t),
        sizeof(sem_t),
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
            -EPROTO, "segment /%s was created by a program of another machine type or C library",
            name);
    if (h->size != file_size)
        return shki_fail(-EPROTO, "segment /%s is damaged: it has %llu bytes, not %llu", name,
                         (unsigned long long)file_size, (unsigned long long)h->size);
    if (h->asymmetric > 1)
        return shki_fail(-EPROTO, "segment /%s is damaged: its kind of fences", name);
    if (h->max_members < 1 || h->max_members > TABLE_MAX || h->max_objects < 1 ||
        h->max_objects > TABLE_MAX)
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

static _Thread_local const struct shk_segment *locked __attribute__((tls_model("initial-exec")));

bool shki_segment_lock_is_mine(const struct shk_segment *s)
{
    return locked == s;
}

int shki_segment_lock_within(struct shk_segment *s, int64_t limit)
{
    struct shki_deadline deadline = shki_deadline(limit, NULL);
    struct shki_mutex *m = &s->header->lock;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    int r = shki_mutex_lock(m, &deadline, tid, NULL, &s->recovery, NULL, NULL);

    if (r < 0)
        return r;
    /*
     * Relaxed: read by a waiter a slice later, if ever. Killed before or between: the number alone
     * says which thread it is.
     */
    store_relaxed(&m->holder, shki_thread_start());
    store_release(&m->state, tid);
    locked = s;
    if (r == 1)
        shki_directory_repair(s);
    return 0;
}

int shki_segment_lock_in_any_state(struct shk_segment *s)
{
    int r = shki_segment_lock_within(s, LOCK_LIMIT);

    if (r == -ETIMEDOUT)
        return shki_fail(
            -EBUSY, "segment /%s: a thread has held the segment's lock for 10 s; it may be stopped",
            s->name);
    return r < 0 ? shki_fail(r, "segment /%s: the segment's lock cannot be acquired: %s", s->name,
                             strerror(-r))
                 : 0;
}

int shki_segment_lock(struct shk_segment *s)
{
    int r = shki_segment_lock_in_any_state(s);

    if (r == 0 && shki_segment_is_retired(s)) {
        shki_segment_unlock(s);
        return shki_fail(-ESTALE, "segment /%s has been unlinked", s->name);
    }
    return r;
}

void shki_segment_unlock(struct shk_segment *s)
{
    locked = NULL;
    store_relaxed(&s->header->lock.state, 0);
    shki_mutex_unlock(&s->header->lock);
}

/*
 * The default size: as much as there may ever be memory for, unless this process is not given twice
 * that in address space (ulimit -v, a processor with few address bits, mlockall with a limit), or
 * may not have a file of that size.
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
    if (h->max_members > TABLE_MAX || h->max_objects > TABLE_MAX)
        return shki_fail(-EINVAL, "segment /%s: no more than %u members and objects", name,
                         TABLE_MAX);
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

static int publish(int fd, const char *temporary, const char *path)
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

/*
 * Build a whole segment, which has no name yet: its descriptor. Killed at any time before it is
 * published: nothing is left.
 */
static int create(const char *name, const struct shk_segment_options *options,
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

/* May this process trust its memory to the owner of that file? */
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

/* Read and check the header through the descriptor: the mapping of a truncated file would fault. */
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

/* Map what the descriptor is open on, which stays the caller's. */
int shki_segment_map(const char *name, int fd, unsigned flags, struct shk_segment **out)
{
    struct shk_segment *s = NULL;
    struct shki_header h;
    struct stat st;
    int r;

    if (no_fork_handlers)
        return shki_fail(-no_fork_handlers, "the handlers for fork(2) could not be registered: %s",
                         strerror(no_fork_handlers));
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
        s->uses = calloc(h.max_objects, sizeof(*s->uses));
    if (s == NULL || s->uses == NULL) {
        r = shki_say(-ENOMEM, "out of memory");
        goto fail;
    }
    s->base = s->memory.base = shki_map(fd, h.size);
    if (s->base == NULL) {
        r = say_not_mapped(name, errno);
        goto fail;
    }
    shki_memory_open(&s->memory, fd, &st);
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->row = s->child = UINT32_MAX;
    s->header = (struct shki_header *)(void *)s->base;
    s->id = h.id;
    s->size = h.size;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->max_members = h.max_members;
    s->max_objects = h.max_objects;
    s->geometry = shki_geometry(h.max_members, h.max_objects, h.size);
    s->asymmetric = h.asymmetric;
    s->recovery = (struct shki_recovery){shki_recover_mutex, s};
    pthread_mutex_init(&s->local, NULL);
    *out = s;
    return 0;
fail:
    if (s)
        free(s->uses);
    free(s);
    return r;
}

static void unmap(struct shk_segment *s)
{
    shki_process_leave(s);
    munmap(s->base, s->size);
    shki_memory_close(&s->memory);
    s->base = s->memory.base = NULL;
    s->header = NULL;
}

static void destroy(struct shk_segment *s)
{
    pthread_mutex_destroy(&s->local);
    free(s->watchers);
    free(s->uses);
    free(s);
}

void shki_segment_discard(struct shk_segment *s)
{
    unmap(s);
    destroy(s);
}

bool shki_segment_is_lost(struct shk_segment *s)
{
    char path[SHKI_PATH_MAX];
    struct stat st;

    if (shki_segment_is_retired(s))
        return true;
    shki_path(path, s->name);
    if (lstat(path, &st) == 0 ? st.st_ino == s->inode && st.st_dev == s->device : errno != ENOENT)
        return false;
    /* After chroot(2) and the like there is another directory of that name, or none. */
    if (stat(SHKI_DIRECTORY, &st) != 0 || st.st_dev != s->device)
        return false;
    /*
     * RT1: as an unlinker does, which was not asked. Killed before or after: the next waiter finds
     * it.
     */
    store_release(&s->header->retired, 1);
    return true;
}

/* Under `registry`. */
static struct shk_segment *find_mapped(const struct stat *st)
{
    for (struct shk_segment *s = segments; s; s = s->next)
        if (s->inode == st->st_ino && s->device == st->st_dev)
            return s;
    return NULL;
}

int shki_segment_open_file(const char *name, int access)
{
    static const struct timespec nap = {.tv_nsec = 1000000};
    char path[SHKI_PATH_MAX];
    int fd;

    shki_path(path, name);
    fd = shki_open(path, access | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd >= 0 || errno == ENOENT)
        return fd >= 0 ? fd : -ENOENT;
    if (errno == EAGAIN) { /* a process that removes it has a lease on it, for a moment */
        nanosleep(&nap, NULL);
        return -EAGAIN;
    }
    return shki_fail(errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EPROTO : -errno,
                     "segment /%s cannot be opened: %s", name, strerror(errno));
}

static int say_absent(const char *name)
{
    return shki_fail(-ENOENT, "there is no segment /%s", name);
}

/* Join what is mapped. -EAGAIN: it has been retired, and its name is free now. */
static int join(struct shk_segment *s)
{
    struct shki_member *m = shki_member_find(s);
    bool is_new = m == NULL;
    int r = 0;

    if (shki_segment_is_retired(s))
        r = -ESTALE;
    else if (is_new)
        r = shki_member_join(s, &m);
    if (r == -EUSERS) {
        s->kinds->reap(s);
        r = shki_member_join(s, &m);
    }
    if (r == 0 && shki_segment_is_lost(s)) { /* its name was removed before it had been joined */
        r = -ESTALE;
        if (is_new)
            shki_member_leave(s);
    }
    if (r != -ESTALE || !shki_repair_enabled(SHKI_REPAIR_FINISH_UNLINK))
        return r;
    r = shki_segment_finish_unlink(s); /* a dead unlinker's work, or a living one's */
    return r == 0 || r == -ENOENT ? -EAGAIN : r;
}

/* Open it once more if it is mapped: the handle, or NULL. */
static struct shk_segment *open_again(const struct stat *st)
{
    struct shk_segment *s;

    pthread_mutex_lock(&registry);
    s = find_mapped(st);
    if (s)
        fetch_add_relaxed(&s->openness.opens, 1);
    pthread_mutex_unlock(&registry);
    return s;
}

/* The handle for a file, which is mapped if it is not yet. The descriptor stays the caller's. */
static int enlist(const char *name, int fd, unsigned flags, const struct shki_kinds *kinds,
                  struct shk_segment **out)
{
    struct shk_segment *s, *other;
    struct stat st;
    int r;

    if (fstat(fd, &st) != 0)
        return shki_fail(-errno, "segment /%s: %s", name, strerror(errno));
    *out = open_again(&st);
    if (*out)
        return 0;
    r = shki_segment_map(name, fd, flags, &s);
    if (r < 0)
        return r;
    s->kinds = kinds;
    pthread_mutex_lock(&registry);
    other = find_mapped(&st); /* another thread has been faster */
    if (other == NULL) {
        r = shki_process_enter(s);
        s->next = segments;
        if (r == 0)
            segments = s;
    }
    *out = other ? other : s;
    if (r == 0)
        fetch_add_relaxed(&(*out)->openness.opens, 1);
    pthread_mutex_unlock(&registry);
    if (other || r < 0)
        shki_segment_discard(s);
    return r;
}

static void delist(struct shk_segment *s)
{
    pthread_mutex_lock(&registry);
    fetch_sub_relaxed(&s->openness.opens, 1);
    shki_segment_unmap_if_unused(s);
    pthread_mutex_unlock(&registry);
}

/*
 * The creator is a member before anybody else can be: whatever fails, nothing is left, for a file
 * without a name goes with its last mapping. -EAGAIN: somebody else was faster.
 */
static int attach_new(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *kinds, struct shk_segment **out)
{
    char path[SHKI_PATH_MAX], temporary[SHKI_PATH_MAX];
    struct shki_member *m;
    int fd = create(name, options, temporary), r;

    if (fd < 0)
        return fd;
    r = enlist(name, fd, flags, kinds, out);
    if (r < 0)
        goto done;
    r = shki_member_join(*out, &m);
    if (r < 0)
        goto fail;
    shki_path(path, name);
    r = publish(fd, temporary, path);
    if (r == 0)
        goto done;
    shki_member_leave(*out);
    r = r == -EEXIST ? -EAGAIN
                     : shki_fail(r, "segment /%s cannot be created: %s", name, strerror(-r));
fail:
    delist(*out);
done:
    if (*temporary)
        unlink(temporary);
    close(fd);
    return r;
}

/*
 * With SHK_EXCL whatever has the name is in the way, be it no segment or not to be opened; what
 * else failed is said as it is.
 */
static int say_present(const char *name, int r)
{
    char path[SHKI_PATH_MAX];
    struct stat st;

    shki_path(path, name);
    if ((r != -EPROTO && r != -EPERM && r != -EACCES && r != -EXDEV) || lstat(path, &st) != 0)
        return r;
    return shki_fail(-EEXIST, "segment /%s exists already", name);
}

/* What cannot be opened is in the way, unless it is to be created and no process uses it. */
static int give_way(const char *name, unsigned flags, int r)
{
    if (r == -EXDEV && flags & SHK_CREATE && shki_segment_remove_deserted(name) == 0)
        return -EAGAIN;
    return flags & SHK_CREATE && flags & SHK_EXCL ? say_present(name, r) : r;
}

/* One attempt. -EAGAIN: something has just changed, try again. */
static int attach(const char *name, unsigned flags, const struct shk_segment_options *options,
                  const struct shki_kinds *kinds, struct shk_segment **out)
{
    bool exclusive = flags & SHK_CREATE && flags & SHK_EXCL;
    int fd = shki_segment_open_file(name, O_RDWR), r;

    if (fd == -ENOENT)
        return flags & SHK_CREATE ? attach_new(name, flags, options, kinds, out) : say_absent(name);
    r = fd < 0 ? fd : enlist(name, fd, flags, kinds, out);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return r == -EAGAIN ? r : give_way(name, flags, r);
    if (exclusive && !shki_segment_is_retired(*out))
        r = shki_fail(-EEXIST, "segment /%s exists already", name);
    else
        r = join(*out);
    if (r < 0)
        delist(*out);
    return r;
}

int shki_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *kinds, struct shk_segment **out)
{
    struct shki_saved_error saved;
    int r;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the handle is NULL");
    *out = NULL;
    r = shki_segment_name(name, &name);
    if (r < 0)
        return r;
    if (flags & ~(unsigned)(SHK_CREATE | SHK_EXCL | SHK_ANY_OWNER))
        return shki_fail(-EINVAL, "segment /%s: a flag is unknown", name);
    for (size_t i = 0; options && i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
        if (options->reserved[i])
            return shki_fail(-EINVAL, "segment /%s: a reserved option is not zero", name);
    shki_error_save(&saved);
    r = -EAGAIN;
    for (int i = 0; r == -EAGAIN && i < ATTEMPTS; i++)
        r = attach(name, flags, options, kinds, out);
    if (r < 0)
        *out = NULL;
    if (r == -EAGAIN)
        return shki_fail(-EBUSY, "segment /%s is created and unlinked all the time", name);
    return shki_error_settle(r, &saved);
}

void shki_segment_unmap_if_unused(struct shk_segment *s)
{
    struct shk_segment **link = &segments;
    bool unused, handles;

    pthread_mutex_lock(&s->local);
    unused = shki_segment_is_closed(s) && s->members == NULL && s->pins == 0 && s->base;
    if (unused)
        unmap(s);
    handles = s->handles > 0;
    pthread_mutex_unlock(&s->local);
    if (!unused)
        return;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    if (!handles)
        destroy(s);
}

struct shk_segment *shki_segment_pin_mapped(const struct stat *st)
{
    struct shk_segment *s;

    pthread_mutex_lock(&registry);
    s = find_mapped(st);
    if (s) {
        pthread_mutex_lock(&s->local);
        s->pins++;
        pthread_mutex_unlock(&s->local);
    }
    pthread_mutex_unlock(&registry);
    return s;
}

int shki_segment_pin(struct shk_segment *s)
{
    bool closed;

    pthread_mutex_lock(&s->local);
    closed = shki_segment_is_closed(s);
    if (!closed)
        s->pins++;
    pthread_mutex_unlock(&s->local);
    return closed ? shki_say_closed(s) : 0;
}

void shki_segment_unpin(struct shk_segment *s)
{
    pthread_mutex_lock(&registry);
    pthread_mutex_lock(&s->local);
    s->pins--;
    pthread_mutex_unlock(&s->local);
    shki_segment_unmap_if_unused(s);
    pthread_mutex_unlock(&registry);
}

void shki_segment_unref(struct shk_segment *s)
{
    bool last;

    pthread_mutex_lock(&s->local);
    last = --s->handles == 0 && s->base == NULL;
    pthread_mutex_unlock(&s->local);
    if (last)
        destroy(s);
}

int shki_say_closed(const struct shk_segment *s)
{
    return shki_say_unmet(
        -EBADF, &(struct shki_unmet){s->name, NULL, "it has been closed in this process", 0});
}

int shki_segment_close(struct shk_segment *s, void (*wake)(struct shk_segment *))
{
    int r = 0;

    if (s == NULL)
        return 0;
    pthread_mutex_lock(&registry);
    if (shki_segment_is_closed(s))
        r = shki_say_closed(s);
    else if (load_relaxed(&s->openness.opens) == 1)
        r = shki_member_leave(s);
    if (r == 0) {
        if (fetch_sub_relaxed(&s->openness.opens, 1) == 1) {
            fetch_add_relaxed(&s->openness.closes, 1);
            pthread_mutex_lock(&s->local);
            if (s->base)
                wake(s); /* other threads, whose waits end */
            pthread_mutex_unlock(&s->local);
        }
        shki_segment_unmap_if_unused(s);
    }
    pthread_mutex_unlock(&registry);
    return r;
}
