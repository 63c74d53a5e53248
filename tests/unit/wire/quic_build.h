/* quic_build: a client's QUIC packets, made as RFC 9001 says, apart from what reads them: HKDF is
 * written out here by HMAC. For the test of wire/quic.c and its fuzzer. */
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

enum { QUIC_V1 = 0x00000001, QUIC_V2 = 0x6b3343cf, QUIC_DATAGRAM = 1500 };

struct quic_packet {
    uint32_t version;
    struct span dcid; /* in its header */
    struct span keys; /* by whose keys it is sealed: the first DCID of the connection */
    struct span token;
    uint32_t number;
    uint8_t number_len; /* 1 to 4 */
    uint8_t type;       /* the two bits of it: quic_initial_bits() */
    bool short_token;   /* the length of none is written in one byte */
    struct span payload;
};

struct quic_datagram {
    uint8_t bytes[4 * QUIC_DATAGRAM];
    size_t len;
};

static inline uint8_t quic_initial_bits(uint32_t version)
{
    return version == QUIC_V2 ? 1 : 0;
}

static inline void quic_hmac(struct span key, struct span data, uint8_t out[32])
{
    unsigned len = 32;

    if (!HMAC(EVP_sha256(), key.data, (int)key.len, data.data, data.len, out, &len))
        abort();
}

static inline void quic_expand(const uint8_t secret[32], const char *label, uint8_t *out,
                               size_t len)
{
    uint8_t info[64], whole[32];
    size_t n = strlen(label);

    info[0] = 0;
    info[1] = (uint8_t)len;
    info[2] = (uint8_t)(6 + n);
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, n);
    info[9 + n] = 0;
    info[10 + n] = 1; /* the one block there is */
    quic_hmac(span_of(secret, 32), span_of(info, 11 + n), whole);
    memcpy(out, whole, len);
}

static inline void quic_seal(const struct quic_packet *packet, const uint8_t *key,
                             const uint8_t *nonce, struct span header, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, end = 0;

    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) <= 0 ||
        EVP_EncryptUpdate(ctx, NULL, &len, header.data, (int)header.len) <= 0 ||
        EVP_EncryptUpdate(ctx, out, &len, packet->payload.data, (int)packet->payload.len) <= 0 ||
        EVP_EncryptFinal_ex(ctx, out + len, &end) <= 0 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + packet->payload.len) <= 0)
        abort();
    EVP_CIPHER_CTX_free(ctx);
}

static inline void quic_mask(const uint8_t *key, const uint8_t *sample, uint8_t mask[16])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL) <= 0 ||
        EVP_EncryptUpdate(ctx, mask, &len, sample, 16) <= 0)
        abort();
    EVP_CIPHER_CTX_free(ctx);
}

/* Appends a packet to a datagram; of payloads that fit into one. */
static inline void quic_append(struct quic_datagram *datagram, const struct quic_packet *packet)
{
    static const uint8_t salts[2][20] = {
        {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
         0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
        {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
         0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}};
    bool second = packet->version == QUIC_V2;
    uint8_t initial[32], client[32], key[16], nonce[12], hp[16], mask[16];
    uint8_t *start = datagram->bytes + datagram->len, *at = start, *number;
    size_t sealed = packet->number_len + packet->payload.len + 16;

    quic_hmac(span_of(salts[second], 20), packet->keys, initial);
    quic_expand(initial, "client in", client, 32);
    quic_expand(client, second ? "quicv2 key" : "quic key", key, 16);
    quic_expand(client, second ? "quicv2 iv" : "quic iv", nonce, 12);
    quic_expand(client, second ? "quicv2 hp" : "quic hp", hp, 16);

    *at++ = (uint8_t)(0xc0 | packet->type << 4 | (packet->number_len - 1));
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(packet->version >> shift);
    *at++ = (uint8_t)packet->dcid.len;
    if (packet->dcid.len)
        memcpy(at, packet->dcid.data, packet->dcid.len);
    at += packet->dcid.len;
    *at++ = 0; /* no SCID */
    if (packet->type == quic_initial_bits(packet->version)) {
        if (!packet->short_token)
            *at++ = (uint8_t)(0x40 | packet->token.len >> 8);
        *at++ = (uint8_t)packet->token.len;
        if (packet->token.len)
            memcpy(at, packet->token.data, packet->token.len);
        at += packet->token.len;
    }
    *at++ = (uint8_t)(0x40 | sealed >> 8);
    *at++ = (uint8_t)sealed;
    number = at;
    for (int i = 0; i < packet->number_len; i++) {
        *at = (uint8_t)(packet->number >> 8 * (packet->number_len - 1 - i));
        nonce[12 - packet->number_len + i] ^= *at++;
    }
    quic_seal(packet, key, nonce, span_of(start, (size_t)(at - start)), at);
    quic_mask(hp, number + 4, mask);
    start[0] ^= mask[0] & 0x0f;
    for (int i = 0; i < packet->number_len; i++)
        number[i] ^= mask[1 + i];
    datagram->len = (size_t)(number - datagram->bytes) + sealed;
}

/* "0600ff" as bytes; how many. */
static inline size_t quic_from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;

    for (; hex[2 * n]; n++)
        sscanf(hex + 2 * n, "%2hhx", &out[n]);
    return n;
}
