#include "policy/ask.h"

#include <arpa/inet.h>

#include "policy/path.h"
#include "policy/regex.h"

enum { DNS_PORT = 53 };

bool ask_normal_name(const char *name, char out[ASK_NAME_MAX])
{
    size_t len = strlen(name);

    if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
        name++;
        len -= 2;
    } else if (len && name[len - 1] == '.') {
        len--;
    }
    out[0] = 0;
    if (len >= ASK_NAME_MAX || (len && name[len - 1] == '.'))
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 'a' - 'A' : name[i]);
    out[len] = 0;
    return true;
}

bool ask_resolved(const struct policy_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->resolved.len; i++)
        if (strcmp(facts->resolved.list[i], name) == 0)
            return true;
    return false;
}

bool ask_other_name(const char *a, const char *b)
{
    char x[ASK_NAME_MAX], y[ASK_NAME_MAX];

    return a && b && !(ask_normal_name(a, x) && ask_normal_name(b, y) && strcmp(x, y) == 0);
}

bool ask_literal(const char *name, struct addr *out)
{
    char bare[ASK_NAME_MAX];

    *out = (struct addr){0};
    if (!ask_normal_name(name, bare))
        return false;
    if (inet_pton(AF_INET, bare, out->ip + 12) == 1) {
        out->ip[10] = out->ip[11] = 0xff;
        return true;
    }
    return inet_pton(AF_INET6, bare, out->ip) == 1;
}

bool ask_is_address(const char *name, const struct addr *dst)
{
    struct addr said;

    return ask_literal(name, &said) && memcmp(said.ip, dst->ip, sizeof(said.ip)) == 0;
}

void ask_init(struct ask *ask, enum policy_point point, const struct policy_facts *facts,
              const char *said)
{
    *ask = (struct ask){.point = point, .facts = facts, .server_name = facts->name};
    if (!said || !*said)
        return;
    ask->said = ask->name; /* what can be no name is "", which fits nothing */
    ask_normal_name(said, ask->name);
    ask->said_resolved = facts->cannot_resolve || ask_resolved(facts, ask->name);
}

void ask_init_dns(struct ask *ask, const struct policy_facts *facts,
                  const struct policy_question *question)
{
    *ask = (struct ask){.point = POLICY_POINT_DNS, .facts = facts, .question = question};
    ask->asked = ask->name;
    ask_normal_name(question->name, ask->name);
}

void ask_init_hello(struct ask *ask, const struct policy_facts *facts,
                    const struct policy_hello *hello)
{
    ask_init(ask, POLICY_POINT_TLS, facts, hello->server_name ? hello->server_name : facts->name);
    ask->server_name = hello->server_name;
    ask->version_max = hello->version_max;
}

bool ask_is_tunnel(const struct facts_request *request)
{
    return span_equal(request->method, BYTES("CONNECT")) && !request->upgrade.len;
}

void ask_init_http(struct ask *ask, const struct policy_facts *facts,
                   const struct facts_request *request, uint8_t *buffer, const char **odd)
{
    const char *host = ask_is_tunnel(request) ? NULL : request->host;
    struct path_normal normal;

    ask_init(ask, POLICY_POINT_HTTP, facts, host ? host : facts->name);
    ask->request = request;
    *odd = NULL;
    if (facts->name && host)
        ask->server_name = host; /* as if TLS were with it */
    ask->paths_len = 1;
    if (ask_is_tunnel(request))
        return;
    ask->paths[0] = request->path;
    path_normalize(request->path, buffer, request->path.len, &normal);
    *odd = path_oddity_name(normal.oddities);
    if (!span_equal(normal.path, request->path))
        ask->paths[ask->paths_len++] = normal.path;
}

/* ---- where to ---- */

bool ask_fits_name(const struct policy_name *names, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++)
        if (names[i].exact ? strcmp(names[i].text, name) == 0 : match_pattern(names[i].text, name))
            return true;
    return false;
}

static bool resolved_fits(const struct ask *ask, const struct policy_egress *egress)
{
    const struct policy_names *resolved = &ask->facts->resolved;

    for (size_t i = 0; i < resolved->len; i++)
        if (ask_fits_name(egress->names, egress->names_len, resolved->list[i]))
            return true;
    return false;
}

bool ask_for_name_server(const struct ask *ask)
{
    if (ask->point == POLICY_POINT_DNS && ask->question->configured)
        return true;
    return ask->facts->name_server && ask->facts->dst->port == DNS_PORT;
}

static bool fits_names(const struct ask *ask, const struct policy_egress *egress, bool deny)
{
    const char *name = ask->asked ? ask->asked : ask->said;

    if (!egress->names_len)
        return false;
    if (deny)
        return (name && ask_fits_name(egress->names, egress->names_len, name)) ||
               resolved_fits(ask, egress);
    if (ask_for_name_server(ask))
        return true;
    if (!ask->said)
        return resolved_fits(ask, egress);
    return ask->said_resolved && ask_fits_name(egress->names, egress->names_len, ask->said);
}

