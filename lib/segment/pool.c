#include "segment/pool.h"

#include "segment/directory.h"
#include "segment/member.h"

/* Make n consecutive blocks free, those of objects that are gone first. */
static int extend(struct shk_segment *s, uint32_t n)
{
    struct shki_member *m = shki_member_find(s);
    int r = shki_segment_lock(s);

    if (r < 0)
        return r;
    if (m && shki_directory_collect(s, m->id)) {
        shki_segment_unlock(s);
        shki_directory_reclaim(s, m->id);
        r = shki_segment_lock(s);
        if (r < 0)
            return r;
    }
    r = shki_pool_reserve(s, n, 0);
    shki_segment_unlock(s);
    return r;
}

int shki_pool_find(struct shk_segment *s, uint32_t n, uint32_t *block)
{
    int r;

    for (;;) {
        *block = shki_blocks_find(s, n, load_relaxed(&s->header->pool_hint));
        if (*block == SHKI_BLOCK_NONE)
            *block = shki_blocks_find(s, n, SHKI_BLOCK_NONE);
        if (*block != SHKI_BLOCK_NONE)
            return 0;
        r = extend(s, n);
        if (r < 0)
            return r;
    }
}

int shki_pool_allocate(struct shk_segment *s, uint32_t n, uint64_t word, _Atomic uint32_t *hint)
{
    uint32_t block = load_relaxed(hint);
    int r;

    /* What a dead member has begun to take for the same. */
    if (shki_blocks_are(s, block, 1, word) && n <= shki_pool_limit(s) - block &&
        shki_blocks_claim(s, block, n, word))
        return 0;
    do {
        r = shki_pool_find(s, n, &block);
        if (r < 0)
            return r;
        /* Killed before the first word is taken: the blocks at the hint have other words. */
        store_relaxed(hint, block);
    } while (!shki_blocks_claim(s, block, n, word));
    store_relaxed(&s->header->pool_hint, block);
    return 0;
}

void shki_pool_free(struct shk_segment *s, uint32_t block, uint32_t n, uint64_t word)
{
    uint32_t still;

    if (!shki_blocks_exist(s, block, n))
        return; /* damaged bytes */
    /*
     * A killed thread has freed the last blocks first. Another member may have taken them by now,
     * and their memory is its.
     */
    still = shki_blocks_count(s, block, n, word);
    if (still == 0)
        return;
    shki_punch(s, block * SHKI_BLOCK, still * SHKI_BLOCK);
    shki_blocks_free(s, block, still, word);
}
