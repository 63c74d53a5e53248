/* What is a service-account token, and whose. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/token.h"

/* base64url, without padding. */
static void encode(const char *text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(text);
    uint32_t bits = 0;
    int have = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | (uint8_t)text[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = digits[bits >> (have - 6) & 63];
    }
    if (have)
        *out++ = digits[bits << (6 - have) & 63];
    *out = 0;
}

#define BOUND                                                                                      \
    "{\"aud\":[\"https://kubernetes.default.svc\"],\"exp\":1893456000,"                            \
    "\"iss\":\"https://kubernetes.default.svc\",\"kubernetes.io\":{\"namespace\":\"shop\","        \
    "\"pod\":{\"name\":\"cart-0\",\"uid\":\"5e1b\"},\"serviceaccount\":{\"name\":\"cart\","        \
    "\"uid\":\"77aa\"}},\"sub\":\"system:serviceaccount:shop:cart\"}"
#define HEADER "{\"alg\":\"RS256\",\"kid\":\"k\"}"

static const struct {
    const char *name, *header, *claims;
    const char *space, *account, *pod; /* NULL: no such token */
} cases[] = {
    {"bound to a pod", HEADER, BOUND, "shop", "cart", "cart-0"},
    {"of a Secret", HEADER,
     "{\"iss\":\"kubernetes/serviceaccount\",\"kubernetes.io/serviceaccount/namespace\":\"shop\","
     "\"kubernetes.io/serviceaccount/service-account.name\":\"cart\","
     "\"sub\":\"system:serviceaccount:shop:cart\"}",
     "shop", "cart", ""},
    {"of a Secret, without a subject", HEADER,
     "{\"kubernetes.io/serviceaccount/namespace\":\"shop\","
     "\"kubernetes.io/serviceaccount/service-account.name\":\"cart\"}",
     "shop", "cart", ""},
    {"bound, without a subject", HEADER,
     "{\"kubernetes.io\":{\"namespace\":\"shop\",\"serviceaccount\":{\"name\":\"cart\"}}}", "shop",
     "cart", ""},
    {"its subject alone", HEADER, "{\"sub\":\"system:serviceaccount:shop:cart\"}", "shop", "cart",
     ""},
    {"a user's", HEADER, "{\"sub\":\"jane\"}", NULL, NULL, NULL},
    {"a subject of no account", HEADER, "{\"sub\":\"system:serviceaccount:shop\"}", NULL, NULL,
     NULL},
    {"a name that is none", HEADER, "{\"sub\":\"system:serviceaccount:shop:a b\"}", NULL, NULL,
     NULL},
    {"a namespace longer than may be", HEADER,
     "{\"sub\":\"system:serviceaccount:"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:cart\"}",
     NULL, NULL, NULL},
    {"no object", HEADER, "[1]", NULL, NULL, NULL},
    {"no JSON", HEADER, "{\"sub\":", NULL, NULL, NULL},
    {"a header without alg", "{\"typ\":\"JWT\"}", BOUND, NULL, NULL, NULL},
    {"a header that is no JSON", "hello", BOUND, NULL, NULL, NULL},
};

static void reads_whose_it_is(void **state)
{
    char header[256], claims[1024], text[2048];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct token token = {0};
        bool read;

        print_message("  %s\n", cases[i].name);
        encode(cases[i].header, header);
        encode(cases[i].claims, claims);
        snprintf(text, sizeof(text), "%s.%s.c2lnbmF0dXJl", header, claims);
        read = token_read(span_of_text(text), &token);
        assert_int_equal(read, cases[i].space != NULL);
        if (!read)
            continue;
        assert_string_equal(token.space, cases[i].space);
        assert_string_equal(token.account, cases[i].account);
        assert_string_equal(token.pod, cases[i].pod);
    }
}

static const struct {
    const char *name, *token_space, *token_pod, *space, *pod;
    bool want;
} owners[] = {
    {"its own", "shop", "cart-0", "shop", "cart-0", true},
    {"its neighbour's", "shop", "cart-1", "shop", "cart-0", false},
    {"that of a pod elsewhere that is called the same", "bank", "cart-0", "shop", "cart-0", false},
    {"bound to no pod", "shop", "", "shop", "cart-0", true},
    {"bound to no pod, of another namespace", "bank", "", "shop", "cart-0", false},
    {"a pod's, in a command that is none", "shop", "cart-0", "", "", false},
    {"bound to no pod, in a command that is none", "shop", "", "", "", true},
};

static void knows_its_owner(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        struct token token = {0};

        print_message("  %s\n", owners[i].name);
        snprintf(token.space, sizeof(token.space), "%s", owners[i].token_space);
        snprintf(token.pod, sizeof(token.pod), "%s", owners[i].token_pod);
        assert_int_equal(token_is_of(&token, owners[i].space, owners[i].pod), owners[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whose_it_is),
        cmocka_unit_test(knows_its_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
