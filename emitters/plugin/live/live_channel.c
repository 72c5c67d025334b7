/* The channel from a training: checks that nobody else can write there, and reads. */
#define _GNU_SOURCE
#include "live_channel.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "live_sha256.h"

#define VERSION 1u
#define LARGEST_LIBRARY (1 << 26) /* bytes */
#define TRIES 64

/* The mapped file; adac_jax/live/channel.py writes it. `sequence` is odd while the rest is being
 * written; `check` is the CRC-32 of what comes after it. */
typedef struct {
    char magic[8];
    uint32_t version, room; /* numbers that there is room for */
    _Atomic uint64_t sequence;
    uint32_t open, check;
    unsigned char id[LIVE_ID];
    double rate;
    uint64_t step;
    uint32_t count, padding;
    float values[];
} mapped;

#define CHECKED offsetof(mapped, id)

struct live_channel {
    int file; /* -1: not open */
    mapped *memory;
    size_t size;
    dev_t device;
    ino_t number;
    uint64_t seen;
};

live_channel *live_channel_create(void)
{
    live_channel *channel = (live_channel *)calloc(1, sizeof(live_channel));
    if (channel != NULL)
        channel->file = -1;
    return channel;
}

static void leave(live_channel *channel)
{
    if (channel->memory != NULL)
        munmap(channel->memory, channel->size);
    if (channel->file >= 0)
        close(channel->file);
    channel->memory = NULL;
    channel->file = -1;
    channel->seen = 0;
}

void live_channel_destroy(live_channel *channel)
{
    if (channel == NULL)
        return;
    leave(channel);
    free(channel);
}

/* The user's alone: what somebody else owns, or could write or read, is refused. */
static int is_private(int file, mode_t kind, const char *what, char *why, size_t size)
{
    struct stat found;
    if (fstat(file, &found) != 0 || (found.st_mode & S_IFMT) != kind)
        snprintf(why, size, "%s is not what it should be", what);
    else if (found.st_uid != geteuid())
        snprintf(why, size, "%s belongs to somebody else", what);
    else if ((found.st_mode & 077) != 0)
        snprintf(why, size, "%s is open to others (mode %03o): chmod go= it", what,
                 (unsigned)found.st_mode & 0777);
    else
        return 1;
    return 0;
}

