"""l2tpns: an L2TPv2 network server (RFC 2661) that is extended by plugins."""

__version__ = "0.1.0"
