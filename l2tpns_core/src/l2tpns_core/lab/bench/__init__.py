"""`l2tpns-lab bench`: how fast the LNS forwards, beside plain routing and Debian's l2tpns."""
