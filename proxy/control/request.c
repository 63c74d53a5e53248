#include "proxy/control/request.h"

#include <errno.h>
#include <string.h>

/* jansson calls itself for each level and allows 2048 of them: so it is not asked. */
static bool too_deep(struct span line)
{
    bool in_text = false;
    size_t depth = 0;

    for (size_t i = 0; i < line.len; i++)
        switch (line.data[i]) {
        case '\\':
            i += in_text;
            break;
        case '"':
            in_text = !in_text;
            break;
        case '{':
        case '[':
            if (!in_text && ++depth > REQUEST_DEPTH_MAX)
                return true;
            break;
        case '}':
        case ']':
            if (!in_text && depth)
                depth--;
            break;
        default:
            break;
        }
    return false;
}

static bool is_verb(const char *text)
{
    size_t len = text ? strlen(text) : 0;

    return len && len <= REQUEST_VERB_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz.") == len;
}

int request_parse(struct span line, struct request *out, struct err *err)
{
    struct request request = {0};
    json_error_t fault;

    if (line.len >= REQUEST_BYTES_MAX)
        return err_set(err, -EMSGSIZE, "a request has at most %d bytes", REQUEST_BYTES_MAX);
    if (too_deep(line))
        return err_set(err, -EINVAL, "the request is nested deeper than %d", REQUEST_DEPTH_MAX);
    request.args = json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, &fault);
    if (!request.args)
        return err_set(err, -EINVAL, "the request is no JSON: %s (byte %d)", fault.text,
                       fault.position);
    request.verb = json_string_value(json_object_get(request.args, "verb"));
    if (!is_verb(request.verb)) {
        request_fini(&request);
        return err_set(err, -EINVAL,
                       "a request is an object with a verb, such as {\"verb\":\"ping\"}");
    }
    *out = request;
    return 0;
}

void request_fini(struct request *request)
{
    json_decref(request->args);
    *request = (struct request){0};
}
