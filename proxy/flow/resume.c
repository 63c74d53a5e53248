#include "proxy/flow/resume.h"

#include <openssl/evp.h>
#include <string.h>

#include "certs/cert.h"
#include "proxy/flow/steps.h"

enum { TICKETS_MAX = 2 }; /* for a pod: what most servers give */

void resume_fini(struct resume *resume)
{
    session_facts_fini(&resume->shown);
}

/* ---- upstream ---- */

bool resume_key(const struct flow *flow, uint8_t out[SESSION_CACHE_KEY_SIZE])
{
    struct __attribute__((packed)) { /* no padding: it is compared as bytes */
        uint64_t pod, netns, credentials, policies;
        const void *view; /* what of them is for this pod */
        struct addr dst;
        uint32_t suites;
        uint16_t tunnel_port, version_min, version_max;
        bool status;
        uint8_t trusted[TLS_RULES_DIGEST];    /* by rules: nobody verifies it a second time */
        uint8_t alpn[SESSION_CACHE_KEY_SIZE]; /* a digest of the offer: it may be long */
    } parts = {
        .pod = flow->facts.who.pod ? flow->facts.who.pod->cgroup_id : 0,
        .netns = flow->origin.netns_cookie,
        .credentials = flow->credentials->generation,
        .policies = flow->verdicts.scope ? policy_view_generation(flow->verdicts.view) : 0,
        .view = flow->verdicts.scope ? flow->verdicts.view : NULL,
        .dst = flow->facts.where.dst,
        .suites = flow->suites,
        .tunnel_port = flow->tunnel.port,
        .version_min = flow->version_min,
        .version_max = flow->version_max,
        .status = flow->asks_status,
    };
    uint8_t all[sizeof(parts) + sizeof(flow->facts.where.host) + sizeof(flow->tunnel.host)] = {0};

    memcpy(parts.trusted, flow->tls_rules.trusted, sizeof(parts.trusted));
    if (flow->alpn && !EVP_Digest(flow->alpn, flow->alpn_len, parts.alpn, NULL, EVP_sha256(), NULL))
        return false;
    memcpy(all, &parts, sizeof(parts));
    strcpy((char *)all + sizeof(parts), flow->facts.where.host);
    strcpy((char *)all + sizeof(parts) + sizeof(flow->facts.where.host), flow->tunnel.host);
    return EVP_Digest(all, sizeof(all), out, NULL, EVP_sha256(), NULL) == 1;
}

void resume_offer(struct flow *flow, SSL *ssl)
{
    struct resume *resume = &flow->resume;
    SSL_SESSION *session;

    resume->learnt = resume->offered = false;
    session_facts_fini(&resume->shown);
    /* what a rule has us show is the rule's own: no session of it outlives that */
    resume->keyed = !resume->refused && !flow->tls_rules.client && resume_key(flow, resume->key);
    if (!resume->keyed)
        return;
    session = session_cache_take(flow->worker->parts.session_cache, resume->key, clock_ns(),
                                 &resume->shown);
    if (!session)
        return;
    resume->offered = SSL_set_session(ssl, session) == 1;
    SSL_SESSION_free(session);
}

/* How long the chain may be believed, and how much memory it takes. */
static void measure(struct session_facts *shown, STACK_OF(X509) *chain)
{
    shown->not_after = 0;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);
        time_t from, until;
        int size = i2d_X509(cert, NULL);

        if (!cert_dates(cert, &from, &until))
            until = 0;
        if (i == 0 || until < shown->not_after)
            shown->not_after = until;
        shown->size += 3 * (size_t)(size > 0 ? size : 0); /* read, it is larger */
    }
}

static void learn_anew(struct flow *flow, SSL *ssl)
{
    struct session_facts *shown = &flow->resume.shown;
    STACK_OF(X509) *verified = SSL_get0_verified_chain(ssl);
    const unsigned char *staple;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &staple);

    session_facts_fini(shown);
    shown->seen_ns = clock_ns();
    measure(shown, verified);
    /* whom a rule trusts, the program is to trust, whatever its files say */
    shown->authority = flow->tls_rules.trust ? flow->credentials->anchors.main
                                             : anchors_choose(&flow->credentials->anchors, ssl);
    shown->by_its_names = flow->by_its_names;
    shown->client = flow->shown;
    if (sk_X509_num(verified) > 0) { /* alone, it is its own anchor */
        shown->issuer = sk_X509_value(verified, sk_X509_num(verified) > 1);
        X509_up_ref(shown->issuer);
    }
    if (len > 0 && staple)
        shown->staple.data = OPENSSL_memdup(staple, (size_t)len);
    if (shown->staple.data)
        shown->staple.len = (size_t)len;
    else if (len > 0)
        flow->resume.keyed = false; /* without it the next one would be shown less */
}

