#include "proxy/flow/leg.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "certs/err_tls.h"
#include "proxy/flow/leg_own.h"
#include "proxy/worker.h"

/* After the handshake there are some tickets, and new keys every so many gigabytes. */
enum { MESSAGES_MAX = 32, ERRORS_A_TURN = 64 };
#define MESSAGES_NS UINT64_C(10000000000)

/* ---- what OpenSSL tells ---- */

/* Each KeyUpdate costs us new keys and an answer, each ticket a session, each attempt to
 * renegotiate an alert; and as long as they come, OpenSSL does not return from a read. */
static void on_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl,
                       void *arg)
{
    struct leg *leg = arg;
    uint64_t now;

    (void)version;
    (void)ssl;
    /* a record of TLS 1.2 says what is in it, one of 1.3 does not */
    if (type == SSL3_RT_HEADER && len && *(const uint8_t *)data == SSL3_RT_HANDSHAKE)
        type = SSL3_RT_HANDSHAKE;
    if (sent && type == SSL3_RT_HANDSHAKE && len && *(const uint8_t *)data == SSL3_MT_CERTIFICATE)
        leg->shown_ns = clock_ns();
    if (sent || !leg->secured || type != SSL3_RT_HANDSHAKE)
        return;
    now = clock_ns();
    if (now - leg->messages_since > MESSAGES_NS) {
        leg->messages_since = now;
        leg->messages = 0;
    }
    leg->chatters = leg->chatters || ++leg->messages > MESSAGES_MAX;
}

/* ---- the leg ---- */

void leg_init(struct leg *leg, struct worker *worker)
{
    *leg = (struct leg){.worker = worker, .fd = -1};
}

void leg_fini(struct leg *leg, bool reset)
{
    if (leg->watched) {
        event_del(&leg->event);
        /* closing does not suffice: another process may still have the socket, as who opened it */
        epoll_ctl(leg->worker->errors, EPOLL_CTL_DEL, leg->fd, NULL);
    }
    leg->watched = false;
    if (leg->worker->inbox.owner == leg)
        leg->worker->inbox.owner = NULL;
    free(leg->stash);
    leg->stash = NULL;
    SSL_free(leg->ssl);
    leg->ssl = NULL;
    if (leg->fd >= 0 && reset)
        setsockopt(leg->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                   sizeof(struct linger));
    fd_close(&leg->fd);
}

int leg_watch(struct leg *leg, int fd, event_callback_fn on_ready, void *arg)
{
    int yes = 1, idle = 60;
    struct epoll_event errors = {.events = EPOLLPRI | EPOLLET, .data.ptr = leg};

    leg->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    if (event_assign(&leg->event, leg->worker->base, fd,
                     EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_ready, arg) < 0 ||
        event_add(&leg->event, NULL) < 0)
        return -EIO;
    leg->watched = true;
    return epoll_ctl(leg->worker->errors, EPOLL_CTL_ADD, fd, &errors) < 0 ? -EIO : 0;
}

void leg_ready(struct leg *leg, short what)
{
    if (what & EV_CLOSED)
        leg->hung_up = true;
    if (what & (EV_READ | EV_CLOSED))
        leg->readable = true;
    if (what & EV_WRITE)
        leg->writable = true;
}

/* libevent tells an error like bytes and room, which is what every edge brings. To ask the kernel
 * each time whether an RST has come behind the bytes would cost a recv(2) a request and side.
 * Urgent data is no error, but recv(2) comes short before it. */
void leg_on_errors(evutil_socket_t fd, short what, void *arg)
{
    struct epoll_event errors[ERRORS_A_TURN];
    int n = epoll_wait(fd, errors, ERRORS_A_TURN, 0);

    (void)what;
    (void)arg;
    for (int i = 0; i < n; i++) {
        struct leg *leg = errors[i].data.ptr;

        leg->unsure = true;
        event_active(&leg->event, EV_READ, 0);
    }
}

int leg_error(struct leg *leg)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (!leg->unsure || leg->connecting)
        return 0;
    getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (!error || error == EPIPE) /* EPIPE: tcp_reset() in CLOSE_WAIT */
        return 0;
    leg->lost = true;
    return -error;
}

int leg_secure(struct leg *leg, SSL *ssl, bool accept)
{
    BIO *bio = BIO_new(leg->worker->leg_bio);

    leg->ssl = ssl;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, leg);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* takes bio */
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, leg);
    if (accept)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return 0;
}

void leg_acknowledge(struct leg *leg)
{
    static const int yes = 1;

    setsockopt(leg->fd, IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof(yes));
}

/* To look whether there are any costs less than to clear the places of sixteen. */
static void forget_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
    errno = 0;
}

/* OpenSSL's first complaint may be that the peer sent an alert. */
static void note_alert(struct leg *leg)
{
    int reason = ERR_GET_REASON(ERR_peek_error());

    if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
        leg->alert = reason - SSL_AD_REASON_OFFSET;
    leg->reason = reason;
}

const char *leg_alert_name(const struct leg *leg)
{
    if (leg->alert == SSL_AD_CERTIFICATE_REQUIRED) /* OpenSSL 3.0 has no name for it */
        return "certificate required";
    return SSL_alert_desc_string_long(leg->alert);
}

