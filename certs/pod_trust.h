/* pod_trust: what the programs of one pod trusted before we came, where that is not what the agent
 * itself sees: said by who starts them (command/exec_join.c), in files without a name.
 *
 * Called by:  command/exec_join.c, which writes them; registry_verbs.c, which reads them. */
#pragma once

#include "certs/anchors.h"

enum { POD_TRUST_BYTES_MAX = 4 << 20, POD_TRUST_FILES = 1 + ANCHORS_MAX };

struct pod_trust {
    X509_STORE *roots;              /* of any of them */
    X509_STORE *files[ANCHORS_MAX]; /* of who reads each set of files: anchors.h */
    size_t len;
};
void pod_trust_fini(struct pod_trust *trust);

/* fds[0]: roots, then each of files; len of at most POD_TRUST_FILES. Regular files of at most
 * POD_TRUST_BYTES_MAX bytes that hold certificates in PEM, and no broken one; or nothing. */
int pod_trust_read(struct pod_trust *out, const int *fds, size_t len, struct err *err);
/* Such files; 1 + trust->len of them, the caller's to close. */
int pod_trust_write(const struct pod_trust *trust, int fds[POD_TRUST_FILES], struct err *err);
