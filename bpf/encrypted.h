/* encrypted: whether the kernel encrypts what a socket sends, and decrypts what it receives. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/tls.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct tcp_ulp_ops {
    char name[16];
};
struct inet_connection_sock { /* begins with a struct sock */
    const struct tcp_ulp_ops *icsk_ulp_ops;
    void *icsk_ulp_data;
};
struct tls_prot_info {
    __u16 version;
};
struct tls_context {
    struct tls_prot_info prot_info; /* of both directions */
    __u8 tx_conf : 3, rx_conf : 3;
};

#pragma clang attribute pop

static __always_inline const struct tls_context *tls_of(const struct sock *sk)
{
    static const char tls[4] = "tls";
    const struct inet_connection_sock *icsk = (const void *)sk;
    const struct tls_context *context = BPF_CORE_READ(icsk, icsk_ulp_data);
    const struct tcp_ulp_ops *ops = BPF_CORE_READ(icsk, icsk_ulp_ops);
    __u32 name = 0;

    if (!context || !ops)
        return NULL;
    bpf_probe_read_kernel(&name, sizeof(name), &ops->name);
    return name == *(const __u32 *)tls ? context : NULL;
}

/* The keys were taken, which a setsockopt() that came by does not say, and not by the network card:
 * what that is to encrypt passes neither send.bpf.c nor ktls.bpf.c. */
static __always_inline bool is_encrypted(const struct sock *sk)
{
    enum { TLS_SW = 1 };
    const struct tls_context *context = tls_of(sk);

    return context && BPF_CORE_READ_BITFIELD_PROBED(context, tx_conf) == TLS_SW;
}

/* ... of TLS 1.2, who ends whose handshake is encrypted by them. */
static __always_inline bool is_tls12(const struct sock *sk)
{
    const struct tls_context *context = tls_of(sk);

    return context && BPF_CORE_READ(context, prot_info.version) == TLS_1_2_VERSION;
}

/* ... to decrypt by. */
static __always_inline bool is_decrypted(const struct sock *sk)
{
    const struct tls_context *context = tls_of(sk);

    return context && BPF_CORE_READ_BITFIELD_PROBED(context, rx_conf);
}
