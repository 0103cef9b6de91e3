#include "segment/retire.h"

#include "base/error.h"
#include "segment/fork.h"
#include "segment/lock.h"
#include "segment/recover.h"
#include "segment/registry.h"
#include "segment/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

/* A name is removed within microseconds; a process that takes longer is stopped. */
#define REMOVAL_LIMIT SHK_SEC(10)
#define ATTEMPTS      1000 /* to open a file that is being removed */

struct file {
    const char *name; /* without slash */
    uint64_t device, inode;
};

static struct file file_of(const char *name, const struct stat *st)
{
    return (struct file){name, st->st_dev, st->st_ino};
}

static struct file file_of_segment(const struct shk_segment *s)
{
    return (struct file){s->name, s->device, s->inode};
}

static int say_not_unlinked(const char *name, int r)
{
    return shki_fail(r, "segment /%s cannot be unlinked: %s", name, strerror(-r));
}

/* ---- Removing a name ---- */

static bool has_name(const struct file *file, struct stat *st)
{
    char path[SHKI_PATH_MAX];

    shki_path(path, file->name);
    return lstat(path, st) == 0 && st->st_ino == file->inode && st->st_dev == file->device;
}

/*
 * Whether the name may be removed: what unlink(2) would say, before anything has happened. Root is
 * taken to be permitted.
 */
static int may_unlink(const struct file *file)
{
    struct stat directory, st;
    uid_t user = geteuid();

    if (faccessat(AT_FDCWD, SHKI_DIRECTORY, W_OK | X_OK, AT_EACCESS) != 0 ||
        stat(SHKI_DIRECTORY, &directory) != 0)
        return -errno;
    if (!has_name(file, &st))
        return 0; /* it is gone already */
    return directory.st_mode & S_ISVTX && user != 0 && user != st.st_uid && user != directory.st_uid
               ? -EPERM
               : 0;
}

/* Exclude others from removing that file's name: until end_removal(), or the process ends. */
static int begin_removal(int fd)
{
    static const struct timespec nap = {.tv_nsec = 1000000};
    int64_t end = shki_now() + REMOVAL_LIMIT;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return 0; /* a file system without flock(2) */
        if (shki_now() >= end)
            return -EBUSY;
        nanosleep(&nap, NULL);
    }
    return 0;
}

/* Explicitly: a child that was forked meanwhile has the same open file. */
static void end_removal(int fd)
{
    flock(fd, LOCK_UN);
    close(fd);
}

/* The last step of an unlink: the name is removed if it still is this file's; else -ENOENT. */
static int remove_name(const struct file *file)
{
    char path[SHKI_PATH_MAX];
    struct stat st;
    int fd, r = 0;

    shki_path(path, file->name);
    fd = shki_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd >= 0)
        r = begin_removal(fd);
    if (r == 0)
        r = !has_name(file, &st) ? -ENOENT : unlink(path) == 0 ? 0 : -errno;
    if (fd >= 0)
        end_removal(fd);
    return r;
}

/* ---- A segment that is mapped ---- */

/*
 * Under the segment's lock. A thread that joins holds it until it is a member, so each thread is a
 * member or has not begun to join.
 */
static int check_unused(struct shk_segment *s, unsigned flags)
{
    shki_recover_locked(s, true);
    for (uint32_t i = 0; i < shki_members_ready(s); i++)
        if (shki_member_is_alive(s, load_acquire(&shki_record_at(s, i)->id)))
            return shki_fail(-EBUSY, "segment /%s is in use", s->name);
    for (uint32_t i = 0; flags & SHK_EMPTY && i < s->max_objects; i++)
        if (load_relaxed(&shki_entry_at(s, i)->state) == SHKI_ENTRY_LIVE)
            return shki_fail(-ENOTEMPTY, "there are objects in segment /%s", s->name);
    return 0;
}

static int may_retire(struct shk_segment *s, unsigned flags)
{
    struct file file = file_of_segment(s);
    int r;

    if (shki_segment_is_retired(s))
        return 0; /* an unlink that was begun is completed */
    r = flags & SHKI_RETIRE_FORCED ? 0 : check_unused(s, flags);
    if (r < 0)
        return r;
    r = may_unlink(&file);
    return r < 0 ? say_not_unlinked(s->name, r) : 0;
}

