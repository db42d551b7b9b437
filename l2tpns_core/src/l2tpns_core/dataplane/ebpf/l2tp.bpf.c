// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The fast path of the LNS: subscribers' IPv4 packets between L2TPv2 (RFC 2661) and the routing of
 * this host, without a detour through user space.
 *
 *   l2tp_up    at the tc ingress of an interface that faces LACs:
 *              Ethernet | IPv4 | UDP | L2TP | PPP | packet   ->   packet, as if received by the TUN
 *   l2tp_down  at the tc egress of the TUN device:
 *              packet   ->   IPv4 | UDP | L2TP | PPP | packet, out of the interface to the LAC
 *
 *   l2tp_in    at the tc ingress of an interface that faces the network: as l2tp_down, for a packet
 *              that only would go to the TUN device
 *
 * The way between the TUN device and the network is that of the kernel's IP stack, where firewalls,
 * connection tracking and routing policies act. While there is nothing of the kind, which user
 * space tells by settings.direct_until, packets pass by the stack: l2tp_up looks up the route
 * itself, and l2tp_in takes packets before they get there ("direct"). What needs more than a route
 * still goes through the stack.
 *
 * The rule for everything here: a packet that is not understood in full goes on untouched ("punt").
 * Upwards that means that the kernel delivers it to the UDP socket, downwards that it can be read
 * from the TUN device; both are the user-space plane, which knows all cases. What is dropped here,
 * that plane would drop as well, for the same reason and under the same name.
 *
 * Packets of intercepted sessions are copied when they are known to pass: a clone, marked with the
 * cookie of the settings, goes to the egress of the TUN device, where l2tp_down recognises it and
 * sends it to who is entitled to it. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "filter.bpf.h"
#include "l2tp.bpf.h"

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
#define PPP_LCP 0xc021
#define PPP_LONG 4 /* FF 03 00 21 */
#define PPP_SHORT 2 /* 00 21: address and control field left out (RFC 1661 section 6.6) */

#define OUTER (sizeof(struct iphdr) + sizeof(struct udphdr))
/* The most that l2tp_up looks at: with the L bit, a long PPP header and the inner IP header. */
#define HEADERS (ETH_HLEN + OUTER + LONG_HEADER + PPP_LONG + sizeof(struct iphdr))

#define ECHO_REQUEST 9
#define ECHO_REPLY 10

#define END_OF_OPTIONS 0
#define NO_OPERATION 1
#define MSS_OPTION 2
#define MSS_OPTION_LENGTH 4
#define MAX_TCP_OPTIONS 40

/* ip_tos2prio of the kernel, four bits for each. */
#define PRIORITIES 0x4444666622220000ULL

#define TRIES 4 /* to charge a bucket that other CPUs charge as well */

static __always_inline void add(__u32 outcome, __u32 amount)
{
	__u64 *sum = bpf_map_lookup_elem(&statistics, &outcome);

	if (sum)
		*sum += amount;
}

static __always_inline int counted(__u32 outcome, int verdict)
{
	add(outcome, 1);
	return verdict;
}

/* A packet is on its way. */
static __always_inline void count_up(__u32 octets, int is_direct)
{
	__u32 zero = 0;
	struct traffic *sum = bpf_map_lookup_elem(&traffic, &zero);

	if (!sum)
		return;
	sum->up_packets++;
	sum->up_octets += octets;
	sum->up_direct += is_direct;
}

