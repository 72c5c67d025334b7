/* The live plugin's core: a thread that follows a training, and the interface of all formats.
 *
 * That thread alone opens files, loads forms and allocates. It shares a mutex with the host's own
 * calls, of which none is made from the audio thread. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adac_jax_live.h"
#include "adac_jax_live_tables.h"
#include "live_player.h"
#include "live_sha256.h"

#define PAUSE 4000000L /* nanoseconds between two looks at the numbers */
#define ROUNDS 50u     /* of them between two looks at the folder */

enum { DRY, FOLLOWS, KEEPS, MISSING, RATE, REFUSED };
static const char *const SAYINGS[] = {
    "no training is heard: dry",
    "follows a training",
    "plays the last model",
    "the model's form is not on this machine: dry",
    "the model is for another sample rate: dry",
    "the folder of the channel is not private: dry",
};

struct adac_jax_live_plugin {
    live_player player;
    live_channel *channel;
    live_model model, read;
    live_voice *latest; /* handed to the audio thread last */
    int is_there;       /* what looking for the channel found */
    unsigned rounds;
    _Atomic int status;
    _Atomic uint32_t latency;
    char why[256];
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    int has_thread, ends, is_ready;
};

static void tell(adac_jax_live_plugin *plugin, int status)
{
    int before = atomic_exchange(&plugin->status, status);
    if (before != status && status != DRY && status != FOLLOWS && status != KEEPS)
        fprintf(stderr, "adac_jax live: %s%s%s.\n", SAYINGS[status], plugin->why[0] ? ": " : "",
                plugin->why);
}

static void release(live_voice *voice)
{
    while (voice != NULL) {
        live_voice *next = voice->next;
        live_voice_destroy(voice);
        voice = next;
    }
}

static void hand(adac_jax_live_plugin *plugin, live_voice *voice)
{
    live_voice *before = live_player_hand(&plugin->player, voice);
    plugin->latest = voice;
    if (before != NULL) {
        before->next = NULL;
        release(before);
    }
}

static int has_model(const live_model *model)
{
    static const unsigned char none[LIVE_ID];
    return memcmp(model->id, none, LIVE_ID) != 0;
}

/* What comes in goes out, which is also how it begins: the first model fades in. */
static void be_dry(adac_jax_live_plugin *plugin, int status)
{
    tell(plugin, status);
    atomic_store(&plugin->latency, 0u);
    if (plugin->latest == NULL || plugin->latest->form != NULL) {
        live_voice *voice = live_voice_create(NULL, NULL, NULL, NULL);
        if (voice != NULL)
            hand(plugin, voice);
    }
}

/* Has the audio thread play `model`. */
static void play(adac_jax_live_plugin *plugin, int status)
{
    const live_model *model = &plugin->model;
    const live_form *form;
    live_voice *voice = plugin->latest;
    float positions[LIVE_KNOBS];
    void *library;
    uint32_t k;
    plugin->why[0] = 0;
    if (fabs(model->rate - plugin->player.rate) > 0.5) {
        snprintf(plugin->why, sizeof plugin->why, "%g Hz, and the host runs at %g Hz", model->rate,
                 plugin->player.rate);
        be_dry(plugin, RATE);
        return;
    }
    if (voice != NULL && voice->form != NULL && memcmp(voice->id, model->id, LIVE_ID) == 0 &&
        voice->form->count == model->count) {
        live_voice_send(voice, model->values);
        tell(plugin, status);
        return;
    }
    form = live_channel_form(model->id, &library, plugin->why, sizeof plugin->why);
    if (form != NULL && (form->count != model->count || form->rate != model->rate)) {
        snprintf(plugin->why, sizeof plugin->why, "its form takes %u numbers, not %u", form->count,
                 model->count);
        dlclose(library);
        form = NULL;
    }
    if (form == NULL) {
        be_dry(plugin, MISSING);
        return;
    }
    for (k = 0; k < LIVE_KNOBS; k++)
        positions[k] = atomic_load(&plugin->player.positions[k]);
    voice = live_voice_create(form, library, model, positions);
    if (voice == NULL) {
        dlclose(library);
        return;
    }
    hand(plugin, voice);
    atomic_store(&plugin->latency, form->latency);
    tell(plugin, status);
}

static int are_finite(const live_model *model)
{
    uint32_t k;
    for (k = 0; k < model->count; k++)
        if (!(fabsf(model->values[k]) <= 1e30f))
            return 0;
    return 1;
}

