/* dns: DNS messages (RFC 1035), as much of them as is told, bound to names, or changed.
 *
 * Pure: bytes in, facts out. No socket, no allocation. Names are walked with bounds and
 * compression pointers that must go backwards, so no message can make it loop.
 * Called by: proxy/dns/lookups.c, for datagrams and for messages on a TCP connection alike. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

enum {
    DNS_MESSAGE_MAX = 65535,
    DNS_NAME_TEXT_MAX = 1024, /* 255 bytes on the wire, each at worst as \DDD (RFC 1035
                                 section 5.1), closing dot, NUL */
    DNS_ADDRESSES_MAX = 4096, /* as many A records as fit into an answer; a longer list of hints is
                                 relayed, but neither told nor bound beyond them */
    DNS_CNAMES_MAX = 16,
    DNS_TYPE_TEXT_MAX = 16,
};

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_SVCB = 64,
    DNS_HTTPS = 65,
    DNS_ANY = 255
};
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5
};

/* The first question, and the header. Everything in the message was walked and found in bounds. */
struct dns {
    uint16_t id;
    bool response, truncated;
    uint8_t opcode;
    uint16_t rcode;     /* with the upper bits of an OPT record, where there is one (RFC 6891) */
    uint16_t questions; /* how many; name, type and class are the first one's */
    uint16_t type, class;
    bool has_opt;
    char name[DNS_NAME_TEXT_MAX]; /* "ebpf.io.", lower case; "." for the root; "" when there is no
                                     question. Bytes that are not printable ASCII, blanks, and dots
                                     and backslashes inside a label are escaped as in zone files */
    struct span message;          /* borrowed */
};

/* 0; or a negative errno (-EBADMSG), and *why is a phrase such as "a name points forward" (static);
 * *out is untouched then. Strict where readers differ: bytes behind the last record are an error,
 * and so are data longer or shorter than its type has, malformed service parameters, a second OPT.
 */
int dns_parse(struct span message, struct dns *out, const char **why);

/* The answer is to this very question: id, opcode, name (without regard to case), type, class. */
bool dns_answers(const struct dns *question, const struct dns *answer);

/* What an answer says about its question. */
struct dns_found {
    /* A, AAAA, and the hints of HTTPS and SVCB, whose owner is the name asked for or one in its
     * CNAME chain, whatever type was asked for: programs differ in which they believe; port 0 */
    struct addr addresses[DNS_ADDRESSES_MAX];
    size_t addresses_len;
    /* the chain, in order, without the name asked for */
    char cnames[DNS_CNAMES_MAX][DNS_NAME_TEXT_MAX];
    size_t cnames_len;
    uint32_t ttl; /* seconds: the least of the records that were used; 0 when none was */
};
void dns_find(const struct dns *answer, struct dns_found *out);

/* What dns_strip() took out. */
enum dns_stripped { DNS_STRIPPED_ECH = 1 << 0, DNS_STRIPPED_H3 = 1 << 1 };
/* Copies the message without what would let a client hide from a proxy of its TLS: from HTTPS and
 * SVCB records (RFC 9460) the parameter ech, and h3 out of alpn. Names stay valid: compression
 * pointers are moved along. Returns the new length (never more than the old), *stripped says what
 * was taken out; 0 and nothing copied when there is nothing to take out. out has room for
 * message.len bytes. The copy is not marked as authentic, and signatures over what changed no
 * longer hold. A message with names that run through the bytes taken out, which no honest server
 * sends, becomes a SERVFAIL without records. */
size_t dns_strip(const struct dns *answer, uint8_t *out, unsigned *stripped);

/* An answer of our own to a query, without records: its header and question with this rcode, and an
 * OPT record if it had one. Returns the length, 0 when it does not fit. */
size_t dns_refuse(const struct dns *query, enum dns_rcode rcode, uint8_t *out, size_t size);

/* REFUSED, and, where the query has an OPT record, that a policy says so: Extended DNS Error 18,
 * Prohibited (RFC 8914), with this text where it fits, too. */
size_t dns_prohibit(const struct dns *query, const char *text, uint8_t *out, size_t size);

/* "A", "HTTPS", "TYPE65400" (RFC 3597); "NOERROR", "RCODE23". Return out. */
const char *dns_type_text(uint16_t type, char out[DNS_TYPE_TEXT_MAX]);
const char *dns_rcode_text(uint16_t rcode, char out[DNS_TYPE_TEXT_MAX]);
