// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* What the programs of l2tp.bpf.c share with user space: the maps and what is in them.
 *
 * User space writes sessions and the maps that lead to them; the programs write counters and
 * buckets, which user space resets when a slot gets a new session. layout.py knows the same, and a
 * test compares them. */
#ifndef L2TP_BPF_H
#define L2TP_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Flags of a session. */
#define PUNT 1           /* every packet goes through user space, both ways */
#define ADDRESS_CONTROL 2 /* downwards PPP has FF 03 */
#define HAS_NETWORKS 4   /* it has Framed-Routes: see the map of that name */
#define SNOOPED 8        /* each packet is copied: see `intercepts` */
#define ECHO 16          /* LCP Echo-Requests are answered */
#define THROTTLED 32     /* see `details` */
#define FILTERED 64      /* see `filters` */

/* The times of a session are CLOCK_MONOTONIC nanoseconds without these bits: 67 ms. */
#define TIME_SHIFT 26

/* A throttled session may send this much ahead of its rate: more than the 200 ms for which TCP is
 * silent when a whole window was lost, or its credit would run over each time. */
#define BURST_NS 250000000ULL
#define RATE_SHIFT 10
/* While packets are dropped, what a silent moment left unused may be made up for: TCP that loses a
 * whole window, and then what it sends again, is silent for 600 ms. Over any longer time nobody has
 * more than his rate. */
#define ARREARS_NS 800000000ULL
#define ARREARS_TIME 22 /* after a drop, in units of TIME_SHIFT: a second and a half */

struct settings {
	__u32 tun_ifindex;
	__u32 sessions;  /* how many there can be: the stride of `sessions` and `totals` */
	__be16 l2tp_port;
	__u16 layout;    /* of these maps: LAYOUT of layout.py */
	__u32 cookie;    /* the mark of packets that are copies, within the TUN device; never 0 */
	__u32 many_paths; /* whether the way to a host may depend on who sends */
	__u32 unused;
	__u64 direct_until; /* CLOCK_MONOTONIC nanoseconds: until then packets may pass by the IP
			     * stack, since nothing there would look at them */
};

/* One session as one CPU has it: what user space wrote, the same for each CPU, and what this CPU
 * counted. Two of them share a cache line, and all of 60,000 fit the cache of a CPU: this is what
 * forwarding costs when each packet is another session's. Addresses are in network order. */
struct session {
	__u16 tunnel_id; /* ours; 0 while the slot is not valid */
	__be16 peer_session_id;
	__be32 address;  /* the subscriber's; 0 while its network is down */
	__u16 lac;       /* index into `lacs` */
	__u16 flags;

	__u16 packets_in; /* since they were last carried over to `totals` */
	__u16 packets_out;
	__u32 octets_in;
	__u32 octets_out;
	__u32 heard;     /* last message of any kind from the LAC */
	__u32 data;      /* last packet forwarded */
};

/* Beyond these, what a session counted is carried over. */
#define CARRY_PACKETS 0x8000
#define CARRY_OCTETS 0x80000000U

/* What a session counted on one CPU until it was last carried over. */
struct totals {
	__u64 packets_in;
	__u64 octets_in;
	__u64 packets_out;
	__u64 octets_out;
	__u64 turn;      /* odd while something is carried over */
};

/* A LAC's end of a tunnel, the way to it, and what sessions take that are alike. */
struct lac {
	__be32 peer;
	__be32 local;    /* ours, that the LAC talks to */
	__be32 gateway;  /* next hop, which may be the LAC; 0 to ask the routing table */
	__u32 ifindex;   /* to the LAC; 0 to ask the routing table for every packet */
	__be16 peer_port;
	__be16 peer_tunnel_id;
	__u16 mru;
	__u16 clamp_mss; /* largest TCP MSS that passes; 0 for any */
};

/* What few packets need to know of a session. The token buckets are the times at which they will be
 * full again. All CPUs share them. */
