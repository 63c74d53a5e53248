#include "proxy/telemetry/followers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "events/units.h"

static const struct {
    const char *name;
    enum filter_key key;
} conditions[] = {
    {"types", FILTER_TYPES},
    {"namespaces", FILTER_NAMESPACES},
    {"pods", FILTER_POD},
    {"processes", FILTER_PROCESS},
};

static int read_conditions(const json_t *args, struct filter *filter, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
        const json_t *list = json_object_get(args, conditions[i].name);
        const json_t *item;
        size_t at;

        if (list && !json_is_array(list))
            return err_set(err, -EINVAL, "\"%s\" is no list", conditions[i].name);
        json_array_foreach(list, at, item)
        {
            const char *text = json_string_value(item);
            int result;

            if (!text)
                return err_set(err, -EINVAL, "\"%s\" has something else than texts",
                               conditions[i].name);
            result = filter_add(filter, conditions[i].key, text, err);
            if (result < 0)
                return result;
        }
    }
    return 0;
}

static int read_form(const json_t *args, struct feed_order *order, struct err *err)
{
    const json_t *output = json_object_get(args, "output"), *since = json_object_get(args, "since");
    const char *form = output ? json_string_value(output) : "compact", *digits = "";
    char *end = NULL;

    order->color = json_is_true(json_object_get(args, "color"));
    order->json = form && strcmp(form, "json") == 0;
    if (!form || (!order->json && strcmp(form, "compact") != 0))
        return err_set(err, -EINVAL, "\"output\" is neither \"compact\" nor \"json\"");
    if (!since)
        return 0;
    digits = json_string_value(since);
    errno = 0;
    if (digits && *digits >= '0' && *digits <= '9')
        order->since_ns = strtoull(digits, &end, 10);
    if (!end || *end || errno)
        return err_set(err, -EINVAL, "\"since\" is no number of nanoseconds, as a text");
    return 0;
}

/* Too little is kept: the client can say so, but nobody could count what is missing. */
static void greet(const struct feed *feed, const struct feed_order *order, char *out, size_t size)
{
    CLEANUP(buffer_fini) struct buffer time = {0};
    uint64_t begins_ns = feed_begins_ns(feed);

    snprintf(out, size, "{\"ok\":true}");
    if (!order->since_ns || begins_ns <= order->since_ns)
        return;
    units_time(&time, begins_ns);
    buffer_append(&time, "", 1);
    if (!time.failed)
        snprintf(out, size, "{\"ok\":true,\"begins\":\"%s\"}", time.data);
}

static int prepare(const json_t *args, struct feed *feed, struct feed_order *order, struct err *err)
{
    int result = filter_new(&order->filter, err);

    if (result == 0)
        result = read_conditions(args, order->filter, err);
    if (result == 0)
        result = read_form(args, order, err);
    if (result == 0 && feed_subscribers(feed) >= FEED_SUBSCRIBERS)
        result = err_set(err, -EBUSY, "%d follow the events already: let one of them go",
                         FEED_SUBSCRIBERS);
    return result;
}

static void on_events(void *arg, struct control_call *call)
{
    struct feed_order order = {.fd = -1};
    struct feed *feed = arg;
    char greeting[96];
    struct err err;

    if (prepare(control_args(call), feed, &order, &err) < 0) {
        control_refuse(call, &err);
    } else {
        greet(feed, &order, greeting, sizeof(greeting));
        order.greeting = greeting;
        order.fd = control_take_stream(call);
        feed_add(feed, &order,
                 &err); /* fails for want of memory only: then its end is the answer */
    }
    fd_close(&order.fd);
    filter_free(&order.filter);
}

int followers_serve(struct control *control, struct feed *feed, struct err *err)
{
    return control_on(control, "events", on_events, feed, err);
}
