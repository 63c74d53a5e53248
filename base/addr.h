/* addr: one address and port, whatever the family. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
    uint8_t ip[16]; /* network order; IPv4 is kept as ::ffff:a.b.c.d */
    uint16_t port;  /* host order */
};

enum { ADDR_TEXT_MAX = 64 }; /* "[ipv6]:port" and its NUL fit */

bool addr_is_v4(const struct addr *addr);

/* "192.0.2.1:443" or "[2001:db8::1]:443"; returns out. */
const char *addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX]);
/* The address alone: "192.0.2.1", "2001:db8::1"; returns out. */
const char *addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_MAX]);

/* To and from the kernel's form. An IPv4 address becomes AF_INET, as the kernel would have it
 * for a socket of that family. addr_from_sockaddr is false for any other family. */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out);
bool addr_from_sockaddr(const struct sockaddr_storage *from, struct addr *out);
