/* One running form. Which functions are the audio thread's is said for each. */
#ifndef LIVE_VOICE_H
#define LIVE_VOICE_H

#include <stdatomic.h>

#include "live_channel.h"

#define LIVE_RAMP 0.02 /* seconds in which numbers change */
#define LIVE_CHUNK 64u /* samples at once */

typedef struct live_voice {
    struct live_voice *next; /* in the list of those that are not needed any more */
    const live_form *form;   /* NULL: what comes in goes out */
    void *library, *dsp;
    unsigned char id[LIVE_ID];
    /* Numbers: the audio thread reads the slot `front`, the other writes `back`, and they exchange
     * theirs with `middle`, whose bit 2 says that it is new. */
    float *slots[3];
    uint32_t back, front;
    _Atomic uint32_t middle;
    float *numbers, *from, *to, *way; /* as the form has them: `size` */
    uint32_t left, length;        /* samples of a ramp */
    float *knobs[LIVE_KNOBS];     /* NULL: no such knob */
    float positions[LIVE_KNOBS];  /* where they were put */
    double heard, quiet;          /* samples since it got no input, and since it was heard */
    uint32_t leaving;             /* samples until it is silenced; 0: it is not */
    uint32_t resets;
    float in[LIVE_CHANNELS][LIVE_CHUNK], out[LIVE_CHANNELS][LIVE_CHUNK];
} live_voice;

/* A form that plays the model, from silence, its knobs where they are said to be; with a NULL form
 * one that does nothing. Takes the library over. Not the audio thread's. */
live_voice *live_voice_create(const live_form *form, void *library, const live_model *model,
                              const float *positions);
void live_voice_destroy(live_voice *voice);

/* New numbers. One thread's, not the audio thread's. */
void live_voice_send(live_voice *voice, const float *values);

/* All that follow are the audio thread's. */

/* Numbers that wait count at once. */
void live_voice_jump(live_voice *voice);

/* Silence; knobs have arrived. */
void live_voice_clear(live_voice *voice, const float *positions);

void live_voice_turn(live_voice *voice, const float *positions);

/* From `in` to `out`. */
void live_voice_run(live_voice *voice, uint32_t frames);

#endif
