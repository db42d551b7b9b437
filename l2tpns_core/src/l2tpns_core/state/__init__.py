"""Sessions that outlive the process: what is written down of them, and how another process goes on
(directive save_state)."""
