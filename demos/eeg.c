#include "eeg.h"

#include <math.h>

#define ALPHA_HZ        10.1
#define BETA_HZ         21.3
#define ALPHA_MICROVOLT 28.0
#define BETA_MICROVOLT  5.0
#define NOISE_MICROVOLT 5.0  /* of each octave */
#define FASTEST_OCTAVE  80.0 /* Hz */
#define BLINK_MICROVOLT 140.0
#define BLINK_SECONDS   0.35

void eeg_begin(struct eeg *eeg, uint64_t seed, double rate)
{
    *eeg = (struct eeg){.noise = {seed}, .step = 1 / rate, .blink = -1};
    eeg->next_blink = 0.6 + noise_uniform(&eeg->noise);
}

/* The next value of noise whose variance is 1 and that forgets its past within so many seconds. */
static double wander(struct eeg *eeg, double value, double seconds)
{
    double kept = exp(-eeg->step / seconds);

    return kept * value + sqrt(1 - kept * kept) * noise_normal(&eeg->noise);
}

/* Octaves of equal strength add up to about 1/f. */
static double pink(struct eeg *eeg)
{
    double sum = 0, frequency = FASTEST_OCTAVE;

    for (int i = 0; i < EEG_OCTAVES; i++, frequency /= 2) {
        eeg->octaves[i] = wander(eeg, eeg->octaves[i], 1 / (2 * M_PI * frequency));
        sum += eeg->octaves[i];
    }
    return NOISE_MICROVOLT * sum;
}

/* A lid that closes fast and opens slowly. */
static double blink(struct eeg *eeg)
{
    double phase;

    if (eeg->time >= eeg->next_blink) {
        eeg->blink = eeg->next_blink;
        eeg->next_blink += 2 + 4 * noise_uniform(&eeg->noise);
    }
    phase = (eeg->time - eeg->blink) / BLINK_SECONDS;
    if (phase >= 1)
        return 0;
    return BLINK_MICROVOLT * pow(sin(M_PI * sqrt(phase)), 2);
}

double eeg_next(struct eeg *eeg)
{
    double alpha, beta;

    eeg->alpha = wander(eeg, eeg->alpha, 0.5);
    eeg->beta = wander(eeg, eeg->beta, 0.2);
    alpha = ALPHA_MICROVOLT * fmax(0, 0.4 + 0.8 * eeg->alpha); /* bursts, and pauses between them */
    beta = BETA_MICROVOLT * eeg->beta;
    alpha *= sin(2 * M_PI * ALPHA_HZ * eeg->time);
    beta *= sin(2 * M_PI * BETA_HZ * eeg->time);
    eeg->time += eeg->step;
    return alpha + beta + pink(eeg) + blink(eeg);
}
