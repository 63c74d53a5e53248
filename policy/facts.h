/* facts: who asks, where to, and what was seen: the spine of both routes.
 *
 * Plain data, filled step by step by whoever learns it, judged by policy, told by events.
 * Processes and pods are found by proxy/identity/ and are immutable once shared, so any thread
 * may read one it holds a reference to. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

enum route { ROUTE_PROXY, ROUTE_KERNEL, ROUTE_PASSTHROUGH, ROUTE_DIRECT, ROUTE_MAX };
enum visibility {
    VISIBILITY_UNKNOWN, /* nothing seen yet: left out of events */
    VISIBILITY_TERMINATED,
    VISIBILITY_KTLS,
    VISIBILITY_PLAINTEXT,
    VISIBILITY_PASSTHROUGH,
    VISIBILITY_OPAQUE,
    VISIBILITY_PRE_EXISTING,
    VISIBILITY_MAX
};
/* Why it is VISIBILITY_OPAQUE, as far as that is known. */
enum opaque {
    OPAQUE_NO_REASON,      /* left out of events */
    OPAQUE_STARTTLS,       /* it turned to TLS after words in the clear */
    OPAQUE_SERVER_FIRST,   /* the server spoke before the program */
    OPAQUE_SILENT,         /* the program said nothing, or did not end what it began to say */
    OPAQUE_UNKNOWN,        /* neither TLS nor HTTP */
    OPAQUE_OTHER_PROTOCOL, /* ... by what both agreed on, or what was offered */
    OPAQUE_OLD_TLS,        /* it, or the server, speaks only versions older than ours */
    OPAQUE_NO_CIPHER,      /* ... no cipher suite that we speak */
    OPAQUE_ODD_NAME,       /* ... a name that no certificate can be made for */
    OPAQUE_OWN_TLS,     /* it went past the proxy, and its program, not the kernel, encrypts it */
    OPAQUE_CLIENT_CERT, /* the server demands a certificate of the program */
    OPAQUE_LOST,        /* on the kernel route, bytes without which the rest says nothing */
    OPAQUE_MAX
};
enum verdict { VERDICT_ALLOW, VERDICT_DENY, VERDICT_ALERT, VERDICT_MAX };
enum protocol { PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_MAX };

/* As events and policies spell them; "" for UNKNOWN. */
const char *route_name(enum route route);
const char *visibility_name(enum visibility visibility);
const char *verdict_name(enum verdict verdict);
const char *opaque_name(enum opaque opaque); /* "server first"; "" for NO_REASON */
/* "TCP", "UDP" */
const char *protocol_name(enum protocol protocol);

struct pod_label {
    char *key, *value;
};

/* A registered workload. namespace and name are empty for what `exec` started ("HOST"). */
struct pod {
    atomic_uint refs;
    uint64_t cgroup_id; /* its key in the kernel's map */
    char *space;        /* Kubernetes' namespace, "" when none */
    char *name;
    struct pod_label *labels; /* by key, each once */
    size_t labels_len;
    uint64_t netns_cookie;   /* of the network namespace it was registered with; 0: with none */
    atomic_bool tls_read;    /* its connections to port 443 come to us */
    atomic_bool passes;      /* by setting it is passed on unread, all of it */
    atomic_bool asks_ktls;   /* its programs' OpenSSL was set up to have the kernel encrypt */
    atomic_uint connections; /* admitted: proxy/limits.c */
    atomic_uint streams;     /* ... that are only listened to: proxy/kernel/ */
    atomic_uint attempts;    /* that have no answer yet: proxy/doors/attempts.c */
    atomic_bool frozen;      /* by a policy: enforce/act.h */
    /* when it was taken out of the registry, boot clock, though flows of it may go on; 0: it is in
     */
    atomic_uint_fast64_t removed_ns;
    atomic_bool gone; /* so are its processes: there is nobody whom its flows could serve */
};

struct process_namespaces {
    uint32_t uts, ipc, mnt, pid, net, cgroup, user, time; /* inode numbers */
};

/* A process from fork to exit, shared by the images it runs: a socket that one opened is often
 * closed by the next. */
