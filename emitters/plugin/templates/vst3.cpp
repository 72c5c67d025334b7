// @title@: written by adac_jax from a JAX model. The VST3 plugin round the core, through DPF.
#include "DistrhoPlugin.hpp"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <locale>
#include <sstream>
#include <string>
#include <vector>

#include "@p@.h"
#include "@p@_tables.h"

START_NAMESPACE_DISTRHO

class Model : public Plugin
{
public:
    Model()
        : Plugin(@P@_PARAMETERS, 0, DISTRHO_PLUGIN_WANT_STATE), // presets are files: as programs they would be a parameter
          fModel(@p@_create())
    {
        sampleRateChanged(getSampleRate());
    }

    ~Model() override { @p@_destroy(fModel); }

protected:
    const char* getLabel() const override { return "@p@"; }
    const char* getDescription() const override { return @P@_DESCRIPTION; }
    const char* getMaker() const override { return @P@_MAKER; }
    const char* getHomePage() const override { return ""; }
    const char* getLicense() const override { return ""; }
    uint32_t getVersion() const override { return d_version(@P@_VERSION_NUMBERS); }
    int64_t getUniqueId() const override { return @P@_VST3_LOW; }

    void initAudioPort(bool input, uint32_t index, AudioPort& port) override
    {
        Plugin::initAudioPort(input, index, port);
        const uint32_t count = input ? @P@_INPUTS : @P@_OUTPUTS;
        if (count <= 2)
            port.groupId = count == 1 ? kPortGroupMono : kPortGroupStereo;
    }

    void initParameter(uint32_t index, Parameter& parameter) override
    {
        const @p@_parameter* const knob = @p@_parameter_info(index);
        parameter.hints = kParameterIsAutomatable;
        if (knob->logarithmic)
            parameter.hints |= kParameterIsLogarithmic;
        parameter.name = knob->name;
        parameter.symbol = knob->symbol;
        parameter.unit = knob->unit;
        parameter.ranges.min = static_cast<float>(knob->minimum);
        parameter.ranges.max = static_cast<float>(knob->maximum);
        parameter.ranges.def = static_cast<float>(knob->initial);
#ifdef @P@_STATUS
        if (index == @P@_STATUS)
            showStatus(parameter);
#endif
    }

#ifdef @P@_STATUS
    static void showStatus(Parameter& parameter)
    {
        const uint8_t count = static_cast<uint8_t>(parameter.ranges.max) + 1;
        parameter.hints = kParameterIsOutput | kParameterIsInteger;
        parameter.enumValues.count = count;
        parameter.enumValues.restrictedMode = true;
        parameter.enumValues.values = new ParameterEnumerationValue[count];
        for (uint8_t i = 0; i < count; ++i)
        {
            parameter.enumValues.values[i].value = i;
            parameter.enumValues.values[i].label = @p@_saying(i);
        }
    }

    // What there is beside the knobs, as text.
    void initState(uint32_t, State& state) override { state.key = "model"; }

    String getState(const char*) const override
    {
        std::vector<unsigned char> bytes(@p@_state_size());
        const size_t size = @p@_state_save(fModel, bytes.data(), bytes.size());
        std::string text;
        text.reserve(2 * size);
        for (size_t i = 0; i < size; ++i)
        {
            text += "0123456789abcdef"[bytes[i] >> 4];
            text += "0123456789abcdef"[bytes[i] & 15];
        }
        return String(text.c_str());
    }

    void setState(const char*, const char* value) override
    {
        std::vector<unsigned char> bytes;
        const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
        for (; value[0] != 0 && value[1] != 0; value += 2)
            bytes.push_back(static_cast<unsigned char>(digit(value[0]) * 16 + digit(value[1])));
        @p@_state_load(fModel, bytes.data(), bytes.size());
    }
#endif

    float getParameterValue(uint32_t index) const override
    {
        return static_cast<float>(@p@_get(fModel, index));
    }

    void setParameterValue(uint32_t index, float value) override { @p@_set(fModel, index, value); }

    // Memory is made here, out of the audio thread; activate() finds it there.
    void sampleRateChanged(double rate) override
    {
        fRuns = @p@_init(fModel, rate) == @P@_OK;
#if DISTRHO_PLUGIN_WANT_LATENCY
        setLatency(fRuns ? @p@_latency(fModel) : 0);
#endif
        fTold = false;
    }

    void activate() override
    {
        @p@_reset(fModel);
#if DISTRHO_PLUGIN_WANT_LATENCY
        setLatency(fRuns ? @p@_latency(fModel) : 0);
#endif
        if (!fRuns && !fTold)
            std::fprintf(stderr, "%s does not run at %g Hz; it runs at %s Hz.\n", @P@_NAME,
                         getSampleRate(), @P@_RATES_TEXT);
        fTold = true;
    }

