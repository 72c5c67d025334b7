/* @title@: written by adac_jax from a JAX model. The core that all formats share. */
#include "@p@.h"

#include <string.h>

#include "@p@_form.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

/* Of what decays, numbers end up too small for full precision, on which processors may take a
 * hundred times as long. While the model computes they are zero. The bits belong to the thread. */
#if defined(__SSE2__) || defined(_M_X64)
typedef unsigned int denormals;
static denormals flush_denormals(void)
{
    denormals before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u); /* FTZ: results, DAZ: operands */
    return before;
}
static void restore_denormals(denormals before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
typedef uint64_t denormals;
static denormals flush_denormals(void)
{
    denormals before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | (1u << 24))); /* FZ */
    return before;
}
static void restore_denormals(denormals before)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before));
}
#else
typedef int denormals;
static denormals flush_denormals(void) { return 0; }
static void restore_denormals(denormals before) { (void)before; }
#endif

#define AT_LEAST_ONE(n) ((n) > 0 ? (n) : 1)
#define CHUNK 64 /* frames on the stack at once */

struct @p@_plugin {
    const @p@_form *form; /* NULL until init has succeeded */
    void *dsp;
    double values[AT_LEAST_ONE(@P@_PARAMETERS)];
    @p@_real *sliders[AT_LEAST_ONE(@P@_PARAMETERS)]; /* NULL where this form has no such knob */
};

@p@_plugin *@p@_create(void)
{
    @p@_plugin *plugin = (@p@_plugin *)calloc(1, sizeof(@p@_plugin));
    uint32_t i;
    if (plugin == NULL)
        return NULL;
    for (i = 0; i < @P@_PARAMETERS; i++)
        plugin->values[i] = @p@_parameters[i].initial;
    return plugin;
}

static void release(@p@_plugin *plugin)
{
    if (plugin->form != NULL)
        plugin->form->destroy(plugin->dsp);
    plugin->form = NULL;
    plugin->dsp = NULL;
}

void @p@_destroy(@p@_plugin *plugin)
{
    if (plugin == NULL)
        return;
    release(plugin);
    free(plugin);
}

/* FAUST's program declares its sliders by name. */

static void ignore_label(void *ui, const char *label)
{
    (void)ui, (void)label;
}
static void ignore_close(void *ui) { (void)ui; }
static void ignore_switch(void *ui, const char *label, @p@_real *zone)
{
    (void)ui, (void)label, (void)zone;
}
static void ignore_note(void *ui, @p@_real *zone, const char *key, const char *value)
{
    (void)ui, (void)zone, (void)key, (void)value;
}
static void found_slider(void *ui, const char *label, @p@_real *zone, @p@_real initial,
                         @p@_real low, @p@_real high, @p@_real step)
{
    @p@_plugin *plugin = (@p@_plugin *)ui;
    uint32_t i;
    (void)initial, (void)low, (void)high, (void)step;
    for (i = 0; i < @P@_PARAMETERS; i++)
        if (strcmp(label, @p@_parameters[i].name) == 0)
            plugin->sliders[i] = zone;
}

static void find_sliders(@p@_plugin *plugin)
{
    UIGlue glue;
    memset(plugin->sliders, 0, sizeof plugin->sliders);
    glue.uiInterface = plugin;
    glue.openTabBox = glue.openHorizontalBox = glue.openVerticalBox = ignore_label;
    glue.closeBox = ignore_close;
    glue.addButton = glue.addCheckButton = ignore_switch;
    glue.addVerticalSlider = glue.addHorizontalSlider = glue.addNumEntry = found_slider;
    glue.declare = ignore_note;
    plugin->form->build(plugin->dsp, &glue);
}

/* At the default and at the ends of its way a knob is the model's own number: hosts hand over
 * single precision. */
static @p@_real exactly(const @p@_parameter *knob, double value)
{
    if ((float)value == (float)knob->initial)
        return (@p@_real)knob->initial;
    if ((float)value == (float)knob->minimum)
        return (@p@_real)knob->minimum;
    if ((float)value == (float)knob->maximum)
        return (@p@_real)knob->maximum;
    return (@p@_real)value;
}

