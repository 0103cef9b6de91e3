#include "verdict.h"
#include "looks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BETWEEN_LOOKS \
    SHK_MS(300) /* sleepers look for themselves each 100 ms whether they were passed over */

static struct thread *find_thread(const struct world *w, const struct shk_snapshot *look,
                                  const struct shk_member_info *m)
{
    uint64_t pid_namespace = shk_snapshot_segment(look)->namespace_;

    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (t->tid == m->tid && t->pid == m->pid && t->pid_namespace == pid_namespace)
            return t;
    }
    return NULL;
}

static void add_member(struct world *w, const struct shk_snapshot *look,
                       const struct shk_member_info *m)
{
    struct thread *t = find_thread(w, look, m);

    if (!t) {
        t = &w->threads[w->n++];
        *t = (struct thread){.pid_namespace = shk_snapshot_segment(look)->namespace_,
                             .pid = m->pid,
                             .tid = m->tid,
                             .member = m,
                             .look = look};
    }
    if (m->waits_for != SHK_WAITS_NOT) {
        t->member = m;
        t->look = look;
        t->object = shk_snapshot_find_object(look, m->waits_on);
    }
}

struct thread *next_in_chain(const struct thread *t)
{
    return t->holder ? t->holder : t->command;
}

static bool waits(const struct thread *t)
{
    return t->member->waits_for != SHK_WAITS_NOT || t->command;
}

static bool is_able(const struct thread *t)
{
    return t->verdict <= VERDICT_WAITING;
}

/* ---- shmctl lock and its command ---- */

static uint64_t our_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* The parent of a process of one thread; 0: it has more, or has gone. */
static int parent_of(int32_t pid)
{
    char path[64], line[1024];
    const char *after_name;
    int parent, threads;
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    n = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[n] = '\0';
    after_name = strrchr(line, ')');
    /* From the state, field 3, to the number of threads, field 20: proc(5). */
    if (!after_name || sscanf(after_name + 1,
                              " %*c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
                              &parent, &threads) != 2)
        return 0;
    return threads == 1 ? parent : 0;
}

