/*
 * A synthetic EEG in microvolts, as an electrode at the back of the head of a person at rest might
 * give it: a rhythm of 10 Hz that comes and goes (alpha), a weak one of 20 Hz (beta), noise that is
 * stronger the slower it is, and blinks.
 */
#ifndef DEMOS_EEG_H
#define DEMOS_EEG_H

#include "noise.h"

enum { EEG_OCTAVES = 9 };

struct eeg {
    struct noise noise;
    double step;                 /* seconds from sample to sample */
    double time;                 /* seconds of the next sample */
    double alpha, beta;          /* strength of the rhythms, wandering */
    double octaves[EEG_OCTAVES]; /* noise, each slower than the one before */
    double blink, next_blink;    /* when the last began, and the next one will */
};

void eeg_begin(struct eeg *, uint64_t seed, double rate);
double eeg_next(struct eeg *);

#endif
