// A small CLAP host, written against CLAP's own headers. It checks what it is told as it goes.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>

#include "clap/entry.h"
#include "clap/ext/audio-ports.h"
#include "clap/ext/latency.h"
#include "clap/ext/params.h"
#include "clap/ext/state.h"
#include "clap/plugin-factory.h"

#include "host.hpp"

static const void *host_extension(const clap_host_t *, const char *) { return nullptr; }
static void host_request(const clap_host_t *) {}
static const clap_host_t host = {
    CLAP_VERSION_INIT, nullptr, "tests", "adac_jax", "",          "1.0",
    host_extension,    host_request, host_request, host_request};

struct Tail {
    uint32_t(CLAP_ABI *get)(const clap_plugin_t *);
};

struct Events { // value changes for the next block
    std::vector<clap_event_param_value_t> list;
};

static uint32_t CLAP_ABI events_size(const clap_input_events_t *events)
{
    return uint32_t(static_cast<Events *>(events->ctx)->list.size());
}
static const clap_event_header_t *CLAP_ABI events_get(const clap_input_events_t *events, uint32_t i)
{
    return &static_cast<Events *>(events->ctx)->list[i].header;
}
static bool CLAP_ABI events_push(const clap_output_events_t *, const clap_event_header_t *)
{
    return true;
}

static int64_t CLAP_ABI stream_write(const clap_ostream_t *stream, const void *data, uint64_t size)
{
    auto &bytes = *static_cast<std::vector<char> *>(stream->ctx);
    const char *from = static_cast<const char *>(data);
    const uint64_t some = std::min<uint64_t>(size, 5); // a host may take little at a time
    bytes.insert(bytes.end(), from, from + some);
    return int64_t(some);
}

struct Reader {
    std::vector<char> bytes;
    size_t at = 0;
};
static int64_t CLAP_ABI stream_read(const clap_istream_t *stream, void *data, uint64_t size)
{
    auto &reader = *static_cast<Reader *>(stream->ctx);
    const size_t some = std::min<size_t>({size_t(size), reader.bytes.size() - reader.at, 7});
    memcpy(data, reader.bytes.data() + reader.at, some);
    reader.at += some;
    return int64_t(some);
}

struct Clap : Plugin {
    const clap_plugin_t *plugin = nullptr;
    const clap_plugin_params_t *params = nullptr;
    std::vector<clap_param_info_t> infos;
    Events events;
    size_t channels_in, channels_out;
    uint32_t late;
    bool endless = false;

    explicit Clap(const Options &given)
        : channels_in(given.inputs), channels_out(given.outputs), late(given.late)
    {
        void *library = dlopen(given.plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr)
            fail(dlerror());
        const auto *entry = static_cast<clap_plugin_entry_t *>(dlsym(library, "clap_entry"));
        if (entry == nullptr || !entry->init(given.plugin.c_str()))
            fail("no entry");
        const auto *factory =
            static_cast<const clap_plugin_factory_t *>(entry->get_factory(CLAP_PLUGIN_FACTORY_ID));
        if (factory->get_plugin_count(factory) != 1)
            fail("not one plugin");
        const clap_plugin_descriptor_t *about = factory->get_plugin_descriptor(factory, 0);
        fprintf(stderr, "id %s\nname %s\nvendor %s\nversion %s\n", about->id, about->name,
                about->vendor, about->version);
        if (factory->create_plugin(factory, &host, "nobody") != nullptr)
            fail("made what is not there");
        plugin = factory->create_plugin(factory, &host, about->id);
        if (plugin == nullptr || !plugin->init(plugin))
            fail("no plugin");
        ports(true, given.inputs);
        ports(false, given.outputs);
        params = extension<clap_plugin_params_t>(CLAP_EXT_PARAMS);
        for (uint32_t i = 0; i < params->count(plugin); i++) {
            clap_param_info_t info;
            char text[100];
            double value, again;
            if (!params->get_info(plugin, i, &info) ||
                !params->get_value(plugin, info.id, &value) || value != info.default_value)
                fail("a parameter is not at its default");
            if (!params->value_to_text(plugin, info.id, value, text, sizeof text) ||
                !params->text_to_value(plugin, info.id, text, &again) ||
                std::fabs(again - value) > 1e-5 * (info.max_value - info.min_value))
                fail("a parameter's text is not its value");
            infos.push_back(info);
            fprintf(stderr, "parameter %s %u %.9g %.9g %.9g %s\n", info.name, info.id,
                    info.min_value, info.max_value, info.default_value, text);
        }
        if (!given.load.empty())
            load(given.load);
        for (const auto &pair : given.set)
            set(pair.first, std::to_string(pair.second));
        if (!given.save.empty())
            save(given.save);
        if (!plugin->activate(plugin, given.rate, 1, 8192))
            fail("does not activate");
        const uint32_t tail = extension<Tail>("clap.tail")->get(plugin);
        endless = tail >= uint32_t(INT32_MAX);
        fprintf(stderr, "latency %u\ntail %u\n",
                extension<clap_plugin_latency_t>(CLAP_EXT_LATENCY)->get(plugin), tail);
        if (!plugin->start_processing(plugin))
            fail("does not start");
    }

