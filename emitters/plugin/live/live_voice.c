/* One running form: numbers that go to where they are sent along 3u² - 2u³, anew at each sample. */
#include "live_voice.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "live_denormals.h"

#define FRESH 4u
#define LOUD 16.0f /* beyond this something went wrong: it begins anew, from silence */

/* Numbers in the order of the data into the order of the form. */
static void put(const live_voice *voice, float *numbers, const float *values)
{
    uint32_t k, count = voice->form->count, size = voice->form->size;
    for (k = 0; k < count; k++)
        if (voice->form->places[k] < size)
            numbers[voice->form->places[k]] = values[k];
}

static void arrive(live_voice *voice)
{
    memcpy(voice->numbers, voice->to, voice->form->size * sizeof(float));
}

/* The middle of a knob is the model's own default; its halves lead to the ends of the range. */
static float value_of(const live_knob *knob, float position)
{
    double at = position, from = at < 0.5 ? knob->minimum : knob->initial;
    double to = at < 0.5 ? knob->initial : knob->maximum;
    at = at < 0.5 ? 2 * at : 2 * at - 1;
    if (position == 0.5f)
        return (float)knob->initial;
    if (position >= 1.0f)
        return (float)knob->maximum;
    if (knob->logarithmic && from > 0 && to > 0)
        return (float)(from * pow(to / from, at));
    return (float)(from + at * (to - from));
}

void live_voice_turn(live_voice *voice, const float *positions)
{
    uint32_t k;
    for (k = 0; k < LIVE_KNOBS; k++)
        if (voice->knobs[k] != NULL && voice->positions[k] != positions[k]) {
            *voice->knobs[k] = value_of(&voice->form->knob[k], positions[k]);
            voice->positions[k] = positions[k];
        }
}

static void silence(live_voice *voice, uint32_t frames)
{
    memset(voice->in, 0, sizeof voice->in);
    for (; frames > 0; frames -= frames < LIVE_CHUNK ? frames : LIVE_CHUNK)
        live_voice_run(voice, frames < LIVE_CHUNK ? frames : LIVE_CHUNK);
}

void live_voice_clear(live_voice *voice, const float *positions)
{
    uint32_t k, away = 0;
    voice->heard = voice->quiet = 0;
    voice->leaving = 0;
    if (voice->form == NULL)
        return;
    live_voice_jump(voice);
    voice->form->clear(voice->dsp);
    live_voice_turn(voice, positions);
    for (k = 0; k < LIVE_KNOBS; k++)
        away += voice->knobs[k] != NULL && voice->positions[k] != 0.5f;
    if (away > 0)
        silence(voice, voice->form->settle);
}

live_voice *live_voice_create(const live_form *form, void *library, const live_model *model,
                              const float *positions)
{
    live_voice *voice = (live_voice *)calloc(1, sizeof(live_voice));
    denormals before;
    uint32_t k, count, size;
    if (voice == NULL)
        return NULL;
    voice->library = library;
    if (form == NULL)
        return voice;
    memcpy(voice->id, model->id, LIVE_ID);
    count = form->count;
    voice->back = 0, voice->front = 1;
    atomic_init(&voice->middle, 2u);
    size = (form->size + 15u) / 16u * 16u + 16u; /* whole lines of the cache */
    voice->slots[0] = (float *)calloc(3u * count + 1u, sizeof(float));
    voice->from = (float *)aligned_alloc(64, 3u * size * sizeof(float));
    voice->dsp = form->create();
    if (voice->slots[0] == NULL || voice->from == NULL || voice->dsp == NULL) {
        voice->library = NULL; /* stays the caller's */
        if (voice->dsp != NULL)
            form->destroy(voice->dsp);
        voice->dsp = NULL;
        live_voice_destroy(voice);
        return NULL;
    }
    voice->form = form;
    memset(voice->from, 0, 3u * size * sizeof(float));
    voice->to = voice->from + size;
    voice->way = voice->to + size;
    voice->slots[1] = voice->slots[0] + count;
    voice->slots[2] = voice->slots[1] + count;
    voice->numbers = form->numbers(voice->dsp);
    voice->length = (uint32_t)fmax(1.0, floor(LIVE_RAMP * form->rate + 0.5));
    form->prepare((int)form->rate);
    form->init(voice->dsp, (int)form->rate);
    form->zones(voice->dsp, voice->knobs);
    for (k = 0; k < LIVE_KNOBS; k++)
        voice->positions[k] = 0.5f;
    live_voice_send(voice, model->values);
    live_voice_jump(voice);
    before = flush_denormals();
    silence(voice, LIVE_CHUNK); /* its code and its memory are at hand then */
    form->init(voice->dsp, (int)form->rate);
    arrive(voice);
    for (k = 0; k < LIVE_KNOBS; k++)
        voice->positions[k] = 0.5f;
    live_voice_clear(voice, positions);
    restore_denormals(before);
    return voice;
}

