/* ktls_conf: an OpenSSL configuration that has programs let the kernel encrypt, made of one that
 * does not say so: everything it says stays, `Options = KTLS` is added to the section that counts
 * for every connection (`system_default` of `ssl_conf` of `openssl_conf`).
 *
 * It is read by OpenSSL's own parser, so that what we understand is what programs will. Pure but
 * for what it includes, which is read as programs read it.
 * Called by:  ../overlay.c. */
#pragma once

#include "base/err.h"
#include "base/span.h"
#include "events/buffer.h"

enum ktls_conf { KTLS_CONF_MADE, KTLS_CONF_ASKS /* by itself: nothing is made */ };

/* *out, which begins empty, is the whole of the new one. Negative: it cannot be made, and why. */
int ktls_conf_make(struct buffer *out, struct span conf, struct err *err);
