/* hello: see hello.h. Two layers: records are peeled off until the handshake message is whole,
 * then the message is read. Only a whole message is judged, so more bytes can turn PARTIAL into
 * anything, and nothing else into anything. */
#include "proxy/wire/hello.h"

#include "base/cleanup.h"

enum {
    RECORD_HANDSHAKE = 22,
    RECORD_MAX = 16384, /* RFC 8446 section 5.1; the hello is never encrypted */
    MESSAGE_CLIENT_HELLO = 1,
    MESSAGE_HEADER = 4,
    VERSION_TLS11 = 0x0302,
    VERSION_TLS12 = 0x0303,
    VERSION_TLS13 = 0x0304,
    GROUP_P256 = 23,
    STATUS_OCSP = 1,
    NAME_MAX_LEN = 255,

    EXTENSION_SERVER_NAME = 0,
    EXTENSION_STATUS_REQUEST = 5,
    EXTENSION_GROUPS = 10,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_SUPPORTED_VERSIONS = 43,
    EXTENSION_ECH = 0xfe0d,
};

/* ---- records -> message ---- */

/* What the first bytes allow to say before a record is whole. */
static enum hello_status record_begins(struct span bytes)
{
    uint32_t len;

    if ((bytes.len > 0 && bytes.data[0] != RECORD_HANDSHAKE) ||
        (bytes.len > 1 && bytes.data[1] != 3)) /* the minor version is to be ignored */
        return HELLO_NOT_TLS;
    if (bytes.len < 5)
        return HELLO_PARTIAL;
    len = (uint32_t)bytes.data[3] << 8 | bytes.data[4];
    return len == 0 || len > RECORD_MAX ? HELLO_INVALID : HELLO_DONE;
}

/* The length of the whole message, its header included; 0 while the header is not whole. */
static enum hello_status message_len(struct span begun, size_t *out)
{
    uint32_t type, len;

    *out = 0;
    if (!span_take_uint(&begun, 1, &type))
        return HELLO_PARTIAL;
    if (type != MESSAGE_CLIENT_HELLO)
        return HELLO_INVALID;
    if (!span_take_uint(&begun, 3, &len))
        return HELLO_PARTIAL;
    *out = MESSAGE_HEADER + len;
    return *out > HELLO_MAX ? HELLO_INVALID : HELLO_DONE;
}

/* Puts the message together. One that lies in a single record is not copied. */
static enum hello_status message_find(struct span bytes, uint8_t *scratch, struct span *message)
{
    size_t gathered = 0, wanted;

    for (bool first = true;; first = false) {
        enum hello_status status = record_begins(bytes);
        struct span fragment;
        size_t record;

        if (status == HELLO_NOT_TLS && !first)
            return HELLO_INVALID; /* another record type inside a handshake message */
        if (status != HELLO_DONE)
            return status;
        record = (size_t)bytes.data[3] << 8 | bytes.data[4];
        fragment = span_of(bytes.data + 5, bytes.len - 5 < record ? bytes.len - 5 : record);
        bytes.data += 5 + fragment.len;
        bytes.len -= 5 + fragment.len;

        if (first) {
            status = message_len(fragment, &wanted);
            if (status == HELLO_DONE && fragment.len >= wanted) {
                *message = span_of(fragment.data, wanted);
                return HELLO_DONE;
            }
        }
        if (fragment.len > HELLO_MAX - gathered)
            fragment.len = HELLO_MAX - gathered; /* bytes behind a hello that is whole */
        if (fragment.len)
            memcpy(scratch + gathered, fragment.data, fragment.len);
        gathered += fragment.len;
        status = message_len(span_of(scratch, gathered), &wanted);
        if (status == HELLO_INVALID)
            return status;
        if (status == HELLO_DONE && gathered >= wanted) {
            *message = span_of(scratch, wanted);
            return HELLO_DONE;
        }
        if (fragment.len < record)
            return HELLO_PARTIAL;
    }
}

/* ---- message -> facts ---- */

/* RFC 6066 section 3: at most one name of each type, and host_name is the only type there is. A NUL
 * inside would make another name of it for whoever reads C strings. */
static bool read_server_name(struct span data, struct hello *out)
{
    struct span list, name;
    uint32_t type;

    if (!span_take_vector(&data, 2, &list) || data.len || !list.len)
        return false;
    while (list.len) {
        if (!span_take_uint(&list, 1, &type) || !span_take_vector(&list, 2, &name))
            return false;
        if (type != 0)
            continue;
        if (out->server_name.len || !name.len || name.len > NAME_MAX_LEN ||
            memchr(name.data, 0, name.len))
            return false;
        out->server_name = name;
    }
    return true;
}

static bool read_alpn(struct span data, struct hello *out)
{
    struct span list, rest, name;

    if (!span_take_vector(&data, 2, &list) || data.len || !list.len)
        return false;
    for (rest = list; rest.len;)
        if (!span_take_vector(&rest, 1, &name) || !name.len)
            return false;
    out->alpn = list;
    return true;
}

/* 0 for what is none. Only 0x03xx is TLS: that leaves out GREASE (RFC 8701: 0x?a?a) and drafts
 * (0x7fxx). DTLS counts downwards, and left 1.1 out. */
static uint16_t version_of(const struct hello *hello, uint32_t version)
{
    if (hello->transport != HELLO_DTLS)
        return version >> 8 == 3 ? (uint16_t)version : 0;
    switch (version) {
    case 0xfeff:
        return VERSION_TLS11;
    case 0xfefd:
        return VERSION_TLS12;
    case 0xfefc:
        return VERSION_TLS13;
    default:
        return 0;
    }
}