void live_voice_destroy(live_voice *voice)
{
    if (voice->form != NULL)
        voice->form->destroy(voice->dsp);
    free(voice->slots[0]);
    free(voice->from);
    if (voice->library != NULL)
        dlclose(voice->library);
    free(voice);
}

void live_voice_send(live_voice *voice, const float *values)
{
    if (voice->form == NULL)
        return;
    memcpy(voice->slots[voice->back], values, voice->form->count * sizeof(float));
    voice->back = atomic_exchange_explicit(&voice->middle, voice->back | FRESH,
                                           memory_order_acq_rel) & 3u;
}

/* Newer numbers, or NULL. */
static const float *received(live_voice *voice)
{
    if (!(atomic_load_explicit(&voice->middle, memory_order_relaxed) & FRESH))
        return NULL;
    voice->front =
        atomic_exchange_explicit(&voice->middle, voice->front, memory_order_acq_rel) & 3u;
    return voice->slots[voice->front];
}

void live_voice_jump(live_voice *voice)
{
    const float *values;
    if (voice->form == NULL)
        return;
    values = received(voice);
    if (values != NULL)
        put(voice, voice->to, values);
    voice->left = 0;
    arrive(voice);
}

static void begin(live_voice *voice, const float *values)
{
    uint32_t k, size = voice->form->size;
    memcpy(voice->from, voice->to, size * sizeof(float));
    put(voice, voice->to, values);
    for (k = 0; k < size; k++)
        voice->way[k] = voice->to[k] - voice->from[k];
    voice->left = voice->length;
}

/* Numbers of the next sample of a ramp. */
static void move(live_voice *voice)
{
    double u;
    voice->left--;
    if (voice->left == 0) {
        arrive(voice);
        return;
    }
    u = 1.0 - (double)voice->left / voice->length;
    voice->form->move(voice->dsp, voice->from, voice->way, (float)(u * u * (3.0 - 2.0 * u)));
}

void live_voice_run(live_voice *voice, uint32_t frames)
{
    float *in[LIVE_CHANNELS], *out[LIVE_CHANNELS];
    const float *values;
    uint32_t at = 0, k, t, count, loud = 0;
    if (voice->form == NULL) {
        memcpy(voice->out[0], voice->in[0], frames * sizeof(float));
        memcpy(voice->out[1], voice->in[1], frames * sizeof(float));
        return;
    }
    while (at < frames) {
        /* What comes while a ramp is under way waits for its end. */
        if (voice->left == 0 && (values = received(voice)) != NULL)
            begin(voice, values);
        count = voice->left > 0 ? 1 : frames - at;
        if (voice->left > 0)
            move(voice);
        for (k = 0; k < LIVE_CHANNELS; k++) {
            in[k] = voice->in[k] + at;
            out[k] = voice->out[k] + at;
        }
        voice->form->compute(voice->dsp, (int)count, in, out);
        at += count;
    }
    for (k = 0; k < voice->form->outputs; k++)
        for (t = 0; t < frames; t++)
            loud += !(fabsf(voice->out[k][t]) < LOUD);
    if (loud > 0) {
        voice->form->clear(voice->dsp);
        memset(voice->out, 0, sizeof voice->out);
        voice->resets++;
    }
}
