/* quic: see quic.h. A datagram is walked packet by packet; of an Initial the header protection is
 * taken off, its payload opened, and its CRYPTO frames are gathered. */
#include "proxy/wire/quic.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>

#include "base/cleanup.h"

enum {
    LONG_HEADER = 0x80,
    FIXED_BIT = 0x40,
    DATAGRAM_MIN = 1200, /* RFC 9000 section 14.1: an Initial's datagram is at least so large */
    DCID_MIN = 8,        /* ... and the id that a client makes up (section 7.2) */
    DATAGRAM_MAX = 1500,
    SECRET = 32,
    TAG = 16,
    SAMPLE = 16,
    SAMPLE_AT = 4, /* behind where the packet number begins, whatever its length */

    FRAME_PADDING = 0x00,
    FRAME_PING = 0x01,
    FRAME_ACK = 0x02,
    FRAME_ACK_ECN = 0x03,
    FRAME_CRYPTO = 0x06,
    FRAME_CLOSE = 0x1c,
};

enum packet_type { PACKET_INITIAL, PACKET_0RTT, PACKET_HANDSHAKE, PACKET_RETRY };

static const struct version {
    uint32_t number;
    enum packet_type types[4]; /* by the two bits of the first byte */
    uint8_t salt[20];
    const char *key, *iv, *mask_key; /* labels */
} versions[] = {
    {QUIC_VERSION_1,
     {PACKET_INITIAL, PACKET_0RTT, PACKET_HANDSHAKE, PACKET_RETRY},
     {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
     "tls13 quic key",
     "tls13 quic iv",
     "tls13 quic hp"},
    {QUIC_VERSION_2,
     {PACKET_RETRY, PACKET_INITIAL, PACKET_0RTT, PACKET_HANDSHAKE},
     {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
      0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
     "tls13 quicv2 key",
     "tls13 quicv2 iv",
     "tls13 quicv2 hp"},
};

static const struct version *find_version(uint32_t number)
{
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        if (versions[i].number == number)
            return &versions[i];
    return NULL;
}

/* ---- OpenSSL ---- */

struct quic_opener {
    EVP_KDF *hkdf;
    EVP_KDF_CTX *derive;
    EVP_CIPHER *gcm, *ecb;
    EVP_CIPHER_CTX *open, *mask;
};

int quic_opener_new(struct quic_opener **out, struct err *err)
{
    CLEANUP(quic_opener_free) struct quic_opener *opener = calloc(1, sizeof(*opener));

    if (!opener)
        return err_set(err, -ENOMEM, "what opens QUIC's Initial packets");
    opener->hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    opener->gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    opener->ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    opener->derive = opener->hkdf ? EVP_KDF_CTX_new(opener->hkdf) : NULL;
    opener->open = EVP_CIPHER_CTX_new();
    opener->mask = EVP_CIPHER_CTX_new();
    if (!opener->gcm || !opener->ecb || !opener->derive || !opener->open || !opener->mask)
        return err_set(err, -ENOTSUP,
                       "OpenSSL lacks what QUIC is read by (HKDF, AES-128-GCM, AES-128-ECB)");
    *out = TAKE(opener);
    return 0;
}

void quic_opener_free(struct quic_opener **opener)
{
    struct quic_opener *gone = TAKE(*opener);

    if (!gone)
        return;
    EVP_KDF_CTX_free(gone->derive);
    EVP_KDF_free(gone->hkdf);
    EVP_CIPHER_CTX_free(gone->open);
    EVP_CIPHER_CTX_free(gone->mask);
    EVP_CIPHER_free(gone->gcm);
    EVP_CIPHER_free(gone->ecb);
    free(gone);
}

static bool hkdf(struct quic_opener *opener, int mode, struct span key, const char *what,
                 struct span with, uint8_t *out, size_t len)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key.data, key.len),
        OSSL_PARAM_construct_octet_string(what, (void *)with.data, with.len),
        OSSL_PARAM_construct_end(),
    };

    EVP_KDF_CTX_reset(opener->derive);
    return EVP_KDF_derive(opener->derive, out, len, params) > 0;
}

