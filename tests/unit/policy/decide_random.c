/* decide, explain: random policies and what they say of random things, held against a naive reading
 * of them. Another seed is tried by naming it: unit_policy_decide_random SEED [POLICIES]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/explain.h"
#include "tests/unit/policy/naive_scene.h"

enum { POLICIES = 400, ASKS = 40 };

static unsigned seed = 1;
static int rounds = POLICIES;

static uint16_t version(int minor)
{
    return (uint16_t)(minor ? 0x0301 + minor : 0);
}

/* explain NULL, or takes its words. */
static void decide(const struct policy_scope *scope, const struct naive_ask *ask, bool *bad,
                   struct policy_verdict *out, char **explain)
{
    static const enum policy_point points[] = {
        [NAIVE_CONNECT] = POLICY_POINT_CONNECT,   [NAIVE_DNS] = POLICY_POINT_DNS,
        [NAIVE_HELLO] = POLICY_POINT_TLS,         [NAIVE_SESSION] = POLICY_POINT_CERTIFICATE,
        [NAIVE_HTTP_REQUEST] = POLICY_POINT_HTTP,
    };
    const struct addr dst = naive_dst(ask);
    struct facts_field field;
    const struct facts_request request = naive_request(ask, &field);
    const struct policy_question question = {ask->question, (uint16_t)ask->type, "TYPE",
                                             ask->configured};
    const struct policy_hello hello = {ask->name, version(ask->version)};
    struct policy_facts facts = {
        .protocol = ask->udp ? PROTOCOL_UDP : PROTOCOL_TCP,
        .dst = &dst,
        .resolved = {ask->resolved, (size_t)ask->resolved_len},
        .name = ask->name,
        .cannot_resolve = ask->cannot_resolve,
        .name_server = ask->name_server,
        .plain = ask->plain,
    };

    *bad = false;
    memset(out, 0xa5, sizeof(*out));
    if (explain) {
        const struct policy_case what = {points[ask->kind],     &facts,      &question, &hello,
                                         version(ask->version), ask->cipher, &request};

        assert_int_equal(policy_explain(scope, &what, out, explain), 0);
        return;
    }
    switch (ask->kind) {
    case NAIVE_CONNECT:
        policy_decide_connect(scope, &facts, out);
        break;
    case NAIVE_DNS:
        policy_decide_dns(scope, &facts, &question, out);
        break;
    case NAIVE_HELLO:
        policy_decide_hello(scope, &facts, &hello, out);
        break;
    case NAIVE_SESSION:
        policy_decide_session(scope, &facts, version(ask->version), ask->cipher, out);
        break;
    default:
        policy_decide_http(scope, &facts, &request, bad, out);
        break;
    }
}

static const char *const kinds[] = {"connect", "question", "hello", "session", "request"};

static void tell(const char *yaml, const struct naive_ask *ask)
{
    const char *texts[] = {ask->resolved_len > 0 ? ask->resolved[0] : "",
                           ask->resolved_len > 1 ? ask->resolved[1] : "",
                           ask->resolved_len > 2 ? ask->resolved[2] : ""};

    printf("%s", yaml); /* longer than print_message() takes */
    print_message("seed %u\n%s%s to %s:%d resolved (%s %s %s) name %s%s%s%s\n", seed,
                  kinds[ask->kind], ask->udp ? "/UDP" : "", ask->address, ask->port, texts[0],
                  texts[1], texts[2], ask->name ? ask->name : "-",
                  ask->cannot_resolve ? " cannot resolve" : "",
                  ask->name_server ? " a name server" : "", ask->plain ? " plain" : "");
    if (ask->method)
        print_message("%s %s of %s, %s: %s\n", ask->method, ask->paths[0],
                      ask->host ? ask->host : "-", ask->field ? ask->field : "-",
                      ask->value ? ask->value : "-");
    if (ask->question)
        print_message("%s %d%s\n", ask->question, ask->type, ask->configured ? " configured" : "");
    if (ask->version)
        print_message("TLS 1.%d %s\n", ask->version, ask->cipher ? ask->cipher : "");
}

/* The rule that is told would do it by itself. */
static bool rule_says_so(const struct naive *model, const struct naive_ask *asked,
                         const struct policy_verdict *verdict, bool deny)
{
    int policy, rule = -1, entry = -1, which = -1;
    struct naive_ask ask = *asked;
    const struct naive_rule *of;

    if (ask.kind == NAIVE_HTTP_REQUEST && ask.host && strcmp(ask.method, "CONNECT") != 0) {
        ask.server = ask.name ? ask.host : NULL;
        ask.name = ask.host;
    } else if (ask.kind == NAIVE_HTTP_REQUEST) {
        ask.paths_len = 1;
        ask.paths[0] = ask.host ? "" : ask.paths[0];
    }
    if (sscanf(verdict->policy->id, "p%d", &policy) != 1)
        return false;
    if (sscanf(verdict->place->rule,
               deny ? "egressDeny[%d].toPorts[%d].rules.%*4[htpdns][%d]"
                    : "egress[%d].toPorts[%d].rules.%*4[htpdns][%d]",
               &rule, &entry, &which) < 1)
        return false;
    of = deny ? &model->policies[policy].deny[rule] : &model->policies[policy].egress[rule];
    if (!in_force(&model->policies[policy], verdict->mode == POLICY_MONITOR, &ask) ||
        !goes_there(of, deny, &ask))
        return false;
    if (entry < 0)
        return !of->to_ports_len;
    for (int i = 0; i < (ask.paths_len ? ask.paths_len : 1); i++)
        if (entry_takes(&of->to_ports[entry], deny, &ask, ask.paths[i], which))
            return true;
    return false;
}

