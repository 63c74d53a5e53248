#include "proxy/pods/pod_spec.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* ---- names ---- */

/* As Kubernetes has them, and podman: letters, digits, '-', '_', '.', no sign at the ends. */
static bool is_name(const char *text, size_t len, size_t most)
{
    if (!len || len > most || !isalnum((unsigned char)text[0]) ||
        !isalnum((unsigned char)text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
    return true;
}

static int read_name(const json_t *object, const char *key, char *out, size_t most, struct err *err)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text || !is_name(text, strlen(text), most))
        return err_set(err, -EINVAL,
                       "'%s' is no %s of a pod; take at most %zu letters, digits, '-', '_' and "
                       "'.', none of these signs first or last",
                       text ? text : "", key, most);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

/* PREFIX/NAME or NAME; a prefix is a domain. */
static bool is_label_key(const char *key)
{
    const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;

    return is_name(name, strlen(name), POD_SPEC_SPACE_MAX) &&
           (!slash || is_name(key, (size_t)(slash - key), POD_SPEC_NAME_MAX));
}

static bool is_label_value(const char *value)
{
    return value && (!*value || is_name(value, strlen(value), POD_SPEC_SPACE_MAX));
}

/* ---- reading ---- */

static int read_labels(struct pod_spec *out, json_t *labels, struct err *err)
{
    const char *key;
    json_t *item;

    if (!labels)
        return 0;
    if (!json_is_object(labels))
        return err_set(err, -EINVAL, "labels are no object of texts");
    if (json_object_size(labels) > POD_SPEC_LABELS_MAX)
        return err_set(err, -EINVAL, "there are more than %d labels", POD_SPEC_LABELS_MAX);
    out->labels = calloc(json_object_size(labels) + 1, sizeof(*out->labels));
    if (!out->labels)
        return err_set(err, -ENOMEM, "labels");
    json_object_foreach(labels, key, item)
    {
        const char *value = json_string_value(item);
        struct pod_label *label = &out->labels[out->labels_len];

        if (!is_label_key(key) || !is_label_value(value))
            return err_set(err, -EINVAL,
                           "'%s=%s' is no label; keys are [DOMAIN/]NAME, names and values at most "
                           "%d letters, digits, '-', '_' and '.'",
                           key, value ? value : "", POD_SPEC_SPACE_MAX);
        *label = (struct pod_label){strdup(key), strdup(value)};
        out->labels_len++;
        if (!label->key || !label->value)
            return err_set(err, -ENOMEM, "labels");
    }
    return 0;
}

static int read_ports(struct pod_spec *out, const json_t *ports, struct err *err)
{
    const char *text = json_string_value(ports);

    if (!ports)
        return 0;
    out->all_ports = text && strcmp(text, "all") == 0;
    out->ports_len = 0;
    if (out->all_ports)
        return 0;
    if (!json_is_array(ports) || !json_array_size(ports) ||
        json_array_size(ports) > POD_SPEC_PORTS_MAX)
        return err_set(err, -EINVAL, "ports are neither \"all\" nor a list of 1 to %d",
                       POD_SPEC_PORTS_MAX);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        json_int_t port = json_integer_value(json_array_get(ports, i));

        if (port < 1 || port > 65535)
            return err_set(err, -EINVAL, "ports go from 1 to 65535");
        out->ports[out->ports_len++] = (uint16_t)port;
    }
    return 0;
}

static int read_switch(bool *out, const json_t *value, const char *key, struct err *err)
{
    if (value && !json_is_boolean(value))
        return err_set(err, -EINVAL, "%s is neither true nor false", key);
    *out = value ? json_is_true(value) : *out;
    return 0;
}

static int read_when_down(struct pod_spec *out, const json_t *value, struct err *err)
{
    const char *text = json_string_value(value);

    if (!value)
        return 0;
    if (!text || (strcmp(text, "open") != 0 && strcmp(text, "closed") != 0))
        return err_set(err, -EINVAL, "onAgentDown is neither closed nor open");
    out->open_when_down = strcmp(text, "open") == 0;
    return 0;
}

