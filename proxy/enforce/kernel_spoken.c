#include "proxy/enforce/kernel_spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "bpf/abi.h"
#include "proxy/dns/names.h"
#include "sallyport.skel.h"

static const uint64_t second_ns = 1000000000;

/* FNV-1a: two names of an address that fall together cost the next agent one of them. */
static uint64_t hash_of(const char *name)
{
    uint64_t hash = 14695981039346656037u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 1099511628211u;
    return hash;
}

static struct abi_spoken_key key_of(uint64_t pod, const uint8_t ip[16], const char *name)
{
    struct abi_spoken_key key = {.pod = pod, .name = hash_of(name)};

    memcpy(key.ip, ip, sizeof(key.ip));
    return key;
}

void kernel_spoken_put(struct sallyport_bpf *bpf, uint64_t pod, const uint8_t ip[16],
                       const char *name, uint64_t until_ns)
{
    struct abi_spoken_key key = key_of(pod, ip, name);
    struct abi_spoken value = {.until_ns = until_ns};

    if (until_ns == UINT64_MAX || /* of the pod's hosts, which are read again */
        snprintf(value.name, sizeof(value.name), "%s", name) >= (int)sizeof(value.name))
        return;
    bpf_map_update_elem(bpf_map__fd(bpf->maps.policy_spoken), &key, &value, BPF_ANY);
}

void kernel_spoken_drop(struct sallyport_bpf *bpf, uint64_t pod, const uint8_t ip[16],
                        const char *name)
{
    struct abi_spoken_key key = key_of(pod, ip, name);

    bpf_map_delete_elem(bpf_map__fd(bpf->maps.policy_spoken), &key);
}

static bool restore_one(struct sallyport_bpf *bpf, const struct abi_spoken_key *key,
                        struct abi_spoken *value, struct names *names, uint64_t now_ns)
{
    char name[sizeof(value->name) + 1];
    struct addr address = {0};
    struct abi_pod pod;

    value->name[sizeof(value->name) - 1] = 0;
    if (value->until_ns <= now_ns ||
        bpf_map_lookup_elem(bpf_map__fd(bpf->maps.pods), &key->pod, &pod) < 0)
        return false;
    memcpy(address.ip, key->ip, sizeof(address.ip));
    snprintf(name, sizeof(name), "%s.", value->name);
    names_add(names, key->pod, name, &address, (uint32_t)((value->until_ns - now_ns) / second_ns),
              true, now_ns);
    return true;
}

void kernel_spoken_restore(struct sallyport_bpf *bpf, struct names *names, uint64_t now_ns)
{
    struct abi_spoken_key key, next;
    int fd = bpf_map__fd(bpf->maps.policy_spoken);
    int code = bpf_map_get_next_key(fd, NULL, &next);

    while (code == 0) {
        struct abi_spoken value;

        key = next;
        code = bpf_map_get_next_key(fd, &key, &next); /* before that key goes */
        if (bpf_map_lookup_elem(fd, &key, &value) == 0 &&
            !restore_one(bpf, &key, &value, names, now_ns))
            bpf_map_delete_elem(fd, &key);
    }
}
