#include "proxy/telemetry/status.h"

#include <errno.h>
#include <string.h>

#include "events/flow_event.h"
#include "events/quote.h"
#include "events/units.h"
#include "proxy/control/control.h"

struct status {
    uint64_t since_ns;
    struct {
        void (*fn)(void *arg, json_t *answer);
        void *arg;
    } parts[STATUS_PARTS_MAX];
    size_t parts_len;
};

/* ---- the agent's side ---- */

static void answer(void *arg, struct control_call *call)
{
    const struct status *status = arg;
    json_t *object = json_pack("{s:s, s:i}", "version", SALLYPORT_VERSION, "pid", (int)getpid());

    if (object)
        status_add_time(object, "since", status->since_ns);
    for (size_t i = 0; object && i < status->parts_len; i++)
        status->parts[i].fn(status->parts[i].arg, object);
    control_answer(call, object);
}

int status_new(struct status **out, struct control *control, struct err *err)
{
    CLEANUP(status_free) struct status *status = calloc(1, sizeof(*status));
    int result;

    if (!status)
        return err_set(err, -ENOMEM, "the status");
    status->since_ns = flow_event_now();
    result = control_on(control, "status", answer, status, err);
    if (result == 0)
        *out = TAKE(status);
    return result;
}

void status_free(struct status **status)
{
    free(TAKE(*status));
}

int status_on(struct status *status, void (*fn)(void *arg, json_t *answer), void *arg,
              struct err *err)
{
    if (status->parts_len == STATUS_PARTS_MAX)
        return err_set(err, -ENOSPC, "more than %d parts tell their status", STATUS_PARTS_MAX);
    status->parts[status->parts_len].fn = fn;
    status->parts[status->parts_len++].arg = arg;
    return 0;
}

void status_add_text(json_t *object, const char *key, const char *text)
{
    CLEANUP(buffer_fini) struct buffer quoted = {0};

    if (!text)
        return;
    quote_json(&quoted, span_of_text(text)); /* UTF-8, whatever text is */
    if (!quoted.failed)
        json_object_set_new(object, key,
                            json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY, NULL));
}

void status_add_time(json_t *object, const char *key, uint64_t ns)
{
    CLEANUP(buffer_fini) struct buffer text = {0};

    units_time(&text, ns);
    buffer_append(&text, "", 1);
    if (!text.failed)
        json_object_set_new(object, key,
                            json_sprintf("%.*sZ", (int)strcspn(text.data, "."), text.data));
}

void status_add_cert(json_t *object, const char *key, const X509 *cert)
{
    BIO *subject = BIO_new(BIO_s_mem());
    json_t *told = json_object();
    struct tm until;
    char *text;

    /* RFC 2253, as in events */
    if (told && subject &&
        X509_NAME_print_ex(subject, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0 &&
        BIO_write(subject, "", 1) == 1 && BIO_get_mem_data(subject, &text) > 0)
        status_add_text(told, "subject", text);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &until))
        status_add_time(told, "until", (uint64_t)timegm(&until) * 1000000000);
    json_object_set_new(object, key, told);
    BIO_free(subject);
}

/* ---- the reader's side ---- */

static void append_scalar(struct buffer *out, const json_t *value)
{
    if (json_is_string(value))
        quote_text(out, span_of(json_string_value(value), json_string_length(value)));
    else if (json_is_integer(value))
        buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        buffer_text(out, json_is_true(value) ? "yes" : "no");
    else
        buffer_text(out, value && !json_is_null(value) ? "?" : "none");
}

/* "used 10, most 65536": one level; what is deeper is for who wants JSON. */
static void append_members(struct buffer *out, const json_t *object)
{
    const char *key, *before = "";
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        buffer_text(out, before);
        quote_text(out, span_of_text(key));
        buffer_append(out, " ", 1);
        append_scalar(out, value);
        before = ", ";
    }
}

static void append_line(struct buffer *out, const char *name, const json_t *value)
{
    CLEANUP(buffer_fini) struct buffer left = {0};

    quote_text(&left, span_of_text(name));
    buffer_format(out, "%-16.*s  ", (int)left.len, left.len ? left.data : "");
    if (json_is_object(value))
        append_members(out, value);
    else
        append_scalar(out, value);
    buffer_append(out, "\n", 1);
}

void status_render(struct buffer *out, const json_t *answer)
{
    const char *key;
    json_t *value, *item;
    size_t i;

    json_object_foreach((json_t *)answer, key, value)
    {
        if (strcmp(key, "ok") == 0)
            continue;
        if (!json_is_array(value))
            append_line(out, key, value);
        else if (!json_array_size(value)) /* it was looked for */
            append_line(out, key, NULL);
        json_array_foreach(value, i, item) append_line(out, key, item);
    }
}
