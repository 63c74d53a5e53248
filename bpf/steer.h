/* steer: addresses, and IPv6's headers, as the steering programs handle them.
 *
 * One form for both families, IPv4 as ::ffff:a.b.c.d, in words as the kernel's contexts give them.
 * Context fields are read one 32-bit word at a time, once, at the top: clang merges neighbouring
 * reads into 64-bit ones and folds `cond ? ctx->a : ctx->b` into one read at a computed offset, and
 * the verifier refuses both. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* <sys/socket.h> and <net/ethernet.h> need a libc for the target */
enum { AF_INET = 2, AF_INET6 = 10, ETH_P_IP = 0x0800 };

/* What a cgroup program returns; the verifier wants to see that it is one of the two. */
enum { REFUSE = 0, ALLOW = 1 };

#define WORD(field) (*(volatile __u32 *)&(field))
#define SOCK(ctx)   (*(struct bpf_sock *volatile *)&(ctx)->sk)

struct ip {
    __u32 word[4]; /* network order */
};

static __always_inline struct ip ip_of_v4(__u32 address)
{
    return (struct ip){{0, 0, bpf_htonl(0xffff), address}};
}

/* From or to the four words of a context, which is a macro's work: the compiler must not see an
 * array it could copy at once. */
#define IP_READ(words)                                                                             \
    ((struct ip){{WORD((words)[0]), WORD((words)[1]), WORD((words)[2]), WORD((words)[3])}})
#define IP_WRITE(words, ip)                                                                        \
    do {                                                                                           \
        WORD((words)[0]) = (ip).word[0];                                                           \
        WORD((words)[1]) = (ip).word[1];                                                           \
        WORD((words)[2]) = (ip).word[2];                                                           \
        WORD((words)[3]) = (ip).word[3];                                                           \
    } while (0)

static __always_inline void ip_store(__u8 *to, const struct ip *ip)
{
    __builtin_memcpy(to, ip, sizeof(*ip));
}

static __always_inline struct ip ip_load(const __u8 *from)
{
    struct ip ip;

    __builtin_memcpy(&ip, from, sizeof(ip));
    return ip;
}

/* Without a branch for each word: the verifier follows every one. */
static __always_inline bool ip_equal(const struct ip *a, const struct ip *b)
{
    return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
             (a->word[3] ^ b->word[3]));
}

static __always_inline bool ip_is_v4(const struct ip *ip)
{
    return !(ip->word[0] | ip->word[1] | (ip->word[2] ^ bpf_htonl(0xffff)));
}

/* The address that means "none" or "any": 0.0.0.0, also as mapped, or ::. */
static __always_inline bool ip_is_any(const struct ip *ip)
{
    return !ip->word[0] && !ip->word[1] && !ip->word[3] &&
           (!ip->word[2] || ip->word[2] == bpf_htonl(0xffff));
}

static __always_inline bool ip_is_loopback(const struct ip *ip)
{
    if (ip_is_v4(ip))
        return bpf_ntohl(ip->word[3]) >> 24 == 127;
    return !ip->word[0] && !ip->word[1] && !ip->word[2] && ip->word[3] == bpf_htonl(1);
}

/* Broadcast, multicast. */
static __always_inline bool ip_is_of_many(const struct ip *ip)
{
    __u32 v4 = bpf_ntohl(ip->word[3]);

    if (ip_is_v4(ip))
        return v4 >> 28 == 0xe || v4 == 0xffffffff;
    return bpf_ntohl(ip->word[0]) >> 24 == 0xff;
}

enum { V6_EXTENSIONS_MAX = 4 };

/* Where the header of this kind begins in a packet of IPv6, `next` being the kind of what follows
 * the first one; 0: it does not come, or not soon. The kernel itself puts a header before TCP's
 * where a packet is to be cut later, and programs may have others put there. */
static __always_inline __u32 find_v6(struct __sk_buff *skb, __u8 next, __u8 wanted)
{
    __u32 at = sizeof(struct ipv6hdr);

    for (int i = 0; i < V6_EXTENSIONS_MAX && next != wanted; i++) {
        __u8 extension[2]; /* what follows; how long, in units of eight bytes without the first */

        if ((next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) ||
            bpf_skb_load_bytes(skb, at, extension, sizeof(extension)))
            return 0;
        next = extension[0];
        at += (extension[1] + 1) * 8;
    }
    return next == wanted ? at : 0;
}
