/*
 * Members as something to wait for.
 *
 * A watch has a place for each record of a member, with the member that it has seen there. A check
 * compares the two. So it needs no store of the members that come and go, and costs them nothing.
 *
 *     place        record                                 what has happened
 *     empty        a living member                        it has joined, or was renamed: noted
 *     a member     the same id, and its life is held      nothing
 *     a member     the same id, and its life is not       it has died
 *     a member     another id, or none; died_before is    it has died
 *                  the member's
 *     a member     another id, or none; died_before is    it has left: no member has died with the
 *                  older                                  record since
 *     a member     another id, or none; died_before is    it has left or died: the record was used
 *                  younger                                by a third one meanwhile
 *
 * A wait is one of a set (poll.h) with the watch in it, which checks each 100 ms. An event is
 * pending until it is read.
 *
 * For the set a watch is an object whose entry is its own: it is never unlinked, and no member
 * finds it by its index.
 */
#include "poll/member_watch.h"

#include "base/name.h"
#include "object/remote.h"
#include "object/watch.h"
#include "segment/recover.h"

#include <shmkit/member.h>
#include <stdlib.h>
#include <string.h>

#define ALL        (SHK_JOINED | SHK_LEFT | SHK_DIED)
#define NAME_TRIES 3 /* until a name is whole */

struct seen {
    struct shk_member_event event; /* .id 0: none; .what: SHK_JOINED that is pending, or 0 */
    uint64_t gone;                 /* the last member here of which nothing is left to tell */
};

struct shk_member_watch {
    struct shki_object object; /* the first: see object.h */
    struct shki_entry entry;
    _Atomic uint32_t mark;       /* of the set; no member clears it */
    _Atomic uint64_t prompt;     /* 1 */
    char name[SHK_NAME_MAX + 1]; /* "": any */
    uint64_t id;                 /* 0: any */
    uint32_t want;
    struct seen seen[]; /* by record; with the segment's `local`, which a fork takes, too */
};

/* The name of a record. NM1: whole if there has been no rename meanwhile. */
static bool copy_name(const struct shki_member_shared *m, char name[SHK_NAME_MAX + 1])
{
    char bytes[SHK_NAME_MAX + 1];

    for (int i = 0; i < NAME_TRIES; i++) {
        uint32_t renames = load_acquire(&m->renames);

        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = __atomic_load_n(&m->names[renames % 2][k], __ATOMIC_RELAXED);
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed(&m->renames) == renames) {
            shki_copy_label(name, SHK_NAME_MAX + 1, bytes, sizeof(bytes));
            return true;
        }
    }
    return false;
}

/* What has become of a member that was seen; 0: it lives. */
static uint32_t fate_of(const struct shk_segment *s, uint32_t index, uint64_t id)
{
    const struct shki_member_shared *m = shki_record_at(s, index);
    uint64_t died;

    if (shki_member_is_alive(s, id))
        return 0;
    /* ME2: acquire; pairs with the release of the id that goes, after died_before */
    if (load_acquire(&m->id) == id)
        return SHK_DIED;
    died = load_relaxed(&m->died_before);
    return died == id ? SHK_DIED : died < id ? SHK_LEFT : SHK_LEFT | SHK_DIED;
}

/* Note a member that has come, if it is one of those that are watched. */
static void note(struct shk_member_watch *w, uint32_t index, struct seen *seen, uint32_t what)
{
    struct shk_segment *s = w->object.segment;
    const struct shki_member_shared *m = shki_record_at(s, index);
    uint64_t id = load_acquire(&m->id); /* ME2 */
    struct shk_member_event e = {.what = what, .id = id};

    if (id == 0 || id == seen->gone || shki_member_index(id) != index ||
        (w->id != 0 && id != w->id) || !copy_name(m, e.name) ||
        (*w->name && strcmp(w->name, e.name) != 0))
        return;
    e.pid = m->pid;
    e.tid = m->tid;
    shki_copy_label(e.command, sizeof(e.command), m->command, sizeof(m->command));
    if (shki_member_is_alive(s, id)) /* and so all that was read is of this one */
        seen->event = e;
}

/*
 * The next event of one record that is wanted; 0: none. Events that the watch does not want are
 * skipped. With `local`.
 */
static uint32_t next_at(struct shk_member_watch *w, uint32_t index)
{
    struct seen *seen = &w->seen[index];
    uint32_t what;

    if (seen->event.id != 0) {
        what =
            seen->event.what ? seen->event.what : fate_of(w->object.segment, index, seen->event.id);
        if (what == 0 || what & w->want)
            return what;
        seen->gone = seen->event.id;
        seen->event.id = 0;
    }
    note(w, index, seen, w->want & SHK_JOINED);
    return seen->event.id != 0 ? seen->event.what : 0;
}

/* An event that has been given is no longer pending. */
static void take(struct seen *seen, uint32_t what, struct shk_member_event *event)
{
    *event = seen->event;
    event->what = what;
    if (what == SHK_JOINED) {
        seen->event.what = 0;
        return;
    }
    seen->gone = seen->event.id;
    seen->event.id = 0;
}

