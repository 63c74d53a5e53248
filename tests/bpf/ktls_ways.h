/* ktls_ways: how a program has the kernel encrypt what it sends: 0, or a negative errno. */
#pragma once

#include <sys/types.h>

#include "base/span.h"

/* Of what a send of len bytes came to. */
int ways_result(ssize_t sent, size_t len);
/* A file that has it, to be closed; -1: there is none. */
int ways_file(struct span text);

int by_send(int fd, struct span text);
int by_send_more(int fd, struct span text);
int by_writev(int fd, struct span text);
int as_data(int fd, struct span text);
int as_an_alert_and_data(int fd, struct span text);
int as_an_alert(int fd, struct span text);
int as_alerts(int fd, struct span text); /* each of two bytes */
int as_a_handshake(int fd, struct span text);
int as_another_type(int fd, struct span text);
int by_sendfile(int fd, struct span text);
int by_splice(int fd, struct span text);
int by_a_file(int fd, struct span text);
