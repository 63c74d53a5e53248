#include "proxy/probe/report.h"

#include <string.h>

#include "events/json_writer.h"
#include "events/quote.h"

#define GREEN  "\x1b[32m"
#define YELLOW "\x1b[33m"
#define RED    "\x1b[31m"
#define PLAIN  "\x1b[0m"

static const char *const route_names[] = {
    [KERNEL_ROUTE_NONE] = "none",
    [KERNEL_ROUTE_SOCKMAP] = "sockmap",
    [KERNEL_ROUTE_LSM] = "lsm",
};

/* A socket in a sockhash loses kTLS on newer kernels without a word, so where programs can have
 * kTLS, sockmap is chosen only if both go together. It comes first: nobody can change the bytes
 * between its look and the encryption. */
enum kernel_route kernel_route_choose(const struct kernel_means *means)
{
    if (!means->sk_msg)
        return KERNEL_ROUTE_NONE;
    if (!means->ktls || means->ktls_in_hash)
        return KERNEL_ROUTE_SOCKMAP;
    return means->lsm && means->fentry ? KERNEL_ROUTE_LSM : KERNEL_ROUTE_NONE;
}

const char *kernel_route_name(enum kernel_route route)
{
    return route_names[route];
}

const char *kernel_route_words(const struct kernel_means *means)
{
    switch (kernel_route_choose(means)) {
    case KERNEL_ROUTE_SOCKMAP:
        if (!means->ktls)
            return "sk_msg programs can read and deny plain HTTP; there is no kTLS here";
        return means->fentry ? "sk_msg programs can read and deny plain HTTP and kTLS before it is "
                               "encrypted"
                             : "sk_msg programs can read and deny plain HTTP and kTLS before it is "
                               "encrypted; what comes in by kTLS is not read";
    case KERNEL_ROUTE_LSM:
        return "sk_msg programs can read and deny plain HTTP, LSM programs kTLS; a program with "
               "several threads can race a denial of kTLS";
    case KERNEL_ROUTE_NONE:
        break;
    }
    if (means->sk_msg)
        return "sk_msg programs can read and deny plain HTTP; nothing in this kernel can read and "
               "deny kTLS: it stays on the proxy, or is opaque by 'route: kernel'";
    return "nothing in this kernel can read and deny what bypasses the proxy: all stays on the "
           "proxy";
}

bool probe_exec_works(const struct probe_report *report)
{
    for (size_t i = 0; i < report->checks_len; i++)
        if (report->checks[i].required && !report->checks[i].found)
            return false;
    return true;
}

/* ---- text ---- */

/* The first two columns. */
static void begin_line(struct buffer *out, const char *color, const char *state, const char *name,
                       size_t width)
{
    if (color)
        buffer_text(out, color);
    buffer_format(out, "%-7s", state);
    if (color)
        buffer_text(out, PLAIN);
    buffer_format(out, "  %-*s  ", (int)width, name);
}

static size_t widest_name(const struct probe_report *report)
{
    size_t width = strlen("foreign programs");

    for (size_t i = 0; i < report->checks_len; i++)
        if (strlen(report->checks[i].name) > width)
            width = strlen(report->checks[i].name);
    return width;
}

static void append_check(struct buffer *out, const struct probe_check *check, size_t width,
                         bool color)
{
    if (check->found) {
        begin_line(out, color ? GREEN : NULL, "ok", check->name, width);
        buffer_format(out, "else %s\n", check->consequence);
    } else {
        begin_line(out,
                   !color            ? NULL
                   : check->required ? RED
                                     : YELLOW,
                   check->required ? "missing" : "absent", check->name, width);
        buffer_format(out, "so %s (%s)\n", check->consequence, check->detail);
    }
}

