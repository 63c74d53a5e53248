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
    const char *name, *value;
    bool secret;
} fields[] = {
    {"Cookie", "a", true},
    {"Cookie", NULL, true},
    {"Accept", "token", false},
    {"Sec-WebSocket-Protocol", "graphql-ws", false},
    {"Sec-WebSocket-Protocol", "v4.channel.k8s.io, mqtt", false},
    {"Sec-WebSocket-Protocol", NULL, false},
    {"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io",
     true},
    {"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.sk-abc", true},
    {"Sec-WebSocket-Protocol", "access_token, abc", true},
    {"Sec-WebSocket-Protocol", "graphql-ws, eyJhbGciOiJIUzI1NiJ9.e30.c2ln", true},
};

static void knows_the_values_that_are_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        print_message("  %s: %s\n", fields[i].name, fields[i].value ? fields[i].value : "");
        assert_int_equal(redact_field(fields[i].name, fields[i].value), fields[i].secret);
    }
}

static const struct {
    const char *text, *want;
} targets[] = {
    {"/a@b?c=d", "/a@b?c=d"},
    {"*", "*"},
    {"", ""},
    {"a.example:443", "a.example:443"},
    {"user:hunter2@a.example:443", "*****@a.example:443"},
    {"user:hun/t@er2@a.example", "*****@a.example"},
    {"http://user:hunter2@a.example/b@c", "http://*****@a.example/b@c"},
    {"http://a.example/b@c", "http://a.example/b@c"},
};

static void hides_user_information_in_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        CLEANUP(buffer_fini) struct buffer storage = {0};

        print_message("  %s\n", targets[i].text);
        assert_string_equal(redact_target(targets[i].text, &storage), targets[i].want);
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

static const struct {
    const char *text, *want;
} sentences[] = {
    {"", ""},
    {"no rule allows GET /a@b", "no rule allows GET /a@b"},
    {"no rule allows  GET http://u:hunter2@a.example/ now",
     "no rule allows  GET http://*****@a.example/ now"},
    {"http://a.example/ and ftp://u:hunter2@b.example",
     "http://a.example/ and ftp://*****@b.example"},
};

static void hides_user_information_in_sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sentences); i++) {
        CLEANUP(buffer_fini) struct buffer storage = {0};

        print_message("  %s\n", sentences[i].text);
        assert_string_equal(redact_sentence(sentences[i].text, &storage), sentences[i].want);
    }
}

static const struct {
    const char *text, *want;
} arguments[] = {
    {"", ""},
    {"https://ebpf.io/tetragon", "https://ebpf.io/tetragon"},
    {"-s --max-time 5 -o /dev/null https://a.example:8443/@b", /* nothing to hide */
     "-s --max-time 5 -o /dev/null https://a.example:8443/@b"},
    {"https://me:pw@a.example/x http://b.example/ ftp://me@c.example",
     "https://*****@a.example/x http://b.example/ ftp://*****@c.example"},
    {"sh -c \"git clone 'https://me:p@w@a.example'; ls\"",
     "sh -c \"git clone 'https://*****@a.example'; ls\""},
    {"https://a.example/?token=abc&x=1", /* the query stays, as that of a request */
     "https://a.example/?token=abc&x=1"},
    {"-H \"Authorization: Bearer abc\" https://a.example/",
     "-H \"Authorization: *****\" https://a.example/"},
    {"-H \"Authorization: Digest username=\"me\", response=\"abc\"\" -s",
     "-H \"Authorization: *****\" -s"},
    {"\"-HCookie: a=b; c=d\" -s", "\"-HCookie: *****\" -s"},
    {"-HX-Api-Key:abc --header=x-token:def -s", "-HX-Api-Key:***** --header=x-token:***** -s"},
    {"\"--header=Authorization: Basic bWU6cHc=\" -s", "\"--header=Authorization: *****\" -s"},
    {"-b sid=abc https://a.example/ -b jar", "-b ***** https://a.example/ -b jar"},
    {"--oauth2-bearer abc -s", "--oauth2-bearer ***** -s"},
    {"-c \"curl -H 'Authorization: Bearer abc' https://a.example/\"",
     "-c \"curl -H 'Authorization: *****' https://a.example/\""},
    {"-c \"curl -H \\\"Authorization: Bearer abc\\\" https://a.example/\"",
     "-c \"curl -H \\\"Authorization: *****\\\" https://a.example/\""},
    {"\"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nHost: a\r\n\"",
     "\"GET / HTTP/1.1\r\nAuthorization: *****\r\nHost: a\r\n\""},
    {"-H \"Authorization: Bearer abc", "-H \"Authorization: *****"}, /* the line was cut */
    {"-H Accept:x/y -H \"User-Agent: me\"", "-H Accept:x/y -H \"User-Agent: me\""},
    {"--password=abc --token=\"d e\" x", "--password=***** --token=\"*****\" x"},
    {"\"--password=a b\" x", "\"--password=*****\" x"},
    {"--password abc --api-key \"d e\" -v", "--password ***** --api-key \"*****\" -v"},
    {"--password", "--password"},
    {"--no-session -v --password= x", "--no-session -v --password= x"},
    {"--token-file /run/t --password-stdin host --cookie-jar c",
     "--token-file /run/t --password-stdin host --cookie-jar c"},
    {"--no-cookies https://a.example/", "--no-cookies https://a.example/"},
    {"PGPASSWORD=abc AWS_SECRET_ACCESS_KEY=def psql",
     "PGPASSWORD=***** AWS_SECRET_ACCESS_KEY=***** psql"},
    {"-d {\"user\":\"me\",\"password\":\"abc\"} -v",
     "-d {\"user\":\"me\",\"password\":\"*****\"} -v"},
    {"-d \"{\"token\": \"a b\"}\" -v", "-d \"{\"token\": \"*****\"}\" -v"},
    {"-d {\\\"token\\\":\\\"a\\\",\\\"b\\\":\\\"c\\\"}",
     "-d {\\\"token\\\":\\\"*****\\\",\\\"b\\\":\\\"c\\\"}"},
    {"-d {\"token\":\"a\\\",b\",\"c\":1}", "-d {\"token\":\"*****\",\"c\":1}"},
    {"-d {\"token\":123} -v", "-d {\"token\":***** -v"},
    {"-d user=me&password=abc&x=y -v", "-d user=me&password=***** -v"},
    {"-u me:abc x", "-u me:***** x"},
    {"-sSu \"me:a b\" x", "-sSu \"me:*****\" x"},
    {"-ume:abc -Uproxy:abc x", "-ume:***** -Uproxy:***** x"},
    {"--user me:abc --proxy-user=me:abc x", "--user me:***** --proxy-user=me:***** x"},
    {"-u me --user me -u", "-u me --user me -u"},
    {"-c \"curl -u me:abc\"", "-c \"curl -u me:*****\""},
};

static void hides_secrets_in_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
        CLEANUP(buffer_fini) struct buffer storage = {0};

        print_message("  %s\n", arguments[i].text);
        assert_string_equal(redact_arguments(arguments[i].text, &storage), arguments[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hides_secrets_in_arguments),
        cmocka_unit_test(knows_the_headers_that_hold_secrets),
        cmocka_unit_test(knows_the_values_that_are_secrets),
        cmocka_unit_test(hides_user_information_in_urls),
        cmocka_unit_test(hides_user_information_in_sentences),
        cmocka_unit_test(hides_user_information_in_targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
