/* What is found in bodies, however they are cut, and by either engine. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>

#include "base/cleanup.h"
#include "policy/inspect.h"

#define A8     "abcdefgh"
#define A36    A8 A8 A8 A8 "abcd"
#define A22    A8 A8 "abcdef"
#define A59    A8 A8 A8 A8 A8 A8 A8 "abc"
#define A35    A8 A8 A8 A8 "abc"
#define HEAD   "eyJhbGciOiJIUzI1NiJ9"
#define CLAIMS "eyJzdWIiOiJqYW5lIn0"

static const struct {
    const char *pattern, *text, *want; /* NULL: nothing is found */
} cases[] = {
    {"payment-card", "4111111111111111", "4111111111111111"},
    {"payment-card", "{\"pan\":\"4111111111111111\"}", "4111111111111111"},
    {"payment-card", "pan=4111111111111111&cvc=1", "4111111111111111"},
    {"payment-card", "pan=4111+1111+1111+1111&cvc=1", "4111+1111+1111+1111"},
    {"payment-card", "pan=4111%201111%201111%201111&c", "4111%201111%201111%201111"},
    {"payment-card", "pan=%204111111111111111", "4111111111111111"},
    {"payment-card", "pan: 4111 1111 1111 1111 123", "4111 1111 1111 1111"},
    {"payment-card", "no 12 4111 1111 1111 1111.", "4111 1111 1111 1111"},
    {"payment-card", "4111-1111-1111-1111", "4111-1111-1111-1111"},
    {"payment-card", "a\\n4111111111111111", "4111111111111111"},
    {"payment-card", "4222222222222", "4222222222222"},
    {"payment-card", "4000000000000000006", "4000000000000000006"},
    {"payment-card", "4000 0000 0000 0000 006", "4000 0000 0000 0000 006"},
    {"payment-card", "5555555555554444", "5555555555554444"},
    {"payment-card", "2223003122003222", "2223003122003222"},
    {"payment-card", "378282246310005", "378282246310005"},
    {"payment-card", "3782 822463 10005", "3782 822463 10005"},
    {"payment-card", "30569309025904", "30569309025904"},
    {"payment-card", "3056 930902 5904", "3056 930902 5904"},
    {"payment-card", "6011111111111117", "6011111111111117"},
    {"payment-card", "3530111333300000", "3530111333300000"},
    {"payment-card", "6759649826438453", "6759649826438453"},
    {"payment-card", "4111111111111112", NULL}, /* its last digit */
    {"payment-card", "41111111111111111", NULL},
    {"payment-card", "14111111111111111", NULL},
    {"payment-card", "4111111111111111 1", "4111111111111111"},
    {"payment-card", "1234567812345670", NULL}, /* nobody issues those */
    {"payment-card", "411111111111116", NULL},
    {"payment-card", "4111 1111-1111 1111", NULL},
    {"payment-card", "4111  1111 1111 1111", NULL},
    {"payment-card", "41 11 11 11 11 11 11 11", NULL},
    {"payment-card", "{\"x\":0.4111111111111111}", NULL},
    {"iban", "DE89370400440532013000", "DE89370400440532013000"},
    {"iban", "to DE89 3704 0044 0532 0130 00, please", "DE89 3704 0044 0532 0130 00"},
    {"iban", "a=%20DE89%203704%200044%200532%200130%2000&",
     "DE89%203704%200044%200532%200130%2000"},
    {"iban", "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"},
    {"iban", "NO9386011117947", "NO9386011117947"},
    {"iban", "MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"},
    {"iban", "DE88370400440532013000", NULL},
    {"iban", "DE8937040044053201300", NULL},
    {"iban", "DE893704004405320130000", NULL},
    {"iban", "DE89370400440532013000X", NULL},
    {"iban", "XDE89370400440532013000", NULL},
    {"iban", "QQ89370400440532013000", NULL},
    {"private-key", "-----BEGIN PRIVATE KEY-----\nMIIE", "-----BEGIN PRIVATE KEY-----"},
    {"private-key", "x-----BEGIN RSA PRIVATE KEY-----\\n", "-----BEGIN RSA PRIVATE KEY-----"},
    {"private-key", "-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----"},
    {"private-key", "-----BEGIN PGP PRIVATE KEY BLOCK-----",
     "-----BEGIN PGP PRIVATE KEY BLOCK-----"},
    {"private-key", "-----BEGIN PUBLIC KEY-----", NULL},
    {"private-key", "-----END PRIVATE KEY-----", NULL},
    {"aws-access-key", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"},
    {"aws-access-key", "id=ASIAIOSFODNN7EXAMPLE&", "ASIAIOSFODNN7EXAMPLE"},
    {"aws-access-key", "AKIAIOSFODNN7EXAMPL", NULL},
    {"aws-access-key", "AKIAIOSFODNN7EXAMPLEX", NULL},
    {"aws-access-key", "XAKIAIOSFODNN7EXAMPLE", NULL},
    {"aws-access-key", "AKIBIOSFODNN7EXAMPLE", NULL},
    {"gcp-key", "?key=AIza" A35 "&", "AIza" A35},
    {"gcp-key", "AIza" A35 "x", NULL},
    {"gcp-key", "AIza" A22, NULL},
    {"github-token", "token ghp_" A36, "ghp_" A36},
    {"github-token", "ghs_" A36 "\n", "ghs_" A36},
    {"github-token", "github_pat_" A22 "_" A59, "github_pat_" A22 "_" A59},
    {"github-token", "gha_" A36, NULL},
    {"github-token", "ghp_" A35, NULL},
    {"github-token", "ghp_" A36 "x", NULL},
    {"slack-token", "xoxb-123456789012-abc", "xoxb-123456789012-abc"},
    {"slack-token", "\"xapp-1-A0123456789-a\"", "xapp-1-A0123456789-a"},
    {"slack-token", "xoxq-123456789012-abc", NULL},
    {"slack-token", "xoxb-12345", NULL},
    {"jwt", "Bearer " HEAD "." CLAIMS ".c2ln", HEAD "." CLAIMS "."},
    {"jwt", HEAD "." CLAIMS, NULL},
    {"jwt", HEAD "." HEAD "x.c2ln", NULL},
    /* told where it could end first */
    {"email", "to: jane.doe+x@mail.example.com.", "jane.doe+x@mail.example"},
    {"email", "<a@b.co>", "a@b.co"},
    {"email", "mail=jane%40example.com&", "jane%40example.com"},
    {"email", "jane@example", NULL},
    {"email", "@example.com", NULL},
    {"email", "jane@-x.com", NULL},
    {"email", "jane@x-.com", NULL},
    {"email", "jane@x..com", NULL},
    {"email", "jane.@x.com", NULL},
    {"email", "jane@x.c0m", NULL},
    {"email", "logo@2x.png", NULL},
    {"us-ssn", "123-45-6789", "123-45-6789"},
    {"us-ssn", "ssn=123 45 6789,", "123 45 6789"},
    {"us-ssn", "000-45-6789", NULL},
    {"us-ssn", "666-45-6789", NULL},
    {"us-ssn", "900-45-6789", NULL},
    {"us-ssn", "123-00-6789", NULL},
    {"us-ssn", "123-45-0000", NULL},
    {"us-ssn", "078-05-1120", NULL},
    {"us-ssn", "123-45 6789", NULL},
    {"us-ssn", "123-45-67890", NULL},
    {"us-ssn", "1123-45-6789", NULL},
    {"us-ssn", "1-123-45-6789", NULL},
    {"us-ssn", "123456789", NULL},
};

/* A policy's own. */
static const struct {
    const char *regex, *text, *want;
} own[] = {
    {"top secret", "this is top secret!", "top secret"},
    {"[Pp]roject-[a-z]+-[0-9]{4}", "about Project-x-2027.", "Project-x-2027"},
    {"x[0-9]+", "ax123", "x1"}, /* told where it ends first */
    {"^begin", "begin, begin", "begin"},
    {"^begin", "so begin", NULL},
    {"end$", "end, end", "end"},
    {"end$", "end.", NULL},
    {"(?i)confidential", "CoNfIdEnTiAl", "CoNfIdEnTiAl"},
    {"k=[^&]*&", "k=&", "k=&"},
};

struct found {
    struct span whole;
    char text[INSPECT_WINDOW + 1];
    size_t pattern;
    unsigned len;
};

static bool on_hit(const struct inspect_hit *hit, void *arg)
{
    struct found *found = arg;

    assert_int_equal(hit->length, hit->bytes.len);
    assert_true(hit->offset + hit->length <= found->whole.len);
    assert_memory_equal(hit->bytes.data, found->whole.data + hit->offset, hit->length);
    assert_true(span_to_text(hit->bytes, found->text, sizeof(found->text)));
    found->pattern = hit->pattern;
    found->len++;
    return true;
}

static void look(struct inspect *inspect, struct inspect_scratch *scratch, bool hasty, size_t cut,
                 struct found *found)
{
    CLEANUP(inspect_stream_free) struct inspect_stream *stream = NULL;
    struct span all = found->whole;

    found->len = 0;
    assert_int_equal(inspect_stream_new(&stream, inspect, hasty), 0);
    for (size_t at = 0; at < all.len; at += cut) {
        size_t len = cut < all.len - at ? cut : all.len - at;
        uint8_t *piece = malloc(len); /* nothing is read behind it */

        memcpy(piece, all.data + at, len);
        assert_true(inspect_feed(stream, scratch, span_of(piece, len), on_hit, found));
        free(piece);
    }
    assert_true(inspect_end(stream, scratch, on_hit, found));
    assert_false(inspect_failed(stream));
}

/* All that is built in at once: what is found is of one pattern. */
static struct inspect *all_built_in(enum inspect_engine engine)
{
    struct inspect_pattern patterns[16] = {0};
    struct inspect *inspect = NULL;
    struct err err = {0};
    size_t len = 0;

    for (; inspect_built_in[len]; len++)
        patterns[len].name = inspect_built_in[len];
    if (inspect_new(&inspect, patterns, len, engine, &err) < 0)
        fail_msg("%s", err.text);
    return inspect;
}

static void check(const char *pattern, const char *text, const char *want, bool hasty, size_t cut,
                  struct inspect *inspect, struct inspect_scratch *scratch)
{
    struct found found = {.whole = span_of_text(text)};

    look(inspect, scratch, hasty, cut, &found);
    if (found.len != (want != NULL) || (want && strcmp(found.text, want) != 0) ||
        (want && strcmp(inspect_name(inspect, found.pattern), pattern) != 0))
        fail_msg("%s in '%s', cut %zu: found %u: %s '%s'", pattern, text, cut, found.len,
                 found.len ? inspect_name(inspect, found.pattern) : "",
                 found.len ? found.text : "");
}

static void finds_what_is_built_in(enum inspect_engine engine)
{
    CLEANUP(inspect_unref) struct inspect *inspect = all_built_in(engine);
    CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;

    assert_int_equal(inspect_scratch_new(&scratch, inspect), 0);
    print_message("  by %s\n", inspect_engine_name(inspect));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len = strlen(cases[i].text);

        for (size_t cut = 1; cut <= len; cut++)
            check(cases[i].pattern, cases[i].text, cases[i].want, false, cut, inspect, scratch);
        check(cases[i].pattern, cases[i].text, cases[i].want, true, len, inspect, scratch);
    }
}

