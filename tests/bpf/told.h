/* told: what the tests of proxy/identity/ share: an identity over the real kernel programs, a bus
 * and pods in the place of the agent's, which keep what is told, and a program that goes on until
 * it is ended.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>

#include "events/flow_event.h"
#include "proxy/identity/identity.h"
#include "watch.h"

enum { EVENTS_MAX = 64 };

extern struct watch watch;
extern struct identity *identity;
extern struct pod pod;                        /* the one that is registered */
extern struct flow_event *events[EVENTS_MAX]; /* since the test began */
extern size_t events_len;

void told_init(void); /* exits 77 as watch_init does */
void told_fini(void);

/* cmocka's, for one test: a new identity, and nothing told. */
int told_begin(void **state);
int told_end(void **state);

void expect_events(size_t count);
/* Of a process of the pod, told as events[i]. */
void expect_event(size_t i, enum flow_event_kind kind, const char *binary, const char *arguments);

void sleep_ms(int ms);

/* Starts a program that goes on until it is ended, and waits until its exec was told. */
pid_t start_sleep(void);
void end_process(pid_t pid);
