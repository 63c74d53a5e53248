/* automaton, spelling: random policies and random requests: what the kernel lets go, the policies
 * allow; what it refuses though they allow it is of the kinds that policy/spelling.h names.
 * Another seed is tried by naming it: unit_kernel_automaton_random SEED [POLICIES]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/kernel/spelled.h"
#include "tests/unit/policy/naive_judge.h"
#include "tests/unit/policy/scene.h"

enum { POLICIES = 60, ASKS = 60 };

static unsigned seed = 1;
static int rounds = POLICIES;

static bool is_resolved(const struct naive_ask *ask)
{
    for (int i = 0; ask->host && i < ask->resolved_len; i++)
        if (strcmp(ask->resolved[i], ask->host) == 0)
            return true;
    return false;
}

static size_t write_head(const struct naive_ask *ask, char *out, size_t size)
{
    bool connect = strcmp(ask->method, "CONNECT") == 0;
    bool absolute = ask->host && !connect && ask->paths[0][0] == '/' && chance(6) == 0;
    char host[80] = "";

    if (ask->host)
        snprintf(host, sizeof(host), "%s%s%s", ask->host, chance(4) ? "" : ".",
                 chance(3) ? "" : ":8080");
    if (chance(4) == 0)
        for (char *at = host; *at; at++)
            *at = (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    return (size_t)snprintf(out, size, "%s %s%s%s%s HTTP/1.%c\r\n%s%s%s%s%s%s%s%s\r\n", ask->method,
                            absolute ? "http://" : "", absolute || connect ? host : "",
                            connect ? ":443" : ask->paths[0],
                            chance(3) || connect || ask->paths[0][0] != '/' ? "" : "?q=/..//a",
                            ask->host ? '1' : '0', chance(2) ? "X-C: 1 2\r\n" : "",
                            ask->host ? "hOST:" : "", host, ask->host ? "\r\n" : "",
                            ask->field ? ask->field : "", ask->field ? ": " : "",
                            ask->field ? ask->value : "", ask->field ? " \r\n" : "");
}

/* What a naive reading says, which decide_random.c holds policy_decide_http() to. */
static bool naive_allows(const struct naive *model, const struct naive_ask *ask)
{
    bool bad;

    return judge(model, ask, &bad) != NAIVE_DENIED && !bad;
}

static bool policies_allow(const struct policy_scope *scope, const struct policy_facts *facts,
                           const struct naive_ask *ask)
{
    const struct facts_field field = {span_of_text(ask->field), span_of_text(ask->value)};
    const struct facts_request request = {
        .method = span_of_text(ask->method),
        .path = span_of_text(strcmp(ask->method, "CONNECT") == 0 ? "" : ask->paths[0]),
        .host = ask->host,
        .fields = &field,
        .fields_len = ask->field != NULL,
    };
    struct policy_verdict verdict;
    bool bad;

    policy_decide_http(scope, facts, &request, &bad, &verdict);
    return !bad && verdict.verdict != VERDICT_DENY;
}

/* Whether policy/spelling.h says that it is refused though it may be allowed. */
static bool is_documented(const struct spelled *spelled, const struct naive_ask *ask, bool judged)
{
    bool known = strcmp(ask->method, "get") != 0 && strcmp(ask->method, "GETX") != 0;

    if (!known || spelled->made < 0 || spelled->spelling->rules_len == SPELLING_RULES)
        return true;
    if (strchr(ask->paths[0], '\\') || !judged) /* is no HTTP */
        return true;
    if (strcmp(ask->method, "CONNECT") == 0 || ask->paths_len > 1 || ask->odd || !ask->host)
        return true;
    for (size_t i = 2; i < spelled->spelling->rules_len; i++) {
        const struct spelling_rule *rule = &spelled->spelling->rules[i];

        if (rule->inexact || (rule->deny && rule->by_name)) /* whatever the port */
            return true;
    }
    return false;
}

