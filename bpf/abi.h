/* abi: the border between the kernel programs and the agent.
 *
 * The only header both sides include. Fixed widths, padding by name (map keys are compared as
 * bytes: keep pads zero), byte order stated, sizes asserted where either compiler sees them. */
#pragma once

#include <linux/types.h>

enum {
    /* Counted up when what is shared means something else than before: an agent that finds maps of
     * the same number can read what another build wrote there (proxy/keeper/pins.c). */
    ABI_VERSION = 2,
    ABI_ARGS_MAX = 4096, /* bytes of argv told; Tetragon's limit too */
    ABI_PATH_MAX = 4096, /* a path as the kernel bounds it */
    ABI_DEPTH_MAX = 32,  /* cgroup levels searched for a registered ancestor */
    ABI_PODS_MAX = 4096,
    ABI_NETS_MAX = 4096,
    ABI_ORIGINS_MAX = 65536,    /* connections steered and not yet accepted */
    ABI_ASKERS_MAX = 8192,      /* sockets that ask name servers through us */
    ABI_SYN_MAX = 120,          /* bytes of a SYN's headers: the most that IPv4 and TCP can have */
    ABI_PEERS = 4,              /* destinations that one datagram socket is followed to at a time */
    ABI_PROCESSES_MAX = 131072, /* of all pods, whose programs are noted for policies */
    ABI_RULES_MAX = 2 * ABI_PODS_MAX, /* before a pod's rules go the next ones are there */
    ABI_OTHER_FAMILY = 253,           /* no protocol of IP */
    ABI_MPTCP = 254,                  /* its own number needs more than 8 bits */
    ABI_OTHER_PROTOCOL = 255,
    ABI_BINARY_MAX = 256, /* bytes of a path or of its end that policies can tell apart */
    /* SO_PRIORITY of every agent's listeners, by which other agents know them. It is not inherited
     * by what is accepted, and routes nothing. To set it takes CAP_NET_RAW or CAP_NET_ADMIN, so a
     * pod that has one could mark a server of its own, and what connects to it by an address of
     * the pod's own namespace is left alone and told as direct. Nothing leaves by it unseen: where
     * that server goes on to is a connection of its own. */
    ABI_PRIORITY = 0x53616c6c,
};

/* pods: cgroup id -> how this pod is steered. Written by proxy/pods/pods.c, read by every program.
 */
enum abi_pod_flags {
    ABI_POD_ALL_PORTS = 1 << 0, /* every TCP port, not only those in `ports` */
    ABI_POD_LOOPBACK = 1 << 1,  /* loopback destinations too */
    ABI_POD_OPEN = 1 << 2,      /* no listener: let the connection go unseen, else EPERM */
    /* The kernel route, where no rule says otherwise: */
    ABI_POD_KERNEL = 1 << 3, /* no connection is turned to us, all are read in the kernel */
    ABI_POD_AUTO = 1 << 4,   /* ... those of programs that let the kernel encrypt */
};
struct abi_pod {
    __u32 flags; /* enum abi_pod_flags */
    __u32 rules; /* by which its connects are judged; 0: by none */
};
_Static_assert(sizeof(struct abi_pod) == 8, "abi_pod: see proxy/pods/pods.c");

/* ports: which TCP ports of a pod are steered (presence is all that counts). */
struct abi_port {
    __u64 pod;  /* cgroup id */
    __u16 port; /* host order */
    __u16 pad[3];
};
_Static_assert(sizeof(struct abi_port) == 16, "abi_port: see proxy/pods/pods.c");

/* ---- rules: what the policies of a pod say of a connect ---- */

/* All by a number that abi_pod has: nothing is taken from under it while a pod has it, so a pod
 * goes from one set of rules to the next in one step. Written by proxy/enforce/kernel_rules.c, read
 * by judge.h. A key that is not found leaves the decision to the agent. */
