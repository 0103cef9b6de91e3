/* All kinds of objects. */
#ifndef SHKI_KINDS_H
#define SHKI_KINDS_H

#include "object/kind.h"

/* By number; NULL: there is no such kind. */
const struct shki_kind *shki_kind(uint32_t number);

/* The largest shared struct of all kinds. */
size_t shki_kinds_size(void);

#endif
