// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The fast path of the LNS: subscribers' IPv4 packets between L2TPv2 (RFC 2661) and the routing of
 * this host, without a detour through user space.
 *
 *   l2tp_up    at the tc ingress of an interface that faces LACs:
 *              Ethernet | IPv4 | UDP | L2TP | PPP | packet   ->   packet, as if received by the TUN
 *   l2tp_down  at the tc egress of the TUN device:
 *              packet   ->   IPv4 | UDP | L2TP | PPP | packet, out of the interface to the LAC
 *
 * The rule for everything here: a packet that is not understood in full goes on untouched ("punt").
 * Upwards that means that the kernel delivers it to the UDP socket, downwards that it can be read
 * from the TUN device; both are the user-space plane, which knows all cases. What is dropped here,
 * that plane would drop as well, for the same reason and under the same name.
 *
 * User space writes sessions and the maps that lead to them; the programs write counters and
 * buckets, which user space resets when a slot gets a new session. layout.py knows the layouts, and a
 * test compares them. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define DEFAULT_TTL 64
#define PLAIN_HEADER 0x45 /* IPv4, no options */
#define FRAGMENT 0x3fff   /* more fragments, or an offset */
#define OFFSET 0x1fff

/* L2TP flags (RFC 2661 section 3.1). The priority bit and the reserved ones change nothing. */
#define T_BIT 0x8000
#define L_BIT 0x4000
#define S_BIT 0x0800
#define O_BIT 0x0200
#define VERSION 0x0002
#define FORM (T_BIT | L_BIT | S_BIT | O_BIT | 0x000f)
#define SHORT_HEADER 6
#define LONG_HEADER 8

#define PPP_ADDRESS_CONTROL 0xff03
#define PPP_IPV4 0x0021
#define PPP_LONG 4 /* FF 03 00 21 */
#define PPP_SHORT 2 /* 00 21: address and control field left out (RFC 1661 section 6.6) */

#define OUTER (sizeof(struct iphdr) + sizeof(struct udphdr))
/* The most that l2tp_up looks at: with the L bit, a long PPP header and the inner IP header. */
#define HEADERS (ETH_HLEN + OUTER + LONG_HEADER + PPP_LONG + sizeof(struct iphdr))

#define END_OF_OPTIONS 0
#define NO_OPERATION 1
#define MSS_OPTION 2
#define MSS_OPTION_LENGTH 4
#define MAX_TCP_OPTIONS 40

/* Flags of a session. */
#define PUNT 1           /* every packet goes through user space, both ways */
#define ADDRESS_CONTROL 2 /* downwards PPP has FF 03 */
#define HAS_NETWORKS 4   /* it has Framed-Routes: see the map of that name */

/* A throttled session may send this much ahead of its rate: more than the 200 ms for which TCP is
 * silent when a whole window was lost, or its credit would run over each time. */
#define BURST_NS 250000000ULL
#define RATE_SHIFT 10
#define TRIES 4

struct settings {
	__u32 tun_ifindex;
	__u32 cpus;      /* possible CPUs: the stride of `counters` */
	__be16 l2tp_port;
	__u16 layout;    /* of these maps: LAYOUT of layout.py */
	__u32 unused;
};

/* One session, written by user space. Addresses are in network order. */
struct session {
	__u32 key;       /* our tunnel id << 16 | our session id; 0 while the slot is not valid */
	__be32 address;  /* the subscriber's; 0 while its network is down */
	__be32 peer;     /* the LAC */
	__be32 local;    /* ours, that the LAC talks to */
	__be16 peer_port;
	__be16 peer_tunnel_id;
	__be16 peer_session_id;
	__u16 mru;
	__u16 clamp_mss; /* largest TCP MSS that passes; 0 for any */
	__u16 flags;
	__u32 ifindex;   /* to the LAC; 0 to ask the routing table for every packet */
	__u64 cost_in;   /* nanoseconds per octet << RATE_SHIFT; 0 for no throttle */
	__u64 cost_out;
	__be32 gateway;  /* next hop to the LAC, which may be the LAC; 0 to ask the routing table */
	__u32 unused[3];
};

