#include "proxy/doors/syn.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "base/cleanup.h"

enum {
    IP4_HEAD = 20,
    IP6_HEAD = 40,
    TCP_HEAD = 20,
    ICMP_HEAD = 8,
    HOPS = 64,
    SYN_FLAG = 0x02,
    RST_AND_ACK = 0x14,
    IP4_SUM = 10, /* places in headers */
    TCP_SUM = 16,
};

/* ---- numbers and sums ---- */

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t sum_of(uint32_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += (uint32_t)(i % 2 ? bytes[i] : bytes[i] << 8);
    return sum;
}

/* RFC 1071 */
static void put_sum(uint8_t *at, uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(at, ~sum & 0xffff);
}

/* Over the payload of an IP packet, with the pseudo-header (RFC 9293 section 3.1, RFC 8200 section
 * 8.1). at: its place in the payload. */
static void put_payload_sum(uint8_t *packet, bool v4, size_t head_len, size_t len, uint8_t protocol,
                            size_t at)
{
    uint8_t *payload = packet + head_len;
    uint32_t sum = (uint32_t)(protocol + (len - head_len));

    put16(payload + at, 0);
    sum = v4 ? sum_of(sum, packet + 12, 8) : sum_of(sum, packet + 8, 32);
    put_sum(payload + at, sum_of(sum, payload, len - head_len));
}

/* ---- reading ---- */

static bool read_head(struct span packet, struct syn *out)
{
    const uint8_t *at = packet.data;

    out->v4 = packet.len > 0 && at[0] >> 4 == 4;
    if (out->v4) {
        out->head_len = (uint8_t)((at[0] & 0x0f) * 4);
        if (out->head_len < IP4_HEAD || packet.len < out->head_len || at[9] != IPPROTO_TCP)
            return false;
        memset(out->src.ip, 0, 10);
        memset(out->src.ip + 10, 0xff, 2);
        memcpy(out->to.ip, out->src.ip, 12);
        memcpy(out->src.ip + 12, at + 12, 4);
        memcpy(out->to.ip + 12, at + 16, 4);
        return true;
    }
    if (packet.len < IP6_HEAD || at[0] >> 4 != 6 || at[6] != IPPROTO_TCP)
        return false;
    out->head_len = IP6_HEAD;
    memcpy(out->src.ip, at + 8, 16);
    memcpy(out->to.ip, at + 24, 16);
    return true;
}

bool syn_parse(struct span packet, struct syn *out)
{
    struct syn syn = {0};
    const uint8_t *tcp;
    size_t len;

    if (!read_head(packet, &syn) || packet.len < (size_t)syn.head_len + TCP_HEAD)
        return false;
    tcp = packet.data + syn.head_len;
    len = syn.head_len + (size_t)(tcp[12] >> 4) * 4;
    if (len < (size_t)syn.head_len + TCP_HEAD || len > packet.len || len > sizeof(syn.packet) ||
        !(tcp[13] & SYN_FLAG))
        return false;
    syn.len = (uint8_t)len;
    syn.src.port = get16(tcp);
    syn.to.port = get16(tcp + 2);
    memcpy(syn.packet, packet.data, len);
    /* what it carried is cut off, and its checksum was left to the network card */
    if (syn.v4) {
        put16(syn.packet + 2, len);
        put16(syn.packet + IP4_SUM, 0);
        put_sum(syn.packet + IP4_SUM, sum_of(0, syn.packet, syn.head_len));
    } else {
        put16(syn.packet + 4, len - syn.head_len);
    }
    put_payload_sum(syn.packet, syn.v4, syn.head_len, len, IPPROTO_TCP, TCP_SUM);
    *out = syn;
    return true;
}

bool syn_is_again(const struct syn *a, const struct syn *b)
{
    return memcmp(&a->src, &b->src, sizeof(a->src)) == 0 &&
           memcmp(&a->to, &b->to, sizeof(a->to)) == 0 &&
           memcmp(a->packet + a->head_len + 4, b->packet + b->head_len + 4, 4) == 0;
}

/* ---- answering ---- */