/* HKDF-Expand-Label without a context: RFC 8446 section 7.1. */
static bool expand(struct quic_opener *opener, const uint8_t secret[SECRET], const char *label,
                   uint8_t *out, size_t len)
{
    uint8_t info[32];
    size_t n = strlen(label);

    info[0] = 0;
    info[1] = (uint8_t)len;
    info[2] = (uint8_t)n;
    memcpy(info + 3, label, n);
    info[3 + n] = 0;
    return hkdf(opener, EVP_KDF_HKDF_MODE_EXPAND_ONLY, span_of(secret, SECRET), OSSL_KDF_PARAM_INFO,
                span_of(info, n + 4), out, len);
}

/* The client's keys for Initial packets: RFC 9001 section 5.2. */
static bool derive_keys(struct quic_opener *opener, const struct version *version, struct span dcid,
                        struct quic *out)
{
    uint8_t initial[SECRET], client[SECRET];

    *out = (struct quic){.version = version->number};
    return hkdf(opener, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, dcid, OSSL_KDF_PARAM_SALT,
                span_of(version->salt, sizeof(version->salt)), initial, sizeof(initial)) &&
           expand(opener, initial, "tls13 client in", client, sizeof(client)) &&
           expand(opener, client, version->key, out->key, sizeof(out->key)) &&
           expand(opener, client, version->iv, out->iv, sizeof(out->iv)) &&
           expand(opener, client, version->mask_key, out->mask_key, sizeof(out->mask_key));
}

/* ---- packets ---- */

struct packet {
    enum packet_type type;
    struct span dcid;
    struct span whole; /* from its first byte on */
    size_t number_at;  /* where its number begins */
};

/* RFC 9000 section 16. */
static bool take_varint(struct span *from, uint64_t *out)
{
    struct span bytes;
    size_t len;

    if (!from->len)
        return false;
    len = (size_t)1 << (from->data[0] >> 6);
    if (!span_take(from, len, &bytes))
        return false;
    *out = bytes.data[0] & 0x3f;
    for (size_t i = 1; i < len; i++)
        *out = *out << 8 | bytes.data[i];
    return true;
}

static bool take_cid(struct span *from, struct span *out)
{
    return span_take_vector(from, 1, out) && out->len <= QUIC_CID_MAX;
}

/* The next packet of a datagram; packets of a length that is not said are its last. */
static bool take_packet(struct span *datagram, const struct version *version, struct packet *out)
{
    struct span rest = *datagram, scid, token;
    uint32_t first, number;
    uint64_t len;

    if (!span_take_uint(&rest, 1, &first) || !(first & LONG_HEADER) || !(first & FIXED_BIT) ||
        !span_take_uint(&rest, 4, &number) || number != version->number ||
        !take_cid(&rest, &out->dcid) || !take_cid(&rest, &scid))
        return false;
    out->type = version->types[first >> 4 & 3];
    if (out->type == PACKET_RETRY)
        return false; /* no client's */
    if (out->type == PACKET_INITIAL &&
        (!take_varint(&rest, &len) || len > rest.len || !span_take(&rest, (size_t)len, &token)))
        return false;
    if (!take_varint(&rest, &len) || len > rest.len)
        return false;
    out->number_at = datagram->len - rest.len;
    return span_take(datagram, out->number_at + (size_t)len, &out->whole);
}

/* RFC 9001 section 5.4.3: what was mixed into the first byte and the number. */
static bool find_mask(struct quic_opener *opener, const struct quic *quic,
                      const struct packet *packet, uint8_t mask[SAMPLE])
{
    const uint8_t *sample = packet->whole.data + packet->number_at + SAMPLE_AT;
    int len;

    return packet->whole.len - packet->number_at >= SAMPLE_AT + SAMPLE &&
           EVP_EncryptInit_ex2(opener->mask, opener->ecb, quic->mask_key, NULL, NULL) > 0 &&
           EVP_CIPHER_CTX_set_padding(opener->mask, 0) > 0 &&
           EVP_EncryptUpdate(opener->mask, mask, &len, sample, SAMPLE) > 0 && len == SAMPLE;
}