/* The two token buckets of a session, as the times at which they will be full again. */
struct bucket {
	__u64 full_in;
	__u64 full_out;
};

/* What one CPU saw of a session; a cache line. Times are CLOCK_MONOTONIC nanoseconds. */
struct counters {
	__u64 packets_in;
	__u64 octets_in;
	__u64 packets_out;
	__u64 octets_out;
	__u64 heard;     /* last message of any kind from the LAC */
	__u64 data_in;   /* last packet forwarded upwards */
	__u64 data_out;
	__u64 throttled; /* packets dropped, both ways */
};

/* What became of packets, for `statistics`; layout.py has the names. */
enum outcome {
	UP_FORWARDED,
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
	DOWN_FORWARDED,
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
	UP_OCTETS,
	DOWN_OCTETS,
	OUTCOMES
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

/* Slot by session key. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} keys SEC(".maps");

/* Slot by subscriber's address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
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

/* User space maps the following arrays into its memory: it reads and writes without system calls. */
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
	__type(value, struct bucket);
} buckets SEC(".maps");

/* By slot * settings.cpus + cpu, so that no CPU writes where another does. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} statistics SEC(".maps");

static __always_inline int counted(__u32 outcome, int verdict)
{
	__u64 *count = bpf_map_lookup_elem(&statistics, &outcome);

	if (count)
		++*count;
	return verdict;
}

static __always_inline void add(__u32 outcome, __u32 octets)
{
	__u64 *sum = bpf_map_lookup_elem(&statistics, &outcome);

	if (sum)
		*sum += octets;
}

/* To the next program of the interface, if there is one, and then the usual way. */
static __always_inline int punt(__u32 outcome)
{
	return counted(outcome, TC_ACT_UNSPEC);
}

static __always_inline int drop(__u32 outcome)
{
	return counted(outcome, TC_ACT_SHOT);
}

static __always_inline struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline struct counters *counters_of(__u32 slot, const struct settings *set)
{
	__u32 index = slot * set->cpus + bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&counters, &index);
}

/* Whether a packet must go because its session is over its rate. The bucket is not a level but the
 * time at which it will be full, so that one compare-and-swap keeps it right on any number of CPUs.
 * From a full one anything passes, or a super-packet larger than the burst never would. */
static __always_inline int over_rate(__u64 *full, __u64 cost, __u32 octets)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 price = cost * octets >> RATE_SHIFT;

	for (int i = 0; i < TRIES; i++) {
		__u64 seen = *(volatile __u64 *)full;
		__u64 from = seen > now ? seen : now;

		if (from > now && from - now + price > BURST_NS)
			return 1;
		if (__sync_val_compare_and_swap(full, seen, from + price) == seen)
			return 0;
	}
	return 0; /* other CPUs charge it right now; one packet for free */
}

/* Lower the MSS option of a TCP SYN to `limit`. `ip_at` is where the IP header (without options)
 * begins. 0 when that is done or not needed. Not static, so that the verifier checks it once, and not
 * again for each way that leads here. */
