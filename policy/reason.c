#include "policy/reason.h"

#include <stdbool.h>
#include <string.h>

void reason_add(char *out, size_t size, const char *words)
{
    size_t len = strlen(out), more = strlen(words);

    if (more > size - len - 1)
        more = size - len - 1;
    memcpy(out + len, words, more);
    out[len + more] = 0;
}

void reason_add_foreign(char *out, size_t size, struct span text, size_t most)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = strlen(out);

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool token = text.len - i > 3 && memcmp(text.data + i, "eyJ", 3) == 0;

        if (i == most || token || size - len < sizeof("\\xNN...")) {
            out[len] = 0;
            reason_add(out, size, "...");
            return;
        }
        if (c > ' ' && c < 0x7f && c != '\\') {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '\\';
        out[len++] = 'x';
        out[len++] = digits[c >> 4];
        out[len++] = digits[c & 15];
    }
    out[len] = 0;
}

bool reason_is_known(const struct addr *addr)
{
    static const uint8_t nowhere[16] = {[10] = 0xff, [11] = 0xff};

    return memcmp(addr->ip, nowhere, sizeof(nowhere)) != 0;
}

void reason_add_ip(char *out, size_t size, const struct addr *addr)
{
    char text[ADDR_TEXT_MAX];

    reason_add(out, size,
               reason_is_known(addr) ? addr_format_ip(addr, text) : "an unknown address");
}
