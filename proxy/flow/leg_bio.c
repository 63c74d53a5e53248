/* The socket of a leg, and how OpenSSL reads and writes it. Why a BIO of our own: OpenSSL's socket
 * BIO costs two reads a record (header, body) and one more for EAGAIN; ours takes up to four
 * records with one recv(2) into memory that the whole worker shares, so an idle leg owns no
 * buffer. */
#include "proxy/flow/leg_own.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/flow/leg.h"
#include "proxy/worker.h"

/* ---- the socket ---- */

size_t leg_stashed(const struct leg *leg)
{
    return leg->stash ? leg->stash_len - leg->stash_at : 0;
}

static size_t take_stash(struct leg *leg, void *out, size_t len)
{
    size_t rest = leg_stashed(leg);

    if (len > rest)
        len = rest;
    memcpy(out, leg->stash + leg->stash_at, len);
    leg->stash_at += len;
    if (leg->stash_at == leg->stash_len) {
        free(leg->stash);
        leg->stash = NULL;
    }
    return len;
}

ssize_t leg_receive(struct leg *leg, void *where, size_t len)
{
    ssize_t n;

    if (leg->stash)
        return (ssize_t)take_stash(leg, where, len);
    if (leg->connecting || !leg->readable)
        return -EAGAIN;
    do
        n = recv(leg->fd, where, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            leg->readable = leg->unsure = false;
        return -errno;
    }
    if (n == 0 && leg->lost)
        return -ECONNRESET;
    leg->rx += (uint64_t)n;
    if (n == 0)
        leg->at_end = true;
    else if ((size_t)n < len && !leg->hung_up && !leg->unsure)
        leg->readable = false;
    return n;
}

ssize_t leg_transmit(struct leg *leg, const void *data, size_t len)
{
    ssize_t n;

    if (leg->connecting || !leg->writable)
        return -EAGAIN;
    do
        n = send(leg->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            leg->writable = false;
        else if (errno != EPIPE)
            leg->lost = true; /* the kernel says it once, and to a reader no more */
        return -errno;
    }
    leg->tx += (uint64_t)n;
    return n;
}

/* ---- the BIO ---- */

bool leg_holds(const struct leg *leg)
{
    const struct inbox *inbox = &leg->worker->inbox;

    return leg->stash || (inbox->owner == leg && inbox->at < inbox->len);
}

/* Makes the worker's inbox ours; what another leg left there moves to that leg's own memory. */
static bool inbox_claim(struct leg *leg)
{
    struct inbox *inbox = &leg->worker->inbox;
    size_t rest = inbox->len - inbox->at;

    if (inbox->owner && inbox->owner != leg && rest) {
        struct leg *other = inbox->owner;

        other->stash = malloc(rest);
        if (!other->stash)
            return false;
        memcpy(other->stash, inbox->data + inbox->at, rest);
        other->stash_at = 0;
        other->stash_len = rest;
    }
    if (inbox->owner != leg)
        inbox->at = inbox->len = 0;
    inbox->owner = leg;
    return true;
}

static int bio_read(BIO *bio, char *out, size_t len, size_t *done)
{
    struct leg *leg = BIO_get_data(bio);
    struct inbox *inbox = &leg->worker->inbox;

    BIO_clear_retry_flags(bio);
    *done = 0;
    if (leg->chatters) { /* the only way out of a read that finds ever more of them */
        errno = EPROTO;
        return 0;
    }
    leg->asked = len;
    if (leg->stash) {
        *done = take_stash(leg, out, len);
        return 1;
    }
    if (!inbox_claim(leg))
        return 0;
    if (inbox->at == inbox->len) {
        ssize_t n = leg_receive(leg, inbox->data, sizeof(inbox->data));

        if (n <= 0) {
            if (n == -EAGAIN)
                BIO_set_retry_read(bio);
            errno = n < 0 ? (int)-n : 0;
            return 0;
        }
        inbox->at = 0;
        inbox->len = (size_t)n;
    }
    if (len > inbox->len - inbox->at)
        len = inbox->len - inbox->at;
    memcpy(out, inbox->data + inbox->at, len);
    inbox->at += len;
    *done = len;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
    ssize_t n = leg_transmit(BIO_get_data(bio), data, len);

    BIO_clear_retry_flags(bio);
    *done = n > 0 ? (size_t)n : 0;
    if (n == -EAGAIN)
        BIO_set_retry_write(bio);
    if (n < 0)
        errno = (int)-n;
    return n > 0;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF) /* OpenSSL asks it to tell the peer's end from a failure */
        return ((const struct leg *)BIO_get_data(bio))->at_end;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *leg_bio_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "leg");

    if (!method)
        return NULL;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}
