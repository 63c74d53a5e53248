/* ending: connections that are to end before these programs go: of which something may not leave,
 * for what is held back here would leave with them. The agent ends those at once, which here cannot
 * be done in every state of a socket; and before a pod, or these programs, go, what rules judge and
 * nobody has open any more, if it did not send all yet. */
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/maps.h"
#include "bpf/socket.h"

/* Something that it sent is held back. */
static __always_inline void end_held(const struct abi_origin *origin)
{
    struct abi_ending ending = {
        .netns_cookie = origin->netns_cookie, .pod = origin->pod, .held = true};
    struct abi_socket *record;

    bpf_map_update_elem(&endings, &origin->cookie, &ending, BPF_ANY);
    record = begin_record(ABI_SOCKET_HELD, origin);
    if (!record)
        return;
    __builtin_memset(record->src, 0, sizeof(record->src));
    record->src_port = 0;
    record->protocol = IPPROTO_TCP;
    record->tx = record->rx = 0;
    bpf_ringbuf_submit(record, 0);
}

/* Nobody has it open; what it sends may still be on its way. */
static __always_inline void end_left(const struct abi_origin *origin)
{
    struct abi_ending ending = {.netns_cookie = origin->netns_cookie, .pod = origin->pod};

    bpf_map_update_elem(&endings, &origin->cookie, &ending, BPF_NOEXIST);
}

static __always_inline void has_ended(const struct abi_origin *origin)
{
    bpf_map_delete_elem(&endings, &origin->cookie);
}
