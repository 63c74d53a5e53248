/* programs_tell: what `status` and the metrics show of programs. */
#include <bpf/bpf.h>
#include <stdio.h>

#include "bpf/abi.h"
#include "proxy/kernel/programs_own.h"
#include "proxy/pods/pods.h"
#include "proxy/telemetry/status.h"

enum { SHOWN_MAX = 256 };

static uint32_t route_flags(const struct programs *programs)
{
    uint32_t zero = 0, flags = 0;

    bpf_map_lookup_elem(programs->route_fd, &zero, &flags);
    return flags;
}

/* Which route its next connections take, where no policy says, and why. */
static const char *why(const struct programs *programs, const struct known *known,
                       enum policy_route *route)
{
    *route = pods_route(programs->parts.pods, known->pod);
    if (*route != POLICY_ROUTE_AUTO)
        return "by setting of the pod";
    *route = POLICY_ROUTE_PROXY;
    if (!known->facts.tx)
        return "it encrypts by itself";
    if (!(route_flags(programs) & ABI_ROUTE_KTLS))
        return "the kernel's kTLS cannot be both read and denied here";
    if (!known->use.bypasses)
        return "connections of it in the kernel were not read, or not decided";
    *route = POLICY_ROUTE_KERNEL;
    return known->http2 ? "the kernel encrypts for it; where rules judge requests, the proxy, for "
                          "it speaks HTTP/2"
                        : "the kernel encrypts for it";
}

/* "tx", "tx rx", "off" */
static const char *directions(const struct program_facts *facts)
{
    if (facts->tx)
        return facts->rx ? "tx rx" : "tx";
    return facts->rx ? "rx" : "off";
}

static json_t *row_of(const struct programs *programs, const struct known *known)
{
    const struct pod *pod = pods_find(programs->parts.pods, known->pod);
    const char *sent = program_why_not_sent(&known->facts);
    const char *received = program_why_not_received(&known->facts);
    enum policy_route route;
    const char *because = why(programs, known, &route);
    char name[512] = "-";
    json_t *row = json_object();

    if (pod && pod->name[0])
        snprintf(name, sizeof(name), "%s%s%s", pod->space, pod->space[0] ? "/" : "", pod->name);
    status_add_text(row, "pod", name);
    status_add_text(row, "program", known->path);
    status_add_text(row, "ktls", directions(&known->facts));
    json_object_set_new(row, "capable", json_boolean(program_is_capable(&known->facts)));
    status_add_text(row, "not_sent", sent);
    status_add_text(row, "not_received", received && (!sent || received != sent) ? received : NULL);
    status_add_text(row, "route", policy_route_name(route));
    status_add_text(row, "why", because);
    return row;
}

void programs_tell(void *arg, json_t *answer)
{
    const struct programs *programs = arg;
    json_t *rows = json_array();
    size_t more = 0;

    for (const struct known *known = programs->first; rows && known; known = known->next) {
        if (!known->facts.tx && !known->facts.rx && !known->tls)
            continue; /* what it said was not TLS, or not ours to end */
        if (json_array_size(rows) < SHOWN_MAX)
            json_array_append_new(rows, row_of(programs, known));
        else
            more++;
    }
    json_object_set_new(answer, "programs", rows);
    if (more)
        json_object_set_new(answer, "programs_not_shown", json_integer((json_int_t)more));
}

void programs_stats(const struct programs *programs, struct programs_stats *stats)
{
    *stats = (struct programs_stats){0};
    for (const struct known *known = programs->first; known; known = known->next) {
        stats->ktls += known->facts.tx;
        stats->bypasses += known->use.bypasses;
    }
}
