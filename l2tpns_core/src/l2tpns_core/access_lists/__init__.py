"""Access lists: which of a subscriber's IPv4 packets pass. Pure: text and packets in,
verdicts out."""
