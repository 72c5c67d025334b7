/* ALSA's sequencer that nothing comes from: Qtractor does not start without one, and machines
 * without sound have none. To be loaded before it (LD_PRELOAD). */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static int ends[2] = {-1, -1};
static long sequencer[64];

int snd_seq_open(void **made, const char *name, int streams, int mode)
{
    (void)name, (void)streams, (void)mode;
    if (ends[0] < 0 && pipe(ends) != 0)
        return -errno;
    *made = sequencer;
    return 0;
}

int snd_seq_poll_descriptors(void *seq, struct pollfd *found, unsigned room, short events)
{
    (void)seq, (void)events;
    if (room > 0) {
        found->fd = ends[0];
        found->events = POLLIN;
        found->revents = 0;
    }
    return room > 0;
}

int snd_seq_poll_descriptors_count(void *seq, short events) { return (void)seq, (void)events, 1; }
int snd_seq_client_id(void *seq) { return (void)seq, 128; }
int snd_seq_event_input(void *seq, void **event) { return (void)seq, *event = 0, -EAGAIN; }

#define DONE(name) int name(void) { return 0; }
#define NOBODY(name) int name(void) { return -ENOENT; }
DONE(snd_seq_alloc_queue)
DONE(snd_seq_close)
DONE(snd_seq_control_queue)
DONE(snd_seq_create_simple_port)
DONE(snd_seq_delete_simple_port)
DONE(snd_seq_drain_output)
DONE(snd_seq_drop_input)
DONE(snd_seq_drop_output)
DONE(snd_seq_event_input_pending)
DONE(snd_seq_event_output)
DONE(snd_seq_event_output_direct)
DONE(snd_seq_free_queue)
DONE(snd_seq_get_port_info)
DONE(snd_seq_get_queue_status)
DONE(snd_seq_get_queue_tempo)
DONE(snd_seq_remove_events)
DONE(snd_seq_set_client_name)
DONE(snd_seq_set_port_info)
DONE(snd_seq_set_queue_tempo)
DONE(snd_seq_set_queue_timer)
DONE(snd_seq_subscribe_port)
DONE(snd_seq_unsubscribe_port)
NOBODY(snd_seq_get_any_client_info)
NOBODY(snd_seq_get_any_port_info)
NOBODY(snd_seq_query_next_client)
NOBODY(snd_seq_query_next_port)
NOBODY(snd_seq_query_port_subscribers)
