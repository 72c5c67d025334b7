/* What the audio thread plays: a form, and those that ring out. */
#ifndef LIVE_PLAYER_H
#define LIVE_PLAYER_H

#include "live_voice.h"

#define LIVE_FADE 0.05 /* seconds in which a new form takes over the input */
#define LIVE_VOICES 4u /* forms that run at once */

typedef struct {
    _Atomic(live_voice *) ready; /* to the audio thread */
    _Atomic(live_voice *) done;  /* from it: a list */
    _Atomic float positions[LIVE_KNOBS];
    double rate;
    /* The audio thread's own: the last voice is played, the others ring out. */
    live_voice *voices[LIVE_VOICES];
    uint32_t count, fade, fade_length;
} live_player;

/* Hands a voice over, which gets the input from then on; one that was handed over before and that
 * was not taken comes back, or NULL. */
live_voice *live_player_hand(live_player *player, live_voice *voice);

/* Takes those that are not needed any more: a list. */
live_voice *live_player_take(live_player *player);

/* While no audio thread runs: all voices, as a list, are no more the player's. */
live_voice *live_player_empty(live_player *player);

/* The audio thread's: two channels; silence. */
void live_player_run(live_player *player, const float *const *inputs, float *const *outputs,
                     uint32_t frames);
void live_player_reset(live_player *player);

#endif