static void append_foreign(struct buffer *out, const struct probe_report *report, size_t width,
                           bool color)
{
    const char *yellow = color ? YELLOW : NULL;

    for (size_t i = 0; i < report->foreign_len; i++) {
        const struct probe_foreign *foreign = &report->foreign[i];

        begin_line(out, yellow, "foreign", foreign->hook, width);
        quote_text(out, span_of_text(foreign->name[0] ? foreign->name : "unnamed"));
        buffer_format(out, " (id %u) at ", foreign->id);
        quote_text(out, span_of_text(foreign->at));
        buffer_format(out, ": %s\n", foreign->consequence);
    }
    if (report->foreign_more) {
        begin_line(out, yellow, "foreign", "foreign programs", width);
        buffer_format(out, "and %zu more\n", report->foreign_more);
    }
    if (report->foreign_error[0]) {
        begin_line(out, yellow, "unknown", "foreign programs", width);
        buffer_format(out, "others may stand on our hooks (%s)\n", report->foreign_error);
    } else if (!report->foreign_len) {
        begin_line(out, color ? GREEN : NULL, "ok", "foreign programs", width);
        buffer_text(out, "none on our hooks, from this cgroup up to the root\n");
    }
}

static void append_summary(struct buffer *out, const struct probe_report *report, bool color)
{
    const char *before = ": ";

    if (probe_exec_works(report)) {
        buffer_format(out, "%sexec works here%s\n", color ? GREEN : "", color ? PLAIN : "");
        return;
    }
    buffer_format(out, "%sexec cannot work here%s", color ? RED : "", color ? PLAIN : "");
    for (size_t i = 0; i < report->checks_len; i++)
        if (report->checks[i].required && !report->checks[i].found) {
            buffer_format(out, "%s%s", before, report->checks[i].name);
            before = ", ";
        }
    buffer_text(out, " missing\n");
}

void probe_render_text(struct buffer *out, const struct probe_report *report, bool color)
{
    size_t width = widest_name(report);
    enum kernel_route route = kernel_route_choose(&report->means);

    for (size_t i = 0; i < report->checks_len; i++)
        append_check(out, &report->checks[i], width, color);
    append_foreign(out, report, width, color);
    begin_line(out,
               !color                       ? NULL
               : route == KERNEL_ROUTE_NONE ? YELLOW
                                            : GREEN,
               kernel_route_name(route), "kernel route", width);
    buffer_format(out, "%s\n", kernel_route_words(&report->means));
    append_summary(out, report, color);
}

/* ---- JSON ---- */

static void append_check_json(struct buffer *out, const struct probe_check *check)
{
    size_t mark = json_begin(out, NULL, '{');

    json_text(out, "name", check->name);
    json_flag(out, "found", check->found);
    json_flag(out, "required", check->required);
    json_text(out, "detail", check->detail);
    json_text(out, "consequence", check->consequence);
    json_end(out, mark, '}');
}

static void append_foreign_json(struct buffer *out, const struct probe_foreign *foreign)
{
    size_t mark = json_begin(out, NULL, '{');

    json_text(out, "hook", foreign->hook);
    json_text(out, "name", foreign->name);
    json_number(out, "id", foreign->id);
    json_text(out, "type", foreign->type);
    json_text(out, "at", foreign->at);
    json_text(out, "consequence", foreign->consequence);
    json_end(out, mark, '}');
}

void probe_render_json(struct buffer *out, const struct probe_report *report)
{
    size_t all = json_begin(out, NULL, '{'), list;

    json_text(out, "kernel", report->kernel);
    list = json_begin(out, "checks", '[');
    for (size_t i = 0; i < report->checks_len; i++)
        append_check_json(out, &report->checks[i]);
    json_end(out, list, ']');
    list = json_begin(out, "foreign_programs", '[');
    for (size_t i = 0; i < report->foreign_len; i++)
        append_foreign_json(out, &report->foreign[i]);
    if (report->foreign_len)
        json_end(out, list, ']');
    else
        buffer_text(out, "],"); /* written though empty: it was looked for */
    if (report->foreign_more)
        json_number(out, "foreign_programs_more", (uint32_t)report->foreign_more);
    json_text(out, "foreign_programs_error", report->foreign_error);
    json_text(out, "kernel_route", kernel_route_name(kernel_route_choose(&report->means)));
    json_text(out, "kernel_route_words", kernel_route_words(&report->means));
    json_flag(out, "exec", probe_exec_works(report));
    json_end(out, all, '}');
    if (!out->failed && out->len)
        out->data[out->len - 1] = '\n'; /* in place of the last comma */
}
