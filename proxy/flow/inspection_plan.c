#include "proxy/flow/inspection_plan.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "policy/view.h"
#include "proxy/flow/flow.h"
#include "proxy/worker.h"

/* Pods with policies of their own take turns, often with nothing under way in between. */
enum { LANES_KEPT = 8 };

static const char JWT[] = "jwt";

/* ---- patterns ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_pattern(const struct inspect_pattern *a, const struct inspect_pattern *b)
{
    return strcmp(a->name, b->name) == 0 && same_text(a->regex, b->regex);
}

struct patterns { /* borrowed from policies */
    struct inspect_pattern *list;
    size_t len;
};

static void add_pattern(struct patterns *patterns, const char *name, const char *regex)
{
    const struct inspect_pattern pattern = {name, regex};

    for (size_t i = 0; i < patterns->len; i++)
        if (same_pattern(&patterns->list[i], &pattern))
            return;
    patterns->list[patterns->len++] = pattern;
}

static bool gather(struct patterns *patterns, const struct inspection_plan *plan)
{
    size_t room = 1;

    for (size_t i = 0; i < plan->checks_len; i++)
        room += plan->checks[i].bodies ? plan->checks[i].bodies->patterns_len : 0;
    patterns->list = calloc(room, sizeof(*patterns->list));
    if (!patterns->list)
        return false;
    if (plan->tokens)
        add_pattern(patterns, JWT, NULL);
    for (size_t i = 0; i < plan->checks_len; i++) {
        const struct policy_bodies *bodies = plan->checks[i].bodies;

        for (size_t n = 0; bodies && n < bodies->patterns_len; n++)
            add_pattern(patterns, bodies->patterns[n].name, bodies->patterns[n].regex);
    }
    return true;
}

/* ---- lanes ---- */

static void lane_unref(struct inspection_lane **lane)
{
    struct inspection_lane *gone = TAKE(*lane);

    if (!gone || --gone->refs)
        return;
    for (size_t i = 0; i < gone->patterns_len; i++) {
        free((char *)gone->patterns[i].name);
        free((char *)gone->patterns[i].regex);
    }
    free(gone->patterns);
    inspect_scratch_free(&gone->scratch);
    inspect_unref(&gone->inspect);
    free(gone);
}

static bool copy_patterns(struct inspection_lane *lane, const struct patterns *patterns)
{
    bool copied = true;

    lane->patterns = calloc(patterns->len, sizeof(*lane->patterns));
    for (size_t i = 0; lane->patterns && i < patterns->len; i++) {
        const struct inspect_pattern *from = &patterns->list[i];
        struct inspect_pattern *to = &lane->patterns[lane->patterns_len++];

        to->name = strdup(from->name);
        to->regex = from->regex ? strdup(from->regex) : NULL;
        copied = copied && to->name && (to->regex || !from->regex);
    }
    return lane->patterns && copied;
}

static struct inspection_lane *lane_new(const struct patterns *patterns)
{
    CLEANUP(lane_unref) struct inspection_lane *lane = calloc(1, sizeof(*lane));
    struct err err = {0};

    if (!lane)
        return NULL;
    lane->refs = 1;
    if (!copy_patterns(lane, patterns))
        return NULL;
    if (inspect_new(&lane->inspect, patterns->list, patterns->len, INSPECT_BEST, &err) < 0) {
        log_error(
            "the patterns of a policy cannot be looked for, so what it inspects is denied: %s",
            err.text);
        return NULL;
    }
    return inspect_scratch_new(&lane->scratch, lane->inspect) < 0 ? NULL : TAKE(lane);
}

static bool lane_is_of(const struct inspection_lane *lane, const struct patterns *patterns)
{
    if (lane->patterns_len != patterns->len)
        return false;
    for (size_t i = 0; i < patterns->len; i++)
        if (!same_pattern(&lane->patterns[i], &patterns->list[i]))
            return false;
    return true;
}

static size_t count_lanes(const struct worker *worker)
{
    size_t len = 0;

    for (const struct inspection_lane *lane = worker->lanes; lane; lane = lane->next)
        len++;
    return len;
}

/* Those that no flow uses now. */
static void sweep(struct worker *worker, unsigned refs)
{
    struct inspection_lane **link = &worker->lanes;

    while (*link) {
        struct inspection_lane *lane = *link;

        if (lane->refs > refs) {
            link = &lane->next;
            continue;
        }
        *link = lane->next;
        lane_unref(&lane);
    }
}

void inspection_lanes_fini(struct worker *worker)
{
    sweep(worker, UINT32_MAX);
}

static struct inspection_lane *lane_get(struct worker *worker, const struct patterns *patterns)
{
    struct inspection_lane *lane = worker->lanes;

    while (lane && !lane_is_of(lane, patterns))
        lane = lane->next;
    if (!lane) {
        lane = lane_new(patterns);
        if (!lane)
            return NULL;
        if (count_lanes(worker) >= LANES_KEPT)
            sweep(worker, 1);
        lane->next = worker->lanes;
        worker->lanes = lane;
    }
    lane->refs++;
    return lane;
}

/* ---- plans ---- */