enum abi_rules_flags {
    ABI_RULES_NAMES = 1 << 0, /* what an address was resolved from matters */
    ABI_RULES_AGENT = 1 << 1, /* they are too many for here: the agent decides everything */
};
struct abi_rules {
    __u32 flags; /* enum abi_rules_flags */
    __u32 pad;
    __u64 binaries; /* the lists that they look at */
    __u64 family;   /* ... and of these, those on which an ancestor counts as the process itself */
};
_Static_assert(sizeof(struct abi_rules) == 24, "abi_rules: see proxy/enforce/kernel_rules.c");

/* policy_images: a process of a pod -> on which lists of binaries it is, a bit for each; noted by
 * process.bpf.c, and by the agent where that did not see it begin or knows more lists. */
struct abi_life {
    __u32 pid; /* thread group id, initial namespace */
    __u32 pad;
    __u64 start_ns; /* boot clock */
};
struct abi_image {
    __u64 own;     /* the image it runs */
    __u64 above;   /* those of its ancestors, as they were when they forked */
    __u64 exec_ns; /* when that image began, boot clock; 0: before anybody noted it */
};

/* policy_whos: what is known of a process -> its number among those these rules tell apart. */
struct abi_who {
    __u32 rules;
    __u32 pad;
    __u64 binaries; /* of those that the rules look at: on which it is */
};

/* policy_nets, the longest prefix: address -> number of its class; the class of all that the same
 * rules lead to. */
struct abi_prefix {
    __u32 bits; /* that count: 32 of rules, and those of ip */
    __u32 rules;
    __u8 ip[16];
};
/* policy_names: the same for what was resolved: the first class that holds then, in the order in
 * which their times are over (monotonic clock). "Then" is now, for who connects; and when it was
 * connected, for what is asked over a connection: it goes on with the names that held, or came
 * since. */
struct abi_resolved {
    __u64 pod;
    __u32 rules;
    __u32 pad;
    __u8 ip[16];
};
enum { ABI_CLASSES = 4 };
struct abi_class {
    struct {
        __u64 until_ns; /* 0: there is no further one */
        __u32 class;
        __u32 pad;
    } by[ABI_CLASSES];
};

/* policy_spoken: which names those were: what an agent writes down for the next one, should it be
 * killed; and for the kernel route, where programs say them. */
struct abi_spoken_key {
    __u64 pod;
    __u8 ip[16];
    __u64 name; /* spell_hash() of it, by the key of spell_abouts' first entry */
};
enum { ABI_SPOKEN_RULES = 2 };
struct abi_spoken {
    __u64 until_ns; /* monotonic clock */
    struct {        /* of the pod's rules, now and those before or after */
        __u32 rules;
        __u32 pad;
        __u64 fits; /* which of abi_spelling.named the name fits */
    } by[ABI_SPOKEN_RULES];
    char name[256];
};

/* policy_ports, the longest prefix -> enum abi_verdict. */
enum { ABI_WHERE_BITS = 96, ABI_ANY_CLASS = 0xffffffff, ABI_ANY_PROTOCOL = 0 };
struct abi_where {
    __u32 bits; /* that count: ABI_WHERE_BITS, and those of port */
    __u32 rules;
    __u32 class;
    __u16 who;
    __u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP; ABI_ANY_PROTOCOL with ABI_ANY_CLASS: sockets of
                      other kinds */
    __u8 pad;
    __u8 port[2]; /* network order */
    __u8 pad2[2]; /* never counts */
};
_Static_assert(sizeof(struct abi_where) == 20, "abi_where: see proxy/enforce/kernel_rules.c");
enum abi_verdict {
    ABI_VERDICT_DENY = 1 << 0,
    ABI_VERDICT_RESET = 1 << 1,  /* ... with ECONNREFUSED instead of EPERM */
    ABI_VERDICT_LOOK = 1 << 2,   /* only if it is looked into */
    ABI_VERDICT_AGENT = 1 << 3,  /* not known here: the agent decides, if it is one to look into */
    ABI_VERDICT_TELL = 1 << 4,   /* sockets of other kinds: allowed, but told */
    ABI_VERDICT_HERE = 1 << 5,   /* denied to the pod itself, too, where nobody looks into that */
    ABI_VERDICT_KERNEL = 1 << 6, /* what is allowed is read in the kernel, whatever the program */
    ABI_VERDICT_PROXY = 1 << 7,  /* ... comes to us, whatever the program */
    ABI_VERDICT_SURE = 1 << 8,   /* ... comes to us, whatever the program, unless the route is
                                    ABI_ROUTE_SURE, or the pod is ABI_POD_KERNEL */
    ABI_VERDICT_NEEDS = 1 << 9,  /* ... comes to us, whatever the program, unless the pod is
                                    ABI_POD_KERNEL: what is denied is known too late there */
    ABI_VERDICT_HELLO = 1 << 10, /* of datagrams: only if they begin with a ClientHello, of which
                                    the agent says whether it may */
    ABI_VERDICT_ROUTES =
        ABI_VERDICT_KERNEL | ABI_VERDICT_PROXY | ABI_VERDICT_SURE | ABI_VERDICT_NEEDS,
};

