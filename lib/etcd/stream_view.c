/* What the readers of this process have of a stream on etcd. See stream.h. */
#include "etcd/stream.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 16 /* blocks of one reply */

/* The position in a block's key; -1: it is none. */
static int64_t position_in(const struct shke_stream *st, const struct shke_kv *kv)
{
    const char *part = kv->key + strlen(st->object.prefix);
    unsigned long long from;
    char *end;

    if (strncmp(part, "block/", 6) != 0 || strlen(part) != 22)
        return -1;
    from = strtoull(part + 6, &end, 16);
    return *end || from > INT64_MAX ? -1 : (int64_t)from;
}

/* A block of this stream; NULL: it is none, or there is no memory. */
static struct shke_block *read_block(const struct shke_stream *st, const struct shke_kv *kv,
                                     int64_t from)
{
    size_t each = st->sample_size + (st->stamped ? sizeof(int64_t) : 0);
    struct shke_block_header header;
    struct shke_block *b;
    uint32_t n;

    if (kv->length < sizeof(header))
        return NULL;
    memcpy(&header, kv->value, sizeof(header));
    memcpy(&n, header.n, sizeof(n));
    n = be32toh(n);
    if (header.version != 1 || header.stamped != st->stamped || n == 0 ||
        (kv->length - sizeof(header)) / each != n || (kv->length - sizeof(header)) % each != 0 ||
        from > INT64_MAX - n)
        return NULL;
    b = malloc(sizeof(*b) + kv->length - sizeof(header));
    if (b == NULL)
        return NULL;
    memcpy(b->bytes, kv->value + sizeof(header), kv->length - sizeof(header));
    b->from = from;
    b->n = n;
    b->next = NULL;
    b->stamps = st->stamped ? b->bytes : NULL;
    b->samples = b->bytes + (st->stamped ? n * sizeof(int64_t) : 0);
    return b;
}

/* With the object's lock. What is behind the history goes, but for the block that it begins in. */
static void add(struct shke_stream *st, const struct shke_kv *kv)
{
    int64_t from = position_in(st, kv);
    struct shke_block *b;

    if (from < 0 || from < st->end)
        return;
    b = read_block(st, kv, from);
    if (b == NULL)
        return; /* a gap, then */
    *st->tail = b;
    st->tail = &b->next;
    st->end = b->from + b->n;
    while ((b = st->head) != NULL && b->from + b->n <= st->end - (int64_t)st->history) {
        st->head = b->next;
        if (st->head == NULL)
            st->tail = &st->head;
        free(b);
    }
}

static void see_event(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_stream *st = arg;
    const char *part = kv->key + strlen(st->object.prefix);

    pthread_mutex_lock(&st->object.lock);
    if (shke_is_record(&st->object, kv) && deleted)
        shke_object_is_gone(&st->object);
    else if (strcmp(part, "position") == 0 && !deleted)
        shke_stream_learn(st, kv, kv->mod);
    else if (strncmp(part, ".role", 5) == 0 && st->lines)
        ; /* its own watch tells of it */
    else if (shke_roles_event(&st->object, &st->roles, kv, deleted))
        ;
    else if (!deleted)
        add(st, kv);
    pthread_mutex_unlock(&st->object.lock);
}

/* The blocks from where the view ends, as of that revision. */
static int read_blocks(struct shke_stream *st, int64_t revision, const struct shke_trial *trial)
{
    char prefix[SHKE_KEY_MAX], from[SHKE_KEY_MAX];
    struct shke_range range = {.prefix = prefix, .from = from, .revision = revision, .limit = PAGE};
    struct shke_reply reply;
    struct shke_kv kv = {0};
    bool more = true;
    int64_t next;
    int r = 0;

    shke_key(prefix, &st->object, "block/");
    pthread_mutex_lock(&st->object.lock);
    next = st->end;
    pthread_mutex_unlock(&st->object.lock);
    while (r == 0 && more) {
        shke_key(from, &st->object, "block/%016llx", (unsigned long long)next);
        r = shke_range(shke_object_client(&st->object), &range, trial, &reply);
        if (r < 0)
            return r;
        more = shke_range_has_more(&reply);
        pthread_mutex_lock(&st->object.lock);
        for (size_t i = 0; r == 0 && i < shke_range_n(&reply); i++) {
            r = shke_range_kv(&reply, i, &kv);
            if (r == 0) {
                add(st, &kv);
                next = position_in(st, &kv) + 1;
            }
            shke_kv_free(&kv);
        }
        pthread_mutex_unlock(&st->object.lock);
        more = more && shke_range_n(&reply) > 0;
        shke_reply_free(&reply);
    }
    return r;
}