/* -ENOENT: another process has done it; without a sentence, for that may be no failure. */
static int retire(struct shk_segment *s, unsigned flags)
{
    struct file file = file_of_segment(s);
    int r = shki_segment_lock_in_any_state(s);

    if (r < 0)
        return r;
    r = may_retire(s, flags);
    if (r == 0) {
        /*
         * RT1: commits; pairs with the acquire in shki_segment_is_retired(). Killed after this: the
         * next process that opens the name finds it retired, and completes the unlink.
         */
        store_release(&s->header->retired, 1);
        r = remove_name(&file);
        if (r < 0 && r != -ENOENT)
            say_not_unlinked(s->name, r);
    }
    shki_segment_unlock(s);
    return r;
}

int shki_segment_finish_unlink(struct shk_segment *s)
{
    return retire(s, SHKI_RETIRE_FORCED);
}

/* ---- A segment that is not mapped ---- */

/*
 * Store `retired` through a descriptor: members find it within a SHKI_RECHECK.
 */
static int mark_retired(int fd)
{
    const uint32_t yes = 1;
    ssize_t n = pwrite(fd, &yes, sizeof(yes), offsetof(struct shki_header, retired));

    return n == sizeof(yes) ? 0 : n < 0 ? -errno : -EIO;
}

/*
 * A segment that cannot be mapped: another user's, whose memory is not to be trusted, or one of
 * another pid namespace, where its mutexes mean other threads.
 */
static int retire_unmapped(const struct file *file, int fd)
{
    int r = may_unlink(file);

    if (r == 0)
        r = mark_retired(fd);
    if (r == 0)
        r = remove_name(file);
    return r == -ENOENT ? r : r < 0 ? say_not_unlinked(file->name, r) : 0;
}

/*
 * 0: no process has the file open for writing or mapped, nor can it until the lease ends; -EBUSY.
 */
static int take_lease(int fd)
{
    /* When a process opens it meanwhile, the kernel sends a signal: one that is ignored. */
    fcntl(fd, F_SETSIG, SIGURG);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return errno == EAGAIN ? -EBUSY : -errno;
    fcntl(fd, F_SETOWN, 0);
    return 0;
}

static void end_lease(int fd)
{
    fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
}

static bool is_empty(int fd, const struct shki_header *h)
{
    struct shki_entry e;

    for (uint32_t i = 0; i < h->max_objects; i++)
        if (pread(fd, &e, sizeof(e), (off_t)(h->entries_offset + i * sizeof(e))) == sizeof(e) &&
            load_relaxed(&e.state) == SHKI_ENTRY_LIVE)
            return false;
    return true;
}

/*
 * With a lease: no process can open it. Killed before the unlink: the lease is gone, nothing has
 * happened.
 */
static int remove_leased(const char *name, int fd, const struct stat *st, unsigned flags)
{
    struct file file = file_of(name, st);
    struct shki_header h;
    int r = shki_segment_read_header(name, fd, st, &h);

    if (r == 0 && flags & SHK_EMPTY && !is_empty(fd, &h))
        r = shki_fail(-ENOTEMPTY, "there are objects in segment /%s", name);
    if (r < 0)
        return r;
    r = remove_name(&file);
    return r == -ENOENT ? r : r < 0 ? say_not_unlinked(name, r) : 0;
}

/* Remove the name of a segment of another pid namespace that no process uses. */
static int remove_unused(const char *name, unsigned flags)
{
    struct stat st;
    int fd = shki_segment_open_file(name, O_RDONLY), r;

    if (fd < 0)
        return fd == -EAGAIN ? shki_fail(-EBUSY, "segment /%s is being removed", name) : fd;
    r = fstat(fd, &st) == 0 ? take_lease(fd) : -errno;
    if (r == -EBUSY)
        shki_fail(r, "segment /%s is in use, in another pid namespace", name);
    else if (r < 0)
        shki_fail(r, "segment /%s: whether it is in use cannot be found out: %s", name,
                  strerror(-r));
    else
        r = remove_leased(name, fd, &st, flags);
    end_lease(fd);
    return r;
}

int shki_segment_remove_deserted(const char *name)
{
    struct shki_saved_error saved;
    int r;

    shki_error_save(&saved);
    r = remove_unused(name, 0);
    shki_error_settle(0, &saved);
    return r == -ENOENT ? 0 : r;
}

/* ---- Either ---- */

/* Retire what this process has mapped, pinned. */
static int retire_mapped(struct shk_segment *s, int fd, unsigned flags,
                         void (*wake)(struct shk_segment *))
{
    struct file file = file_of_segment(s);
    struct shki_saved_error saved;
    int r;

    shki_error_save(&saved);
    if (shki_check_namespace(s->name, s->header->pid_namespace) < 0) {
        shki_error_settle(0, &saved);
        return flags & SHKI_RETIRE_FORCED ? retire_unmapped(&file, fd)
                                          : shki_fail(-EBUSY, "segment /%s is in use", s->name);
    }
    r = retire(s, flags);
    if (r == 0)
        wake(s);
    return r;
}

