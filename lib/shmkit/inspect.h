/*
 * Snapshots of segments, taken from outside: what shmctl is built on.
 *
 * They are read with pread(2) only. That maps nothing, takes no lock, allocates no page, writes
 * nothing and joins nothing; permission to read is enough, from any pid namespace. Nothing that is
 * read is believed: any bytes at all give an answer or an error. A snapshot is not taken at one
 * instant: figures of objects in use may be a moment apart.
 *
 *     struct shk_snapshot *snapshot;
 *     const struct shk_member_info *m;
 *     if (shk_snapshot_open("/bank", &snapshot) == 0) {
 *         for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)); i++)
 *             printf("%d %s %s\n", (int)m->pid, m->name, m->alive ? "" : "dead");
 *         shk_snapshot_close(snapshot);
 *     }
 *
 * Strings in the structs are zero-terminated valid UTF-8 without control characters, whatever was
 * in the segment.
 *
 * Each struct ends with `reserved`, and the union of the kinds with `room`: both are zero. Figures
 * that a later version adds take their places from the front, so that no size and no offset
 * changes. A program that was built with an older header runs on, and one built with a newer header
 * reads 0 where an older library knows no such figure.
 *
 * The structs belong to the snapshot (or the list) and live as long as it. A snapshot is for one
 * thread at a time. Killed: nothing shared is touched.
 */
#ifndef SHMKIT_INSPECT_H
#define SHMKIT_INSPECT_H

#include <shmkit/common.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_snapshot;

/*
 * What a shared memory file turned out to be. Figures below the line are known only for
 * SHK_SEGMENT_GOOD and _RETIRED.
 */
enum shk_segment_state {
    SHK_SEGMENT_GOOD = 0,
    SHK_SEGMENT_RETIRED = 1,  /* being unlinked */
    SHK_SEGMENT_FOREIGN = 2,  /* not shmkit's */
    SHK_SEGMENT_MISMATCH = 3, /* of another layout version or machine type */
    SHK_SEGMENT_CORRUPT = 4,  /* truncated or damaged */
    SHK_SEGMENT_DENIED = 5    /* not readable for the caller */
};

struct shk_segment_info {
    char name[SHK_SEGMENT_NAME_MAX + 56]; /* without slash */
    uint32_t state;
    char problem[200]; /* a sentence, when the state is not good */
    uint32_t uid, gid, mode;
    uint64_t size, resident; /* bytes: of address space; of memory in use */
    uint64_t inode;
    /* ---- */
    uint32_t layout;
    uint64_t id;         /* random */
    int64_t created;     /* seconds since 1970 */
    int32_t creator;     /* pid */
    uint64_t namespace_; /* inode of the creator's pid namespace */
    uint32_t max_members, max_objects;
    uint32_t members_alive, members_dead, objects;
    /* of a segment on etcd: the revision as of which it was read; 0: it is in shared memory */
    uint64_t revision;
    uint64_t reserved[7];
};

/* What a member waits for, on an object. */
enum shk_wait_for {
    SHK_WAITS_NOT = 0,
    SHK_WAITS_TO_ACQUIRE = 1,  /* a lock, or a rwlock exclusively */
    SHK_WAITS_FOR_NOTIFY = 2,  /* a condition */
    SHK_WAITS_FOR_SET = 3,     /* an event */
    SHK_WAITS_TO_PUT = 4,      /* a queue */
    SHK_WAITS_TO_GET = 5,      /* a queue */
    SHK_WAITS_FOR_PERMIT = 6,  /* a semaphore */
    SHK_WAITS_FOR_PARTIES = 7, /* a barrier */
    SHK_WAITS_FOR_SAMPLES = 8, /* a stream */
    SHK_WAITS_TO_JOIN = 9,     /* a queue: until its tasks are done */
    SHK_WAITS_FOR_ANY = 10,    /* any of several objects; waits_on is the first of them */
    SHK_WAITS_TO_READ = 11,    /* a rwlock */
    SHK_WAITS_FOR_ONCE = 12,   /* a once */
    SHK_WAITS_FOR_VERSION = 13 /* a value: a newer version */
};

