/* token: whose a Kubernetes service-account token is, by what it claims.
 *
 * Claims are read, not verified: who would forge one tells only on himself. An unreadable one is
 * none. Pure.
 * Called by:  proxy/flow/finding.c, with what jwt.h found in a header field or a body. */
#pragma once

#include <stdbool.h>

#include "base/span.h"

enum { TOKEN_LABEL = 64, TOKEN_NAME = 254 };

struct token {
    char space[TOKEN_LABEL];
    char account[TOKEN_NAME];
    char pod[TOKEN_NAME]; /* "": it is bound to none, as those that live in a Secret */
};

/* jwt: header and claims, and whatever follows them. False: it is no such token. */
bool token_read(struct span jwt, struct token *out);
/* Whether a pod may have it for its own. What is no pod of Kubernetes' (space or name ""), such as
 * a command that was started by hand, may have one that is bound to no pod. */
bool token_is_of(const struct token *token, const char *space, const char *name);
