#include "proxy/enforce/kernel_spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "bpf/abi.h"
#include "bpf/spell_rows.h"
#include "proxy/dns/names.h"
#include "sallyport.skel.h"

static uint64_t hash_of(const char *name, uint64_t key)
{
    uint64_t hash = key;

    for (; *name; name++)
        hash = spell_hash(hash, (uint8_t)*name, key);
    return hash;
}

static struct abi_spoken_key key_of(uint64_t pod, const uint8_t ip[16], const char *name,
                                    uint64_t key)
{
    struct abi_spoken_key spoken = {.pod = pod, .name = hash_of(name, key)};

    memcpy(spoken.ip, ip, sizeof(spoken.ip));
    return spoken;
}

/* A pod goes from one set of rules to the next: what counts by either stays there. */
static void note_rules(struct abi_spoken *value, const struct kernel_spoken *spoken)
{
    size_t i = 0;

    while (i < ABI_SPOKEN_RULES && value->by[i].rules != spoken->rules)
        i++;
    if (i == ABI_SPOKEN_RULES) {
        memmove(&value->by[1], &value->by[0], sizeof(value->by) - sizeof(value->by[0]));
        i = 0;
    }
    value->by[i].rules = spoken->rules;
    value->by[i].fits = spoken->fits;
}

void kernel_spoken_put(struct sallyport_bpf *bpf, uint64_t key, uint64_t pod, const uint8_t ip[16],
                       const struct kernel_spoken *spoken)
{
    struct abi_spoken_key at = key_of(pod, ip, spoken->name, key);
    int fd = bpf_map__fd(bpf->maps.policy_spoken);
    struct abi_spoken value = {0};

    if (bpf_map_lookup_elem(fd, &at, &value) < 0)
        value = (struct abi_spoken){0};
    value.until_ns = spoken->until_ns;
    if (snprintf(value.name, sizeof(value.name), "%s", spoken->name) >= (int)sizeof(value.name))
        return;
    note_rules(&value, spoken);
    bpf_map_update_elem(fd, &at, &value, BPF_ANY);
}

void kernel_spoken_drop(struct sallyport_bpf *bpf, uint64_t key, uint64_t pod, const uint8_t ip[16],
                        const char *name)
{
    struct abi_spoken_key at = key_of(pod, ip, name, key);

    bpf_map_delete_elem(bpf_map__fd(bpf->maps.policy_spoken), &at);
}

static bool restore_one(struct sallyport_bpf *bpf, const struct abi_spoken_key *key,
                        struct abi_spoken *value, struct names *names)
{
    char name[sizeof(value->name) + 1];
    struct addr address = {0};
    struct abi_pod pod;

    value->name[sizeof(value->name) - 1] = 0;
    if (value->until_ns == UINT64_MAX) /* of the pod's hosts, which are read again */
        return false;
    if (bpf_map_lookup_elem(bpf_map__fd(bpf->maps.pods), &key->pod, &pod) < 0)
        return false;
    memcpy(address.ip, key->ip, sizeof(address.ip));
    snprintf(name, sizeof(name), "%s.", value->name);
    names_keep(names, key->pod, name, &address, value->until_ns, value->until_ns);
    return true;
}

/* What was not told to these rules, nor to others that are ours. */
void kernel_spoken_sweep(struct sallyport_bpf *bpf, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg)
{
    struct abi_spoken_key key, next;
    int fd = bpf_map__fd(bpf->maps.policy_spoken);
    int code = bpf_map_get_next_key(fd, NULL, &next);

    while (code == 0) {
        struct abi_spoken value;
        bool ours = false;

        key = next;
        code = bpf_map_get_next_key(fd, &key, &next); /* before that key goes */
        if (bpf_map_lookup_elem(fd, &key, &value) < 0)
            continue;
        for (size_t i = 0; i < ABI_SPOKEN_RULES && !ours; i++)
            ours = value.by[i].rules && is_ours(arg, value.by[i].rules);
        if (!ours)
            bpf_map_delete_elem(fd, &key);
    }
}

void kernel_spoken_restore(struct sallyport_bpf *bpf, struct names *names)
{
    struct abi_spoken_key key, next;
    int fd = bpf_map__fd(bpf->maps.policy_spoken);
    int code = bpf_map_get_next_key(fd, NULL, &next);

    while (code == 0) {
        struct abi_spoken value;

        key = next;
        code = bpf_map_get_next_key(fd, &key, &next); /* before that key goes */
        if (bpf_map_lookup_elem(fd, &key, &value) == 0 && !restore_one(bpf, &key, &value, names))
            bpf_map_delete_elem(fd, &key);
    }
}