static bool decrypt(struct quic_opener *opener, const struct quic *quic, const uint8_t iv[QUIC_IV],
                    struct span header, struct span sealed, uint8_t *plain)
{
    size_t n = sealed.len - TAG;
    int len;

    return EVP_DecryptInit_ex2(opener->open, opener->gcm, quic->key, iv, NULL) > 0 &&
           EVP_DecryptUpdate(opener->open, NULL, &len, header.data, (int)header.len) > 0 &&
           EVP_DecryptUpdate(opener->open, plain, &len, sealed.data, (int)n) > 0 &&
           EVP_CIPHER_CTX_ctrl(opener->open, EVP_CTRL_AEAD_SET_TAG, TAG,
                               (void *)(sealed.data + n)) > 0 &&
           EVP_DecryptFinal_ex(opener->open, plain + len, &len) > 0;
}

/* What an Initial carries, into plain, which has room for a datagram. Its number counts as it is
 * written: no handshake is so long that its upper bytes were left out (RFC 9000 section 17.1). */
static bool open_packet(struct quic_opener *opener, const struct quic *quic,
                        const struct packet *packet, uint8_t *plain, struct span *out)
{
    uint8_t header[DATAGRAM_MAX], mask[SAMPLE], iv[QUIC_IV];
    size_t number_len, header_len;

    if (packet->whole.len > sizeof(header) || !find_mask(opener, quic, packet, mask))
        return false;
    memcpy(header, packet->whole.data, packet->number_at + SAMPLE_AT);
    header[0] ^= mask[0] & 0x0f;
    number_len = (header[0] & 3u) + 1;
    header_len = packet->number_at + number_len;
    if (packet->whole.len - header_len < TAG)
        return false;
    memcpy(iv, quic->iv, sizeof(iv));
    for (size_t i = 0; i < number_len; i++) {
        header[packet->number_at + i] ^= mask[1 + i];
        iv[QUIC_IV - number_len + i] ^= header[packet->number_at + i];
    }
    *out = span_of(plain, packet->whole.len - header_len - TAG);
    return decrypt(opener, quic, iv, span_of(header, header_len),
                   span_of(packet->whole.data + header_len, packet->whole.len - header_len), plain);
}

/* ---- frames ---- */

static bool skip_ack(struct span *from, bool ecn)
{
    uint64_t number, ranges;

    if (!take_varint(from, &number) || !take_varint(from, &number) || !take_varint(from, &ranges) ||
        !take_varint(from, &number))
        return false;
    for (; ranges > 0; ranges--) /* which ends with the bytes, if not before */
        if (!take_varint(from, &number) || !take_varint(from, &number))
            return false;
    for (int i = 0; ecn && i < 3; i++)
        if (!take_varint(from, &number))
            return false;
    return true;
}

static bool take_crypto(struct span *from, struct gather *gather)
{
    uint64_t offset, len;
    struct span piece;

    return take_varint(from, &offset) && take_varint(from, &len) && len <= from->len &&
           span_take(from, (size_t)len, &piece) && gather_put(gather, offset, piece);
}

/* Those that an Initial may have: RFC 9000 section 12.4. */
static bool take_frames(struct span frames, struct gather *gather)
{
    uint64_t type;

    while (frames.len) {
        bool fine = take_varint(&frames, &type);

        switch (fine ? type : UINT64_MAX) {
        case FRAME_PADDING:
        case FRAME_PING:
            break;
        case FRAME_ACK:
        case FRAME_ACK_ECN:
            fine = skip_ack(&frames, type == FRAME_ACK_ECN);
            break;
        case FRAME_CRYPTO:
            fine = take_crypto(&frames, gather);
            break;
        case FRAME_CLOSE:
            return true;
        default:
            return false;
        }
        if (!fine)
            return false;
    }
    return true;
}

