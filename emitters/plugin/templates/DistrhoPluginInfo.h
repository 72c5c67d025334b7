/* @title@: written by adac_jax from a JAX model. What DPF, which makes the VST3, has to know. */
#ifndef DISTRHO_PLUGIN_INFO_H_INCLUDED
#define DISTRHO_PLUGIN_INFO_H_INCLUDED

#include "@p@_tables.h"

#define DISTRHO_PLUGIN_BRAND @P@_MAKER
#define DISTRHO_PLUGIN_NAME @P@_NAME
#define DISTRHO_PLUGIN_URI @P@_URI
#define DISTRHO_PLUGIN_CLAP_ID @P@_CLAP_ID
#define DISTRHO_PLUGIN_VST3_CATEGORIES @P@_VST3_CATEGORIES

#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_NUM_INPUTS @P@_INPUTS
#define DISTRHO_PLUGIN_NUM_OUTPUTS @P@_OUTPUTS
#define DISTRHO_PLUGIN_WANT_LATENCY @P@_HAS_LATENCY
#define DISTRHO_PLUGIN_WANT_PROGRAMS (@P@_PRESETS > 0)
/* Knobs are kept as parameters; DPF asks for the rest where there are programs. */
#define DISTRHO_PLUGIN_WANT_STATE 0

#endif
