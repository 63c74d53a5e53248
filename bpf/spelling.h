/* spelling: what a pod's rules say of the requests that one of its connections makes, and whether
 * one may go that was read (spell.h). */
#pragma once

#include <linux/in.h>

#include "bpf/here.h"
#include "bpf/rules.h"
#include "bpf/speech.h"

/* What rules say to who has connected there, if that were to be done now: nothing, that it is
 * denied, or that it is for the proxy (bypass.h). */
static __always_inline __u32 verdict_now(const struct abi_origin *origin,
                                         const struct abi_where *where)
{
    const __u32 *verdict = bpf_map_lookup_elem(&policy_ports, where);
    struct ip to = ip_load(origin->ip);
    const struct abi_pod *pod;
    __u64 id = origin->pod; /* 6.1's verifier takes no key out of what a function was given */

    if (!verdict || !*verdict)
        return 0;
    pod = bpf_map_lookup_elem(&pods, &id);
    if (!pod)
        return 0;
    if (!(*verdict & ABI_VERDICT_DENY))
        return pod->flags & ABI_POD_KERNEL ? 0 : *verdict & ABI_VERDICT_NEEDS;
    return verdict_there(pod, is_here(origin->netns_cookie, &to), *verdict) & ABI_VERDICT_DENY;
}

/* Whether rules have a say in what is sent there. */
static __always_inline bool is_judged_speech(const struct speech *speech)
{
    return speech->asks && speech->spelling.flags & (ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN);
}

/* Sends of other threads come by without a lock (ktls.bpf.c): whether they are judged is written
 * last, and once. */
static __always_inline void set_spelling(struct abi_spelling *to, const struct abi_spelling *found,
                                         __u32 flags)
{
    to->row = found ? found->row : 0;
    to->rules = found ? found->rules : 0;
    to->named = found ? found->named : 0;
    to->denies = found ? found->denies : 0;
    to->tls = found ? found->tls : 0;
    barrier();
    to->flags = (found ? found->flags : 0) | flags;
    barrier();
}

/* For the verifier a function of its own, as find_place() is. */
__weak __noinline int find_spelling(struct speech *speech, __u32 rules)
{
    const struct abi_spelling *found = NULL;
    struct abi_where where = {};
    __u32 verdict = 0, flags = 0;

    if (!speech)
        return 0;
    if (rules && speech->asks) { /* requests of others are not the pod's */
        if (!find_where(rules, &speech->origin, IPPROTO_TCP, speech->origin.time_ns, &where))
            flags = ABI_SPELL_JUDGED | ABI_SPELL_AGENT | ABI_SPELL_UNSEEN;
        else
            verdict = verdict_now(&speech->origin, &where);
        if (verdict & ABI_VERDICT_DENY)
            flags = ABI_SPELL_JUDGED; /* and no request fits */
        else if (!flags)
            found = bpf_map_lookup_elem(&spells, &where);
        if (verdict & ABI_VERDICT_NEEDS) /* its program shall connect anew, by the proxy */
            flags |= ABI_SPELL_JUDGED | ABI_SPELL_AGENT;
    }
    set_spelling(&speech->spelling, found, flags);
    speech->rules = rules;
    speech->found = true;
    if (!is_judged_speech(speech))
        speech->reread = false;
    return 0;
}

/* What rules say at this moment; a change of them holds from the next head that is sent. False: the
 * pod is no more. */
static __always_inline bool spelling_is_fresh(struct speech *speech, __u32 direction)
{
    const struct abi_pod *pod = bpf_map_lookup_elem(&pods, &speech->origin.pod);

    if (!pod) {
        speech->spelling.flags = 0; /* nobody judges it any more either */
        speech->reread = false;
        return false;
    }
    if (direction != ABI_RX && (!speech->found || speech->rules != pod->rules))
        find_spelling(speech, pod->rules);
    return true;
}

/* Which rules that want a name fit the one that was said, for its address was the answer for it,
 * when it was connected to or since. */
static __always_inline __u64 spoken_fits(const struct speech *speech, __u64 name)
{
    struct abi_spoken_key key = {.pod = speech->origin.pod, .name = name};
    const struct abi_spoken *spoken;

    __builtin_memcpy(key.ip, speech->origin.ip, sizeof(key.ip));
    spoken = bpf_map_lookup_elem(&policy_spoken, &key);
    if (!spoken || speech->origin.time_ns >= spoken->until_ns)
        return 0;
    for (int i = 0; i < ABI_SPOKEN_RULES; i++)
        if (spoken->by[i].rules == speech->rules)
            return spoken->by[i].fits;
    return 0;
}

/* Whether it was begun by these rules, and not by those before: it says which of them it fits. */
static __always_inline bool is_by_these(const struct speech *speech, const struct spell *spell)
{
    return spell->entry == speech->spelling.row;
}

/* Of a head that has ended. An answer is no request that fits; nor does one in a tunnel, which goes
 * to somebody else than rules are looked up by here. */
static __always_inline bool may_go(const struct speech *speech, const struct speech_side *side)
{
    const struct abi_spelling *spelling = &speech->spelling;
    const struct spell *spell = &side->spell;

    if (!(spelling->flags & ABI_SPELL_JUDGED))
        return true;
    if (spell->flags & SPELL_ANSWERS || speech->ties.tunnel || !is_by_these(speech, spell))
        return false;
    return spell_goes(spell, spelling, spelling->named ? spoken_fits(speech, spell->hash) : 0,
                      side->keyed);
}

/* Of a head that goes on: whether it can still become one that may. */
static __always_inline bool may_fit(const struct speech *speech, const struct spell *spell)
{
    return !(speech->spelling.flags & ABI_SPELL_JUDGED) ||
           (!(spell->flags & SPELL_UNFIT) && spell->fits & speech->spelling.rules &&
            is_by_these(speech, spell));
}
