/* request_fuzz: whatever comes by the control socket is a request with a verb that can be printed,
 * or is refused with a sentence; what was taken can be written again and is the same. */
#include <string.h>

#include "proxy/control/request.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t depth(const json_t *value)
{
    size_t deepest = 0, i;
    const char *key;
    json_t *child;

    if (json_is_object(value))
        json_object_foreach((json_t *)value, key, child) deepest =
            depth(child) > deepest ? depth(child) : deepest;
    else if (json_is_array(value))
        json_array_foreach(value, i, child) deepest =
            depth(child) > deepest ? depth(child) : deepest;
    else
        return 0;
    return deepest + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1), *text;
    struct request request = {0}, again = {0};
    struct err err = {0};

    CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    if (request_parse(span_of(copy, size), &request, &err) < 0) {
        CHECK(!request.args && err.text[0] && err.code < 0);
    } else {
        CHECK(size < REQUEST_BYTES_MAX);
        CHECK(request.verb[0] && strlen(request.verb) <= REQUEST_VERB_MAX);
        for (const char *at = request.verb; *at; at++)
            CHECK((*at >= 'a' && *at <= 'z') || *at == '.');
        CHECK(depth(request.args) <= REQUEST_DEPTH_MAX);
        text = json_dumps(request.args, JSON_COMPACT | JSON_REAL_PRECISION(17));
        CHECK(text);
        if (strlen(text) < REQUEST_BYTES_MAX) {
            CHECK(request_parse(span_of_text(text), &again, &err) == 0);
            CHECK(json_equal(request.args, again.args));
        }
        free(text);
    }
    request_fini(&request);
    request_fini(&again);
    free(copy);
    return 0;
}
