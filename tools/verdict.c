#include "verdict.h"
#include "looks.h"

#include <stdlib.h>
#include <string.h>
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

static bool waits(const struct thread *t)
{
    return t->member->waits_for != SHK_WAITS_NOT;
}

static bool is_able(const struct thread *t)
{
    return t->verdict <= VERDICT_WAITING;
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
    return status;
}

const struct thread *possible_waker(const struct world *w, const struct thread *t, size_t i)
{
    const struct shk_member_info *m;
    const struct thread *other;
    uint64_t stuck = 0;

    if (t->member->waits_for == SHK_WAITS_TO_ACQUIRE)
        return i == 0 && t->holder && is_able(t->holder) ? t->holder : NULL;
    for (size_t k = 0; k < w->n; k++)
        stuck += !is_able(&w->threads[k]) && w->threads[k].object == t->object;
    if (!t->object || t->object->users <= stuck)
        return NULL;
    for (size_t k = 0; (m = shk_snapshot_member(t->look, k)); k++) {
        other = m->alive ? find_thread(w, t->look, m) : NULL;
        if (other && other != t && is_able(other) && i-- == 0)
            return other;
    }
    return NULL;
}

static bool can_be_woken(const struct world *w, const struct thread *t)
{
    /* It is about to find out that the object has been removed, or that the lock is free or its holder dead. */
    if (!t->object || (t->member->waits_for == SHK_WAITS_TO_ACQUIRE && !t->holder))
        return true;
    return possible_waker(w, t, 0) != NULL;
}

/* From lock to holder to lock: who is met twice is in a circle, and so are those between. */
static void find_circle(struct world *w, struct thread *from)
{
    struct thread *t = from;
    struct thread *u;

    for (size_t steps = 0; t && !is_able(t) && steps <= w->n; steps++)
        t = t->holder;
    if (!t || is_able(t))
        return;
    from->verdict = VERDICT_DEADLOCKED;
    u = t;
    do {
        u->in_circle = true;
        u->verdict = VERDICT_DEADLOCKED;
        u = u->holder;
    } while (u != t);
}

/* settled: for each thread whether its wait may be taken for lasting. Returns whether somebody is stuck. */
static bool judge(struct world *w, const bool *settled)
{
    bool changed = true;
    bool stuck = false;

    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        t->verdict = !waits(t) ? VERDICT_AWAKE : settled[i] ? VERDICT_STRANDED : VERDICT_WAITING;
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < w->n; i++) {
            struct thread *t = &w->threads[i];

            if (is_able(t) || !can_be_woken(w, t))
                continue;
            t->verdict = VERDICT_WAITING;
            changed = true;
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        if (!is_able(&w->threads[i])) {
            stuck = true;
            find_circle(w, &w->threads[i]);
        }
    }
    return stuck;
}

/* Is it the same wait, which has gone on all the time in between, and for the same holder? */
static bool is_same_wait(const struct thread *before, const struct thread *t)
{
    if (before->member->id != t->member->id || !before->object || !t->object)
        return false;
    return shk_snapshot_segment(before->look)->id == shk_snapshot_segment(t->look)->id &&
           before->object->serial == t->object->serial &&
           before->object->holder == t->object->holder &&
           before->member->waits_for == t->member->waits_for &&
           t->member->waiting >= before->member->waiting + BETWEEN_LOOKS;
}

static bool *settled_since(const struct world *before, const struct world *w)
{
    bool *settled = allocate(w->n, sizeof(*settled));

    for (size_t i = 0; i < w->n; i++) {
        const struct thread *t = find_thread(before, w->threads[i].look, w->threads[i].member);

        settled[i] = t && !is_able(t) && is_same_wait(t, &w->threads[i]);
    }
    return settled;
}

int look_at_world(struct world *w)
{
    struct world before;
    bool *settled;
    int status = look_once(w);
    bool stuck;

    settled = allocate(w->n, sizeof(*settled));
    memset(settled, true, w->n);
    stuck = status == STATUS_DONE && judge(w, settled);
    free(settled);
    if (!stuck)
        return status;
    before = *w;
    nanosleep(&(struct timespec){.tv_nsec = BETWEEN_LOOKS}, NULL);
    status = look_once(w);
    settled = settled_since(&before, w);
    judge(w, settled);
    free(settled);
    drop_world(&before);
    return status;
}

void drop_world(struct world *w)
{
    drop_looks(w->looks);
    free(w->threads);
}
