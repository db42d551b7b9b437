"""PPP, server side, without I/O: one `Link` per subscriber (RFC 1661 and its family)."""
