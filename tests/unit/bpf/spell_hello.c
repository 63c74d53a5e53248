/* spell_hello: after which words of a TLS client a record that nobody can read may be the end of a
 * handshake of TLS 1.3, wherever they are cut. */
#include "bpf/spell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/span.h"

/* None is walked over: records are known by their mode. */
const struct spell_rows *spell_rows_here;
const struct spell_about *spell_abouts_here;

#define RANDOM                                                                                     \
    "0123456789012345678901234567"                                                                 \
    "abcd"
#define OTHERS                                                                                     \
    "0123456789012345678901234567"                                                                 \
    "abce"
#define OFFERED  "\x03\x03" RANDOM "\x04sess\x00\x02\x13\x01\x01\x00"
#define SHARE    "\x00\x33\x00\x06secret"
#define VERSIONS "\x00\x2b\x00\x03\x02\x03\x04"
/* 2 + 32 + 5 + 4 + 2 = 45 bytes, and extensions */
#define BARE   "\x01\x00\x00\x2d" OFFERED
#define HELLO  "\x01\x00\x00\x40" OFFERED "\x00\x11" VERSIONS SHARE
#define RECORD "\x16\x03\x01\x00"
#define FIRST  RECORD "\x44" HELLO
#define CHANGE "\x14\x03\x03\x00\x01\x01"

static const struct {
    const char *name;
    struct span bytes;
    enum spell_hello want;
    bool none; /* it is no ClientHello that it begins with */
} cases[] = {
    {"a ClientHello", BYTES(FIRST), SPELL_HELLO_WHOLE, false},
    {"... and what changes nothing", BYTES(FIRST CHANGE), SPELL_HELLO_WHOLE, false},
    {"without extensions", BYTES(RECORD "\x31" BARE), SPELL_HELLO_WHOLE, false},
    {"with none of them", BYTES(RECORD "\x33\x01\x00\x00\x2f" OFFERED "\x00\x00"),
     SPELL_HELLO_WHOLE, false},
    {"an empty one last",
     BYTES(RECORD "\x3e\x01\x00\x00\x3a" OFFERED "\x00\x0b" VERSIONS "\x00\x17\x00\x00"),
     SPELL_HELLO_WHOLE, false},
    {"asked to try again", BYTES(FIRST CHANGE FIRST), SPELL_HELLO_WHOLE, false},
    {"in two records", BYTES(RECORD "\x31" BARE RECORD "\x31" BARE), SPELL_HELLO_WHOLE, false},
    {"a part of one", BYTES(RECORD "\x31\x01\x00\x00\x40" OFFERED), SPELL_HELLO_EXTENSIONS, false},
    {"the rest in another record",
     BYTES(RECORD "\x31\x01\x00\x00\x40" OFFERED RECORD "\x13\x00\x11" VERSIONS SHARE),
     SPELL_HELLO_WHOLE, false},
    {"early data",
     BYTES(RECORD "\x3e\x01\x00\x00\x3a" OFFERED "\x00\x0b" VERSIONS "\x00\x2a\x00\x00"),
     SPELL_HELLO_OTHER, false},
    {"... offered first",
     BYTES(RECORD "\x3e\x01\x00\x00\x3a" OFFERED "\x00\x0b\x00\x2a\x00\x00" VERSIONS),
     SPELL_HELLO_OTHER, false},
    {"... whose like is padding",
     BYTES(RECORD "\x3b\x01\x00\x00\x37" OFFERED "\x00\x08\x00\x15\x00\x04\x00\x2a\x00\x00"),
     SPELL_HELLO_WHOLE, false},
    {"encrypted offers", BYTES(RECORD "\x38\x01\x00\x00\x34" OFFERED "\x00\x05\xfe\x0d\x00\x01x"),
     SPELL_HELLO_OTHER, false},
    {"a key exchange", BYTES(FIRST RECORD "\x07\x10\x00\x00\x03key"), SPELL_HELLO_OTHER, false},
    {"a certificate", BYTES(FIRST RECORD "\x07\x0b\x00\x00\x03key"), SPELL_HELLO_OTHER, false},
    {"an encrypted Finished", BYTES(FIRST CHANGE RECORD "\x10!234567890123456"), SPELL_HELLO_OTHER,
     false},
    {"... that looks like a ClientHello",
     BYTES(FIRST CHANGE RECORD "\x31\x01\x00\x00\x2d\x03\x03" OTHERS
                               "\x04sess\x00\x02\x13\x01\x01\x00"),
     SPELL_HELLO_OTHER, false},
    {"... or begins like one",
     BYTES(FIRST CHANGE RECORD "\x10\x01\x00\x00\x40\x03\x03"
                               "1234567890"),
     SPELL_HELLO_RANDOM, false},
    {"random bytes that are none",
     BYTES(RECORD "\x31\x01\x00\x00\x2d\x03\x03"
                  "012345678901234567890123\0\0\0\0\0\0\0\0"
                  "\x04sess\x00\x02\x13\x01\x01\x00"),
     SPELL_HELLO_OTHER, true},
    {"an extension beyond its end",
     BYTES(RECORD "\x38\x01\x00\x00\x34" OFFERED "\x00\x05\x00\x33\x00\x02x"), SPELL_HELLO_OTHER,
     false},
    {"... that is cut", BYTES(RECORD "\x34\x01\x00\x00\x30" OFFERED "\x00\x01\x00"),
     SPELL_HELLO_OTHER, false},
    {"a ServerHello", BYTES(RECORD "\x31\x02\x00\x00\x2d" OFFERED), SPELL_HELLO_OTHER, true},
    {"one that is too long", BYTES(RECORD "\x31\x01\x00\x50\x2d" OFFERED), SPELL_HELLO_OTHER, true},
    {"another version", BYTES(RECORD "\x32\x01\x00\x00\x2e\x01" OFFERED), SPELL_HELLO_OTHER, true},
    {"a record that is too short", BYTES(RECORD "\x02\x01\x00"), SPELL_HELLO_LENGTH, true},
    {"another record first", BYTES(CHANGE FIRST), SPELL_HELLO_WHOLE, true},
};

static void take_all(struct span bytes, size_t pieces, struct spell *spell)
{
    struct spell_ties ties = {0};

    for (size_t at = 0; at < bytes.len;) {
        struct spell_piece piece = {0};
        struct spell_told told = {0};
        size_t len = bytes.len - at < pieces ? bytes.len - at : pieces;
        uint32_t n;

        memcpy(piece.bytes, bytes.data + at, len);
        n = spell_take(spell, &ties, &piece, (uint32_t)len, &told);
        assert_in_range(n, 1, len);
        at += n;
    }
    assert_int_equal(spell->mode, SPELL_TLS);
}

static void knows_what_was_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        for (size_t pieces = 1; pieces <= cases[i].bytes.len; pieces++) {
            struct spell spell = {.mode = SPELL_TLS, .method = SPELL_RECORD_HELLO};

            take_all(cases[i].bytes, pieces < SPELL_PIECE ? pieces : SPELL_PIECE, &spell);
            assert_int_equal(spell.lines, cases[i].want);
            assert_int_equal(!!(spell.flags & SPELL_NO_HELLO), cases[i].none);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_was_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
