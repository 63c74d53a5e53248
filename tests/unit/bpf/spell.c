/* spell: what is told of each direction, and that it is told alike wherever it is cut. */
#include "bpf/spell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/span.h"
#include "proxy/kernel/grammar.h"

const struct spell_rows *spell_rows_here;
const struct spell_about *spell_abouts_here;

/* One letter for each thing that is told, with the bytes since the last one:
 * ( a head begins   ) it ends   . a message is done   ! it turned   and at the end the mode. */
struct telling {
    char text[512];
    uint64_t wanted, all;
};

static void tell(struct telling *telling, const struct spell_told *told, uint32_t n)
{
    size_t len = strlen(telling->text);

    if (told->what & SPELL_BEGINS && len + 1 < sizeof(telling->text))
        telling->text[len++] = '(';
    telling->all += n;
    telling->wanted += told->what & SPELL_WANTED ? n : 0;
    for (unsigned i = 2; i < 5; i++)
        if (told->what >> i & 1)
            len += (size_t)snprintf(telling->text + len, sizeof(telling->text) - len, "%llu%c",
                                    (unsigned long long)telling->all, "().!"[i - 1]);
}

static const char *const modes[] = {"first",    "head", "length", "chunk",  "chunks", "rest",
                                    "settling", "raw",  "last",   "frames", "tls",    "other"};

/* What was read before is known in all that is read later, and changes nothing of what it comes to.
 */
static struct spell_piece piece;

/* pieces: of at most so many bytes. */
static void spell_out(struct span bytes, size_t pieces, struct spell *spell,
                      struct spell_ties *ties, struct telling *telling)
{
    size_t at = 0;

    *telling = (struct telling){0};
    while (at < bytes.len) {
        struct spell_told told = {0};
        size_t len = bytes.len - at < pieces ? bytes.len - at : pieces;
        uint32_t n;

        spell_settle(spell, ties);
        n = (uint32_t)spell_skip(spell, len);
        if (!n) {
            memcpy(piece.bytes, bytes.data + at, len < SPELL_PIECE ? len : SPELL_PIECE);
            n = spell_take(spell, ties, &piece, (uint32_t)len, &told);
        }
        assert_in_range(n, 1, len);
        tell(telling, &told, n);
        at += n;
    }
    strcat(telling->text, spell->mode == SPELL_OTHER && spell->flags & SPELL_SPOKE
                              ? "spoke" /* it turned, and was HTTP, or meant to be */
                              : modes[spell->mode]);
}

#define HOST    "Host: a\r\n"
#define GET     "GET / HTTP/1.1\r\n" HOST
#define BODY100 BODY10 BODY10 BODY10 BODY10 BODY10 BODY10 BODY10 BODY10 BODY10 BODY10
#define BODY10  "0123456789"

enum { HEAD_ASKED = 1, CONNECT_ASKED = 2, RAW_ANSWERED = 4, UNANSWERED = 8 };