static void move_sliders(@p@_plugin *plugin)
{
    uint32_t i;
    for (i = 0; i < @P@_PARAMETERS; i++)
        if (plugin->sliders[i] != NULL)
            *plugin->sliders[i] = exactly(&@p@_parameters[i], plugin->values[i]);
}

static int is_at_rest(const @p@_plugin *plugin)
{
    uint32_t i;
    for (i = 0; i < @P@_PARAMETERS; i++)
        if ((float)plugin->values[i] != (float)@p@_parameters[i].initial)
            return 0;
    return 1;
}

void @p@_reset(@p@_plugin *plugin)
{
    @p@_real silence[CHUNK] = {0}, unheard[AT_LEAST_ONE(@P@_OUTPUTS)][CHUNK];
    @p@_real *in[AT_LEAST_ONE(@P@_INPUTS)], *out[AT_LEAST_ONE(@P@_OUTPUTS)];
    uint32_t i, left;
    denormals before;
    if (plugin->form == NULL)
        return;
    plugin->form->init(plugin->dsp, (int)plugin->form->rate);
    move_sliders(plugin);
    if (is_at_rest(plugin))
        return;
    /* The values start at their defaults, and go to where the knobs are unheard. */
    for (i = 0; i < AT_LEAST_ONE(@P@_INPUTS); i++)
        in[i] = silence;
    for (i = 0; i < AT_LEAST_ONE(@P@_OUTPUTS); i++)
        out[i] = unheard[i];
    before = flush_denormals();
    for (left = plugin->form->settle; left > 0; left -= left < CHUNK ? left : CHUNK)
        plugin->form->compute(plugin->dsp, (int)(left < CHUNK ? left : CHUNK), in, out);
    restore_denormals(before);
}

int @p@_init(@p@_plugin *plugin, double rate)
{
    const @p@_form *form = NULL;
    uint32_t i;
    for (i = 0; i < @P@_FORMS; i++)
        if (rate > @p@_forms[i]->rate - 0.5 && rate < @p@_forms[i]->rate + 0.5)
            form = @p@_forms[i];
    if (form != plugin->form || form == NULL)
        release(plugin);
    if (form == NULL)
        return @P@_RATE;
    if (plugin->dsp == NULL) {
        plugin->dsp = form->create();
        if (plugin->dsp == NULL)
            return @P@_MEMORY;
        plugin->form = form;
        form->prepare((int)form->rate);
        find_sliders(plugin);
    }
    @p@_reset(plugin);
    return @P@_OK;
}

void @p@_process(@p@_plugin *plugin, const float *const *inputs, float *const *outputs, uint32_t frames)
{
    denormals before;
    uint32_t i;
    if (frames == 0)
        return;
    if (plugin->form == NULL) {
        for (i = 0; i < @P@_OUTPUTS; i++)
            memset(outputs[i], 0, frames * sizeof(float));
        return;
    }
    before = flush_denormals();
    move_sliders(plugin);
#if @P@_IS_DOUBLE
    {
        @p@_real from[AT_LEAST_ONE(@P@_INPUTS)][CHUNK], to[AT_LEAST_ONE(@P@_OUTPUTS)][CHUNK];
        @p@_real *in[AT_LEAST_ONE(@P@_INPUTS)], *out[AT_LEAST_ONE(@P@_OUTPUTS)];
        uint32_t start, t, count;
        for (i = 0; i < AT_LEAST_ONE(@P@_INPUTS); i++)
            in[i] = from[i];
        for (i = 0; i < AT_LEAST_ONE(@P@_OUTPUTS); i++)
            out[i] = to[i];
        for (start = 0; start < frames; start += count) {
            count = frames - start < CHUNK ? frames - start : CHUNK;
            for (i = 0; i < @P@_INPUTS; i++)
                for (t = 0; t < count; t++)
                    from[i][t] = inputs[i][start + t];
            plugin->form->compute(plugin->dsp, (int)count, in, out);
            for (i = 0; i < @P@_OUTPUTS; i++)
                for (t = 0; t < count; t++)
                    outputs[i][start + t] = (float)to[i][t];
        }
    }
#else
    /* FAUST's C reads all inputs of a sample before it writes, and none of them is written to. */
    plugin->form->compute(plugin->dsp, (int)frames, (float **)(uintptr_t)inputs,
                          (float **)(uintptr_t)outputs);
#endif
    restore_denormals(before);
}

