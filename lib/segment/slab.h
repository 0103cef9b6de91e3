/*
 * Small pieces of memory of this process that a forked child finds zeroed: for its members. So the
 * child of a raw fork(2), which runs no handlers, does not take its parent's members for its own.
 * Source: madvise(2), MADV_WIPEONFORK.
 */
#ifndef SHKI_SLAB_H
#define SHKI_SLAB_H

#define SHKI_SLAB_SLOT 192u /* bytes of a piece */

/* Zeroed; NULL: no memory. */
void *shki_slab_allocate(void);
void shki_slab_free(void *);

/* Around fork(2). In the child all of it is free. */
void shki_slab_before_fork(void);
void shki_slab_after_fork_in_parent(void);
void shki_slab_after_fork_in_child(void);

#endif
