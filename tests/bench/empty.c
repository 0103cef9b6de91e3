/* An empty call into a shared library, and a load: what a call can cost at least. */
#include "empty.h"

int bench_empty(const _Atomic uint32_t *word)
{
    return (int)atomic_load_explicit(word, memory_order_acquire);
}
