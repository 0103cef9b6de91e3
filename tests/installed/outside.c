/*
 * A program outside the tree, built with what pkg-config says: puts one item for shmctl, and gets
 * one from it.
 */
#include <shmkit.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_queue *queue = NULL;
    char item[64];
    ssize_t n;

    if (argc != 3)
        return 2;
    if (shk_segment_open(argv[1], SHK_CREATE, NULL, &segment) < 0 ||
        shk_queue_open(segment, "letters", SHK_CREATE,
                       &(struct shk_queue_options){.capacity = 4, .item_size = sizeof(item)},
                       &queue) < 0)
        goto fail;
    if (strcmp(argv[2], "put") == 0) {
        if (shk_queue_put(queue, "from outside", 12, SHK_SEC(10)) < 0)
            goto fail;
    } else {
        n = shk_queue_get(queue, item, sizeof(item), SHK_SEC(10));
        if (n < 0)
            goto fail;
        printf("%.*s\n", (int)n, item);
    }
    shk_queue_close(queue);
    shk_segment_close(segment);
    return 0;

fail:
    fprintf(stderr, "outside: %s\n", shk_last_error());
    return 1;
}
