/* The interface between the live plugin and one compiled form of a model: FAUST's C whose numbers
 * are data, as a shared library that exports `adac_jax_live_form`. */
#ifndef LIVE_FORM_H
#define LIVE_FORM_H

#include <stdint.h>

#define LIVE_FORM_ABI 2u
#define LIVE_CHANNELS 16u        /* of a form, at most */
#define LIVE_NUMBERS (1u << 18)  /* of a form's data, at most */
#define LIVE_KNOBS 16u           /* of the plugin */

typedef struct {
    const char *name;
    double minimum, maximum, initial;
    int logarithmic;
} live_knob;

typedef struct {
    uint32_t abi, inputs, outputs;
    uint32_t count;  /* numbers of its data */
    uint32_t size;   /* of the array that it reads them from */
    uint32_t knobs;  /* in the order of their names */
    uint32_t latency; /* samples */
    uint32_t settle; /* samples after which all knobs have arrived */
    double rate;     /* hertz */
    const live_knob *knob;
    const uint32_t *places; /* where each number is in the array; `size`: it changes nothing */
    void (*prepare)(int); /* tables that all instances share */
    void *(*create)(void);
    void (*destroy)(void *);
    void (*init)(void *, int);
    void (*clear)(void *);
    float *(*numbers)(void *); /* the array */
    /* Where its knobs are; those that change nothing are left as they were. */
    void (*zones)(void *, float **knobs);
    /* The array becomes from + w * way; all three begin where a line of the cache does. */
    void (*move)(void *, const float *from, const float *way, float w);
    void (*compute)(void *, int, float **, float **);
} live_form;

#endif
