/* dns_walk: names, records and their data, as they lie in a DNS message. Private to dns*.c.
 *
 * Every reason is a static phrase; NULL means well. What is read is bounded three times: by the
 * message, by the record's own RDLENGTH, and by names that only ever go backwards. */
#pragma once

#include "proxy/wire/dns.h"

enum {
    DNS_HEADER_LEN = 12,
    DNS_NAME_WIRE_MAX = 255, /* RFC 1035 section 2.3.4 */
    DNS_CLASS_IN = 1,
    DNS_OPCODE_UPDATE = 5,

    DNS_FLAG_RESPONSE = 0x8000,
    DNS_FLAG_TRUNCATED = 0x0200,
    DNS_FLAG_RECURSION_DESIRED = 0x0100,
    DNS_FLAG_RECURSION_AVAILABLE = 0x0080,
    DNS_FLAG_AUTHENTIC = 0x0020,
    DNS_FLAG_CHECKING_DISABLED = 0x0010,
};

/* ---- dns_name.c ---- */

struct dns_name { /* without pointers, lower case, so that equal names are equal bytes */
    uint8_t len;
    uint8_t wire[DNS_NAME_WIRE_MAX];
};

/* Reads the name at the start of *from, a part of the message, and moves *from behind it. */
const char *dns_name_take(struct span message, struct span *from, struct dns_name *out);
/* Moves *from behind a name that was read before, without following its pointer. */
void dns_name_skip(struct span *from);
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);
const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT_MAX]);

/* ---- dns_record.c ---- */

enum dns_section { DNS_QUESTIONS, DNS_ANSWERS, DNS_AUTHORITIES, DNS_ADDITIONAL, _DNS_SECTION_MAX };

struct dns_cursor {
    struct span message, rest;
    bool checked; /* the message was walked before: names are passed over, data believed */
    uint16_t flags;
    uint16_t left[_DNS_SECTION_MAX]; /* entries not yet read */
};
struct dns_record {
    enum dns_section section;
    struct span owner; /* as in the message, perhaps a pointer */
    uint16_t type, class;
    uint32_t ttl;
    struct span rdata;
    struct span names[2]; /* those inside rdata that may be compressed, as in the message */
    size_t names_len;
    struct span params; /* of SVCB and HTTPS: what stands behind the target */
};

/* The message has a header at least. */
void dns_cursor_init(struct dns_cursor *cursor, struct span message);
/* For a message that dns_parse() took: stands behind the questions. */
void dns_cursor_checked(struct dns_cursor *cursor, struct span message);
/* Each is false when there is no further one, and when it is malformed: then *why is set, which the
 * caller sets to NULL first. Questions have neither ttl nor data. Records come after the
 * last question. */
bool dns_question_next(struct dns_cursor *cursor, struct dns_record *out, const char **why);
bool dns_record_next(struct dns_cursor *cursor, struct dns_record *out, const char **why);

/* ---- dns_svcb.c ---- */

enum dns_param_key { /* RFC 9460 section 14.3.2 */
                     DNS_PARAM_MANDATORY = 0,
                     DNS_PARAM_ALPN = 1,
                     DNS_PARAM_NO_DEFAULT_ALPN = 2,
                     DNS_PARAM_PORT = 3,
                     DNS_PARAM_IPV4HINT = 4,
                     DNS_PARAM_ECH = 5,
                     DNS_PARAM_IPV6HINT = 6,
};
struct dns_param {
    uint16_t key;
    struct span value;
};

bool dns_param_take(struct span *params, struct dns_param *out);
const char *dns_params_check(struct span params);
/* Which of enum dns_stripped are in there. */
unsigned dns_params_hiding(struct span params);
/* Copies the parameters without those; returns the new length, not more than the old. */
size_t dns_params_strip(struct span params, uint8_t *out);