__noinline int clamp_mss(struct __sk_buff *skb, __u32 ip_at, __u32 limit)
{
	__u32 tcp_at = ip_at + sizeof(struct iphdr);
	__u32 at = tcp_at + sizeof(struct tcphdr), end, sum_at;
	__u8 option[MSS_OPTION_LENGTH];
	struct tcphdr tcp;
	__be16 from, to;
	__u16 mss;

	if (bpf_skb_load_bytes(skb, tcp_at, &tcp, sizeof(tcp)) || !tcp.syn)
		return 0;
	end = tcp_at + tcp.doff * 4;
	if (end > skb->len)
		end = skb->len;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_TCP_OPTIONS; i++) {
		/* Nothing that is shorter can be the option or have it behind it. */
		if (at + sizeof(option) > end || bpf_skb_load_bytes(skb, at, option, sizeof(option)))
			return 0;
		if (option[0] == END_OF_OPTIONS)
			return 0;
		if (option[0] == MSS_OPTION)
			break;
		if (option[0] == NO_OPERATION) {
			at++;
			continue;
		}
		if (option[1] < 2)
			return 0;
		at += option[1];
	}
	mss = option[2] << 8 | option[3];
	if (option[0] != MSS_OPTION || option[1] != MSS_OPTION_LENGTH || mss <= limit)
		return 0;
	from = bpf_htons(mss);
	to = bpf_htons(limit);
	if (bpf_skb_store_bytes(skb, at + 2, &to, sizeof(to), 0))
		return -1;
	if ((at - tcp_at) & 1) { /* the value lies across two words of the sum */
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	sum_at = tcp_at + __builtin_offsetof(struct tcphdr, check);
	if (bpf_l4_csum_replace(skb, sum_at, from, to, sizeof(to)))
		return -1;
	return counted(MSS_CLAMPED, 0);
}

/* Whether a session may send from an address that is not the subscriber's own. */
static __always_inline int network_owner(__be32 address, __u32 *slot)
{
	struct network key = { .prefix_length = 32, .address = address };
	__u32 *found = bpf_map_lookup_elem(&networks, &key);

	if (!found)
		return 0;
	*slot = *found;
	return 1;
}

/* Whether the checksum of an IP header without options is wrong. */
static __always_inline int damaged(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (int i = 0; i < (int)(sizeof(*ip) / 2); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)(sum + (sum >> 16)) != 0xffff;
}