struct shk_member_info {
    uint64_t id; /* never repeats in a segment */
    int32_t pid, tid;
    uint32_t alive;
    int64_t joined; /* seconds since 1970 */
    char command[16];
    char name[SHK_NAME_MAX + 1];
    uint32_t waits_for;              /* enum shk_wait_for */
    char waits_on[SHK_NAME_MAX + 1]; /* the object's name, "" if none */
    int64_t waiting;                 /* nanoseconds so far */
    uint32_t has_deadline;           /* it gives up by itself at a deadline */
    uint64_t ticket; /* place among the object's waiters, where they have an order */
    /* of a dead one: seconds since 1970 when another member first found it dead; 0: not known */
    int64_t death_noticed;
    /* items that it has taken from queues and not finished: shk_queue_task_done() */
    uint64_t tasks;
    /* items that it has leased; those of a thread that has ended: at another of its process */
    uint64_t leases;
    /*
     * where its process is: the inode of its pid namespace; of another machine a number that is no
     * inode, and the same for all of one namespace there; 0: not known
     */
    uint64_t namespace_;
    uint64_t reserved[5];
};

struct shk_object_info {
    char name[SHK_NAME_MAX + 1];
    uint32_t kind;   /* enum shk_kind */
    uint64_t serial; /* never repeats in a segment */
    /* bytes: of its extent; of a queue with items at their length: of what it has at the moment */
    uint64_t size;
    int32_t creator;  /* pid */
    int64_t created;  /* seconds since 1970 */
    uint64_t users;   /* members of processes that have it open; on etcd all that may have */
    uint64_t waiters; /* members asleep on it */
    /*
     * member id of the holder of the lock, or of the condition's own lock; of the writer of a
     * rwlock, be it that it waits for readers to leave; of the member that does what is done once;
     * 0: none
     */
    uint64_t holder;
    /* nanoseconds that the holder has had it, if it has called shk_lock_stamp(); 0: not known */
    int64_t held;
    /*
     * A dead member that is known to have given what others wait for, and one that took it; ids, 0:
     * none is known. Of a FIFO queue: the last one that put, and the last one that got, if it is
     * dead. Of the others but locks and regions: one that had it open and did not last wait for it.
     */
    uint64_t dead_giver, dead_taker;
    /* repairs so far */
    uint64_t holders_lost;      /* died holding the lock or in the middle of a change */
    uint64_t waiters_buried;    /* died while they waited */
    uint64_t wakeups_passed_on; /* from a dead waiter to the next */
    uint64_t rebuilds;          /* of the waitlist */
    union {
        struct {
            uint32_t recursive, depth, orphaned, no_deadlock_check;
        } lock;
        struct {
            uint32_t kind, own_lock;
            char lock[SHK_NAME_MAX + 1];         /* "" if its own */
            uint32_t recursive, depth, orphaned; /* of that lock */
        } cond;
        struct {
            uint32_t is_set;
        } event;
        struct {
            uint32_t order, shut_down;
            uint64_t capacity, item_size, size; /* capacity 0: any number of items */
            uint64_t puts, gets;                /* since it was created */
            uint64_t high_water;                /* the most items that were seen in it: see below */
            /* ids of the members that keep a side: claimed, reserved, peeked; 0: none */
            uint64_t producer, consumer;
            /*
             * the limit in bytes, 0: none; and how many are in it, if its items are stored at their
             * length
             */
            uint64_t capacity_bytes, bytes;
            uint32_t at_length;
            /*
             * Leased items. They are neither in `size` nor in `gets`, and count for the capacity.
             * Those that have come back are in `size`; `delayed`: of these, not due yet.
             */
            uint32_t leased, came_back, delayed;
            /*
             * Of the item that has been leased longest: the member that leased it, which may have
             * ended, and its process; nanoseconds so far; how often the item was handed out
             */
            uint64_t lessee;
            int64_t lease;
            int32_t lessee_pid;
            uint32_t attempts;
        } queue;
        struct {
            uint32_t value, max; /* max 0: none */
            /* 1: with owners: so many processes hold permits, these are the first of them */
            uint32_t owners, n_holders;
            uint64_t came_back; /* permits so far, of processes that were over */
            struct {
                int32_t pid;
                uint32_t permits;
            } holders[8];
        } semaphore;
        struct {
            uint32_t parties, arrived, broken;
        } barrier;
        struct {
            uint64_t sample_size, history, position;
            double rate; /* samples a second, as noted; 0: not known */
            uint32_t channels, stamped;
        } stream;
        struct {
            uint64_t size, align;
        } region;
        struct {
            uint32_t readers; /* members that have a share; a writer waits for them */
            uint32_t writing; /* the holder writes; else it waits for the readers */
            uint32_t orphaned, no_deadlock_check;
            uint64_t reader[8]; /* ids of the first of them; 0: no more */
        } rwlock;
        struct {
            uint32_t done, orphaned;
        } once;
        struct {
            uint64_t size, version, length; /* version 0: never set; length: of the newest */
        } value;
        uint64_t room[16]; /* of each kind; what it does not use is zero */
    } as;
    /*
     * Of a queue or a stream: processes with a living member that are producers by role, and
     * consumers; and whether there was one and the last has gone: enum shk_line_state.
     */
    uint32_t producers, consumers;
    uint32_t producer_line, consumer_line;
    uint64_t reserved[6];
};

