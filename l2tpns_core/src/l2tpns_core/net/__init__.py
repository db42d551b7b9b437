"""Everything that asks the kernel: the TUN device, addresses, routes, gratuitous ARP."""
