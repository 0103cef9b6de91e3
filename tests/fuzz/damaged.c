/*
 * damaged FILE SEED: writes to standard output what damage() makes of a file's bytes, and of the
 * length that file_size() says.
 */
#include "damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    enum { ROOM = 1 << 20 };
    uint8_t *bytes = malloc(ROOM);
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t size;

    if (!bytes || !in) {
        fprintf(stderr, "usage: damaged FILE SEED >OUTPUT\n");
        return 2;
    }
    size = fread(bytes, 1, ROOM, in);
    fclose(in);
    size = damage(bytes, size, strtoull(argv[2], NULL, 10));
    if (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0 ||
        ftruncate(STDOUT_FILENO, (off_t)file_size(bytes, size)) != 0) {
        perror("damaged");
        return 1;
    }
    free(bytes);
    return 0;
}
