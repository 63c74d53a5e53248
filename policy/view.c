#include "policy/view.h"

#include <errno.h>
#include <stdlib.h>

#include "policy/view_parts.h"

static int lay_out(struct policy_view *view)
{
    for (int mode = 0; mode < POLICY_MODE_MAX; mode++)
        for (int part = 0; part < VIEW_PARTS; part++) {
            struct segments *segments = &view->parts[mode][part];

            if (segments_make(segments, view->list, view->len, (enum policy_mode)mode,
                              part == VIEW_DENY) < 0)
                return -ENOMEM;
            for (size_t i = 0; i < segments->len; i++) {
                segments->list[i].mask_at = view->mask_words;
                view->mask_words += segments->list[i].words;
            }
        }
    return 0;
}

/* ---- one for all pods alike ---- */

/* A reference, unless the last one has just gone. */
static bool catch_ref(struct policy_view *view)
{
    unsigned refs = atomic_load_explicit(&view->refs, memory_order_relaxed);

    while (refs)
        if (atomic_compare_exchange_weak_explicit(&view->refs, &refs, refs + 1,
                                                  memory_order_acq_rel, memory_order_relaxed))
            return true;
    return false;
}

static struct policy_view *find_alike(struct policy_set *set, const struct policy_view *like)
{
    struct policy_view *view;

    pthread_mutex_lock(&set->lock);
    for (view = set->views; view; view = view->next)
        if (view->len == like->len &&
            memcmp(view->list, like->list, like->len * sizeof(like->list[0])) == 0 &&
            catch_ref(view))
            break;
    pthread_mutex_unlock(&set->lock);
    return view;
}

static void enlist(struct policy_view *view)
{
    struct policy_set *set = view->set;

    pthread_mutex_lock(&set->lock);
    view->link = &set->views;
    view->next = set->views;
    if (view->next)
        view->next->link = &view->next;
    set->views = view;
    pthread_mutex_unlock(&set->lock);
}

static void delist(struct policy_view *view)
{
    if (!view->link)
        return;
    pthread_mutex_lock(&view->set->lock);
    *view->link = view->next;
    if (view->next)
        view->next->link = view->link;
    pthread_mutex_unlock(&view->set->lock);
}

struct policy_view *policy_view_new(struct policy_set *set, const struct pod *pod)
{
    CLEANUP(policy_view_unref) struct policy_view *view = calloc(1, sizeof(*view));
    struct policy_view *alike;

    if (!view)
        return NULL;
    atomic_init(&view->refs, 1);
    view->set = policy_set_ref(set);
    view->list = calloc(set->len + 1, sizeof(const struct policy *));
    if (!view->list)
        return NULL;
    for (size_t i = 0; i < set->len; i++)
        if (policy_selects(set->list[i], pod))
            view->list[view->len++] = set->list[i];
    alike = find_alike(set, view);
    if (alike)
        return alike;
    if (lay_out(view) < 0)
        return NULL;
    enlist(view);
    return TAKE(view);
}