/* policy_exact: path -> the lists that it is on, a bit for each. policy_begins and policy_ends: the
 * same for all paths that begin, or end, so; the end is written backwards. Bytes behind are zero.
 * policy_lists: which there are (0: nothing needs to be noted); and of these, those by the end. */
struct abi_path {
    __u32 bits; /* of text that count; of policy_exact 0 */
    char text[ABI_BINARY_MAX];
};

/* nets: network namespace cookie -> our listeners there, and what the namespace can reach.
 * Written by proxy/keeper/reach.c. One wildcard listener a family, both on the same port; and as
 * many for datagrams as a socket has peers: by the port it was turned to, a datagram tells whom it
 * was for, and by the port it comes from, an answer tells whom it is from. */
enum abi_net_flags {
    ABI_NET_ROUTE4 = 1 << 0, /* it can reach something beyond loopback by IPv4 */
    ABI_NET_ROUTE6 = 1 << 1, /* ... by IPv6 (link-local alone does not count) */
};
struct abi_net {
    __u8 source4[16]; /* the namespace's own address (IPv4-mapped), which programs shall see as
                         their local address; 127.0.0.1 where there is none */
    __u8 source6[16]; /* the same for IPv6; ::1 where there is none */
    __u16 port;       /* the listener's, host order */
    __u16 datagram_ports[ABI_PEERS]; /* likewise, by peer */
    __u16 pad;
    __u32 flags; /* enum abi_net_flags */
};
_Static_assert(sizeof(struct abi_net) == 48, "abi_net: see proxy/keeper/reach.c");

/* own: addresses that belong to a namespace itself, other than loopback. A connect to one never
 * leaves the host, so it is steered only if somebody listens there: it fails as
 * before. */
struct abi_own {
    __u64 netns_cookie;
    __u8 ip[16]; /* IPv4-mapped or IPv6 */
};
_Static_assert(sizeof(struct abi_own) == 24, "abi_own: see proxy/keeper/reach.c");

/* origins: (namespace, source, local) -> where a steered connection meant to go and who made it.
 * Filed by sockops before the SYN leaves, taken once by proxy/doors/origin.c at accept. Without
 * `local` a program could have two connections under one key: it may bind the same source twice,
 * and loopback and own destinations keep their address when they are steered. */
struct abi_tuple {
    __u64 netns_cookie;
    __u8 ip[16];      /* source address, IPv4-mapped or IPv6 */
    __u8 local[16];   /* the address at our listener that was dialled, likewise */
    __u16 port;       /* source port, host order */
    __u16 local_port; /* of a datagram: the listener's that it was turned to; else 0 */
    __u16 pad[2];
};
_Static_assert(sizeof(struct abi_tuple) == 48, "abi_tuple: see proxy/doors/origin.c");