static const struct {
    const char *name;
    struct span bytes;
    unsigned ties;
    const char *want;
} cases[] = {
    {"a request", BYTES(GET "\r\n"), 0, "(27)27.head"},
    {"two of them", BYTES(GET "\r\n" GET "\r\n"), 0, "(27)27.(54)54.head"},
    {"blank lines before", BYTES("\r\n\r\n" GET "\r\n"), 0, "(31)31.head"},
    {"a body", BYTES(GET "Content-Length: 3\r\n\r\nabc"), 0, "(46)49.head"},
    {"an empty body", BYTES(GET "content-length:0\r\n\r\n"), 0, "(45)45.head"},
    {"a long one", BYTES(GET "Content-Length: 100\r\n\r\n" BODY100), 0, "(48)148.head"},
    {"chunks", BYTES(GET "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00\r\nA: b\r\n\r\n"), 0,
     "(55)75.head"},
    {"an extension",
     BYTES(GET "Transfer-Encoding: chunked\r\n\r\n1;a=\"\\\"\";b\r\n.\r\n0\r\n\r\n"), 0,
     "(55)75.head"},
    {"a closing one", BYTES(GET "Connection: x, Close\r\n\r\n\r\n"), 0, "(49)49.last"},
    {"more behind it", BYTES(GET "Connection: close\r\n\r\nG"), 0, "(46)46.47!spoke"},
    {"of HTTP/1.0", BYTES("GET / HTTP/1.0\r\n\r\n"), 0, "(18)18.last"},
    {"that stays", BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0, "(42)42.head"},
    {"no Host", BYTES("GET / HTTP/1.1\r\n\r\n"), 0, "(18!spoke"},
    {"two Hosts", BYTES(GET HOST "\r\n"), 0, "(30!spoke"},
    {"an odd Host", BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 0, "(24!spoke"},
    {"two lengths", BYTES(GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 0, "(59!spoke"},
    {"a list of lengths", BYTES(GET "Content-Length: 1,1\r\n\r\n"), 0, "(43!spoke"},
    {"length and chunks", BYTES(GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 0,
     "(62!spoke"},
    {"other codings", BYTES(GET "Transfer-Encoding: gzip, chunked\r\n\r\n"), 0, "(45!spoke"},
    {"chunks in HTTP/1.0", BYTES("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 0,
     "(34!spoke"},
    {"a folded field", BYTES(GET "A: b\r\n c\r\n\r\n"), 0, "(32!spoke"},
    {"a bare LF", BYTES("GET / HTTP/1.1\n"), 0, "(15!spoke"},
    {"a bare CR", BYTES(GET "A: b\rc\r\n\r\n"), 0, "(31!spoke"},
    {"a blank in a name", BYTES(GET "A : b\r\n\r\n"), 0, "(27!spoke"},
    {"a control byte", BYTES(GET "A: \x01\r\n\r\n"), 0, "(29!spoke"},
    {"no known method", BYTES("GETS / HTTP/1.1\r\n"), 0, "(13!spoke"},
    {"a tab", BYTES("GET\t/ http/1.1\r\n"), 0, "(4!spoke"},
    {"a blank before it", BYTES(" \nGET / HTTP/1.1\r\n"), 0, "(6!spoke"},
    {"a target of no known form", BYTES("GET x HTTP/1.1\r\n"), 0, "(12!spoke"},
    {"another protocol's", BYTES("OPTIONS rtsp://a RTSP/1.0\r\n"), 0, "(26!other"},
    {"redis'", BYTES("GET http\r\n"), 0, "(9!other"},
    {"NATS'", BYTES("CONNECT {}\r\n"), 0, "(11!other"},
    {"two blanks", BYTES("GET  / HTTP/1.1\r\n"), 0, "(5!spoke"},
    {"a backslash", BYTES("GET /\\ HTTP/1.1\r\n"), 0, "(6!spoke"},
    {"a fragment", BYTES("GET /# HTTP/1.1\r\n"), 0, "(6!spoke"},
    {"a query", BYTES("GET /?\\?x HTTP/1.1\r\n" HOST "\r\n"), 0, "(31)31.head"},
    {"an absolute target", BYTES("GET HTTP://a:80/x HTTP/1.1\r\n" HOST "\r\n"), 0, "(39)39.head"},
    {"CONNECT", BYTES("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"), UNANSWERED, "(35)35.settling"},
    {"... without a port", BYTES("CONNECT a HTTP/1.1\r\n" HOST "\r\n"), 0, "(10!spoke"},
    {"... taken", BYTES("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n" GET "\r\n"), RAW_ANSWERED,
     "(35)35.(62)62.head"},
    {"... for another protocol", BYTES("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n\1xyz"), RAW_ANSWERED,
     "(35)35.(36!other"},
    {"... not waited for", BYTES("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\nxyz"), UNANSWERED,
     "(35)35.36!spoke"},
    {"an upgrade", BYTES(GET "Connection: Upgrade\r\nUpgrade: x\r\n\r\n"), UNANSWERED,
     "(60)60.settling"},
    {"an answer", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), 0, "(38)39.head"},
    {"without end", BYTES("HTTP/1.1 200 OK\r\n\r\nx"), 0, "(19)rest"},
    {"with two Hosts", BYTES("HTTP/1.1 204\r\n" HOST HOST "\r\n"), 0, "(34)34.head"},
    {"to HEAD", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204\r\n\r\n"),
     HEAD_ASKED, "(38)38.(54)54.head"},
    {"interim ones", BYTES("HTTP/1.1 100\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n"), 0,
     "(16)16.(53)53.head"},
    {"to CONNECT", BYTES("HTTP/1.1 200\r\n\r\n"), CONNECT_ASKED, "(16)16.first"},
    {"... and what is answered in the tunnel",
     BYTES("HTTP/1.1 200\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\na"), CONNECT_ASKED,
     "(16)16.(51)52.head"},
    {"... refused", BYTES("HTTP/1.1 403\r\nContent-Length: 1\r\n\r\na"), CONNECT_ASKED,
     "(35)36.head"},
    {"101", BYTES("HTTP/1.1 101 S\r\n\r\n\x81\x00"), 0, "(18)18.raw"},
    {"an odd status", BYTES("HTTP/1.1 20 OK\r\n\r\n"), 0, "(12!spoke"},
    {"HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), 0, "(frames"},
    {"its server", BYTES("\0\0\6\4\0\0\0\0\0\0\1\0\0\0\1"), 0, "frames"},
    {"not quite", BYTES("\0\0\6\4\0\0\0\0\1\0\1\0\0\0\1"), 0, "9!other"},
    {"TLS",
     BYTES("\x16\3\1\0\2ab\x17\3\3\0\3"
           "cde\x17\3\3\0\3"
           "cde"),
     0, "(tls"},
    {"its end", BYTES("\x16\3\1\0\2abGET"), 0, "(8!other"},
    {"something else", BYTES("SSH-2.0-x y\r\n"), 0, "(12!other"},
    {"binary", BYTES("\x01\x02"), 0, "(1!other"},
};

static struct spell_ties ties_of(unsigned what, size_t requests)
{
    struct spell_ties ties = {.asked = what & UNANSWERED ? 0 : 2};

    if (what & (HEAD_ASKED | CONNECT_ASKED))
        ties = (struct spell_ties){
            .asked = 2, .heads = what & HEAD_ASKED, .connects = what & CONNECT_ASKED ? 1 : 0};
    if (what & RAW_ANSWERED)
        ties = (struct spell_ties){.answered = (uint32_t)requests, .left = (uint32_t)requests};
    return ties;
}

/* What begins is told with the first byte, which may be alone: then it is not known what it is. */
static const char *without_begin(const char *text)
{
    return *text == '(' ? text + 1 : text;
}

static void tells_what_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].name);
        for (size_t pieces = 1; pieces <= cases[i].bytes.len; pieces++) {
            struct spell_ties ties = ties_of(cases[i].ties, 1);
            struct spell spell = {0};
            struct telling telling;

            spell_out(cases[i].bytes, pieces, &spell, &ties, &telling);
            assert_string_equal(without_begin(telling.text), without_begin(cases[i].want));
        }
    }
}

