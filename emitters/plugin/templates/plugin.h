/* @title@: written by adac_jax from a JAX model. The interface, in plain C.
 *
 * create, init, process … process, destroy. @p@_process() allocates nothing, takes no lock and
 * makes no system call; all others but @p@_set(), @p@_get() and @p@_reset() may, and do not belong
 * into an audio thread. One instance is for one thread at a time; different ones may run at once.
 */
#ifndef @P@_H
#define @P@_H

#include <stddef.h>
#include <stdint.h>

#if defined(@P@_EXPORT) && defined(_WIN32)
#define @P@_API __declspec(dllexport)
#elif defined(@P@_EXPORT)
#define @P@_API __attribute__((visibility("default")))
#else
#define @P@_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct @p@_plugin @p@_plugin;

/* A knob. `id` is computed from `symbol`, and both stay when other knobs come or go. */
typedef struct @p@_parameter {
    const char *name, *symbol, *unit;
    double minimum, maximum, initial;
    int logarithmic; /* how a host should spread positions over the knob's way */
    uint32_t id;
} @p@_parameter;

enum { @P@_OK = 0, @P@_RATE = -1, @P@_MEMORY = -2, @P@_STATE = -3 };

/* An instance that is silent until init, or NULL if there is no memory. */
@P@_API @p@_plugin *@p@_create(void);
@P@_API void @p@_destroy(@p@_plugin *plugin);

/* Prepares for a rate in hertz: memory, silence, knobs arrived at where they were set. Returns
 * @P@_OK; @P@_RATE if the model has no form for this rate; @P@_MEMORY. After an error the outputs
 * are silent. */
@P@_API int @p@_init(@p@_plugin *plugin, double rate);

/* Silence, as after init, at the same rate. */
@P@_API void @p@_reset(@p@_plugin *plugin);

/* Computes `frames` samples, any number of them, of all channels. Outputs may be the same memory
 * as inputs, channel by channel in any order. */
@P@_API void @p@_process(@p@_plugin *plugin, const float *const *inputs, float *const *outputs,
                         uint32_t frames);

@P@_API uint32_t @p@_inputs(void);
@P@_API uint32_t @p@_outputs(void);

/* The rates in hertz that there are forms for. */
@P@_API uint32_t @p@_rate_count(void);
@P@_API double @p@_rate(uint32_t index);

/* NULL if there is no such knob. Values outside of a knob's range are clipped to it; what is not a
 * number changes nothing. Knobs glide to where they are set. */
@P@_API uint32_t @p@_parameter_count(void);
@P@_API const @p@_parameter *@p@_parameter_info(uint32_t index);
@P@_API double @p@_get(const @p@_plugin *plugin, uint32_t index);
@P@_API void @p@_set(@p@_plugin *plugin, uint32_t index, double value);

@P@_API uint32_t @p@_preset_count(void);
@P@_API const char *@p@_preset_name(uint32_t index);
@P@_API void @p@_preset_load(@p@_plugin *plugin, uint32_t index);

/* Where the knobs are, as bytes that may be kept. Save returns the size, and writes nothing if
 * `size` is too small; load returns @P@_OK, or @P@_STATE if these are no such bytes, which then
 * change nothing. Knobs that the bytes do not know go to their initial values. */
@P@_API size_t @p@_state_size(void);
@P@_API size_t @p@_state_save(const @p@_plugin *plugin, void *bytes, size_t size);
@P@_API int @p@_state_load(@p@_plugin *plugin, const void *bytes, size_t size);

/* Samples by which the outputs come late, at the rate of the last init. */
@P@_API uint32_t @p@_latency(const @p@_plugin *plugin);

/* Seconds that it sounds after its input has ended, until it has faded by 120 dB; negative if that
 * may take for ever. Of the rate of the last init, without the latency. */
@P@_API double @p@_tail(const @p@_plugin *plugin);

#ifdef __cplusplus
}
#endif
#endif
