"""RADIUS for the LNS: authentication and accounting (RFC 2865, 2866, 2869)."""