/* Of the producers of an object, and of its consumers. */
enum shk_line_state {
    SHK_LINE_NONE = 0,   /* there has never been one by role */
    SHK_LINE_OPEN = 1,   /* there is one, or it has not been found yet that the last has gone */
    SHK_LINE_CLOSED = 2, /* the last one has gone */
    SHK_LINE_BROKEN = 3  /* the last one has gone, and one of them has died */
};

/*
 * If a producer of a FIFO queue has been killed in the middle of a put, `puts` and `size` may leave
 * out the item that it put, until the next put.
 *
 * The high-water mark of a LIFO or PRIORITY queue is exact. Of a FIFO queue it is the most that
 * either side has read from the other: a producer reads when it finds no room, a consumer when it
 * has taken all items that it knew of. So it is exact if the queue was ever full, and else a lower
 * bound. To be exact always, each put would have to read what the consumers write.
 */

/* Flags of shk_segment_list(). */
#define SHK_LIST_FOREIGN 0x1u /* also what is not shmkit's */
#define SHK_LIST_ETCD    0x2u /* the segments on etcd, in place of those in shared memory */

/*
 * List all segments, in order of name. flags: 0 or any of the above. A file that cannot be read or
 * understood is an entry with that state, not an error.
 * Returns how many there are, and sets *list, which the caller passes to free(); or
 *   -EINVAL  unknown flags
 *   -ENOMEM; -EACCES and the like, as opendir(3)
 *   -EHOSTUNREACH, -EACCES, -ENOTSUP  as shk_segment_open() of a segment on etcd
 */
SHK_PUBLIC ssize_t shk_segment_list(unsigned flags, struct shk_segment_info **list);

/*
 * Take a snapshot of one segment, which the caller closes. One on etcd ("etcd:NAME") is read with
 * requests that change nothing: its members are processes, with those of their threads that wait or
 * hold an object; a wait is among them once it has lasted 0.2 s; no member is dead.
 * Returns 0, or
 *   -ENOENT  absent
 *   -EACCES  not readable for the caller
 *   -EPROTO  not a shmkit segment, of another layout, or damaged
 *   -EINVAL, -ENAMETOOLONG, -EILSEQ  the name is invalid, too long, not UTF-8
 *   -ENOMEM
 *   -EHOSTUNREACH, -EACCES, -ENOTSUP  as shk_segment_open() of a segment on etcd
 */
SHK_PUBLIC int shk_snapshot_open(const char *segment, struct shk_snapshot **out);
SHK_PUBLIC void shk_snapshot_close(struct shk_snapshot *);

SHK_PUBLIC const struct shk_segment_info *shk_snapshot_segment(const struct shk_snapshot *);

/*
 * Return the i-th object, in order of name, or member, in order of joining; i counts from 0. NULL
 * beyond the last.
 */
SHK_PUBLIC const struct shk_object_info *shk_snapshot_object(const struct shk_snapshot *, size_t i);
SHK_PUBLIC const struct shk_member_info *shk_snapshot_member(const struct shk_snapshot *, size_t i);

/* Return the object of that name, the member of that id; NULL if there is none. */
SHK_PUBLIC const struct shk_object_info *shk_snapshot_find_object(const struct shk_snapshot *,
                                                                  const char *name);
SHK_PUBLIC const struct shk_member_info *shk_snapshot_find_member(const struct shk_snapshot *,
                                                                  uint64_t id);

/*
 * Return the machine of a member, as its host is called; "" if the segment is in shared memory. The
 * member is of that snapshot.
 */
SHK_PUBLIC const char *shk_snapshot_machine(const struct shk_snapshot *,
                                            const struct shk_member_info *);