static bool fits_cidr(const struct policy_cidr *cidr, const struct addr *dst)
{
    if (!match_cidr(&cidr->cidr, dst))
        return false;
    for (size_t i = 0; i < cidr->except_len; i++)
        if (match_cidr(&cidr->except[i], dst))
            return false;
    return true;
}

static bool fits_cidrs(const struct ask *ask, const struct policy_egress *egress)
{
    if (egress->nowhere)
        return false;
    if (!egress->names_len && !egress->cidrs_len)
        return true;
    for (size_t i = 0; i < egress->cidrs_len; i++)
        if (fits_cidr(&egress->cidrs[i], ask->facts->dst))
            return true;
    return false;
}

bool ask_fits_egress(const struct ask *ask, const struct policy_egress *egress, bool deny)
{
    return fits_cidrs(ask, egress) || (!egress->nowhere && fits_names(ask, egress, deny));
}

/* ---- what about it ---- */

static bool fits_port(const struct ask *ask, const struct policy_port *port)
{
    uint8_t protocol = ask->facts->protocol == PROTOCOL_UDP ? POLICY_UDP : POLICY_TCP;

    return (port->protocols & protocol) && ask->facts->dst->port >= port->first &&
           ask->facts->dst->port <= port->last;
}

bool ask_fits_ports(const struct ask *ask, const struct policy_to_ports *to_ports)
{
    for (size_t i = 0; i < to_ports->ports_len; i++)
        if (fits_port(ask, &to_ports->ports[i]))
            return true;
    return !to_ports->ports_len;
}

static bool has_cipher(const struct policy_tls *tls, const char *cipher)
{
    for (size_t i = 0; i < tls->ciphers_len; i++)
        if (strcmp(tls->ciphers[i], cipher) == 0)
            return true;
    return !tls->ciphers_len;
}

bool ask_fits_tls(const struct ask *ask, const struct policy_tls *tls)
{
    if (ask->facts->plain)
        return false;
    if (ask->version_max && tls->version_min && ask->version_max < tls->version_min)
        return false;
    if (ask->version && ask->version < tls->version_min)
        return false;
    if (ask->version && tls->version_max && ask->version > tls->version_max)
        return false;
    return !ask->cipher || has_cipher(tls, ask->cipher);
}

/* Of datagrams the ClientHello is read (QUIC, DTLS), but no request, and nothing of the server's.
 */
static bool fits_datagram(const struct ask *ask, const struct policy_to_ports *to_ports)
{
    if (to_ports->http_len || to_ports->tls)
        return false;
    if (to_ports->server_names_len && ask->facts->dst->port == DNS_PORT)
        return false; /* where nobody waits for one */
    return !to_ports->dns_len || ask->point == POLICY_POINT_DNS ||
           ask->facts->dst->port == DNS_PORT;
}

bool ask_fits_demands(const struct ask *ask, const struct policy_to_ports *to_ports, bool deny)
{
    char name[ASK_NAME_MAX];

    if (ask->facts->protocol == PROTOCOL_UDP && !fits_datagram(ask, to_ports))
        return false;
    if (to_ports->tls && !deny && !ask_fits_tls(ask, to_ports->tls))
        return false;
    if (!to_ports->server_names_len)
        return true;
    if (ask->point == POLICY_POINT_CONNECT) /* nothing is said yet */
        return !deny;
    return !ask->facts->plain && ask->server_name && ask_normal_name(ask->server_name, name) &&
           ask_fits_name(to_ports->server_names, to_ports->server_names_len, name);
}

/* ---- requests and questions ---- */

bool ask_fits_field(const struct regex *regex, const char *text, struct span value)
{
    if (text)
        return span_equal(value, span_of_text(text));
    return !regex || regex_match(regex, value);
}

bool ask_fits_header(const struct ask *ask, const struct policy_header *header)
{
    const struct facts_request *request = ask->request;

    for (size_t i = 0; i < request->fields_len; i++) {
        const struct facts_field *field = &request->fields[i];

        if (span_equal_nocase(field->name, header->name) &&
            (!header->value || span_equal(field->value, span_of_text(header->value))))
            return true;
    }
    return false;
}

bool ask_fits_headers(const struct ask *ask, const struct policy_http *http)
{
    for (size_t i = 0; i < http->headers_len; i++)
        if (!ask_fits_header(ask, &http->headers[i]))
            return false;
    return true;
}

bool ask_fits_http(const struct ask *ask, const struct policy_http *http, struct span path)
{
    const struct facts_request *request = ask->request;

    return ask_fits_field(http->method_is, http->method_text, request->method) &&
           ask_fits_field(http->host_is, http->host_text, span_of_text(request->host)) &&
           ask_fits_field(http->path_is, http->path_text, path) && ask_fits_headers(ask, http);
}

bool ask_fits_dns(const struct ask *ask, const struct policy_dns *dns)
{
    if (dns->name.text && !ask_fits_name(&dns->name, 1, ask->asked))
        return false;
    for (size_t i = 0; i < dns->types_len; i++)
        if (dns->types[i] == ask->question->type)
            return true;
    return !dns->types_len;
}
