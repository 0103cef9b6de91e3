/*
 * A segment: the place where processes meet. One POSIX shared memory object, /dev/shm/NAME, that
 * holds named objects and a table of the members (the attached threads).
 *
 * States: absent -> published (complete, in one step) -> retired (unlinked; its members get
 * -ESTALE) -> gone with its last mapping. No process can see a segment that is half made, and a
 * process killed while it creates one leaves nothing.
 *
 *     struct shk_segment *bank;
 *     int r = shk_segment_open("/bank", SHK_CREATE, NULL, &bank);
 *     if (r < 0)
 *         errx(1, "%s", shk_last_error());
 *     shk_set_member_name(bank, "存款者甲");
 *     …
 *     shk_segment_close(bank);
 *
 * Names: UTF-8, 1 to SHK_SEGMENT_NAME_MAX bytes, without slash (one in front is allowed and changes
 * nothing), control characters, or a dot in front. Objects are named likewise, up to SHK_NAME_MAX
 * bytes and without any slash.
 *
 * Trust: a process that may write a segment is trusted, so the permission bits are the border. An
 * opener refuses a segment that belongs neither to its effective user nor to root, unless it says
 * SHK_ANY_OWNER.
 *
 * A segment whose file is removed or renamed by other means is unlinked, too, as soon as a member
 * that waits in it finds that, within about 100 ms.
 *
 * Illegal: to unmap, truncate or write the file behind the library's back; to hold a lock of a
 * segment while closing it.
 */
#ifndef SHMKIT_SEGMENT_H
#define SHMKIT_SEGMENT_H

#include <shmkit/common.h>
#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_segment;