void inspection_plan_unref(struct inspection_plan **plan)
{
    struct inspection_plan *gone = TAKE(*plan);

    if (!gone || --gone->refs)
        return;
    for (size_t i = 0; i < gone->policies_len; i++)
        policy_unref(&gone->policies[i]);
    free(gone->policies);
    free(gone->checks);
    lane_unref(&gone->lane);
    free(gone);
}

static enum verdict in_earnest(const struct policy *policy, enum verdict verdict)
{
    return policy->mode == POLICY_ENFORCE ? verdict : VERDICT_ALERT;
}

static void add_policy(struct inspection_plan *plan, const struct policy *policy)
{
    for (size_t i = 0; i < policy->bodies_len; i++) {
        const struct policy_bodies *bodies = &policy->bodies[i];

        plan->checks[plan->checks_len++] =
            (struct inspection_check){policy,
                                      bodies,
                                      &bodies->place,
                                      bodies->direction,
                                      in_earnest(policy, bodies->action),
                                      bodies->max_bytes};
    }
    if (policy->tokens == POLICY_INSPECT_OFF)
        return;
    plan->tokens = true;
    plan->checks[plan->checks_len++] = (struct inspection_check){
        policy,
        NULL,
        &policy->tokens_place,
        POLICY_REQUEST,
        in_earnest(policy, policy->tokens == POLICY_INSPECT_DENY ? VERDICT_DENY : VERDICT_ALERT),
        UINT64_MAX};
}

static bool says_anything(const struct policy *policy)
{
    return policy->bodies_len || policy->tokens != POLICY_INSPECT_OFF;
}

bool inspection_is_wanted(const struct flow *flow)
{
    const struct policy_scope *scope = flow->verdicts.scope;

    for (size_t i = 0; scope && i < policy_scope_len(scope); i++)
        if (says_anything(policy_scope_at(scope, i)))
            return true;
    return false;
}

static bool fill(struct inspection_plan *plan, const struct policy_scope *scope)
{
    size_t len = policy_scope_len(scope), checks = 0;

    for (size_t i = 0; i < len; i++)
        checks += policy_scope_at(scope, i)->bodies_len + 1;
    plan->policies = calloc(len + 1, sizeof(struct policy *));
    plan->checks = calloc(checks + 1, sizeof(*plan->checks));
    if (!plan->policies || !plan->checks)
        return false;
    for (size_t i = 0; i < len; i++) {
        struct policy *policy = (struct policy *)policy_scope_at(scope, i);

        if (!says_anything(policy))
            continue;
        plan->policies[plan->policies_len++] = policy_ref(policy);
        add_policy(plan, policy);
    }
    return true;
}

static struct inspection_plan *plan_new(struct flow *flow)
{
    CLEANUP(inspection_plan_unref) struct inspection_plan *plan = calloc(1, sizeof(*plan));
    struct patterns patterns = {0};

    if (!plan)
        return NULL;
    plan->refs = 1;
    plan->scope = flow->verdicts.scope;
    plan->generation = flow->verdicts.generation;
    if (!fill(plan, plan->scope))
        return NULL;
    if (gather(&patterns, plan))
        plan->lane = lane_get(flow->worker, &patterns);
    free(patterns.list);
    return plan->lane ? TAKE(plan) : NULL;
}

struct inspection_plan *inspection_plan_get(struct flow *flow)
{
    struct inspection_plan *plan = flow->plan;

    if (!plan || plan->scope != flow->verdicts.scope ||
        plan->generation != flow->verdicts.generation) {
        plan = plan_new(flow);
        if (!plan)
            return NULL;
        inspection_plan_unref(&flow->plan);
        flow->plan = plan;
    }
    plan->refs++;
    return plan;
}

bool inspection_check_has(const struct inspection_plan *plan, const struct inspection_check *check,
                          size_t pattern)
{
    const struct inspect_pattern *found = &plan->lane->patterns[pattern];

    for (size_t i = 0; check->bodies && i < check->bodies->patterns_len; i++) {
        const struct policy_body_pattern *wanted = &check->bodies->patterns[i];

        if (strcmp(wanted->name, found->name) == 0 && same_text(wanted->regex, found->regex))
            return true;
    }
    return !check->bodies && strcmp(found->name, JWT) == 0 && !found->regex;
}

uint64_t inspection_plan_reach(const struct inspection_plan *plan, enum policy_direction direction)
{
    uint64_t reach = 0;

    for (size_t i = 0; i < plan->checks_len; i++)
        if (plan->checks[i].direction & direction && plan->checks[i].max_bytes > reach)
            reach = plan->checks[i].max_bytes;
    return reach && reach < UINT64_MAX - INSPECT_WINDOW ? reach + INSPECT_WINDOW : reach;
}

uint64_t inspection_plan_bound(const struct inspection_plan *plan, enum policy_direction direction,
                               uint64_t behind)
{
    uint64_t bound = UINT64_MAX;

    for (size_t i = 0; i < plan->checks_len; i++) {
        const struct inspection_check *check = &plan->checks[i];

        if (check->direction & direction && check->max_bytes > behind && check->max_bytes < bound)
            bound = check->max_bytes;
    }
    return bound;
}

bool inspection_plan_denies(const struct inspection_plan *plan, enum policy_direction direction)
{
    for (size_t i = 0; i < plan->checks_len; i++)
        if (plan->checks[i].direction & direction && plan->checks[i].verdict == VERDICT_DENY)
            return true;
    return false;
}
