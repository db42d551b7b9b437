"""nsctl: control messages over UDP (manual, "nsctl"), the server in the daemon and the client."""
