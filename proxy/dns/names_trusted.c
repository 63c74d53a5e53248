/* The names that policies go by. Who is told of them, or asks for them, gets copies: neither waits
 * for the lock of the other. */
#include "proxy/dns/names_own.h"

#include <stdio.h>
#include <string.h>

enum { NAME_TEXT_MAX = 1024 }; /* as long as wire/dns.h writes them */

void names_on_trusted(struct names *names,
                      void (*on_trusted)(void *arg, uint64_t pod, const char *name,
                                         const struct addr *address, uint64_t until_ns),
                      void *arg)
{
    names->on_trusted = on_trusted;
    names->on_trusted_arg = arg;
}

/* Without the closing dot; of the root, "". */
static size_t bare_len(const char *name)
{
    size_t len = strlen(name);

    return len && name[len - 1] == '.' ? len - 1 : len;
}

void names_tell_one(const struct names *names, uint64_t pod, const char *name,
                    const struct addr *address, uint64_t until_ns)
{
    char text[NAME_TEXT_MAX];

    if (names->on_trusted && span_to_text(span_of(name, bare_len(name)), text, sizeof(text)))
        names->on_trusted(names->on_trusted_arg, pod, text, address, until_ns);
}

/* ---- what a pod is set up with ---- */

void names_configure(struct names *names, uint64_t pod_id, struct configured **configured)
{
    struct configured *ours = TAKE(*configured);
    struct resolved *pod;
    bool kept = false;

    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, true);
    if (pod && !pod->configured) {
        pod->configured = ours;
        kept = true;
    }
    pthread_mutex_unlock(&names->lock);
    /* it stays until the pod goes, of which nobody tells us but who called */
    for (size_t i = 0; kept && i < ours->hosts_len; i++)
        names_tell_one(names, pod_id, ours->hosts[i].name, &ours->hosts[i].address, UINT64_MAX);
    if (!kept)
        configured_free(&ours);
}

bool names_is_configured(struct names *names, uint64_t pod_id)
{
    const struct resolved *pod;
    bool is;

    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    is = pod && pod->configured;
    pthread_mutex_unlock(&names->lock);
    return is;
}

bool names_serves(struct names *names, uint64_t pod_id, const struct addr *server)
{
    const struct resolved *pod;
    bool serves;

    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    serves = pod && pod->configured && configured_serves(pod->configured, server);
    pthread_mutex_unlock(&names->lock);
    return serves;
}

/* ---- those of an address ---- */

/* Its end, or NULL: first it is found out how much room there must be. */
struct copying {
    const char **list;
    char *text;
    size_t len, bytes;
};

static void copy(struct copying *copying, const char *name)
{
    size_t len = bare_len(name);

    if (!len)
        return;
    if (copying->list) {
        copying->list[copying->len] = copying->text + copying->bytes;
        memcpy(copying->text + copying->bytes, name, len);
        copying->text[copying->bytes + len] = 0;
    }
    copying->len++;
    copying->bytes += len + 1;
}

static void copy_all(struct copying *copying, struct resolved *pod, const struct addr *address,
                     uint64_t at_ns)
{
    const struct place *place = names_find_place(pod, address, false);
    const struct configured_host *hosts;
    size_t hosts_len = pod->configured ? configured_find(pod->configured, address, &hosts) : 0;

    copying->len = copying->bytes = 0;
    for (const struct binding *at = place ? place->newest : NULL; at; at = at->older_here)
        if (at_ns < at->trusted_until_ns)
            copy(copying, at->name);
    for (size_t i = 0; i < hosts_len; i++)
        copy(copying, hosts[i].name);
}

void names_find_trusted(struct names *names, uint64_t pod_id, const struct addr *address,
                        uint64_t at_ns, struct names_trusted *out)
{
    struct copying copying = {0};
    struct resolved *pod;

    *out = (struct names_trusted){.memory = NULL};
    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    if (pod)
        copy_all(&copying, pod, address, at_ns);
    if (copying.len)
        out->memory = malloc(copying.len * sizeof(*copying.list) + copying.bytes);
    if (out->memory) {
        copying.list = out->memory;
        copying.text = (char *)(copying.list + copying.len);
        copy_all(&copying, pod, address, at_ns);
        out->names = (struct policy_names){copying.list, copying.len};
    }
    pthread_mutex_unlock(&names->lock);
}

void names_trusted_fini(struct names_trusted *trusted)
{
    free(trusted->memory);
    *trusted = (struct names_trusted){.memory = NULL};
}

/* ---- those of a pod ---- */

struct told {
    struct addr address;
    uint64_t until_ns;
    char *name;
};

static size_t collect(const struct resolved *pod, struct told *out)
{
    const struct configured *configured = pod->configured;
    size_t len = 0;

    for (const struct binding *at = pod->oldest; at; at = at->newer) {
        if (!at->trusted_until_ns)
            continue;
        memcpy(out[len].address.ip, at->place->ip, sizeof(at->place->ip));
        out[len].until_ns = at->trusted_until_ns;
        out[len].name = strdup(at->name);
        len += out[len].name != NULL;
    }
    for (size_t i = 0; configured && i < configured->hosts_len; i++) {
        out[len] = (struct told){configured->hosts[i].address, UINT64_MAX,
                                 strdup(configured->hosts[i].name)};
        len += out[len].name != NULL;
    }
    return len;
}

void names_tell_trusted(struct names *names, uint64_t pod_id)
{
    struct told *all = NULL;
    struct resolved *pod;
    size_t len = 0;

    pthread_mutex_lock(&names->lock);
    pod = names_find_pod(names, pod_id, false);
    if (pod)
        all =
            calloc(pod->len + (pod->configured ? pod->configured->hosts_len : 0) + 1, sizeof(*all));
    if (all)
        len = collect(pod, all);
    pthread_mutex_unlock(&names->lock);
    for (size_t i = 0; i < len; i++) {
        names_tell_one(names, pod_id, all[i].name, &all[i].address, all[i].until_ns);
        free(all[i].name);
    }
    free(all);
}
