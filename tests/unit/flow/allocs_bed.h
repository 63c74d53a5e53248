/* allocs_bed: a worker with everything that it works with, a bus that keeps what is told, and the
 * origins of site.h; what the keeper and the identity would do is done here. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "events/bus.h"
#include "policy/compile.h"
#include "proxy/limits.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/policies.h"
#include "proxy/passthrough.h"
#include "proxy/worker.h"
#include "tests/unit/failing.h"
#include "tests/unit/flow/site.h"

#define SECRET "hunter2"

static struct site site;
static struct credentials *credentials;
static struct limits limits;
static struct store *store;
static struct session_cache *session_cache;
static struct tickets *tickets;
static struct passthrough *passthrough;
static struct names *names;
static struct policies *policies;
static X509_STORE *roots;
static struct sink sinks[2];
static struct bus *bus;
static struct worker *worker;
static SSL_CTX *program_ctx, *direct_ctx; /* trusts our authority; the origins' root */
static int listener = -1;
static struct pod pod = {
    .refs = 1, .cgroup_id = 7, .tls_read = true, .space = (char *)"", .name = (char *)"pod"};
static struct process process = {
    .refs = 1,
    .pid = 42,
    .exec_id = (char *)"bm9kZToxOjQy",
    .parent_exec_id = (char *)"",
    .binary = (char *)"/usr/bin/program",
    .arguments = (char *)"--password " SECRET,
    .cwd = (char *)"/",
};
static atomic_ulong emitted; /* and taken by the bus, or counted by it as lost */
static SSL_SESSION *session; /* of the last connection; the program's */

/* ---- in the place of the keeper, the identity, the sockets, and the network --------------------
 */

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    (void)keeper, (void)netns_cookie, (void)err;
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

void identity_flow_end(struct identity *identity, struct process **of)
{
    (void)identity;
    process_unref(of);
}

void sockets_flow_done(struct sockets *sockets, struct sockets_flow **flow)
{
    (void)sockets;
    free(TAKE(*flow));
}

int __real_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    const struct sockaddr_in *asked = (const void *)to;
    struct sockaddr_in at;
    socklen_t at_len = sizeof(at);

    if (asked->sin_addr.s_addr == htonl(INADDR_LOOPBACK))
        return __real_connect(fd, to, len);
    getsockname(site.listener, (struct sockaddr *)&at, &at_len);
    return __real_connect(fd, (struct sockaddr *)&at, at_len);
}

void __real_bus_emit(struct bus_producer *producer, struct flow_event **event);
void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event);
void __wrap_bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    emitted++;
    __real_bus_emit(producer, event);
}

/* ---- the worker, and all it works with ---- */

/* What the origins that demand one are to be shown. */
static inline int make_client_cert(struct client_certs **out, struct err *err)
{
    CLEANUP(made_free)
    struct made made = make_cert(
        &(struct make){.name = "client", .issuer = &site.roots[0], .basic = "", .usage = ""});
    void *dir;
    int result;

    make_dir(&dir);
    write_cert(at(dir, "*.example.com.crt"), made.cert);
    write_key(at(dir, "*.example.com.key"), made.key);
    result = client_certs_load(out, dir, err);
    make_dir_remove(&dir);
    return result;
}

static inline int make_credentials(struct err *err)
{
    struct credentials_parts parts = {.roots = roots};
    int result = authority_new(&parts.authority, "node", err);

    X509_STORE_up_ref(roots);
    if (result == 0)
        result = make_client_cert(&parts.clients, err);
    return result < 0 ? result : credentials_new(&credentials, &parts, "node", err);
}

/* Whose rules read requests to one port, and let everything through to the others. */
static inline int make_policies(struct err *err)
{
    static const struct span text = BYTES("apiVersion: sallyport.io/v1\n"
                                          "kind: TrafficPolicy\n"
                                          "metadata: {name: rules}\n"
                                          "spec:\n"
                                          "  egress:\n"
                                          "  - toPorts:\n"
                                          "    - ports: [{port: \"8443\"}]\n"
                                          "      rules: {http: [{path: /ok}]}\n"
                                          "    - ports: [{port: \"443\"}, {port: \"80\"},\n"
                                          "              {port: \"8080\"}, {port: \"53\"}]\n");
    struct policy_list list = {0};
    struct faults faults = {0};
    int result = policy_compile(&list, text, "rules.yaml", &faults);
    struct policy_set *set = result == 0 ? policy_set_new(list.list, list.len, 1) : NULL;

    policy_list_fini(&list);
    if (result == 0)
        result = policies_new(&policies, err);
    if (result == 0)
        result = policies_add_pod(policies, &pod, err);
    if (result == 0)
        result = policies_use(policies, set, err);
    policy_set_unref(&set);
    return result;
}

static inline int begin(void **state)
{
    const struct worker_parts parts = {.identity = (struct identity *)&site};
    struct worker_parts all = parts;
    struct limits_machine machine;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct err err = {0};

    (void)state;
    site_init(&site);
    roots = X509_STORE_new();
    X509_STORE_add_cert(roots, site.roots[0].cert);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 8) < 0)
        return -1;
    sink_init(&sinks[0], json_render, memfd_create("json", MFD_CLOEXEC), "node", false);
    sink_init(&sinks[1], text_render, memfd_create("text", MFD_CLOEXEC), "node", false);
    failing_next = FAILING_EVENTS;
    if (make_credentials(&err) < 0 || store_new(&store, 16, &err) < 0 ||
        session_cache_new(&session_cache, 16, 1 << 20, &err) < 0 ||
        tickets_new(&tickets, &err) < 0 || passthrough_new(&passthrough, &err) < 0 ||
        names_new(&names, &err) < 0 || make_policies(&err) < 0 ||
        bus_new(&bus, sinks, ARRAY_SIZE(sinks), &err) < 0)
        fail_msg("%s", err.text);
    limits_read_machine(&machine);
    limits_init(&limits, &machine);
    all.limits = &limits;
    all.store = store;
    all.session_cache = session_cache;
    all.tickets = tickets;
    all.passthrough = passthrough;
    all.names = names;
    all.policies = policies;
    all.bus = bus;
    failing_next = FAILING_WORKER;
    if (worker_new(&worker, &all, 0, &err) < 0)
        fail_msg("%s", err.text);
    program_ctx = SSL_CTX_new(TLS_client_method());
    direct_ctx = SSL_CTX_new(TLS_client_method());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(program_ctx), credentials->authority->root);
    SSL_CTX_set1_cert_store(direct_ctx, roots);
    SSL_CTX_set_verify(program_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify(direct_ctx, SSL_VERIFY_PEER, NULL);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    worker_free(&worker);
    site_fini(&site);
    bus_free(&bus);
    names_free(&names);
    policies_free(&policies);
    store_free(&store);
    session_cache_free(&session_cache);
    tickets_free(&tickets);
    passthrough_free(&passthrough);
    credentials_unref(&credentials);
    X509_STORE_free(roots);
    SSL_SESSION_free(session);
    SSL_CTX_free(program_ctx);
    SSL_CTX_free(direct_ctx);
    for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
        close(sinks[i].fd);
        sink_fini(&sinks[i]);
    }
    close(listener);
    return 0;
}
