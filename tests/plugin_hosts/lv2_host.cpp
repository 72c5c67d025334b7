// A small LV2 host for the audio thread's sake: ports come by number, as the options say them.
#include <dlfcn.h>

#include <algorithm>

#include <lv2/core/lv2.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>

#include "host.hpp"

static std::vector<std::string> words;
static LV2_URID number_of(LV2_URID_Map_Handle, const char *uri)
{
    const auto found = std::find(words.begin(), words.end(), uri);
    if (found != words.end())
        return LV2_URID(found - words.begin()) + 1;
    words.push_back(uri);
    return LV2_URID(words.size());
}

struct State { // one property
    LV2_URID key = 0, type = 0;
    std::vector<char> bytes;
};
static LV2_State_Status store(LV2_State_Handle handle, uint32_t key, const void *value, size_t size,
                              uint32_t type, uint32_t)
{
    auto &state = *static_cast<State *>(handle);
    const char *from = static_cast<const char *>(value);
    state = {key, type, {from, from + size}};
    return LV2_STATE_SUCCESS;
}
static const void *retrieve(LV2_State_Handle handle, uint32_t key, size_t *size, uint32_t *type,
                            uint32_t *)
{
    auto &state = *static_cast<State *>(handle);
    *size = state.bytes.size();
    *type = number_of(nullptr, "http://lv2plug.in/ns/ext/atom#Chunk");
    state.key = key;
    return state.bytes.data();
}

struct Lv2 : Plugin {
    const LV2_Descriptor *about;
    LV2_Handle handle;
    std::vector<std::string> names;
    std::vector<float> values;
    std::vector<std::pair<float, float>> ranges;
    size_t channels_in, channels_out;
    float latency = -1;

    // Knobs are --set NAME=VALUE, in the order of the ports; their ranges are from 0 to the value.
    explicit Lv2(const Options &given) : channels_in(given.inputs), channels_out(given.outputs)
    {
        void *library = dlopen(given.plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr)
            fail(dlerror());
        auto descriptor = reinterpret_cast<LV2_Descriptor_Function>(dlsym(library, "lv2_descriptor"));
        about = descriptor(0);
        if (about == nullptr || descriptor(1) != nullptr)
            fail("not one plugin");
        fprintf(stderr, "uri %s\n", about->URI);
        LV2_URID_Map map = {nullptr, number_of};
        const LV2_Feature feature = {LV2_URID__map, &map};
        const LV2_Feature *const none[] = {nullptr}, *const some[] = {&feature, nullptr};
        const bool keeps = !given.load.empty() || !given.save.empty();
        handle = about->instantiate(about, given.rate, "/", keeps ? some : none);
        if (handle == nullptr)
            fail("does not instantiate");
        for (const auto &pair : given.set) {
            names.push_back(pair.first);
            values.push_back(float(pair.second));
            ranges.emplace_back(0.0f, float(pair.second));
        }
        if (keeps)
            keep(given);
        const uint32_t first = uint32_t(channels_in + channels_out);
        for (uint32_t k = 0; k < values.size(); k++)
            about->connect_port(handle, first + k, &values[k]);
        about->connect_port(handle, first + uint32_t(values.size()), &latency);
        about->activate(handle);
        about->run(handle, 0); // as hosts that want to know the latency
        fprintf(stderr, "latency %g\n", double(latency));
    }

    void keep(const Options &given)
    {
        const auto *states =
            static_cast<const LV2_State_Interface *>(about->extension_data(LV2_STATE__interface));
        State state;
        if (states == nullptr)
            fail("keeps no state");
        if (!given.load.empty()) {
            state.bytes = bytes_of(given.load);
            if (states->restore(handle, retrieve, &state, 0, nullptr) != LV2_STATE_SUCCESS)
                fail("does not load");
        }
        if (!given.save.empty()) {
            if (states->save(handle, store, &state, 0, nullptr) != LV2_STATE_SUCCESS)
                fail("does not save");
            write_to(given.save, state.bytes);
        }
    }

    std::vector<std::string> knobs() const override { return names; }

    void turn(size_t knob, double at) override
    {
        values[knob] = float(ranges[knob].first + at * (ranges[knob].second - ranges[knob].first));
    }

    bool process(float **in, float **out, uint32_t frames) override
    {
        for (uint32_t c = 0; c < channels_in; c++)
            about->connect_port(handle, c, in[c]);
        for (uint32_t c = 0; c < channels_out; c++)
            about->connect_port(handle, uint32_t(channels_in) + c, out[c]);
        about->run(handle, frames);
        return true;
    }

    ~Lv2() override
    {
        about->deactivate(handle);
        about->cleanup(handle);
    }
};

int main(int count, char **words)
{
    const Options given = options(count, words);
    Lv2 plugin(given);
    return render(given, plugin);
}
