/* flow_event: what happened, as plain data. Both routes, the identity and the tests speak it.
 *
 * An event is one allocation tree: the struct and an arena that holds every text it points to,
 * so it can cross threads. It is made by whoever saw the thing, handed to bus_emit() (which
 * takes it) and freed by the event thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"
#include "policy/facts.h"

enum flow_event_kind {
    FLOW_EVENT_EXEC,       /* process_exec */
    FLOW_EVENT_EXIT,       /* process_exit */
    FLOW_EVENT_CONNECT,    /* process_connect */
    FLOW_EVENT_DNS,        /* process_dns: a question, or its answer */
    FLOW_EVENT_TLS,        /* process_tls */
    FLOW_EVENT_HTTP,       /* process_http */
    FLOW_EVENT_GRPC,       /* process_grpc: a call is over */
    FLOW_EVENT_WEBSOCKET,  /* process_websocket: it is over */
    FLOW_EVENT_SOCK_STATS, /* process_sock_stats: bytes so far, before the close */
    FLOW_EVENT_CLOSE,      /* process_close */
    FLOW_EVENT_POLICY,     /* process_policy: a policy denied something, or tells of it */
    FLOW_EVENT_CAPTURE,    /* capture: somebody is given what a pod says, or its keys, or no more */
    FLOW_EVENT_LOST,       /* events that could not be delivered: how many, and why */
    FLOW_EVENT_MAX
};

struct flow_event_header {
    const char *key; /* as sent */
    const char *value;
};

struct flow_event {
    enum flow_event_kind kind;
    uint64_t time_ns;        /* wall clock, since 1970 */
    uint64_t ticket;         /* set by bus_emit: the order of all events */
    struct process *process; /* a reference, or NULL (LOST, or a process nobody knows) */
    struct pod *pod;         /* a reference, or NULL */
    /* all but EXEC, EXIT, CAPTURE and LOST */
    enum protocol protocol;
    struct addr src, dst;
    uint64_t socket_cookie;
    enum route route;
    enum visibility visibility;
    enum opaque opaque; /* why, where visibility is VISIBILITY_OPAQUE */
    const char
        *client_refused; /* how the program refused our certificate: one word, static; NULL */
    const char *error;   /* why it failed or was refused, a sentence; NULL when it did not */
    const char **names;  /* CONNECT, CLOSE: what the pod was told dst is called: "ebpf.io." */
    size_t names_len;
    /* CONNECT, DNS, TLS, HTTP, POLICY: what was decided, and by whose rule: "shop/cart",
     * "egress[0].toPorts[0]"; NULL: no policy had a say. flow_event_set_verdict() sets them. */
    enum verdict verdict;
    const char *policy, *rule;
    /* Set: another agent saw it and has rendered it (forward.h), and what else there is serves
     * filters only. The member of the JSON line with its comma, the text line. */
    const char *rendered_json, *rendered_text;
    union {
        struct {
            uint32_t status; /* exit status, when signal is 0 */
            uint32_t signal; /* number of the signal that ended it, or 0 */
        } exit;
        struct {
            bool response;     /* an answer; what follows `qtype` is empty in a question */
            const char *name;  /* asked for: "ebpf.io." */
            const char *qtype; /* "A", "TYPE65400" */
            const char *rcode; /* "NOERROR" */
            const char **ips, **cnames;
            size_t ips_len, cnames_len;
            uint32_t ttl;          /* seconds: the least of the records behind ips and cnames */
            const char **stripped; /* what we took out, so that TLS stays visible: "ech", "h3" */
            size_t stripped_len;
        } dns;
        struct {
            const char *sni;     /* NULL: none was sent */
            const char *version; /* "TLS1.3"; NULL when there was no handshake */
            const char *cipher;
            const char *alpn; /* NULL: none agreed; by datagrams: none offered */
            /* "QUICv1", "DTLS1.2", static; NULL: a connection's */
            const char *transport;
            bool resumed;
            const char *ja4; /* the program's ClientHello, NULL: none */
            const char *subject, *issuer, *not_after, *sha256; /* upstream's certificate, or NULL */
            const char *client_certificate; /* subject of what upstream was shown; NULL: nothing */
        } tls;
        struct {
            const char *host; /* the authority asked for, port cut off; NULL when there is none */
            const char *method;
            const char *url;      /* the target as sent: "/tetragon?x=1" */
            const char *path;     /* the same without query */
            const char *protocol; /* "HTTP/1.1" */
            uint32_t stream;      /* number of the request on its connection, from 1 */
            uint32_t code;        /* 0: no answer was seen */
            uint64_t latency_ns;  /* request's head forwarded -> answer's head seen */
            uint64_t request_bytes, response_bytes; /* body bytes relayed so far */
            struct flow_event_header *request_headers, *response_headers;
            size_t request_headers_len, response_headers_len;
        } http;
        struct {
            const char *host, *protocol; /* as its request's */
            uint32_t stream;
            const char *service; /* "shop.Cart"; NULL: the path does not name one */
            const char *method;  /* "Add", or the whole path */
            uint32_t status;
            const char *status_name; /* "OK", static; NULL: none was seen */
            const char *message;     /* grpc-message, decoded; NULL: none */
            uint64_t request_messages, request_bytes, response_messages, response_bytes;
            uint64_t duration_ns; /* request's head forwarded -> its end */
        } grpc;
        struct {
            const char *host, *url, *path, *protocol; /* as its request's */
            uint32_t stream;
            uint32_t close_code; /* 0: no close frame was seen */
            const char *close_reason;
            uint64_t request_messages, request_bytes, request_frames;
            uint64_t response_messages, response_bytes, response_frames;
            uint64_t duration_ns; /* request's head forwarded -> its end */
        } websocket;
        struct {
            uint64_t tx, rx;      /* bytes the program wrote and read on the socket */
            uint64_t duration_ns; /* connect -> close; not of SOCK_STATS */
        } close;                  /* and SOCK_STATS */
        struct {
            /* in words, static: "http", "enforce", "reject" (NULL: nothing is done), ... */
            const char *point, *mode, *action;
            const char *reason; /* "no rule allows GET /admin" */
            /* what it was about, as far as it is known, else NULL */
            const char *host, *method, *path; /* of a request: as in its event */
            const char *name;      /* asked for: of the DNS ("ebpf.io."), or in a ClientHello */
            const char *qtype;     /* of the DNS */
            const char *pattern;   /* what was found in a body: "payment-card"; NULL: nothing */
            const char *direction; /* ... of a "request" or a "response", static */
            const char *sha256;    /* ... salted, never the bytes themselves */
            uint64_t offset;       /* ... where it begins */
            /* whose service account's token it is; pod NULL: it names none; namespace NULL: it is
             * not about a token */
            const char *token_namespace, *token_service_account, *token_pod;
        } decision; /* POLICY */
        struct {
            const char *what;                    /* "keys" or "pcap", static */
            const char *ended;                   /* why it is over; NULL: it begins */
            uint32_t pid, uid, auid;             /* who asked */
            const char *binary;                  /* ... by which program; NULL: that is not known */
            uint64_t duration_ns, bytes, missed; /* when it is over */
        } capture;
        struct {
            uint64_t count;
            const char *reason;
        } lost;
    };
    struct flow_event_chunk *arena;
    unsigned held; /* flow_event_free() calls to come before the last one; see flow_event_hold() */
    bool incomplete; /* something of it is missing for want of memory: lost, for the bus */
};

