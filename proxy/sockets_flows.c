/* What becomes of flows, by which those connections are told that are looked into: workers say it,
 * the control thread takes it. */
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/programs.h"
#include "proxy/sockets_own.h"

void sockets_accepted(struct sockets *sockets, const struct origin *origin, struct process *process,
                      struct pod *pod)
{
    struct tracked *entry = sockets_find(sockets, origin->cookie, &origin->dst, origin->src.port);
    struct tracked like = {
        .cookie = origin->cookie,
        .src = origin->src,
        .dst = origin->dst,
        .pod = pod,
        .route = ROUTE_PROXY,
        .unheard = true,
        .began_ns = clock_read_ns(CLOCK_BOOTTIME),
    };

    if (!entry) {
        if (process)
            process = identity_flow_again(process);
        entry = sockets_track(sockets, &like, process);
        if (!entry)
            return;
        sockets_emit(sockets, entry, FLOW_EVENT_CONNECT, like.began_ns);
    }
    entry->has_flow = true;
    entry->elsewhere = false;
    if (sockets->parts.programs && entry->process)
        programs_on_flow(sockets->parts.programs, entry->process, &entry->dst);
}

void sockets_refused(struct sockets *sockets, const struct origin *origin, int error)
{
    struct tracked *entry = sockets_find(sockets, origin->cookie, &origin->dst, origin->src.port);

    if (entry)
        entry->failure = (uint16_t)-error;
}

void sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow)
{
    struct sockets_flow *done = TAKE(*flow);

    done->next = NULL;
    pthread_mutex_lock(&sockets->lock);
    *sockets->done_tail = done;
    sockets->done_tail = &done->next;
    pthread_mutex_unlock(&sockets->lock);
    eventfd_write(sockets->wake_fd, 1);
}

/* What its program's next connections follow from, while it goes on. */
static void apply_early(struct sockets *sockets, struct tracked *entry,
                        const struct sockets_flow *flow)
{
    struct programs *programs = entry->process ? sockets->parts.programs : NULL;

    if (programs && flow->http2)
        programs_on_http2(programs, entry->process);
    if (programs && flow->undecided && !entry->undecided)
        programs_on_undecided(programs, entry->process);
    entry->undecided = entry->undecided || flow->undecided;
}

static void apply(struct sockets *sockets, const struct sockets_flow *flow)
{
    struct tracked *entry = sockets_find(sockets, flow->cookie, &flow->dst, flow->src_port);

    if (!entry || entry->flow_done)
        return;
    if (flow->early) {
        apply_early(sockets, entry, flow);
        return;
    }
    entry->flow_done = !flow->goes_on;
    entry->route = flow->route;
    if (flow->visibility) { /* else it is what it was: nothing was seen of it */
        entry->visibility = flow->visibility;
        entry->opaque = flow->opaque;
    }
    entry->refused = flow->refused;
    entry->tls_spoken = flow->tls;
    entry->tls_version = flow->tls_version;
    entry->tls_cipher = flow->tls_cipher;
    if (flow->error[0])
        sockets_set_error(entry, flow->error);
    if (!entry->released) { /* until the kernel says it better */
        entry->tx = flow->tx;
        entry->rx = flow->rx;
        entry->closed_ns = clock_read_ns(CLOCK_BOOTTIME);
        if (entry->unheard && !flow->goes_on)
            sockets_release(sockets, entry);
    }
}

/* What another agent's programs do is not for this one to say. */
static void drop_early(struct sockets_flow **at)
{
    while (*at) {
        struct sockets_flow *flow = *at;

        if (!flow->early) {
            at = &flow->next;
            continue;
        }
        *at = flow->next;
        free(flow);
    }
}

void sockets_take_done(struct sockets *sockets)
{
    struct sockets_flow *done;
    eventfd_t count;

    eventfd_read(sockets->wake_fd, &count);
    pthread_mutex_lock(&sockets->lock);
    done = sockets->done;
    sockets->done = NULL;
    sockets->done_tail = &sockets->done;
    pthread_mutex_unlock(&sockets->lock);
    if (sockets->pass_on)
        drop_early(&done);
    if (done && sockets->pass_on)
        sockets->pass_on(sockets->pass_on_arg, done);
    while (done) {
        struct sockets_flow *next = done->next;

        if (!sockets->pass_on)
            apply(sockets, done);
        free(done);
        done = next;
    }
}

void sockets_retire(struct sockets *sockets,
                    void (*pass_on)(void *arg, const struct sockets_flow *flows), void *arg)
{
    sockets->pass_on = pass_on;
    sockets->pass_on_arg = arg;
}

void sockets_heard(struct sockets *sockets, uint64_t until_ns)
{
    sockets->said_ns = until_ns;
}

uint64_t sockets_heard_until(const struct sockets *sockets)
{
    return sockets->heard_ns;
}
