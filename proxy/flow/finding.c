#include "proxy/flow/finding.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "certs/fit.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/steps.h"

/* ---- which check counts ---- */

/* What denies, then what would, then what is only told; of equals the first. */
static bool outweighs(const struct inspection_check *check, const struct inspection_check *other)
{
    if (!other || check->verdict != other->verdict)
        return !other || check->verdict == VERDICT_DENY;
    return check->policy->mode == POLICY_ENFORCE && other->policy->mode == POLICY_MONITOR;
}

static struct policy_verdict verdict_of(const struct inspection_check *check)
{
    return (struct policy_verdict){
        .verdict = check->verdict,
        .mode = check->policy->mode,
        .action = check->policy->on_deny,
        .policy = check->policy,
        .place = check->place,
    };
}

static const char *whose(enum policy_direction direction)
{
    return direction == POLICY_REQUEST ? "request" : "response";
}

/* The same bytes have the same, as long as this agent lives, and nobody else can tell of what. */
static void hash(const struct flow *flow, struct span bytes, char out[FINDING_HASH])
{
    const struct worker_parts *parts = &flow->worker->parts;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    out[0] = 0;
    if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
        EVP_DigestUpdate(ctx, parts->salt, sizeof(parts->salt)) == 1 &&
        EVP_DigestUpdate(ctx, bytes.data, bytes.len) == 1 &&
        EVP_DigestFinal_ex(ctx, digest, &len) == 1)
        for (unsigned i = 0; i < len && 2 * i + 3 <= FINDING_HASH; i++)
            snprintf(out + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(ctx);
}

/* ---- patterns ---- */

bool finding_pattern(const struct flow *flow, const struct inspection_plan *plan,
                     enum policy_direction direction, const struct inspect_hit *hit,
                     struct finding *out)
{
    const struct inspection_check *best = NULL;

    for (size_t i = 0; i < plan->checks_len; i++) {
        const struct inspection_check *check = &plan->checks[i];

        if (check->bodies && check->direction & direction && hit->offset < check->max_bytes &&
            inspection_check_has(plan, check, hit->pattern) && outweighs(check, best))
            best = check;
    }
    if (!best)
        return false;
    *out = (struct finding){
        .verdict = verdict_of(best),
        .point = POLICY_POINT_BODY,
        .pattern = plan->lane->patterns[hit->pattern].name,
        .direction = whose(direction),
        .offset = hit->offset,
    };
    snprintf(out->verdict.reason, sizeof(out->verdict.reason), "the %s has %s in its body",
             out->direction, out->pattern);
    hash(flow, hit->bytes, out->sha256);
    return true;
}

/* ---- tokens ---- */

/* Its certificate has this name, whatever it was called by, and was verified; only a cluster's own
 * authority signs for it. */
static bool is_api_server(const struct flow *flow)
{
    const X509 *cert = flow->facts.visibility == VISIBILITY_TERMINATED && flow->upstream.ssl
                           ? SSL_get0_peer_certificate(flow->upstream.ssl)
                           : NULL;

    return cert && fit_name(cert, "kubernetes.default.svc") != FIT_NOT;
}

static void say_token(const struct flow *flow, const struct token *token, bool to_api_server,
                      char *out, size_t size)
{
    const struct pod *pod = flow->facts.who.pod;
    char address[ADDR_TEXT_MAX];
    bool named = pod && pod->name[0];

    snprintf(out, size, "a token of %.32s/%.32s%s%.32s is sent to %.40s by %s%.20s%s%.32s",
             token->space, token->account, token->pod[0] ? ", pod " : "", token->pod,
             to_api_server ? "the API server" : asked_name(flow, address),
             named ? "pod " : "a command of the host", named ? pod->space : "",
             named && pod->space[0] ? "/" : "", named ? pod->name : "");
}

bool finding_token(const struct flow *flow, const struct inspection_plan *plan, struct span jwt,
                   uint64_t offset, struct finding *out)
{
    const struct pod *pod = flow->facts.who.pod;
    const struct inspection_check *best = NULL;
    bool to_api_server = is_api_server(flow);
    struct token token;

    for (size_t i = 0; i < plan->checks_len; i++)
        if (!plan->checks[i].bodies && outweighs(&plan->checks[i], best))
            best = &plan->checks[i];
    if (!best || !token_read(jwt, &token) ||
        (to_api_server && token_is_of(&token, pod ? pod->space : "", pod ? pod->name : "")))
        return false;
    *out = (struct finding){
        .verdict = verdict_of(best),
        .point = POLICY_POINT_TOKEN,
        .pattern = "token-exfiltration",
        .direction = whose(POLICY_REQUEST),
        .offset = offset,
        .token = token,
    };
    say_token(flow, &token, to_api_server, out->verdict.reason, sizeof(out->verdict.reason));
    hash(flow, jwt, out->sha256);
    return true;
}