/* The wall clock, as time_ns has it. */
uint64_t flow_event_now(void);

/* A zeroed event with the time of now. NULL when out of memory. process and pod are borrowed:
 * the event takes references of its own; each may be NULL. */
struct flow_event *flow_event_new(enum flow_event_kind kind, struct process *process,
                                  struct pod *pod);
void flow_event_free(struct flow_event **event);
/* One more holder, who frees it, too: once it was emitted, on the event thread only. */
struct flow_event *flow_event_hold(struct flow_event *event);
/* About how many bytes it keeps: its own and its texts, and those of the process that begins. */
size_t flow_event_size(const struct flow_event *event);

/* Copies text into the event's arena; NULL when out of memory (the event is then incomplete).
 * The copy ends in a NUL; NULs inside are kept as they are, so C reads up to the first. */
const char *flow_event_text(struct flow_event *event, struct span text);
/* Copies texts into the event's arena as a list: event->dns.ips and the like. False when out of
 * memory: then one that is missing is NULL, or the list is empty. */
bool flow_event_set_list(struct flow_event *event, const char *const *texts, size_t len,
                         const char ***out, size_t *out_len);
/* The same for event->names. */
bool flow_event_set_names(struct flow_event *event, const char *const *names, size_t len);
/* Room for count headers, zeroed, aligned; NULL when out of memory. */
struct flow_event_header *flow_event_headers(struct flow_event *event, size_t count);

/* "process_exec", ... "lost_events": the JSON key of a kind. */
const char *flow_event_name(enum flow_event_kind kind);

/* "SIGKILL", or "SIG34" for one without a name; returns out. */
enum { FLOW_EVENT_SIGNAL_MAX = 16 };
const char *flow_event_signal(uint32_t number, char out[FLOW_EVENT_SIGNAL_MAX]);