struct shk_segment_options {
    /*
     * address space in bytes, 64 KiB to 1 TiB, sparse: memory is taken as objects and items come;
     * 0: 64 GiB, or less, down to 1 GiB, where the creator's limits want it (RLIMIT_AS,
     * RLIMIT_FSIZE, 32 bits)
     */
    size_t size;
    /*
     * attached threads at a time, at most 65535; 0: 1024, whose tables take 4.4 MiB of address
     * space
     */
    uint32_t max_members;
    uint32_t max_objects; /* at most 65535; 0: 256 */
    mode_t mode;          /* permission bits, exactly these whatever the umask; 0: 0600 */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a segment, or create it: with SHK_CREATE the first process that needs it makes it and all
 * others find it.
 *   name     see above
 *   flags    0, or SHK_CREATE, SHK_EXCL, SHK_ANY_OWNER
 *   options  for creating; NULL: all defaults. An existing segment is opened as it is.
 *   out      the handle, which the caller closes. Opening a segment that the process has open
 *            already gives the same handle once more; each open needs a close of its own, and what
 *            is said of closing is of the last one.
 * Returns 0, or
 *   -EINVAL   the name or an option is invalid
 *   -ENAMETOOLONG, -EILSEQ  the name is too long, is not UTF-8
 *   -ENOENT   absent, and no SHK_CREATE
 *   -EEXIST   present, usable or not, and SHK_EXCL
 *   -EACCES   its permission bits forbid it
 *   -EPERM    it belongs to another user (see Trust)
 *   -EPROTO   not a shmkit segment, of another layout version or machine type, truncated, or
 *             damaged
 *   -EXDEV    it was created in another pid namespace, where robust mutexes would take one thread
 *             for another. With SHK_CREATE only if a process uses it: else it is removed, with its
 *             objects, and created anew
 *   -ENOSPC   the shared memory file system is full
 *   -EFBIG    larger than the process's limit of file sizes
 *   -EUSERS   the member table is full of living members
 *   -EMFILE, -ENFILE, -ENOMEM  as open(2), mmap(2); -ENOMEM also if no thread-specific key is left,
 *             or if the process locks its memory (mlockall(2)) and may not lock so much
 *   -ENOTSUP  the process was made by a raw fork or clone system call; each first call of a thread
 *             in a segment gives this, too
 *   -ENOSYS   its members rely on membarrier(2), which this process may not call (see
 *             SHK_MEMBARRIER in shmkit(7)); or as mmap(2)
 * An open segment keeps no descriptor (on Linux before 5.14 one of 100 or above). After mlockall(2)
 * the pages that are used are locked, not the whole address space; an mlockall(2) after the open
 * needs MCL_ONFAULT, or the kernel gives memory to all of the address space. A core dump leaves the
 * segment out.
 * Killed: before it is published, nothing is left; after, a complete segment.
 * Source: shm_open(3), open(2) O_TMPFILE, linkat(2), posix_fallocate(3), madvise(2), mlock2(2),
 * membarrier(2).
 */
SHK_PUBLIC int shk_segment_open(const char *name, unsigned flags,
                                const struct shk_segment_options *options,
                                struct shk_segment **out);

/*
 * Create a segment without a name, for the processes of one program: those that are forked from
 * this one, and those that are given the descriptor, by exec or a Unix socket. No other process
 * finds it, and it has no file in /dev/shm. It goes, with its objects, when no process has it
 * mapped and no descriptor of it is open any more, whatever has ended them.
 *   options  NULL: all defaults
 *   out      the handle, which the caller closes
 * Returns a descriptor of it, closed by exec, which is the caller's to close: the handle does not
 * need it. Or as shk_segment_open() with SHK_CREATE.
 * Killed: nothing is left.
 * Source: open(2) O_TMPFILE; memfd_create(2).
 */
SHK_PUBLIC int shk_segment_create_unnamed(const struct shk_segment_options *options,
                                          struct shk_segment **out);

/*
 * Open a segment without a name by a descriptor of it, which stays the caller's.
 *   flags  0, or SHK_ANY_OWNER
 *   out    the handle, as of shk_segment_open()
 * Returns 0, or
 *   -EINVAL  the file has a name, and is to be opened by that; an unknown flag
 *   -EBADF   there is no such descriptor
 *   -ESTALE  it had a name, and has been unlinked
 *   -EPERM, -EPROTO, -EXDEV, -EUSERS, -EMFILE, -ENFILE, -ENOMEM, -ENOTSUP, -ENOSYS as
 *            shk_segment_open()
 * Killed: nothing has changed.
 */
SHK_PUBLIC int shk_segment_open_fd(int fd, unsigned flags, struct shk_segment **out);

/*
 * Leave the segment and give the handle back. NULL is allowed and does nothing. Other threads stay
 * members until they end, and the last one unmaps. Their blocked calls give -EBADF, at once or
 * (waiting for a lock, or on a condition of kind SHK_COND_PTHREAD) within about 100 ms. Handles of
 * objects in it give -EBADF from then on, and still need their own close. Another thread can still
 * release what it holds.
 * Returns 0, or -EBUSY: the calling thread holds a lock of the segment; nothing has changed.
 * Killed: the thread is no member any more.
 */
SHK_PUBLIC int shk_segment_close(struct shk_segment *);

/*
 * Remove the name. The members are woken and get -ESTALE from every call. The memory goes with the
 * last of them. The name may be created anew at once. A segment of another pid namespace, or of
 * another user (by root), is only marked: its members find that within about 100 ms.
 * Returns 0, or
 *   -EBUSY  a process has stayed in the middle of a change to the segment, or of its removal, for
 *           10 seconds
 *   -ENOENT, -EACCES, -EPERM, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_segment_open()
 * Killed: before the segment is retired, nothing has happened. After that, the next process that
 * opens the name finishes the removal.
 */
SHK_PUBLIC int shk_segment_unlink(const char *name);

/*
 * Remove the name if no process uses the segment, that is, if none of its members lives. A process
 * that opens it at the same moment has either become a member before the check, and the segment
 * stays; or it finds the name free. The objects go with the segment, and so do items of queues that
 * wait for the next process. A process that has the segment open is no member if its threads that
 * were members have ended, or if it was forked and has not made a call since; its next call gives
 * -ESTALE. A segment of another pid namespace is removed if no process has it open.
 *   flags  0, or SHK_ANY_OWNER, SHK_EMPTY
 * Returns 0, or
 *   -EBUSY      a member lives; or a process has stayed in the middle of a change to the segment
 *               for 10 seconds
 *   -ENOTEMPTY  SHK_EMPTY: no process uses it, but it has objects
 *   -EPERM      it belongs to another user, and no SHK_ANY_OWNER (also for root: the check has to
 *               map the segment, and so to trust its owner); or as unlink(2)
 *   -EINVAL     unknown flags, or the name is invalid
 *   -ENOENT, -EACCES, -EPROTO, -ENAMETOOLONG, -EILSEQ, -EMFILE, -ENFILE, -ENOMEM as
 *               shk_segment_open()
 * Killed: as shk_segment_unlink().
 * Source, of the last sentence: fcntl(2), F_SETLEASE. A process that opens the segment at that
 * moment may cause a SIGURG.
 */
SHK_PUBLIC int shk_segment_unlink_unused(const char *name, unsigned flags);

/*
 * Remove the name, whatever file has it: a segment that shk_segment_unlink() refuses because it is
 * damaged, of another layout or machine type, or kept busy by a stopped process; or a file that is
 * no segment. A segment that can be retired is retired, as by shk_segment_unlink().
 * Returns 0, or
 *   -ENOENT, -EINVAL, -ENAMETOOLONG, -EILSEQ as shk_segment_open()
 *   -EPERM, -EACCES, -EROFS, -EISDIR as unlink(2)
 * Killed: as shk_segment_unlink().
 */
SHK_PUBLIC int shk_segment_unlink_any(const char *name);

/*
 * Remove an object of any kind. Its waiters get -ESTALE, at once or (waiting for a lock) within
 * about 100 ms; so does each process that still has a handle. A wait that was released before, by a
 * set, a notification, a release, the last party of a barrier, an item or a sample, succeeds,
 * however late it runs. A put that waits for room does not: its item would be lost. The memory of
 * the object is given back when the last process that has it open closes it or dies. The name may
 * be created anew at once. A waiter of a condition is not told that the condition's lock has been
 * removed: remove the condition, too.
 * Returns 0, or -ENOENT, -EINVAL, -ENAMETOOLONG, -EILSEQ.
 * Killed: it has happened or not.
 */
SHK_PUBLIC int shk_object_unlink(struct shk_segment *, const char *name);

/*
 * Remove an object if no process has it open. A process that opens it at the same moment has either
 * done so, and it stays; or it finds the name free.
 * Returns 0, or
 *   -EBUSY  a process has it open: this one, or another one that lives
 *   -ENOENT, -EINVAL, -ENAMETOOLONG, -EILSEQ
 * Killed: it has happened or not.
 */
SHK_PUBLIC int shk_object_unlink_unused(struct shk_segment *, const char *name);

/*
 * Name the calling thread in this segment, for shmctl ps and error messages. At first it has the
 * name of its command.
 * Returns 0, or -EINVAL (empty, or control characters), -ENAMETOOLONG (over SHK_NAME_MAX bytes),
 * -EILSEQ (not UTF-8).
 * Killed: a reader may see the old name, the new one, or a piece of it, and never waits.
 */
SHK_PUBLIC int shk_set_member_name(struct shk_segment *, const char *utf8);

/*
 * Let a flag of this process end blocked calls, typically one that a handler of SIGINT sets. A call
 * in this segment that blocks gives -EINTR within about 0.4 s after *flag != 0; at once if the
 * signal arrives in the sleeping thread, unless it waits for a lock. A call that need not block
 * ignores the flag. NULL: no flag. The flag stays the caller's and must outlive the handle.
 * Returns 0.
 * Killed: nothing shared is touched.
 */
SHK_PUBLIC int shk_set_interrupt(struct shk_segment *, const volatile sig_atomic_t *flag);

/*
 * Let the calling thread be asked, while it is blocked in a call in this segment, whether to go on:
 *
 *     static int go_on(void *arg)
 *     {
 *         return run_pending_handlers(arg) < 0;
 *     }
 *
 *     shk_set_interrupt_call(bank, go_on, state);
 *
 * check(arg) is called in the blocked thread whenever a signal handler has run in it, and each
 * 100 ms, later each 0.4 s (waiting for a lock, or on a condition of kind SHK_COND_PTHREAD: then
 * only).
 * If it returns 0, the wait goes on: the thread keeps its place in the order of the waiters, and a
 * barrier does not break. Otherwise the wait ends with -EINTR. So a wait can go on after a signal
 * handler, as Python's PEP 475 asks.
 *   check  NULL: none. It belongs to the calling thread, and lasts until the thread sets another
 *          or leaves the segment; so a child of fork() has none. It may call the library, but a
 *          call that would have to wait gives -EDEADLK, and shk_segment_close() -EBUSY. It must
 *          return: no longjmp().
 * A thread that takes a lock back in shk_cond_wait() is not asked. The flag of shk_set_interrupt()
 * holds beside it.
 * Returns 0, or -EINVAL, -EBUSY (called by check() itself), and as each first call of a thread, see
 * common.h.
 * Killed: nothing shared is touched.
 */
SHK_PUBLIC int shk_set_interrupt_call(struct shk_segment *, int (*check)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
