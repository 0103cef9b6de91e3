/* The segment and its members, killed. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMBERS 6

static int64_t nothing(struct world *w, int64_t unused)
{
    (void)w;
    (void)unused;
    return 0;
}

static int64_t create(struct world *w, int64_t unused)
{
    int64_t r = create_segment(w, MEMBERS);

    (void)unused;
    return r == 0 ? shk_event_open(w->segment, EVENT, SHK_CREATE, NULL, &w->event) : r;
}

/* ---- Acts ---- */

static int64_t open_or_create(struct world *w, int64_t exclusive)
{
    static const struct shk_segment_options options = {
        .size = 1 << 18, .max_members = MEMBERS, .max_objects = 16};

    return shk_segment_open(w->name, SHK_CREATE | (exclusive ? SHK_EXCL : 0), &options,
                            &w->segment);
}

static int64_t open_exclusively(struct world *w, int64_t unused)
{
    (void)unused;
    return open_or_create(w, true);
}

static int64_t open_existing(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_open(w->name, 0, NULL, &w->segment);
}

static int64_t close_segment(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_close(w->segment);
}

static int64_t close_event(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_close(w->event);
}

static int64_t unlink_segment(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_unlink(w->name);
}

static int64_t unlink_unused(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_unlink_unused(w->name, 0);
}

static int64_t unlink_any(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_segment_unlink_any(w->name);
}

static int64_t open_event(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_open(w->segment, EVENT, SHK_CREATE, NULL, &w->event);
}

static int64_t wait_for_event(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_wait(w->event, SHK_FOREVER);
}

static int64_t set_event(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_event_set(w->event);
}

static int64_t use_event(struct world *w, int64_t unused)
{
    int64_t r = set_event(w, unused);

    if (r == 0)
        r = shk_event_is_set(w->event) == 1 ? 0 : -EILSEQ;
    return r == 0 ? shk_event_clear(w->event) : r;
}

static int64_t create_unnamed(struct world *w, int64_t unused)
{
    static const struct shk_segment_options options = {
        .size = 1 << 18, .max_members = MEMBERS, .max_objects = 16};
    struct shk_segment *s;

    (void)w;
    (void)unused;
    return shk_segment_create_unnamed(&options, &s);
}

static int64_t make_unnamed(struct world *w, int64_t unused)
{
    w->descriptor = (int)create_unnamed(w, unused);
    return w->descriptor < 0 ? w->descriptor : 0;
}

static int64_t open_unnamed(struct world *w, int64_t unused)
{
    struct shk_segment *s;

    (void)unused;
    return shk_segment_open_fd(w->descriptor, 0, &s);
}

/* The child has nothing to do; it ends without its handlers, as if killed. */
static int64_t fork_child(struct world *w, int64_t unused)
{
    pid_t child = fork();

    (void)w;
    (void)unused;
    if (child == 0)
        _exit(0);
    return child < 0 ? -errno : waitpid(child, NULL, 0) == child ? 0 : -errno;
}

static int64_t set_name(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_set_member_name(w->segment, "存款者甲 from the other side of the street");
}

/* The victim's name is the old or the new one: 0, 1; its process has one member. */
static int64_t look_at_name(struct world *w, int64_t unused)
{
    const struct shk_member_info *member;
    struct shk_snapshot *look;
    int64_t r = shk_snapshot_open(w->name, &look);

    (void)unused;
    if (r < 0)
        return r;
    r = 0;
    for (size_t i = 0; (member = shk_snapshot_member(look, i)); i++)
        if (member->tid == w->board->mailbox[VICTIM].tid)
            r = strcmp(member->name, "存款者甲 from the other side of the street") == 0 ? 1
                : strcmp(member->name, member->command) == 0                            ? 0
                                                                                        : -EILSEQ;
    shk_snapshot_close(look);
    return r;
}

static pthread_barrier_t joined;

static void *join_and_stay(void *arg)
{
    struct world *w = arg;
    intptr_t r = shk_event_is_set(w->event);

    pthread_barrier_wait(&joined); /* no thread leaves before all have tried */
    return (void *)r;
}

/* As many threads join as the segment has room for members, and one more. How many did. */
static int64_t fill(struct world *w, int64_t unused)
{
    pthread_t threads[MEMBERS + 1];
    int64_t count = 0;
    void *r;

    (void)unused;
    pthread_barrier_init(&joined, NULL, MEMBERS + 1);
    for (int i = 0; i < MEMBERS + 1; i++)
        if (pthread_create(&threads[i], NULL, join_and_stay, w) != 0)
            return -EAGAIN;
    for (int i = 0; i < MEMBERS + 1; i++) {
        pthread_join(threads[i], &r);
        count += (intptr_t)r >= 0;
        if ((intptr_t)r < 0 && (intptr_t)r != -EUSERS)
            return (intptr_t)r;
    }
    return count;
}

