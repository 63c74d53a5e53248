#include "proxy/wire/http2_preface.h"

#include "base/cleanup.h"

int http2_looks_like_preface(struct span bytes)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t whole = sizeof(preface) - 1, len = bytes.len < whole ? bytes.len : whole;

    if (len && memcmp(bytes.data, preface, len) != 0)
        return 0;
    return len == whole ? 1 : -1;
}

/* RFC 9113 sections 4.1 and 6.5: settings of six bytes each, type 4, no flag, on stream 0. */
int http2_looks_like_settings(struct span bytes)
{
    static const uint8_t fixed[HTTP2_FRAME_HEADER] = {[3] = 4};
    enum { FRAME_MAX = 16384 }; /* for the first frame there is no other limit yet */
    size_t len = bytes.len < HTTP2_FRAME_HEADER ? bytes.len : HTTP2_FRAME_HEADER;
    unsigned size;

    for (size_t i = 0; i < len; i++)
        if (i != 1 && i != 2 && bytes.data[i] != fixed[i])
            return 0;
    if (len >= 3) {
        size = (unsigned)bytes.data[1] << 8 | bytes.data[2];
        if (size % 6 || size > FRAME_MAX)
            return 0;
    }
    return len == HTTP2_FRAME_HEADER ? 1 : -1;
}