static bool agrees(const struct naive *model, const struct naive_ask *ask,
                   const struct policy_verdict *verdict, bool bad)
{
    static const int verdicts[] = {[VERDICT_ALLOW] = NAIVE_ALLOWED,
                                   [VERDICT_ALERT] = NAIVE_TOLD,
                                   [VERDICT_DENY] = NAIVE_DENIED};
    bool want_bad,
        other = ask->method && ask->name && ask->host && strcmp(ask->name, ask->host) != 0;
    int want = judge(model, ask, &want_bad);

    if (verdicts[verdict->verdict] != want || bad != want_bad)
        return false;
    if (bad || other)
        return true;
    if (want == NAIVE_ALLOWED)
        return !verdict->policy || rule_says_so(model, ask, verdict, false);
    if (strncmp(verdict->reason, "a rule denies ", 14) == 0)
        return rule_says_so(model, ask, verdict, true);
    return strncmp(verdict->reason, "no rule allows ", 15) == 0;
}

/* Whether what is said of each rule amounts to the verdict. */
static bool explains(const struct policy_scope *scope, const struct naive_ask *ask,
                     const struct policy_verdict *verdict, bool bad)
{
    bool other = ask->method && ask->name && ask->host && strcmp(ask->name, ask->host) != 0;
    bool decides, fits = false, agreed, ignored;
    CLEANUP(text_free) char *text = NULL;
    struct policy_verdict same;

    decide(scope, ask, &ignored, &same, &text);
    decides = strstr(text, ": it decides\n");
    for (char *line = text; (line = strstr(line, ": it fits")); line++)
        fits |= strncmp(line, ": it fits, and only tells", 25) != 0;
    agreed = same.verdict == verdict->verdict && same.policy == verdict->policy &&
             same.place == verdict->place && strcmp(same.reason, verdict->reason) == 0 &&
             strncmp(text, verdict_name(same.verdict), strlen(verdict_name(same.verdict))) == 0;
    if (agreed && !bad && !other && ask->paths_len < 2) {
        if (verdict->verdict == VERDICT_ALLOW)
            agreed = decides == (verdict->policy != NULL);
        else if (strncmp(verdict->reason, "a rule denies ", 14) == 0)
            agreed = decides;
        else
            agreed = !decides && !fits;
    }
    if (!agreed)
        print_message("%s", text);
    return agreed;
}

static void agrees_with_a_naive_reading(void **state)
{
    int read = 0, verdicts[VERDICT_MAX] = {0}, bads = 0;

    (void)state;
    naive_seed = seed;
    print_message("seed %u\n", seed);
    for (int i = 0; i < rounds; i++) {
        static struct naive model;
        struct scene scene = {0};
        CLEANUP(text_free) char *yaml = NULL;

        if (naive_scene(&model, &scene, &yaml)) {
            read++;
            for (int j = 0; j < ASKS; j++) {
                struct naive_ask ask = random_ask();
                struct policy_verdict verdict;
                bool bad;

                naive_scene_choose(&scene, &ask);
                decide(scene.scope, &ask, &bad, &verdict, NULL);
                if (!agrees(&model, &ask, &verdict, bad)) {
                    bool want_bad;
                    int want = judge(&model, &ask, &want_bad);

                    tell(yaml, &ask);
                    print_message("says %s%s: %s (%s %s), want %d%s\n",
                                  verdict_name(verdict.verdict), bad ? " (bad)" : "",
                                  verdict.reason, verdict.policy ? verdict.policy->id : "-",
                                  verdict.place ? verdict.place->rule : "-", want,
                                  want_bad ? " (bad)" : "");
                    fail();
                }
                if (j % 4 == 0 && !explains(scene.scope, &ask, &verdict, bad)) {
                    tell(yaml, &ask);
                    fail();
                }
                verdicts[verdict.verdict]++;
                bads += bad;
            }
        }
        scene_end(&scene);
    }
    print_message("%d of %d read: %d allowed, %d told, %d denied, %d bad\n", read, rounds,
                  verdicts[VERDICT_ALLOW], verdicts[VERDICT_ALERT], verdicts[VERDICT_DENY], bads);
    assert_true(read > rounds / 10 * 8);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_reading),
    };

    if (argc > 1)
        seed = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        rounds = atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