/* ---- Scripts ---- */

static void set_absent(struct world *w)
{
    start_host(w, nothing, 0);
}

static void set_present(struct world *w)
{
    start_host(w, create, 0);
}

static void set_with_sleeper(struct world *w)
{
    set_present(w);
    start_sleeper(w, wait_for_event, 0);
}

/* No member is in it when the victim comes. */
static void set_deserted(struct world *w)
{
    set_present(w);
    EXPECT(w, call(w, HOST, close_event, 0) == 0 && call(w, HOST, close_segment, 0) == 0,
           "the host cannot leave");
}

/* All places but the host's and one more are taken by members that died. */
static void set_full_of_dead(struct world *w)
{
    set_present(w);
    for (unsigned actor = NEWCOMER; actor < ACTORS; actor++)
        start_attached(w, actor);
    for (unsigned actor = NEWCOMER; actor < ACTORS; actor++)
        kill_actor(w, actor);
}

/* Half-made files have another name or none. */
static unsigned files(const struct world *w)
{
    DIR *directory = opendir("/dev/shm");
    unsigned n = 0;

    for (struct dirent *entry; directory && (entry = readdir(directory));)
        n += strstr(entry->d_name, w->name + 1) != NULL;
    if (directory)
        closedir(directory);
    return n;
}

/* The host and the newcomer are in it together, and only the living count as members. */
static void use_it(struct world *w)
{
    int64_t r, members = w->row->in_thread && w->actors[VICTIM].pid;

    for (unsigned actor = HOST; actor < ACTORS; actor++)
        members += w->actors[actor].pid != 0;
    r = call(w, NEWCOMER, use_event, 0);
    EXPECT(w, r == 0, "the newcomer's event: %lld", (long long)r);
    r = call(w, HOST, use_event, 0);
    EXPECT(w, r == 0, "the host's event: %lld", (long long)r);
    r = call(w, HOST, fill, 0);
    EXPECT(w, r == MEMBERS - members, "%lld members found room beside %lld", (long long)r,
           (long long)members);
}

/* Absent, then created by a victim. */
static void check_create(struct world *w)
{
    int64_t r;
    unsigned n = files(w);

    EXPECT(w, n <= 1, "%u files are left", n);
    start_attached(w, NEWCOMER);
    r = call(w, HOST, open_exclusively, 0);
    EXPECT(w, r == 0 || r == -EEXIST, "creating it anew: %lld", (long long)r);
    EXPECT(w, r == -EEXIST || !w->acknowledged, "what was created is gone");
    EXPECT(w, r == 0 || !w->untouched, "it is there");
    if (r == -EEXIST)
        EXPECT(w, (r = call(w, HOST, open_existing, 0)) == 0, "opening it: %lld", (long long)r);
}

static void carry_on_new(struct world *w)
{
    int64_t r;

    if (!w->actors[NEWCOMER].pid)
        start_attached(w, NEWCOMER);
    r = call(w, NEWCOMER, open_or_create, 0);
    EXPECT(w, r == 0, "the newcomer cannot open it: %lld", (long long)r);
    r = call(w, NEWCOMER, open_event, 0);
    EXPECT(w, r == 0, "the newcomer cannot open the event: %lld", (long long)r);
    r = call(w, HOST, open_event, 0);
    EXPECT(w, r == 0, "the host cannot open the event: %lld", (long long)r);
    use_it(w);
}

static void check_nothing(struct world *w)
{
    (void)w;
}

/* A segment without a name leaves no file. */
static void check_no_file(struct world *w)
{
    EXPECT(w, files(w) == 1, "%u files are left", files(w));
}

static void check_deserted(struct world *w)
{
    int64_t r = call(w, HOST, open_existing, 0);

    EXPECT(w, r == 0, "the host cannot open it: %lld", (long long)r);
    r = call(w, HOST, open_event, 0);
    EXPECT(w, r == 0, "the host cannot open the event: %lld", (long long)r);
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    use_it(w);
}

static void check_name(struct world *w)
{
    int64_t r = call(w, HOST, look_at_name, 0);

    EXPECT(w, r >= 0, "its name is neither the old nor the new one: %lld", (long long)r);
    EXPECT(w, !w->untouched || r == 0, "the name is new");
}

