/* @title@: written by adac_jax from a JAX model. The CLAP plugin round the core. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "@p@.h"
#include "@p@_tables.h"

#include "clap/entry.h"
#include "clap/ext/audio-ports.h"
#include "clap/ext/latency.h"
#include "clap/ext/params.h"
#include "clap/ext/state.h"
#include "clap/plugin-factory.h"

/* clap/ext/tail.h, which not all copies of the headers have. */
static const char *const TAIL = "clap.tail";
typedef struct {
    uint32_t(CLAP_ABI *get)(const clap_plugin_t *plugin);
} tail_extension;

#define AT_LEAST_ONE(n) ((n) > 0 ? (n) : 1)
#define LONGEST_STATE 65536

typedef struct {
    clap_plugin_t plugin;
    const clap_host_t *host;
    @p@_plugin *model;
    double rate;
    double told;      /* of the status */
    uint32_t latency; /* since it was activated */
    bool is_late;     /* it has changed since, and the host was asked to activate it anew */
} instance;

static instance *of(const clap_plugin_t *plugin) { return (instance *)plugin->plugin_data; }

/* CLAP knows no curves: where positions are spread by the logarithm, the parameter is the position
 * from 0 to 1, and its text has the value and the unit. */

static double plain(const @p@_parameter *knob, double value)
{
    if (!knob->logarithmic)
        return value;
    return knob->minimum * pow(knob->maximum / knob->minimum, value);
}

static double position(const @p@_parameter *knob, double value)
{
    if (!knob->logarithmic)
        return value;
    return log(value / knob->minimum) / log(knob->maximum / knob->minimum);
}

static uint32_t index_of(clap_id id)
{
    uint32_t i;
    for (i = 0; i < @P@_PARAMETERS; i++)
        if (@p@_parameters[i].id == id)
            return i;
    return UINT32_MAX;
}

/* A parameter that the plugin itself moves. */
static int is_status(uint32_t index)
{
#ifdef @P@_STATUS
    return index == @P@_STATUS;
#else
    return (void)index, 0;
#endif
}

static uint32_t CLAP_ABI params_count(const clap_plugin_t *plugin)
{
    (void)plugin;
    return @P@_PARAMETERS;
}

static bool CLAP_ABI params_get_info(const clap_plugin_t *plugin, uint32_t index,
                                     clap_param_info_t *info)
{
    const @p@_parameter *knob = @p@_parameter_info(index);
    (void)plugin;
    if (knob == NULL)
        return false;
    memset(info, 0, sizeof *info);
    info->id = knob->id;
    info->flags = is_status(index) ? CLAP_PARAM_IS_READONLY | CLAP_PARAM_IS_STEPPED
                                   : CLAP_PARAM_IS_AUTOMATABLE;
    snprintf(info->name, sizeof info->name, "%s", knob->name);
    info->min_value = knob->logarithmic ? 0.0 : knob->minimum;
    info->max_value = knob->logarithmic ? 1.0 : knob->maximum;
    info->default_value = position(knob, knob->initial);
    return true;
}

static bool CLAP_ABI params_get_value(const clap_plugin_t *plugin, clap_id id, double *value)
{
    uint32_t i = index_of(id);
    if (i == UINT32_MAX)
        return false;
    *value = position(@p@_parameter_info(i), @p@_get(of(plugin)->model, i));
    return true;
}

static bool CLAP_ABI params_value_to_text(const clap_plugin_t *plugin, clap_id id, double value,
                                          char *display, uint32_t size)
{
    uint32_t i = index_of(id);
    const @p@_parameter *knob = @p@_parameter_info(i);
    (void)plugin;
    if (knob == NULL)
        return false;
#ifdef @P@_STATUS
    if (is_status(i) && value >= 0 && value <= knob->maximum) {
        snprintf(display, size, "%d: %s", (int)value, @p@_saying((int)value));
        return true;
    }
#endif
    snprintf(display, size, knob->unit[0] ? "%.6g %s" : "%.6g", plain(knob, value), knob->unit);
    return true;
}

