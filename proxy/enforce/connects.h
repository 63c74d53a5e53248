/* connects: what policies say of the connects that the kernel tells of: of those it let pass, whose
 * rule that was; of those it refused, who did and what else is done about it.
 *
 * The kernel says no more than that it refused; which rule that was is decided again here, by the
 * functions that its tables were made with (kernel_rules.h). Control thread only.
 * Called by:  sockets.c; doors/attempts.c, before anything leaves for a connect that comes to us.
 */
#pragma once

#include "base/err.h"
#include "events/bus.h"
#include "policy/decide.h"
#include "proxy/dns/names.h"

struct abi_socket;
struct act;
struct connects;
struct flow_event;
struct identity;
struct origin;
struct pods;
struct policies;

struct connects_parts { /* all borrowed, all outlive it; producer is the control thread's */
    struct identity *identity;
    struct pods *pods;
    struct policies *policies;
    struct names *names;
    struct act *act;
    struct bus_producer *producer;
};

int connects_new(struct connects **out, const struct connects_parts *parts, struct err *err);
void connects_free(struct connects **connects);

/* ABI_SOCKET_DENIED */
void connects_denied(struct connects *connects, const struct abi_socket *record);

struct connects_judged { /* owns what verdict borrows */
    struct policy_view *view;
    struct policy_scope *scope;
    struct names_trusted names;
    struct policy_verdict verdict;
    enum policy_point point;
    bool any; /* a policy had a say */
};
/* ABI_SOCKET_CONNECT, by this process (NULL: nobody knows which). */
void connects_judge(struct connects *connects, const struct abi_socket *record,
                    const struct process *process, struct connects_judged *out);
/* It passed, but a policy has something to tell of it. */
void connects_tell(struct connects *connects, const struct abi_socket *record,
                   struct process *process, struct pod *pod, const struct connects_judged *judged);
void connects_judged_fini(struct connects_judged *judged);

/* A TCP connect that came to us: whether its flow will let it go there. Nothing is told of it. */
bool connects_may_dial(struct connects *connects, const struct origin *origin);
