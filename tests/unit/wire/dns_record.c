/* dns_record: what in a message is well-formed, and every lie about lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/wire/dns_build.h"

static struct build build;

/* ---- what is well-formed, and what is not ---- */

#define ID           "\x12\x34"
#define COUNTS(a, r) "\0\1\0" a "\0\0\0" r
#define Q            "\4ebpf\2io\0\0\1\0\1" /* the name is at 12, "io" at 17, its end at 20 */
#define SAYS(a, r)   ID "\x81\x80" COUNTS(a, r) Q
#define ONE          SAYS("\1", "\0") /* the record is at 25 */
#define EXTRA        SAYS("\0", "\1")
#define TTL          "\0\0\0\x3c"
#define IP           "\xcb\0\x71\x0a"
#define L63                                                                                        \
    "\x3f"                                                                                         \
    "123456789-123456789-123456789-123456789-123456789-123456789-123"
#define D61   "123456789-123456789-123456789-123456789-123456789-123456789-1"
#define L61   "\x3d" D61
#define HTTPS "\xc0\x0c\0\x41\0\1" TTL

static const struct {
    const char *name;
    struct span bytes;
    const char *why; /* NULL: it is well */
} messages[] = {
    {"nothing", BYTES(""), "shorter than a header"},
    {"a header cut short", BYTES(ID "\1\0\0\0\0\0\0\0\0"), "shorter than a header"},
    {"a header alone", BYTES(ID "\1\0\0\0\0\0\0\0\0\0"), NULL},
    {"a query", BYTES(ID "\1\0" COUNTS("\0", "\0") Q), NULL},
    {"a query and a byte", BYTES(ID "\1\0" COUNTS("\0", "\0") Q "\0"),
     "bytes behind the last record"},
    {"a question less than it counts", BYTES(ID "\1\0\0\2\0\0\0\0\0\0" Q), "a name is cut off"},
    {"65535 records, none there", BYTES(ID "\x81\x80\0\1\xff\xff\0\0\0\0" Q), "a name is cut off"},
    {"a type cut off", BYTES(ID "\1\0" COUNTS("\0", "\0") "\4ebpf\2io\0\0\1\0"),
     "the message ends inside a section"},
    {"a record without a length", BYTES(ONE "\xc0\x0c\0\1\0\1" TTL "\0"),
     "the message ends inside a record"},
    {"a length past the end", BYTES(ONE "\xc0\x0c\0\x10\0\1" TTL "\0\2\1"),
     "the message ends inside a record"},
    {"a length before the end", BYTES(ONE "\xc0\x0c\0\x10\0\1" TTL "\0\1\1\0"),
     "bytes behind the last record"},

    {"an address", BYTES(ONE "\xc0\x0c\0\1\0\1" TTL "\0\4" IP), NULL},
    {"an address of 3 bytes",
     BYTES(ONE "\xc0\x0c\0\1\0\1" TTL "\0\3"
               "123"),
     "a record's data is too short for its type"},
    {"an address of 5 bytes",
     BYTES(ONE "\xc0\x0c\0\1\0\1" TTL "\0\5"
               "12345"),
     "a record's data is too long for its type"},
    {"an address of no bytes", BYTES(ONE "\xc0\x0c\0\1\0\1" TTL "\0\0"),
     "a record's data is too short for its type"},
    {"an update that deletes addresses",
     BYTES(ID "\x28\0\0\1\0\1\0\0\0\0" Q "\xc0\x0c\0\1\0\xff\0\0\0\0\0\0"), NULL},
    {"an update that deletes IPv6 addresses",
     BYTES(ID "\x28\0\0\1\0\1\0\0\0\0" Q "\xc0\x0c\0\x1c\0\xff\0\0\0\0\0\0"), NULL},
    {"a Chaosnet address is no business of ours",
     BYTES(ONE "\xc0\x0c\0\1\0\3" TTL "\0\5"
               "\2io\0\7"),
     NULL},
    {"an IPv6 address of 4 bytes", BYTES(ONE "\xc0\x0c\0\x1c\0\1" TTL "\0\4" IP),
     "a record's data is too short for its type"},

    {"a label longer than the rest",
     BYTES(ID "\1\0" COUNTS("\0", "\0") "\x1e"
                                        "ebpf"),
     "a label is cut off"},
    {"a label of 64 bytes", BYTES(ID "\1\0" COUNTS("\0", "\0") "\x40" L63 "\0\0\1\0\1"),
     "a label is of an unknown kind"},
    {"a label of the kind 10", BYTES(ID "\1\0" COUNTS("\0", "\0") "\x80" L63 "\0\0\1\0\1"),
     "a label is of an unknown kind"},
    {"a name of 255 bytes", BYTES(ID "\1\0" COUNTS("\0", "\0") L63 L63 L63 L61 "\0\0\1\0\1"), NULL},
    {"a name of 256 bytes",
     BYTES(ID "\1\0" COUNTS("\0", "\0") L63 L63 L63 "\x3e"
                                                    "1" D61 "\0\0\1\0\1"),
     "a name is longer than 255 bytes"},
    {"a name of 257 bytes", BYTES(ID "\1\0" COUNTS("\0", "\0") L63 L63 L63 L63 "\0\0\1\0\1"),
     "a name is longer than 255 bytes"},
    {"a name of 256 bytes by a pointer",
     BYTES(ID "\x81\x80" COUNTS("\1", "\0") L63 L63 L63 "\x3b"
                                                        "123456789-123456789-123456789-1234567"
                                                        "89-123456789-123456789"
                                                        "\0\0\1\0\1"
                                                        "\2xy\xc0\x0c\0\x10\0\1" TTL "\0\0"),
     "a name is longer than 255 bytes"},
    {"a name of 255 bytes by a pointer",
     BYTES(ID "\x81\x80" COUNTS("\1", "\0") L63 L63 L63 "\x3b"
                                                        "123456789-123456789-123456789-1234567"
                                                        "89-123456789-123456789"
                                                        "\0\0\1\0\1"
                                                        "\1x\xc0\x0c\0\x10\0\1" TTL "\0\0"),
     NULL},

    {"a pointer to itself", BYTES(ONE "\xc0\x19\0\1\0\1" TTL "\0\4" IP), "a name points forward"},
    {"a pointer one byte ahead", BYTES(ONE "\xc0\x1a\0\1\0\1" TTL "\0\4" IP),
     "a name points forward"},
    {"a pointer past the end", BYTES(ONE "\xff\xff\0\1\0\1" TTL "\0\4" IP),
     "a name points forward"},
    {"a pointer to its own first label", BYTES(ONE "\1a\xc0\x19\0\1\0\1" TTL "\0\4" IP),
     "a name points forward"},
    {"a question that points to itself", BYTES(ID "\1\0" COUNTS("\0", "\0") "\xc0\x0c\0\1\0\1"),
     "a name points forward"},
    {"a pointer into the header", BYTES(ONE "\xc0\x0b\0\1\0\1" TTL "\0\4" IP),
     "a name points into the header"},
    {"a pointer cut in two", BYTES(ONE "\xc0"), "a pointer is cut off"},
    {"a pointer to the root", BYTES(ONE "\xc0\x14\0\1\0\1" TTL "\0\4" IP), NULL},
    {"a label that begins before the name and ends in it",
     BYTES(ONE "\1\0\xc0\x18\0\1\0\1" TTL "\0\4" IP), "a label is cut off"},
    {"two pointers at each other",
     BYTES(SAYS("\2", "\0") "\0\0\x10\0\1" TTL "\0\2\xc0\x26"
                            "\xc0\x24\0\x10\0\1" TTL "\0\0"),
     "a name points forward"},

    {"a name behind its record's end", BYTES(ONE "\xc0\x0c\0\5\0\1" TTL "\0\2\1a\0"),
     "a name is cut off"},
    {"a pointer half behind its record's end", BYTES(ONE "\xc0\x0c\0\5\0\1" TTL "\0\1\xc0\x0c"),
     "a pointer is cut off"},
    {"a name and a byte", BYTES(ONE "\xc0\x0c\0\5\0\1" TTL "\0\3\xc0\x0c\0"),
     "a record's data is too long for its type"},
    {"a CNAME without a name", BYTES(ONE "\xc0\x0c\0\5\0\1" TTL "\0\0"), "a name is cut off"},
    {"a CNAME to itself", BYTES(ONE "\xc0\x0c\0\5\0\1" TTL "\0\2\xc0\x0c"), NULL},
    {"an SOA",
     BYTES(ONE "\xc0\x0c\0\6\0\1" TTL "\0\x18\xc0\x0c\xc0\x11"
               "12345678901234567890"),
     NULL},
    {"an SOA a byte short",
     BYTES(ONE "\xc0\x0c\0\6\0\1" TTL "\0\x17\xc0\x0c\xc0\x11"
               "1234567890123456789"),
     "a record's data is too short for its type"},
    {"an NAPTR",
     BYTES(ONE "\xc0\x0c\0\x23\0\1" TTL "\0\x0b"
               "1234\1s\1t\0\xc0\x0c"),
     NULL},
    {"an NAPTR whose string goes on",
     BYTES(ONE "\xc0\x0c\0\x23\0\1" TTL "\0\x0b"
               "1234\1s\1t\x40\xc0\x0c"),
     "a record's data is too short for its type"},
    {"an SRV",
     BYTES(ONE "\xc0\x0c\0\x21\0\1" TTL "\0\x08"
               "123456\xc0\x0c"),
     NULL},
    {"a type of no meaning", BYTES(ONE "\xc0\x0c\xff\x78\0\1" TTL "\0\3\xc0\xff\xff"), NULL},

    {"an OPT", BYTES(EXTRA "\0\0\x29\x04\xd0\0\0\0\0\0\0"), NULL},
    {"an OPT with a cookie", BYTES(EXTRA "\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0a\0\2xy"), NULL},
    {"an option cut off", BYTES(EXTRA "\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0a\0\3xy"),
     "an EDNS option is cut off"},
    {"two OPT", BYTES(SAYS("\0", "\2") "\0\0\x29\x04\xd0\0\0\0\0\0\0\0\0\x29\x04\xd0\0\0\0\0\0\0"),
     "two OPT records"},
    {"an OPT of a name", BYTES(EXTRA "\xc0\x0c\0\x29\x04\xd0\0\0\0\0\0\0"),
     "an OPT record of a name"},
    {"an OPT as an answer", BYTES(ONE "\0\0\x29\x04\xd0\0\0\0\0\0\0"),
     "an OPT record outside the additional section"},

    {"a service without parameters", BYTES(ONE HTTPS "\0\3\0\1\0"), NULL},
    {"an alias", BYTES(ONE HTTPS "\0\4\0\0\xc0\x0c"), NULL},
    {"a service without a target", BYTES(ONE HTTPS "\0\2\0\1"), "a name is cut off"},
    {"a parameter cut off in its key", BYTES(ONE HTTPS "\0\4\0\1\0\0"),
     "a service parameter is cut off"},
    {"a parameter cut off in its value", BYTES(ONE HTTPS "\0\x08\0\1\0\0\5\0\2x"),
     "a service parameter is cut off"},
    {"a parameter twice", BYTES(ONE HTTPS "\0\x0b\0\1\0\0\5\0\0\0\5\0\0"),
     "service parameters are out of order"},
    {"parameters out of order", BYTES(ONE HTTPS "\0\x0d\0\1\0\0\5\0\0\0\3\0\2\1\xbb"),
     "service parameters are out of order"},
    {"no protocols", BYTES(ONE HTTPS "\0\7\0\1\0\0\1\0\0"), "a service parameter is malformed"},
    {"a protocol without a name", BYTES(ONE HTTPS "\0\x08\0\1\0\0\1\0\1\0"),
     "a service parameter is malformed"},
    {"a protocol longer than the list", BYTES(ONE HTTPS "\0\x0a\0\1\0\0\1\0\3\3h2"),
     "a service parameter is malformed"},
    {"no-default-alpn with a value", BYTES(ONE HTTPS "\0\x08\0\1\0\0\2\0\1x"),
     "a service parameter is malformed"},
    {"a port of one byte", BYTES(ONE HTTPS "\0\x08\0\1\0\0\3\0\1x"),
     "a service parameter is malformed"},
    {"a hint of 3 bytes", BYTES(ONE HTTPS "\0\x0a\0\1\0\0\4\0\3xyz"),
     "a service parameter is malformed"},
    {"a hint of none", BYTES(ONE HTTPS "\0\7\0\1\0\0\4\0\0"), "a service parameter is malformed"},
    {"an IPv6 hint of 4 bytes", BYTES(ONE HTTPS "\0\x0b\0\1\0\0\6\0\4" IP),
     "a service parameter is malformed"},
    {"mandatory and there", BYTES(ONE HTTPS "\0\x0f\0\1\0\0\0\0\2\0\3\0\3\0\2\1\xbb"), NULL},
    {"mandatory and not there", BYTES(ONE HTTPS "\0\x0f\0\1\0\0\0\0\2\0\4\0\3\0\2\1\xbb"),
     "a service parameter is malformed"},
    {"mandatory, and a later one there", BYTES(ONE HTTPS "\0\x11\0\1\0\0\0\0\2\0\3\0\4\0\4" IP),
     "a service parameter is malformed"},
    {"mandatory by itself", BYTES(ONE HTTPS "\0\x0f\0\1\0\0\0\0\2\0\0\0\3\0\2\1\xbb"),
     "a service parameter is malformed"},
    {"mandatory twice", BYTES(ONE HTTPS "\0\x11\0\1\0\0\0\0\4\0\3\0\3\0\3\0\2\1\xbb"),
     "a service parameter is malformed"},
    {"mandatory and a half", BYTES(ONE HTTPS "\0\x10\0\1\0\0\0\0\3\0\3\0\0\3\0\2\1\xbb"),
     "a service parameter is malformed"},
    {"mandatory without keys", BYTES(ONE HTTPS "\0\x07\0\1\0\0\0\0\0"),
     "a service parameter is malformed"},
};