static void finds_what_is_own(enum inspect_engine engine)
{
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        const struct inspect_pattern patterns[] = {{"mine", own[i].regex}, {"iban", NULL}};
        CLEANUP(inspect_unref) struct inspect *inspect = NULL;
        CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;

        assert_int_equal(inspect_new(&inspect, patterns, ARRAY_SIZE(patterns), engine, NULL), 0);
        assert_int_equal(inspect_scratch_new(&scratch, inspect), 0);
        for (size_t cut = 1; cut <= strlen(own[i].text); cut++)
            check("mine", own[i].text, own[i].want, false, cut, inspect, scratch);
    }
}

static void finds_it(void **state)
{
    (void)state;
    finds_what_is_built_in(INSPECT_BEST);
    finds_what_is_own(INSPECT_BEST);
}

static void finds_it_without_vectorscan(void **state)
{
    (void)state;
    finds_what_is_built_in(INSPECT_OWN);
    finds_what_is_own(INSPECT_OWN);
}

struct leaving {
    uint64_t left, end; /* bytes that left; behind the match */
    bool told;
};

static bool deny(const struct inspect_hit *hit, void *arg)
{
    struct leaving *leaving = arg;

    leaving->told = true;
    leaving->end = hit->offset + hit->length;
    return false;
}