/* Of bodies only the last bytes are to be seen, of HTTP/2's DATA the first and the last ones, of
 * TLS no records of data; all of what HTTP was left for. */
static void leaves_bodies_alone(void **state)
{
    static const struct {
        struct span bytes;
        size_t skipped;
    } bodies[] = {
        {BYTES(GET "Content-Length: 100\r\n\r\n" BODY100), 100 - SPELL_TAIL},
        {BYTES(GET "Transfer-Encoding: chunked\r\n\r\n64\r\n" BODY100 "\r\n"), 100 - SPELL_TAIL},
        {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\2\4\0\0\0\0\0ab\0\0\xc8\0\0\0\0\0\1" BODY100
                   BODY100 "\0\0\5\0\0\0\0\0\1hello"),
         200 - 2 * SPELL_TAIL},
        {BYTES("\x16\3\1\0\2ab\x17\3\3\0\3"
               "cde\x16\3\3\0\3"
               "cde"),
         8},
        {BYTES("HTTP/1.1 200\r\n\r\nabc"), 3},
        {BYTES("\x01nothing"), 7},
        {BYTES("HTTP/1.1 101 S\r\n\r\n\x81\2hi"), 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        for (size_t pieces = 2; pieces <= bodies[i].bytes.len; pieces++) {
            struct spell_ties ties = {0};
            struct spell spell = {0};
            struct telling telling;
            size_t cut = i == 5 && pieces == 2 ? 1 : 0; /* its first span may be longer by one */

            spell_out(bodies[i].bytes, pieces, &spell, &ties, &telling);
            assert_in_range(telling.all - telling.wanted, bodies[i].skipped - cut - (i == 5),
                            bodies[i].skipped);
        }
}

/* Names that do not matter and values are skipped, as far as they are what they may be: cut into
 * single bytes, nothing is. */
static void skips_what_does_not_matter(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++)
        for (unsigned at = 0; at < 24; at++) {
            char text[] = GET "Some-Thing-1: and-so-on\r\nA: b\r\n\r\n";
            struct spell_ties ties = {0}, cut_ties = {0};
            struct spell spell = {0}, cut_spell = {0};
            struct telling whole, cut;

            text[sizeof(GET) - 1 + at] = (char)byte;
            memset(&piece, 0, sizeof(piece));
            spell_out(span_of(text, sizeof(text) - 1), SPELL_PIECE, &spell, &ties, &whole);
            spell_out(span_of(text, sizeof(text) - 1), 1, &cut_spell, &cut_ties, &cut);
            if (strcmp(whole.text, cut.text) != 0)
                fail_msg("byte %u at %u: %s, and cut %s", byte, at, whole.text, cut.text);
        }
}