struct abi_origin {
    __u8 ip[16];    /* the destination asked for, IPv4-mapped or IPv6 */
    __u8 bound[16]; /* the source the program bound itself; zero when it left that to the kernel */
    __u16 port;     /* destination port, host order */
    __u16 family;   /* AF_INET or AF_INET6, as the program asked */
    __u32 pid;      /* process (thread group) id in the initial namespace */
    __u64 cookie;   /* socket cookie */
    __u64 pod;      /* cgroup id under which the pod is registered */
    __u64 cgroup;   /* the process's own cgroup id: the pod's, or one below it */
    __u64 netns_cookie;
    __u64 start_ns; /* the process's start (boot clock): pid and start are one process */
    __u64 time_ns;  /* when it called connect (monotonic clock) */
};
_Static_assert(sizeof(struct abi_origin) == 88, "abi_origin: see proxy/doors/origin.c");

/* askers: the same key -> who sends these datagrams to which name server. Filed before each one
 * leaves, dropped by proxy/dns/resolver.c when the socket is gone. */

/* records: ring buffer of what registered pods' processes and their sockets do. Each begins with
 * its kind. */
enum abi_record_kind {
    ABI_PROCESS_EXEC = 1, /* struct abi_process */
    ABI_PROCESS_FORK,
    ABI_PROCESS_EXIT,
    ABI_SOCKET_CONNECT, /* struct abi_socket: its first packet is about to leave */
    ABI_SOCKET_STATS,   /* a long exchange of datagrams goes on */
    ABI_SOCKET_CLOSE,   /* the program has let go of it, or of this destination */
    ABI_SOCKET_DENIED,  /* rules refused it; tx: how many more were not told since the last one */
    ABI_SYN_HELD,      /* struct abi_syn: kept back, for the agent to send on; also repeated ones */
    ABI_SYN_GONE,      /* ... without packet: its socket has given up, or was told */
    ABI_NET_UNKNOWN,   /* struct abi_entered: what would be steered is where nobody listens */
    ABI_SOCKET_ACCEPT, /* struct abi_socket of the kernel route: accepted, src is the pod's side */
    ABI_KTLS,          /* struct abi_ktls: a program hands its keys to the kernel */
    ABI_DATAGRAM,      /* struct abi_datagram: which may have (some of) a ClientHello in it */
    ABI_SOCKET_HELD,   /* struct abi_socket: something that it sent does not leave: `endings` */
};

/* A connection, or the datagrams exchanged with one destination. (cookie, dst) is its key. */
struct abi_socket {
    __u32 kind; /* enum abi_record_kind */
    __u32 pid;  /* whose connect or first datagram it was: thread group id, initial namespace */
    __u64 start_ns;
    __u64 pod, cgroup;
    __u64 netns_cookie;
    __u64 cookie;             /* socket cookie */
    __u64 time_ns;            /* when this happened, boot clock */
    __u8 src[16], dst[16];    /* as the program sees them: IPv4-mapped or IPv6 */
    __u16 src_port, dst_port; /* host order */
    __u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP; of a KIND: any, or an ABI_ one of those beyond */
    __u8 flags;    /* enum abi_socket_flags */
    __u16 error;   /* CLOSE of a connection: the errno it ended with, or 0; DENIED */
    __u64 tx, rx;  /* bytes the program wrote and read so far */
    __u64 lost[2]; /* CLOSE: by enum abi_direction, bytes that were to come up (struct abi_said) and
                      did not, of which no later piece could tell */
    __u64 untold;  /* CLOSE: how many ABI_SAID_DENIED did not */
};
enum abi_socket_flags {
    ABI_SOCKET_STEERED = 1 << 0, /* it comes to one of our listeners */
    ABI_SOCKET_REFUSED = 1 << 1, /* QUIC: its datagrams get EPERM */
    ABI_SOCKET_KIND = 1 << 2,   /* DENIED: for what it is (src_port: its type), not where it goes */
    ABI_SOCKET_UNSEEN = 1 << 3, /* DENIED: it is allowed only if looked into, and cannot be */
    ABI_SOCKET_ALLOWED = 1 << 4, /* DENIED: only told */
    ABI_SOCKET_JUDGED = 1 << 5,  /* by rules */
    ABI_SOCKET_KERNEL = 1 << 6,  /* what it says is read in the kernel: struct abi_said */
    ABI_SOCKET_FIN = 1 << 7, /* CLOSE: the other side had said all, and what it said was heard */
};
_Static_assert(sizeof(struct abi_socket) == 136, "abi_socket: see proxy/sockets.c");

