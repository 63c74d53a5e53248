#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "events/redact.h"

static const struct {
    const char *name;
    bool secret;
} headers[] = {
    {"Authorization", true},
    {"authorization", true},
    {"PROXY-AUTHORIZATION", true},
    {"Cookie", true},
    {"Set-Cookie", true},
    {"set-cookie2", true},
    {"X-Api-Key", true},
    {"x_api_key", true},
    {"apikey", true},
    {"X-Goog-Api-Key", true},
    {"X-Auth-Token", true},
    {"X-Auth-Key", true},
    {"X-Amz-Security-Token", true},
    {"PRIVATE-TOKEN", true},
    {"Ocp-Apim-Subscription-Key", true},
    {"Mcp-Session-Id", true},
    {"X-Client-Secret", true},
    {"X-Password", true},
    {"", false},
    {"Host", false},
    {"User-Agent", false},
    {"Accept", false},
    {"WWW-Authenticate", false},
    {"Sec-WebSocket-Key", false},
    {"Idempotency-Key", false},
    {"Content-Type", false},
    {"Authorizatio", false},
};

static void knows_the_headers_that_hold_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        print_message("  %s\n", headers[i].name);
        assert_int_equal(redact_header(headers[i].name), headers[i].secret);
    }
}

static const struct {
    const char *name, *text, *want;
} urls[] = {
    {"a path", "/a@b?c=d", "/a@b?c=d"},
    {"a URL", "http://example.com/a@b", "http://example.com/a@b"},
    {"a user", "http://user@example.com/", "http://*****@example.com/"},
    {"a user and a password", "https://user:secret@example.com:8443/x?y#z",
     "https://*****@example.com:8443/x?y#z"},
    {"an @ in the password", "http://user:se@cret@example.com", "http://*****@example.com"},
    {"an @ in the query alone", "http://example.com?a=b@c", "http://example.com?a=b@c"},
    {"any scheme", "svn+ssh://u:p@example.com/", "svn+ssh://*****@example.com/"},
    {"no scheme", "://u:p@example.com/", "://u:p@example.com/"},
    {"nothing at all", "", ""},
};

static void hides_user_information_in_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        CLEANUP(buffer_fini) struct buffer storage = {0};

        print_message("  %s\n", urls[i].name);
        assert_string_equal(redact_url(urls[i].text, &storage), urls[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_headers_that_hold_secrets),
        cmocka_unit_test(hides_user_information_in_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
