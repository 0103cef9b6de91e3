/*
 * Members that come and go, as something to wait for: a supervisor learns that a member has joined,
 * left or died, without asking again and again.
 *
 *     struct shk_member_watch *watch;
 *     struct shk_member_event event;
 *     shk_member_watch_open(bank, "reader", 0, SHK_LEFT | SHK_DIED, &watch);
 *     while (shk_member_watch_read(watch, &event, SHK_FOREVER) > 0)
 *         printf("%s (%d) has %s\n", event.name, (int)event.pid,
 *                event.what & SHK_DIED ? "died" : "left");
 *
 * A watch notes which members it has seen, so nothing of these is lost between two reads. A member
 * that has joined and gone between two checks (each 100 ms in a wait) has not been seen. Members
 * that were there when the watch was opened are seen, and have not joined since.
 *
 * A member is an attached thread: a process with several threads in the segment is several; on etcd
 * a process is one, and its death is found when its lease ends. A member has the name of its
 * command until it calls shk_set_member_name(). A watch of a name takes a member from the moment at
 * which it is seen with that name, whatever it is called later.
 */
#ifndef SHMKIT_MEMBER_H
#define SHMKIT_MEMBER_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_member_watch;

/* What happens to a member. */
enum {
    SHK_JOINED = 4,
    SHK_LEFT = 8, /* it closed the segment, or its thread ended */
    SHK_DIED = 16 /* its process was killed, crashed, exec'd, or exited without closing */
};

struct shk_member_event {
    /* SHK_JOINED, SHK_LEFT or SHK_DIED; the latter two together: it has gone, not known how */
    uint32_t what;
    uint32_t reserved_32;
    uint64_t id; /* never repeats in a segment */
    int32_t pid, tid;
    char command[16];
    char name[SHK_NAME_MAX + 1]; /* when it was seen first */
    uint64_t reserved[4];
};

/*
 * Watch members.
 *   name  those of that name; NULL: of any
 *   id    the member of that id (shk_member_info.id); 0: of any
 *   want  what is to be told: SHK_JOINED, SHK_LEFT, SHK_DIED, one or several
 * Returns 0, or
 *   -ESRCH  there is no living member of that id
 *   -EINVAL, -ENAMETOOLONG, -EILSEQ  `want`, the name
 * The watch is the caller's, which closes it; it is private to the process.
 * Killed: nothing shared is touched.
 */
SHK_PUBLIC int shk_member_watch_open(struct shk_segment *, const char *name, uint64_t id,
                                     uint32_t want, struct shk_member_watch **out);

/* Give the watch back. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_member_watch_close(struct shk_member_watch *);

/*
 * Take the next event, waiting until there is one. A death is found within about 100 ms. timeout:
 * nanoseconds, SHK_FOREVER, SHK_NOWAIT.
 * Returns event->what, which is positive; or -EAGAIN, -ETIMEDOUT, -EINTR.
 * Threads: each event is given to one.
 * Killed: no other member notices.
 * Source: inotify(7); pidfd_open(2).
 */
SHK_PUBLIC int shk_member_watch_read(struct shk_member_watch *, struct shk_member_event *event,
                                     int64_t timeout);

/* Returns how many of the members that it watches are alive; a hint. */
SHK_PUBLIC int shk_member_watch_living(struct shk_member_watch *);

#ifdef __cplusplus
}
#endif

#endif