/* A steered connection's SYN (hold.h). */
struct abi_syn {
    __u32 kind; /* enum abi_record_kind */
    __u32 len;  /* of what is filled of packet */
    struct abi_origin origin;
    __u8 packet[ABI_SYN_MAX]; /* from the IP header on; its TCP checksum is not complete */
};
_Static_assert(sizeof(struct abi_syn) == 96 + ABI_SYN_MAX, "abi_syn: see proxy/doors/attempts.c");

/* What a handshake by datagrams (QUIC, DTLS) begins with, as far as its first byte tells; it has
 * left. (cookie, dst) is the key of its exchange (struct abi_exchange). */
enum {
    ABI_DATAGRAM_MAX = 1500,
    ABI_HELLOS_MAX = 8, /* of an exchange, that the agent has not judged */
};
enum abi_datagram_flags {
    ABI_DATAGRAM_HELD = 1 << 0, /* until it is judged nothing else leaves */
    ABI_DATAGRAM_OPEN = 1 << 1, /* one before it was judged, and may go on */
};
struct abi_datagram {
    __u32 kind; /* enum abi_record_kind */
    __u32 len;  /* of what is filled of bytes */
    __u64 pod;
    __u64 cookie;             /* socket cookie */
    __u64 time_ns;            /* boot clock; with the key: which one it is */
    __u8 dst[16];             /* IPv4-mapped or IPv6 */
    __u16 dst_port, src_port; /* host order */
    __u32 rules;              /* the pod's */
    __u32 flags;              /* enum abi_datagram_flags */
    __u32 missed; /* how many more of the pod's were not told since the last one that was */
    __u8 bytes[ABI_DATAGRAM_MAX];
    __u8 pad[4];
};
_Static_assert(sizeof(struct abi_datagram) == 64 + ABI_DATAGRAM_MAX + 4,
               "abi_datagram: see proxy/handshakes/");

/* hellos_judged: exchange -> what became of the latest datagram of it that was told and judged.
 * Written by proxy/handshakes/, read by hello.h. */
struct abi_exchange {
    __u64 cookie;
    __u8 ip[16]; /* dst */
    __u16 port;
    __u16 pad[3];
};
enum abi_judgement {
    ABI_JUDGED_OPEN = 1,
    ABI_JUDGED_DENIED, /* no further datagram leaves, as long as the pod has these rules */
};
struct abi_judged {
    __u64 time_ns; /* the datagram's */
    __u32 rules;   /* likewise */
    __u32 judgement;
};

/* Who is in a network namespace that the agent does not know. */
struct abi_entered {
    __u32 kind;     /* enum abi_record_kind */
    __u32 pid;      /* thread group id, initial namespace */
    __u64 start_ns; /* with pid: the process */
    __u64 pod;
    __u64 netns_cookie;
};
_Static_assert(sizeof(struct abi_entered) == 32, "abi_entered: see proxy/identity/");