/* ---- limits ---- */

static void take_text(struct spell *spell, struct spell_ties *ties, const char *text, size_t times,
                      struct telling *telling)
{
    while (times--)
        spell_out(span_of_text(text), SPELL_PIECE, spell, ties, telling);
}

static void bounds_heads(void **state)
{
    struct spell_ties ties = {0};
    struct spell spell = {0};
    struct telling telling;

    (void)state;
    take_text(&spell, &ties, GET, 1, &telling);
    take_text(&spell, &ties, "A: b\r\n", SPELL_FIELDS_MAX - 1, &telling);
    assert_string_equal(telling.text, "head");
    take_text(&spell, &ties, "A: b\r\n", 1, &telling);
    assert_string_equal(telling.text, "6!spoke");

    spell = (struct spell){0};
    take_text(&spell, &ties, GET "Some-Header: ", 1, &telling);
    take_text(&spell, &ties, BODY100, SPELL_HEAD_MAX / 100 + 1, &telling);
    assert_int_equal(spell.mode, SPELL_OTHER);

    spell = (struct spell){0}; /* a hundred fields of 8 kB are fine */
    take_text(&spell, &ties, GET, 1, &telling);
    for (size_t i = 0; i < 100; i++) {
        take_text(&spell, &ties, "Some-Header: ", 1, &telling);
        take_text(&spell, &ties, BODY100, 80, &telling);
        take_text(&spell, &ties, "\r\n", 1, &telling);
    }
    take_text(&spell, &ties, "\r\n", 1, &telling);
    assert_string_equal(telling.text, "2)2.head");
}

/* ---- what is known ---- */

#define LONG_GET "GET /" BODY100 BODY100 BODY100 " HTTP/1.1\r\n" HOST "\r\n"

