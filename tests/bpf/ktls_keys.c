#include "ktls_keys.h"

#include "spoken.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum { ALERT = 21, HANDSHAKE = 22 }; /* RFC 8446, 5.1 */

const struct suite suites[SUITES] = {
    {"TLS 1.2, AES-128-GCM", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128},
    {"TLS 1.2, AES-256-GCM", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_256},
    {"TLS 1.2, ChaCha20", TLS_1_2_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
    {"TLS 1.3, AES-128-GCM", TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128},
    {"TLS 1.3, AES-256-GCM", TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256},
    {"TLS 1.3, ChaCha20", TLS_1_3_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
};
const struct suite *suite = suites;
uint8_t keys_byte = 7;

int hand_over(int fd, int direction)
{
    union {
        struct tls_crypto_info info;
        struct tls12_crypto_info_aes_gcm_128 aes128;
        struct tls12_crypto_info_aes_gcm_256 aes256;
        struct tls12_crypto_info_chacha20_poly1305 chacha20;
    } keys;
    socklen_t len = suite->cipher == TLS_CIPHER_AES_GCM_128   ? sizeof(keys.aes128)
                    : suite->cipher == TLS_CIPHER_AES_GCM_256 ? sizeof(keys.aes256)
                                                              : sizeof(keys.chacha20);

    memset(&keys, keys_byte, sizeof(keys));
    keys.info = (struct tls_crypto_info){suite->version, suite->cipher};
    if (suite->cipher == TLS_CIPHER_AES_GCM_128)
        memset(keys.aes128.rec_seq, 0, sizeof(keys.aes128.rec_seq));
    else if (suite->cipher == TLS_CIPHER_AES_GCM_256)
        memset(keys.aes256.rec_seq, 0, sizeof(keys.aes256.rec_seq));
    else
        memset(keys.chacha20.rec_seq, 0, sizeof(keys.chacha20.rec_seq));
    return setsockopt(fd, SOL_TLS, direction, &keys, len);
}

/* What a handshake begins with: where a socket in a sockhash cannot have kTLS, it leaves by that.
 */
const char hello[50] = CLIENT_HELLO;

static int say_hello(int fd)
{
    return send(fd, hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello) ? 0 : -EPROTO;
}

static int hear_hello(int fd)
{
    char got[sizeof(hello)];

    return recv(fd, got, sizeof(got), MSG_WAITALL) == sizeof(got) ? 0 : -EPROTO;
}

static int hand_over_from(int fd, int first)
{
    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 || hand_over(fd, first) < 0)
        return -errno;
    return 0;
}

int start_tls(int fd)
{
    int code = say_hello(fd);

    if (code == 0)
        code = hear_hello(fd);
    if (code == 0)
        code = hand_over_from(fd, TLS_TX);
    return code < 0 ? code : hand_over(fd, TLS_RX) < 0 ? -errno : 0;
}

/* Can receive before the other end sends, for keys come too late once that has closed; and sends
 * when the other end can receive. */
int answer_tls(int fd)
{
    int code = hear_hello(fd);
    char byte;

    if (code == 0)
        code = hand_over_from(fd, TLS_RX);
    if (code == 0)
        code = say_hello(fd);
    if (code < 0 || hand_over(fd, TLS_TX) < 0)
        return code < 0 ? code : -errno;
    recv(fd, &byte, 1, MSG_PEEK);
    return 0;
}

static int send_record(int fd, unsigned char of_type, const char *bytes, size_t len)
{
    char space[CMSG_SPACE(1)] = {0};
    struct iovec part = {(void *)bytes, len};
    const struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    struct cmsghdr *type = CMSG_FIRSTHDR(&message);

    type->cmsg_level = SOL_TLS;
    type->cmsg_type = TLS_SET_RECORD_TYPE;
    type->cmsg_len = CMSG_LEN(1);
    *CMSG_DATA(type) = of_type;
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}

/* RFC 8446, 4.6.3: update_not_requested */
static const char key_update[] = {24, 0, 0, 1, 0};

int send_key_update(int fd)
{
    return send_record(fd, HANDSHAKE, key_update, sizeof(key_update));
}

int send_close_notify(int fd)
{
    static const char close_notify[] = {1, 0}; /* RFC 8446, 6 */

    return send_record(fd, ALERT, close_notify, sizeof(close_notify));
}

int receive_key_update(int fd)
{
    char got[16], space[CMSG_SPACE(1)] = {0};
    struct iovec part = {got, sizeof(got)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    ssize_t n = recvmsg(fd, &message, 0);
    const struct cmsghdr *type = CMSG_FIRSTHDR(&message);

    if (n < 0)
        return -errno;
    return n == sizeof(key_update) && type && *CMSG_DATA(type) == HANDSHAKE ? 0 : -EPROTO;
}

bool kernel_has_tls(void)
{
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* not connected: it has no business there, but it knows what that is */
    return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno != ENOENT;
}
