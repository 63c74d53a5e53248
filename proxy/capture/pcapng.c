#include "proxy/capture/pcapng.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    BLOCK_SECTION = 0x0A0D0D0A,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
    OPTION_END = 0,
    OPTION_COMMENT = 1,
    OPTION_PROGRAM = 4, /* of the section: shb_userappl */
    OPTION_NAME = 2,    /* of the interface */
    OPTION_TIME_UNIT = 9,
    OPTION_BEGAN = 2, /* of the statistics */
    OPTION_ENDED = 3,
    OPTION_CAME = 4,
    OPTION_MISSED = 5,
    LINKTYPE_RAW = 101, /* packets begin with their IP header */
};
enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    TCP_HEADER = 20,
    HEADERS_MAX = IPV6_HEADER + TCP_HEADER
};
enum { BLOCK_ENDS = 12, PACKET_FIELDS = 20, OPTION_HEAD = 4 };
enum { HOPS = 64, WINDOW = 65535 };

static size_t padding(size_t len)
{
    return -len & 3;
}

/* ---- blocks ---- */

static void u16(struct buffer *out, uint16_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static void u32(struct buffer *out, uint32_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static void u64(struct buffer *out, uint64_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static void pad(struct buffer *out, size_t len)
{
    static const char zeros[4];

    buffer_append(out, zeros, padding(len));
}

static void option(struct buffer *out, uint16_t code, const void *value, size_t len)
{
    u16(out, code);
    u16(out, (uint16_t)len);
    buffer_append(out, value, len);
    pad(out, len);
}

/* A number of 64 bits that is a time: high half first, as in packets. */
static void option_time(struct buffer *out, uint16_t code, uint64_t ns)
{
    const uint32_t halves[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

    option(out, code, halves, sizeof(halves));
}

static size_t begin(struct buffer *out, uint32_t type)
{
    u32(out, type);
    u32(out, 0); /* its length: end() */
    return out->len - 8;
}

static void end(struct buffer *out, size_t start)
{
    uint32_t len;

    u32(out, 0);
    if (out->failed)
        return;
    len = (uint32_t)(out->len - start);
    memcpy(out->data + start + 4, &len, sizeof(len));
    memcpy(out->data + out->len - sizeof(len), &len, sizeof(len));
}

void pcapng_begin(struct buffer *out, const char *about)
{
    static const char program[] = "sallyport", name[] = "decrypted";
    static const uint8_t nanoseconds = 9;
    size_t start = begin(out, BLOCK_SECTION);

    u32(out, 0x1A2B3C4D); /* the byte order */
    u16(out, 1);
    u16(out, 0);
    u64(out, UINT64_MAX); /* the section's length is not known */
    option(out, OPTION_COMMENT, about, strlen(about));
    option(out, OPTION_PROGRAM, program, sizeof(program) - 1);
    u32(out, OPTION_END);
    end(out, start);

    start = begin(out, BLOCK_INTERFACE);
    u16(out, LINKTYPE_RAW);
    u16(out, 0);
    u32(out, 0); /* packets are whole */
    option(out, OPTION_NAME, name, sizeof(name) - 1);
    option(out, OPTION_TIME_UNIT, &nanoseconds, 1);
    u32(out, OPTION_END);
    end(out, start);
}

void pcapng_end(struct buffer *out, const struct pcapng_counts *counts)
{
    size_t start = begin(out, BLOCK_STATISTICS);

    u32(out, 0); /* of the first interface */
    u32(out, (uint32_t)(counts->ended_ns >> 32));
    u32(out, (uint32_t)counts->ended_ns);
    option_time(out, OPTION_BEGAN, counts->began_ns);
    option_time(out, OPTION_ENDED, counts->ended_ns);
    option(out, OPTION_CAME, &counts->came, sizeof(counts->came));
    option(out, OPTION_MISSED, &counts->missed, sizeof(counts->missed));
    u32(out, OPTION_END);
    end(out, start);
}

/* ---- packets ---- */

static bool is_v4(const struct pcapng_packet *packet)
{
    return addr_is_v4(&packet->src) && addr_is_v4(&packet->dst);
}

static size_t headers_size(const struct pcapng_packet *packet)
{
    return (is_v4(packet) ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER;
}

/* The Internet's checksum, of which this is a part: one of an even number of bytes, or the last. */
static uint64_t sum(uint64_t before, const uint8_t *bytes, size_t len)
{
    size_t i;

    for (i = 0; i + 1 < len; i += 2)
        before += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    return i < len ? before + ((uint32_t)bytes[i] << 8) : before;
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static void put_sum(uint8_t *at, uint64_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    put16(at, ~(uint32_t)total);
}

static void put_ip(uint8_t *ip, const struct pcapng_packet *packet)
{
    size_t segment = TCP_HEADER + packet->payload.len;

    if (is_v4(packet)) {
        ip[0] = 0x45; /* version, header of five words */
        put16(ip + 2, (uint32_t)(IPV4_HEADER + segment));
        ip[6] = 0x40; /* not to be fragmented */
        ip[8] = HOPS;
        ip[9] = IPPROTO_TCP;
        memcpy(ip + 12, packet->src.ip + 12, 4);
        memcpy(ip + 16, packet->dst.ip + 12, 4);
        put_sum(ip + 10, sum(0, ip, IPV4_HEADER));
        return;
    }
    ip[0] = 0x60;
    put16(ip + 4, (uint32_t)segment);
    ip[6] = IPPROTO_TCP;
    ip[7] = HOPS;
    memcpy(ip + 8, packet->src.ip, 16);
    memcpy(ip + 24, packet->dst.ip, 16);
}

static void put_tcp(uint8_t *tcp, const struct pcapng_packet *packet)
{
    size_t from = is_v4(packet) ? 12 : 0;
    uint64_t total = IPPROTO_TCP + TCP_HEADER + packet->payload.len;

    put16(tcp, packet->src.port);
    put16(tcp + 2, packet->dst.port);
    put32(tcp + 4, packet->seq);
    put32(tcp + 8, packet->ack);
    tcp[12] = TCP_HEADER / 4 << 4;
    tcp[13] = packet->flags;
    put16(tcp + 14, WINDOW);
    total = sum(total, packet->src.ip + from, 16 - from);
    total = sum(total, packet->dst.ip + from, 16 - from);
    total = sum(total, tcp, TCP_HEADER);
    put_sum(tcp + 16, sum(total, packet->payload.data, packet->payload.len));
}

static size_t options_size(const struct pcapng_packet *packet)
{
    size_t len = packet->comment.len;

    return len ? OPTION_HEAD + len + padding(len) + OPTION_HEAD : 0;
}

size_t pcapng_packet_size(const struct pcapng_packet *packet)
{
    size_t len = headers_size(packet) + packet->payload.len;

    return BLOCK_ENDS + PACKET_FIELDS + len + padding(len) + options_size(packet);
}

void pcapng_packet(struct buffer *out, const struct pcapng_packet *packet)
{
    uint8_t headers[HEADERS_MAX] = {0};
    size_t headers_len = headers_size(packet), len = headers_len + packet->payload.len;
    size_t start = begin(out, BLOCK_PACKET);

    put_ip(headers, packet);
    put_tcp(headers + headers_len - TCP_HEADER, packet);
    u32(out, 0); /* of the first interface */
    u32(out, (uint32_t)(packet->time_ns >> 32));
    u32(out, (uint32_t)packet->time_ns);
    u32(out, (uint32_t)len);
    u32(out, (uint32_t)len);
    buffer_append(out, headers, headers_len);
    buffer_append(out, packet->payload.data, packet->payload.len);
    pad(out, len);
    if (packet->comment.len) {
        option(out, OPTION_COMMENT, packet->comment.data, packet->comment.len);
        u32(out, OPTION_END);
    }
    end(out, start);
}
