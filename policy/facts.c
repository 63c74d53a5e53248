#include "policy/facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const route_names[] = {
    [ROUTE_PROXY] = "proxy",
    [ROUTE_KERNEL] = "kernel",
    [ROUTE_PASSTHROUGH] = "passthrough",
    [ROUTE_DIRECT] = "direct",
};
_Static_assert(ARRAY_SIZE(route_names) == ROUTE_MAX, "name every route");

static const char *const visibility_names[] = {
    [VISIBILITY_UNKNOWN] = "",
    [VISIBILITY_TERMINATED] = "terminated",
    [VISIBILITY_KTLS] = "ktls",
    [VISIBILITY_PLAINTEXT] = "plaintext",
    [VISIBILITY_PASSTHROUGH] = "passthrough",
    [VISIBILITY_OPAQUE] = "opaque",
    [VISIBILITY_PRE_EXISTING] = "pre-existing",
};
_Static_assert(ARRAY_SIZE(visibility_names) == VISIBILITY_MAX, "name every visibility");

static const char *const opaque_names[] = {
    [OPAQUE_NO_REASON] = "",
    [OPAQUE_STARTTLS] = "starttls",
    [OPAQUE_SERVER_FIRST] = "server first",
    [OPAQUE_SILENT] = "silent",
    [OPAQUE_UNKNOWN] = "unknown",
    [OPAQUE_OTHER_PROTOCOL] = "other protocol",
    [OPAQUE_OLD_TLS] = "old tls",
    [OPAQUE_NO_CIPHER] = "no common cipher",
    [OPAQUE_ODD_NAME] = "odd name",
    [OPAQUE_OWN_TLS] = "own tls",
    [OPAQUE_LOST] = "lost",
    [OPAQUE_CLIENT_CERT] = "client certificate",
};
_Static_assert(ARRAY_SIZE(opaque_names) == OPAQUE_MAX, "name every reason");

static const char *const verdict_names[] = {
    [VERDICT_ALLOW] = "allow",
    [VERDICT_DENY] = "deny",
    [VERDICT_ALERT] = "alert",
};
_Static_assert(ARRAY_SIZE(verdict_names) == VERDICT_MAX, "name every verdict");

static const char *const protocol_names[] = {
    [PROTOCOL_TCP] = "TCP",
    [PROTOCOL_UDP] = "UDP",
};
_Static_assert(ARRAY_SIZE(protocol_names) == PROTOCOL_MAX, "name every protocol");

const char *route_name(enum route route)
{
    return route_names[route];
}

const char *visibility_name(enum visibility visibility)
{
    return visibility_names[visibility];
}

const char *opaque_name(enum opaque opaque)
{
    return opaque_names[opaque];
}

const char *verdict_name(enum verdict verdict)
{
    return verdict_names[verdict];
}

const char *protocol_name(enum protocol protocol)
{
    return protocol_names[protocol];
}

struct process_life *process_life_new(void)
{
    struct process_life *life = calloc(1, sizeof(*life));

    if (life)
        atomic_init(&life->refs, 1);
    return life;
}

struct process_life *process_life_ref(struct process_life *life)
{
    if (life)
        atomic_fetch_add_explicit(&life->refs, 1, memory_order_relaxed);
    return life;
}

void process_life_unref(struct process_life **life)
{
    struct process_life *gone = TAKE(*life);

    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1)
        free(gone);
}

struct process *process_ref(struct process *process)
{
    if (process)
        atomic_fetch_add_explicit(&process->refs, 1, memory_order_relaxed);
    return process;
}

void process_unref(struct process **process)
{
    struct process *gone = TAKE(*process);

    /* a loop, not recursion: a chain of parents can be long */
    while (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1) {
        struct process *parent = gone->parent;

        pod_unref(&gone->pod);
        process_life_unref(&gone->life);
        free(gone->exec_id);
        free(gone->parent_exec_id);
        free(gone->binary);
        free(gone->arguments);
        free(gone->cwd);
        free(gone->json);
        free(gone);
        gone = parent;
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct pod_label *)a)->key, ((const struct pod_label *)b)->key);
}

struct pod *pod_new(uint64_t cgroup_id, const char *space, const char *name,
                    const struct pod_label *labels, size_t labels_len)
{
    CLEANUP(pod_unref) struct pod *pod = calloc(1, sizeof(*pod));

    if (!pod)
        return NULL;
    atomic_init(&pod->refs, 1);
    pod->cgroup_id = cgroup_id;
    pod->space = strdup(space);
    pod->name = strdup(name);
    pod->labels = calloc(labels_len + 1, sizeof(*pod->labels));
    if (!pod->space || !pod->name || !pod->labels)
        return NULL;
    while (pod->labels_len < labels_len) {
        struct pod_label *label = &pod->labels[pod->labels_len];

        *label = (struct pod_label){strdup(labels[pod->labels_len].key),
                                    strdup(labels[pod->labels_len].value)};
        pod->labels_len++;
        if (!label->key || !label->value)
            return NULL;
    }
    qsort(pod->labels, pod->labels_len, sizeof(*pod->labels), by_key);
    return TAKE(pod);
}

struct pod *pod_ref(struct pod *pod)
{
    if (pod)
        atomic_fetch_add_explicit(&pod->refs, 1, memory_order_relaxed);
    return pod;
}

void pod_unref(struct pod **pod)
{
    struct pod *gone = TAKE(*pod);

    if (!gone || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < gone->labels_len; i++) {
        free(gone->labels[i].key);
        free(gone->labels[i].value);
    }
    free(gone->labels);
    free(gone->space);
    free(gone->name);
    free(gone);
}

struct span facts_find_field(const struct facts_field *fields, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++)
        if (span_equal_nocase(fields[i].name, name))
            return fields[i].value;
    return span_of(NULL, 0);
}