struct policy_view *policy_view_ref(struct policy_view *view)
{
    if (view)
        atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

void policy_view_unref(struct policy_view **view)
{
    struct policy_view *gone = TAKE(*view);

    if (!gone || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    delist(gone);
    for (int mode = 0; mode < POLICY_MODE_MAX; mode++)
        for (int part = 0; part < VIEW_PARTS; part++)
            segments_fini(&gone->parts[mode][part]);
    free(gone->list);
    policy_set_unref(&gone->set);
    free(gone);
}

bool policy_view_is_empty(const struct policy_view *view)
{
    return !view->len;
}

uint64_t policy_view_generation(const struct policy_view *view)
{
    return view->set->generation;
}

size_t policy_view_len(const struct policy_view *view)
{
    return view->len;
}

const struct policy *policy_view_at(const struct policy_view *view, size_t i)
{
    return view->list[i];
}

bool policy_view_prefers_ktls(const struct policy_view *view)
{
    for (size_t i = 0; i < view->len; i++)
        if (view->list[i]->ktls == POLICY_KTLS_PREFER)
            return true;
    return false;
}

enum policy_agent_down policy_view_agent_down(const struct policy_view *view)
{
    enum policy_agent_down said = POLICY_DOWN_DEFAULT;

    for (size_t i = 0; i < view->len; i++) {
        enum policy_agent_down one = view->list[i]->on_agent_down;

        if (one == POLICY_DOWN_CLOSED || said == POLICY_DOWN_DEFAULT)
            said = one;
    }
    return said;
}

/* ---- the ports ---- */

/* Whether what is said on these ports must be read. */
static bool is_read(const struct policy_to_ports *to_ports)
{
    return to_ports->http_len || to_ports->dns_len || to_ports->server_names_len || to_ports->tls;
}

static int add_port(uint8_t *seen, const struct policy_port *port, bool *all)
{
    if (!(port->protocols & POLICY_TCP))
        return 0;
    if (port->first == 0 && port->last == UINT16_MAX)
        *all = true;
    for (unsigned n = port->first; n <= port->last; n++)
        seen[n / 8] |= (uint8_t)(1 << n % 8);
    return 0;
}

static void add_rules(uint8_t *seen, const struct policy_egress *list, size_t len, bool *all)
{
    for (size_t i = 0; i < len; i++) {
        const struct policy_egress *egress = &list[i];

        if (egress->names_len && !egress->to_ports_len)
            *all = true;
        for (size_t j = 0; j < egress->to_ports_len; j++) {
            const struct policy_to_ports *to_ports = &egress->to_ports[j];

            if (!is_read(to_ports) && !egress->names_len)
                continue;
            if (!to_ports->ports_len)
                *all = true;
            for (size_t k = 0; k < to_ports->ports_len; k++)
                add_port(seen, &to_ports->ports[k], all);
        }
    }
}

int policy_view_ports(const struct policy_view *view, bool *all, uint16_t **ports, size_t *len)
{
    CLEANUP(text_free) char *seen = calloc(1, 65536 / 8);
    uint16_t *list;
    size_t n = 0;

    if (!seen)
        return -ENOMEM;
    *all = false;
    for (size_t i = 0; i < view->len; i++) {
        const struct policy *policy = view->list[i];

        add_rules((uint8_t *)seen, policy->egress, policy->egress_len, all);
        add_rules((uint8_t *)seen, policy->egress_deny, policy->egress_deny_len, all);
    }
    for (unsigned port = 1; port < 65536 && !*all; port++)
        n += (uint8_t)seen[port / 8] >> port % 8 & 1;
    if (n > POLICY_VIEW_PORTS_MAX) {
        *all = true;
        n = 0;
    }
    list = malloc((n + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    *len = 0;
    for (unsigned port = 1; *len < n; port++)
        if ((uint8_t)seen[port / 8] >> port % 8 & 1)
            list[(*len)++] = (uint16_t)port;
    *ports = list;
    return 0;
}

/* ---- scopes ---- */

/* in: which of the view's policies. */
static void mask_segment(const struct policy_scope *scope, const struct segment *segment,
                         const bool *in)
{
    for (size_t i = 0; i < segment->runs_len; i++)
        if (in[segment->runs[i].policy_at])
            bits_fill(scope->mask + segment->mask_at, segment->runs[i].first, segment->runs[i].len);
}

/* For a process that some policies are not for. */
static bool narrow(struct policy_scope *scope, const bool *in)
{
    const struct policy_view *view = scope->view;

    scope->list = calloc(view->len + 1, sizeof(const struct policy *));
    scope->mask = calloc(view->mask_words + 1, sizeof(*scope->mask));
    if (!scope->list || !scope->mask)
        return false;
    for (size_t i = 0; i < view->len; i++)
        if (in[i])
            scope->list[scope->len++] = view->list[i];
    for (int mode = 0; mode < POLICY_MODE_MAX; mode++)
        for (int part = 0; part < VIEW_PARTS; part++)
            for (size_t i = 0; i < view->parts[mode][part].len; i++)
                mask_segment(scope, &view->parts[mode][part].list[i], in);
    return true;
}

static void free_bools(bool **list)
{
    free(*list);
}

struct policy_scope *policy_scope_new(struct policy_view *view, const struct process *process)
{
    CLEANUP(policy_scope_free) struct policy_scope *scope = calloc(1, sizeof(*scope));
    CLEANUP(free_bools) bool *in = calloc(view->len + 1, sizeof(*in));
    size_t len = 0;

    if (!scope || !in)
        return NULL;
    scope->view = policy_view_ref(view);
    for (size_t i = 0; i < view->len; i++)
        len += in[i] = policy_is_for(view->list[i], process);
    if (len == view->len) {
        scope->list = view->list;
        scope->len = len;
    } else if (!narrow(scope, in)) {
        return NULL;
    }
    for (size_t i = 0; i < scope->len; i++) {
        const struct policy *one = scope->list[i];

        scope->monitors |= one->mode == POLICY_MONITOR;
        if (one->has_egress && !scope->closed[one->mode])
            scope->closed[one->mode] = one;
    }
    return TAKE(scope);
}

void policy_scope_free(struct policy_scope **scope)
{
    struct policy_scope *gone = TAKE(*scope);

    if (!gone)
        return;
    if (gone->view && gone->list != gone->view->list)
        free(gone->list);
    free(gone->mask);
    policy_view_unref(&gone->view);
    free(gone);
}

bool policy_scope_is_empty(const struct policy_scope *scope)
{
    return !scope || !scope->len;
}

size_t policy_scope_len(const struct policy_scope *scope)
{
    return scope ? scope->len : 0;
}

const struct policy *policy_scope_at(const struct policy_scope *scope, size_t i)
{
    return scope->list[i];
}

enum policy_existing policy_scope_existing(const struct policy_scope *scope,
                                           const struct policy **by)
{
    enum policy_existing said = POLICY_EXISTING_REPORT;

    *by = NULL;
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);
        bool stricter = policy->existing == POLICY_EXISTING_RESET &&
                        (said != POLICY_EXISTING_RESET ||
                         ((*by)->mode == POLICY_MONITOR && policy->mode == POLICY_ENFORCE));

        if (!stricter && (policy->existing != POLICY_EXISTING_LEAVE || *by))
            continue;
        said = policy->existing;
        *by = policy;
    }
    return said;
}