struct details {
	__u64 cost_in;   /* nanoseconds per octet << RATE_SHIFT; 0 for no throttle */
	__u64 cost_out;
	__u64 full_in;
	__u64 full_out;
	__u32 dropped_in; /* packets */
	__u32 dropped_out;
	__be32 magic;    /* our LCP Magic-Number */
	__u32 dropped_in_at; /* the last one */
	__u32 dropped_out_at;
	__u32 unused;
};

/* What became of packets that did not simply pass, for `statistics`; layout.py has the names. */
enum outcome {
	UP_CONTROL,
	UP_HEADER,
	UP_FRAGMENT,
	UP_SUPER_PACKET,
	UP_UNKNOWN_SESSION,
	UP_OTHER_ADDRESS,
	UP_NOT_IPV4,
	UP_NETWORK_DOWN,
	UP_FLAGGED,
	UP_IP_OPTIONS,
	UP_SOURCE_UNSURE,
	UP_WRONG_PEER,
	UP_PACKET_ERROR,
	UP_SPOOFED,
	UP_THROTTLED,
	UP_FAILED,
	UP_ECHO,
	DOWN_NOT_PLAIN,
	DOWN_NO_SESSION,
	DOWN_FLAGGED,
	DOWN_TOO_BIG,
	DOWN_SUPER_PACKET,
	DOWN_LINK_MTU,
	DOWN_NO_ROUTE,
	DOWN_THROTTLED,
	DOWN_FAILED,
	MSS_CLAMPED,
	PACKETS_SNOOPED,
	SNOOP_FAILURES,
	COPIES_TO_USER_SPACE,
	UP_FILTERED,
	DOWN_FILTERED,
	OUTCOMES
};

/* Where the copies of a session's packets go, and from where they come. */
struct intercept {
	__be32 target;
	__be32 source;
	__be16 target_port;
	__be16 source_port;
};

struct target {
	__be32 address;
	__be16 port;
	__u16 unused;
};

struct network {
	__u32 prefix_length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Slot by session id: the ids that we give out are unique over all tunnels. What is found is not
 * sure to be the session; its tunnel tells. */
struct slots_of_ids {
	__u16 slot[1 << 16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct slots_of_ids);
} slots SEC(".maps");

/* Slot by subscriber's address. Pools are dense: a /24 network with subscribers has a block, which
 * costs two octets for each address and not two cache lines as in a hash map. Again what is found
 * is not sure to be the session; its address tells. */
struct block {
	__u16 slot[1 << 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __be32);
	__type(value, __u32);
} directory SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct block);
} blocks SEC(".maps");

/* Slot by subscriber's address, where there was no block left. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, __u32);
} addresses SEC(".maps");

/* Slot by Framed-Route. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u32);
} networks SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct intercept);
} intercepts SEC(".maps");

/* All targets, and how many sessions are copied to each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct target);
	__type(value, __u32);
} targets SEC(".maps");

/* User space maps these arrays into its memory, to read and write without system calls.
 *
 * By cpu * settings.sessions + slot: no CPU writes where another does, and what one CPU needs of
 * many sessions lies on few pages. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct lac);
} lacs SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct details);
} details SEC(".maps");

/* A way to a host, found in the routing table a moment ago. */
struct way {
	__be32 host;
	__be32 source;   /* of the packets; 0 when it makes no difference */
	__u32 from;      /* the interface that received them */
	__u32 ifindex;   /* that they leave by; 0 in an entry that was never used */
	__be32 gateway;
	__u32 mtu;
	__u64 until;     /* CLOCK_MONOTONIC nanoseconds */
};

#define WAYS 1024    /* a power of two */
#define WAY_NS 50000000ULL

/* By a hash of the host. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

/* What passed. User space reads it as an array, layout.py has the names. */
struct traffic {
	__u64 up_packets;
	__u64 up_octets;
	__u64 up_direct;
	__u64 down_packets;
	__u64 down_octets;
	__u64 down_direct;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

/* What became of the others, by enum outcome. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} statistics SEC(".maps");

#endif