struct process_life {
    atomic_uint refs;
    atomic_uint flows;  /* open ones: its exit is told after their close */
    atomic_bool exited; /* the kernel told its exit */
};

/* One process image: made at exec (or from /proc for those that lived before), never changed
 * after it is shared, except by the fields marked. */
struct process {
    atomic_uint refs;
    struct process_life *life; /* a reference; NULL for one that is only known as a parent */
    struct process *parent;    /* a reference, or NULL */
    struct pod *pod;           /* a reference, or NULL for a parent outside any pod */
    char *exec_id;             /* base64 of "node:start_ns:pid", as Tetragon's */
    char *parent_exec_id;      /* "" when unknown */
    char *binary;              /* real path */
    char *arguments;           /* joined by blanks, each quoted where it has one; without argv[0] */
    char *cwd;
    uint32_t pid, nspid, uid, euid, gid, auid;
    uint64_t start_ns;      /* boot clock: with pid, the process */
    uint64_t start_time_ns; /* the same as wall clock, since 1970 */
    uint64_t exec_ns;       /* boot clock: when it began this image; 0: nobody saw that */
    uint64_t cap_permitted, cap_effective, cap_inheritable;
    struct process_namespaces ns;
    bool arguments_cut;
    char *json; /* rendered once by the event thread, which alone touches it */
};

struct process_life *process_life_new(void); /* a reference; NULL when out of memory */
struct process_life *process_life_ref(struct process_life *life);
void process_life_unref(struct process_life **life); /* accepts an empty one */
struct process *process_ref(struct process *process);
void process_unref(struct process **process); /* accepts an empty one */
/* Copies what it is given. A reference; NULL when out of memory. */
struct pod *pod_new(uint64_t cgroup_id, const char *space, const char *name,
                    const struct pod_label *labels, size_t labels_len);
struct pod *pod_ref(struct pod *pod);
void pod_unref(struct pod **pod);

struct facts_who {
    struct process *process; /* a reference held by the flow, or NULL when nobody knows it */
    struct pod *pod;         /* a reference */
};
struct facts_where {
    enum protocol protocol;
    struct addr src, dst; /* as the program sees them */
    uint64_t socket_cookie;
    char host[256]; /* the name asked by SNI; "" when none */
};
struct facts {
    struct facts_who who;
    struct facts_where where;
    enum route route;
    enum visibility visibility;
    enum opaque opaque; /* why, where visibility is VISIBILITY_OPAQUE */
    char ja4[40];       /* the ClientHello's fingerprint; "" when there is none */
};

/* One request, whichever HTTP carries it. All is borrowed from the head it was read of. */
struct facts_field {
    struct span name, value;
};
struct facts_request {
    const char *protocol; /* "HTTP/1.1", "HTTP/2"; static; NULL: not known */
    uint32_t stream;      /* of HTTP/1: the number of the request on its connection, from 1 */
    struct span method;
    struct span url;     /* the target as sent, of HTTP/2: ":path" */
    struct span path;    /* the same without query */
    struct span upgrade; /* what it asks to become: Upgrade's value, of HTTP/2: ":protocol" */
    const char *host;    /* as wire/authority.h has it; NULL: none was named */
    uint16_t port;       /* ... behind it; 0: none was written */
    const char *name;    /* whom TLS is with, and so all that may be asked for; NULL: anybody */
    bool fits;           /* ... or this, as upstream's certificate has it, too */
    bool cut;            /* its head was not whole: what is not here was perhaps to come */
    const struct facts_field *fields; /* without pseudo-headers, in order */
    size_t fields_len;
};
struct facts_answer {
    uint16_t code;
    bool body; /* one follows, as far as its head tells */
    const struct facts_field *fields;
    size_t fields_len;
};

/* The value of the first field called name (any case); empty, data NULL: there is none. */
struct span facts_find_field(const struct facts_field *fields, size_t len, const char *name);

static inline void facts_set_opaque(struct facts *facts, enum opaque why)
{
    facts->visibility = VISIBILITY_OPAQUE;
    facts->opaque = why;
}
