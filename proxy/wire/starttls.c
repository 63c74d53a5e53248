#include "proxy/wire/starttls.h"

enum { MYSQL_SSL_REQUEST = 36 }; /* bytes of the packet, its header with them */

/* A record of handshake messages whose first is a ClientHello (RFC 8446 sections 4, 5.1). */
static bool is_client_hello(const uint8_t head[STARTTLS_HEAD])
{
    size_t len = (size_t)head[3] << 8 | head[4];

    return head[0] == 22 && head[1] == 3 && head[2] <= 4 && len > 0 && len <= 16384 && head[5] == 1;
}

/* MySQL's client does not wait: behind this packet (32 bytes, the second of the conversation, that
 * the capability CLIENT_SSL, 0x0800, is in) comes its ClientHello at once. */
static bool is_mysql_ssl_request(const uint8_t head[STARTTLS_HEAD])
{
    return head[0] == 32 && !head[1] && !head[2] && head[3] == 1 && (head[5] & 0x08);
}

static void judge(struct starttls *starttls)
{
    if (is_client_hello(starttls->head))
        starttls->said = starttls->asked ? STARTTLS_YES : STARTTLS_NO;
    else if (is_mysql_ssl_request(starttls->head))
        starttls->skip = MYSQL_SSL_REQUEST - STARTTLS_HEAD;
}

static void begin_again(struct starttls *starttls)
{
    starttls->asked |= starttls->head_len > 0;
    starttls->head_len = starttls->skip = 0;
}

static enum starttls_status count(struct starttls *starttls, size_t len)
{
    starttls->seen += len;
    if (starttls->said == STARTTLS_LOOKING && starttls->seen > STARTTLS_SEEN_MAX)
        starttls->said = STARTTLS_NO;
    return starttls->said;
}

enum starttls_status starttls_client(struct starttls *starttls, struct span bytes)
{
    for (size_t i = 0; i < bytes.len && starttls->said == STARTTLS_LOOKING; i++) {
        if (starttls->skip) {
            if (!--starttls->skip)
                begin_again(starttls);
        } else if (starttls->head_len < STARTTLS_HEAD) {
            starttls->head[starttls->head_len++] = bytes.data[i];
            if (starttls->head_len == STARTTLS_HEAD)
                judge(starttls);
        } else {
            break;
        }
    }
    return count(starttls, bytes.len);
}

enum starttls_status starttls_server(struct starttls *starttls, struct span bytes)
{
    if (bytes.len)
        begin_again(starttls);
    return count(starttls, bytes.len);
}
