#include "proxy/dns/configured.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/match.h"

enum { PORT_DNS = 53, PORT_DOT = 853, LINE_MAX_BYTES = 320 };

/* ---- lines and words ---- */

static size_t until(struct span text, uint8_t byte)
{
    const uint8_t *at = text.len ? memchr(text.data, byte, text.len) : NULL;

    return at ? (size_t)(at - text.data) : text.len;
}

/* Without its end, and without what follows the byte that begins a comment. False: there is none
 * left. */
static bool next_line(struct span *text, uint8_t comment, struct span *line)
{
    struct span end;

    if (!text->len)
        return false;
    span_take(text, until(*text, '\n'), line);
    span_take(text, 1, &end);
    line->len = until(*line, comment);
    if (until(*line, 0) < line->len)
        line->len = 0; /* readers differ in what such a line says */
    return true;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\v' || byte == '\f';
}

static bool next_word(struct span *line, struct span *word)
{
    size_t len = 0;

    while (line->len && is_blank(line->data[0])) {
        line->data++;
        line->len--;
    }
    while (len < line->len && !is_blank(line->data[len]))
        len++;
    return span_take(line, len, word) && len;
}

/* "fe80::1%eth0", too: the same address. */
static bool read_address(struct span word, struct addr *out)
{
    char text[INET6_ADDRSTRLEN];

    word.len = until(word, '%');
    *out = (struct addr){.ip = {[10] = 0xff, [11] = 0xff}};
    if (!span_to_text(word, text, sizeof(text)))
        return false;
    if (inet_pton(AF_INET, text, out->ip + 12) == 1)
        return true;
    *out = (struct addr){.port = 0};
    return inet_pton(AF_INET6, text, out->ip) == 1;
}

/* ---- resolv.conf(5) ---- */

static void read_servers(struct configured *configured, struct span text)
{
    struct span line, word;

    while (configured->servers_len < CONFIGURED_SERVERS_MAX && next_line(&text, '#', &line)) {
        line.len = until(line, ';');
        if (next_word(&line, &word) && span_equal(word, BYTES("nameserver")) &&
            next_word(&line, &word) &&
            read_address(word, &configured->servers[configured->servers_len]))
            configured->servers_len++;
    }
}

/* ---- hosts(5) ---- */

/* A name as policies may have it, in lower case. False: it is none. */
static bool read_name(struct span word, char out[MATCH_NAME_MAX + 2])
{
    if (word.len > MATCH_NAME_MAX + 1 || !span_to_text(word, out, MATCH_NAME_MAX + 2))
        return false;
    for (char *at = out; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + 'a' - 'A');
    if (word.len && out[word.len - 1] == '.')
        out[--word.len] = 0;
    return word.len && out[word.len - 1] != '.' && !strchr(out, '*') && match_pattern_ok(out);
}

/* One name of a line; in `names`, whose end is *at, there is room for all the words of the file. */
static void add_host(struct configured *configured, const struct addr *address, struct span word,
                     size_t *at)
{
    char name[MATCH_NAME_MAX + 2];
    size_t len;

    if (configured->hosts_len == CONFIGURED_HOSTS_MAX || !read_name(word, name))
        return;
    len = strlen(name) + 1;
    memcpy(configured->names + *at, name, len);
    configured->hosts[configured->hosts_len++] =
        (struct configured_host){*address, configured->names + *at};
    *at += len;
}

static int by_address(const void *a, const void *b)
{
    const struct configured_host *x = a, *y = b;
    int order = memcmp(x->address.ip, y->address.ip, sizeof(x->address.ip));

    return order ? order : (x->name > y->name) - (x->name < y->name); /* as they stand */
}

static bool read_hosts(struct configured *configured, struct span text)
{
    struct span line, word;
    struct addr address;
    size_t at = 0;

    configured->names = malloc(text.len + 1);
    configured->hosts = calloc(CONFIGURED_HOSTS_MAX, sizeof(*configured->hosts));
    if (!configured->names || !configured->hosts)
        return false;
    while (next_line(&text, '#', &line))
        if (next_word(&line, &word) && read_address(word, &address))
            while (next_word(&line, &word))
                add_host(configured, &address, word, &at);
    if (configured->hosts_len)
        qsort(configured->hosts, configured->hosts_len, sizeof(*configured->hosts), by_address);
    return true;
}

/* What there was room for, but nobody needed. */
static void shrink(struct configured *configured)
{
    size_t len = configured->hosts_len ? configured->hosts_len : 1;
    struct configured_host *hosts = realloc(configured->hosts, len * sizeof(*hosts));

    if (hosts)
        configured->hosts = hosts;
}

struct configured *configured_parse(struct span resolv_conf, struct span hosts)
{
    CLEANUP(configured_free) struct configured *configured = calloc(1, sizeof(*configured));

    if (!configured || !read_hosts(configured, hosts))
        return NULL;
    read_servers(configured, resolv_conf);
    shrink(configured);
    return TAKE(configured);
}

void configured_free(struct configured **configured)
{
    struct configured *gone = TAKE(*configured);

    if (!gone)
        return;
    free(gone->hosts);
    free(gone->names);
    free(gone);
}

/* ---- what it says ---- */

static bool same_ip(const struct addr *a, const struct addr *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool configured_serves(const struct configured *configured, const struct addr *server)
{
    if (server->port != PORT_DNS && server->port != PORT_DOT)
        return false;
    for (size_t i = 0; i < configured->servers_len; i++)
        if (same_ip(&configured->servers[i], server))
            return true;
    return false;
}

size_t configured_find(const struct configured *configured, const struct addr *address,
                       const struct configured_host **first)
{
    size_t low = 0, high = configured->hosts_len, len = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(configured->hosts[middle].address.ip, address->ip, sizeof(address->ip)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + len < configured->hosts_len && len < CONFIGURED_HOSTS_OF_ADDRESS &&
           same_ip(&configured->hosts[low + len].address, address))
        len++;
    *first = configured->hosts + low;
    return len;
}

/* ---- written down ---- */

char *configured_resolv_conf(const struct configured *configured)
{
    char *text = calloc(configured->servers_len + 1, LINE_MAX_BYTES), ip[ADDR_TEXT_MAX];
    size_t at = 0;

    for (size_t i = 0; text && i < configured->servers_len; i++)
        at += (size_t)sprintf(text + at, "nameserver %s\n",
                              addr_format_ip(&configured->servers[i], ip));
    return text;
}

char *configured_hosts(const struct configured *configured)
{
    size_t size = 1, at = 0;
    char *text, ip[ADDR_TEXT_MAX];

    for (size_t i = 0; i < configured->hosts_len; i++)
        size += strlen(configured->hosts[i].name) + ADDR_TEXT_MAX;
    text = calloc(1, size);
    for (size_t i = 0; text && i < configured->hosts_len; i++)
        at +=
            (size_t)sprintf(text + at, "%s %s\n", addr_format_ip(&configured->hosts[i].address, ip),
                            configured->hosts[i].name);
    return text;
}