/* A piece leaves when it was looked at: the match's last byte never does. */
static void tells_before_the_last_byte_leaves(void **state)
{
    CLEANUP(inspect_unref) struct inspect *inspect = all_built_in(INSPECT_BEST);
    CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;

    (void)state;
    assert_int_equal(inspect_scratch_new(&scratch, inspect), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct span all = span_of_text(cases[i].text);

        for (size_t cut = 1; cases[i].want && cut <= all.len; cut++) {
            CLEANUP(inspect_stream_free) struct inspect_stream *stream = NULL;
            struct leaving leaving = {0};

            assert_int_equal(inspect_stream_new(&stream, inspect, true), 0);
            for (size_t at = 0; at < all.len; at += cut) {
                size_t len = cut < all.len - at ? cut : all.len - at;

                if (!inspect_feed(stream, scratch, span_of(all.data + at, len), deny, &leaving))
                    break;
                leaving.left += len;
            }
            assert_true(leaving.told);
            assert_true(leaving.left < leaving.end);
            assert_false(inspect_feed(stream, scratch, BYTES("more"), deny, &leaving));
            assert_false(inspect_end(stream, scratch, deny, &leaving));
        }
    }
}

static void finds_each_of_several(void **state)
{
    CLEANUP(inspect_unref) struct inspect *inspect = all_built_in(INSPECT_BEST);
    CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;
    struct found found = {.whole = BYTES("4111111111111111 a@b.co 4111111111111111 123-45-6789 "
                                         "AKIAIOSFODNN7EXAMPLE a@b.co")};

    (void)state;
    assert_int_equal(inspect_scratch_new(&scratch, inspect), 0);
    for (size_t cut = 1; cut <= found.whole.len; cut++) {
        look(inspect, scratch, false, cut, &found);
        assert_int_equal(found.len, 6);
    }
}

