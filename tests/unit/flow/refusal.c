/* refusal: what a program's leaving means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/flow/steps.h"

#define MOMENT 1000000
#define LONG   (UINT64_C(3) * 1000000000)

static const struct {
    const char *what;
    struct refusal refusal;
    const char *word, *sentence; /* NULL: none */
} cases[] = {
    {"OpenSSL, curl",
     {.shown = true, .alert = SSL_AD_UNKNOWN_CA, .after_ns = MOMENT},
     "unknown_ca",
     "client refused our certificate: unknown ca"},
    {"Go",
     {.shown = true, .alert = SSL_AD_BAD_CERTIFICATE, .after_ns = MOMENT},
     "bad_certificate",
     "client refused our certificate: bad certificate"},
    {"Java",
     {.shown = true, .alert = SSL_AD_CERTIFICATE_UNKNOWN, .after_ns = MOMENT},
     "certificate_unknown",
     "client refused our certificate: certificate unknown"},
    {"a must-staple without its staple",
     {.shown = true, .alert = SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE},
     "bad_certificate_status_response",
     "client refused our certificate: bad certificate status response"},
    {"a callback of its own",
     {.shown = true, .alert = SSL_AD_HANDSHAKE_FAILURE},
     "handshake_failure",
     "client refused our certificate: handshake failure"},
    {"an alert takes its time",
     {.shown = true, .alert = SSL_AD_UNKNOWN_CA, .after_ns = LONG},
     "unknown_ca",
     "client refused our certificate: unknown ca"},
    {"an alert behind the handshake",
     {.shown = true, .done = true, .alert = SSL_AD_BAD_CERTIFICATE},
     "bad_certificate",
     "client refused our certificate: bad certificate"},
    {"it hangs up",
     {.shown = true, .after_ns = MOMENT},
     "closed",
     "client refused our certificate: closed without an alert"},
    {"it ends the handshake, and hangs up",
     {.shown = true, .done = true, .after_ns = MOMENT},
     "silent",
     "client left without a word after it saw our certificate"},
    {"its own time is up", {.shown = true, .after_ns = LONG}, NULL, NULL},
    {"it had nothing to say", {.shown = true, .done = true, .after_ns = LONG}, NULL, NULL},
    {"it said what it wanted", {.shown = true, .done = true, .said = true}, NULL, NULL},
    {"something else went wrong, later",
     {.shown = true, .done = true, .said = true, .alert = SSL_AD_BAD_CERTIFICATE},
     NULL,
     NULL},
    {"no certificate was shown", {.alert = SSL_AD_HANDSHAKE_FAILURE}, NULL, NULL},
    {"it hangs up before", {.after_ns = MOMENT}, NULL, NULL},
    {"versions do not fit", {.shown = true, .alert = SSL_AD_PROTOCOL_VERSION}, NULL, NULL},
    {"what is signed is wrong", {.shown = true, .alert = SSL_AD_DECRYPT_ERROR}, NULL, NULL},
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *word = refusal_word(&cases[i].refusal);
        char sentence[128];

        if (!word != !cases[i].word || (word && strcmp(word, cases[i].word) != 0))
            fail_msg("%s: %s", cases[i].what, word ? word : "none");
        if (!word)
            continue;
        refusal_sentence(word, sentence, sizeof(sentence));
        assert_string_equal(sentence, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