uint32_t @p@_inputs(void) { return @P@_INPUTS; }
uint32_t @p@_outputs(void) { return @P@_OUTPUTS; }
uint32_t @p@_rate_count(void) { return @P@_FORMS; }
double @p@_rate(uint32_t index) { return index < @P@_FORMS ? @p@_forms[index]->rate : 0.0; }
uint32_t @p@_parameter_count(void) { return @P@_PARAMETERS; }

const @p@_parameter *@p@_parameter_info(uint32_t index)
{
    return index < @P@_PARAMETERS ? &@p@_parameters[index] : NULL;
}

double @p@_get(const @p@_plugin *plugin, uint32_t index)
{
    return index < @P@_PARAMETERS ? plugin->values[index] : 0.0;
}

void @p@_set(@p@_plugin *plugin, uint32_t index, double value)
{
    const @p@_parameter *knob = @p@_parameter_info(index);
    /* Of what is not a number, neither comparison holds. */
    if (knob == NULL || !(value >= 0 || value <= 0))
        return;
    if (value < knob->minimum)
        value = knob->minimum;
    if (value > knob->maximum)
        value = knob->maximum;
    plugin->values[index] = value;
}

uint32_t @p@_preset_count(void) { return @P@_PRESETS; }

const char *@p@_preset_name(uint32_t index)
{
    return index < @P@_PRESETS ? @p@_presets[index].name : NULL;
}

void @p@_preset_load(@p@_plugin *plugin, uint32_t index)
{
    uint32_t i;
    if (index >= @P@_PRESETS)
        return;
    for (i = 0; i < @P@_PARAMETERS; i++)
        @p@_set(plugin, i, @p@_presets[index].values[i]);
}

/* The bytes: "AJX1", the number of knobs, and for each its id and its value (as float64), all with
 * the lowest byte first. */
#define HEAD 8
#define ENTRY 12

static void put(unsigned char *bytes, uint64_t number, int count)
{
    for (; count > 0; count--, number >>= 8)
        *bytes++ = (unsigned char)(number & 255u);
}

static uint64_t taken(const unsigned char *bytes, int count)
{
    uint64_t number = 0;
    while (count > 0)
        number = number << 8 | bytes[--count];
    return number;
}

size_t @p@_state_size(void) { return HEAD + ENTRY * (size_t)@P@_PARAMETERS; }

size_t @p@_state_save(const @p@_plugin *plugin, void *bytes, size_t size)
{
    unsigned char *at = (unsigned char *)bytes;
    uint64_t bits;
    uint32_t i;
    if (size < @p@_state_size())
        return @p@_state_size();
    memcpy(at, "AJX1", 4);
    put(at + 4, @P@_PARAMETERS, 4);
    for (i = 0, at += HEAD; i < @P@_PARAMETERS; i++, at += ENTRY) {
        memcpy(&bits, &plugin->values[i], 8);
        put(at, @p@_parameters[i].id, 4);
        put(at + 4, bits, 8);
    }
    return @p@_state_size();
}

int @p@_state_load(@p@_plugin *plugin, const void *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    uint64_t count, k, bits;
    double value;
    uint32_t i;
    if (size < HEAD || memcmp(at, "AJX1", 4) != 0)
        return @P@_STATE;
    count = taken(at + 4, 4);
    if ((size - HEAD) / ENTRY < count)
        return @P@_STATE;
    for (i = 0; i < @P@_PARAMETERS; i++)
        plugin->values[i] = @p@_parameters[i].initial;
    for (k = 0, at += HEAD; k < count; k++, at += ENTRY) {
        bits = taken(at + 4, 8);
        memcpy(&value, &bits, 8);
        for (i = 0; i < @P@_PARAMETERS; i++)
            if (@p@_parameters[i].id == taken(at, 4))
                @p@_set(plugin, i, value);
    }
    return @P@_OK;
}

uint32_t @p@_latency(const @p@_plugin *plugin)
{
    return plugin->form != NULL ? plugin->form->latency : @p@_forms[0]->latency;
}

double @p@_tail(const @p@_plugin *plugin)
{
    return plugin->form != NULL ? plugin->form->tail : @p@_forms[0]->tail;
}
