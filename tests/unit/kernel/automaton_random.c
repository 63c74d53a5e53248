/* automaton, spelling: random policies and random requests: what the kernel lets go, the policies
 * allow; what it refuses though they allow it is of the kinds that policy/spelling.h names.
 * Another seed is tried by naming it: unit_kernel_automaton_random SEED [POLICIES]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/kernel/spelled.h"
#include "tests/unit/policy/naive_scene.h"

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
    struct facts_field field;
    struct facts_request request = naive_request(ask, &field);
    struct policy_verdict verdict;
    bool bad;

    if (strcmp(ask->method, "CONNECT") == 0)
        request.path = BYTES("");
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

/* ---- one request ---- */

struct spoken {
    struct naive_ask ask;
    bool encrypted;
    struct addr dst;
    struct policy_facts facts;
    uint64_t names; /* rules that are by a name, and fit it */
    char head[1024];
    size_t len;
};

static void choose_request(struct spoken *out, const struct spelled *spelled)
{
    struct naive_ask *ask = &out->ask;

    *ask = random_ask();
    out->encrypted = chance(2);
    while (ask->kind != NAIVE_HTTP_REQUEST)
        *ask = random_ask();
    out->dst = naive_dst(ask);
    out->names = is_resolved(ask) ? spelled_spoken(spelled, ask->host) : 0;
    ask->plain = !out->encrypted;
    ask->name = ask->server = out->encrypted ? ask->host : NULL;
    ask->cannot_resolve = ask->name_server = false;
    out->facts = (struct policy_facts){
        .protocol = PROTOCOL_TCP,
        .dst = &out->dst,
        .resolved = {ask->resolved, (size_t)ask->resolved_len},
        .plain = ask->plain,
        .name = ask->name,
    };
    out->len = write_head(ask, out->head, sizeof(out->head));
}

static bool may_connect(const struct policy_scope *scope, const struct policy_facts *facts)
{
    struct policy_verdict verdict;

    policy_decide_connect(scope, facts, &verdict);
    return verdict.verdict != VERDICT_DENY;
}

/* Whether the kernel's answer and the policies' may stand beside each other. */
static bool agrees(const struct spelled *spelled, const struct abi_spelling *spelling,
                   const struct naive_ask *ask, bool goes, bool allowed)
{
    bool judged = spelling->flags & ABI_SPELL_JUDGED;

    if (goes == allowed)
        return true;
    if (allowed)
        return is_documented(spelled, ask, judged);
    return !judged && (!ask->host || ask->odd || strcmp(ask->method, "CONNECT") == 0);
}

static void tell(const char *yaml, const struct spoken *spoken, const struct spelled *spelled,
                 const struct abi_spelling *spelling, bool goes)
{
    const struct naive_ask *ask = &spoken->ask;

    printf("%s", yaml); /* longer than print_message() takes */
    print_message("seed %u, %s to %s:%d%s resolved", seed, ask->curl ? "curl" : "wget",
                  ask->address, ask->port, spoken->encrypted ? ", encrypted" : "");
    for (int i = 0; i < ask->resolved_len; i++)
        print_message(" %s", ask->resolved[i]);
    print_message(
        "\n%s\ngoes %d, allowed %d; rules %llx named %llx denies %llx tls %llx spoken %llx "
        "made %d len %zu flags %x\n",
        spoken->head, goes, !goes, spelling->rules, spelling->named, spelling->denies,
        spelling->tls, (unsigned long long)spoken->names, spelled->made,
        spelled->spelling->rules_len, spelling->flags);
}

/* ---- many ---- */

struct tally {
    size_t read, rows, over;                    /* policies */
    size_t judged, gone, refused, conservative; /* requests */
};

static void ask_one(const struct naive *model, struct scene *scene, struct spelled *spelled,
                    const char *yaml, struct tally *tally)
{
    struct abi_spelling spelling;
    struct spoken spoken;
    bool allowed, goes;

    choose_request(&spoken, spelled);
    naive_scene_choose(scene, &spoken.ask);
    allowed = policies_allow(scene->scope, &spoken.facts, &spoken.ask);
    if (!may_connect(scene->scope, &spoken.facts))
        return; /* nothing is said there */
    assert_int_equal(naive_allows(model, &spoken.ask), allowed);
    spelling = spelled_at(spelled, scene->scope, &spoken.facts);
    goes = spelled_goes(&spelling, span_of(spoken.head, spoken.len), spoken.names, spoken.encrypted,
                        naive_seed);
    tally->judged += spelling.flags & ABI_SPELL_JUDGED;
    tally->gone += goes;
    tally->refused += !goes && !allowed;
    tally->conservative += !goes && allowed;
    if (!agrees(spelled, &spelling, &spoken.ask, goes, allowed)) {
        tell(yaml, &spoken, spelled, &spelling, goes);
        fail();
    }
}

static void ask_many(struct tally *tally)
{
    static struct naive model;
    CLEANUP(text_free) char *yaml = NULL;
    struct scene scene = {0};
    struct spelled spelled;

    if (naive_scene(&model, &scene, &yaml)) {
        spelled_init(&spelled, scene.view);
        tally->read++;
        tally->rows = spelled.rows.len > tally->rows ? spelled.rows.len : tally->rows;
        tally->over += spelled.made < 0;
        for (int i = 0; i < ASKS; i++)
            ask_one(&model, &scene, &spelled, yaml, tally);
        spelled_fini(&spelled);
    }
    scene_end(&scene);
}

static void lets_go_what_is_allowed(void **state)
{
    struct tally tally = {0};

    (void)state;
    naive_seed = seed;
    print_message("seed %u\n", seed);
    for (int i = 0; i < rounds; i++)
        ask_many(&tally);
    print_message("%zu of %d read, at most %zu rows, %zu too large; %zu judged, %zu gone, %zu "
                  "refused, %zu refused though allowed\n",
                  tally.read, rounds, tally.rows, tally.over, tally.judged, tally.gone,
                  tally.refused, tally.conservative);
    assert_true(tally.read > (size_t)rounds / 10 * 8 && tally.gone > tally.refused / 10);
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
