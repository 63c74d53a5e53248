/* tickets: the keys of the session tickets that pods get from us (RFC 5077, RFC 8446 section
 * 4.6.1): the same for all workers, so whoever accepts a pod's next connection can resume it.
 *
 * A ticket holds the keys of its session, so what seals it does not live long: half an hour new,
 * half an hour more to open what was sealed. For whom a ticket is good, is said by the session id
 * context of the connection (proxy/flow/resume.c). */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct tickets;

enum { TICKETS_ROTATE_SECONDS = 1800 };

int tickets_new(struct tickets **out, struct err *err);
/* Wipes the keys; no SSL of theirs may be left. */
void tickets_free(struct tickets **tickets);

/* Has a server seal and open its tickets with them; borrows tickets. False: OpenSSL fails. */
bool tickets_use(struct tickets *tickets, SSL_CTX *ctx);

/* What names the key to seal with at that time (monotonic), for tests. */
enum { TICKETS_NAME_SIZE = 16 };
bool tickets_name(struct tickets *tickets, uint64_t now_ns, uint8_t out[TICKETS_NAME_SIZE]);
/* Whether a ticket sealed with a key of that name is opened then: 0: no, 1: yes, 2: yes, and a new
 * one is due. */
int tickets_opens(struct tickets *tickets, uint64_t now_ns, const uint8_t name[TICKETS_NAME_SIZE]);
