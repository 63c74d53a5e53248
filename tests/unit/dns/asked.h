/* asked: DNS messages, and a bus that keeps what is told as lines; for the tests of lookups,
 * resolver and flow/query. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/span.h"
#include "events/bus.h"

#define A     "\0\x01"
#define AAAA  "\0\x1c"
#define HTTPS "\0\x41"
#define AXFR  "\0\xfc"
#define IO    "\4ebpf\2io\0"
#define COM   "\7example\3com\0"
#define TTL   "\0\0\0\x3c"

#define UPDATE(id, name)                id "\x28\0\0\1\0\0\0\0\0\0" name "\0\6\0\1"
#define NOTIFY(id, name)                id "\x24\0\0\1\0\0\0\0\0\0" name "\0\6\0\1"
#define QUERY(id, name, type)           id "\1\0\0\1\0\0\0\0\0\0" name type "\0\1"
#define ANSWER(id, name, type, records) id "\x81\x80\0\1" records("\0\0\0\0" name type "\0\1")
#define NONE(question)                  "\0\0" question
#define ONE(question)                   "\0\1" question
#define TWO(question)                   "\0\2" question
#define REFUSED(id, name, type)         id "\x81\x82\0\1\0\0\0\0\0\0" name type "\0\1"
/* Records of the name asked for. */
#define IP4(last)         "\xc0\x0c\0\1\0\1" TTL "\0\4\xcb\0\x71" last
#define IP6(last)         "\xc0\x0c\0\x1c\0\1" TTL "\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" last
#define TO_COM            "\xc0\x0c\0\5\0\1" TTL "\0\x0d" COM
#define COM_IP4(at, last) "\xc0" at "\0\1\0\1\0\0\0\x0a\0\4\xcb\0\x71" last
#define HTTPS_H3_ECH                                                                               \
    "\xc0\x0c\0\x41\0\1" TTL "\0\x15"                                                              \
    "\0\1\0"                                                                                       \
    "\0\1\0\6\2h3\2h2"                                                                             \
    "\0\5\0\4"                                                                                     \
    "ech!"
#define HTTPS_H2                                                                                   \
    "\xc0\x0c\0\x41\0\1" TTL "\0\x0a"                                                              \
    "\0\1\0"                                                                                       \
    "\0\1\0\3\2h2"

/* What was told, one line each: "ebpf.io. A", "ebpf.io. A NOERROR 203.0.113.10 60s". */
static char told[16384];

static inline void told_add(const char *text, const char *ahead, const char *behind)
{
    size_t len = strlen(told);

    if (text)
        snprintf(told + len, sizeof(told) - len, "%s%s%s", ahead, text, behind);
}

static inline void told_list(const char *const *texts, size_t len, const char *ahead)
{
    for (size_t i = 0; i < len; i++)
        told_add(texts[i], ahead, "");
}

/* What else a test wants to see when something is told; or NULL. */
static void (*when_told)(const struct flow_event *event);

/* In the place of the bus. */
void bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    struct flow_event *told_event = *event;
    char ttl[16];

    (void)producer;
    assert_non_null(told_event);
    if (when_told)
        when_told(told_event);
    if (told_event->kind == FLOW_EVENT_POLICY) {
        told_add(told_event->policy, "policy ", " ");
        told_add(told_event->decision.action, "", " ");
        told_add(told_event->decision.point, "", ": ");
        told_add(told_event->decision.reason, "", "\n");
    }
    if (told_event->kind == FLOW_EVENT_DNS) {
        assert_int_equal(told_event->route, ROUTE_PROXY);
        assert_int_equal(told_event->visibility, VISIBILITY_PLAINTEXT);
        told_add(told_event->dns.name ? told_event->dns.name : "-", "", "");
        told_add(told_event->dns.qtype, " ", "");
        if (told_event->dns.response)
            told_add(told_event->dns.rcode ? told_event->dns.rcode : "?", " ", "");
        told_list(told_event->dns.cnames, told_event->dns.cnames_len, " =");
        told_list(told_event->dns.ips, told_event->dns.ips_len, " ");
        told_list(told_event->dns.stripped, told_event->dns.stripped_len, " -");
        snprintf(ttl, sizeof(ttl), " %us", told_event->dns.ttl);
        told_add(told_event->dns.ttl ? ttl : "", "", "");
        told_add(told_event->error, " (", ")");
        told_add(told_event->policy, told_event->verdict ? " denied by " : " allowed by ", "");
        told_add("\n", "", "");
    }
    flow_event_free(event);
}

static inline void expect_told(const char *lines)
{
    assert_string_equal(told, lines);
    told[0] = 0;
}