/* One round of the thread; the mutex is held. */
static void follow(adac_jax_live_plugin *plugin)
{
    release(live_player_take(&plugin->player));
    if (plugin->rounds++ % ROUNDS == 0) {
        int before = plugin->is_there;
        char why[sizeof plugin->why] = "";
        plugin->is_there = live_channel_look(plugin->channel, why, sizeof why);
        if (plugin->is_there < 0 && !has_model(&plugin->model)) {
            memcpy(plugin->why, why, sizeof why);
            be_dry(plugin, REFUSED);
        }
        if (before > 0 && plugin->is_there <= 0 && atomic_load(&plugin->status) == FOLLOWS)
            tell(plugin, KEEPS);
    }
    if (plugin->is_there > 0 && live_channel_is_new(plugin->channel) &&
        live_channel_read(plugin->channel, &plugin->read) && has_model(&plugin->read) &&
        are_finite(&plugin->read)) {
        live_model read = plugin->read;
        plugin->read = plugin->model;
        plugin->model = read;
        play(plugin, FOLLOWS);
    }
}

static void *run(void *given)
{
    adac_jax_live_plugin *plugin = (adac_jax_live_plugin *)given;
    struct timespec until;
    pthread_mutex_lock(&plugin->mutex);
    while (!plugin->ends) {
        follow(plugin);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PAUSE;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&plugin->wake, &plugin->mutex, &until);
    }
    pthread_mutex_unlock(&plugin->mutex);
    return NULL;
}

adac_jax_live_plugin *adac_jax_live_create(void)
{
    adac_jax_live_plugin *plugin =
        (adac_jax_live_plugin *)calloc(1, sizeof(adac_jax_live_plugin));
    uint32_t k;
    if (plugin == NULL)
        return NULL;
    plugin->channel = live_channel_create();
    plugin->model.values = (float *)malloc(LIVE_NUMBERS * sizeof(float));
    plugin->read.values = (float *)malloc(LIVE_NUMBERS * sizeof(float));
    for (k = 0; k < LIVE_KNOBS; k++)
        atomic_init(&plugin->player.positions[k], 0.5f);
    pthread_mutex_init(&plugin->mutex, NULL);
    pthread_cond_init(&plugin->wake, NULL);
    if (plugin->channel != NULL && plugin->model.values != NULL && plugin->read.values != NULL)
        return plugin;
    adac_jax_live_destroy(plugin);
    return NULL;
}

static void end_thread(adac_jax_live_plugin *plugin)
{
    pthread_mutex_lock(&plugin->mutex);
    plugin->ends = 1;
    pthread_cond_signal(&plugin->wake);
    pthread_mutex_unlock(&plugin->mutex);
    if (plugin->has_thread)
        pthread_join(plugin->thread, NULL);
    plugin->has_thread = 0;
}

void adac_jax_live_destroy(adac_jax_live_plugin *plugin)
{
    if (plugin == NULL)
        return;
    end_thread(plugin);
    release(live_player_empty(&plugin->player));
    live_channel_destroy(plugin->channel);
    pthread_cond_destroy(&plugin->wake);
    pthread_mutex_destroy(&plugin->mutex);
    free(plugin->model.values);
    free(plugin->read.values);
    free(plugin);
}

