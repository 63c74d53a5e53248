#include "proxy/pods/pods.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "base/log.h"
#include "bpf/abi.h"
#include "certs/credentials.h"
#include "proxy/enforce/kernel_rules.h"
#include "policy/view.h"
#include "sallyport.skel.h"

const uint16_t pods_default_ports[] = {443, 8443, 853, 80, 8080};
const size_t pods_default_ports_len = ARRAY_SIZE(pods_default_ports);

struct registered {
    uint64_t cgroup_id;              /* first: what the tree sorts by */
    struct pod *pod;                 /* a reference */
    struct credentials *credentials; /* likewise; NULL: the agent's */
    struct pod_trust trust;          /* what those are made by; without roots: they are not */
    struct pods_settings wanted;     /* whatever policies say; its ports are owned */
    int ports_fd;                    /* borrowed */
    uint16_t *ports;                 /* those the kernel was told */
    size_t ports_len;
};

struct pods {
    void *tree; /* tsearch(3) of struct registered */
    size_t len;
    int pods_fd, ports_fd; /* maps, borrowed from the skeleton */
    struct kernel_rules *rules;
    bool leaving;
};

static int by_cgroup(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static bool has_port(const uint16_t *ports, size_t len, uint16_t port)
{
    for (size_t i = 0; i < len; i++)
        if (ports[i] == port)
            return true;
    return false;
}

/* Those of the ports that are not among the others. */
static void forget_ports(const struct registered *entry, const uint16_t *ports, size_t len,
                         const uint16_t *others, size_t others_len)
{
    for (size_t i = 0; i < len; i++) {
        struct abi_port key = {.pod = entry->cgroup_id, .port = ports[i]};

        if (!has_port(others, others_len, ports[i]))
            bpf_map_delete_elem(entry->ports_fd, &key);
    }
}

static void entry_free(struct registered **entry)
{
    if (!*entry)
        return;
    forget_ports(*entry, (*entry)->ports, (*entry)->ports_len, NULL, 0);
    free((*entry)->ports);
    free((uint16_t *)(*entry)->wanted.ports);
    pod_unref(&(*entry)->pod);
    credentials_unref(&(*entry)->credentials);
    pod_trust_fini(&(*entry)->trust);
    free(TAKE(*entry));
}

int pods_new(struct pods **out, struct sallyport_bpf *bpf, struct err *err)
{
    CLEANUP(pods_free) struct pods *pods = calloc(1, sizeof(*pods));
    int code;

    if (!pods)
        return err_set(err, -ENOMEM, "table of pods");
    code = kernel_rules_new(&pods->rules, bpf, err);
    if (code < 0)
        return code;
    pods->pods_fd = bpf_map__fd(bpf->maps.pods);
    pods->ports_fd = bpf_map__fd(bpf->maps.ports);
    *out = TAKE(pods);
    return 0;
}

void pods_free(struct pods **pods)
{
    if (!*pods)
        return;
    while ((*pods)->tree) {
        struct registered *entry = *(struct registered **)(*pods)->tree;

        if (!(*pods)->leaving) {
            pods_remove(*pods, entry->cgroup_id, NULL);
            continue;
        }
        tdelete(entry, &(*pods)->tree, by_cgroup);
        entry->ports_len = 0;
        entry_free(&entry);
    }
    kernel_rules_free(&(*pods)->rules);
    free(TAKE(*pods));
}

static struct registered *find(const struct pods *pods, uint64_t cgroup_id)
{
    struct registered **found = tfind(&cgroup_id, &pods->tree, by_cgroup);

    return found ? *found : NULL;
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    struct registered *entry = find(pods, cgroup_id);

    return entry ? entry->pod : NULL;
}

enum policy_route pods_route(const struct pods *pods, uint64_t cgroup_id)
{
    const struct registered *entry = find(pods, cgroup_id);

    return entry ? entry->wanted.route : POLICY_ROUTE_AUTO;
}

struct named {
    const char *space, *name;
    struct pod *pod;
};

static void compare(const void *node, VISIT visit, void *arg)
{
    struct pod *pod = (*(struct registered *const *)node)->pod;
    struct named *named = arg;

    if ((visit == preorder || visit == leaf) && strcmp(pod->space, named->space) == 0 &&
        strcmp(pod->name, named->name) == 0)
        named->pod = pod;
}

struct pod *pods_find_name(struct pods *pods, const char *space, const char *name)
{
    struct named named = {.space = space, .name = name};

    twalk_r(pods->tree, compare, &named);
    return named.pod;
}

bool pods_loopback(const struct pods *pods, uint64_t cgroup_id)
{
    const struct registered *entry = find(pods, cgroup_id);

    return entry && entry->wanted.loopback;
}

size_t pods_count(const struct pods *pods)
{
    return pods->len;
}

static int entry_new(struct registered **out, const struct pods *pods, struct pod *pod,
                     const struct pods_settings *settings, struct err *err)
{
    CLEANUP(entry_free) struct registered *entry = calloc(1, sizeof(*entry));
    uint16_t *ports = calloc(settings->ports_len + 1, sizeof(*ports));

    if (!entry || !ports) {
        free(ports);
        return err_set(err, -ENOMEM, "pod %s", pod->name);
    }
    for (size_t i = 0; i < settings->ports_len; i++)
        ports[i] = settings->ports[i];
    entry->cgroup_id = pod->cgroup_id;
    entry->ports_fd = pods->ports_fd;
    entry->wanted = *settings;
    entry->wanted.ports = ports;
    entry->pod = pod_ref(pod);
    *out = TAKE(entry);
    return 0;
}

/* ---- how it is steered ---- */

struct steering {
    bool all_ports, open_when_down;
    uint16_t *ports; /* else; owned */
    size_t len;
};

static void steering_fini(struct steering *steering)
{
    free(TAKE(steering->ports));
}

/* As it is wanted, and policies: of theirs the ports that they have something to say about. */
static int find_steering(struct steering *out, const struct registered *entry,
                         const struct policy_view *view, struct err *err)
{
    const struct pods_settings *wanted = &entry->wanted;
    enum policy_agent_down down = view ? policy_view_agent_down(view) : POLICY_DOWN_DEFAULT;
    uint16_t *more = NULL;
    size_t more_len = 0;
    int code = view ? policy_view_ports(view, &out->all_ports, &more, &more_len) : 0;

    out->all_ports |= wanted->all_ports;
    out->open_when_down =
        down == POLICY_DOWN_DEFAULT ? wanted->open_when_down : down == POLICY_DOWN_OPEN;
    if (code == 0 && !out->all_ports) {
        out->ports = calloc(wanted->ports_len + more_len + 1, sizeof(*out->ports));
        code = out->ports ? 0 : -ENOMEM;
        for (size_t i = 0; code == 0 && i < wanted->ports_len + more_len; i++)
            out->ports[out->len++] =
                i < wanted->ports_len ? wanted->ports[i] : more[i - wanted->ports_len];
    }
    free(more);
    return code < 0 ? err_set(err, code, "the ports of pod %s", entry->pod->name) : 0;
}

static int tell_ports(const struct registered *entry, const struct steering *steering,
                      struct err *err)
{
    uint8_t present = 1;

    for (size_t i = 0; i < steering->len; i++) {
        struct abi_port key = {.pod = entry->cgroup_id, .port = steering->ports[i]};
        int code = bpf_map_update_elem(entry->ports_fd, &key, &present, BPF_ANY);

        if (code < 0) {
            forget_ports(entry, steering->ports, i, entry->ports, entry->ports_len);
            return err_sys(err, code, "telling the kernel port %u of pod %s", steering->ports[i],
                           entry->pod->name);
        }
    }
    return 0;
}

static int judge_and_steer(const struct pods *pods, const struct registered *entry,
                           struct policy_view *view, struct abi_pod *told, struct err *err)
{
    int code = kernel_rules_prepare(pods->rules, entry->pod, view, &told->rules, err);

    if (code < 0)
        return code;
    code = bpf_map_update_elem(pods->pods_fd, &entry->cgroup_id, told, BPF_ANY);
    kernel_rules_use(pods->rules, entry->cgroup_id, code == 0);
    return code < 0 ? err_sys(err, code, "telling the kernel pod %s", entry->pod->name) : 0;
}

/* Where the kernel has no room for so many, all are steered: the agent finds out what each is. */
static int tell_ports_or_all(const struct registered *entry, struct steering *steering,
                             struct err *err)
{
    int code = tell_ports(entry, steering, err);

    if (code != -E2BIG)
        return code;
    log_warn("the kernel has no room for more ports: pod %s is steered on all of them",
             entry->pod->name);
    steering_fini(steering);
    steering->len = 0;
    steering->all_ports = true;
    return 0;
}

/* The ports first: from the moment the pod itself is in its map it is steered by them. */
static int steer(const struct pods *pods, struct registered *entry, struct policy_view *view,
                 struct err *err)
{
    CLEANUP(steering_fini) struct steering fresh = {0};
    int code = find_steering(&fresh, entry, view, err);
    struct abi_pod told = {0};

    if (code == 0)
        code = tell_ports_or_all(entry, &fresh, err);
    if (code < 0)
        return code;
    told.flags = (fresh.all_ports ? ABI_POD_ALL_PORTS : 0u) |
                 (entry->wanted.loopback ? ABI_POD_LOOPBACK : 0u) |
                 (fresh.open_when_down ? ABI_POD_OPEN : 0u) |
                 (entry->wanted.route == POLICY_ROUTE_KERNEL ? ABI_POD_KERNEL : 0u) |
                 (entry->wanted.route == POLICY_ROUTE_AUTO ? ABI_POD_AUTO : 0u);
    code = judge_and_steer(pods, entry, view, &told, err);
    if (code < 0) {
        forget_ports(entry, fresh.ports, fresh.len, entry->ports, entry->ports_len);
        return code;
    }
    forget_ports(entry, entry->ports, entry->ports_len, fresh.ports, fresh.len);
    free(entry->ports);
    entry->ports = TAKE(fresh.ports);
    entry->ports_len = fresh.len;
    atomic_store(&entry->pod->passes, entry->wanted.route == POLICY_ROUTE_PASSTHROUGH);
    atomic_store(&entry->pod->tls_read,
                 fresh.all_ports || has_port(entry->ports, entry->ports_len, 443));
    return 0;
}

int pods_add(struct pods *pods, struct pod *pod, const struct pods_settings *settings,
             struct policy_view *view, struct err *err)
{
    CLEANUP(entry_free) struct registered *entry = NULL;
    const struct registered *same = find(pods, pod->cgroup_id);
    int code;

    if (same)
        return err_set(err, -EEXIST, "that cgroup is registered already, as pod %s%s%s",
                       same->pod->space, same->pod->space[0] ? "/" : "", same->pod->name);
    if (pods->len >= ABI_PODS_MAX)
        return err_set(err, -ENOSPC, "there are %d pods already, which is all we have room for",
                       ABI_PODS_MAX);
    code = entry_new(&entry, pods, pod, settings, err);
    if (code < 0)
        return code;
    if (!tsearch(entry, &pods->tree, by_cgroup))
        return err_set(err, -ENOMEM, "pod %s", pod->name);
    code = steer(pods, entry, view, err);
    if (code < 0) {
        tdelete(entry, &pods->tree, by_cgroup);
        return code;
    }
    pods->len++;
    TAKE(entry); /* the tree's now */
    return 0;
}

int pods_use_view(struct pods *pods, uint64_t cgroup_id, struct policy_view *view, struct err *err)
{
    struct registered *entry = find(pods, cgroup_id);

    return entry ? steer(pods, entry, view, err) : 0;
}

static int not_registered(uint64_t cgroup_id, struct err *err)
{
    return err_set(err, -ENOENT, "cgroup %llu is not registered", (unsigned long long)cgroup_id);
}

int pods_remove(struct pods *pods, uint64_t cgroup_id, struct err *err)
{
    CLEANUP(entry_free) struct registered *entry = find(pods, cgroup_id);

    if (!entry)
        return not_registered(cgroup_id, err);
    bpf_map_delete_elem(pods->pods_fd, &cgroup_id);
    kernel_rules_forget(pods->rules, cgroup_id);
    tdelete(entry, &pods->tree, by_cgroup);
    pods->len--;
    return 0;
}

void pods_sweep(struct pods *pods)
{
    struct abi_port port, next_port;
    uint64_t pod, next_pod;
    int code = bpf_map_get_next_key(pods->pods_fd, NULL, &next_pod);

    while (code == 0) {
        pod = next_pod;
        code = bpf_map_get_next_key(pods->pods_fd, &pod, &next_pod); /* before that key goes */
        if (!find(pods, pod))
            bpf_map_delete_elem(pods->pods_fd, &pod);
    }
    code = bpf_map_get_next_key(pods->ports_fd, NULL, &next_port);
    while (code == 0) {
        const struct registered *entry;

        port = next_port;
        code = bpf_map_get_next_key(pods->ports_fd, &port, &next_port);
        entry = find(pods, port.pod);
        if (!entry || !has_port(entry->ports, entry->ports_len, port.port))
            bpf_map_delete_elem(pods->ports_fd, &port);
    }
    kernel_rules_sweep(pods->rules);
}

struct kernel_rules *pods_rules(struct pods *pods)
{
    return pods->rules;
}

void pods_leave(struct pods *pods)
{
    pods->leaving = true;
    kernel_rules_leave(pods->rules);
}

/* Those that were before stay where it fails. */
static int make_credentials(struct registered *entry, struct credentials *agents, const char *name,
                            struct err *err)
{
    struct credentials *fresh = NULL;
    int result =
        credentials_new_of_pod(&fresh, agents, &entry->trust, entry->credentials, name, err);

    if (result < 0)
        return result;
    credentials_unref(&entry->credentials);
    entry->credentials = fresh;
    return 0;
}

int pods_trust(struct pods *pods, uint64_t cgroup_id, struct pod_trust *trust,
               struct credentials *agents, const char *name, struct err *err)
{
    struct registered *entry = find(pods, cgroup_id);

    if (!entry)
        return not_registered(cgroup_id, err);
    credentials_unref(&entry->credentials);
    pod_trust_fini(&entry->trust);
    entry->trust = *trust;
    *trust = (struct pod_trust){0};
    return make_credentials(entry, agents, name, err);
}

static void renew(const void *node, VISIT visit, void *agents)
{
    struct registered *entry = *(struct registered *const *)node;
    struct err err;

    if ((visit == postorder || visit == leaf) && entry->trust.roots &&
        make_credentials(entry, agents, NULL, &err) < 0)
        log_warn("pod %s keeps the credentials it has: %s", entry->pod->name, err.text);
}

void pods_renew_credentials(struct pods *pods, struct credentials *agents)
{
    twalk_r(pods->tree, renew, agents);
}

struct credentials *pods_credentials(const struct pods *pods, uint64_t cgroup_id)
{
    const struct registered *entry = find(pods, cgroup_id);

    return entry ? entry->credentials : NULL;
}
