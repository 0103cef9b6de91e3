#include "object/holdings.h"

#include "base/error.h"
#include "segment/image.h"
#include "segment/process.h"
#include "segment/recover.h"

#include <errno.h>
#include <shmkit/inspect.h>

struct shki_holdings shki_holdings_at(struct shk_segment *s, uint32_t owners, uint64_t offset)
{
    struct shki_holdings h = {.segment = s};

    if (owners && offset <= s->size && shki_holdings_size(s->max_members) <= s->size - offset)
        h.shared = (void *)(s->base + offset);
    return h;
}

static uint32_t rows_used(const struct shki_holdings *h)
{
    uint32_t n = load_relaxed(&h->shared->rows);

    return n < h->segment->max_members ? n : h->segment->max_members;
}

/* The calling process's row, NULL; *word: what it has in it. */
static struct shki_holding *find_mine(const struct shki_holdings *h, uint32_t *index,
                                      uint64_t *word)
{
    if (!shki_process_self(h->segment, index, word) || *index >= h->segment->max_members)
        return NULL;
    return &h->shared->row[*index];
}

int shki_holdings_mine(const struct shki_holdings *h)
{
    uint32_t index;
    uint64_t word;
    const struct shki_holding *mine = find_mine(h, &index, &word);

    if (mine == NULL)
        return shki_fail(-EUSERS,
                         "segment /%s has no room to note what this process holds: %u processes "
                         "have it mapped",
                         h->segment->name, h->segment->max_members);
    return load_relaxed(&mine->process) == word ? (int)(load_relaxed(&mine->permits) & INT32_MAX)
                                                : 0;
}

void shki_holdings_take(const struct shki_holdings *h, uint64_t member, uint32_t n)
{
    uint32_t index;
    uint64_t word;
    struct shki_holding *mine = find_mine(h, &index, &word);

    if (mine == NULL)
        return;
    /* Killed up to SM2: a row without permits, or as it was. */
    if (index >= rows_used(h))
        store_relaxed(&h->shared->rows, index + 1);
    store_relaxed(&mine->process, word);
    store_relaxed(&mine->member, member);
    /* SM2: commits. Killed after: the permits are a dead process's, and come back. */
    store_relaxed(&mine->permits, load_relaxed(&mine->permits) + n);
}

void shki_holdings_give(const struct shki_holdings *h, uint32_t n)
{
    uint32_t index;
    uint64_t word;
    struct shki_holding *mine = find_mine(h, &index, &word);

    /* SM2: commits. Killed after: the next holder of the mutex finds them there. */
    if (mine)
        store_relaxed(&mine->permits, load_relaxed(&mine->permits) - n);
}

static bool is_over(const struct shki_holdings *h, uint32_t index)
{
    const struct shki_holding *row = &h->shared->row[index];

    return load_relaxed(&row->permits) != 0 &&
           !shki_member_is_alive(h->segment, load_relaxed(&row->member)) &&
           shki_process_is_over(h->segment, index, load_relaxed(&row->process));
}

bool shki_holdings_are_due(const struct shki_holdings *h)
{
    for (uint32_t i = 0; h->shared && i < rows_used(h); i++)
        if (is_over(h, i))
            return true;
    return false;
}

uint64_t shki_holdings_settle(const struct shki_holdings *h)
{
    uint64_t held = 0;

    for (uint32_t i = 0; h->shared && i < rows_used(h); i++) {
        struct shki_holding *row = &h->shared->row[i];
        uint32_t n = load_relaxed(&row->permits);

        if (!is_over(h, i)) {
            held += n;
            continue;
        }
        store_relaxed(&row->permits, 0); /* SM2: commits */
        /* Relaxed, for people. Killed before: these are not counted. */
        fetch_add_relaxed(&h->shared->came_back, n);
    }
    return held;
}

void shki_holdings_recover(const struct shki_holdings *h)
{
    for (uint32_t i = 0; h->shared && i < rows_used(h); i++)
        if (load_relaxed(&h->shared->row[i].permits) != 0)
            shki_recover_one(h->segment, load_relaxed(&h->shared->row[i].member));
}

void shki_holdings_describe(const struct shki_image *image, const struct shki_entry *e,
                            uint64_t offset, struct shk_object_info *info)
{
    const uint32_t room =
        sizeof(info->as.semaphore.holders) / sizeof(info->as.semaphore.holders[0]);
    uint32_t n, found = 0;
    struct shki_holdings_shared head;
    struct shki_holding row;

    if (!shki_image_has(image, e, offset + shki_holdings_size(image->header.max_members)) ||
        !shki_image_read(image, e->offset + offset, &head, sizeof(head)))
        return;
    info->as.semaphore.came_back = load_relaxed(&head.came_back);
    n = load_relaxed(&head.rows);
    for (uint32_t i = 0; i < n && i < image->header.max_members; i++) {
        if (!shki_image_read(image, e->offset + offset + sizeof(head) + i * sizeof(row), &row,
                             sizeof(row)) ||
            load_relaxed(&row.permits) == 0)
            continue;
        if (found < room) {
            info->as.semaphore.holders[found].pid = shki_process_pid(load_relaxed(&row.process));
            info->as.semaphore.holders[found].permits = load_relaxed(&row.permits);
        }
        found++;
    }
    info->as.semaphore.n_holders = found;
}