static bool CLAP_ABI params_text_to_value(const clap_plugin_t *plugin, clap_id id,
                                          const char *display, double *value)
{
    uint32_t i = index_of(id);
    const @p@_parameter *knob = @p@_parameter_info(i);
    char *end;
    double number = strtod(display, &end);
    (void)plugin;
    if (knob == NULL || end == display || !(number >= knob->minimum && number <= knob->maximum))
        return false;
    *value = position(knob, number);
    return true;
}

static void follow(instance *self, const clap_event_header_t *event)
{
    const clap_event_param_value_t *turned = (const clap_event_param_value_t *)event;
    uint32_t i;
    if (event->space_id != CLAP_CORE_EVENT_SPACE_ID || event->type != CLAP_EVENT_PARAM_VALUE)
        return;
    i = index_of(turned->param_id);
    if (i != UINT32_MAX)
        @p@_set(self->model, i, plain(@p@_parameter_info(i), turned->value));
}

static void CLAP_ABI params_flush(const clap_plugin_t *plugin, const clap_input_events_t *in,
                                  const clap_output_events_t *out)
{
    uint32_t k, count = in != NULL ? in->size(in) : 0;
    (void)out;
    for (k = 0; k < count; k++)
        follow(of(plugin), in->get(in, k));
}

static const clap_plugin_params_t params = {params_count,         params_get_info,
                                            params_get_value,     params_value_to_text,
                                            params_text_to_value, params_flush};

static uint32_t channels(bool is_input) { return is_input ? @P@_INPUTS : @P@_OUTPUTS; }

static uint32_t CLAP_ABI ports_count(const clap_plugin_t *plugin, bool is_input)
{
    (void)plugin;
    return channels(is_input) > 0;
}

static bool CLAP_ABI ports_get(const clap_plugin_t *plugin, uint32_t index, bool is_input,
                               clap_audio_port_info_t *info)
{
    uint32_t count = channels(is_input);
    (void)plugin;
    if (index > 0 || count == 0)
        return false;
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "%s", is_input ? "Input" : "Output");
    info->flags = CLAP_AUDIO_PORT_IS_MAIN;
    info->channel_count = count;
    info->port_type = count == 1 ? CLAP_PORT_MONO : count == 2 ? CLAP_PORT_STEREO : NULL;
    info->in_place_pair = @P@_INPUTS == @P@_OUTPUTS ? 0 : CLAP_INVALID_ID;
    return true;
}

static const clap_plugin_audio_ports_t ports = {ports_count, ports_get};

static uint32_t CLAP_ABI latency_get(const clap_plugin_t *plugin)
{
    return of(plugin)->latency;
}

static const clap_plugin_latency_t latency = {latency_get};

static uint32_t CLAP_ABI tail_get(const clap_plugin_t *plugin)
{
    double samples = @p@_tail(of(plugin)->model) * of(plugin)->rate;
    /* INT32_MAX and above: for ever. */
    return samples >= 0 && samples < INT32_MAX ? (uint32_t)ceil(samples) : INT32_MAX;
}

static const tail_extension tail = {tail_get};

static bool CLAP_ABI state_save(const clap_plugin_t *plugin, const clap_ostream_t *stream)
{
    size_t room = @p@_state_size(), size, done = 0;
    unsigned char *bytes = (unsigned char *)malloc(room);
    if (bytes == NULL)
        return false;
    size = @p@_state_save(of(plugin)->model, bytes, room);
    while (done < size) {
        int64_t count = stream->write(stream, bytes + done, size - done);
        if (count <= 0)
            break;
        done += (size_t)count;
    }
    free(bytes);
    return done == size;
}

