"""The fast path: packets of sessions that are up are forwarded by two programs in the kernel."""