static const struct {
    const char *name, *first, *then;
    bool known; /* ... is all of the piece that it begins with */
} repeated[] = {
    {"the same", GET "\r\n", GET "\r\n", true},
    {"with more behind it", GET "\r\n", GET "\r\nGET", true},
    {"a longer one", LONG_GET, LONG_GET, true},
    {"a shorter one", GET "A: b\r\n\r\n", GET "\r\n", false},
    {"another", GET "A: b\r\n\r\n", GET "A: c\r\n\r\n", false},
    {"that differs in its last byte", GET "A: b\r\n\r\n", GET "A: b\r\n\r\t", false},
    {"that is not whole", GET "A: b\r\n\r\n", GET "A: b\r\n\r", false},
    {"what is no head", "\x17\x03\x03", "\x17\x03\x03", false},
    {"one that may not be", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", true},
};

/* Of a connection whose second head this is. */
static uint32_t take_second(const char *text, struct spell *spell, struct spell_ties *ties,
                            struct spell_told *told, bool recall)
{
    size_t len = strlen(text);

    *spell = (struct spell){.mode = SPELL_HEAD};
    *ties = (struct spell_ties){0};
    *told = (struct spell_told){0};
    len = len < SPELL_PIECE ? len : SPELL_PIECE;
    memcpy(piece.bytes, text, len);
    if (!recall)
        return spell_take(spell, ties, &piece, (uint32_t)len, told);
    spell_message_begins(spell);
    return spell_recall(spell, &piece, 0, (uint32_t)len, told);
}

static void knows_what_was_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(repeated); i++) {
        struct spell spell, read;
        struct spell_ties ties, read_ties;
        struct spell_told told, read_told;
        uint32_t n, read_n;

        memset(&piece, 0, sizeof(piece));
        take_second(repeated[i].first, &spell, &ties, &told, false);
        n = take_second(repeated[i].then, &spell, &ties, &told, true);
        if (!n != !repeated[i].known)
            fail_msg("%s: %u bytes known", repeated[i].name, n);
        n = take_second(repeated[i].then, &spell, &ties, &told, false);
        memset(&piece, 0, sizeof(piece));
        read_n = take_second(repeated[i].then, &read, &read_ties, &read_told, false);
        if (n != read_n || memcmp(&spell, &read, sizeof(spell)) != 0 ||
            memcmp(&ties, &read_ties, sizeof(ties)) != 0 || told.what != read_told.what)
            fail_msg("%s: not as if it had been read", repeated[i].name);
    }
}

/* Whatever its length, a head is another if any of its bytes is. */
static void compares_every_byte(void **state)
{
    (void)state;
    for (int pad = 0; pad < 16; pad++) {
        char text[64];
        int len = snprintf(text, sizeof(text), GET "%.*s: b\r\n\r\n", 1 + pad, "abcdefghijklmnop");
        struct spell spell;
        struct spell_ties ties;
        struct spell_told told;

        memset(&piece, 0, sizeof(piece));
        take_second(text, &spell, &ties, &told, false);
        assert_int_equal(take_second(text, &spell, &ties, &told, true), len);
        for (int i = 0; i < len; i++) {
            text[i] ^= 1;
            assert_int_equal(take_second(text, &spell, &ties, &told, true), 0);
            text[i] ^= 1;
        }
    }
}

/* Each head by the rows as they are when it begins, and none while they are written. */
static void forgets_with_the_rows(void **state)
{
    static const uint32_t made[] = {0, 7};
    struct spell_about *entry = (void *)&spell_abouts_here[SPELL_ROW_ENTRY];
    const uint32_t before = entry->made;
    struct spell spell;
    struct spell_ties ties;
    struct spell_told told;

    (void)state;
    take_second(GET "\r\n", &spell, &ties, &told, false);
    assert_int_not_equal(take_second(GET "\r\n", &spell, &ties, &told, true), 0);
    for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
        entry->made = made[i];
        take_second(GET "\r\n", &spell, &ties, &told, false);
        entry->made = before;
        assert_int_equal(take_second(GET "\r\n", &spell, &ties, &told, true), made[i] ? 0 : 27);
    }
}

static struct rows grammar;

static int make_rows(void **state)
{
    struct spell_rows *rows = calloc(1, sizeof(*rows));
    struct spell_about *abouts = calloc(SPELL_ROWS, sizeof(*abouts));

    (void)state;
    if (!rows || !abouts || !grammar_make(&grammar, 0x123456789abcdef1))
        return -1;
    memcpy(rows->next, grammar.next, grammar.len * sizeof(*grammar.next));
    memcpy(abouts, grammar.abouts, grammar.len * sizeof(*abouts));
    spell_rows_here = rows;
    spell_abouts_here = abouts;
    return 0;
}

static int free_rows(void **state)
{
    (void)state;
    free((void *)spell_rows_here);
    free((void *)spell_abouts_here);
    rows_fini(&grammar);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_said),    cmocka_unit_test(leaves_bodies_alone),
        cmocka_unit_test(bounds_heads),          cmocka_unit_test(knows_what_was_said),
        cmocka_unit_test(forgets_with_the_rows), cmocka_unit_test(skips_what_does_not_matter),
        cmocka_unit_test(compares_every_byte),
    };

    return cmocka_run_group_tests(tests, make_rows, free_rows);
}
