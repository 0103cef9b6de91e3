/*
 * A new segment: built complete in a file without a name, then published under its name. So no
 * process opens a segment that is half made, and a creator that is killed leaves nothing behind.
 */
#ifndef SHKI_CREATE_H
#define SHKI_CREATE_H

#include "segment/map.h"

/*
 * Build a segment: its descriptor, or -errno with a sentence. `temporary` becomes the path of its
 * file where the file system has none without names, else "". It is the caller's to unlink.
 */
int shki_segment_create(const char *name, const struct shk_segment_options *,
                        char temporary[SHKI_PATH_MAX]);

/* Give it its name: 0, -EEXIST, … without a sentence. */
int shki_segment_publish(int fd, const char *temporary, const char *path);

#endif
