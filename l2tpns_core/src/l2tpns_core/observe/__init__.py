"""What the operator sees of the daemon from outside its shell: log lines and counters."""
