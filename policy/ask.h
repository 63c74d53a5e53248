/* ask: one thing that is asked of rules, and whether the parts of a rule fit it.
 *
 * Pure. Every decision is made of these, and so is every explanation of one.
 * Called by:  decide.c, unseen.c, search.c, explain.c. */
#pragma once

#include "policy/decide.h"

enum { ASK_NAME_MAX = 256 };

struct ask { /* borrows what it was made of; not to be moved */
    enum policy_point point;
    const struct policy_facts *facts;
    const char *said;        /* the name the program said, as names are compared; NULL: none */
    bool said_resolved;      /* ... and it leads to dst, or nobody could know */
    const char *server_name; /* that serverNames must have; NULL: none */
    const struct policy_question *question;
    const char *asked;    /* the question's name, as names are compared */
    uint16_t version_max; /* of a ClientHello; 0: not known */
    uint16_t version;     /* of a session, with its cipher */
    const char *cipher;   /* NULL: not known */
    const struct facts_request *request;
    struct span paths[2]; /* of a request: every spelling must be allowed */
    size_t paths_len;
    char name[ASK_NAME_MAX];
};

/* said NULL: none was. */
void ask_init(struct ask *ask, enum policy_point point, const struct policy_facts *facts,
              const char *said);
/* The question's name takes the place of one that was said. */
void ask_init_dns(struct ask *ask, const struct policy_facts *facts,
                  const struct policy_question *question);

void ask_init_hello(struct ask *ask, const struct policy_facts *facts,
                    const struct policy_hello *hello);
/* A request's, with every spelling of its path; buffer: room for as much as the path. odd: what
 * makes the path be read in more than one way; NULL: nothing. */
void ask_init_http(struct ask *ask, const struct policy_facts *facts,
                   const struct facts_request *request, uint8_t *buffer, const char **odd);
/* Whether it leads elsewhere: its authority is not whom it is said to. */
bool ask_is_tunnel(const struct facts_request *request);

/* deny: of egressDeny, which fits already when any of the names does. */
bool ask_fits_egress(const struct ask *ask, const struct policy_egress *egress, bool deny);
bool ask_fits_ports(const struct ask *ask, const struct policy_to_ports *to_ports);
/* Whether it is for the pod's own name servers, which whoever may ask for any name needs. */
bool ask_for_name_server(const struct ask *ask);
/* What is beside rules: serverNames, tls, and that somebody will look at the rules at all. */
bool ask_fits_demands(const struct ask *ask, const struct policy_to_ports *to_ports, bool deny);
bool ask_fits_tls(const struct ask *ask, const struct policy_tls *tls);
bool ask_fits_http(const struct ask *ask, const struct policy_http *http, struct span path);
bool ask_fits_headers(const struct ask *ask, const struct policy_http *http);
bool ask_fits_header(const struct ask *ask, const struct policy_header *header);
/* One of its fields: text where it is said literally, else regex; neither: everything fits. */
bool ask_fits_field(const struct regex *regex, const char *text, struct span value);
bool ask_fits_name(const struct policy_name *names, size_t len, const char *name);
bool ask_fits_dns(const struct ask *ask, const struct policy_dns *dns);

/* Whether a name is nothing but an address; which one: out, without port. */
bool ask_literal(const char *name, struct addr *out);
/* Whether a name is nothing but that address. */
bool ask_is_address(const char *name, const struct addr *dst);
bool ask_resolved(const struct policy_facts *facts, const char *name);
/* As names are compared: lower case, without one closing dot, an IPv6 address without brackets.
 * False, and "": too long for one, or two dots close it, which no name of DNS can end in. */
bool ask_normal_name(const char *name, char out[ASK_NAME_MAX]);
/* Whether both are there and differ. */
bool ask_other_name(const char *a, const char *b);
