// What the small hosts of the tests share: options, audio, and a guard round the audio thread.
//
//   HOST PLUGIN --rate HZ --inputs N --outputs N --blocks 1,37,4096 [--set NAME=VALUE]…
//        [--turn [--late FRAMES]] [--strict] [--pace] [--in-place] [--load FILE] [--save FILE]
//        < in.f32 > out.f32
//
// Audio is interleaved float32. --set comes before the plugin is activated. --turn turns all knobs
// at each block, where the format can so many frames into it. --strict: from the first block on, a call of an allocator or of a mutex ends the
// process with a message, and the kernel ends it at any system call but write and exit (seccomp's
// strict mode); audio has a thread of its own then, and a plugin's other threads go on. --pace: no
// faster than real time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <atomic>
#include <thread>

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <locale.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static thread_local bool armed = false;
static int ended = -1; // how the audio thread did; negative: the kernel ended it

static void forbid(const char *what)
{
    if (!armed)
        return;
    (void)!write(2, what, strlen(what));
    (void)!write(2, " in the audio thread\n", 21);
    ended = 9;
    syscall(SYS_exit, 9);
}

// The program's own functions come before the C library's, for what it loads too (-rdynamic).
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
void *malloc(size_t size) { return forbid("malloc"), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return forbid("calloc"), __libc_calloc(n, size); }
void *realloc(void *at, size_t size) { return forbid("realloc"), __libc_realloc(at, size); }
void *memalign(size_t to, size_t size) { return forbid("memalign"), __libc_memalign(to, size); }
void *aligned_alloc(size_t to, size_t size) { return memalign(to, size); }
int posix_memalign(void **at, size_t to, size_t size)
{
    *at = memalign(to, size);
    return *at == nullptr ? ENOMEM : 0;
}
void free(void *at)
{
    forbid("free");
    __libc_free(at);
}
using Lock = int (*)(pthread_mutex_t *);
static Lock real_lock, real_trylock, real_unlock;
int pthread_mutex_lock(pthread_mutex_t *at) noexcept
{
    return forbid("pthread_mutex_lock"), real_lock ? real_lock(at) : 0;
}
int pthread_mutex_trylock(pthread_mutex_t *at) noexcept
{
    return forbid("a mutex"), real_trylock ? real_trylock(at) : 0;
}
int pthread_mutex_unlock(pthread_mutex_t *at) noexcept
{
    return forbid("a mutex"), real_unlock ? real_unlock(at) : 0;
}
}

// Before there is a second thread, a lock need not hold.
__attribute__((constructor)) static void find_locks()
{
    real_unlock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_unlock"));
    real_trylock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_trylock"));
    real_lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
}

struct Options {
    std::string plugin, load, save;
    double rate = 48000;
    size_t inputs = 2, outputs = 2;
    std::vector<uint32_t> blocks = {64};
    std::vector<std::pair<std::string, double>> set;
    uint32_t late = 0;
    bool turn = false, strict = false, pace = false, in_place = false;
};

[[noreturn]] static void fail(const std::string &why)
{
    fprintf(stderr, "%s\n", why.c_str());
    exit(1);
}

static Options options(int count, char **words)
{
    Options found;
    for (int i = 1; i < count; i++) {
        const std::string word = words[i];
        const auto value = [&] { return ++i < count ? words[i] : (fail(word), ""); };
        if (word == "--rate")
            found.rate = atof(value());
        else if (word == "--inputs")
            found.inputs = strtoul(value(), nullptr, 10);
        else if (word == "--outputs")
            found.outputs = strtoul(value(), nullptr, 10);
        else if (word == "--blocks") {
            found.blocks.clear();
            for (const char *at = value(); *at; at += *at == ',')
                found.blocks.push_back(strtoul(at, const_cast<char **>(&at), 10));
        } else if (word == "--set") {
            const std::string text = value();
            const size_t mark = text.rfind('=');
            found.set.emplace_back(text.substr(0, mark), atof(text.c_str() + mark + 1));
        } else if (word == "--late")
            found.late = uint32_t(strtoul(value(), nullptr, 10));
        else if (word == "--load")
            found.load = value();
        else if (word == "--save")
            found.save = value();
        else if (word == "--turn")
            found.turn = true;
        else if (word == "--strict")
            found.strict = true;
        else if (word == "--pace")
            found.pace = true;
        else if (word == "--in-place")
            found.in_place = true;
        else
            found.plugin = word;
    }
    setlocale(LC_ALL, ""); // as workstations do: some write numbers with a comma
    return found;
}

