#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/regex.h"

static const char *const mode_names[] = {
    [POLICY_ENFORCE] = "enforce",
    [POLICY_MONITOR] = "monitor",
};
_Static_assert(ARRAY_SIZE(mode_names) == POLICY_MODE_MAX, "name every mode");

static const char *const action_names[] = {
    [POLICY_REJECT] = "reject",
    [POLICY_RESET] = "reset",
    [POLICY_SIGKILL] = "sigkill",
    [POLICY_FREEZE] = "freeze",
};
_Static_assert(ARRAY_SIZE(action_names) == POLICY_ACTION_MAX, "name every action");

static const char *const route_names[] = {
    [POLICY_ROUTE_AUTO] = "auto",
    [POLICY_ROUTE_PROXY] = "proxy",
    [POLICY_ROUTE_KERNEL] = "kernel",
    [POLICY_ROUTE_PASSTHROUGH] = "passthrough",
};
_Static_assert(ARRAY_SIZE(route_names) == POLICY_ROUTE_MAX, "name every route");

const char *policy_mode_name(enum policy_mode mode)
{
    return mode_names[mode];
}

const char *policy_action_name(enum policy_action action)
{
    return action_names[action];
}

const char *policy_route_name(enum policy_route route)
{
    return route_names[route];
}

bool policy_route_find(const char *name, enum policy_route *out)
{
    for (int i = 0; i < POLICY_ROUTE_MAX; i++)
        if (strcmp(name, route_names[i]) == 0) {
            *out = (enum policy_route)i;
            return true;
        }
    return false;
}

/* ---- its end ---- */

static void free_texts(char **list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(list[i]);
    free(list);
}

static void free_names(struct policy_name *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(list[i].text);
    free(list);
}

static void free_http(struct policy_http *http)
{
    free(http->place.rule);
    free(http->method);
    free(http->path);
    free(http->host);
    free(http->method_text);
    free(http->path_text);
    free(http->host_text);
    regex_free(&http->method_is);
    regex_free(&http->path_is);
    regex_free(&http->host_is);
    for (size_t i = 0; i < http->headers_len; i++) {
        free(http->headers[i].name);
        free(http->headers[i].value);
    }
    free(http->headers);
}

static void free_tls(struct policy_tls *tls)
{
    if (!tls)
        return;
    free(tls->place.rule);
    free_texts(tls->ciphers, tls->ciphers_len);
    free(tls->trusted_ca);
    free(tls->client_certificate);
    free(tls);
}

static void free_to_ports(struct policy_to_ports *to)
{
    free(to->place.rule);
    free(to->ports);
    free_names(to->server_names, to->server_names_len);
    free_tls(to->tls);
    for (size_t i = 0; i < to->http_len; i++)
        free_http(&to->http[i]);
    free(to->http);
    for (size_t i = 0; i < to->dns_len; i++) {
        free(to->dns[i].place.rule);
        free(to->dns[i].name.text);
        free(to->dns[i].types);
    }
    free(to->dns);
}

static void free_egress(struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct policy_egress *egress = &list[i];

        free(egress->place.rule);
        free_names(egress->names, egress->names_len);
        for (size_t j = 0; j < egress->cidrs_len; j++)
            free(egress->cidrs[j].except);
        free(egress->cidrs);
        for (size_t j = 0; j < egress->to_ports_len; j++)
            free_to_ports(&egress->to_ports[j]);
        free(egress->to_ports);
    }
    free(list);
}

static void free_bodies(struct policy_bodies *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(list[i].place.rule);
        for (size_t j = 0; j < list[i].patterns_len; j++) {
            free(list[i].patterns[j].name);
            free(list[i].patterns[j].regex);
        }
        free(list[i].patterns);
    }
    free(list);
}

struct policy *policy_ref(struct policy *policy)
{
    if (policy)
        atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
    return policy;
}

