/* program: which route follows from what was seen of a program, and why it does not use kTLS. */
#include "proxy/kernel/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"

/* k: keys handed over, b: blind, r: refused; behind each sight, whether it bypasses. */
static const struct {
    const char *name, *sights, *bypasses;
} courses[] = {
    {"unknown: one sighting is enough", "k", "1"},
    {"seen again", "kkk", "111"},
    {"blind twice is chance", "kbb", "111"},
    {"blind three times is not", "kbbb", "1110"},
    {"seen again in between", "kbkbkkb", "1111110"},
    {"back after two sightings", "kbbbkk", "111001"},
    {"... then after four", "kbbbkkbbbkkkk", "1110011100001"},
    {"blind while it is on the proxy", "bbbk", "0001"},
    {"refused once is enough", "kr", "10"},
    {"... and back after two", "krkk", "1001"},
    {"... then after four", "krkkrkkkk", "100100001"},
    {"refused on the proxy is nothing", "rrk", "001"},
    {"blind once, then refused", "kbrkbk", "110001"},
};

static const char letters[] = "kbr"; /* by enum program_sight */

static void finds_the_route(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(courses); i++) {
        struct program_use use = {0};

        print_message("  %s\n", courses[i].name);
        for (size_t j = 0; courses[i].sights[j]; j++) {
            const char *letter = strchr(letters, courses[i].sights[j]);
            bool was = use.bypasses, changed;

            assert_non_null(letter);
            changed = program_saw(&use, (enum program_sight)(letter - letters));
            assert_int_equal(use.bypasses, courses[i].bypasses[j] == '1');
            assert_int_equal(changed, was != use.bypasses);
        }
    }
}

/* What `status` tells: sightings of those that are needed, and blind ones since. */
static void counts_what_it_goes_by(void **state)
{
    static const struct {
        const char *sights;
        unsigned seen, need, blind;
    } counts[] = {
        {"", 0, 1, 0},     {"k", 1, 1, 0},     {"kk", 1, 1, 0},      {"kbb", 1, 1, 2},
        {"kbbb", 0, 2, 0}, {"kbbbk", 1, 2, 0}, {"kbbbkkb", 2, 2, 1}, {"kbbbkkr", 0, 4, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct program_use use = {0};

        for (const char *sight = counts[i].sights; *sight; sight++)
            program_saw(&use, (enum program_sight)(strchr(letters, *sight) - letters));
        assert_int_equal(use.seen, counts[i].seen);
        assert_int_equal(program_needs(&use), counts[i].need);
        assert_int_equal(use.blind, counts[i].blind);
    }
}

static void never_needs_more_than_there_can_be(void **state)
{
    struct program_use use = {0};
    int sightings = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        for (sightings = 1; !program_saw(&use, PROGRAM_HANDS_KEYS); sightings++)
            assert_true(sightings < PROGRAM_NEED_MAX);
        program_saw(&use, PROGRAM_IS_REFUSED);
    }
    assert_int_equal(sightings, PROGRAM_NEED_MAX);
}

#define NONE NULL
static const struct {
    const char *name;
    struct program_facts facts;
    const char *sent, *received; /* a piece of why not; NULL: the kernel does */
} reasons[] = {
    {"both", {.host = true, .tx = true, .rx = true}, NONE, NONE},
    {"sent alone, TLS 1.3", {.host = true, .tx = true, .version = 0x0304}, NONE, "OpenSSL 3.2"},
    {"sent alone, TLS 1.2", {.host = true, .tx = true, .version = 0x0303}, NONE, "never seen"},
    {"no module", {.openssl = PROGRAM_YES, .own_bio = "libcurl"}, "no tls module", "no tls module"},
    {"no module any more", {.tx = true, .rx = true}, NONE, NONE},
    {"another library", {.host = true, .openssl = PROGRAM_NO}, "not OpenSSL", "not OpenSSL"},
    {"a BIO of its own",
     {.host = true, .openssl = PROGRAM_YES, .own_bio = "libcurl has"},
     "libcurl",
     "libcurl"},
    {"... and asked",
     {.host = true, .openssl = PROGRAM_YES, .own_bio = "libcurl has", .asked = true},
     "libcurl",
     "libcurl"},
    {"asked for, and not done",
     {.host = true, .openssl = PROGRAM_YES, .asked = true, .version = 0x0304},
     "asked for, but",
     "asked for, but"},
    {"asked for, and no OpenSSL that anybody knows",
     {.host = true, .asked = true},
     "never seen to",
     "never seen to"},
    {"CBC",
     {.host = true,
      .openssl = PROGRAM_YES,
      .version = 0x0303,
      .cipher = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"},
     "CBC",
     "CBC"},
    {"CCM of TLS 1.3",
     {.host = true, .openssl = PROGRAM_YES, .version = 0x0304, .cipher = "TLS_AES_128_CCM_SHA256"},
     "CCM",
     "CCM"},
    {"CCM of TLS 1.2",
     {.host = true,
      .openssl = PROGRAM_YES,
      .version = 0x0303,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"},
     "not asked for",
     "not asked for"},
    {"old TLS", {.host = true, .openssl = PROGRAM_YES, .version = 0x0302}, "older", "older"},
    {"not asked for",
     {.host = true, .openssl = PROGRAM_YES, .version = 0x0304, .cipher = "TLS_AES_256_GCM_SHA384"},
     "--ktls",
     "--ktls"},
    {"nobody knows", {.host = true}, "never seen to", "never seen to"},
};

static void says_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        const char *sent = program_why_not_sent(&reasons[i].facts);
        const char *received = program_why_not_received(&reasons[i].facts);

        print_message("  %s\n", reasons[i].name);
        assert_int_equal(program_is_capable(&reasons[i].facts),
                         !sent || strncmp(sent, "not asked for", 13) == 0);
        assert_int_equal(sent != NULL, reasons[i].sent != NULL);
        assert_int_equal(received != NULL, reasons[i].received != NULL);
        if (sent)
            assert_non_null(strstr(sent, reasons[i].sent));
        if (received)
            assert_non_null(strstr(received, reasons[i].received));
    }
}