    void run(const float** inputs, float** outputs, uint32_t frames) override
    {
        if (fRuns)
            return @p@_process(fModel, inputs, outputs, frames);
        // VST3 hosts go on after a refusal: what comes in goes out.
        for (uint32_t i = 0; i < @P@_OUTPUTS; ++i)
        {
            if (i < @P@_INPUTS)
                std::memmove(outputs[i], inputs[i], frames * sizeof(float));
            else
                std::memset(outputs[i], 0, frames * sizeof(float));
        }
    }

private:
    @p@_plugin* const fModel;
    bool fRuns, fTold;

    DISTRHO_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(Model)
};

Plugin* createPlugin() { return new Model(); }

static uint32_t tailSamples(double rate)
{
    double longest = 0.0;
#ifdef @P@_STATUS
    return 4294967295u;
#endif
    for (uint32_t i = 0; i < @P@_FORMS; ++i)
        if (std::abs(@p@_rate(i) - rate) < 0.5)
            longest = @p@_tails[i];
    const double samples = std::ceil(longest * rate);
    return samples >= 0.0 && samples < 4294967295.0 ? static_cast<uint32_t>(samples)
                                                     : 4294967295u; // infinite
}

// Positions of knobs on logarithmic curves, which DPF's VST3 spreads evenly. `ranges` is part of a
// parameter, whose hints know the curve.
static bool isLogarithmic(const ParameterRanges& ranges)
{
    const char* const at = reinterpret_cast<const char*>(&ranges) - offsetof(Parameter, ranges);
    return (reinterpret_cast<const Parameter*>(at)->hints & kParameterIsLogarithmic) != 0;
}

// The value whose even position is the logarithmic one of `plain`.
static double evenValue(const ParameterRanges& ranges, double plain)
{
    if (!isLogarithmic(ranges) || plain <= ranges.min || plain >= ranges.max)
        return plain;
    const double at = std::log(plain / ranges.min) / std::log(double(ranges.max) / ranges.min);
    return ranges.min + at * (ranges.max - ranges.min);
}

// The even position of the value at a logarithmic position.
static double evenPosition(const ParameterRanges& ranges, double position)
{
    if (!isLogarithmic(ranges) || position <= 0.0 || position >= 1.0)
        return position;
    const double plain = ranges.min * std::pow(double(ranges.max) / ranges.min, position);
    return (plain - ranges.min) / (double(ranges.max) - ranges.min);
}

// A number as DPF writes it, with a point, also in hosts whose numbers have a comma.
static double numberOf(const char* text)
{
    std::istringstream stream(text);
    double number = 0.0;
    stream.imbue(std::locale::classic());
    stream >> number;
    return number;
}

END_NAMESPACE_DISTRHO

// DPF's assertions print; an audio thread must not. They still return.
#undef DISTRHO_SAFE_ASSERT_RETURN
#define DISTRHO_SAFE_ASSERT_RETURN(condition, result) if (!(condition)) return result;

// What DPF 1.6 does not do, put in where it is used: macros do not expand within themselves.
#define getNormalizedValue(plain) getNormalizedValue(evenValue(ranges, plain))
#define getFixedAndNormalizedValue(plain) getFixedAndNormalizedValue(evenValue(ranges, plain))
#define getUnnormalizedValue(position) getUnnormalizedValue(evenPosition(ranges, position))
// After `std::`, hence the zero.
#define atof(text) atof("0") + numberOf(text)
// The tail, which is zero there: before the function stands ours.
#define get_tail_samples(parameter) \
    get_tail_samples(void* const self) \
    { \
        return tailSamples((*static_cast<dpf_audio_processor**>(self))->vst3->getSampleRate()); \
    } \
    static uint32_t V3_API no_tail_samples(parameter)
#define ModuleEntry dpfModuleEntry
#define bundleEntry dpfBundleEntry
#define InitDll dpfInitDll

#include "DistrhoPluginMain.cpp"

#undef ModuleEntry
#undef bundleEntry
#undef InitDll

// The other half of the identifier: DPF's own has 32 bits.
static void identify()
{
    USE_NAMESPACE_DISTRHO;
    dpf_tuid_class[3] = dpf_tuid_component[3] = dpf_tuid_controller[3] = dpf_tuid_processor[3] =
        dpf_tuid_view[3] = @P@_VST3_HIGH;
}

#if defined(DISTRHO_OS_MAC)
DISTRHO_PLUGIN_EXPORT bool bundleEntry(void*);
bool bundleEntry(void* bundle) { return dpfBundleEntry(bundle) && (identify(), true); }
#elif defined(DISTRHO_OS_WINDOWS)
DISTRHO_PLUGIN_EXPORT bool InitDll(void);
bool InitDll(void) { return dpfInitDll() && (identify(), true); }
#else
DISTRHO_PLUGIN_EXPORT bool ModuleEntry(void*);
bool ModuleEntry(void* library) { return dpfModuleEntry(library) && (identify(), true); }
#endif