void policy_unref(struct policy **policy)
{
    struct policy *gone = TAKE(*policy);

    if (!gone || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(gone->name);
    free(gone->space);
    free(gone->id);
    free(gone->file);
    free(gone->place.rule);
    for (size_t i = 0; i < gone->selector_len; i++) {
        free(gone->selector[i].key);
        free_texts(gone->selector[i].values, gone->selector[i].values_len);
    }
    free(gone->selector);
    for (size_t i = 0; i < gone->binaries_len; i++)
        free_texts(gone->binaries[i].values, gone->binaries[i].values_len);
    free(gone->binaries);
    free_egress(gone->egress, gone->egress_len);
    free_egress(gone->egress_deny, gone->egress_deny_len);
    free_bodies(gone->bodies, gone->bodies_len);
    free(gone->consistency_place.rule);
    free(gone->tokens_place.rule);
    free(gone);
}

/* ---- for whom it is ---- */

static bool holds(char *const *values, size_t len, const char *text)
{
    for (size_t i = 0; i < len; i++)
        if (strcmp(values[i], text) == 0)
            return true;
    return false;
}

/* NULL: the pod has no such label. Cilium has a pod's namespace among its labels. */
static const char *label_of(const struct pod *pod, const char *key)
{
    if (strcmp(key, POLICY_NAMESPACE_LABEL) == 0)
        return pod->space[0] ? pod->space : NULL;
    for (size_t i = 0; i < pod->labels_len; i++)
        if (strcmp(pod->labels[i].key, key) == 0)
            return pod->labels[i].value;
    return NULL;
}

/* As Kubernetes has it: a label that is not there is in no list. */
static bool meets(const struct pod *pod, const struct policy_requirement *requirement)
{
    const char *value = label_of(pod, requirement->key);
    bool in = value && holds(requirement->values, requirement->values_len, value);

    switch (requirement->operator) {
    case POLICY_IN:
        return in;
    case POLICY_NOT_IN:
        return !in;
    case POLICY_EXISTS:
        return value != NULL;
    case POLICY_DOES_NOT_EXIST:
        return value == NULL;
    default:
        return false; /* of binaries */
    }
}

bool policy_selects(const struct policy *policy, const struct pod *pod)
{
    if (policy->space[0] && strcmp(policy->space, pod->space) != 0)
        return false;
    for (size_t i = 0; i < policy->selector_len; i++)
        if (!meets(pod, &policy->selector[i]))
            return false;
    return true;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t len = strlen(text), tail = strlen(with);

    return len >= tail && strcmp(text + len - tail, with) == 0;
}

static bool is_listed(const struct policy_binaries *binaries, const char *path)
{
    for (size_t i = 0; i < binaries->values_len; i++) {
        const char *value = binaries->values[i];

        switch (binaries->operator) {
        case POLICY_IN:
        case POLICY_NOT_IN:
            if (strcmp(path, value) == 0)
                return true;
            break;
        case POLICY_PREFIX:
        case POLICY_NOT_PREFIX:
            if (begins(path, value))
                return true;
            break;
        case POLICY_POSTFIX:
        case POLICY_NOT_POSTFIX:
            if (ends(path, value))
                return true;
            break;
        case POLICY_EXISTS:
        case POLICY_DOES_NOT_EXIST:
            break; /* of labels */
        }
    }
    return false;
}

/* With followChildren what descends from a listed binary counts as listed, so that NotIn leaves
 * out the whole family, as Tetragon's does. */
static bool binary_fits(const struct policy_binaries *binaries, const struct process *process)
{
    bool wanted =
        binaries->operator== POLICY_IN || binaries->operator== POLICY_PREFIX || binaries->operator==
        POLICY_POSTFIX;
    bool listed = false;

    for (const struct process *at = process; at && !listed; at = at->parent) {
        listed = is_listed(binaries, at->binary);
        if (!binaries->follow_children)
            break;
    }
    return listed == wanted;
}

bool policy_is_for(const struct policy *policy, const struct process *process)
{
    if (!process)
        return policy->binaries_len == 0;
    for (size_t i = 0; i < policy->binaries_len; i++)
        if (!binary_fits(&policy->binaries[i], process))
            return false;
    return true;
}

/* ---- all in force ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct policy *const *)a)->id, (*(struct policy *const *)b)->id);
}

struct policy_set *policy_set_new(struct policy *const *list, size_t len, uint64_t generation)
{
    CLEANUP(policy_set_unref) struct policy_set *set = calloc(1, sizeof(*set));

    if (!set)
        return NULL;
    atomic_init(&set->refs, 1);
    pthread_mutex_init(&set->lock, NULL);
    set->generation = generation;
    set->list = calloc(len + 1, sizeof(struct policy *));
    if (!set->list)
        return NULL;
    while (set->len < len) {
        set->list[set->len] = policy_ref(list[set->len]);
        set->len++;
    }
    qsort(set->list, len, sizeof(struct policy *), by_id);
    return TAKE(set);
}

struct policy_set *policy_set_ref(struct policy_set *set)
{
    if (set)
        atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void policy_set_unref(struct policy_set **set)
{
    struct policy_set *gone = TAKE(*set);

    if (!gone || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < gone->len; i++)
        policy_unref(&gone->list[i]);
    pthread_mutex_destroy(&gone->lock);
    free(gone->list);
    free(gone);
}