/* ---- datagrams ---- */

/* By the keys we have, or those of its own header: then a connection begins. */
static bool open_initial(struct quic *quic, struct quic_opener *opener,
                         const struct version *version, const struct packet *packet,
                         struct gather *gather, uint8_t *plain, struct span *out)
{
    struct quic fresh;

    if (quic->version == version->number && open_packet(opener, quic, packet, plain, out))
        return true;
    if (!derive_keys(opener, version, packet->dcid, &fresh) ||
        !open_packet(opener, &fresh, packet, plain, out))
        return false;
    *quic = fresh;
    *gather = (struct gather){0};
    return true;
}

/* What any version's first datagram is like (RFC 8999), so that not all that begins with such a
 * byte is taken for QUIC. */
static bool looks_like_quic(struct span datagram)
{
    struct span rest = span_of(datagram.data + 5, datagram.len - 5), dcid, scid;

    return datagram.len >= DATAGRAM_MIN && take_cid(&rest, &dcid) && dcid.len >= DCID_MIN &&
           take_cid(&rest, &scid);
}

/* The server may have asked for another hello (HelloRetryRequest), which says the same of whom it
 * is for, and follows the first one. */
static enum quic_status read_next(struct span front, const struct hello *first)
{
    struct hello again;
    struct span head = front, message;
    uint32_t type;

    if (!span_take_uint(&head, 1, &type) || !span_take_vector(&head, 3, &message) || !head.len)
        return QUIC_KNOWN;
    switch (hello_read(head, HELLO_QUIC, &again)) {
    case HELLO_DONE:
        return span_equal(again.random, first->random) &&
                       span_equal(again.server_name, first->server_name)
                   ? QUIC_KNOWN
                   : QUIC_NOT;
    case HELLO_PARTIAL:
        return QUIC_PARTIAL;
    case HELLO_NOT_TLS:
    case HELLO_INVALID:
        break;
    }
    return QUIC_NOT;
}

static enum quic_status read_hello(struct quic *quic, const struct gather *gather,
                                   struct hello *out)
{
    struct span front = gather_front(gather);
    enum hello_status status = hello_read(front, HELLO_QUIC, out);
    enum quic_status next;

    if (status == HELLO_PARTIAL && front.len < GATHER_MAX)
        return QUIC_PARTIAL;
    if (status != HELLO_DONE)
        return QUIC_NOT;
    next = read_next(front, out);
    if (next != QUIC_KNOWN || quic->read)
        return next;
    quic->read = true;
    return QUIC_HELLO;
}

/* All packets of a datagram are for one connection (RFC 9000 section 12.2); what of them is not is
 * no client's that we could know what its server reads. */
enum quic_status quic_take(struct quic *quic, struct quic_opener *opener, struct span datagram,
                           struct gather *gather, struct hello *out)
{
    struct span rest = datagram, dcid = {0}, head = datagram;
    const struct version *version;
    uint8_t plain[DATAGRAM_MAX];
    struct packet packet;
    uint32_t first, number;
    bool any = false;

    if (!span_take_uint(&head, 1, &first) || !span_take_uint(&head, 4, &number) ||
        (first & (LONG_HEADER | FIXED_BIT)) != (LONG_HEADER | FIXED_BIT) || !number)
        return QUIC_NOT;
    version = find_version(number);
    if (!version)
        return looks_like_quic(datagram) ? QUIC_OTHER : QUIC_NOT;
    while (take_packet(&rest, version, &packet)) {
        struct span frames;

        if (dcid.data && !span_equal(dcid, packet.dcid))
            return QUIC_NOT;
        dcid = packet.dcid;
        if (packet.type != PACKET_INITIAL)
            continue;
        if (!open_initial(quic, opener, version, &packet, gather, plain, &frames) ||
            !take_frames(frames, gather))
            return QUIC_NOT;
        any = true;
    }
    return any ? read_hello(quic, gather, out) : QUIC_NOT;
}