SEC("tc")
int l2tp_up(struct __sk_buff *skb)
{
	void *data, *end;
	struct settings *set = get_settings();
	struct counters *count;
	struct session *session;
	struct bucket *bucket;
	struct ethhdr *eth;
	struct iphdr *outer, *inner;
	struct udphdr *udp;
	__be16 *words;
	__u32 key, *slot, strip, room, total, owner;
	__u16 flags, datagram;
	int syn = 0;

	if (!set || skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if ((void *)(long)skb->data + HEADERS > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	eth = data;
	outer = (void *)(eth + 1);
	udp = (void *)(outer + 1);
	words = (void *)(udp + 1);
	if ((void *)words + SHORT_HEADER + PPP_SHORT > end)
		return TC_ACT_UNSPEC;

	/* The envelope: a datagram to our L2TP port. Options, fragments and damaged headers are left to
	 * the kernel. The UDP checksum is not looked at: the packet within has its own. */
	if (outer->protocol != IPPROTO_UDP || *(__u8 *)outer != PLAIN_HEADER ||
	    udp->dest != set->l2tp_port || skb->pkt_type != 0)
		return TC_ACT_UNSPEC;
	if (outer->frag_off & bpf_htons(FRAGMENT))
		return punt(UP_FRAGMENT);
	datagram = bpf_ntohs(udp->len);
	if (datagram < sizeof(*udp) + LONG_HEADER ||
	    datagram + sizeof(*outer) > bpf_ntohs(outer->tot_len) ||
	    bpf_ntohs(outer->tot_len) + ETH_HLEN > skb->len || damaged(outer))
		return punt(UP_HEADER);

	/* The L2TP header: a data message, with or without a length. */
	flags = bpf_ntohs(words[0]) & FORM;
	room = datagram - sizeof(*udp);
	strip = OUTER + SHORT_HEADER;
	if (flags & T_BIT)
		return punt(UP_CONTROL);
	if (flags == (L_BIT | VERSION)) {
		__u16 length = bpf_ntohs(words[1]);

		if (length < LONG_HEADER || length > room)
			return punt(UP_HEADER);
		room = length - LONG_HEADER;
		strip += LONG_HEADER - SHORT_HEADER;
		words++;
	} else if (flags == VERSION) {
		room -= SHORT_HEADER;
	} else {
		return punt(UP_HEADER);
	}
	if ((void *)(words + 5) > end)
		return punt(UP_HEADER);
	/* Several messages in one super-packet (UDP_SEGMENT, rx-udp-gro-forwarding) are not one. */
	if (skb->gso_size)
		return punt(UP_SUPER_PACKET);

	key = (__u32)bpf_ntohs(words[1]) << 16 | bpf_ntohs(words[2]);
	slot = bpf_map_lookup_elem(&keys, &key);
	if (!slot)
		return punt(UP_UNKNOWN_SESSION);
	session = bpf_map_lookup_elem(&sessions, slot);
	if (!session || session->key != key)
		return punt(UP_UNKNOWN_SESSION);
	if (outer->daddr != session->local)
		return punt(UP_OTHER_ADDRESS);
	if (session->flags & PUNT)
		return punt(UP_FLAGGED);
	if (outer->saddr != session->peer)
		return drop(UP_WRONG_PEER);
	count = counters_of(*slot, set);
	if (!count)
		return drop(UP_FAILED);
	count->heard = bpf_ktime_get_coarse_ns();

	/* The PPP header. */
	words += 3;
	if (room >= PPP_LONG && words[0] == bpf_htons(PPP_ADDRESS_CONTROL)) {
		words++;
		strip += PPP_LONG;
		room -= PPP_LONG;
	} else if (room >= PPP_SHORT) {
		strip += PPP_SHORT;
		room -= PPP_SHORT;
	} else {
		return punt(UP_NOT_IPV4);
	}
	if (words[0] != bpf_htons(PPP_IPV4))
		return punt(UP_NOT_IPV4);
	if (!session->address)
		return punt(UP_NETWORK_DOWN);

	/* The subscriber's packet. */
	if (room < sizeof(*inner))
		return drop(UP_PACKET_ERROR);
	inner = (void *)(words + 1);
	if ((void *)(inner + 1) > end)
		return punt(UP_HEADER);
	total = bpf_ntohs(inner->tot_len);
	if (*(__u8 *)inner != PLAIN_HEADER) {
		if (inner->version == 4 && inner->ihl > 5)
			return punt(UP_IP_OPTIONS);
		return drop(UP_PACKET_ERROR);
	}
	if (total > room || total < sizeof(*inner))
		return drop(UP_PACKET_ERROR);
	if (inner->saddr != session->address) {
		if (!(session->flags & HAS_NETWORKS))
			return drop(UP_SPOOFED);
		if (!network_owner(inner->saddr, &owner))
			return drop(UP_SPOOFED);
		if (owner != *slot) /* a network within another's: user space compares them all */
			return punt(UP_SOURCE_UNSURE);
	}
	if (session->cost_in) {
		bucket = bpf_map_lookup_elem(&buckets, slot);
		if (bucket && over_rate(&bucket->full_in, session->cost_in, total)) {
			count->throttled++;
			return drop(UP_THROTTLED);
		}
	}
	syn = inner->protocol == IPPROTO_TCP && session->clamp_mss &&
	      !(inner->frag_off & bpf_htons(OFFSET));

	/* Out of the envelope, and padding off. */
	if (bpf_skb_adjust_room(skb, -(__s32)strip, BPF_ADJ_ROOM_MAC, 0))
		return drop(UP_FAILED);
	if (skb->len > ETH_HLEN + total && bpf_skb_change_tail(skb, ETH_HLEN + total, 0))
		return drop(UP_FAILED);
	/* Only now: while the outer checksum was still to be filled in, the kernel would have taken
	 * the inner one for done. */
	if (syn && clamp_mss(skb, ETH_HLEN, session->clamp_mss))
		return drop(UP_FAILED);
	bpf_set_hash_invalid(skb); /* that was the tunnel's; flows are told apart by the packet */
	count->packets_in++;
	count->octets_in += total;
	add(UP_OCTETS, total);
	count->data_in = count->heard;
	return counted(UP_FORWARDED, bpf_redirect(set->tun_ifindex, BPF_F_INGRESS));
}

/* What goes before a packet to a subscriber. */
struct envelope {
	struct iphdr ip;
	struct udphdr udp;
	__be16 flags;
	__be16 tunnel_id;
	__be16 session_id;
	__be16 ppp[2];
} __attribute__((packed));

#define LONG_ENVELOPE sizeof(struct envelope)
#define SHORT_ENVELOPE (LONG_ENVELOPE - PPP_LONG + PPP_SHORT)

static __always_inline void fill(struct envelope *out, const struct session *session,
				 const struct settings *set, __u32 length)
{
	__u32 sum;

	out->ip.version = 4;
	out->ip.ihl = 5;
	out->ip.tot_len = bpf_htons(length);
	out->ip.id = bpf_get_prandom_u32(); /* DF is clear: a router on the way may fragment */
	out->ip.ttl = DEFAULT_TTL;
	out->ip.protocol = IPPROTO_UDP;
	out->ip.saddr = session->local;
	out->ip.daddr = session->peer;
	sum = bpf_csum_diff(0, 0, (void *)out, sizeof(out->ip), 0);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	out->ip.check = ~sum;
	out->udp.source = set->l2tp_port;
	out->udp.dest = session->peer_port;
	out->udp.len = bpf_htons(length - sizeof(out->ip));
	out->udp.check = 0; /* none (RFC 2661 section 8.1 allows it): the packet has its own */
	out->flags = bpf_htons(VERSION);
	out->tunnel_id = session->peer_tunnel_id;
	out->session_id = session->peer_session_id;
	if (session->flags & ADDRESS_CONTROL) {
		out->ppp[0] = bpf_htons(PPP_ADDRESS_CONTROL);
		out->ppp[1] = bpf_htons(PPP_IPV4);
	} else {
		out->ppp[0] = bpf_htons(PPP_IPV4);
	}
}

/* Put the envelope around the packet. The flags tell the kernel how to cut a TCP super-packet
 * later: each segment gets all of it. No L2TP length field for that reason: it would be the same in all.
 * Both calls are spelled out since the verifier wants lengths that are constant. */
static __always_inline int wrap(struct __sk_buff *skb, const struct envelope *out, int is_long)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 |
			    BPF_F_ADJ_ROOM_ENCAP_L4_UDP;

	if (is_long) {
		if (bpf_skb_adjust_room(skb, LONG_ENVELOPE, BPF_ADJ_ROOM_MAC,
					flags | BPF_F_ADJ_ROOM_ENCAP_L2(LONG_ENVELOPE - OUTER)))
			return -1;
		if (bpf_skb_store_bytes(skb, 0, out, LONG_ENVELOPE, 0))
			return -1;
	} else {
		if (bpf_skb_adjust_room(skb, SHORT_ENVELOPE, BPF_ADJ_ROOM_MAC,
					flags | BPF_F_ADJ_ROOM_ENCAP_L2(SHORT_ENVELOPE - OUTER)))
			return -1;
		if (bpf_skb_store_bytes(skb, 0, out, SHORT_ENVELOPE, 0))
			return -1;
	}
	/* bpf_redirect_neigh() drops a packet of a device without MAC addresses that has no room for
	 * one. */
	return bpf_skb_change_head(skb, ETH_HLEN, 0);
}

struct hop {
	__u32 ifindex;
	__be32 gateway;
};

/* The way to the LAC; without an interface where there is none. */
static __always_inline void find_hop(struct __sk_buff *skb, const struct session *session,
				     struct hop *hop)
{
	struct bpf_fib_lookup route = {};
	long found;

	route.family = AF_INET;
	route.l4_protocol = IPPROTO_UDP;
	route.ipv4_src = session->local;
	route.ipv4_dst = session->peer;
	route.ifindex = skb->ifindex;
	found = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return;
	hop->ifindex = route.ifindex;
}

/* Off to the neighbour. With a next hop the kernel need not look for the route once more. */
static __always_inline int send(const struct hop *hop)
{
	struct bpf_redir_neigh neighbour = { .nh_family = AF_INET };

	if (!hop->gateway)
		return bpf_redirect_neigh(hop->ifindex, 0, 0, 0);
	neighbour.ipv4_nh = hop->gateway;
	return bpf_redirect_neigh(hop->ifindex, &neighbour, sizeof(neighbour), 0);
}

SEC("tc")
int l2tp_down(struct __sk_buff *skb)
{
	void *data, *end;
	struct settings *set = get_settings();
	struct envelope out = {};
	struct counters *count;
	struct session *session;
	struct bucket *bucket;
	struct iphdr *ip;
	__u32 *found, slot, size, largest, segments = 1, octets, mtu = 0, wrapping;
	struct hop hop;

	if (!set)
		return TC_ACT_UNSPEC;
	if ((void *)(long)skb->data + sizeof(*ip) > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, sizeof(*ip));
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data;
	size = skb->len;
	if ((void *)(ip + 1) > end || skb->protocol != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)ip != PLAIN_HEADER || bpf_ntohs(ip->tot_len) != size)
		return punt(DOWN_NOT_PLAIN);

	found = bpf_map_lookup_elem(&addresses, &ip->daddr);
	if (found)
		slot = *found;
	else if (!network_owner(ip->daddr, &slot))
		return punt(DOWN_NO_SESSION);
	session = bpf_map_lookup_elem(&sessions, &slot);
	if (!session || !session->key || (found && session->address != ip->daddr))
		return punt(DOWN_NO_SESSION);
	if (session->flags & PUNT)
		return punt(DOWN_FLAGGED);

	/* How large the packets are, and how many: a super-packet is cut behind this program. */
	largest = octets = size;
	if (skb->gso_size) {
		__u32 headers = sizeof(*ip);
		struct tcphdr tcp;

		if (ip->protocol != IPPROTO_TCP ||
		    bpf_skb_load_bytes(skb, sizeof(*ip), &tcp, sizeof(tcp)))
			return punt(DOWN_SUPER_PACKET);
		headers += tcp.doff * 4;
		if (size <= headers)
			return punt(DOWN_SUPER_PACKET);
		segments = (size - headers + skb->gso_size - 1) / skb->gso_size;
		if (segments > 1)
			largest = headers + skb->gso_size;
		octets += (segments - 1) * headers;
	}
	if (largest > session->mru)
		return punt(DOWN_TOO_BIG);
	wrapping = session->flags & ADDRESS_CONTROL ? LONG_ENVELOPE : SHORT_ENVELOPE;
	if (size + wrapping > 0xffff)
		return punt(DOWN_SUPER_PACKET);
	hop.ifindex = session->ifindex;
	hop.gateway = session->gateway;
	if (!hop.ifindex)
		find_hop(skb, session, &hop);
	if (!hop.ifindex)
		return punt(DOWN_NO_ROUTE);
	/* Only asked for what the link takes: user space has the kernel fragment what does not fit. */
	bpf_check_mtu(skb, hop.ifindex, &mtu, 0, 0);
	if (largest + wrapping > mtu)
		return punt(DOWN_LINK_MTU);

	count = counters_of(slot, set);
	if (!count)
		return drop(DOWN_FAILED);
	if (session->cost_out) {
		bucket = bpf_map_lookup_elem(&buckets, &slot);
		if (bucket && over_rate(&bucket->full_out, session->cost_out, octets)) {
			count->throttled += segments;
			return drop(DOWN_THROTTLED);
		}
	}
	if (ip->protocol == IPPROTO_TCP && session->clamp_mss &&
	    !(ip->frag_off & bpf_htons(OFFSET)) && clamp_mss(skb, 0, session->clamp_mss))
		return drop(DOWN_FAILED);
	fill(&out, session, set, size + wrapping);
	if (wrap(skb, &out, wrapping == LONG_ENVELOPE))
		return drop(DOWN_FAILED);
	count->packets_out += segments;
	count->octets_out += octets;
	add(DOWN_OCTETS, octets);
	count->data_out = bpf_ktime_get_coarse_ns();
	return counted(DOWN_FORWARDED, send(&hop));
}

char _license[] SEC("license") = "GPL"; /* what the kernel asks for; see the first line */