static __always_inline void count_down(__u32 octets, int is_direct)
{
	__u32 zero = 0;
	struct traffic *sum = bpf_map_lookup_elem(&traffic, &zero);

	if (!sum)
		return;
	sum->down_packets++;
	sum->down_octets += octets;
	sum->down_direct += is_direct;
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

/* Of a slot, for this CPU, in `sessions` and `totals`. */
static __always_inline __u32 index_of(__u32 slot, const struct settings *set)
{
	return bpf_get_smp_processor_id() * set->sessions + slot;
}

static __always_inline struct session *session_at(__u32 slot, const struct settings *set)
{
	__u32 index = index_of(slot, set);

	return bpf_map_lookup_elem(&sessions, &index);
}

/* User space reads again what it read while the turn was odd or changed. */
static __noinline int carry_over(struct session *session, __u32 index)
{
	struct totals *totals_of = bpf_map_lookup_elem(&totals, &index);

	if (!totals_of)
		return 0;
	*(volatile __u64 *)&totals_of->turn += 1;
	*(volatile __u64 *)&totals_of->packets_in += session->packets_in;
	*(volatile __u64 *)&totals_of->packets_out += session->packets_out;
	*(volatile __u64 *)&totals_of->octets_in += session->octets_in;
	*(volatile __u64 *)&totals_of->octets_out += session->octets_out;
	*(volatile __u16 *)&session->packets_in = 0;
	*(volatile __u16 *)&session->packets_out = 0;
	*(volatile __u32 *)&session->octets_in = 0;
	*(volatile __u32 *)&session->octets_out = 0;
	*(volatile __u64 *)&totals_of->turn += 1;
	return 0;
}

/* A session has counted: before it runs over, it is carried over. */
static __always_inline void keep_count(struct session *session, __u32 slot,
				       const struct settings *set)
{
	if ((session->packets_in | session->packets_out) & CARRY_PACKETS ||
	    (session->octets_in | session->octets_out) & CARRY_OCTETS)
		carry_over(session, index_of(slot, set));
}

static __always_inline struct lac *lac_of(const struct session *session)
{
	__u32 index = session->lac;

	return bpf_map_lookup_elem(&lacs, &index);
}

/* Whether a packet must go because its session is over its rate. The bucket is not a level but the
 * time at which it will be full, so that one compare-and-swap keeps it right on any number of CPUs.
 * From a full one anything passes, or a super-packet larger than the burst never would. */
static __always_inline int over_rate(__u64 *full, __u64 cost, __u32 octets, __u32 *dropped,
				     __u32 *dropped_at, __u32 packets)
{
	__u64 time = bpf_ktime_get_ns(), earliest = time;
	__u64 price = cost * octets >> RATE_SHIFT;

	if ((__u32)(time >> TIME_SHIFT) - *dropped_at < ARREARS_TIME)
		earliest -= ARREARS_NS;
	for (int i = 0; i < TRIES; i++) {
		__u64 seen = *(volatile __u64 *)full;
		__u64 from = seen > earliest ? seen : earliest;

		if (from > time && from - time + price > BURST_NS) {
			*dropped_at = time >> TIME_SHIFT;
			__sync_fetch_and_add(dropped, packets);
			return 1;
		}
		if (__sync_val_compare_and_swap(full, seen, from + price) == seen)
			return 0;
	}
	return 0; /* other CPUs charge it right now; one packet for free */
}

static __always_inline int too_fast_in(__u32 slot, __u32 octets)
{
	struct details *to = bpf_map_lookup_elem(&details, &slot);

	return to && to->cost_in &&
	       over_rate(&to->full_in, to->cost_in, octets, &to->dropped_in, &to->dropped_in_at, 1);
}

static __always_inline int too_fast_out(__u32 slot, __u32 octets, __u32 packets)
{
	struct details *to = bpf_map_lookup_elem(&details, &slot);

	return to && to->cost_out &&
	       over_rate(&to->full_out, to->cost_out, octets, &to->dropped_out,
			 &to->dropped_out_at, packets);
}

/* A walk over the options of a TCP header. */
struct walk {
	struct __sk_buff *skb;
	__u32 at;  /* of the option that is looked at */
	__u32 end; /* of the header */
	__u8 option[MSS_OPTION_LENGTH];
	__u8 found;
};

/* One step of it: 1 ends the walk. */
static long next_option(__u32 step, struct walk *walk)
{
	/* Nothing that is shorter can be the option or have it behind it. */
	if (walk->at + sizeof(walk->option) > walk->end ||
	    bpf_skb_load_bytes(walk->skb, walk->at, walk->option, sizeof(walk->option)))
		return 1;
	if (walk->option[0] == END_OF_OPTIONS)
		return 1;
	if (walk->option[0] == MSS_OPTION) {
		walk->found = walk->option[1] == MSS_OPTION_LENGTH;
		return 1;
	}
	if (walk->option[0] == NO_OPERATION) {
		walk->at++;
		return 0;
	}
	if (walk->option[1] < 2)
		return 1;
	walk->at += walk->option[1];
	return 0;
}

/* Lower the MSS option of a TCP SYN to `limit`. `ip_at` is where the IP header (without options)
 * begins. 0 when that is done or not needed. Not static, so that the verifier checks it once, and
 * not again for each way that leads here. */
__noinline int clamp_mss(struct __sk_buff *skb, __u32 ip_at, __u32 limit)
{
	__u32 tcp_at = ip_at + sizeof(struct iphdr);
	struct walk walk = { .skb = skb, .at = tcp_at + sizeof(struct tcphdr) };
	struct tcphdr tcp;
	__be16 from, to;
	__u32 sum_at;
	__u16 mss;

	if (bpf_skb_load_bytes(skb, tcp_at, &tcp, sizeof(tcp)) || !tcp.syn)
		return 0;
	walk.end = tcp_at + tcp.doff * 4;
	if (walk.end > skb->len)
		walk.end = skb->len;
	bpf_loop(MAX_TCP_OPTIONS, next_option, &walk, 0);
	mss = walk.option[2] << 8 | walk.option[3];
	if (!walk.found || mss <= limit)
		return 0;
	from = bpf_htons(mss);
	to = bpf_htons(limit);
	if (bpf_skb_store_bytes(skb, walk.at + 2, &to, sizeof(to), 0))
		return -1;
	if ((walk.at - tcp_at) & 1) { /* the value lies across two words of the sum */
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

static __always_inline struct session *session_of_ids(__u16 tunnel_id, __u16 session_id,
						      const struct settings *set, __u32 *slot)
{
	__u32 zero = 0;
	struct slots_of_ids *ids = bpf_map_lookup_elem(&slots, &zero);
	struct session *session;

	*slot = ids ? ids->slot[session_id] : 0;
	session = session_at(*slot, set);
	return session && session->tunnel_id == tunnel_id && tunnel_id ? session : 0;
}

/* Who a packet is for. The session may be one that is not valid just now. */
static __always_inline struct session *session_of_address(__be32 address,
							  const struct settings *set, __u32 *slot)
{
	__be32 prefix = address & bpf_htonl(0xffffff00);
	__u32 *found = bpf_map_lookup_elem(&directory, &prefix);
	struct session *session;
	struct block *block;

	if (found) {
		block = bpf_map_lookup_elem(&blocks, found);
		*slot = block ? block->slot[bpf_ntohl(address) & 0xff] : 0;
		session = session_at(*slot, set);
		if (session && session->address == address)
			return session;
	}
	found = bpf_map_lookup_elem(&addresses, &address);
	if (found)
		*slot = *found;
	else if (!network_owner(address, slot))
		return 0;
	session = session_at(*slot, set);
	return session && (!found || session->address == address) ? session : 0;
}

/* The sum of the words of an IP header without options: 0xffff when its checksum is right. */
static __always_inline __u16 sum_of(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (int i = 0; i < (int)(sizeof(*ip) / 2); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

/* Send a copy of a packet on its way: to l2tp_down, which sees the mark. */
static __always_inline void copy(struct __sk_buff *skb, const struct settings *set, __u32 slot)
{
	__u32 mark = skb->mark, word = skb->cb[0];

	skb->mark = set->cookie;
	skb->cb[0] = slot;
	if (bpf_clone_redirect(skb, set->tun_ifindex, 0))
		counted(SNOOP_FAILURES, 0);
	skb->mark = mark;
	skb->cb[0] = word;
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

static __always_inline __u32 wrapping_of(const struct session *session)
{
	return session->flags & ADDRESS_CONTROL ? LONG_ENVELOPE : SHORT_ENVELOPE;
}

static __always_inline void fill_outer(struct iphdr *ip, struct udphdr *udp, __be32 source,
				       __be32 destination, __u32 length)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(length);
	ip->id = bpf_get_prandom_u32(); /* DF is clear: a router on the way may fragment */
	ip->ttl = DEFAULT_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = source;
	ip->daddr = destination;
	ip->check = ~sum_of(ip);
	udp->len = bpf_htons(length - sizeof(*ip));
	udp->check = 0; /* none (RFC 2661 section 8.1 allows it): the packet has its own */
}

static __always_inline void fill(struct envelope *out, const struct session *session,
				 const struct lac *lac, const struct settings *set, __u32 length)
{
	fill_outer((void *)&out->ip, (void *)&out->udp, lac->local, lac->peer, length);
	out->udp.source = set->l2tp_port;
	out->udp.dest = lac->peer_port;
	out->flags = bpf_htons(VERSION);
	out->tunnel_id = lac->peer_tunnel_id;
	out->session_id = session->peer_session_id;
	if (session->flags & ADDRESS_CONTROL) {
		out->ppp[0] = bpf_htons(PPP_ADDRESS_CONTROL);
		out->ppp[1] = bpf_htons(PPP_IPV4);
	} else {
		out->ppp[0] = bpf_htons(PPP_IPV4);
	}
}

/* An LCP packet with a Magic-Number (RFC 1661 section 5.8). */
struct lcp {
	__u8 code;
	__u8 identifier;
	__be16 length;
	__be32 magic;
};

/* Answer an Echo-Request of the subscriber, so that the line lives however busy user space is.
 * Everything up to and with the PPP header, `strip` octets, is replaced by what we send. What has
 * our own Magic-Number is a loop, which is user space's business. */
static __always_inline int answer_echo(struct __sk_buff *skb, const struct settings *set,
				       const struct session *session, const struct lac *lac,
				       __u32 slot, struct lcp *lcp, __u32 strip, __u32 room)
{
	struct details *more = bpf_map_lookup_elem(&details, &slot);
	__u32 length = bpf_ntohs(lcp->length), kept = length;
	struct envelope out = {};
	struct ethhdr was, eth;

	if (lcp->code != ECHO_REQUEST || length < sizeof(*lcp) || length > room ||
	    length > lac->mru || !more || lcp->magic == more->magic)
		return punt(UP_NOT_IPV4);
	fill(&out, session, lac, set, LONG_ENVELOPE + length);
	out.ppp[0] = bpf_htons(PPP_ADDRESS_CONTROL);
	out.ppp[1] = bpf_htons(PPP_LCP);
	lcp->code = ECHO_REPLY;
	lcp->magic = more->magic;
	if (kept < sizeof(struct iphdr)) /* the kernel strips no more than leaves room for one */
		kept = sizeof(struct iphdr);
	if (bpf_skb_load_bytes(skb, 0, &was, sizeof(was)) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + strip + kept, 0) ||
	    bpf_skb_adjust_room(skb, -(__s32)strip, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_adjust_room(skb, LONG_ENVELOPE, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + LONG_ENVELOPE + length, 0))
		return drop(UP_FAILED);
	__builtin_memcpy(eth.h_dest, was.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, was.h_dest, ETH_ALEN);
	eth.h_proto = was.h_proto;
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &out, LONG_ENVELOPE, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + LONG_ENVELOPE, lcp, sizeof(*lcp), 0))
		return drop(UP_FAILED);
	return counted(UP_ECHO, bpf_redirect(skb->ifindex, 0));
}

struct hop {
	__u32 ifindex;
	__be32 gateway;
};

/* The way to a host; without an interface where there is none. With a length, there is none either
 * for packets that do not fit. */
static __always_inline void find_hop(struct __sk_buff *skb, __be32 source, __be32 destination,
				     __u32 length, struct hop *hop)
{
	struct bpf_fib_lookup route = {};
	long found;

	hop->ifindex = 0;
	route.family = AF_INET;
	route.l4_protocol = IPPROTO_UDP;
	route.tot_len = length;
	route.ipv4_src = source;
	route.ipv4_dst = destination;
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

/* Whether an address is one host's that packets are routed to and from: not in 0/8, no group, no
 * broadcast. The stack knows others by sight, before it looks at routes. */
static __always_inline int is_routable(__be32 address)
{
	__u32 first = bpf_ntohl(address) >> 24;

	return first && first < 224;
}

/* Whether a packet could go by the IP stack: nothing there would look at it, and it needs nothing
 * of it but a route. */
static __always_inline int may_pass_by(struct __sk_buff *skb, const struct settings *set,
				       const struct iphdr *ip, __u64 time)
{
	return set->direct_until > time && !skb->mark && ip->ttl > 1 && is_routable(ip->daddr) &&
	       is_routable(ip->saddr);
}

/* The way of packets from one interface to a host beyond, or none where the stack knows better: to
 * this host, or where a route says more than a next hop. The answer is good for a moment, as the
 * stack itself asks once for several packets to the same place. */
static __always_inline struct way *find_way(struct __sk_buff *skb, const struct settings *set,
					    __u32 from, __be32 source, __be32 host, __u64 time)
{
	__u32 index = (host * 0x9e3779b1U >> 16 ^ from) & (WAYS - 1);
	struct way *way = bpf_map_lookup_elem(&ways, &index);
	struct bpf_fib_lookup route = {};
	__be32 sender = set->many_paths ? source : 0;
	long found;

	if (!way)
		return 0;
	if (way->host == host && way->until > time && way->source == sender && way->from == from)
		return way;
	route.family = AF_INET;
	route.tot_len = 1; /* so that it tells the MTU */
	route.ipv4_src = source;
	route.ipv4_dst = host;
	route.ifindex = from;
	found = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	if ((found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) ||
	    route.family != AF_INET)
		return 0;
	way->host = host;
	way->source = sender;
	way->from = from;
	way->ifindex = route.ifindex;
	way->gateway = route.ipv4_dst;
	way->mtu = found == BPF_FIB_LKUP_RET_SUCCESS ? route.mtu_result : 0;
	way->until = time + WAY_NS;
	return way;
}

/* What a router does to a packet: a hop less (RFC 1812 section 5.3.1), and the priority that goes
 * with its type of service, as the stack gives it. */
static __always_inline void forward(struct __sk_buff *skb, struct iphdr *ip)
{
	__u32 sum = ip->check + bpf_htons(0x0100);

	ip->ttl--;
	ip->check = sum + (sum >= 0xffff);
	skb->priority = PRIORITIES >> ((ip->tos & 0x1e) * 2) & 0xf;
}

SEC("tc")
int l2tp_up(struct __sk_buff *skb)
{
	void *data, *end;
	struct settings *set = get_settings();
	struct session *session;
	struct lac *lac;
	struct ethhdr *eth;
	struct iphdr *outer, *inner;
	struct udphdr *udp;
	struct lcp lcp;
	struct hop hop;
	struct way *way;
	__u64 time;
	__be16 *words;
	__u32 slot, strip, room, total, owner;
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

	/* The envelope: a datagram to our L2TP port. Options, fragments and damaged headers are
	 * left to the kernel. The UDP checksum is not looked at: the packet within has its own. */
	if (outer->protocol != IPPROTO_UDP || *(__u8 *)outer != PLAIN_HEADER ||
	    udp->dest != set->l2tp_port || skb->pkt_type != 0)
		return TC_ACT_UNSPEC;
	if (outer->frag_off & bpf_htons(FRAGMENT))
		return punt(UP_FRAGMENT);
	datagram = bpf_ntohs(udp->len);
	if (datagram < sizeof(*udp) + LONG_HEADER ||
	    datagram + sizeof(*outer) > bpf_ntohs(outer->tot_len) ||
	    bpf_ntohs(outer->tot_len) + ETH_HLEN > skb->len || sum_of(outer) != 0xffff)
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

	session = session_of_ids(bpf_ntohs(words[1]), bpf_ntohs(words[2]), set, &slot);
	lac = session ? lac_of(session) : 0;
	if (!session || !lac)
		return punt(UP_UNKNOWN_SESSION);
	if (outer->daddr != lac->local)
		return punt(UP_OTHER_ADDRESS);
	if (session->flags & PUNT)
		return punt(UP_FLAGGED);
	if (outer->saddr != lac->peer)
		return drop(UP_WRONG_PEER);
	time = bpf_ktime_get_coarse_ns();
	session->heard = time >> TIME_SHIFT;

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
	if (words[0] == bpf_htons(PPP_LCP) && session->flags & ECHO &&
	    (void *)(words + 1) + sizeof(lcp) <= end) {
		__builtin_memcpy(&lcp, words + 1, sizeof(lcp));
		return answer_echo(skb, set, session, lac, slot, &lcp, strip, room);
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
		if (owner != slot) /* a network within another's: user space compares them all */
			return punt(UP_SOURCE_UNSURE);
	}
	if (session->flags & FILTERED && is_denied_in(skb, ETH_HLEN + strip, slot))
		return drop(UP_FILTERED);
	if (session->flags & THROTTLED && too_fast_in(slot, total))
		return drop(UP_THROTTLED);
	syn = inner->protocol == IPPROTO_TCP && lac->clamp_mss &&
	      !(inner->frag_off & bpf_htons(OFFSET));
	hop.ifindex = 0;
	if (may_pass_by(skb, set, inner, time)) {
		way = find_way(skb, set, set->tun_ifindex, inner->saddr, inner->daddr, time);
		if (way && way->ifindex != set->tun_ifindex && total <= way->mtu) {
			hop.ifindex = way->ifindex;
			hop.gateway = way->gateway;
		}
	}

	/* Out of the envelope, and padding off. */
	if (bpf_skb_adjust_room(skb, -(__s32)strip, BPF_ADJ_ROOM_MAC, 0))
		return drop(UP_FAILED);
	if (skb->len > ETH_HLEN + total && bpf_skb_change_tail(skb, ETH_HLEN + total, 0))
		return drop(UP_FAILED);
	/* Only now: while the outer checksum was still to be filled in, the kernel would have taken
	 * the inner one for done. */
	if (syn && clamp_mss(skb, ETH_HLEN, lac->clamp_mss))
		return drop(UP_FAILED);
	if (session->flags & SNOOPED)
		copy(skb, set, slot);
	bpf_set_hash_invalid(skb); /* that was the tunnel's; flows are told apart by the packet */
	session->packets_in++;
	session->octets_in += total;
	session->data = session->heard;
	keep_count(session, slot, set);
	count_up(total, !!hop.ifindex);
	if (!hop.ifindex)
		return bpf_redirect(set->tun_ifindex, BPF_F_INGRESS);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	inner = data + ETH_HLEN;
	if ((void *)(inner + 1) > end)
		return TC_ACT_SHOT; /* cannot be: it was there before */
	forward(skb, inner);
	return send(&hop);
}

/* Make room for an envelope. The flags tell the kernel how to cut a TCP super-packet later: each
 * segment gets all of it. A packet that is no super-packet does without them: the kernel refuses
 * them when its last tunnel left its mark, as that of a LAC on this host does. */
static __always_inline int make_room(struct __sk_buff *skb, __u32 length)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 |
			    BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(length - OUTER);

	if (!bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, flags))
		return 0;
	return skb->gso_size ||
	       bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Put the envelope around the packet. It has no L2TP length field, since that would be the same in
 * all segments. Both calls are spelled out: the verifier wants lengths that are constant. */
static __always_inline int wrap(struct __sk_buff *skb, const struct envelope *out, __u32 at,
				int is_long)
{
	if (is_long) {
		if (make_room(skb, LONG_ENVELOPE) ||
		    bpf_skb_store_bytes(skb, at, out, LONG_ENVELOPE, BPF_F_RECOMPUTE_CSUM))
			return -1;
	} else {
		if (make_room(skb, SHORT_ENVELOPE) ||
		    bpf_skb_store_bytes(skb, at, out, SHORT_ENVELOPE, BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	/* bpf_redirect_neigh() drops a packet of a device without MAC addresses that has no room
	 * for one. */
	return at ? 0 : bpf_skb_change_head(skb, ETH_HLEN, 0);
}

/* What becomes of a packet behind this program, where super-packets of TCP are cut. */
struct pieces {
	__u32 count;
	__u32 largest;
	__u32 octets;
};

static __always_inline int measure(struct __sk_buff *skb, const struct iphdr *ip, __u32 at,
				   struct pieces *pieces)
{
	__u32 headers = sizeof(*ip), size = skb->len - at;
	struct tcphdr tcp;

	pieces->count = 1;
	pieces->largest = pieces->octets = size;
	if (!skb->gso_size)
		return 0;
	if (ip->protocol != IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, at + sizeof(*ip), &tcp, sizeof(tcp)))
		return -1;
	headers += tcp.doff * 4;
	if (size <= headers)
		return -1;
	pieces->count = (size - headers + skb->gso_size - 1) / skb->gso_size;
	if (pieces->count > 1)
		pieces->largest = headers + skb->gso_size;
	pieces->octets += (pieces->count - 1) * headers;
	return 0;
}

/* Whether a packet is a copy on its way to a target, who then is a subscriber: copies of copies
 * would have no end. */
static __always_inline int is_own_copy(struct __sk_buff *skb, const struct iphdr *ip, __u32 at,
				       __u32 slot)
{
	struct intercept *to = bpf_map_lookup_elem(&intercepts, &slot);
	struct target target = { .address = ip->daddr };
	struct udphdr udp;

	if (!to || ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(OFFSET) ||
	    bpf_skb_load_bytes(skb, at + sizeof(*ip), &udp, sizeof(udp)) ||
	    udp.source != to->source_port)
		return 0;
	target.port = udp.dest;
	return bpf_map_lookup_elem(&targets, &target) != 0;
}

/* A copy goes to its target, in UDP. User space sends what the kernel cannot: to this host, to a
 * subscriber, or in fragments. It knows such a copy by the version of its envelope: no packet for
 * the TUN device has IP version 0. Not static, so that the verifier checks it by itself. */
__noinline int send_copy(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct {
		struct iphdr ip;
		struct udphdr udp;
	} out = {};
	__u32 slot = skb->cb[0], size = skb->len + sizeof(out);
	struct intercept *to = bpf_map_lookup_elem(&intercepts, &slot);
	struct hop hop = {};
	struct pieces pieces;

	skb->mark = 0;
	if (!to || data + sizeof(struct iphdr) > end || measure(skb, data, 0, &pieces))
		return TC_ACT_SHOT;
	if (size <= 0xffff)
		find_hop(skb, to->source, to->target, pieces.largest + sizeof(out), &hop);
	if (hop.ifindex == skb->ifindex)
		hop.ifindex = 0;
	fill_outer(&out.ip, &out.udp, to->source, to->target, size);
	out.udp.source = to->source_port;
	out.udp.dest = to->target_port;
	if (!hop.ifindex)
		out.ip.version = 0;
	if (make_room(skb, sizeof(out)) ||
	    bpf_skb_store_bytes(skb, 0, &out, sizeof(out), 0))
		return TC_ACT_SHOT;
	if (!hop.ifindex) {
		add(COPIES_TO_USER_SPACE, pieces.count);
		return TC_ACT_OK;
	}
	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return TC_ACT_SHOT;
	add(PACKETS_SNOOPED, pieces.count);
	return send(&hop);
}

/* Whether a packet, whose IP header is at `at`, fits its session and the way to the LAC. */
static __always_inline int fits(struct __sk_buff *skb, const struct session *session,
				const struct lac *lac, const struct iphdr *ip, __u32 at,
				struct pieces *pieces, struct hop *hop)
{
	__u32 wrapping = wrapping_of(session), mtu = 0;

	if (measure(skb, ip, at, pieces))
		return DOWN_SUPER_PACKET;
	if (pieces->largest > lac->mru)
		return DOWN_TOO_BIG;
	if (skb->len - at + wrapping > 0xffff)
		return DOWN_SUPER_PACKET;
	hop->ifindex = lac->ifindex;
	hop->gateway = lac->gateway;
	if (!hop->ifindex)
		find_hop(skb, lac->local, lac->peer, 0, hop);
	if (!hop->ifindex)
		return DOWN_NO_ROUTE;
	/* Only asked for what the link takes: user space has the kernel fragment what does not. */
	bpf_check_mtu(skb, hop->ifindex, &mtu, 0, 0);
	return pieces->largest + wrapping > mtu ? DOWN_LINK_MTU : 0;
}

/* Send a packet that fits to the LAC. The envelope goes where the IP header is, at `at`. */
static __always_inline int deliver(struct __sk_buff *skb, const struct settings *set,
				   struct session *session, const struct lac *lac, __u32 slot,
				   const struct iphdr *ip, __u32 at, const struct pieces *pieces,
				   const struct hop *hop, __u64 time)
{
	__u32 size = skb->len - at, wrapping = wrapping_of(session), is_copied;
	struct envelope out = {};

	if (session->flags & FILTERED && is_denied_out(skb, at, slot, pieces->count)) {
		add(DOWN_FILTERED, pieces->count);
		return TC_ACT_SHOT;
	}
	if (session->flags & THROTTLED && too_fast_out(slot, pieces->octets, pieces->count))
		return drop(DOWN_THROTTLED);
	is_copied = session->flags & SNOOPED && !is_own_copy(skb, ip, at, slot);
	if (ip->protocol == IPPROTO_TCP && lac->clamp_mss &&
	    !(ip->frag_off & bpf_htons(OFFSET)) && clamp_mss(skb, at, lac->clamp_mss))
		return drop(DOWN_FAILED);
	if (is_copied)
		copy(skb, set, slot);
	fill(&out, session, lac, set, size + wrapping);
	if (wrap(skb, &out, at, wrapping == LONG_ENVELOPE))
		return drop(DOWN_FAILED);
	session->packets_out += pieces->count;
	session->octets_out += pieces->octets;
	session->data = time >> TIME_SHIFT;
	keep_count(session, slot, set);
	count_down(pieces->octets, at != 0);
	return send(hop);
}

SEC("tc")
int l2tp_down(struct __sk_buff *skb)
{
	void *data, *end;
	struct settings *set = get_settings();
	struct session *session;
	struct lac *lac;
	struct iphdr *ip;
	__u32 slot = 0, misfit;
	struct pieces pieces;
	struct hop hop;

	if (!set)
		return TC_ACT_UNSPEC;
	if (skb->mark == set->cookie && set->cookie)
		return send_copy(skb);
	if ((void *)(long)skb->data + sizeof(*ip) > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, sizeof(*ip));
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data;
	if ((void *)(ip + 1) > end || skb->protocol != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)ip != PLAIN_HEADER || bpf_ntohs(ip->tot_len) != skb->len)
		return punt(DOWN_NOT_PLAIN);

	session = session_of_address(ip->daddr, set, &slot);
	lac = session ? lac_of(session) : 0;
	if (!session || !lac || !session->tunnel_id)
		return punt(DOWN_NO_SESSION);
	if (session->flags & PUNT)
		return punt(DOWN_FLAGGED);
	misfit = fits(skb, session, lac, ip, 0, &pieces, &hop);
	if (misfit)
		return punt(misfit);
	return deliver(skb, set, session, lac, slot, ip, 0, &pieces, &hop,
		       bpf_ktime_get_coarse_ns());
}

/* What is not for a subscriber, or not plain, has nothing to do with us: it goes on and is counted
 * where it comes to the TUN device, if it does. */
SEC("tc")
int l2tp_in(struct __sk_buff *skb)
{
	const __u32 headers = ETH_HLEN + sizeof(struct iphdr);
	void *data, *end;
	struct settings *set = get_settings();
	struct session *session;
	struct lac *lac;
	struct iphdr *ip;
	__u32 slot = 0, total;
	struct pieces pieces;
	struct hop hop;
	struct way *way;
	__u64 time;

	if (!set || skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present || skb->pkt_type != 0)
		return TC_ACT_UNSPEC;
	if ((void *)(long)skb->data + headers > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, headers);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + ETH_HLEN;
	time = bpf_ktime_get_coarse_ns();
	if ((void *)(ip + 1) > end || !may_pass_by(skb, set, ip, time) ||
	    *(__u8 *)ip != PLAIN_HEADER)
		return TC_ACT_UNSPEC;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || ETH_HLEN + total > skb->len || sum_of(ip) != 0xffff)
		return TC_ACT_UNSPEC;
	session = session_of_address(ip->daddr, set, &slot);
	lac = session ? lac_of(session) : 0;
	if (!session || !lac || !session->tunnel_id || session->flags & PUNT)
		return TC_ACT_UNSPEC;
	/* From where it came leads the way back: then no reverse-path filter would object, and the
	 * sender is not this host. */
	way = find_way(skb, set, skb->ifindex, ip->daddr, ip->saddr, time);
	if (!way || way->ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	if (skb->len > ETH_HLEN + total) { /* padding of a short frame */
		if (bpf_skb_change_tail(skb, ETH_HLEN + total, 0))
			return TC_ACT_UNSPEC;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		ip = data + ETH_HLEN;
		if ((void *)(ip + 1) > end)
			return TC_ACT_UNSPEC;
	}
	if (fits(skb, session, lac, ip, ETH_HLEN, &pieces, &hop))
		return TC_ACT_UNSPEC;
	forward(skb, ip);
	return deliver(skb, set, session, lac, slot, ip, ETH_HLEN, &pieces, &hop, time);
}

char _license[] SEC("license") = "GPL"; /* what the kernel asks for; see the first line */
