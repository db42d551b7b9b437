"""The daemon in a cluster: what the node (l2tpns_core.cluster) decides becomes of LNS and plane."""
