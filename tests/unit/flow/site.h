/* site: the servers of flow/allocs.c, good ones and bad ones, and what they must never hear. One
 * thread, one connection after the other; a fault it sees is left for the test to find. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/span.h"
#include "tests/unit/certs/make.h"

enum { EXCHANGES = 2, WAIT_SECONDS = 10 };

enum site_kind {
    SITE_PLAIN,
    SITE_GOOD,
    SITE_UNKNOWN_CA,
    SITE_WRONG_NAME,
    SITE_DEMANDS,
    SITE_KINDS
};

/* What is said, one after the other; an empty request: no more. */
struct talk {
    struct span request, answer;
};

struct scenario {
    const char *name;
    enum site_kind site;
    uint16_t port;    /* where the program goes */
    const char *alpn; /* of the program, as on the wire; NULL: none */
    bool tls;         /* the program's side */
    bool untouched;   /* the origin's own certificate is what the program sees */
    bool until_close; /* the last answer ends with the connection */
    bool again;       /* after the first one, its sessions go on; it speaks when its ticket came */
    bool unheard;     /* nothing of it may reach the origin */
    struct talk talks[EXCHANGES];
    struct span refusal; /* what the program may get instead: begins like this */
    size_t refusal_len;  /* ... and is so long; 0: ends with the connection */
};

struct site {
    int listener;
    pthread_t thread;
    SSL_CTX *contexts[SITE_KINDS];
    struct made roots[2];
    _Atomic(const struct scenario *) scenario;
    _Atomic(const char *) fault;
};

/* Plain or TLS, blocking; what a peer of the flow reads and writes. */
struct peer {
    int fd;
    SSL *ssl;
    bool ended, ended_well, hung;
};

static inline void peer_prepare(int fd)
{
    const struct timeval patience = {.tv_sec = WAIT_SECONDS};
    int yes = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static inline size_t peer_read(struct peer *peer, void *out, size_t len)
{
    ssize_t n = peer->ssl ? SSL_read(peer->ssl, out, (int)len) : recv(peer->fd, out, len, 0);

    if (n > 0)
        return (size_t)n;
    peer->ended = true;
    peer->hung = peer->ssl ? SSL_get_error(peer->ssl, (int)n) == SSL_ERROR_WANT_READ
                           : n < 0 && errno == EAGAIN;
    peer->ended_well =
        peer->ssl ? SSL_get_error(peer->ssl, (int)n) == SSL_ERROR_ZERO_RETURN : n == 0;
    return 0;
}

static inline bool peer_write(struct peer *peer, struct span bytes)
{
    if (peer->ssl)
        return SSL_write(peer->ssl, bytes.data, (int)bytes.len) == (int)bytes.len;
    return send(peer->fd, bytes.data, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len;
}

static inline void peer_close(struct peer *peer)
{
    if (peer->ssl && SSL_is_init_finished(peer->ssl))
        SSL_shutdown(peer->ssl);
    SSL_free(TAKE(peer->ssl));
    fd_close(&peer->fd);
    ERR_clear_error();
}

/* Whether the whole request came. */
static inline bool site_hear(struct site *site, struct peer *peer, const struct scenario *now,
                             struct span request)
{
    char heard[8192];
    size_t len = 0;

    while (len < request.len) {
        size_t n = peer_read(peer, heard + len, request.len - len);

        if (n && now->unheard)
            site->fault = "the origin heard what was not for it";
        if (!n)
            return false;
        if (memcmp(heard + len, request.data + len, n) != 0)
            site->fault = "the origin heard something else than was said";
        len += n;
    }
    return true;
}

static inline void site_serve(struct site *site, int fd)
{
    const struct scenario *now = site->scenario;
    struct peer peer = {.fd = fd};
    char rest[64];

    peer_prepare(fd);
    if (site->contexts[now->site]) {
        peer.ssl = SSL_new(site->contexts[now->site]);
        SSL_set_fd(peer.ssl, fd);
        if (SSL_accept(peer.ssl) != 1) {
            peer_close(&peer);
            return;
        }
    }
    for (size_t i = 0; i < EXCHANGES && now->talks[i].request.len; i++)
        if (!site_hear(site, &peer, now, now->talks[i].request) ||
            !peer_write(&peer, now->talks[i].answer)) {
            peer_close(&peer);
            return;
        }
    if (now->until_close && peer.ssl)
        SSL_shutdown(peer.ssl);
    if (now->until_close)
        shutdown(fd, SHUT_WR);
    if (peer_read(&peer, rest, sizeof(rest)))
        site->fault = "the origin heard more than was said";
    peer_close(&peer);
}

static inline void *site_run(void *arg)
{
    struct site *site = arg;
    int fd;

    while ((fd = accept4(site->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        site_serve(site, fd);
    return NULL;
}

static inline int site_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                            const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char all[] = "\x08http/1.1\4imap\12acme-tls/1";

    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)out, out_len, all, sizeof(all) - 1, in,
                                 in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

/* The common name would do where nobody looks at the others. */
static inline SSL_CTX *site_context(const struct made *root, const char *names)
{
    struct make how = {.name = "*.example.com", .issuer = root, .basic = "", .usage = ""};
    struct made leaf = make_cert(&how);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    X509V3_CTX v3;

    X509V3_set_ctx(&v3, root->cert, leaf.cert, NULL, NULL, 0);
    make_extension(&v3, leaf.cert, NID_subject_alt_name, names, NULL);
    assert_true(X509_sign(leaf.cert, root->key, EVP_sha256()) > 0);
    assert_true(SSL_CTX_use_certificate(ctx, leaf.cert));
    assert_true(SSL_CTX_use_PrivateKey(ctx, leaf.key));
    SSL_CTX_set_alpn_select_cb(ctx, site_alpn, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    made_free(&leaf);
    return ctx;
}

/* A certificate of the client, by this root. */
static inline void site_demand(SSL_CTX *ctx, const struct made *root)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_true(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), root->cert));
}

static inline void site_init(struct site *site)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    site->roots[0] = make_cert(&(struct make){.name = "known root"});
    site->roots[1] = make_cert(&(struct make){.name = "unknown root"});
    site->contexts[SITE_GOOD] = site_context(&site->roots[0], "DNS:*.example.com");
    site->contexts[SITE_UNKNOWN_CA] = site_context(&site->roots[1], "DNS:*.example.com");
    site->contexts[SITE_WRONG_NAME] = site_context(&site->roots[0], "DNS:*.example.net");
    site->contexts[SITE_DEMANDS] = site_context(&site->roots[0], "DNS:*.example.com");
    site_demand(site->contexts[SITE_DEMANDS], &site->roots[0]);
    site->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(site->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(site->listener, 64), 0);
    assert_int_equal(pthread_create(&site->thread, NULL, site_run, site), 0);
}

static inline void site_fini(struct site *site)
{
    shutdown(site->listener, SHUT_RDWR);
    pthread_join(site->thread, NULL);
    fd_close(&site->listener);
    for (size_t i = 0; i < SITE_KINDS; i++)
        SSL_CTX_free(site->contexts[i]);
    made_free(&site->roots[0]);
    made_free(&site->roots[1]);
}