/* Whether it is only to be marked, not mapped. */
static bool is_foreign(const struct stat *st, const struct shki_header *h, unsigned flags)
{
    struct shki_saved_error saved;
    bool foreign;

    shki_error_save(&saved);
    foreign = shki_check_namespace("", h->pid_namespace) < 0;
    shki_error_settle(0, &saved);
    return foreign || (flags & SHKI_RETIRE_FORCED && st->st_uid != geteuid());
}

static int retire_in_private(const char *name, int fd, unsigned flags,
                             void (*wake)(struct shk_segment *))
{
    struct shk_segment *s;
    int r = shki_fork_is_handled();

    if (r == 0)
        r = shki_segment_map(name, fd, flags, &s);
    if (r != 0)
        return r;
    shki_recover_enable(s);
    madvise(s->base, s->size, MADV_DONTFORK); /* a child would have it mapped for ever */
    r = retire(s, flags);
    if (r == 0)
        wake(s);
    shki_segment_discard(s);
    return r;
}

/* Retire what the descriptor is open on, mapped or not. It may be closed, and is -1 then. */
static int retire_file(const char *name, int *descriptor, unsigned flags,
                       void (*wake)(struct shk_segment *))
{
    int fd = *descriptor;
    struct shki_header h;
    struct shk_segment *s;
    struct file file;
    struct stat st;
    int r;

    if (fstat(fd, &st) != 0)
        return shki_fail(-errno, "segment /%s: %s", name, strerror(errno));
    s = shki_segment_pin_mapped(&st);
    if (s) {
        r = retire_mapped(s, fd, flags, wake);
        shki_segment_unpin(s);
        return r;
    }
    if (!S_ISREG(st.st_mode) || shki_segment_read_header(name, fd, &st, &h) < 0 ||
        !is_foreign(&st, &h, flags))
        return retire_in_private(name, fd, flags, wake);
    if (!(flags & SHKI_RETIRE_FORCED)) {
        close(fd); /* it would prevent the lease */
        *descriptor = -1;
        return remove_unused(name, flags);
    }
    file = file_of(name, &st);
    return retire_unmapped(&file, fd);
}

int shki_segment_retire(const char *name, unsigned flags, void (*wake)(struct shk_segment *))
{
    struct shki_saved_error saved;
    int r = shki_segment_name(name, &name), fd = -EAGAIN;

    if (r < 0)
        return r;
    shki_error_save(&saved);
    for (int i = 0; fd == -EAGAIN && i < ATTEMPTS; i++)
        fd = shki_segment_open_file(name, O_RDWR);
    if (fd == -EAGAIN)
        return shki_fail(-EBUSY, "segment /%s is being removed", name);
    r = fd < 0 ? fd : retire_file(name, &fd, flags, wake);
    if (fd >= 0)
        close(fd);
    return r == -ENOENT ? shki_fail(r, "there is no segment /%s", name)
                        : shki_error_settle(r, &saved);
}

/* Whatever the file is: 0 or -errno of unlink(2). A header that is recognised is marked. */
static int remove_forced(const char *name)
{
    struct shki_header h;
    char path[SHKI_PATH_MAX];
    struct file file;
    struct stat st;
    int fd;

    shki_path(path, name);
    if (lstat(path, &st) != 0)
        return -errno;
    file = file_of(name, &st);
    fd = S_ISREG(st.st_mode) ? shki_open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0) : -1;
    if (fd >= 0) {
        if (pread(fd, &h, sizeof(h), 0) == sizeof(h) &&
            memcmp(h.magic, SHKI_MAGIC, sizeof(h.magic)) == 0 && h.layout == SHKI_LAYOUT)
            mark_retired(fd);
        close(fd);
    }
    return remove_name(&file);
}

int shki_segment_remove(const char *name, void (*wake)(struct shk_segment *))
{
    struct shki_saved_error saved;
    const char *bare;
    int r = shki_segment_name(name, &bare);

    if (r < 0)
        return r;
    shki_error_save(&saved);
    r = shki_segment_retire(name, SHKI_RETIRE_FORCED, wake);
    if (r == 0 || r == -ENOENT)
        return r;
    r = remove_forced(bare);
    return r < 0 ? say_not_unlinked(bare, r) : shki_error_settle(0, &saved);
}