static bool read_versions(struct span data, struct hello *out)
{
    struct span list;
    uint32_t number;

    if (!span_take_vector(&data, 1, &list) || data.len || !list.len || list.len % 2)
        return false;
    out->version_max = 0;
    while (span_take_uint(&list, 2, &number)) {
        uint16_t version = version_of(out, number);

        if (version > out->version_max)
            out->version_max = version;
        if (version && (!out->version_min || version < out->version_min))
            out->version_min = version;
    }
    return true;
}

static bool read_numbers(struct span data, struct span *out)
{
    return !out->len && span_take_vector(&data, 2, out) && !data.len && out->len &&
           out->len % 2 == 0;
}

static bool read_extensions(struct span rest, struct hello *out)
{
    bool server_name = false, status = false, alpn = false, versions = false;

    while (rest.len) {
        struct span data;
        uint32_t type;
        bool fine = true;

        if (!span_take_uint(&rest, 2, &type) || !span_take_vector(&rest, 2, &data))
            return false;
        switch (type) { /* each at most once: RFC 8446 section 4.2 */
        case EXTENSION_SERVER_NAME:
            fine = !server_name && read_server_name(data, out);
            server_name = true;
            break;
        case EXTENSION_STATUS_REQUEST:
            fine = !status && data.len;
            status = true;
            out->status = fine && data.data[0] == STATUS_OCSP;
            break;
        case EXTENSION_GROUPS:
            fine = read_numbers(data, &out->groups);
            break;
        case EXTENSION_SIGNATURES:
            fine = read_numbers(data, &out->signatures);
            break;
        case EXTENSION_ALPN:
            fine = !alpn && read_alpn(data, out);
            alpn = true;
            break;
        case EXTENSION_SUPPORTED_VERSIONS:
            fine = !versions && read_versions(data, out);
            versions = true;
            break;
        case EXTENSION_ECH:
            fine = !out->ech;
            out->ech = true;
            break;
        }
        if (!fine)
            return false;
    }
    return true;
}

static bool read_hello(struct span body, struct hello *out)
{
    struct span session, cookie, compression;
    uint32_t number;
    uint16_t version;

    if (!span_take_uint(&body, 2, &number) || !span_take(&body, 32, &out->random) ||
        !span_take_vector(&body, 1, &session) || session.len > 32 ||
        (out->transport == HELLO_DTLS && !span_take_vector(&body, 1, &cookie)) ||
        !span_take_vector(&body, 2, &out->ciphers) || !out->ciphers.len || out->ciphers.len % 2 ||
        !span_take_vector(&body, 1, &compression) || !compression.len)
        return false;
    /* 1.3 is offered by supported_versions alone (RFC 8446 section 4.1.2) */
    version = version_of(out, number);
    out->version_max = version > VERSION_TLS12 ? VERSION_TLS12 : version;
    if (!body.len)
        return true; /* TLS 1.0 without extensions */
    return span_take_vector(&body, 2, &out->extensions) && !body.len &&
           read_extensions(out->extensions, out);
}

enum hello_status hello_read(struct span message, enum hello_transport transport, struct hello *out)
{
    struct hello hello = {.transport = transport};
    size_t wanted;
    enum hello_status status = message_len(message, &wanted);

    if (status != HELLO_DONE)
        return status;
    if (message.len < wanted)
        return HELLO_PARTIAL;
    if (!read_hello(span_of(message.data + MESSAGE_HEADER, wanted - MESSAGE_HEADER), &hello))
        return HELLO_INVALID;
    *out = hello;
    return HELLO_DONE;
}

enum hello_status hello_parse(struct span bytes, uint8_t *scratch, struct hello *out)
{
    struct span message;
    enum hello_status status = message_find(bytes, scratch, &message);

    return status == HELLO_DONE ? hello_read(message, HELLO_TLS, out) : status;
}

bool hello_offers(const struct hello *hello, const char *protocol)
{
    struct span list = hello->alpn, name;

    while (list.len) {
        if (!span_take_vector(&list, 1, &name))
            return false;
        if (span_equal(name, span_of_text(protocol)))
            return true;
    }
    return false;
}

static bool any_between(struct span numbers, uint32_t first, uint32_t last)
{
    uint32_t number;

    while (span_take_uint(&numbers, 2, &number))
        if (number >= first && number <= last)
            return true;
    return false;
}

/* TLS 1.3 names curve and digest of a signature at once, and no key in the cipher suite. In 1.2 a
 * suite names the kind of key, a signature scheme the digest, and the group the curve (RFC 8422).
 */
bool hello_takes_p256(const struct hello *hello)
{
    static const uint16_t suites[][2] = {
        {0xc008, 0xc00a}, /* ECDHE-ECDSA with CBC and SHA-1 */
        {0xc023, 0xc024}, /* with CBC and SHA-2 */
        {0xc02b, 0xc02c}, /* with AES-GCM */
        {0xc0ac, 0xc0af}, /* with AES-CCM */
        {0xcca9, 0xcca9}, /* with ChaCha20-Poly1305 */
    };
    static const uint16_t schemes[] = {0x0403, 0x0503, 0x0603}; /* ECDSA with SHA-256, 384, 512 */
    bool suite = false, scheme = !hello->signatures.len;

    if (hello->version_max >= VERSION_TLS13)
        return any_between(hello->signatures, schemes[0], schemes[0]);
    for (size_t i = 0; i < ARRAY_SIZE(suites); i++)
        suite = suite || any_between(hello->ciphers, suites[i][0], suites[i][1]);
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        scheme = scheme || any_between(hello->signatures, schemes[i], schemes[i]);
    return suite && scheme &&
           (!hello->groups.len || any_between(hello->groups, GROUP_P256, GROUP_P256));
}