int leg_handshake(struct leg *leg, struct err *err)
{
    int result;

    forget_errors();
    result = SSL_do_handshake(leg->ssl);
    leg->secured = result == 1;
    if (result == 1)
        return 0;
    switch (SSL_get_error(leg->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_SYSCALL:
        return err_sys(err, errno ? -errno : -ECONNRESET, "connection lost in the TLS handshake");
    case SSL_ERROR_ZERO_RETURN:
        return err_set(err, -ECONNRESET, "connection closed in the TLS handshake");
    default:
        note_alert(leg);
        return err_tls(err, -EPROTO, "TLS handshake");
    }
}

/* What a failed call of OpenSSL means, to be asked after each one: that it gave up it says once;
 * who missed that is told to wait for bytes if the call before had to. 0: the end of the peer's
 * bytes. */
static ssize_t ssl_failed(struct leg *leg, int result)
{
    switch (SSL_get_error(leg->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        /* FIN without close_notify is told alike (SSL_OP_IGNORE_UNEXPECTED_EOF, or OpenSSL would
         * answer with an alert and write no more): a cut, which the other side must notice */
        leg->ended = true;
        leg->ended_well = !leg->at_end;
        return 0;
    case SSL_ERROR_SYSCALL: /* one that takes no more may still have said why */
        return errno ? -errno : -ECONNRESET;
    default:
        note_alert(leg);
        leg->broken = true;
        ERR_clear_error();
        return -EPROTO;
    }
}

int leg_ticket(struct leg *leg)
{
    int result;

    forget_errors();
    if (leg->broken || SSL_new_session_ticket(leg->ssl) != 1)
        return 0;
    result = SSL_do_handshake(leg->ssl);
    if (result != 1) /* what does not go out now does with the next read or write */
        (void)ssl_failed(leg, result);
    return leg->broken ? -EPROTO : 0;
}

/* A message that comes after the handshake, such as a session ticket, makes OpenSSL allocate for an
 * answer that there is not (ssl3_setup_buffers). Freed where nothing of the next record was read:
 * before 3.0.14 OpenSSL would free one that holds a header, too (CVE-2024-4741). */
static void free_buffers(struct leg *leg)
{
    if (strcmp(SSL_rstate_string(leg->ssl), "RH") == 0)
        SSL_free_buffers(leg->ssl);
}

/* Nothing can be read without an edge, which OpenSSL would find out at some length. */
static bool drained(const struct leg *leg)
{
    return !leg->readable && !leg_holds(leg) && !leg->chatters && !SSL_has_pending(leg->ssl);
}

ssize_t leg_peek(struct leg *leg)
{
    size_t done;
    uint8_t byte;
    int result;

    forget_errors();
    result = SSL_peek_ex(leg->ssl, &byte, 1, &done);
    return result == 1 ? 1 : ssl_failed(leg, result);
}

ssize_t leg_look(struct leg *leg, void *data, size_t len)
{
    size_t rest = leg_stashed(leg);
    ssize_t n;

    if (rest >= len) {
        memcpy(data, leg->stash + leg->stash_at, len);
        return (ssize_t)len;
    }
    if (rest)
        memcpy(data, leg->stash + leg->stash_at, rest);
    do
        n = recv(leg->fd, (uint8_t *)data + rest, len - rest, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        leg->lost = true; /* the kernel says it once, and to a later reader no more */
    if (rest)
        return (ssize_t)rest + (n > 0 ? n : 0);
    return n < 0 ? -errno : n;
}

int leg_unread(struct leg *leg, struct span bytes)
{
    size_t rest = leg_stashed(leg);
    uint8_t *stash;

    leg->ended = leg->ended_well = false;
    if (!bytes.len)
        return 0;
    stash = malloc(bytes.len + rest);
    if (!stash)
        return -ENOMEM;
    memcpy(stash, bytes.data, bytes.len);
    if (rest)
        memcpy(stash + bytes.len, leg->stash + leg->stash_at, rest);
    free(leg->stash);
    leg->stash = stash;
    leg->stash_at = 0;
    leg->stash_len = bytes.len + rest;
    return 0;
}

ssize_t leg_read(struct leg *leg, void *data, size_t len)
{
    size_t done;
    ssize_t n;
    int result;

    if (leg->ended)
        return 0;
    if (leg->broken)
        return -EPROTO;
    if (leg->ssl && drained(leg)) {
        if (leg->used)
            free_buffers(leg);
        leg->used = false;
        return -EAGAIN;
    }
    if (leg->ssl) {
        forget_errors();
        result = SSL_read_ex(leg->ssl, data, len, &done);
        leg->used = true;
        if (result == 1)
            return (ssize_t)done;
        n = ssl_failed(leg, result);
        if (n == -EAGAIN && leg->asked == SSL3_RT_HEADER_LENGTH)
            free_buffers(leg);
        return n;
    }
    n = leg_receive(leg, data, len);
    if (n == 0)
        leg->ended = leg->ended_well = true;
    return n;
}

ssize_t leg_write(struct leg *leg, const void *data, size_t len)
{
    size_t done;
    ssize_t n;
    int result;

    if (!leg->ssl)
        return leg_transmit(leg, data, len);
    if (leg->broken)
        return -EPROTO;
    forget_errors();
    leg->used = true;
    result = SSL_write_ex(leg->ssl, data, len, &done);
    if (result == 1)
        return (ssize_t)done;
    n = ssl_failed(leg, result);
    return n ? n : -EPIPE;
}

int leg_shut(struct leg *leg, bool well)
{
    int result;

    if (leg->shut || leg->fd < 0)
        return 0;
    if (leg->ssl && well && !leg->broken && leg->secured) {
        forget_errors();
        result = SSL_do_handshake(leg->ssl); /* a ticket that has not gone out yet */
        if (result == 1)
            result = SSL_shutdown(leg->ssl); /* says close_notify, does not wait for the peer's */
        if (result < 0 && ssl_failed(leg, result) == -EAGAIN)
            return -EAGAIN;
        ERR_clear_error();
    }
    leg->shut = true;
    shutdown(leg->fd, SHUT_WR);
    return 0;
}
