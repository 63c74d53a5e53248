#include "proxy/capture/wish.h"

#include <errno.h>
#include <string.h>

/* A number from 1 to most. */
static int read_number(const json_t *args, const char *key, json_int_t most, json_int_t *out,
                       struct err *err)
{
    const json_t *value = json_object_get(args, key);

    if (!value)
        return 0;
    *out = json_integer_value(value);
    if (*out < 1 || *out > most)
        return err_set(err, -EINVAL, "'%s' is a number from 1 to %lld", key, (long long)most);
    return 0;
}

int wish_read(const json_t *args, struct wish *wish, struct err *err)
{
    const char *what = json_string_value(json_object_get(args, "what"));
    const json_t *space = json_object_get(args, "namespace");
    int result;

    *wish = (struct wish){.seconds = CAPTURE_SECONDS, .bytes = CAPTURE_BYTES};
    while (what && wish->kind < CAPTURE_KIND_MAX &&
           strcmp(what, capture_kind_name(wish->kind)) != 0)
        wish->kind++;
    if (!what || wish->kind == CAPTURE_KIND_MAX)
        return err_set(err, -EINVAL, "'what' is neither \"keys\" nor \"pcap\"");
    wish->space = space ? json_string_value(space) : "";
    wish->name = json_string_value(json_object_get(args, "pod"));
    if (!wish->space || !wish->name)
        return err_set(err, -EINVAL, "'namespace' and 'pod' are texts, and one pod is asked for");
    result = read_number(args, "seconds", CAPTURE_SECONDS_MAX, &wish->seconds, err);
    return result < 0 ? result : read_number(args, "bytes", CAPTURE_BYTES_MAX, &wish->bytes, err);
}
