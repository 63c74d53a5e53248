#include "proxy/http2/pseudo.h"

#include "base/cleanup.h"

static uint16_t code_of(struct span text)
{
    uint16_t code = 0;

    for (size_t i = 0; i < text.len && i < 3; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        code = (uint16_t)(code * 10 + (text.data[i] - '0'));
    }
    return code;
}

void pseudo_take(struct http2_head *head, struct span name, struct span value)
{
    const struct {
        struct span name;
        struct span *out;
    } known[] = {
        {BYTES(":method"), &head->method},       {BYTES(":scheme"), &head->scheme},
        {BYTES(":authority"), &head->authority}, {BYTES(":path"), &head->path},
        {BYTES(":protocol"), &head->protocol},
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (span_equal(name, known[i].name) && !known[i].out->data)
            *known[i].out = value;
    if (span_equal(name, BYTES(":status")))
        head->code = code_of(value);
}
