#include "policy/explain_why.h"

#include "policy/reason.h"

enum { SHOWN = 100, DNS_PORT = 53 };

static void say(char why[EXPLAIN_WHY], const char *words)
{
    reason_add(why, EXPLAIN_WHY, words);
}

static void say_text(char why[EXPLAIN_WHY], const char *text)
{
    reason_add_foreign(why, EXPLAIN_WHY, span_of_text(text), SHOWN);
}

static void say_address(char why[EXPLAIN_WHY], const struct ask *ask)
{
    reason_add_ip(why, EXPLAIN_WHY, ask->facts->dst);
}

/* ---- where to ---- */

static void say_name(char why[EXPLAIN_WHY], const struct ask *ask,
                     const struct policy_egress *egress, bool deny)
{
    const char *name = ask->asked ? ask->asked : ask->said;

    if (!deny && ask->point == POLICY_POINT_DNS && !ask->question->configured) {
        say_address(why, ask);
        say(why, " is none of the pod's own name servers");
    } else if (name && ask_fits_name(egress->names, egress->names_len, name)) {
        say(why, "the name ");
        say_text(why, name);
        say(why, " fits, but was not resolved to ");
        say_address(why, ask);
    } else if (name) {
        say(why, "the name ");
        say_text(why, name);
        say(why, " is none of its toFQDNs");
    } else if (!ask->facts->resolved.len) {
        say(why, "no name was resolved to ");
        say_address(why, ask);
    } else {
        say(why, "of the names that were resolved to ");
        say_address(why, ask);
        say(why, " none is of its toFQDNs, like ");
        say_text(why, ask->facts->resolved.list[0]);
    }
}

bool explain_egress(const struct ask *ask, const struct policy_egress *egress, bool deny,
                    char why[EXPLAIN_WHY])
{
    if (ask_fits_egress(ask, egress, deny))
        return true;
    why[0] = 0;
    if (egress->nowhere) {
        say(why, "it has an empty list of destinations, and so none");
        return false;
    }
    if (egress->names_len)
        say_name(why, ask, egress, deny);
    if (egress->cidrs_len) {
        if (egress->names_len)
            say(why, ", and ");
        say_address(why, ask);
        say(why, " is in none of its networks");
    }
    return false;
}

/* ---- ports, TLS ---- */

static void say_port(char why[EXPLAIN_WHY], const struct ask *ask)
{
    char address[ADDR_TEXT_MAX];

    addr_format(ask->facts->dst, address);
    say(why, "it is not for port ");
    say(why, strrchr(address, ':') + 1);
    say(why, "/");
    say(why, protocol_name(ask->facts->protocol));
}

static void say_demand(char why[EXPLAIN_WHY], const struct ask *ask,
                       const struct policy_to_ports *to_ports, bool deny)
{
    if (ask->facts->protocol == PROTOCOL_UDP &&
        (to_ports->http_len || to_ports->tls || ask->facts->dst->port == DNS_PORT))
        say(why, "what it demands cannot be seen in datagrams");
    else if (to_ports->tls && !deny && !ask_fits_tls(ask, to_ports->tls))
        say(why, ask->facts->plain ? "it wants TLS, and this is in the clear"
                                   : "the version or the cipher of TLS is not as it wants");
    else if (ask->point == POLICY_POINT_CONNECT)
        say(why, "its serverNames are looked at later");
    else if (ask->facts->plain || !ask->server_name)
        say(why, "it has serverNames, and there is no SNI");
    else {
        say(why, "the name ");
        say_text(why, ask->server_name);
        say(why, " is none of its serverNames");
    }
}

bool explain_entry(const struct ask *ask, const struct policy_to_ports *to_ports, bool deny,
                   char why[EXPLAIN_WHY])
{
    why[0] = 0;
    if (!ask_fits_ports(ask, to_ports))
        say_port(why, ask);
    else if (!ask_fits_demands(ask, to_ports, deny))
        say_demand(why, ask, to_ports, deny);
    else
        return true;
    return false;
}

/* ---- rules ---- */

static void say_field(char why[EXPLAIN_WHY], const char *what, struct span value,
                      const char *written)
{
    say(why, what);
    reason_add_foreign(why, EXPLAIN_WHY, value, SHOWN);
    say(why, " does not match ");
    say_text(why, written);
}

static void say_header(char why[EXPLAIN_WHY], const struct ask *ask, const struct policy_http *http)
{
    for (size_t i = 0; i < http->headers_len; i++) {
        const struct policy_header *header = &http->headers[i];

        if (ask_fits_header(ask, header))
            continue;
        say(why, "there is no header ");
        say_text(why, header->name);
        if (header->value) {
            say(why, " that says ");
            say_text(why, header->value);
        }
        return;
    }
}

bool explain_http(const struct ask *ask, const struct policy_http *http, size_t path,
                  char why[EXPLAIN_WHY])
{
    const struct facts_request *request = ask->request;
    struct span host = span_of_text(request->host);

    if (ask_fits_http(ask, http, ask->paths[path]))
        return true;
    why[0] = 0;
    if (!ask_fits_field(http->method_is, http->method_text, request->method))
        say_field(why, "the method ", request->method, http->method);
    else if (!ask_fits_field(http->host_is, http->host_text, host))
        say_field(why, "the host ", host, http->host);
    else if (!ask_fits_field(http->path_is, http->path_text, ask->paths[path]))
        say_field(why, path ? "the normalised path " : "the path ", ask->paths[path], http->path);
    else
        say_header(why, ask, http);
    return false;
}

bool explain_dns(const struct ask *ask, const struct policy_dns *dns, char why[EXPLAIN_WHY])
{
    if (ask_fits_dns(ask, dns))
        return true;
    why[0] = 0;
    if (dns->name.text && !ask_fits_name(&dns->name, 1, ask->asked)) {
        say_field(why, "the name ", span_of_text(ask->asked), dns->name.text);
    } else {
        say(why, "it is not for the type ");
        say(why, ask->question->type_name ? ask->question->type_name : "asked for");
    }
    return false;
}
