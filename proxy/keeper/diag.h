/* diag: what connections there are in a network namespace, as sock_diag(7) tells it, and how one of
 * them is ended.
 *
 * diag_take() and the requests are pure: a dump's bytes in, sockets out. The netlink socket belongs
 * to the namespace in which it was opened, whoever uses it later.
 * Called by:  keeper/inside.c opens one; pods/existing.c, kernel/ends.c and telemetry/counts.c
 *             ask. */
#pragma once

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/span.h"

enum diag_state { /* include/net/tcp_states.h */
                  DIAG_ESTABLISHED = 1,
                  DIAG_SYN_SENT = 2,
                  DIAG_FIN_WAIT1 = 4,
                  DIAG_FIN_WAIT2 = 5,
                  DIAG_CLOSE_WAIT = 8,
                  DIAG_LAST_ACK = 9,
                  DIAG_LISTEN = 10,
                  DIAG_CLOSING = 11,
};

struct diag_socket {
    uint8_t family, state; /* AF_INET, AF_INET6; enum diag_state */
    struct addr src, dst;
    uint64_t cookie;
    uint64_t inode;       /* of who has it open; 0: nobody has, or not yet */
    uint64_t cgroup;      /* of who made it; 0: that is not told */
    uint64_t tx, rx;      /* bytes it has sent, and received */
    uint32_t waits;       /* what it has not sent yet, a FIN with it */
    uint32_t unread;      /* of rx, by its program; a FIN with it */
    bool begun_here;      /* it is known that it connected; else: it, or the other side */
    uint16_t tls_version; /* as in a ClientHello, where the kernel encrypts; else 0 */
    struct inet_diag_sockid its_own; /* what the kernel calls it */
};

struct diag_request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};
/* For all of a family's TCP sockets that listen or that somebody may have open. */
void diag_ask_all(struct diag_request *out, uint8_t family);
/* For all those that may send something, whoever has them open. */
void diag_ask_sending(struct diag_request *out, uint8_t family);
/* For the end of one: its program sees ECONNABORTED, the other side a reset. */
void diag_ask_end(struct diag_request *out, const struct diag_socket *socket);

/* Takes in one datagram of the answer to diag_ask_all(): calls visit(arg, socket) for each; *done
 * says that it was the last. */
int diag_take(struct span answer, void (*visit)(void *arg, const struct diag_socket *socket),
              void *arg, bool *done, struct err *err);
/* What was answered to diag_ask_end(): 0, or what it could not be done for. */
int diag_take_end(struct span answer);

/* A non-blocking socket in the calling thread's namespace. The descriptor, or a negative errno. */
int diag_open(void);
/* Asks, and takes the whole answer, which the kernel makes while it is read: 0, or a negative
 * errno.
 */
int diag_list(int fd, const struct diag_request *request,
              void (*visit)(void *arg, const struct diag_socket *socket), void *arg);
/* Ends it: 0, -ENOENT (it is gone), -EOPNOTSUPP (this kernel cannot), ... */
int diag_end(int fd, const struct diag_socket *socket);
