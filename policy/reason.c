#include "policy/reason.h"

#include <stdio.h>

void reason_add(char *out, size_t size, const char *words)
{
    size_t len = strlen(out);

    snprintf(out + len, size - len, "%s", words);
}

void reason_add_foreign(char *out, size_t size, struct span text, size_t most)
{
    size_t len = strlen(out);

    for (size_t i = 0; i < text.len; i++) {
        bool plain = text.data[i] > ' ' && text.data[i] < 0x7f && text.data[i] != '\\';

        if (i == most || size - len < sizeof("\\xNN...")) {
            snprintf(out + len, size - len, "...");
            return;
        }
        len += (size_t)snprintf(out + len, size - len, plain ? "%c" : "\\x%02x", text.data[i]);
    }
}