    template <class T> const T *extension(const char *id) const
    {
        const auto *found = static_cast<const T *>(plugin->get_extension(plugin, id));
        if (found == nullptr)
            fail(std::string("no extension ") + id);
        return found;
    }

    void ports(bool is_input, size_t channels) const
    {
        const auto *ports = extension<clap_plugin_audio_ports_t>(CLAP_EXT_AUDIO_PORTS);
        clap_audio_port_info_t info;
        size_t found = 0;
        for (uint32_t i = 0; i < ports->count(plugin, is_input); i++)
            if (ports->get(plugin, i, is_input, &info))
                found += info.channel_count;
        if (found != channels)
            fail("other channels than were said");
    }

    void set(const std::string &name, const std::string &text)
    {
        for (const auto &info : infos)
            if (name == info.name) {
                double value;
                if (!params->text_to_value(plugin, info.id, text.c_str(), &value))
                    fail("no such value");
                push(info, value);
                flush();
                return;
            }
        fail("no parameter " + name);
    }

    void push(const clap_param_info_t &info, double value, uint32_t time = 0)
    {
        clap_event_param_value_t event = {};
        event.header = {sizeof event, time, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0};
        event.param_id = info.id;
        event.note_id = event.port_index = event.channel = event.key = -1;
        event.value = value;
        events.list.push_back(event);
    }

    void flush()
    {
        const clap_input_events_t in = {&events, events_size, events_get};
        const clap_output_events_t out = {nullptr, events_push};
        params->flush(plugin, &in, &out);
        events.list.clear();
    }

    void save(const std::string &path)
    {
        std::vector<char> bytes;
        const clap_ostream_t stream = {&bytes, stream_write};
        if (!extension<clap_plugin_state_t>(CLAP_EXT_STATE)->save(plugin, &stream))
            fail("does not save");
        write_to(path, bytes);
    }

    void load(const std::string &path)
    {
        Reader reader{bytes_of(path)};
        const clap_istream_t stream = {&reader, stream_read};
        if (!extension<clap_plugin_state_t>(CLAP_EXT_STATE)->load(plugin, &stream))
            fail("does not load");
        for (const auto &info : infos) {
            double value;
            params->get_value(plugin, info.id, &value);
            fprintf(stderr, "loaded %s %.17g\n", info.name, value);
        }
    }

    std::vector<std::string> knobs() const override
    {
        std::vector<std::string> names;
        for (const auto &info : infos)
            names.push_back(info.name);
        events_reserve();
        return names;
    }

    void events_reserve() const { const_cast<Events &>(events).list.reserve(infos.size() + 1); }

    void turn(size_t knob, double at) override
    {
        const auto &info = infos[knob];
        push(info, info.min_value + at * (info.max_value - info.min_value), late);
    }

    bool process(float **in, float **out, uint32_t frames) override
    {
        const clap_input_events_t changes = {&events, events_size, events_get};
        const clap_output_events_t ignored = {nullptr, events_push};
        clap_audio_buffer_t from = {in, nullptr, uint32_t(channels_in), 0, 0};
        clap_audio_buffer_t to = {out, nullptr, uint32_t(channels_out), 0, 0};
        clap_process_t block = {};
        block.steady_time = -1;
        block.frames_count = frames;
        block.audio_inputs = channels_in ? &from : nullptr;
        block.audio_outputs = &to;
        block.audio_inputs_count = channels_in ? 1 : 0;
        block.audio_outputs_count = 1;
        block.in_events = &changes;
        block.out_events = &ignored;
        const clap_process_status status = plugin->process(plugin, &block);
        events.list.clear();
        return status == (endless ? CLAP_PROCESS_CONTINUE : CLAP_PROCESS_TAIL);
    }

    ~Clap() override
    {
        plugin->stop_processing(plugin);
        plugin->deactivate(plugin);
        plugin->destroy(plugin);
    }
};

int main(int count, char **words)
{
    const Options given = options(count, words);
    Clap plugin(given);
    return render(given, plugin);
}