/* History has been compacted: what is missing is read as it is now. */
static int64_t reload(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    struct shke_stream *st = arg;
    int64_t revision;
    int r = shke_stream_look(st, &trial, &revision);

    if (r == 0)
        r = read_blocks(st, revision, &trial);
    return r == -ESTALE ? INT64_MAX - 1 : r < 0 ? r : revision; /* nothing comes any more */
}

static const struct shke_watcher watcher = {
    .event = see_event, .told = shke_object_told, .reload = reload};

int shke_stream_view_start(struct shke_stream *st, const struct shke_trial *trial)
{
    int64_t revision;
    int r = 0;

    pthread_mutex_lock(&st->begin);
    if (st->view == NULL) {
        r = shke_stream_look(st, trial, &revision);
        if (r == 0) {
            pthread_mutex_lock(&st->object.lock);
            st->end = st->position > (int64_t)(st->history + st->block_max)
                          ? st->position - (int64_t)(st->history + st->block_max)
                          : 0;
            pthread_mutex_unlock(&st->object.lock);
            r = read_blocks(st, revision, trial);
        }
        if (r == 0) {
            st->view = shke_watch_start(shke_session_watches(st->object.segment->session),
                                        st->object.prefix, revision, false, &watcher, st);
            r = st->view ? 0 : -ENOMEM;
        }
    }
    pthread_mutex_unlock(&st->begin);
    return r;
}

/* ---- The lines alone ---- */

static void see_line(void *arg, const struct shke_kv *kv, bool deleted)
{
    struct shke_stream *st = arg;

    pthread_mutex_lock(&st->object.lock);
    shke_roles_event(&st->object, &st->roles, kv, deleted);
    pthread_mutex_unlock(&st->object.lock);
}

static void told_lines(void *arg)
{
    (void)arg; /* each event has woken what waits for it */
}

static int64_t reload_lines(void *arg)
{
    const struct shke_trial trial = {.limit = SHK_SEC(1)};
    int64_t revision;
    int r = shke_stream_look(arg, &trial, &revision);

    return r == -ESTALE ? INT64_MAX - 1 : r < 0 ? r : revision;
}

int shke_stream_lines_start(struct shke_stream *st, int64_t revision)
{
    static const struct shke_watcher lines = {
        .event = see_line, .told = told_lines, .reload = reload_lines};
    char prefix[SHKE_KEY_MAX];
    struct shke_watch *w;
    int r = 0;

    shke_key(prefix, &st->object, ".role");
    pthread_mutex_lock(&st->begin);
    if (st->view == NULL && st->lines == NULL) {
        w = shke_watch_start(shke_session_watches(st->object.segment->session), prefix, revision,
                             false, &lines, st);
        pthread_mutex_lock(&st->object.lock);
        st->lines = w;
        pthread_mutex_unlock(&st->object.lock);
        r = w ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&st->begin);
    return r;
}

void shke_stream_view_stop(struct shke_stream *st)
{
    struct shke_block *b;

    shke_watch_stop(st->lines);
    shke_watch_stop(st->view);
    while ((b = st->head) != NULL) {
        st->head = b->next;
        free(b);
    }
}

size_t shke_stream_copy(const struct shke_stream *st, int64_t *position, void *buf, int64_t *stamps,
                        size_t n)
{
    const struct shke_block *b = st->head;
    int64_t at = *position, stamp;
    size_t got = 0, skip, some;

    while (b && b->from + b->n <= at)
        b = b->next;
    if (b == NULL)
        return 0;
    at = at < b->from ? b->from : at;
    *position = at;
    for (; b && got < n && at >= b->from; b = b->next) {
        skip = (size_t)(at - b->from);
        some = b->n - skip < n - got ? b->n - skip : n - got;
        memcpy((unsigned char *)buf + got * st->sample_size, b->samples + skip * st->sample_size,
               some * st->sample_size);
        for (size_t i = 0; stamps && i < some; i++) {
            memcpy(&stamp, b->stamps + (skip + i) * sizeof(stamp), sizeof(stamp));
            stamps[got + i] = (int64_t)be64toh((uint64_t)stamp);
        }
        got += some;
        at += (int64_t)some;
    }
    return got;
}
