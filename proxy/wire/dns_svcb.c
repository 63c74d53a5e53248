/* dns_svcb: the parameters of service bindings (RFC 9460 section 2.2): read, checked, and
 * rid of what hides a client's TLS from a proxy. */
#include "proxy/wire/dns_walk.h"

bool dns_param_take(struct span *params, struct dns_param *out)
{
    struct span whole = *params;
    uint32_t key;

    if (!span_take_uint(&whole, 2, &key) || !span_take_vector(&whole, 2, &out->value))
        return false;
    out->key = (uint16_t)key;
    *params = whole;
    return true;
}

/* Section 8: rising keys, each of them there. As both lists rise, one walk along each is enough. */
static bool is_mandatory(struct span keys, struct span params)
{
    uint32_t last = DNS_PARAM_MANDATORY, key;

    if (!keys.len)
        return false;
    while (span_take_uint(&keys, 2, &key)) {
        struct dns_param param = {0};

        if (key <= last)
            return false;
        while (param.key < key)
            if (!dns_param_take(&params, &param))
                return false;
        if (param.key != key)
            return false;
        last = key;
    }
    return !keys.len;
}

static bool is_alpn(struct span list)
{
    struct span name;

    if (!list.len)
        return false;
    while (list.len)
        if (!span_take_vector(&list, 1, &name) || !name.len)
            return false;
    return true;
}

static bool is_list_of(struct span value, size_t size)
{
    return value.len && value.len % size == 0;
}

const char *dns_params_check(struct span params)
{
    struct span rest = params;
    struct dns_param param;
    int last = -1;

    while (rest.len) {
        bool fine = true;

        if (!dns_param_take(&rest, &param))
            return "a service parameter is cut off";
        if (param.key <= last)
            return "service parameters are out of order";
        last = param.key;
        switch (param.key) {
        case DNS_PARAM_MANDATORY:
            fine = is_mandatory(param.value, rest);
            break;
        case DNS_PARAM_ALPN:
            fine = is_alpn(param.value);
            break;
        case DNS_PARAM_NO_DEFAULT_ALPN:
            fine = !param.value.len;
            break;
        case DNS_PARAM_PORT:
            fine = param.value.len == 2;
            break;
        case DNS_PARAM_IPV4HINT:
            fine = is_list_of(param.value, 4);
            break;
        case DNS_PARAM_IPV6HINT:
            fine = is_list_of(param.value, 16);
            break;
        }
        if (!fine)
            return "a service parameter is malformed";
    }
    return NULL;
}

/* h3 and the drafts of it, such as h3-29. */
static bool is_h3(struct span protocol)
{
    return protocol.len >= 2 && memcmp(protocol.data, "h3", 2) == 0 &&
           (protocol.len == 2 || protocol.data[2] == '-');
}

unsigned dns_params_hiding(struct span params)
{
    struct dns_param param;
    struct span name;
    unsigned hiding = 0;

    while (dns_param_take(&params, &param)) {
        if (param.key == DNS_PARAM_ECH)
            hiding |= DNS_STRIPPED_ECH;
        if (param.key == DNS_PARAM_ALPN)
            while (span_take_vector(&param.value, 1, &name))
                if (is_h3(name))
                    hiding |= DNS_STRIPPED_H3;
    }
    return hiding;
}

static size_t strip_alpn(struct span list, uint8_t *out)
{
    size_t len = 0;
    struct span name;

    while (span_take_vector(&list, 1, &name)) {
        if (is_h3(name))
            continue;
        out[len++] = (uint8_t)name.len;
        memcpy(out + len, name.data, name.len);
        len += name.len;
    }
    return len;
}

/* Whether nothing but h3 is offered: then the whole parameter goes, which may not be empty, and
 * with it no-default-alpn, which makes no sense alone (section 7.1.1). */
static bool only_h3(struct span params)
{
    struct dns_param param;
    struct span name;

    while (dns_param_take(&params, &param))
        if (param.key == DNS_PARAM_ALPN) {
            while (span_take_vector(&param.value, 1, &name))
                if (!is_h3(name))
                    return false;
            return true;
        }
    return false;
}

static bool goes(uint32_t key, bool alpn_goes)
{
    return key == DNS_PARAM_ECH ||
           (alpn_goes && (key == DNS_PARAM_ALPN || key == DNS_PARAM_NO_DEFAULT_ALPN));
}

static size_t strip_mandatory(struct span keys, bool alpn_goes, uint8_t *out)
{
    size_t len = 0;
    uint32_t key;

    while (span_take_uint(&keys, 2, &key)) {
        if (goes(key, alpn_goes))
            continue;
        out[len++] = (uint8_t)(key >> 8);
        out[len++] = (uint8_t)key;
    }
    return len;
}

size_t dns_params_strip(struct span params, uint8_t *out)
{
    bool alpn_goes = only_h3(params);
    struct dns_param param;
    size_t len = 0, value;

    while (dns_param_take(&params, &param)) {
        if (goes(param.key, alpn_goes))
            continue;
        if (param.key == DNS_PARAM_ALPN) {
            value = strip_alpn(param.value, out + len + 4);
        } else if (param.key == DNS_PARAM_MANDATORY) {
            value = strip_mandatory(param.value, alpn_goes, out + len + 4);
            if (!value)
                continue;
        } else {
            value = param.value.len;
            if (value)
                memcpy(out + len + 4, param.value.data, value);
        }
        out[len] = (uint8_t)(param.key >> 8);
        out[len + 1] = (uint8_t)param.key;
        out[len + 2] = (uint8_t)(value >> 8);
        out[len + 3] = (uint8_t)value;
        len += 4 + value;
    }
    return len;
}
