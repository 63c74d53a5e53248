/* hello_verdict: what policies say of a ClientHello that went by datagrams, told, and done. Private
 * to this folder. */
#pragma once

#include "proxy/handshakes/handshakes.h"
#include "proxy/wire/hello.h"

/* What is known of it. */
struct hello_seen {
    const struct abi_datagram *record;
    const struct handshakes_who *who;
    const struct hello *hello; /* NULL: there is none that could be read */
    const char *transport;     /* as events have it; static */
};

/* Tells of it, as `tells` wants; what policies say of it, in any case. False: it is denied, and
 * what that comes to is done; said: why. */
bool hello_verdict(const struct handshakes_parts *parts, const struct hello_seen *seen, bool tells,
                   char said[320]);