/*
 * The next event of those kinds, which is taken if `event` is not NULL: its kind; 0: there is none.
 * All records are read, so that members that have come are noted.
 */
static uint32_t check(struct shk_member_watch *w, uint32_t want, struct shk_member_event *event)
{
    struct shk_segment *s = w->object.segment;
    uint32_t found = 0;

    pthread_mutex_lock(&s->local);
    for (uint32_t i = 0; s->base && i < shki_members_ready(s); i++) {
        uint32_t what = next_at(w, i);

        if (found || !(what & want))
            continue;
        found = what;
        if (event)
            take(&w->seen[i], what, event);
    }
    pthread_mutex_unlock(&s->local);
    return found;
}

uint32_t shki_member_watch_take(struct shk_member_watch *w, struct shk_member_event *event)
{
    const struct shki_remote *remote = w->object.segment->remote;

    return remote ? remote->member->take(w, event) : check(w, w->want, event);
}

/* ---- In a set ---- */

static bool is_ready(const struct shki_watch *w)
{
    return check(w->handle, (uint32_t)w->since, NULL) != 0;
}

static void find_deaths(void *watch)
{
    const struct shk_member_watch *w = watch;

    shki_recover(w->object.segment);
}

static void unref(void *watch)
{
    shk_member_watch_close(watch);
}

static void watch(void *handle, uint32_t want, struct shki_watch *out)
{
    struct shk_member_watch *w = handle;

    *out = (struct shki_watch){.object = &w->object,
                               .refs = &w->object.refs,
                               .watched = &w->mark,
                               .handle = w,
                               .since = want,
                               .is_ready = is_ready,
                               .repair = find_deaths,
                               .prompt = &w->prompt,
                               .unref = unref};
}

const struct shki_kind shki_member_kind = {.number = SHK_KIND_MEMBER,
                                           .name = "a member",
                                           .remote = offsetof(struct shki_remote, member),
                                           .watchable = ALL,
                                           .watch = watch};

/* ---- The calls ---- */

static int check_arguments(struct shk_segment *s, const char *name, uint32_t want)
{
    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    if (want == 0 || want & ~(uint32_t)ALL)
        return shki_say(-EINVAL, "a watch wants SHK_JOINED, SHK_LEFT or SHK_DIED");
    return name ? shki_check_name("the member's name", name, SHK_NAME_MAX) : 0;
}

int shk_member_watch_open(struct shk_segment *s, const char *name, uint64_t id, uint32_t want,
                          struct shk_member_watch **out)
{
    struct shki_object joining = {.segment = s};
    struct shk_member_watch *w;
    struct shki_member *m;
    size_t size;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = check_arguments(s, name, want);
    if (r == 0 && s->remote)
        return s->remote->member->open(s, name, id, want, out);
    m = r == 0 ? shki_member_find(s) : NULL;
    if (r == 0 && m == NULL)
        r = shki_object_join(&joining, &m);
    if (r == 0 && shki_segment_is_closed(s))
        r = shki_say_closed(s);
    if (r < 0)
        return r;
    if (id != 0 && !shki_member_is_alive(s, id))
        return shki_fail(-ESRCH, "segment /%s has no living member %llx", s->name,
                         (unsigned long long)id);
    size =
        shki_round_up(sizeof(*w) + s->max_members * sizeof(w->seen[0]), alignof(struct shki_entry));
    w = aligned_alloc(alignof(struct shki_entry), size);
    if (w == NULL)
        return shki_say(-ENOMEM, "out of memory");
    memset(w, 0, size);
    w->object = (struct shki_object){
        .segment = s, .entry = &w->entry, .serial = 1, .index = SHKI_TABLE_MAX + 1};
    store_relaxed(&w->entry.live_serial, 1);
    strcpy(w->object.name, name ? name : "its members");
    store_relaxed(&w->prompt, 1);
    strcpy(w->name, name ? name : "");
    w->id = id;
    w->want = want;
    pthread_mutex_lock(&s->local);
    for (uint32_t i = 0; i < shki_members_ready(s); i++)
        note(w, i, &w->seen[i], 0);
    s->handles++;
    pthread_mutex_unlock(&s->local);
    *out = w;
    return 0;
}

int shk_member_watch_close(struct shk_member_watch *w)
{
    struct shk_segment *s;

    if (w && w->object.segment->remote)
        return w->object.segment->remote->member->close(w);
    if (w == NULL || !shki_object_unref(&w->object))
        return 0;
    s = w->object.segment;
    free(w);
    shki_segment_unref(s);
    return 0;
}

int shk_member_watch_living(struct shk_member_watch *w)
{
    struct shki_member *m;
    int r = w ? shki_enter(&w->object, &m) : SHKI_NO_HANDLE, living = 0;

    if (r < 0)
        return SHKI_ELSEWHERE(r, w, member, living, (w));
    check(w, 0, NULL);
    pthread_mutex_lock(&w->object.segment->local);
    for (uint32_t i = 0; i < shki_members_ready(w->object.segment); i++)
        living +=
            w->seen[i].event.id != 0 && fate_of(w->object.segment, i, w->seen[i].event.id) == 0;
    pthread_mutex_unlock(&w->object.segment->local);
    return living;
}