/* ---- which route ---- */

#define TX                                                                                         \
    {                                                                                              \
        .host = true, .tx = true                                                                   \
    }
#define BYPASSES                                                                                   \
    {                                                                                              \
        .bypasses = true                                                                           \
    }
#define SOCKMAP .plain = true, .ktls = true, .sure = true
#define LSM     .plain = true, .ktls = true
static const struct {
    const char *name;
    struct program_facts facts;
    struct program_use use;
    struct program_way way;
    enum policy_route want;
    const char *why; /* a piece of it */
} routes[] = {
    {"the kernel encrypts for it", TX, BYPASSES, {SOCKMAP}, POLICY_ROUTE_KERNEL, "for it"},
    {"... and it speaks HTTP/2", TX, BYPASSES, {LSM, .http2 = true}, POLICY_ROUTE_KERNEL, "for it"},
    {"by itself", {.host = true}, {0}, {SOCKMAP}, POLICY_ROUTE_PROXY, "by itself"},
    {"no back-end for kTLS", TX, BYPASSES, {.plain = true}, POLICY_ROUTE_PROXY, "cannot be both"},
    {"sent back", TX, {.need = 2}, {SOCKMAP}, POLICY_ROUTE_PROXY, "not read, or not decided"},
    {"rules that can be raced",
     TX,
     BYPASSES,
     {LSM, .policies = POLICY_WAY_SURE},
     POLICY_ROUTE_PROXY,
     "can be raced"},
    {"rules that cannot",
     TX,
     BYPASSES,
     {SOCKMAP, .policies = POLICY_WAY_SURE},
     POLICY_ROUTE_KERNEL,
     "for it"},
    {"... of HTTP/2",
     TX,
     BYPASSES,
     {SOCKMAP, .policies = POLICY_WAY_SURE, .http2 = true},
     POLICY_ROUTE_PROXY,
     "HTTP/2"},
    {"what only the proxy can keep",
     TX,
     BYPASSES,
     {SOCKMAP, .policies = POLICY_WAY_NEEDS_PROXY},
     POLICY_ROUTE_PROXY,
     "only the proxy"},
    {"a policy wants the proxy",
     TX,
     BYPASSES,
     {LSM, .policies = POLICY_WAY_PROXY, .pod = POLICY_ROUTE_KERNEL},
     POLICY_ROUTE_PROXY,
     "policies say so"},
    {"... or it left alone",
     TX,
     BYPASSES,
     {LSM, .policies = POLICY_WAY_PROXY, .passes = true},
     POLICY_ROUTE_PASSTHROUGH,
     "policies say so"},
    {"... or in the kernel",
     {.host = true},
     {0},
     {LSM, .policies = POLICY_WAY_KERNEL, .pod = POLICY_ROUTE_PROXY},
     POLICY_ROUTE_KERNEL,
     "policies say so"},
    {"the pod is for the kernel",
     {.host = true},
     {0},
     {LSM, .pod = POLICY_ROUTE_KERNEL, .policies = POLICY_WAY_SURE},
     POLICY_ROUTE_KERNEL,
     "setting"},
    {"... which has no kernel route",
     TX,
     BYPASSES,
     {.pod = POLICY_ROUTE_KERNEL},
     POLICY_ROUTE_PROXY,
     "nothing can be read"},
    {"the pod is for the proxy",
     TX,
     BYPASSES,
     {LSM, .pod = POLICY_ROUTE_PROXY},
     POLICY_ROUTE_PROXY,
     "setting"},
    {"the pod is left alone",
     TX,
     BYPASSES,
     {LSM, .pod = POLICY_ROUTE_PASSTHROUGH, .passes = true},
     POLICY_ROUTE_PASSTHROUGH,
     "setting"},
    {"... but for rules",
     TX,
     BYPASSES,
     {LSM, .pod = POLICY_ROUTE_PASSTHROUGH, .policies = POLICY_WAY_SURE},
     POLICY_ROUTE_PROXY,
     "want to see"},
};

static void says_which_route(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        const char *why = NULL;

        print_message("  %s\n", routes[i].name);
        assert_int_equal(program_route(&routes[i].facts, &routes[i].use, &routes[i].way, &why),
                         routes[i].want);
        assert_non_null(why);
        if (!strstr(why, routes[i].why))
            fail_msg("it says '%s'", why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_route),
        cmocka_unit_test(counts_what_it_goes_by),
        cmocka_unit_test(never_needs_more_than_there_can_be),
        cmocka_unit_test(says_why_not),
        cmocka_unit_test(says_which_route),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