/* ---- what cannot be seen ---- */

/* What a policy has done about it. Where it does not say: as little as it lets pass what it would
 * deny if it saw it. */
static enum policy_unseen what_to_do(const struct inspection_check *check)
{
    enum policy_unseen said = check->policy->on_no_visibility;

    if (said != POLICY_UNSEEN_DEFAULT)
        return said;
    return check->verdict == VERDICT_DENY ? POLICY_UNSEEN_DROP : POLICY_UNSEEN_ALERT;
}

static struct policy_verdict unseen_verdict(const struct inspection_check *check)
{
    static const enum policy_action actions[POLICY_UNSEEN_MAX] = {
        [POLICY_UNSEEN_DROP] = POLICY_RESET,
        [POLICY_UNSEEN_SIGKILL] = POLICY_SIGKILL,
        [POLICY_UNSEEN_FREEZE] = POLICY_FREEZE,
        [POLICY_UNSEEN_STEER] = POLICY_RESET, /* it is on this route already */
    };
    struct policy_verdict verdict = verdict_of(check);
    enum policy_unseen what = what_to_do(check);

    verdict.action = actions[what];
    verdict.verdict = what == POLICY_UNSEEN_ALERT || check->policy->mode == POLICY_MONITOR
                          ? VERDICT_ALERT
                          : VERDICT_DENY;
    return verdict;
}

bool finding_unseen(const struct inspection_plan *plan, enum policy_direction direction,
                    const char *why, struct finding *out)
{
    const struct inspection_check *best = NULL;

    for (size_t i = 0; i < plan->checks_len; i++) {
        const struct inspection_check *check = &plan->checks[i];
        bool denies = check->direction & direction && unseen_verdict(check).verdict == VERDICT_DENY;

        if (check->direction & direction &&
            (!best || (denies && unseen_verdict(best).verdict != VERDICT_DENY)))
            best = check;
    }
    if (!best)
        return false;
    *out = (struct finding){
        .verdict = unseen_verdict(best),
        .point = POLICY_POINT_VISIBILITY,
        .direction = whose(direction),
    };
    snprintf(out->verdict.reason, sizeof(out->verdict.reason),
             "the %s's body cannot be looked at: %s", out->direction, why);
    return true;
}

/* ---- what is too long ---- */

/* "1 MiB", "30 bytes" */
static void say_size(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    size_t unit = 0;

    while (unit + 1 < ARRAY_SIZE(units) && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, "%ju %s", (uintmax_t)bytes, units[unit]);
}

/* Who only tells what it sees tells that it does not. Its end can be kept back alone: 403. */
static struct policy_verdict beyond_verdict(const struct inspection_check *check)
{
    struct policy_verdict verdict =
        check->verdict == VERDICT_DENY ? unseen_verdict(check) : verdict_of(check);

    if (verdict.verdict == VERDICT_DENY && verdict.action == POLICY_RESET)
        verdict.action = POLICY_REJECT;
    return verdict;
}

bool finding_beyond(const struct inspection_plan *plan, enum policy_direction direction,
                    uint64_t bound, struct finding *out)
{
    const struct inspection_check *best = NULL;
    char size[32];

    for (size_t i = 0; i < plan->checks_len; i++) {
        const struct inspection_check *check = &plan->checks[i];

        if (check->direction & direction && check->max_bytes == bound &&
            (!best || (beyond_verdict(check).verdict == VERDICT_DENY &&
                       beyond_verdict(best).verdict != VERDICT_DENY)))
            best = check;
    }
    if (!best)
        return false;
    *out = (struct finding){
        .verdict = beyond_verdict(best),
        .point = POLICY_POINT_VISIBILITY,
        .direction = whose(direction),
    };
    say_size(bound, size, sizeof(size));
    snprintf(out->verdict.reason, sizeof(out->verdict.reason),
             "only the first %s of the %s's body are looked at", size, out->direction);
    return true;
}
