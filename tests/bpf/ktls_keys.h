/* ktls_keys: a socket whose kernel encrypts and decrypts for it, by keys that both ends have from
 * here: no handshake is needed but a word that it begins with. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct suite {
    const char *name;
    uint16_t version, cipher;
};
enum { SUITES = 6 };
extern const struct suite suites[SUITES];
extern const struct suite *suite; /* the one in use */
extern uint8_t keys_byte;         /* of which its keys are made */

/* Where a socket in a sockhash cannot have kTLS, it leaves by this, which both ends send. */
extern const char hello[50];

bool kernel_has_tls(void); /* which it may load for it */
/* 0 or a negative errno. Who connected speaks first. */
int start_tls(int fd);
int answer_tls(int fd);

/* The kernel's TLS, by hand: keys of the suite for one direction, TLS_TX or TLS_RX; -1 and errno.
 */
int hand_over(int fd, int direction);

/* A record of this kind, of nothing else; 0 or a negative errno. */
int send_key_update(int fd);
int send_close_notify(int fd);
int receive_key_update(int fd);