static bool CLAP_ABI state_load(const clap_plugin_t *plugin, const clap_istream_t *stream)
{
    /* Of another version of the plugin, it may be longer. */
    size_t room = @p@_state_size() + LONGEST_STATE, size = 0;
    unsigned char *bytes = (unsigned char *)malloc(room);
    int64_t count = 1;
    bool done = false;
    if (bytes == NULL)
        return false;
    while (size < room && (count = stream->read(stream, bytes + size, room - size)) > 0)
        size += (size_t)count;
    if (count >= 0)
        done = @p@_state_load(of(plugin)->model, bytes, size) == @P@_OK;
    free(bytes);
    return done;
}

static const clap_plugin_state_t state = {state_save, state_load};

static bool CLAP_ABI init(const clap_plugin_t *plugin)
{
    of(plugin)->model = @p@_create();
    if (of(plugin)->model != NULL)
        of(plugin)->latency = @p@_latency(of(plugin)->model);
    return of(plugin)->model != NULL;
}

static void CLAP_ABI destroy(const clap_plugin_t *plugin)
{
    @p@_destroy(of(plugin)->model);
    free(of(plugin));
}

/* It may change here only. */
static void tell_latency(instance *self)
{
    const clap_host_latency_t *host;
    uint32_t before = self->latency;
    self->latency = @p@_latency(self->model);
    self->is_late = false;
    host = (const clap_host_latency_t *)self->host->get_extension(self->host, CLAP_EXT_LATENCY);
    if (self->latency != before && host != NULL)
        host->changed(self->host);
}

static bool CLAP_ABI activate(const clap_plugin_t *plugin, double rate, uint32_t least,
                              uint32_t most)
{
    int result = @p@_init(of(plugin)->model, rate);
    (void)least, (void)most;
    of(plugin)->rate = rate;
    tell_latency(of(plugin));
    if (result == @P@_RATE)
        fprintf(stderr, "%s does not run at %g Hz; it runs at %s Hz.\n", @P@_NAME, rate,
                @P@_RATES_TEXT);
    return result == @P@_OK;
}

static void CLAP_ABI deactivate(const clap_plugin_t *plugin) { (void)plugin; }
static bool CLAP_ABI start_processing(const clap_plugin_t *plugin)
{
    (void)plugin;
    return true;
}
static void CLAP_ABI stop_processing(const clap_plugin_t *plugin) { (void)plugin; }
static void CLAP_ABI reset(const clap_plugin_t *plugin) { @p@_reset(of(plugin)->model); }
static void CLAP_ABI on_main_thread(const clap_plugin_t *plugin) { (void)plugin; }

static void tell_status(instance *self, const clap_output_events_t *events)
{
#ifdef @P@_STATUS
    clap_event_param_value_t event;
    double status = @p@_get(self->model, @P@_STATUS);
    if (status == self->told || events == NULL)
        return;
    memset(&event, 0, sizeof event);
    event.header.size = sizeof event;
    event.header.space_id = CLAP_CORE_EVENT_SPACE_ID;
    event.header.type = CLAP_EVENT_PARAM_VALUE;
    event.param_id = @p@_parameters[@P@_STATUS].id;
    event.note_id = event.port_index = event.channel = event.key = -1;
    event.value = status;
    if (events->try_push(events, &event.header))
        self->told = status;
#else
    (void)self, (void)events;
#endif
}