struct abi_process {
    __u32 kind;     /* enum abi_record_kind */
    __u32 pid;      /* thread group id, initial namespace */
    __u32 nspid;    /* the same in the process's own pid namespace */
    __u32 ppid;     /* the parent's (for FORK: of the process that called fork) */
    __u64 start_ns; /* group leader's start on the boot clock: pid + start are one process */
    __u64 parent_start_ns;
    __u64 time_ns; /* when this happened, boot clock */
    __u64 cgroup;  /* cgroup id of the process */
    __u64 pod;     /* cgroup id of the registered pod it belongs to */
    __u64 netns_cookie;
    __u32 uid, gid, euid, auid;
    __u64 cap_permitted, cap_effective, cap_inheritable;
    __u32 ns_uts, ns_ipc, ns_mnt, ns_pid, ns_net, ns_cgroup, ns_user, ns_time; /* inode numbers */
    __u32 exit_code; /* EXIT: as wait(2) tells it: status << 8 | signal */
    __u32 flags;     /* enum abi_process_flags */
    /* EXEC: three texts follow each other in `text`, none NUL-terminated except argv's own NULs */
    __u16 path_len; /* the real path of the image, "" when it could not be walked */
    __u16 cwd_len;
    __u16 file_len;                             /* the name given to execve */
    __u16 args_len;                             /* argv, each argument with its NUL */
    __u8 text[3 * ABI_PATH_MAX + ABI_ARGS_MAX]; /* sent only as far as it is filled */
};
enum abi_process_flags {
    ABI_PROCESS_ARGS_CUT = 1 << 0, /* argv was longer than ABI_ARGS_MAX */
    ABI_PROCESS_PATH_CUT = 1 << 1, /* path or cwd lost leading components */
    ABI_PROCESS_DELETED = 1 << 2,  /* the image has no link any more, or never had (memfd) */
};
_Static_assert(__builtin_offsetof(struct abi_process, text) == 152,
               "abi_process: see proxy/identity/");

/* ---- the kernel route ---- */

/* route, one value: what the back-end that was found can do. Written by proxy/kernel/backend.c. */
enum abi_route_flags {
    ABI_ROUTE_PLAIN = 1 << 0, /* sockets are put into `enrolled`, where sk_msg sees what is sent */
    ABI_ROUTE_KTLS = 1 << 1,  /* what the kernel encrypts is seen, too, and can be refused */
    ABI_ROUTE_LEAVE = 1 << 2, /* a socket in a sockhash cannot become kTLS: it leaves with its first
                                 TLS record */
    ABI_ROUTE_SURE = 1 << 3,  /* what may not go of kTLS can neither change once seen nor hide */
    ABI_ROUTE_OLDER = 1 << 4, /* programs of another version are still there: what began while pods
                                 were both's is in their sockhash, and has no room in ours */
};

/* route_counts, by these: written by the programs. */
enum abi_route_count {
    ABI_ROUTE_ENROLLED, /* connections that are heard now, about: past ABI_ENROLLED_MAX no more are
                           begun, and go to the proxy */
    ABI_ROUTE_UNHEARD,  /* ... that were to be heard, and could not */
    ABI_ROUTE_UNTOLD,   /* ABI_SAID_DENIED that did not come up */
    _ABI_ROUTE_COUNT_MAX,
};
enum { ABI_ENROLLED_MAX = 64000 };

/* endings: socket cookie -> a connection of the kernel route that is to end before the programs go
 * (ending.h). Written by the programs, taken by proxy/kernel/ends.c. */
struct abi_ending {
    __u64 netns_cookie, pod;
    __u8 held; /* at once, for something may not leave; else nobody has it open any more */
    __u8 pad[7];
};
_Static_assert(sizeof(struct abi_ending) == 24, "abi_ending: see proxy/kernel/ends.c");

/* ktls_programs: which programs were seen to hand their keys to the kernel. Written by
 * proxy/kernel/programs.c, read by connect. */
struct abi_program {
    __u64 pod;
    __u64 inode;
    __u32 device; /* as the kernel has it: major << 20 | minor */
    __u32 pad;
};
enum abi_program_use {
    ABI_PROGRAM_BYPASSES = 1 << 0, /* its next connections take the kernel route */
    ABI_PROGRAM_HTTP2 = 1 << 1,    /* ... but not where rules judge requests: it speaks HTTP/2 */
};

