/* rules: who goes where, in the words of a pod's rules: the key by which judge.h and spelling.h
 * look up what those say.
 *
 * Written down by proxy/enforce/kernel_rules.c. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/maps.h"

/* Which of the kinds of programs that these rules tell apart; negative: nobody knows. */
static __always_inline long who_is(__u32 id, const struct abi_rules *rules,
                                   const struct abi_origin *origin)
{
    struct abi_life life = {.pid = origin->pid, .start_ns = origin->start_ns};
    struct abi_who key = {.rules = id};
    const struct abi_image *image;
    const __u32 *who;

    if (!rules->binaries)
        return 0;
    image = bpf_map_lookup_elem(&policy_images, &life);
    if (!image)
        return -1;
    key.binaries = (image->own & rules->binaries) | (image->above & rules->family);
    who = bpf_map_lookup_elem(&policy_whos, &key);
    return who ? *who & 0xffff : -1;
}

/* What class of destination it is, by the names that hold at this time; negative: nobody knows. */
static __always_inline __s64 class_of(__u32 id, const struct abi_rules *rules,
                                      const struct abi_origin *origin, __u64 at_ns)
{
    struct abi_resolved name = {.pod = origin->pod, .rules = id};
    struct abi_prefix prefix = {.bits = 32 + 128, .rules = id};
    const struct abi_class *resolved;
    const __u32 *class;

    __builtin_memcpy(name.ip, origin->ip, sizeof(name.ip));
    __builtin_memcpy(prefix.ip, origin->ip, sizeof(prefix.ip));
    if (rules->flags & ABI_RULES_NAMES) {
        resolved = bpf_map_lookup_elem(&policy_names, &name);
        for (int i = 0; resolved && i < ABI_CLASSES; i++)
            if (at_ns < resolved->by[i].until_ns)
                return resolved->by[i].class;
    }
    class = bpf_map_lookup_elem(&policy_nets, &prefix);
    return class ? *class : -1;
}

/* at_ns: by which names; see policy_names. False: it was not written down, the agent decides. For
 * the verifier a function of its own, as find_place() is. */
__weak __noinline bool find_where(__u32 id, const struct abi_origin *origin, __u32 protocol,
                                  __u64 at_ns, struct abi_where *out)
{
    const struct abi_rules *rules = bpf_map_lookup_elem(&policy_rules, &id);
    struct abi_where where = {.bits = ABI_WHERE_BITS + 16, .rules = id, .protocol = protocol};
    __s64 class = ABI_ANY_CLASS;
    long who;

    if (!origin || !out || !rules || rules->flags & ABI_RULES_AGENT)
        return false;
    who = who_is(id, rules, origin);
    if (protocol != ABI_ANY_PROTOCOL)
        class = class_of(id, rules, origin, at_ns);
    if (who < 0 || class < 0)
        return false;
    where.who = who;
    where.class = class;
    where.port[0] = origin->port >> 8;
    where.port[1] = origin->port;
    *out = where;
    return true;
}

/* `here`: it is this very host, of which a pod is judged like of others where it is looked into. */
static __always_inline bool is_judged(const struct abi_pod *pod, bool here)
{
    return pod->rules && (!here || pod->flags & ABI_POD_LOOPBACK);
}

/* What is left of a verdict where the pod is not judged; which route what is allowed takes is
 * asked beside it. */
__weak __noinline __u32 verdict_there(const struct abi_pod *pod, bool here, __u32 verdict)
{
    if (!pod)
        return ABI_VERDICT_DENY;
    return is_judged(pod, here) || verdict & ABI_VERDICT_HERE ? verdict & ~ABI_VERDICT_ROUTES : 0;
}

/* Whether rules have a say in what is said there. */
static __always_inline bool is_to_be_heard(const struct abi_origin *origin)
{
    const struct abi_pod *pod = bpf_map_lookup_elem(&pods, &origin->pod);
    const struct abi_spelling *spelling;
    struct abi_where where = {};

    if (!pod || !pod->rules)
        return false;
    if (!find_where(pod->rules, origin, IPPROTO_TCP, origin->time_ns, &where))
        return true;
    spelling = bpf_map_lookup_elem(&spells, &where);
    return spelling && spelling->flags & (ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN);
}
