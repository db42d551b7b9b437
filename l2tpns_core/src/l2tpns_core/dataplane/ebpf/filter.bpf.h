/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Access lists: whether a packet of a filtered session may pass. filters.py writes the maps, and
 * access_lists/matching.py decides the same in user space; what is said there holds here.
 *
 * The rules of a list lie in one of two banks. New rules are written into the other one, and then
 * one word says that they count: no packet ever meets half of them. */
#ifndef FILTER_BPF_H
#define FILTER_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FILTER_LISTS 64
#define FILTER_RULES 64 /* in a list */
#define FILTER_BANKS 2

/* The form of a rule. */
#define RULE_PERMIT 1
#define RULE_INSIDE 2  /* it tests ports or flags */
#define RULE_LATER 4   /* only for fragments that are not the first */
#define RULE_NOT_SOURCE 8 /* the ports outside of the bounds */
#define RULE_NOT_DESTINATION 16

/* How flags are tested. */
#define TEST_ESTABLISHED 1
#define TEST_ANY 2
#define TEST_ALL 3

#define FLAGS_AT 13
#define FLAGS_MASK 0x3f
#define FLAG_SYN 0x02
#define FLAGS_ACK_RST 0x14

/* Addresses are in network order, ports are not. */
struct filter_rule {
	__be32 source;
	__be32 source_mask;
	__be32 destination;
	__be32 destination_mask;
	__u16 source_first;
	__u16 source_last;
	__u16 destination_first;
	__u16 destination_last;
	__u8 protocol; /* 0 for any */
	__u8 form;
	__u8 test;
	__u8 set;
	__u8 clear;
	__u8 unused[3];
};

/* The lists of a session by their numbers; 0 for none. */
struct filter_pair {
	__u16 in;
	__u16 out;
};

/* By number: which bank counts << 16 | how many rules. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FILTER_LISTS + 1);
	__type(key, __u32);
	__type(value, __u32);
} filter_lists SEC(".maps");

/* By (number * FILTER_BANKS + bank) * FILTER_RULES + place. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, (FILTER_LISTS + 1) * FILTER_BANKS * FILTER_RULES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct filter_rule);
} filter_rules SEC(".maps");

/* Packets that matched, as above. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, (FILTER_LISTS + 1) * FILTER_BANKS * FILTER_RULES);
	__type(key, __u32);
	__type(value, __u64);
} filter_hits SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct filter_pair);
} filters SEC(".maps");

/* A packet that is held against the rules of a list. */
struct look {
	__be32 source;
	__be32 destination;
	__u32 first;  /* index of the first rule */
	__u32 amount; /* packets that it stands for */
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 flags;
	__u8 is_later; /* a fragment that is not the first */
	__u8 passes;
};

static __always_inline int matches_inside(const struct look *look, const struct filter_rule *rule)
{
	int within = look->source_port >= rule->source_first &&
		     look->source_port <= rule->source_last;

	if (within == !!(rule->form & RULE_NOT_SOURCE))
		return 0;
	within = look->destination_port >= rule->destination_first &&
		 look->destination_port <= rule->destination_last;
	if (within == !!(rule->form & RULE_NOT_DESTINATION))
		return 0;
	if (rule->test == TEST_ESTABLISHED)
		return look->flags & FLAGS_ACK_RST && !(look->flags & FLAG_SYN);
	if (rule->test == TEST_ANY)
		return look->flags & rule->set || ~look->flags & rule->clear;
	if (rule->test == TEST_ALL)
		return (look->flags & rule->set) == rule->set && !(look->flags & rule->clear);
	return 1;
}

/* One rule: 1 when it decides. */
static long try_rule(__u32 step, struct look *look)
{
	__u32 index = look->first + step;
	struct filter_rule *rule = bpf_map_lookup_elem(&filter_rules, &index);
	__u64 *hits;

	if (!rule)
		return 1;
	if ((rule->protocol && rule->protocol != look->protocol) ||
	    (look->source & rule->source_mask) != rule->source ||
	    (look->destination & rule->destination_mask) != rule->destination)
		return 0;
	if (look->is_later) {
		if (rule->form & RULE_INSIDE && !(rule->form & RULE_PERMIT))
			return 0;
	} else if (rule->form & RULE_LATER ||
		   (rule->form & RULE_INSIDE && !matches_inside(look, rule))) {
		return 0;
	}
	hits = bpf_map_lookup_elem(&filter_hits, &index);
	if (hits)
		*hits += look->amount;
	look->passes = rule->form & RULE_PERMIT;
	return 1;
}

/* Whether a list keeps a packet from passing. Its IP header, which is at `at`, has no options, and
 * its total length is no more than there is. It stands for so many packets of the same form. Not
 * static, so that the verifier checks it once. */
__noinline int is_denied(struct __sk_buff *skb, __u32 at, __u32 number, __u32 amount)
{
	struct look look = {};
	struct iphdr ip;
	__u32 *bank, rules, size;
	__u8 inside[FLAGS_AT + 1] = {};

	if (!number)
		return 0;
	bank = bpf_map_lookup_elem(&filter_lists, &number);
	if (!bank || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return 1;
	rules = *(volatile __u32 *)bank;
	size = bpf_ntohs(ip.tot_len);
	look.source = ip.saddr;
	look.destination = ip.daddr;
	look.protocol = ip.protocol;
	look.amount = amount;
	look.is_later = !!(ip.frag_off & bpf_htons(0x1fff));
	if (!look.is_later && ip.protocol == IPPROTO_TCP) {
		if (size < sizeof(ip) + sizeof(inside) ||
		    bpf_skb_load_bytes(skb, at + sizeof(ip), inside, sizeof(inside)))
			return 1;
		look.flags = inside[FLAGS_AT] & FLAGS_MASK;
	} else if (!look.is_later && ip.protocol == IPPROTO_UDP) {
		if (size < sizeof(ip) + 4 ||
		    bpf_skb_load_bytes(skb, at + sizeof(ip), inside, 4))
			return 1;
	}
	look.source_port = inside[0] << 8 | inside[1];
	look.destination_port = inside[2] << 8 | inside[3];
	look.first = (number * FILTER_BANKS + (rules >> 16)) * FILTER_RULES;
	bpf_loop(rules & 0xffff, try_rule, &look, 0);
	return !look.passes;
}

static __always_inline int is_denied_in(struct __sk_buff *skb, __u32 at, __u32 slot)
{
	struct filter_pair *pair = bpf_map_lookup_elem(&filters, &slot);

	return pair && is_denied(skb, at, pair->in, 1);
}

static __always_inline int is_denied_out(struct __sk_buff *skb, __u32 at, __u32 slot,
					 __u32 amount)
{
	struct filter_pair *pair = bpf_map_lookup_elem(&filters, &slot);

	return pair && is_denied(skb, at, pair->out, amount);
}

#endif