static bool runs_lock(const struct thread *t)
{
    char path[64], words[256] = "";
    FILE *file;
    size_t n;

    if (strcmp(t->member->command, "shmctl") != 0 || t->tid != t->pid)
        return false;
    snprintf(path, sizeof(path), "/proc/%" PRId32 "/cmdline", t->pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    n = fread(words, 1, sizeof(words) - 1, file);
    fclose(file);
    words[n] = '\0';
    return strcmp(words + strnlen(words, n - (n > 0)) + 1, "lock") == 0;
}

static void find_commands(struct world *w)
{
    uint64_t here = our_namespace();

    for (size_t i = 0; i < w->n; i++) {
        struct thread *child = &w->threads[i];
        int parent = child->pid_namespace == here && child->member->waits_for != SHK_WAITS_NOT
                         ? parent_of(child->pid)
                         : 0;

        for (size_t k = 0; parent && k < w->n; k++) {
            struct thread *t = &w->threads[k];

            if (t->pid == parent && t->pid_namespace == here &&
                t->member->waits_for == SHK_WAITS_NOT && runs_lock(t))
                t->command = child;
        }
    }
}

/* Take one look. */
static int look_once(struct world *w)
{
    const struct shk_member_info *m;
    size_t members = 0;
    int status;

    *w = (struct world){0};
    w->looks = take_looks(NULL, &status);
    for (struct shk_snapshot **look = w->looks; *look; look++) {
        for (size_t i = 0; shk_snapshot_member(*look, i); i++)
            members++;
    }
    w->threads = allocate(members, sizeof(*w->threads));
    for (struct shk_snapshot **look = w->looks; *look; look++) {
        for (size_t i = 0; (m = shk_snapshot_member(*look, i)); i++) {
            if (m->alive)
                add_member(w, *look, m);
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (t->member->waits_for != SHK_WAITS_TO_ACQUIRE || !t->object)
            continue;
        m = shk_snapshot_find_member(t->look, t->object->holder);
        t->holder = m && m->alive ? find_thread(w, t->look, m) : NULL;
    }
    find_commands(w);
    return status;
}

const struct thread *possible_waker(const struct world *w, const struct thread *t, size_t i)
{
    const struct shk_member_info *m;
    const struct thread *other;
    uint64_t stuck = 0;

    if (t->member->waits_for == SHK_WAITS_TO_ACQUIRE || t->command) {
        other = next_in_chain(t);
        return i == 0 && other && is_able(other) ? other : NULL;
    }
    if (!t->object)
        return NULL;
    for (size_t k = 0; k < w->n; k++)
        stuck += !is_able(&w->threads[k]) && w->threads[k].object == t->object;
    if (t->member->waits_for != SHK_WAITS_FOR_ANY && t->object->users <= stuck)
        return NULL; /* of several objects only the first is known */
    for (size_t k = 0; (m = shk_snapshot_member(t->look, k)); k++) {
        other = m->alive ? find_thread(w, t->look, m) : NULL;
        if (other && other != t && is_able(other) && i-- == 0)
            return other;
    }
    return NULL;
}

static bool can_go_on(const struct world *w, const struct thread *t)
{
    if (t->command)
        return is_able(t->command);
    /* It is about to find out that the object has been removed, or that the lock is free or its holder dead. */
    if (!t->object || (t->member->waits_for == SHK_WAITS_TO_ACQUIRE && !t->holder))
        return true;
    return t->member->has_deadline || possible_waker(w, t, 0) != NULL;
}

static bool is_link(const struct thread *t)
{
    return t && waits(t) && t->settled && next_in_chain(t);
}

/* From lock to holder to lock: a chain that does not end is one that leads into a circle. */
static bool find_circle(struct world *w, struct thread *from)
{
    struct thread *t = from;
    struct thread *u;

    for (size_t steps = 0; is_link(t) && steps <= w->n; steps++)
        t = next_in_chain(t);
    if (!is_link(t))
        return false;
    from->verdict = VERDICT_DEADLOCKED;
    u = t;
    do {
        u->in_circle = true;
        u->verdict = VERDICT_DEADLOCKED;
        u = next_in_chain(u);
    } while (u != t);
    return true;
}

/* Returns whether somebody is stuck. */
static bool judge(struct world *w)
{
    bool changed = true;
    bool stuck = false;

    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        t->verdict = !waits(t) ? VERDICT_AWAKE : t->settled ? VERDICT_STRANDED : VERDICT_WAITING;
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < w->n; i++) {
            struct thread *t = &w->threads[i];

            if (is_able(t) || !can_go_on(w, t))
                continue;
            t->verdict = VERDICT_WAITING;
            changed = true;
        }
    }
    /* Also of those who have a deadline. */
    for (size_t i = 0; i < w->n; i++)
        stuck = find_circle(w, &w->threads[i]) || !is_able(&w->threads[i]) || stuck;
    /* Who waits for its command, which goes on, is at work. */
    for (size_t i = 0; i < w->n; i++) {
        if (w->threads[i].command && w->threads[i].verdict == VERDICT_WAITING)
            w->threads[i].verdict = VERDICT_AWAKE;
    }
    return stuck;
}

/* Is it the same wait, which has gone on all the time in between, and for the same holder? */
static bool is_same_wait(const struct thread *before, const struct thread *t)
{
    if (before->member->id != t->member->id)
        return false;
    if (before->command || t->command)
        return before->command && t->command && before->command->pid == t->command->pid;
    if (!before->object || !t->object)
        return false;
    return shk_snapshot_segment(before->look)->id == shk_snapshot_segment(t->look)->id &&
           before->object->serial == t->object->serial &&
           before->object->holder == t->object->holder &&
           before->member->waits_for == t->member->waits_for &&
           t->member->waiting >= before->member->waiting + BETWEEN_LOOKS;
}

static void settle(const struct world *before, struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct thread *t = find_thread(before, w->threads[i].look, w->threads[i].member);

        w->threads[i].settled = t && !is_able(t) && is_same_wait(t, &w->threads[i]);
    }
}

int look_at_world(struct world *w)
{
    struct world before;
    int status = look_once(w);

    for (size_t i = 0; i < w->n; i++)
        w->threads[i].settled = true;
    if (status != STATUS_DONE || !judge(w))
        return status;
    before = *w;
    nanosleep(&(struct timespec){.tv_nsec = BETWEEN_LOOKS}, NULL);
    status = look_once(w);
    settle(&before, w);
    judge(w);
    drop_world(&before);
    return status;
}

void drop_world(struct world *w)
{
    drop_looks(w->looks);
    free(w->threads);
}