/* What is shown once is as good as shown again. */
static void remember(struct flow *flow, SSL *ssl)
{
    const struct span staple = flow->resume.shown.staple;
    void *copy = staple.len ? OPENSSL_memdup(staple.data, staple.len) : NULL;

    flow->by_its_names = flow->resume.shown.by_its_names;
    flow->shown = flow->resume.shown.client;
    if (copy)
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (int)staple.len); /* takes it */
}

void resume_learn(struct flow *flow, SSL *ssl)
{
    if (flow->resume.learnt)
        return;
    flow->resume.learnt = true;
    if (SSL_session_reused(ssl))
        remember(flow, ssl);
    else
        learn_anew(flow, ssl);
}

int resume_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct flow *flow = SSL_get_app_data(ssl);
    struct resume *resume = &flow->resume;

    resume_learn(flow, ssl);
    resume->given = true;
    if (SSL_version(ssl) >= TLS1_3_VERSION && resume->told < TICKETS_MAX) {
        resume->told++;
        resume->due++;
    }
    if (resume->keyed)
        session_cache_keep(flow->worker->parts.session_cache, resume->key, session, &resume->shown);
    return 0; /* it stays OpenSSL's: a copy is ours */
}

void resume_give_up(struct flow *flow)
{
    if (flow->resume.keyed)
        session_cache_drop(flow->worker->parts.session_cache, flow->resume.key);
    flow->resume.keyed = flow->resume.offered = false;
    flow->resume.refused = true;
}

/* ---- the pod ---- */

bool resume_bind(struct flow *flow, SSL *ssl, bool revoked)
{
    struct resume *resume = &flow->resume;
    SSL *upstream = flow->upstream.ssl;
    uint8_t all[sizeof(uint64_t) + 1 + EVP_MAX_MD_SIZE + UINT8_MAX] = {0}, digest[EVP_MAX_MD_SIZE];
    const uint64_t pod = flow->facts.who.pod ? flow->facts.who.pod->cgroup_id : 0;
    const unsigned char *protocol;
    unsigned len;

    bool denied = resume->offered && !SSL_session_reused(upstream);

    if (SSL_version(upstream) < TLS1_3_VERSION) /* all is said about it by now */
        resume->due = resume->told = resume->given || SSL_session_reused(upstream);
    if (denied || (SSL_version(upstream) < TLS1_3_VERSION && !resume->due))
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    /* the leaf stands for name, authority, and upstream's certificate: it differs if they do */
    memcpy(all, &pod, sizeof(pod));
    all[sizeof(pod)] = revoked;
    SSL_get0_alpn_selected(upstream, &protocol, &len);
    if (len)
        memcpy(all + sizeof(pod) + 1 + EVP_MAX_MD_SIZE, protocol, len);
    return X509_digest(SSL_get_certificate(ssl), EVP_sha256(), all + sizeof(pod) + 1, NULL) &&
           EVP_Digest(all, sizeof(all), digest, &len, EVP_sha256(), NULL) &&
           SSL_set_session_id_context(ssl, digest, len);
}

int resume_tickets(struct flow *flow)
{
    struct resume *resume = &flow->resume;
    int result = 0;

    if (!flow->pod.ssl || SSL_version(flow->pod.ssl) < TLS1_3_VERSION)
        resume->due = 0; /* in TLS 1.2 it comes with the handshake, or not at all */
    if (resume->due)
        SSL_clear_options(flow->pod.ssl, SSL_OP_NO_TICKET); /* that was about the one it had */
    for (; resume->due && result == 0; resume->due--)
        result = leg_ticket(&flow->pod);
    return result < 0 ? err_set(&flow->why, result, "no session ticket could be made") : 0;
}