/* Retired, and then the name goes, whichever member comes; or nothing has happened. */
static void check_unlink(struct world *w)
{
    bool gone = files(w) == 0;
    int64_t r;

    start_attached(w, NEWCOMER);
    r = call(w, NEWCOMER, open_existing, 0);
    EXPECT(w, r == 0 || r == -ENOENT, "opening it: %lld", (long long)r);
    EXPECT(w, r == -ENOENT || (!w->acknowledged && !gone), "it is still there");
    EXPECT(w, r == 0 || !w->untouched, "it was unlinked, but not by the victim");
    EXPECT(w, r == 0 || files(w) == 0, "its name is still there");
    if (w->row->setup == set_deserted)
        return;
    gone = r == -ENOENT;
    r = call(w, HOST, use_event, 0);
    EXPECT(w, r == (gone ? -ESTALE : 0), "the host's event: %lld", (long long)r);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        r = finish(w, actor);
        EXPECT(w, r == (gone ? -ESTALE : 0), "the sleeper's wait: %lld", (long long)r);
    }
}

/* The host leaves the old one behind. */
static void carry_on_anew(struct world *w)
{
    kill_actor(w, HOST);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        kill_actor(w, actor);
    start_host(w, open_or_create, 0);
    carry_on_new(w);
}

/* clang-format off */
static const struct row rows[] = {
    {"shk_segment_open", "absent: creates it", .setup = set_absent, .operation = open_or_create,
     .check = check_create, .carry_on = carry_on_new},
    {"shk_segment_open", "present, others are in it: finds it", .setup = set_present,
     .operation = open_existing, .check = check_nothing, .carry_on = carry_on, .outside = true},
    {"shk_segment_open", "present, no member in it: finds it", .setup = set_deserted,
     .operation = open_or_create, .check = check_deserted, .carry_on = carry_on, .outside = true},
    {"shk_segment_open", "present, SHK_EXCL", .setup = set_present, .operation = open_exclusively,
     .check = check_nothing, .carry_on = carry_on, .outside = true},
    {"shk_segment_open", "open already in the process", .setup = set_present,
     .operation = open_existing, .check = check_nothing, .carry_on = carry_on},
    {"shk_segment_create_unnamed", "", .setup = set_present, .operation = create_unnamed,
     .check = check_no_file, .carry_on = carry_on, .outside = true},
    {"shk_segment_open_fd", "open already in the process", .setup = set_present,
     .prepare = make_unnamed, .operation = open_unnamed, .check = check_no_file,
     .carry_on = carry_on},
    {"shk_segment_close", "others are in it", .setup = set_present, .operation = close_segment,
     .check = check_nothing, .carry_on = carry_on},
    {"shk_segment_close", "no other member in it", .setup = set_deserted,
     .operation = close_segment, .check = check_deserted, .carry_on = carry_on},
    {"shk_segment_close", "and its handles are closed", .setup = set_present,
     .prepare = close_event, .operation = close_segment, .check = check_nothing,
     .carry_on = carry_on},
    {"shk_segment_unlink", "no member in it", .setup = set_deserted, .operation = unlink_segment,
     .check = check_unlink, .carry_on = carry_on_anew, .outside = true},
    {"shk_segment_unlink", "others are in it", .setup = set_present, .operation = unlink_segment,
     .check = check_unlink, .carry_on = carry_on_anew, .outside = true},
    {"shk_segment_unlink", "the caller and others are in it", .setup = set_present,
     .operation = unlink_segment, .check = check_unlink, .carry_on = carry_on_anew},
    {"shk_segment_unlink", "one sleeps in it", .setup = set_with_sleeper,
     .operation = unlink_segment, .check = check_unlink, .carry_on = carry_on_anew,
     .outside = true},
    {"shk_segment_unlink_unused", "no member in it", .setup = set_deserted,
     .operation = unlink_unused, .check = check_unlink, .carry_on = carry_on_anew, .outside = true},
    {"shk_segment_unlink_any", "others are in it", .setup = set_present, .operation = unlink_any,
     .check = check_unlink, .carry_on = carry_on_anew, .outside = true},
    {"shk_set_member_name", "a member", .setup = set_present, .operation = set_name,
     .check = check_name, .carry_on = carry_on},
    {"shk_set_member_name", "a thread's first call: it joins", .setup = set_present,
     .operation = set_name, .check = check_nothing, .carry_on = carry_on, .in_thread = true},
    {"shk_event_set", "a thread's first call, a dead member's place", .setup = set_full_of_dead,
     .operation = set_event, .check = check_nothing, .carry_on = carry_on, .in_thread = true},
    {"fork", "a member's: its child has open what it has", .setup = set_present,
     .operation = fork_child, .check = check_nothing, .carry_on = carry_on},
    {"a thread's end", "it leaves", .setup = set_present, .prepare = use_event,
     .operation = nothing, .check = check_nothing, .carry_on = carry_on, .in_thread = true,
     .leaves = true},
};
/* clang-format on */
const struct rows segment_rows = ROWS(rows);
