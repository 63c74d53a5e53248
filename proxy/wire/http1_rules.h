/* http1_rules: the few fields, and the target, that decide how a message is framed and whom it is
 * for, judged while their bytes go by (RFC 9112 sections 3.2, 6 and 9).
 *
 * The rule behind the rules: what two servers could read differently is refused, in answers as in
 * requests. Each function that judges returns NULL, or why not.
 * Pure, bounded, no allocation. Called by:  http1.c alone. */
#pragma once

#include "proxy/wire/authority.h"

enum http1_rule {
    HTTP1_RULE_NONE, /* a field without a rule */
    HTTP1_RULE_CONNECTION,
    HTTP1_RULE_CONTENT_LENGTH,
    HTTP1_RULE_HOST,
    HTTP1_RULE_TRANSFER_ENCODING,
    HTTP1_RULE_UPGRADE,
    _HTTP1_RULE_MAX,
};

enum { HTTP1_GATHER_MAX = AUTHORITY_MAX + 16 };

struct http1_rules {
    bool request, trailer;
    unsigned seen;                   /* 1 << rule, for the head */
    bool close, keep_alive, upgrade; /* Connection options */
    bool absolute, query; /* the target: has scheme and authority; its path is behind us */
    const char *target_fault;
    struct authority_parts asked;    /* by an absolute target */
    uint16_t port_default;           /* by its scheme */
    enum http1_rule rule;            /* of the current field */
    size_t gathered_len;             /* all that went by, also what did not fit */
    char gathered[HTTP1_GATHER_MAX]; /* last: not cleared for each message */
};

void http1_rules_begin(struct http1_rules *rules, bool request);

void http1_rules_target(struct http1_rules *rules, struct span piece);
const char *http1_rules_target_ends(struct http1_rules *rules, bool connect);

void http1_rules_name(struct http1_rules *rules, struct span piece);
const char *http1_rules_name_ends(struct http1_rules *rules, unsigned minor);
void http1_rules_value(struct http1_rules *rules, struct span piece);
const char *http1_rules_value_ends(struct http1_rules *rules);

bool http1_rules_seen(const struct http1_rules *rules, enum http1_rule rule);