/* The folder, opened; -1: it is not there, -2: it may not be used. */
static int folder(const char *inside, char *why, size_t size)
{
    const char *own = getenv("ADAC_JAX_LIVE"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char path[4096];
    int length, found;
    if (own != NULL && own[0] == '/')
        length = snprintf(path, sizeof path, "%s", own);
    else if (cache != NULL && cache[0] == '/')
        length = snprintf(path, sizeof path, "%s/adac_jax/live", cache);
    else if (home != NULL && home[0] == '/')
        length = snprintf(path, sizeof path, "%s/.cache/adac_jax/live", home);
    else
        return -1;
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    found = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (found < 0 && errno == ENOENT)
        return -1;
    if (found < 0) {
        snprintf(why, size, "%s is no folder, or a link to one", path);
        return -2;
    }
    if (!is_private(found, S_IFDIR, path, why, size)) {
        close(found);
        return -2;
    }
    if (inside != NULL) {
        int inner = openat(found, inside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(found);
        if (inner < 0)
            return -1;
        if (!is_private(inner, S_IFDIR, inside, why, size)) {
            close(inner);
            return -2;
        }
        found = inner;
    }
    return found;
}

/* A training holds a lock on its file as long as it lives. */
static int is_held(int file)
{
    if (flock(file, LOCK_SH | LOCK_NB) != 0)
        return errno == EWOULDBLOCK;
    flock(file, LOCK_UN);
    return 0;
}

static int enter(live_channel *channel, int file, const struct stat *found)
{
    mapped *memory;
    if (found->st_size < (off_t)sizeof(mapped) || found->st_size > (off_t)1 << 30)
        return 0;
    memory = (mapped *)mmap(NULL, (size_t)found->st_size, PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        return 0;
    if (memcmp(memory->magic, "ADACLIVE", 8) != 0 || memory->version != VERSION ||
        memory->room > LIVE_NUMBERS ||
        (size_t)found->st_size < sizeof(mapped) + sizeof(float) * (size_t)memory->room) {
        munmap(memory, (size_t)found->st_size);
        return 0;
    }
    leave(channel);
    channel->file = file;
    channel->memory = memory;
    channel->size = (size_t)found->st_size;
    channel->device = found->st_dev;
    channel->number = found->st_ino;
    return 1;
}

int live_channel_look(live_channel *channel, char *why, size_t size)
{
    struct stat found;
    int inside = folder(NULL, why, size), file;
    if (inside < 0)
        return inside == -2 ? -1 : 0;
    file = openat(inside, "channel", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    close(inside);
    if (file < 0)
        return 0;
    if (!is_private(file, S_IFREG, "the channel's file", why, size)) {
        close(file);
        return -1;
    }
    if (fstat(file, &found) == 0 && is_held(file)) {
        if (channel->memory != NULL && channel->device == found.st_dev &&
            channel->number == found.st_ino) {
            close(file);
            return channel->memory->open != 0;
        }
        if (enter(channel, file, &found))
            return channel->memory->open != 0;
    }
    close(file);
    return 0;
}

int live_channel_is_new(const live_channel *channel)
{
    return channel->memory != NULL &&
           atomic_load_explicit(&channel->memory->sequence, memory_order_acquire) != channel->seen;
}

void live_channel_again(live_channel *channel) { channel->seen = 0; }

int live_channel_read(live_channel *channel, live_model *model)
{
    const mapped *memory = channel->memory;
    static const size_t head = offsetof(mapped, values) - CHECKED;
    unsigned char *bytes;
    int k, good = 0;
    if (memory == NULL)
        return 0;
    bytes = (unsigned char *)malloc(head + sizeof(float) * memory->room);
    for (k = 0; bytes != NULL && k < TRIES && !good; k++) {
        uint64_t before = atomic_load_explicit(&memory->sequence, memory_order_acquire);
        uint32_t count = memory->count, check = memory->check;
        if (before % 2 != 0 || before == 0 || count > memory->room)
            continue;
        memcpy(bytes, (const unsigned char *)memory + CHECKED, head + sizeof(float) * count);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&memory->sequence, memory_order_relaxed) != before)
            continue;
        /* The writer's processor may not order what it stores: the sum tells. */
        if (live_crc32(bytes, head + sizeof(float) * count) != check)
            continue;
        memcpy(model->id, bytes, LIVE_ID);
        memcpy(&model->rate, bytes + LIVE_ID, sizeof(double));
        memcpy(model->values, bytes + head, sizeof(float) * count);
        model->count = count;
        channel->seen = before;
        good = 1;
    }
    free(bytes);
    return good;
}

static int is_sound(const live_form *form)
{
    return form != NULL && form->abi == LIVE_FORM_ABI && form->inputs <= LIVE_CHANNELS &&
           form->outputs >= 1 && form->outputs <= LIVE_CHANNELS && form->count <= LIVE_NUMBERS;
}

/* Whether the file has the bytes of which its name is the sum. */
static int is_whole(int file, const unsigned char *id)
{
    struct stat about;
    unsigned char sum[LIVE_ID];
    void *bytes;
    if (fstat(file, &about) != 0 || about.st_size <= 0 || about.st_size > LARGEST_LIBRARY)
        return 0;
    bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        return 0;
    live_sha256((const unsigned char *)bytes, (size_t)about.st_size, sum);
    munmap(bytes, (size_t)about.st_size);
    return memcmp(sum, id, LIVE_ID) == 0;
}

const live_form *live_channel_form(const unsigned char *id, void **library, char *why, size_t size)
{
    const live_form *form = NULL;
    char name[2 * LIVE_ID + 4], path[64 + sizeof name];
    int inside, file;
    uint32_t k;
    *library = NULL;
    for (k = 0; k < LIVE_ID; k++)
        snprintf(name + 2 * k, 3, "%02x", id[k]);
    memcpy(name + 2 * LIVE_ID, ".so", 4);
    snprintf(why, size, "its form %.12s is not on this machine any more", name);
    inside = folder("forms", why, size);
    if (inside < 0)
        return NULL;
    file = openat(inside, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file >= 0 && is_private(file, S_IFREG, "the form's file", why, size)) {
        if (is_whole(file, id)) {
            /* Through the folder that was checked. The name is never another library's, which
             * the loader would take for this one. */
            snprintf(path, sizeof path, "/proc/self/fd/%d/%s", inside, name);
            *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (*library != NULL)
                form = (const live_form *)dlsym(*library, "adac_jax_live_form");
            if (*library == NULL || !is_sound(form)) {
                snprintf(why, size, "its form %.12s cannot be loaded: %s", name,
                         *library == NULL ? dlerror() : "it is not one of this version");
                if (*library != NULL)
                    dlclose(*library);
                *library = NULL;
                form = NULL;
            }
        } else {
            snprintf(why, size, "its form %.12s is broken", name);
        }
    }
    if (file >= 0)
        close(file);
    close(inside);
    return form;
}
