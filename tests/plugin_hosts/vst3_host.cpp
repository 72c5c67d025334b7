// A small VST3 host for the audio thread's sake, written against the C interface that DPF has.
#include <dlfcn.h>

#include <algorithm>

#include "src/travesty/audio_processor.h"
#include "src/travesty/bstream.h"
#include "src/travesty/component.h"
#include "src/travesty/edit_controller.h"
#include "src/travesty/factory.h"

#include "host.hpp"

static v3_result V3_API no_interface(void *, const v3_tuid, void **found)
{
    *found = nullptr;
    return V3_NO_INTERFACE;
}
static uint32_t V3_API one(void *) { return 1; }

// One point of one parameter, at the start of a block.
struct Queue : v3_param_value_queue_cpp {
    v3_param_id id = 0;
    double value = 0;
    Queue *self = this;

    Queue()
    {
        query_interface = no_interface;
        ref = unref = one;
        queue.get_param_id = [](void *at) { return of(at)->id; };
        queue.get_point_count = [](void *) { return int32_t(1); };
        queue.get_point = [](void *at, int32_t, int32_t *offset, double *found) {
            *offset = 0;
            *found = of(at)->value;
            return v3_result(V3_OK);
        };
        queue.add_point = [](void *, int32_t, double, int32_t *) { return v3_result(V3_OK); };
    }
    Queue(const Queue &) = delete;
    static Queue *of(void *at) { return *static_cast<Queue **>(at); }
};

struct Changes : v3_param_changes_cpp {
    std::vector<Queue *> queues;
    int32_t used = 0;
    Changes *self = this;

    Changes()
    {
        query_interface = no_interface;
        ref = unref = one;
        changes.get_param_count = [](void *at) { return of(at)->used; };
        changes.get_param_data = [](void *at, int32_t i) {
            return reinterpret_cast<v3_param_value_queue **>(&of(at)->queues[size_t(i)]->self);
        };
        changes.add_param_data = [](void *, v3_param_id *, int32_t *) {
            return static_cast<v3_param_value_queue **>(nullptr);
        };
    }
    static Changes *of(void *at) { return *static_cast<Changes **>(at); }
};

// Bytes to be read from or written to.
struct Stream : v3_funknown {
    v3_bstream stream;
    std::vector<char> bytes;
    size_t at = 0;
    Stream *self = this;

    Stream()
    {
        query_interface = no_interface;
        ref = unref = one;
        stream.read = [](void *where, void *to, int32_t size, int32_t *done) {
            Stream &from = *of(where);
            const size_t some = std::min(size_t(size), from.bytes.size() - from.at);
            memcpy(to, from.bytes.data() + from.at, some);
            from.at += some;
            *done = int32_t(some);
            return v3_result(V3_OK);
        };
        stream.write = [](void *where, void *from, int32_t size, int32_t *done) {
            const char *start = static_cast<const char *>(from);
            of(where)->bytes.insert(of(where)->bytes.end(), start, start + size);
            *done = size;
            return v3_result(V3_OK);
        };
        stream.seek = [](void *, int64_t, int32_t, int64_t *) { return v3_result(V3_OK); };
        stream.tell = [](void *, int64_t *) { return v3_result(V3_OK); };
    }
    Stream(const Stream &) = delete;
    static Stream *of(void *where) { return *static_cast<Stream **>(where); }
};

struct Vst3 : Plugin {
    v3_component **component = nullptr;
    v3_audio_processor **processor = nullptr;
    v3_edit_controller **controller = nullptr;
    std::vector<std::string> names;
    std::vector<v3_param_id> ids;
    Changes input;
    size_t channels_in, channels_out;

