#include "verdict.h"
#include "looks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BETWEEN_LOOKS \
    SHK_MS(300) /* sleepers look for themselves each 100 ms whether they were passed over */

static int by_identity(const void *a, const void *b)
{
    const struct thread *t = a;
    const struct thread *u = b;

    if (t->pid_namespace != u->pid_namespace)
        return t->pid_namespace < u->pid_namespace ? -1 : 1;
    if (t->pid != u->pid)
        return t->pid < u->pid ? -1 : 1;
    return (t->tid > u->tid) - (t->tid < u->tid);
}

static struct thread identity(const struct shk_snapshot *look, const struct shk_member_info *m)
{
    return (struct thread){.pid_namespace = shk_snapshot_segment(look)->namespace_,
                           .pid = m->pid,
                           .tid = m->tid,
                           .member = m,
                           .look = look};
}

static struct thread *find_identity(const struct world *w, const struct thread *key)
{
    return bsearch(key, w->threads, w->n, sizeof(*w->threads), by_identity);
}

static struct thread *find_thread(const struct world *w, const struct shk_snapshot *look,
                                  const struct shk_member_info *m)
{
    struct thread key = identity(look, m);

    return find_identity(w, &key);
}

/* All living threads, each once, by namespace and number. */
static void gather_threads(struct world *w)
{
    const struct shk_member_info *m;
    size_t members = 0;
    size_t n = 0;

    for (struct shk_snapshot **look = w->looks; *look; look++) {
        for (size_t i = 0; shk_snapshot_member(*look, i); i++)
            members++;
    }
    w->threads = allocate(members, sizeof(*w->threads));
    w->seats = allocate(members, sizeof(*w->seats));
    for (struct shk_snapshot **look = w->looks; *look; look++) {
        for (size_t i = 0; (m = shk_snapshot_member(*look, i)); i++) {
            if (m->alive)
                w->threads[n++] = identity(*look, m);
        }
    }
    qsort(w->threads, n, sizeof(*w->threads), by_identity);
    for (size_t i = 0; i < n; i++) {
        if (w->n == 0 || by_identity(&w->threads[w->n - 1], &w->threads[i]) != 0)
            w->threads[w->n++] = w->threads[i];
    }
}

/* Who sits where: the threads of each look in its order, and where each waits. */
static void seat_threads(struct world *w)
{
    const struct shk_member_info *m;
    struct thread **seats = w->seats;

    for (struct shk_snapshot **look = w->looks; *look; look++) {
        struct thread **first = seats;

        for (size_t i = 0; (m = shk_snapshot_member(*look, i)); i++, seats++) {
            struct thread *t = *seats = m->alive ? find_thread(w, *look, m) : NULL;

            if (!t || (t->seats && m->waits_for == SHK_WAITS_NOT))
                continue;
            t->member = m;
            t->look = *look;
            t->seats = first;
            t->object = m->waits_for == SHK_WAITS_NOT ? NULL : shk_snapshot_find_object(*look, m->waits_on);
        }
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
        struct thread key = {.pid_namespace = here};
        struct thread *t;

        if (child->pid_namespace != here || child->member->waits_for == SHK_WAITS_NOT)
            continue;
        key.pid = key.tid = parent_of(child->pid);
        t = find_identity(w, &key);
        if (t && t->member->waits_for == SHK_WAITS_NOT && runs_lock(t))
            t->command = child;
    }
}

/* Take one look. */
static int look_once(struct world *w)
{
    const struct shk_member_info *m;
    int status;

    *w = (struct world){0};
    w->looks = take_looks(NULL, &status);
    gather_threads(w);
    seat_threads(w);
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

const struct thread *possible_waker(const struct world *w, const struct thread *t, size_t *at)
{
    const struct thread *other;
    uint64_t stuck = 0;

    if (t->member->waits_for == SHK_WAITS_TO_ACQUIRE || t->command) {
        other = next_in_chain(t);
        return (*at)++ == 0 && other && is_able(other) ? other : NULL;
    }
    if (!t->object)
        return NULL;
    for (size_t k = 0; *at == 0 && k < w->n; k++)
        stuck += !is_able(&w->threads[k]) && w->threads[k].object == t->object;
    if (*at == 0 && t->member->waits_for != SHK_WAITS_FOR_ANY && t->object->users <= stuck)
        return NULL; /* of several objects only the first is known */
    while (shk_snapshot_member(t->look, *at)) {
        other = t->seats[(*at)++];
        if (other && other != t && is_able(other))
            return other;
    }
    return NULL;
}

static bool can_be_woken(const struct world *w, const struct thread *t)
{
    size_t at = 0;

    return possible_waker(w, t, &at) != NULL;
}

static bool can_go_on(const struct world *w, const struct thread *t)
{
    if (t->command)
        return is_able(t->command);
    /* It is about to find out that the object has been removed, or that the lock is free or its holder dead. */
    if (!t->object || (t->member->waits_for == SHK_WAITS_TO_ACQUIRE && !t->holder))
        return true;
    return t->member->has_deadline || can_be_woken(w, t);
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
    free(w->seats);
    free(w->threads);
}
