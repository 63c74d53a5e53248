/* What exchanges of datagrams begin with, told of them. */
#include <string.h>

#include "bpf/abi.h"
#include "proxy/handshakes/handshakes.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets_own.h"

void sockets_on_datagram(void *arg, const struct abi_datagram *record)
{
    struct sockets *sockets = arg;
    struct addr dst = {.port = record->dst_port};
    struct handshakes_who who = {.src.port = record->src_port};
    struct handshakes_told told;
    struct tracked *entry;

    if (!sockets->parts.handshakes)
        return;
    memcpy(dst.ip, record->dst, sizeof(dst.ip));
    entry = sockets_find(sockets, record->cookie, &dst, record->src_port);
    if (!entry)
        return; /* its connect was lost, and told as that */
    who = (struct handshakes_who){entry->process, entry->pod, entry->src};
    handshakes_on_datagram(sockets->parts.handshakes, record, &who, &told);
    if (told.opaque)
        entry->visibility = VISIBILITY_OPAQUE;
    if (told.said[0])
        sockets_set_error(entry, told.said);
}