struct abi_ktls {
    __u32 kind; /* enum abi_record_kind */
    __u32 pid;  /* thread group id, initial namespace */
    __u64 start_ns;
    __u64 pod;
    __u64 cookie; /* the socket's */
    __u64 netns_cookie;
    __u64 time_ns;         /* boot clock */
    __u64 inode;           /* the program's image */
    __u32 device;          /* likewise */
    __u16 version, cipher; /* of struct tls_crypto_info; nothing of the keys behind it is read */
    __u8 direction;        /* enum abi_direction */
    __u8 unread;           /* of the kernel route, and what is encrypted by them cannot be read */
    __u8 pad[6];
};
_Static_assert(sizeof(struct abi_ktls) == 72, "abi_ktls: see proxy/kernel/");

/* spells, the longest prefix (struct abi_where, as policy_ports): what rules say of HTTP there,
 * where one may connect. Not found: every request goes, and bodies are not wanted. Written by
 * proxy/enforce/kernel_spells.c.
 */
enum abi_spelling_flags {
    ABI_SPELL_JUDGED =
        1 << 0,               /* a request goes only if one of `rules` fits, and none of `denies` */
    ABI_SPELL_AGENT = 1 << 1, /* ... but they cannot be spelled here: none goes */
    ABI_SPELL_UNSEEN = 1 << 2,  /* what cannot be read does not go either */
    ABI_SPELL_BODY_TX = 1 << 3, /* policies look into what bodies carry, sent */
    ABI_SPELL_BODY_RX = 1 << 4, /* ... received */
    ABI_SPELL_KILL = 1 << 5,    /* who sends what does not go is killed */
};
struct abi_spelling {
    __u32 row;    /* at which a head begins */
    __u32 flags;  /* enum abi_spelling_flags */
    __u64 rules;  /* those that are about this place, a bit each */
    __u64 named;  /* ... of these, those that want the host to be a name its address was resolved
                     from (policy_spoken) */
    __u64 denies; /* those that deny what they fit */
    __u64 tls;    /* of all these, those that fit only what is encrypted */
};
_Static_assert(sizeof(struct abi_spelling) == 40, "abi_spelling: see bpf/spell.h");

/* said: ring buffer of what is said on the kernel route, in plain text, in each direction's order.
 */
enum abi_direction { ABI_TX, ABI_RX, ABI_DIRECTIONS };
enum abi_said_kind {
    ABI_SAID_BYTES = 1, /* len bytes are here */
    ABI_SAID_DENIED,    /* likewise, but they did not go; the last bytes of what is told of it */
};
enum abi_said_flags {
    ABI_SAID_KTLS = 1 << 0,    /* the kernel encrypts, or decrypted, it */
    ABI_SAID_BEGINS = 1 << 1,  /* a head begins with the first byte */
    ABI_SAID_UNSEEN = 1 << 2,  /* DENIED: for it cannot be read */
    ABI_SAID_RECORDS = 1 << 3, /* TLS records as the program made them itself */
    ABI_SAID_AGAIN = 1 << 4,   /* DENIED: these, or some of them, were told when they were said */
    ABI_SAID_HELD = 1 << 5,    /* DENIED: as they left: no send fails, the connection ends */
    ABI_SAID_SPLICED = 1 << 6, /* DENIED: for pages were to be sent, which can still change */
};
enum { ABI_SAID_MAX = 16384 };
struct abi_said {
    __u16 kind;     /* enum abi_said_kind */
    __u8 direction; /* enum abi_direction */
    __u8 flags;     /* enum abi_said_flags */
    __u32 pid;      /* who sends it: thread group id; 0: received */
    __u64 cookie;   /* the socket's */
    __u64 time_ns;  /* boot clock */
    __u64 skipped;  /* bytes before these that are of no interest: within a body, the end of which
                       is not among them */
    __u64 lost;     /* bytes before these that should have come: the ring was full, ... */
    __u32 len;
    __u32 before; /* DENIED: so many bytes before these, told or skipped, did not go either */
    __u8 bytes[ABI_SAID_MAX]; /* sent only as far as it is filled */
};
_Static_assert(__builtin_offsetof(struct abi_said, bytes) == 48, "abi_said: see proxy/kernel/");