static void says_what_is_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        struct dns dns = {.id = 77};
        const char *why = "well";
        int status = parse(messages[i].bytes, &dns, &why);

        print_message("  %s\n", messages[i].name);
        assert_string_equal(why, messages[i].why ? messages[i].why : "well");
        assert_int_equal(status, messages[i].why ? -EBADMSG : 0);
        assert_int_equal(dns.id, messages[i].why ? 77 : 0x1234);
        if (status == 0)
            forget(&dns);
    }
}

static void no_message_is_longer_than_its_length_can_say(void **state)
{
    struct dns dns;
    const char *why;

    (void)state;
    begin(&build, ANSWER, "ebpf.io.", DNS_TXT);
    record(&build, 1, "@12", DNS_TXT, 60);
    build.len = DNS_MESSAGE_MAX;
    record_end(&build);
    assert_int_equal(dns_parse(built(&build), &dns, &why), 0);
    build.len++;
    assert_int_equal(dns_parse(built(&build), &dns, &why), -EBADMSG);
    assert_string_equal(why, "longer than a message may be");
}

/* An answer with all that is read: a chain, addresses, an authority, OPT. */
static void build_rich(void)
{
    begin(&build, ANSWER, "www.ebpf.io.", DNS_A);
    record_to(&build, "@12", DNS_CNAME, 300, "web.@16");
    record_of(&build, "web.ebpf.io.", DNS_A, 60, BYTES(IP));
    record_of(&build, "web.@16", DNS_HTTPS, 90, BYTES("\0\1\0\0\1\0\3\2h2\0\4\0\4" IP));
    record(&build, 2, "@16", DNS_SOA, 900);
    put_name(&build, "ns.@16");
    put_name(&build, "root.@16");
    put(&build, "12345678901234567890", 20);
    record_end(&build);
    record(&build, 3, "", DNS_OPT, 0);
    put(&build,
        "\0\x0a\0\x08"
        "cookie!!",
        12);
    record_end(&build);
}

static void a_message_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    build_rich();
    for (size_t len = 0; len <= build.len; len++) {
        struct dns dns;
        const char *why = NULL;
        int status = parse(span_of(build.data, len), &dns, &why);

        assert_int_equal(status, len == build.len ? 0 : -EBADMSG);
        assert_true(!why == (status == 0));
        if (status == 0)
            forget(&dns);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_malformed),
        cmocka_unit_test(no_message_is_longer_than_its_length_can_say),
        cmocka_unit_test(a_message_cut_anywhere_is_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