/* More than one set of expressions has room for. */
static void finds_many_that_are_long(void **state)
{
    enum { MANY = 26 };
    struct inspect_pattern patterns[MANY + 1];
    char expressions[MANY][32];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(expressions[i], sizeof(expressions[i]), "%c[01]{200}(x{1,800})?y", (int)('a' + i));
        patterns[i] = (struct inspect_pattern){"mine", expressions[i]};
    }
    patterns[MANY] = (struct inspect_pattern){"email", NULL};
    for (enum inspect_engine engine = INSPECT_BEST; engine <= INSPECT_OWN; engine++) {
        CLEANUP(inspect_unref) struct inspect *inspect = NULL;
        CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = NULL;
        struct err err = {0};

        if (inspect_new(&inspect, patterns, MANY + 1, engine, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(inspect_scratch_new(&scratch, inspect), 0);
        for (size_t i = 0; i <= MANY; i++) {
            char text[256];
            struct found found = {.whole = BYTES("me@example.com ")};

            if (i < MANY) {
                snprintf(text, sizeof(text), "%c%0200dy", (int)('a' + i), 1);
                found.whole = span_of_text(text);
            }
            look(inspect, scratch, false, 100, &found);
            assert_int_equal(found.len, 1);
            assert_int_equal(found.pattern, i);
        }
    }
}

static void refuses_what_is_no_pattern(void **state)
{
    static const struct {
        struct inspect_pattern pattern;
        const char *want;
    } wrong[] = {
        {{"credit-card", NULL}, "'credit-card' is no pattern that is built in"},
        {{"mine", "a("}, "mine: at byte 1 of 'a(': "},
        {{"mine", "a*"}, "at byte "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct inspect *inspect = NULL;
        struct err err = {0};

        assert_int_equal(inspect_new(&inspect, &wrong[i].pattern, 1, INSPECT_BEST, &err), -EINVAL);
        assert_null(inspect);
        if (!strstr(err.text, wrong[i].want))
            fail_msg("%s", err.text);
    }
}

static void knows_what_is_built_in(void **state)
{
    (void)state;
    for (size_t i = 0; inspect_built_in[i]; i++)
        assert_true(inspect_is_built_in(inspect_built_in[i]));
    assert_false(inspect_is_built_in("credit-card"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_it),
        cmocka_unit_test(finds_it_without_vectorscan),
        cmocka_unit_test(tells_before_the_last_byte_leaves),
        cmocka_unit_test(finds_each_of_several),
        cmocka_unit_test(finds_many_that_are_long),
        cmocka_unit_test(refuses_what_is_no_pattern),
        cmocka_unit_test(knows_what_is_built_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
