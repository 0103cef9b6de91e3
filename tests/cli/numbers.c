/*
 * numbers SEGMENT STREAM: prints the samples of a stream of doubles that are there, one on a line.
 */
#include <shmkit.h>

#include <errno.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_stream *stream = NULL;
    struct shk_reader *reader = NULL;
    double samples[100];
    ssize_t n = argc == 3 ? 0 : -EINVAL;

    if (n == 0)
        n = shk_segment_open(argv[1], 0, NULL, &segment);
    if (n == 0)
        n = shk_stream_open(segment, argv[2], 0, NULL, &stream);
    if (n == 0)
        n = shk_reader_open(stream, SHK_OLDEST, &reader);
    if (n == 0) {
        while ((n = shk_reader_read(reader, samples, 100, SHK_NOWAIT)) > 0) {
            for (ssize_t i = 0; i < n; i++)
                printf("%.15g\n", samples[i]);
        }
    }
    if (n != -EAGAIN)
        fprintf(stderr, "numbers: %s\n", shk_last_error());
    shk_reader_close(reader);
    shk_stream_close(stream);
    shk_segment_close(segment);
    return n != -EAGAIN;
}