static clap_process_status CLAP_ABI process(const clap_plugin_t *plugin,
                                            const clap_process_t *block)
{
    instance *self = of(plugin);
    const clap_input_events_t *events = block->in_events;
    uint32_t count = events != NULL ? events->size(events) : 0;
    const float *in[AT_LEAST_ONE(@P@_INPUTS)];
    float *out[AT_LEAST_ONE(@P@_OUTPUTS)];
    uint32_t start = 0, end, i, k = 0;

    if (@P@_INPUTS > 0 &&
        (block->audio_inputs_count < 1 || block->audio_inputs[0].channel_count != @P@_INPUTS ||
         block->audio_inputs[0].data32 == NULL))
        return CLAP_PROCESS_ERROR;
    if (block->audio_outputs_count < 1 || block->audio_outputs[0].channel_count != @P@_OUTPUTS ||
        block->audio_outputs[0].data32 == NULL)
        return CLAP_PROCESS_ERROR;
    do { /* from event to event */
        end = block->frames_count;
        for (; k < count; k++) {
            const clap_event_header_t *event = events->get(events, k);
            if (event->time > start && event->time < end) {
                end = event->time;
                break;
            }
            follow(self, event);
        }
        for (i = 0; i < @P@_INPUTS; i++)
            in[i] = block->audio_inputs[0].data32[i] + start;
        for (i = 0; i < @P@_OUTPUTS; i++)
            out[i] = block->audio_outputs[0].data32[i] + start;
        @p@_process(self->model, in, out, end - start);
        start = end;
    } while (start < block->frames_count);
    block->audio_outputs[0].constant_mask = 0;
    tell_status(self, block->out_events);
    if (!self->is_late && @p@_latency(self->model) != self->latency) {
        self->is_late = true;
        self->host->request_restart(self->host);
    }
    return @p@_tail(self->model) < 0 ? CLAP_PROCESS_CONTINUE : CLAP_PROCESS_TAIL;
}

static const void *CLAP_ABI get_extension(const clap_plugin_t *plugin, const char *id)
{
    (void)plugin;
    if (strcmp(id, CLAP_EXT_PARAMS) == 0)
        return &params;
    if (strcmp(id, CLAP_EXT_AUDIO_PORTS) == 0)
        return &ports;
    if (strcmp(id, CLAP_EXT_LATENCY) == 0)
        return &latency;
    if (strcmp(id, TAIL) == 0)
        return &tail;
    if (strcmp(id, CLAP_EXT_STATE) == 0)
        return &state;
    return NULL;
}

static const char *const features[] = {@P@_CLAP_FEATURES, NULL};

static const clap_plugin_descriptor_t descriptor = {
    CLAP_VERSION_INIT, @P@_CLAP_ID,   @P@_NAME,        @P@_MAKER,
    "",                "",            "",              @P@_VERSION,
    @P@_DESCRIPTION,   (const char **)(uintptr_t)features};

static uint32_t CLAP_ABI plugin_count(const clap_plugin_factory_t *factory)
{
    (void)factory;
    return 1;
}

static const clap_plugin_descriptor_t *CLAP_ABI plugin_descriptor(
    const clap_plugin_factory_t *factory, uint32_t index)
{
    (void)factory;
    return index == 0 ? &descriptor : NULL;
}

static const clap_plugin_t *CLAP_ABI create_plugin(const clap_plugin_factory_t *factory,
                                                   const clap_host_t *host, const char *id)
{
    instance *made;
    (void)factory;
    if (strcmp(id, descriptor.id) != 0 || !clap_version_is_compatible(host->clap_version))
        return NULL;
    made = (instance *)calloc(1, sizeof(instance));
    if (made == NULL)
        return NULL;
    made->host = host;
    made->rate = @p@_rate(0);
    made->plugin.desc = &descriptor;
    made->plugin.plugin_data = made;
    made->plugin.init = init;
    made->plugin.destroy = destroy;
    made->plugin.activate = activate;
    made->plugin.deactivate = deactivate;
    made->plugin.start_processing = start_processing;
    made->plugin.stop_processing = stop_processing;
    made->plugin.reset = reset;
    made->plugin.process = process;
    made->plugin.get_extension = get_extension;
    made->plugin.on_main_thread = on_main_thread;
    return &made->plugin;
}

static const clap_plugin_factory_t factory = {plugin_count, plugin_descriptor, create_plugin};

static bool CLAP_ABI entry_init(const char *path)
{
    (void)path;
    return true;
}

static void CLAP_ABI entry_deinit(void) {}

static const void *CLAP_ABI entry_get_factory(const char *id)
{
    return strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &factory : NULL;
}

CLAP_EXPORT const clap_plugin_entry_t clap_entry = {CLAP_VERSION_INIT, entry_init, entry_deinit,
                                                    entry_get_factory};