/*
 * Return the roles that the member's process has of the object: SHK_PRODUCER, SHK_CONSUMER, both,
 * 0. Both are of that snapshot.
 */
SHK_PUBLIC unsigned shk_snapshot_roles(const struct shk_snapshot *, const struct shk_object_info *,
                                       const struct shk_member_info *);

/*
 * Return how many permits of the object, a semaphore with owners, the member's process holds, as
 * far as the snapshot has it: in shared memory it has the first 8 of the processes that hold some.
 * Both are of that snapshot.
 */
SHK_PUBLIC uint32_t shk_snapshot_permits(const struct shk_snapshot *,
                                         const struct shk_object_info *,
                                         const struct shk_member_info *);

/* An item that waits in a queue. */
struct shk_item_info {
    int64_t priority; /* of a PRIORITY queue; else 0 */
    size_t length;    /* bytes */
    const unsigned char *bytes;
    uint64_t reserved[5];
};

/*
 * List the items that wait in a queue, at most `max` of them, in the order in which they would be
 * taken: none is taken, and no member is delayed. Items that are taken meanwhile may be missing,
 * and an item that is listed may have been taken by the time of the return.
 * Returns how many it lists, and sets *list, which the caller passes to free(), items and all; or
 *   -ENOENT      the segment or the object is absent, or has been removed meanwhile
 *   -EPROTOTYPE  it is no queue
 *   -EAGAIN      a LIFO or PRIORITY queue changes faster than so many of its items can be read
 *   -EACCES, -EPROTO, -EINVAL, -ENAMETOOLONG, -EILSEQ, -ENOMEM as shk_snapshot_open()
 * Killed: nothing shared is touched.
 */
SHK_PUBLIC ssize_t shk_item_list(const char *segment, const char *queue, size_t max,
                                 struct shk_item_info **list);

/* ---- The servers that carry segments on etcd ---- */

enum shk_server_state {
    SHK_SERVER_GOOD = 0,
    SHK_SERVER_AWAY = 1,      /* it does not answer */
    SHK_SERVER_REFUSES = 2,   /* user, password, rights or certificates */
    SHK_SERVER_NO_LEADER = 3, /* it answers, and knows no leader */
    SHK_SERVER_UNLISTED = 4 /* a member of the cluster that is not among the endpoints: not asked */
};

struct shk_server_info {
    char endpoint[160]; /* its URL */
    char name[SHK_NAME_MAX + 1];
    char version[32];
    uint32_t state;    /* enum shk_server_state */
    uint32_t leads;    /* it is the leader */
    char problem[200]; /* a sentence, when the state is not good */
    uint64_t size;     /* bytes: of its database */
    uint64_t in_use;   /* … of these that are not free */
    uint64_t quota;    /* … that it may have; 0: not known */
    int64_t delay;     /* nanoseconds until it answered */
    int64_t ahead;     /* seconds that its clock is ahead of the caller's, within one */
    uint64_t reserved[8];
};

/* All of them together. What is not known is zero. */
struct shk_cluster_info {
    uint32_t members;              /* that have a vote */
    uint32_t has_majority;         /* a read was answered for one */
    uint32_t no_space;             /* the alarm: it takes no more writes */
    uint32_t corrupt;              /* the alarm: two members have other data */
    uint32_t may_write;            /* the caller has the right to write all keys of shmkit */
    uint32_t lease_ttl;            /* seconds that a lease lasts for which 5 were asked */
    uint64_t revision;             /* how many changes there have been */
    uint64_t oldest;               /* the oldest one that has not been compacted */
    int64_t read_time, write_time; /* nanoseconds that one takes */
    char problem[200];             /* a sentence, where something was refused or not answered */
    uint64_t reserved[8];
};

/*
 * Look at the servers that $ETCDCTL_ENDPOINTS names, and at the others of their cluster. Nothing is
 * changed but a lease that is granted and given back. Waits 2 s at most for each server, and 5 s
 * for a majority.
 * Returns how many there are, and sets *list, which the caller passes to free(); or
 *   -EINVAL   a pointer is NULL, or a variable in the environment is invalid
 *   -ENOTSUP  libshmkit-etcd is not there
 *   -ENOMEM
 * Killed: the lease ends by itself.
 */
SHK_PUBLIC ssize_t shk_server_list(struct shk_cluster_info *cluster, struct shk_server_info **list);

#ifdef __cplusplus
}
#endif

#endif