    explicit Vst3(const Options &given) : channels_in(given.inputs), channels_out(given.outputs)
    {
        void *library = dlopen(given.plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr)
            fail(dlerror());
        auto enter = reinterpret_cast<bool (*)(void *)>(dlsym(library, "ModuleEntry"));
        auto get = reinterpret_cast<v3_plugin_factory **(*)()>(dlsym(library, "GetPluginFactory"));
        if (enter == nullptr || get == nullptr || !enter(library))
            fail("no entry");
        v3_plugin_factory **factory = get();
        v3_class_info about;
        v3_cpp_obj(factory)->get_class_info(factory, 0, &about);
        fprintf(stderr, "id ");
        for (uint8_t byte : about.class_id)
            fprintf(stderr, "%02X", byte);
        fprintf(stderr, "\n");
        void *made = nullptr;
        if (v3_cpp_obj(factory)->create_instance(factory, about.class_id, v3_component_iid,
                                                 &made) != V3_OK)
            fail("no component");
        component = static_cast<v3_component **>(made);
        if (v3_cpp_obj_initialize(component, nullptr) != V3_OK ||
            v3_cpp_obj_query_interface(component, v3_audio_processor_iid, &processor) != V3_OK ||
            v3_cpp_obj_query_interface(component, v3_edit_controller_iid, &controller) != V3_OK)
            fail("no processor");
        v3_cpp_obj_initialize(controller, nullptr);
        for (int32_t i = 0; i < v3_cpp_obj(controller)->get_parameter_count(controller); i++) {
            v3_param_info info = {};
            v3_cpp_obj(controller)->get_parameter_info(controller, i, &info);
            std::string name, unit;
            for (const int16_t *c = info.title; *c; c++)
                name += char(*c);
            for (const int16_t *c = info.units; *c; c++)
                unit += char(*c);
            const auto plain = [&](double at) {
                return v3_cpp_obj(controller)->normalised_parameter_to_plain(controller,
                                                                            info.param_id, at);
            };
            fprintf(stderr, "parameter %s %u %.9g %.9g %.9g %.9g %s\n", name.c_str(),
                    info.param_id, plain(0), plain(0.5), plain(1),
                    plain(info.default_normalised_value), unit.c_str());
            if (info.flags & V3_PARAM_CAN_AUTOMATE) {
                names.push_back(name);
                ids.push_back(info.param_id);
            }
        }
        for (size_t k = 0; k < ids.size(); k++)
            input.queues.push_back(new Queue);
        v3_process_setup setup = {V3_REALTIME, V3_SAMPLE_32, 8192, given.rate};
        v3_cpp_obj(processor)->setup_processing(processor, &setup);
        v3_cpp_obj(component)->activate_bus(component, V3_AUDIO, V3_INPUT, 0, true);
        v3_cpp_obj(component)->activate_bus(component, V3_AUDIO, V3_OUTPUT, 0, true);
        if (!given.load.empty())
            load(given.load);
        start(true);
        if (!given.set.empty()) {
            // Positions come with audio, and knobs glide: a plugin that starts anew is there.
            for (const auto &pair : given.set)
                set(pair.first, pair.second);
            std::vector<std::vector<float>> silence(channels_in + channels_out + 1,
                                                    std::vector<float>(64));
            std::vector<float *> buffers;
            for (auto &channel : silence)
                buffers.push_back(channel.data());
            process(buffers.data(), buffers.data() + channels_in, 64);
            start(false);
            start(true);
        }
        if (!given.save.empty())
            save(given.save);
        fprintf(stderr, "latency %u\ntail %u\n",
                v3_cpp_obj(processor)->get_latency_samples(processor),
                v3_cpp_obj(processor)->get_tail_samples(processor));
    }

    void start(bool on)
    {
        if (!on)
            v3_cpp_obj(processor)->set_processing(processor, false);
        v3_cpp_obj(component)->set_active(component, on);
        if (on)
            v3_cpp_obj(processor)->set_processing(processor, true);
    }

    void save(const std::string &path)
    {
        Stream stream;
        if (v3_cpp_obj(component)->get_state(
                component, reinterpret_cast<v3_bstream **>(&stream.self)) != V3_OK)
            fail("does not save");
        write_to(path, stream.bytes);
    }

    void load(const std::string &path)
    {
        Stream stream;
        stream.bytes = bytes_of(path);
        if (v3_cpp_obj(component)->set_state(
                component, reinterpret_cast<v3_bstream **>(&stream.self)) != V3_OK)
            fail("does not load");
    }

    void set(const std::string &name, double value)
    {
        for (size_t k = 0; k < names.size(); k++)
            if (names[k] == name) {
                turn(k, v3_cpp_obj(controller)->plain_parameter_to_normalised(controller, ids[k],
                                                                              value));
                return;
            }
        fail("no parameter " + name);
    }

    std::vector<std::string> knobs() const override { return names; }

    void turn(size_t knob, double at) override
    {
        Queue &queue = *input.queues[size_t(input.used++)];
        queue.id = ids[knob];
        queue.value = at;
    }

    bool process(float **in, float **out, uint32_t frames) override
    {
        v3_audio_bus_buffers from = {}, to = {};
        from.num_channels = int32_t(channels_in);
        from.channel_buffers_32 = in;
        to.num_channels = int32_t(channels_out);
        to.channel_buffers_32 = out;
        v3_process_data block = {};
        block.process_mode = V3_REALTIME;
        block.symbolic_sample_size = V3_SAMPLE_32;
        block.nframes = int32_t(frames);
        block.num_input_buses = channels_in ? 1 : 0;
        block.num_output_buses = 1;
        block.inputs = channels_in ? &from : nullptr;
        block.outputs = &to;
        block.input_params = reinterpret_cast<v3_param_changes **>(&input.self);
        // A host may have no list for what the plugin changes by itself.
        const v3_result result = v3_cpp_obj(processor)->process(processor, &block);
        input.used = 0;
        return result == V3_OK;
    }
};

int main(int count, char **words)
{
    const Options given = options(count, words);
    Vst3 &plugin = *new Vst3(given);
    return render(given, plugin);
}
