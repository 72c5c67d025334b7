/* A new form gets the input along 3u² - 2u³ while the old one gets what is left of it, and is heard
 * until it has rung out. Nothing here waits, allocates or asks the system for anything. */
#include "live_player.h"

#include <math.h>
#include <string.h>

#include "live_denormals.h"

#define QUIET 1e-6f /* an old form has rung out when it stays below this */
#define HOLD 1.0    /* for so many seconds */
#define LONGEST 20.0

live_voice *live_player_hand(live_player *player, live_voice *voice)
{
    return atomic_exchange_explicit(&player->ready, voice, memory_order_acq_rel);
}

live_voice *live_player_take(live_player *player)
{
    return atomic_exchange_explicit(&player->done, NULL, memory_order_acq_rel);
}

/* The other thread empties the list at one blow, so that this goes round twice at most. */
static void leave(live_player *player, live_voice *voice)
{
    live_voice *before = atomic_load_explicit(&player->done, memory_order_relaxed);
    do
        voice->next = before;
    while (!atomic_compare_exchange_weak_explicit(&player->done, &before, voice,
                                                  memory_order_acq_rel, memory_order_relaxed));
}

static void drop_first(live_player *player)
{
    leave(player, player->voices[0]);
    player->count--;
    memmove(player->voices, player->voices + 1, player->count * sizeof *player->voices);
}

live_voice *live_player_empty(live_player *player)
{
    live_voice *ready = live_player_hand(player, NULL);
    if (ready != NULL)
        leave(player, ready);
    while (player->count > 0)
        drop_first(player);
    player->fade = 0;
    return live_player_take(player);
}

static void positions_of(live_player *player, float *positions)
{
    uint32_t k;
    for (k = 0; k < LIVE_KNOBS; k++)
        positions[k] = atomic_load_explicit(&player->positions[k], memory_order_relaxed);
}

void live_player_reset(live_player *player)
{
    float positions[LIVE_KNOBS];
    denormals before = flush_denormals();
    positions_of(player, positions);
    while (player->count > 1)
        drop_first(player);
    player->fade = 0;
    if (player->count > 0)
        live_voice_clear(player->voices[0], positions);
    restore_denormals(before);
}

static void change(live_player *player, const float *positions)
{
    live_voice *voice;
    if (player->fade > 0)
        return;
    if (atomic_load_explicit(&player->ready, memory_order_relaxed) == NULL)
        return;
    if (player->count == LIVE_VOICES) {
        /* There is no room until the oldest has gone, softly. */
        if (player->voices[0]->leaving == 0)
            player->voices[0]->leaving = player->fade_length;
        return;
    }
    voice = live_player_hand(player, NULL);
    if (voice == NULL)
        return;
    live_voice_jump(voice);
    live_voice_turn(voice, positions);
    player->fade_length = (uint32_t)fmax(1.0, floor(LIVE_FADE * player->rate + 0.5));
    player->fade = player->count > 0 ? player->fade_length : 0;
    if (player->count > 0)
        player->voices[player->count - 1]->heard = player->voices[player->count - 1]->quiet = 0;
    player->voices[player->count++] = voice;
}

/* What voices before the last add, and whether they have gone. */
static int has_gone(live_player *player, live_voice *voice, uint32_t frames, int is_fed)
{
    uint32_t outputs = voice->form != NULL ? voice->form->outputs : 2, k, t;
    float peak = 0.0f;
    for (k = 0; k < outputs && k < 2; k++)
        for (t = 0; t < frames; t++)
            peak = fmaxf(peak, fabsf(voice->out[k][t]));
    if (voice->leaving > 0) {
        for (t = 0; t < frames; t++) {
            double u = (double)(voice->leaving > t ? voice->leaving - t : 0) / player->fade_length;
            for (k = 0; k < outputs && k < 2; k++)
                voice->out[k][t] *= (float)(u * u * (3.0 - 2.0 * u));
        }
        if (voice->leaving <= frames)
            return 1;
        voice->leaving -= frames;
    }
    if (is_fed)
        return 0;
    voice->heard += frames;
    voice->quiet = peak > QUIET ? 0 : voice->quiet + frames;
    return voice->quiet > HOLD * player->rate || voice->heard > LONGEST * player->rate;
}

static void chunk(live_player *player, const float *const *inputs, float *const *outputs,
                  uint32_t start, uint32_t frames, const float *positions)
{
    float dry[2][LIVE_CHUNK], gains[LIVE_CHUNK], sums[2][LIVE_CHUNK];
    uint32_t k, v, t, last, gone = 0;
    for (k = 0; k < 2; k++)
        memcpy(dry[k], inputs[k] + start, frames * sizeof(float));
    change(player, positions);
    if (player->count == 0) {
        for (k = 0; k < 2; k++)
            memmove(outputs[k] + start, dry[k], frames * sizeof(float));
        return;
    }
    for (t = 0; t < frames; t++) {
        double left = player->fade > t + 1 ? player->fade - t - 1 : 0;
        double u = player->fade > 0 ? 1.0 - left / player->fade_length : 1.0;
        gains[t] = (float)(u * u * (3.0 - 2.0 * u));
    }
    memset(sums, 0, sizeof sums);
    last = player->count - 1;
    for (v = 0; v <= last; v++) {
        live_voice *voice = player->voices[v];
        uint32_t ins = voice->form != NULL ? voice->form->inputs : 2;
        uint32_t outs = voice->form != NULL ? voice->form->outputs : 2;
        int is_fed = v == last || (v + 1 == last && player->fade > 0);
        live_voice_turn(voice, positions);
        for (k = 0; k < ins; k++)
            for (t = 0; t < frames; t++) {
                float x = ins == 1 ? 0.5f * (dry[0][t] + dry[1][t]) : dry[k % 2][t];
                float gain = v == last ? gains[t] : is_fed ? 1.0f - gains[t] : 0.0f;
                voice->in[k][t] = x * gain;
            }
        live_voice_run(voice, frames);
        if (v < last && has_gone(player, voice, frames, is_fed) && v == gone)
            gone++;
        for (k = 0; k < 2; k++)
            for (t = 0; t < frames; t++)
                sums[k][t] += voice->out[outs == 1 ? 0 : k][t];
    }
    for (k = 0; k < 2; k++)
        memcpy(outputs[k] + start, sums[k], frames * sizeof(float));
    player->fade -= player->fade < frames ? player->fade : frames;
    for (; gone > 0; gone--)
        drop_first(player);
}

void live_player_run(live_player *player, const float *const *inputs, float *const *outputs,
                     uint32_t frames)
{
    float positions[LIVE_KNOBS];
    denormals before = flush_denormals();
    const float *in[2] = {inputs[0], inputs[1]};
    uint32_t start, count;
    positions_of(player, positions);
    for (start = 0; start < frames; start += count) {
        count = frames - start < LIVE_CHUNK ? frames - start : LIVE_CHUNK;
        chunk(player, in, outputs, start, count, positions);
    }
    restore_denormals(before);
}