static void start_thread(adac_jax_live_plugin *plugin)
{
    sigset_t all, before;
    /* Signals are the host's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    plugin->has_thread = pthread_create(&plugin->thread, NULL, run, plugin) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* What is known of the model is played from the first sample on. */
static void begin(adac_jax_live_plugin *plugin)
{
    plugin->rounds = 0;
    live_channel_again(plugin->channel);
    follow(plugin);
    if (plugin->is_there <= 0 && has_model(&plugin->model))
        play(plugin, KEEPS);
    if (plugin->latest == NULL)
        be_dry(plugin, plugin->is_there < 0 ? REFUSED : DRY);
}

int adac_jax_live_init(adac_jax_live_plugin *plugin, double rate)
{
    pthread_mutex_lock(&plugin->mutex);
    release(live_player_empty(&plugin->player));
    plugin->latest = NULL;
    plugin->player.rate = rate;
    plugin->is_ready = 1;
    begin(plugin);
    pthread_mutex_unlock(&plugin->mutex);
    if (!plugin->has_thread && getenv("ADAC_JAX_LIVE_STILL") == NULL)
        start_thread(plugin);
    return ADAC_JAX_LIVE_OK;
}

/* For tests: one round of the thread, where ADAC_JAX_LIVE_STILL keeps it from being started. */
ADAC_JAX_LIVE_API void adac_jax_live_follow(adac_jax_live_plugin *plugin);
void adac_jax_live_follow(adac_jax_live_plugin *plugin)
{
    pthread_mutex_lock(&plugin->mutex);
    plugin->rounds = 0;
    follow(plugin);
    pthread_mutex_unlock(&plugin->mutex);
}

void adac_jax_live_reset(adac_jax_live_plugin *plugin) { live_player_reset(&plugin->player); }

void adac_jax_live_process(adac_jax_live_plugin *plugin, const float *const *inputs,
                           float *const *outputs, uint32_t frames)
{
    live_player_run(&plugin->player, inputs, outputs, frames);
}

uint32_t adac_jax_live_inputs(void) { return 2; }
uint32_t adac_jax_live_outputs(void) { return 2; }
uint32_t adac_jax_live_rate_count(void) { return 0; }
double adac_jax_live_rate(uint32_t index) { return (void)index, 0.0; }
uint32_t adac_jax_live_parameter_count(void) { return ADAC_JAX_LIVE_PARAMETERS; }
uint32_t adac_jax_live_preset_count(void) { return 0; }
const char *adac_jax_live_preset_name(uint32_t index) { return (void)index, NULL; }
void adac_jax_live_preset_load(adac_jax_live_plugin *plugin, uint32_t index)
{
    (void)plugin, (void)index;
}
uint32_t adac_jax_live_latency(const adac_jax_live_plugin *plugin)
{
    return atomic_load(&plugin->latency);
}
double adac_jax_live_tail(const adac_jax_live_plugin *plugin) { return (void)plugin, -1.0; }
const char *adac_jax_live_saying(int status) { return SAYINGS[status]; }

const adac_jax_live_parameter *adac_jax_live_parameter_info(uint32_t index)
{
    return index < ADAC_JAX_LIVE_PARAMETERS ? &adac_jax_live_parameters[index] : NULL;
}

double adac_jax_live_get(const adac_jax_live_plugin *plugin, uint32_t index)
{
    if (index == ADAC_JAX_LIVE_STATUS)
        return atomic_load(&plugin->status);
    return index < LIVE_KNOBS ? atomic_load(&plugin->player.positions[index]) : 0.0;
}

void adac_jax_live_set(adac_jax_live_plugin *plugin, uint32_t index, double value)
{
    if (index >= LIVE_KNOBS || !(value >= 0 || value <= 0))
        return;
    value = value < 0 ? 0 : value > 1 ? 1 : value;
    atomic_store_explicit(&plugin->player.positions[index], (float)value, memory_order_relaxed);
}

/* The bytes: "AJL1"; the CRC-32 of what follows; the knobs; the SHA-256 of the form, the rate, the
 * number of numbers, and they. All with the lowest byte first, as this processor has them. */
#define HEAD (8 + 4 * LIVE_KNOBS + LIVE_ID + 8 + 4)

size_t adac_jax_live_state_size(void) { return HEAD + sizeof(float) * LIVE_NUMBERS; }

size_t adac_jax_live_state_save(const adac_jax_live_plugin *given, void *bytes, size_t size)
{
    adac_jax_live_plugin *plugin = (adac_jax_live_plugin *)(uintptr_t)given;
    unsigned char *at = (unsigned char *)bytes;
    const live_model *model = &plugin->model;
    size_t needed;
    uint32_t k, check;
    pthread_mutex_lock(&plugin->mutex);
    needed = HEAD + sizeof(float) * model->count;
    if (size >= needed) {
        memcpy(at, "AJL1", 4);
        at += 8;
        for (k = 0; k < LIVE_KNOBS; k++, at += 4) {
            float position = atomic_load(&plugin->player.positions[k]);
            memcpy(at, &position, 4);
        }
        memcpy(at, model->id, LIVE_ID), at += LIVE_ID;
        memcpy(at, &model->rate, 8), at += 8;
        memcpy(at, &model->count, 4), at += 4;
        memcpy(at, model->values, sizeof(float) * model->count);
        check = live_crc32((unsigned char *)bytes + 8, needed - 8);
        memcpy((unsigned char *)bytes + 4, &check, 4);
    }
    pthread_mutex_unlock(&plugin->mutex);
    return needed;
}

int adac_jax_live_state_load(adac_jax_live_plugin *plugin, const void *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    live_model *model = &plugin->read;
    uint32_t k, check, count;
    float positions[LIVE_KNOBS];
    if (size < HEAD || memcmp(at, "AJL1", 4) != 0)
        return ADAC_JAX_LIVE_STATE;
    memcpy(&check, at + 4, 4);
    memcpy(&count, at + HEAD - 4, 4);
    if (count > LIVE_NUMBERS || size != HEAD + sizeof(float) * count ||
        live_crc32(at + 8, size - 8) != check)
        return ADAC_JAX_LIVE_STATE;
    memcpy(positions, at + 8, sizeof positions);
    at += 8 + sizeof positions;
    pthread_mutex_lock(&plugin->mutex);
    memcpy(model->id, at, LIVE_ID);
    memcpy(&model->rate, at + LIVE_ID, 8);
    memcpy(model->values, at + LIVE_ID + 12, sizeof(float) * count);
    model->count = count;
    for (k = 0; k < LIVE_KNOBS; k++)
        adac_jax_live_set(plugin, k, positions[k]);
    if (has_model(model) && are_finite(model)) {
        live_model read = *model;
        plugin->read = plugin->model;
        plugin->model = read;
        if (plugin->is_ready)
            begin(plugin);
    }
    pthread_mutex_unlock(&plugin->mutex);
    return ADAC_JAX_LIVE_OK;
}
