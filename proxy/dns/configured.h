/* configured: what a pod's resolver was set up with when the pod was registered: the name servers
 * of its /etc/resolv.conf, and what its /etc/hosts calls which address. What toFQDNs of policies
 * hold by: a pod that writes other files later, or asks a server of its own, gains nothing.
 *
 * The files are the pod's, so bytes are strangers': what is no address or no name is passed over,
 * and there is so much of each. Immutable once it is made. configured.c is pure; what reads,
 * configured_read.c.
 * Called by:  pods/lifecycle.c (a pod comes), pods/registry.c (keeps it over a restart).
 * Leads to:   names.h, which asks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/span.h"

enum {
    CONFIGURED_SERVERS_MAX = 8,        /* programs use three */
    CONFIGURED_FILE_MAX = 256 * 1024,  /* so much of a file is read */
    CONFIGURED_HOSTS_MAX = 4096,       /* (address, name) pairs */
    CONFIGURED_HOSTS_OF_ADDRESS = 256, /* names that lead to the same address */
};

struct configured_host {
    struct addr address; /* port 0 */
    const char *name;    /* lower case, without a closing dot */
};
struct configured {
    struct addr servers[CONFIGURED_SERVERS_MAX]; /* port 0 */
    size_t servers_len;
    struct configured_host *hosts; /* by address */
    size_t hosts_len;
    char *names; /* what hosts point into */
};

/* NULL: out of memory. */
struct configured *configured_parse(struct span resolv_conf, struct span hosts);
void configured_free(struct configured **configured);

/* Whether it is one of the name servers, asked by DNS or by DNS over TLS. */
bool configured_serves(const struct configured *configured, const struct addr *server);
/* How many of hosts have this address; *first is the first of them. */
size_t configured_find(const struct configured *configured, const struct addr *address,
                       const struct configured_host **first);

/* As configured_parse() takes them; the caller's; NULL: out of memory. */
char *configured_resolv_conf(const struct configured *configured);
char *configured_hosts(const struct configured *configured);

/* The files as that process has them (its root directory, its mounts), and no others, whatever
 * links it put there. A missing file is an empty one. What takes longer than a moment, as a file
 * system of the pod's own making may, is given up. */
int configured_read(struct configured **out, pid_t pid, struct err *err);