/* From the listener to the program. Returns the header's length. */
static size_t put_head(const struct syn *syn, uint8_t protocol, size_t payload, uint8_t *out)
{
    if (syn->v4) {
        memset(out, 0, IP4_HEAD);
        out[0] = 0x45;
        put16(out + 2, IP4_HEAD + payload);
        out[6] = 0x40; /* not to be cut */
        out[8] = HOPS;
        out[9] = protocol;
        memcpy(out + 12, syn->to.ip + 12, 4);
        memcpy(out + 16, syn->src.ip + 12, 4);
        put_sum(out + IP4_SUM, sum_of(0, out, IP4_HEAD));
        return IP4_HEAD;
    }
    memset(out, 0, IP6_HEAD);
    out[0] = 0x60;
    put16(out + 4, payload);
    out[6] = protocol;
    out[7] = HOPS;
    memcpy(out + 8, syn->to.ip, 16);
    memcpy(out + 24, syn->src.ip, 16);
    return IP6_HEAD;
}

static size_t put_reset(const struct syn *syn, uint8_t *out)
{
    const uint8_t *tcp = syn->packet + syn->head_len;
    size_t head = put_head(syn, IPPROTO_TCP, TCP_HEAD, out);
    uint8_t *at = out + head;

    memset(at, 0, TCP_HEAD);
    memcpy(at, tcp + 2, 2);
    memcpy(at + 2, tcp, 2);
    memcpy(at + 8, tcp + 4, 4);
    for (int i = 11; i >= 8 && ++at[i] == 0; i--) /* acknowledges the SYN, carrying over */
        ;
    at[12] = TCP_HEAD / 4 << 4;
    at[13] = RST_AND_ACK;
    put_payload_sum(out, syn->v4, head, head + TCP_HEAD, IPPROTO_TCP, TCP_SUM);
    return head + TCP_HEAD;
}

/* By what a kernel makes the errno of a connect() from them (net/ipv4/icmp.c, icmp_err_convert;
 * net/ipv6/icmp.c, icmpv6_err_convert). What no message says, a local fault most likely, is told as
 * refused by an administrator: EACCES by IPv6, EHOSTUNREACH by IPv4. */
struct message {
    int error;
    uint8_t type, code;
};
static const struct message messages4[] = {
    {-ENETUNREACH, ICMP_DEST_UNREACH, ICMP_NET_UNREACH},
    {-EHOSTUNREACH, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH},
    {-ENOPROTOOPT, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH},
    {-EOPNOTSUPP, ICMP_DEST_UNREACH, ICMP_SR_FAILED},
    {-EHOSTDOWN, ICMP_DEST_UNREACH, ICMP_HOST_UNKNOWN},
    {-ENONET, ICMP_DEST_UNREACH, ICMP_HOST_ISOLATED},
    {-EPROTO, ICMP_PARAMETERPROB, 0},
    {0, ICMP_DEST_UNREACH, ICMP_PKT_FILTERED},
};
static const struct message messages6[] = {
    {-ENETUNREACH, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOROUTE},
    {-EHOSTUNREACH, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR},
    {-EPROTO, ICMP6_PARAM_PROB, ICMP6_PARAMPROB_HEADER},
    {0, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADMIN},
};

static size_t put_message(const struct syn *syn, int error, uint8_t *out)
{
    const struct message *message = syn->v4 ? messages4 : messages6;
    size_t len = ICMP_HEAD + syn->len;
    size_t head = put_head(syn, syn->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, len, out);

    while (message->error && message->error != error)
        message++;
    memset(out + head, 0, ICMP_HEAD);
    out[head] = message->type;
    out[head + 1] = message->code;
    memcpy(out + head + ICMP_HEAD, syn->packet, syn->len);
    if (syn->v4)
        put_sum(out + head + 2, sum_of(0, out + head, len));
    else
        put_payload_sum(out, false, head, head + len, IPPROTO_ICMPV6, 2);
    return head + len;
}

size_t syn_refuse(const struct syn *syn, int error, uint8_t out[SYN_ANSWER_MAX])
{
    return error == -ECONNREFUSED ? put_reset(syn, out) : put_message(syn, error, out);
}
