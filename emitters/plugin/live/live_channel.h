/* What a training says: a folder that belongs to the user alone, with a mapped file in it, which
 * holds the numbers of the model as it is now, and with compiled forms. */
#ifndef LIVE_CHANNEL_H
#define LIVE_CHANNEL_H

#include <stddef.h>

#include "live_form.h"

#define LIVE_ID 32u /* bytes of SHA-256 */

/* The numbers of a model, and which form takes them. */
typedef struct {
    unsigned char id[LIVE_ID]; /* SHA-256 of the form's library; zeros: there is none */
    double rate;               /* hertz */
    uint32_t count;
    float *values; /* room for LIVE_NUMBERS */
} live_model;

typedef struct live_channel live_channel;

/* A channel that is not open yet, or NULL if there is no memory. */
live_channel *live_channel_create(void);
void live_channel_destroy(live_channel *channel);

/* Looks whether a training is there. 1: it is, and it runs; 0: none; -1: the folder is not the
 * user's alone, of which `why` says more. */
int live_channel_look(live_channel *channel, char *why, size_t size);

/* Whether the numbers are newer than those read last. */
int live_channel_is_new(const live_channel *channel);

/* Has the next reading find news in any case. */
void live_channel_again(live_channel *channel);

/* Reads them; 0 if there are none, or if they were being written all the while. */
int live_channel_read(live_channel *channel, live_model *model);

/* The form of an id, with the library that is to be closed with dlclose; NULL if there is none in
 * the folder, or it may not be used, of which `why` says more. */
const live_form *live_channel_form(const unsigned char *id, void **library, char *why, size_t size);

#endif