static int read_route(struct pod_spec *out, const json_t *value, struct err *err)
{
    const char *text = json_string_value(value);

    if (!value || (text && policy_route_find(text, &out->route)))
        return 0;
    return err_set(err, -EINVAL, "route is none of auto, proxy, kernel and passthrough");
}

static void take_over(struct pod_spec *out, const struct pods_settings *otherwise)
{
    out->all_ports = otherwise->all_ports;
    out->loopback = otherwise->loopback;
    out->open_when_down = otherwise->open_when_down;
    out->route = otherwise->route;
    for (size_t i = 0; i < otherwise->ports_len && i < POD_SPEC_PORTS_MAX; i++)
        out->ports[out->ports_len++] = otherwise->ports[i];
}

int pod_spec_read(struct pod_spec *out, const json_t *object, const struct pods_settings *otherwise,
                  struct err *err)
{
    CLEANUP(pod_spec_fini) struct pod_spec spec = {.space = ""};
    const json_t *space = json_object_get(object, "namespace");
    int result;

    take_over(&spec, otherwise);
    result = read_name(object, "name", spec.name, POD_SPEC_NAME_MAX, err);
    if (result == 0 && space)
        result = read_name(object, "namespace", spec.space, POD_SPEC_SPACE_MAX, err);
    if (result == 0)
        result = read_labels(&spec, json_object_get(object, "labels"), err);
    if (result == 0)
        result = read_ports(&spec, json_object_get(object, "ports"), err);
    if (result == 0)
        result = read_switch(&spec.loopback, json_object_get(object, "loopback"), "loopback", err);
    if (result == 0)
        result = read_when_down(&spec, json_object_get(object, "onAgentDown"), err);
    if (result == 0)
        result = read_route(&spec, json_object_get(object, "route"), err);
    if (result < 0)
        return result;
    *out = spec;
    spec = (struct pod_spec){.space = ""};
    return 0;
}

void pod_spec_fini(struct pod_spec *spec)
{
    while (spec->labels_len) {
        struct pod_label *label = &spec->labels[--spec->labels_len];

        free(label->key);
        free(label->value);
    }
    free(TAKE(spec->labels));
}

/* ---- writing ---- */

static json_t *write_ports(const struct pod_spec *spec)
{
    json_t *ports = spec->all_ports ? json_string("all") : json_array();

    for (size_t i = 0; ports && !spec->all_ports && i < spec->ports_len; i++)
        if (json_array_append_new(ports, json_integer(spec->ports[i])) < 0) {
            json_decref(ports);
            return NULL;
        }
    return ports;
}

static json_t *write_labels(const struct pod_spec *spec)
{
    json_t *labels = json_object();

    for (size_t i = 0; labels && i < spec->labels_len; i++)
        if (json_object_set_new(labels, spec->labels[i].key, json_string(spec->labels[i].value)) <
            0) {
            json_decref(labels);
            return NULL;
        }
    return labels;
}

json_t *pod_spec_write(const struct pod_spec *spec)
{
    return json_pack("{s:s*, s:s, s:o, s:o, s:b, s:s, s:s}", "namespace",
                     spec->space[0] ? spec->space : NULL, "name", spec->name, "labels",
                     write_labels(spec), "ports", write_ports(spec), "loopback", spec->loopback,
                     "onAgentDown", spec->open_when_down ? "open" : "closed", "route",
                     policy_route_name(spec->route));
}

struct pods_settings pod_spec_settings(const struct pod_spec *spec)
{
    return (struct pods_settings){
        .all_ports = spec->all_ports,
        .loopback = spec->loopback,
        .open_when_down = spec->open_when_down,
        .route = spec->route,
        .ports = spec->ports,
        .ports_len = spec->ports_len,
    };
}
