/* An OpenSSL configuration, whatever it holds: what is made of it begins with it, and asks for kTLS
 * by itself. None that includes others, which are not the fuzzer's to choose. */
#include <string.h>

#include "check.h"

#include "base/cleanup.h"
#include "proxy/kernel/ktls_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_fini) struct buffer made = {0}, again = {0};
    struct err err = {0};
    int result;

    if (memmem(data, size, "include", 7) || memmem(data, size, "\\\n", 2) ||
        memmem(data, size, "\\\r", 2))
        return 0;
    result = ktls_conf_make(&made, span_of(data, size), &err);
    if (result < 0) {
        CHECK(err.text[0]);
        return 0;
    }
    if (result == KTLS_CONF_ASKS) {
        CHECK(!made.len);
        return 0;
    }
    CHECK(made.len > size && memcmp(made.data, data, size) == 0);
    CHECK(ktls_conf_make(&again, span_of(made.data, made.len), &err) == KTLS_CONF_ASKS);
    return 0;
}