[[maybe_unused]] static std::vector<char> bytes_of(const std::string &path)
{
    std::vector<char> found;
    FILE *file = fopen(path.c_str(), "rb");
    if (file == nullptr)
        fail("no file " + path);
    for (int c; (c = fgetc(file)) != EOF;)
        found.push_back(char(c));
    fclose(file);
    return found;
}

[[maybe_unused]] static void write_to(const std::string &path, const std::vector<char> &bytes)
{
    FILE *file = fopen(path.c_str(), "wb");
    if (file == nullptr || fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size())
        fail("cannot write " + path);
    fclose(file);
}

static bool write_all(const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t count = write(1, static_cast<const char *>(data) + done, size - done);
        if (count <= 0)
            return false;
        done += size_t(count);
    }
    return true;
}

// Of a format: a plugin that is loaded, activated and ready.
struct Plugin {
    virtual ~Plugin() = default;
    virtual std::vector<std::string> knobs() const = 0;
    // `at` is a position, from 0 to 1 of the range, of the next block on.
    virtual void turn(size_t knob, double at) = 0;
    virtual bool process(float **in, float **out, uint32_t frames) = 0;
};

static int render(const Options &given, Plugin &plugin)
{
    std::vector<float> audio;
    float buffer[4096];
    for (size_t count; (count = fread(buffer, sizeof(float), 4096, stdin)) > 0;)
        audio.insert(audio.end(), buffer, buffer + count);
    // Of a plugin without inputs, silence says how long to go on.
    const size_t width = given.inputs ? given.inputs : 1, frames = audio.size() / width;
    std::vector<std::vector<float>> in(given.inputs, std::vector<float>(frames));
    for (size_t t = 0; t < frames; t++)
        for (size_t c = 0; c < given.inputs; c++)
            in[c][t] = audio[t * width + c];
    std::vector<std::vector<float>> out(given.outputs, std::vector<float>(frames));
    std::vector<float *> from(given.inputs + 1), to(given.outputs + 1);
    std::vector<float> result(frames * given.outputs);
    const size_t knobs = plugin.knobs().size();
    const size_t shared = given.in_place ? std::min(given.inputs, given.outputs) : 0;
    uint32_t seed = 1;
    bool good = true;

    // Under the guard no clock can be read: another thread tells the time.
    static std::atomic<double> seconds{0};
    if (given.pace)
        std::thread([] {
            timespec pause = {0, 500000}, begun, now;
            clock_gettime(CLOCK_MONOTONIC, &begun);
            for (;;) {
                clock_gettime(CLOCK_MONOTONIC, &now);
                seconds = double(now.tv_sec - begun.tv_sec) +
                          1e-9 * double(now.tv_nsec - begun.tv_nsec);
                nanosleep(&pause, nullptr);
            }
        }).detach();
    const auto play = [&] {
        for (size_t start = 0, turn = 0; start < frames && good; turn++) {
            const size_t block = given.blocks[turn % given.blocks.size()];
            const size_t count = std::min(block, frames - start);
            for (size_t c = 0; c < given.inputs; c++)
                from[c] = in[c].data() + start;
            for (size_t c = 0; c < given.outputs; c++)
                // Crossed, so that a channel that is written early is another's input.
                to[c] = c < shared ? in[shared - 1 - c].data() + start : out[c].data() + start;
            for (size_t k = 0; k < knobs && given.turn; k++) {
                seed = seed * 1664525u + 1013904223u;
                plugin.turn(k, (seed >> 8) / double(1 << 24));
            }
            good = plugin.process(from.data(), to.data(), uint32_t(count));
            for (size_t c = 0; c < given.outputs; c++)
                memmove(out[c].data() + start, to[c], count * sizeof(float));
            start += count;
            while (given.pace && seconds.load() < double(start) / given.rate)
                ;
        }
    };
    if (given.strict) {
        std::thread audio([&] {
            if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
                fail("the kernel has no strict mode");
            armed = true;
            play();
            ended = 0;
            syscall(SYS_exit, 0); // and nothing else: the kernel is watching
        });
        audio.join();
        if (ended < 0)
            raise(SIGKILL);
        if (ended > 0)
            _exit(ended);
    } else {
        play();
    }
    for (size_t t = 0; t < frames; t++)
        for (size_t c = 0; c < given.outputs; c++)
            result[t * given.outputs + c] = out[c][t];
    good = write_all(result.data(), result.size() * sizeof(float)) && good;
    if (given.strict)
        _exit(good ? 0 : 1);
    return good ? 0 : 1;
}
