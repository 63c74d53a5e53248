/* leg: what its two files share. leg.c is the leg, leg_bio.c its socket. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct leg;

/* How many bytes were received but not taken. */
size_t leg_stashed(const struct leg *leg);
/* From the stash, or else by one recv(2), with what that says about the next one. 0: the end. */
ssize_t leg_receive(struct leg *leg, void *where, size_t len);
ssize_t leg_transmit(struct leg *leg, const void *data, size_t len);
