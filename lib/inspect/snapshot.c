/* A snapshot of a segment: its parts in order, and how to find one. */
#include "inspect/snapshot.h"

#include "base/error.h"
#include "object/remote.h"
#include "segment/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Move the objects that there are to the front. */
static void close_gaps(struct shk_object_info *objects, uint32_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < max; i++)
        if (objects[i].serial != 0 && n++ != i)
            objects[n - 1] = objects[i];
}

static int by_object_name(const void *a, const void *b)
{
    return strcmp(((const struct shk_object_info *)a)->name,
                  ((const struct shk_object_info *)b)->name);
}

/* By time of joining: join numbers are the upper bits of the ids. */
static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct shk_member_info *)a)->id,
             y = ((const struct shk_member_info *)b)->id;

    return (x > y) - (x < y);
}

static bool is_dead(const struct shk_snapshot *s, uint64_t id)
{
    const struct shk_member_info *m = shk_snapshot_find_member(s, id);

    return m && !m->alive;
}

/* A dead giver or taker that turned out to be alive, or to have left, is none. */
static void drop_living(const struct shk_snapshot *s, struct shk_object_info *o)
{
    if (!is_dead(s, o->dead_giver))
        o->dead_giver = 0;
    if (!is_dead(s, o->dead_taker))
        o->dead_taker = 0;
}

static int by_id_of_machine(const void *a, const void *b)
{
    uint64_t x = ((const struct shki_snapshot_machine *)a)->id,
             y = ((const struct shki_snapshot_machine *)b)->id;

    return (x > y) - (x < y);
}

static void sort(struct shk_snapshot *s)
{
    if (s->n_objects > 0)
        qsort(s->objects, s->n_objects, sizeof(*s->objects), by_object_name);
    if (s->n_members > 0)
        qsort(s->members, s->n_members, sizeof(*s->members), by_id);
    if (s->machines)
        qsort(s->machines, s->n_members, sizeof(*s->machines), by_id_of_machine);
}

static int read_all(const struct shki_image *r, const char *name, struct shk_snapshot *s)
{
    struct shki_member_shared *records = calloc(r->members_ready + 1, sizeof(*records));
    int error;

    s->members = calloc(r->members_ready + 1, sizeof(*s->members));
    s->objects = calloc(r->header.max_objects, sizeof(*s->objects));
    if (records == NULL || s->members == NULL || s->objects == NULL) {
        error = shki_say(-ENOMEM, "out of memory");
        goto done;
    }
    shki_snapshot_file(&s->segment, name, &r->stat);
    shki_snapshot_header(r, &s->segment);
    shki_snapshot_members(r, records, s);
    error = shki_snapshot_objects(r, s);
    if (error == 0)
        error = shki_snapshot_uses(r, records, s);
    if (error < 0)
        goto done;
    close_gaps(s->objects, r->header.max_objects);
    sort(s);
    for (size_t i = 0; i < s->n_objects; i++)
        drop_living(s, &s->objects[i]);
done:
    free(records);
    return error;
}

static int read_file(const char *segment, struct shk_snapshot *s)
{
    struct shki_image r;
    int error = shki_segment_name(segment, &segment);

    if (error == 0)
        error = shki_image_open(&r, segment);
    if (error != 0)
        return error;
    error = read_all(&r, segment, s);
    shki_image_close(&r);
    return error;
}

static int read_elsewhere(const char *segment, struct shk_snapshot *s)
{
    const struct shki_remote_library *library;
    int error = shki_remote_load(&library);

    if (error == 0)
        error = library->read_snapshot(segment, s);
    if (error == 0)
        sort(s);
    return error;
}

int shk_snapshot_open(const char *segment, struct shk_snapshot **out)
{
    struct shk_snapshot *s;
    int error;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the snapshot is NULL");
    *out = NULL;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return shki_say(-ENOMEM, "out of memory");
    error = shki_remote_is_name(segment) ? read_elsewhere(segment, s) : read_file(segment, s);
    if (error < 0)
        shk_snapshot_close(s);
    else
        *out = s;
    return error;
}

void shk_snapshot_close(struct shk_snapshot *s)
{
    if (s == NULL)
        return;
    free(s->objects);
    free(s->members);
    free(s->roles);
    free(s->machines);
    free(s);
}

const struct shk_segment_info *shk_snapshot_segment(const struct shk_snapshot *s)
{
    return s ? &s->segment : NULL;
}

const struct shk_object_info *shk_snapshot_object(const struct shk_snapshot *s, size_t i)
{
    return s && i < s->n_objects ? &s->objects[i] : NULL;
}

const struct shk_member_info *shk_snapshot_member(const struct shk_snapshot *s, size_t i)
{
    return s && i < s->n_members ? &s->members[i] : NULL;
}

/* Both lists are in order. Of several of one name, which only damage makes, it is any. */
const struct shk_object_info *shk_snapshot_find_object(const struct shk_snapshot *s,
                                                       const char *name)
{
    struct shk_object_info wanted;

    if (s == NULL || name == NULL || strlen(name) >= sizeof(wanted.name))
        return NULL;
    strcpy(wanted.name, name);
    return bsearch(&wanted, s->objects, s->n_objects, sizeof(*s->objects), by_object_name);
}

const struct shk_member_info *shk_snapshot_find_member(const struct shk_snapshot *s, uint64_t id)
{
    const struct shk_member_info wanted = {.id = id};

    return s ? bsearch(&wanted, s->members, s->n_members, sizeof(*s->members), by_id) : NULL;
}

const char *shk_snapshot_machine(const struct shk_snapshot *s, const struct shk_member_info *m)
{
    const struct shki_snapshot_machine wanted = {.id = m ? m->id : 0}, *found;

    if (s == NULL || m == NULL || s->machines == NULL)
        return "";
    found = bsearch(&wanted, s->machines, s->n_members, sizeof(*s->machines), by_id_of_machine);
    return found ? found->name : "";
}
