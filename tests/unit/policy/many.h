/* many: policies of many rules, written down; for decide_many.c, and for
 * tests/bench/policy_decide.c, which has the time measured. */
#pragma once

#include <stdio.h>
#include <string.h>

/* With the number where a '#' stands. */
static inline const char *many_numbered(char out[128], const char *text, int number)
{
    const char *mark = strchr(text, '#');

    if (mark)
        snprintf(out, 128, "%.*s%d%s", (int)(mark - text), text, number, mark + 1);
    else
        snprintf(out, 128, "%s", text);
    return out;
}

/* The i-th policy begins; its rules follow. */
static inline void many_head(FILE *out, int i)
{
    fprintf(out,
            "---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: p%05d}\n"
            "spec:\n  egress:\n",
            i);
}

/* Ten rules a policy, each with a name of its own. */
static inline void many_names(FILE *out, int n, const char *method)
{
    for (int i = 0; i < n; i++) {
        if (i % 10 == 0)
            many_head(out, i / 10);
        fprintf(out,
                "  - toFQDNs: [{matchName: n%d.example.com}]\n"
                "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{method: "
                "%s, path: '/v1/.*'}]}}]\n",
                i, method);
    }
}

/* ... all for the same place: nothing tells them apart but what is asked. */
static inline void many_alike(FILE *out, int n, const char *path)
{
    for (int i = 0; i < n; i++) {
        char numbered[128];

        if (i % 10 == 0)
            many_head(out, i / 10);
        fprintf(out,
                "  - toEntities: [world]\n"
                "    toPorts: [{ports: [{port: '443', protocol: TCP}], rules: {http: [{method: "
                "GET|HEAD, path: '%s'}]}}]\n",
                many_numbered(numbered, path, i));
    }
}
