/* inspection_head: what the heads of requests and answers say that matters to who looks: tokens,
 * and how a body is encoded. */
#include <stdio.h>
#include <string.h>

#include "policy/decode.h"
#include "policy/jwt.h"
#include "proxy/flow/finding.h"
#include "proxy/flow/inspection.h"
#include "proxy/flow/inspection_own.h"
#include "proxy/flow/inspection_plan.h"
#include "proxy/flow/steps.h"

bool inspection_copy(char **out, struct span text)
{
    enum { MOST = 1024 };

    *out = text.data ? strndup((const char *)text.data, text.len < MOST ? text.len : MOST) : NULL;
    return *out || !text.data;
}

/* ---- how a body is encoded ---- */

static const char unknown[] = "?"; /* no encoding is called so */

/* All fields of a name are one list (RFC 9110 section 5.3); "?" where it is too long to be one that
 * is known. */
static void join(const struct facts_field *fields, size_t len, const char *name,
                 char out[INSPECTION_ENCODING_MAX])
{
    size_t used = 0;

    out[0] = 0;
    for (size_t i = 0; i < len; i++) {
        struct span value = fields[i].value;

        if (!span_equal_nocase(fields[i].name, name) || !value.len)
            continue;
        if (used + value.len + 2 > INSPECTION_ENCODING_MAX ||
            !span_to_text(value, out + used + (used > 0), INSPECTION_ENCODING_MAX - used - 1)) {
            snprintf(out, INSPECTION_ENCODING_MAX, "%s", unknown);
            return;
        }
        if (used)
            out[used++] = ',';
        used += value.len;
    }
}

/* False: it says several. */
static bool one_kind(const struct facts_field *fields, size_t len, enum grpc_kind *kind)
{
    bool said = false;

    *kind = GRPC_NONE;
    for (size_t i = 0; i < len; i++) {
        enum grpc_kind now;

        if (!span_equal_nocase(fields[i].name, "content-type"))
            continue;
        now = grpc_kind_of(fields[i].value);
        if (said && now != *kind)
            return false;
        *kind = now;
        said = true;
    }
    return true;
}

static bool is_plain(const char *encoding)
{
    CLEANUP(decode_free) struct decode *decode = NULL;

    return decode_new(&decode, span_of_text(encoding), NULL, NULL) == 0 && decode_is_plain(decode);
}

enum grpc_kind inspection_coding(const struct facts_field *fields, size_t len,
                                 char out[INSPECTION_ENCODING_MAX])
{
    enum grpc_kind kind;
    bool one = one_kind(fields, len, &kind);

    join(fields, len, "content-encoding", out);
    if (one && kind == GRPC_NONE)
        return GRPC_NONE;
    if (!one || !is_plain(out)) { /* which frames are in it is anybody's guess */
        snprintf(out, INSPECTION_ENCODING_MAX, "%s", unknown);
        return GRPC_NONE;
    }
    join(fields, len, "grpc-encoding", out);
    return kind;
}

/* ---- a request's head ---- */

struct head {
    struct flow *flow;
    const struct facts_request *request;
    const struct inspection_plan *plan;
    char *method, *path;
    unsigned told;
    enum inspected result;
};

static void settle_head(struct head *head, struct finding *finding)
{
    if (finding->verdict.verdict != VERDICT_DENY && head->told++ >= INSPECTION_TOLD_MAX)
        return;
    finding->host = head->request->host;
    finding->method = head->method;
    finding->path = head->path;
    head->result = verdict_found(head->flow, finding) ? INSPECTED_TOLD : INSPECTED_STOP;
}

static bool on_head_token(struct span text, uint64_t offset, void *arg)
{
    struct head *head = arg;
    struct finding finding;

    if (finding_token(head->flow, head->plan, text, offset, &finding))
        settle_head(head, &finding);
    return head->result != INSPECTED_STOP;
}

/* False: no memory to look at all of it. */
static bool look_for_tokens(struct head *head)
{
    const struct facts_request *request = head->request;
    bool all = !head->plan->tokens || jwt_scan(request->url, on_head_token, head);

    for (size_t i = 0; all && head->plan->tokens && i < request->fields_len; i++)
        all = jwt_scan(request->fields[i].value, on_head_token, head) &&
              jwt_scan(request->fields[i].name, on_head_token, head);
    if (!all && head->result != INSPECTED_STOP) {
        verdict_blind(head->flow);
        head->result = INSPECTED_STOP;
    }
    return all;
}

/* One that is longer than may be, as far as its head tells. */
static void look_at_length(struct head *head)
{
    const struct facts_request *request = head->request;
    struct span text = facts_find_field(request->fields, request->fields_len, "content-length");
    uint64_t length = 0, bound = 0;
    struct finding finding;

    for (size_t i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        length = length < UINT64_MAX / 100 ? length * 10 + (uint64_t)(text.data[i] - '0') : length;
    for (;;) {
        bound = inspection_plan_bound(head->plan, POLICY_REQUEST, bound);
        if (length <= bound)
            return;
        if (finding_beyond(head->plan, POLICY_REQUEST, bound, &finding) &&
            finding.verdict.verdict == VERDICT_DENY) {
            settle_head(head, &finding);
            return;
        }
    }
}

/* A body in an encoding that is not known, or too long, is refused before its head goes on. */
static void look_at_encoding(struct head *head)
{
    const struct facts_request *request = head->request;
    CLEANUP(decode_free) struct decode *decode = NULL;
    char encoding[INSPECTION_ENCODING_MAX];
    enum decode_status status = DECODE_NO_MEMORY;
    struct finding finding;

    if (!inspection_plan_reach(head->plan, POLICY_REQUEST) ||
        inspection_coding(request->fields, request->fields_len, encoding) != GRPC_NONE)
        return;
    if (decode_new(&decode, span_of_text(encoding), NULL, NULL) == 0)
        status = decode_end(decode, NULL, NULL);
    if (status == DECODE_FINE && decode_is_plain(decode))
        look_at_length(head);
    if (status != DECODE_FINE &&
        finding_unseen(head->plan, POLICY_REQUEST, decode_reason(status), &finding) &&
        finding.verdict.verdict == VERDICT_DENY) /* else it is told of the body, if one comes */
        settle_head(head, &finding);
}

enum inspected inspection_head(struct flow *flow, const struct facts_request *request)
{
    CLEANUP(inspection_plan_unref) struct inspection_plan *plan = NULL;
    CLEANUP(text_free) char *method = NULL;
    CLEANUP(text_free) char *path = NULL;
    struct head head = {.flow = flow, .request = request};

    if (!inspection_is_wanted(flow))
        return INSPECTED_FINE;
    plan = inspection_plan_get(flow);
    if (!plan || !inspection_copy(&method, request->method) ||
        !inspection_copy(&path, request->path)) {
        verdict_blind(flow);
        return INSPECTED_STOP;
    }
    head.plan = plan;
    head.method = method;
    head.path = path;
    if (look_for_tokens(&head) && head.result != INSPECTED_STOP)
        look_at_encoding(&head);
    return head.result;
}
