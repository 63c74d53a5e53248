/* ja4: fingerprints that FoxIO and others have published, and the corners of the specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/sha.h>

#include "base/cleanup.h"
#include "proxy/wire/ja4.h"

static bool sha256(struct span bytes, uint8_t digest[JA4_DIGEST])
{
    return SHA256(bytes.data, bytes.len, digest) != NULL;
}

/* "1301,1302" as on the wire; of extensions each has two bytes of data. */
static struct span numbers(const char *text, bool extensions, uint8_t *out)
{
    size_t len = 0;

    for (const char *at = text; *at; at += at[4] ? 5 : 4) {
        unsigned long number = strtoul((char[]){at[0], at[1], at[2], at[3], 0}, NULL, 16);

        out[len++] = (uint8_t)(number >> 8);
        out[len++] = (uint8_t)number;
        if (extensions)
            len += (size_t)(memcpy(out + len, "\0\2ab", 4) ? 4 : 0);
    }
    return span_of(out, len);
}

#define CHROME       "2a2a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
#define CHROME_SIGNS "0403,0804,0401,0503,0805,0501,0806,0601"

static const struct {
    const char *what;
    uint16_t version;
    const char *ciphers, *extensions, *signatures;
    struct span alpn;
    const char *expected;
} fingerprints[] = {
    {"Chrome, as in the specification", 0x0304, CHROME,
     "fafa,0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,4469,0015,3a3a",
     CHROME_SIGNS, BYTES("\2h2\10http/1.1"), "t13d1516h2_8daaf6152771_e5627efa2ab1"},
    {"a later Chrome, with ECH", 0x0304, CHROME,
     "1a1a,002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,000d,001b,dada",
     CHROME_SIGNS, BYTES("\2h2\10http/1.1"), "t13d1516h2_8daaf6152771_d8a2da3f94cd"},
    {"no name, no protocol, nothing to sign with", 0x0303, "1301", "0017", "", BYTES(""),
     "t12i010100_0f2cb44170f4_1ca028f07214"},
    {"no extension at all", 0x0301, "1301", "", "", BYTES(""),
     "t10i010000_0f2cb44170f4_000000000000"},
    {"only those that do not count", 0x0301, "2a2a", "0000,0010", "", BYTES("\10http/1.1"),
     "t10d0002h1_000000000000_000000000000"},
    {"GREASE among signature schemes", 0x0304, "1301", "000d", "8a8a,0403", BYTES(""),
     "t13i010100_0f2cb44170f4_79c50902419d"},
    {"a number that only looks like GREASE", 0x0304, "1a2a", "0017", "", BYTES(""),
     "t13i010100_73bebdc6633a_1ca028f07214"},
    {"an older version", 0x0300, "1301", "0017", "", BYTES(""),
     "ts3i010100_0f2cb44170f4_1ca028f07214"},
    {"versions that nobody knows", 0x0305, "1301", "0017", "", BYTES(""),
     "t00i010100_0f2cb44170f4_1ca028f07214"},
};

static const struct {
    const char *what;
    struct span alpn;
    const char *expected;
} protocols[] = {
    {"one letter is first and last", BYTES("\1h"), "hh"},
    {"a digit counts", BYTES("\10spdy/3.1"), "s1"},
    {"the first protocol counts", BYTES("\2h3\2h2"), "h3"},
    {"one byte that is no letter", BYTES("\1\xab"), "ab"},
    {"two of them", BYTES("\2\xab\xcd"), "ad"},
    {"the last is none", BYTES("\2\x30\xab"), "3b"},
    {"the last of more is none", BYTES("\4\x30\x31\xab\xcd"), "3d"},
    {"none in the middle is as good as any", BYTES("\4\x30\xab\xcd\x31"), "01"},
    {"a blank is none", BYTES("\2h "), "60"},
};

static void test_fingerprints(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fingerprints); i++) {
        uint8_t ciphers[256], extensions[256], signatures[256];
        char out[JA4_SIZE];
        struct hello hello = {
            .version_max = fingerprints[i].version,
            .ciphers = numbers(fingerprints[i].ciphers, false, ciphers),
            .extensions = numbers(fingerprints[i].extensions, true, extensions),
            .signatures = numbers(fingerprints[i].signatures, false, signatures),
            .alpn = fingerprints[i].alpn,
        };

        assert_true(ja4_of(&hello, sha256, out));
        if (strcmp(out, fingerprints[i].expected) != 0)
            fail_msg("%s: %s, not %s", fingerprints[i].what, out, fingerprints[i].expected);
    }
}

static void test_protocols(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct hello hello = {.alpn = protocols[i].alpn};
        char out[JA4_SIZE];

        assert_true(ja4_of(&hello, sha256, out));
        if (strncmp(out + 8, protocols[i].expected, 2) != 0)
            fail_msg("%s: %.2s, not %s", protocols[i].what, out + 8, protocols[i].expected);
    }
}

static bool no_sha256(struct span bytes, uint8_t digest[JA4_DIGEST])
{
    (void)bytes;
    (void)digest;
    return false;
}

static void test_bounds(void **state)
{
    static const uint8_t many[2 * (JA4_ITEMS_MAX + 1)];
    struct hello hello = {.ciphers = span_of(many, sizeof(many) - 2), .version_max = 0x0304};
    char out[JA4_SIZE] = "x";

    (void)state;
    assert_true(ja4_of(&hello, sha256, out));
    assert_int_equal(strncmp(out, "t13i990000_", 11), 0); /* more than two digits say is 99 */
    assert_false(ja4_of(&hello, no_sha256, out));
    assert_string_equal(out, "");
    hello.ciphers.len += 2;
    assert_false(ja4_of(&hello, sha256, out));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
