/* here: which addresses are this very host's. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/maps.h"
#include "bpf/steer.h"

static __always_inline bool is_own(__u64 netns_cookie, const struct ip *ip)
{
    struct abi_own key = {.netns_cookie = netns_cookie};

    ip_store(key.ip, ip);
    return bpf_map_lookup_elem(&own, &key);
}

static __always_inline bool is_here(__u64 netns_cookie, const struct ip *ip)
{
    return ip_is_loopback(ip) || is_own(netns_cookie, ip);
}