static void lets_go_what_is_allowed(void **state)
{
    size_t read = 0, judged = 0, gone = 0, refused = 0, conservative = 0, rows = 0, over = 0;

    (void)state;
    naive_seed = seed;
    print_message("seed %u\n", seed);
    for (int i = 0; i < rounds; i++) {
        static struct naive model;
        struct scene scene = {0};
        struct faults faults = {0};
        struct spelled spelled;
        char *yaml;

        random_policies(&model);
        yaml = print_policies(&model);
        if (policy_compile(&scene.list, span_of_text(yaml), "random.yaml", &faults) < 0) {
            faults_fini(&faults);
            free(yaml);
            scene_end(&scene);
            continue;
        }
        read++;
        scene_begin(&scene, NULL);
        spelled_init(&spelled, scene.view);
        rows = spelled.rows.len > rows ? spelled.rows.len : rows;
        over += spelled.made < 0;
        for (int j = 0; j < ASKS; j++) {
            struct naive_ask ask = random_ask();
            struct abi_spelling spelling;
            struct policy_facts facts = {.protocol = PROTOCOL_TCP};
            char address[80], head[1024];
            struct policy_verdict connect;
            uint64_t spoken = 0;
            struct addr dst;
            bool encrypted = chance(2), allowed, goes;
            size_t len;

            while (ask.kind != NAIVE_HTTP_REQUEST)
                ask = random_ask();
            policy_scope_free(&scene.scope);
            scene.scope = scene_scope(&scene, ask.curl ? "/usr/bin/curl" : "/usr/bin/wget");
            snprintf(address, sizeof(address), strchr(ask.address, ':') ? "[%s]:%d" : "%s:%d",
                     ask.address, ask.port);
            dst = scene_addr(address);
            facts.dst = &dst;
            facts.resolved = (struct policy_names){ask.resolved, (size_t)ask.resolved_len};
            spelling = spelled_at(&spelled, scene.scope, &facts);
            if (is_resolved(&ask))
                spoken = spelled_spoken(&spelled, ask.host);
            facts.plain = ask.plain = !encrypted;
            ask.name = ask.server = encrypted ? ask.host : NULL;
            ask.cannot_resolve = ask.name_server = false;
            facts.name = encrypted ? ask.host : NULL;
            len = write_head(&ask, head, sizeof(head));
            allowed = policies_allow(scene.scope, &facts, &ask);
            policy_decide_connect(scene.scope, &facts, &connect);
            if (connect.verdict == VERDICT_DENY)
                continue; /* nothing is said there */
            assert_int_equal(naive_allows(&model, &ask), allowed);
            goes = spelled_goes(&spelling, span_of(head, len), spoken, encrypted, naive_seed);
            judged += spelling.flags & ABI_SPELL_JUDGED;
            gone += goes;
            refused += !goes && !allowed;
            conservative += !goes && allowed;
            if ((goes && !allowed && spelling.flags & ABI_SPELL_JUDGED) ||
                (goes && !allowed && !(spelling.flags & ABI_SPELL_JUDGED) && ask.host && !ask.odd &&
                 strcmp(ask.method, "CONNECT") != 0) ||
                (!goes && allowed &&
                 !is_documented(&spelled, &ask, spelling.flags & ABI_SPELL_JUDGED))) {
                printf("%s", yaml);
                print_message(
                    "seed %u, %s to %s%s resolved %s %s %s\n%s\ngoes %d, allowed %d; rules "
                    "%llx named %llx denies %llx tls %llx spoken %llx made %d len %zu flags %x\n",
                    seed, ask.curl ? "curl" : "wget", address, encrypted ? ", encrypted" : "",
                    ask.resolved_len > 0 ? ask.resolved[0] : "",
                    ask.resolved_len > 1 ? ask.resolved[1] : "",
                    ask.resolved_len > 2 ? ask.resolved[2] : "", head, goes, allowed,
                    spelling.rules, spelling.named, spelling.denies, spelling.tls,
                    (unsigned long long)spoken, spelled.made, spelled.spelling->rules_len,
                    spelling.flags);
                fail();
            }
        }
        spelled_fini(&spelled);
        faults_fini(&faults);
        free(yaml);
        scene_end(&scene);
    }
    print_message("%zu of %d read, at most %zu rows, %zu too large; %zu judged, %zu gone, %zu "
                  "refused, %zu refused though allowed\n",
                  read, rounds, rows, over, judged, gone, refused, conservative);
    assert_true(read > (size_t)rounds / 10 * 8 && gone > refused / 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_go_what_is_allowed),
    };

    if (argc > 1)
        seed = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        rounds = atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
