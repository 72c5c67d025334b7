/* @title@: written by adac_jax from a JAX model. The LV2 plugin round the core. */
#include <stdlib.h>
#include <string.h>

#include <lv2/core/lv2.h>
#include <lv2/core/lv2_util.h>
#include <lv2/log/log.h>
#include <lv2/log/logger.h>
#include <lv2/state/state.h>

#include "@p@.h"
#include "@p@_tables.h"

#define AT_LEAST_ONE(n) ((n) > 0 ? (n) : 1)

/* Ports are numbered: audio in, audio out, knobs, latency. */
enum { OUT = @P@_INPUTS, KNOBS = OUT + @P@_OUTPUTS, LATENCY = KNOBS + @P@_PARAMETERS };

typedef struct {
    @p@_plugin *model;
    double rate;
    const float *in[AT_LEAST_ONE(@P@_INPUTS)];
    float *out[AT_LEAST_ONE(@P@_OUTPUTS)];
    const float *knobs[AT_LEAST_ONE(@P@_PARAMETERS)];
    float *latency;
#ifdef @P@_STATUS
    float *status;
    LV2_URID state, chunk;
#endif
} instance;

static LV2_Handle instantiate(const LV2_Descriptor *descriptor, double rate, const char *path,
                              const LV2_Feature *const *features)
{
    instance *self = (instance *)calloc(1, sizeof(instance));
    LV2_Log_Logger logger = {NULL, 0, 0, 0, 0};
    LV2_URID_Map *map = (LV2_URID_Map *)lv2_features_data(features, LV2_URID__map);
    LV2_Log_Log *log = (LV2_Log_Log *)lv2_features_data(features, LV2_LOG__log);
    int result;
    (void)descriptor, (void)path;
    if (self == NULL)
        return NULL;
    self->model = @p@_create();
    self->rate = rate;
#ifdef @P@_STATUS
    if (map != NULL) {
        self->state = map->map(map->handle, @P@_URI ":state");
        self->chunk = map->map(map->handle, "http://lv2plug.in/ns/ext/atom#Chunk");
    }
#endif
    result = self->model != NULL ? @p@_init(self->model, rate) : @P@_MEMORY;
    if (result == @P@_OK)
        return self;
    if (result == @P@_RATE) {
        lv2_log_logger_init(&logger, map, log);
        lv2_log_error(&logger, "%s does not run at %g Hz; it runs at %s Hz.\n", @P@_NAME, rate,
                      @P@_RATES_TEXT);
    }
    @p@_destroy(self->model);
    free(self);
    return NULL;
}

static void connect_port(LV2_Handle handle, uint32_t port, void *data)
{
    instance *self = (instance *)handle;
    if (port < OUT)
        self->in[port] = (const float *)data;
    else if (port < KNOBS)
        self->out[port - OUT] = (float *)data;
#ifdef @P@_STATUS
    else if (port == KNOBS + @P@_STATUS)
        self->status = (float *)data;
#endif
    else if (port < LATENCY)
        self->knobs[port - KNOBS] = (const float *)data;
    else if (port == LATENCY)
        self->latency = (float *)data;
}

static void activate(LV2_Handle handle) { @p@_reset(((instance *)handle)->model); }

static void run(LV2_Handle handle, uint32_t frames)
{
    instance *self = (instance *)handle;
    uint32_t i;
    for (i = 0; i < @P@_PARAMETERS; i++)
        if (self->knobs[i] != NULL)
            @p@_set(self->model, i, *self->knobs[i]);
    if (self->latency != NULL)
        *self->latency = (float)@p@_latency(self->model);
#ifdef @P@_STATUS
    if (self->status != NULL)
        *self->status = (float)@p@_get(self->model, @P@_STATUS);
#endif
    /* A host may run no samples, to learn the latency, before audio is connected. */
    if (frames > 0)
        @p@_process(self->model, self->in, self->out, frames);
}

static void deactivate(LV2_Handle handle) { (void)handle; }

static void cleanup(LV2_Handle handle)
{
    @p@_destroy(((instance *)handle)->model);
    free(handle);
}

#ifdef @P@_STATUS
/* Hosts keep ports; this is what there is beside them. */
static LV2_State_Status save(LV2_Handle handle, LV2_State_Store_Function store,
                             LV2_State_Handle state, uint32_t flags,
                             const LV2_Feature *const *features)
{
    instance *self = (instance *)handle;
    size_t room = @p@_state_size();
    void *bytes = malloc(room);
    LV2_State_Status result = LV2_STATE_ERR_UNKNOWN;
    (void)flags, (void)features;
    if (bytes != NULL && self->state != 0)
        result = store(state, self->state, bytes, @p@_state_save(self->model, bytes, room),
                       self->chunk, LV2_STATE_IS_POD);
    free(bytes);
    return result;
}

static LV2_State_Status restore(LV2_Handle handle, LV2_State_Retrieve_Function retrieve,
                                LV2_State_Handle state, uint32_t flags,
                                const LV2_Feature *const *features)
{
    instance *self = (instance *)handle;
    size_t size = 0;
    uint32_t type = 0, how = 0;
    const void *bytes = retrieve(state, self->state, &size, &type, &how);
    (void)flags, (void)features;
    if (bytes == NULL)
        return LV2_STATE_ERR_NO_PROPERTY;
    if (type != self->chunk)
        return LV2_STATE_ERR_BAD_TYPE;
    return @p@_state_load(self->model, bytes, size) == @P@_OK ? LV2_STATE_SUCCESS
                                                              : LV2_STATE_ERR_UNKNOWN;
}

static const LV2_State_Interface states = {save, restore};
#endif

static const void *extension_data(const char *uri)
{
#ifdef @P@_STATUS
    if (strcmp(uri, LV2_STATE__interface) == 0)
        return &states;
#endif
    (void)uri;
    return NULL;
}

static const LV2_Descriptor descriptor = {@P@_URI, instantiate, connect_port, activate,
                                          run,     deactivate,  cleanup,      extension_data};

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index)
{
    return index == 0 ? &descriptor : NULL;
}
