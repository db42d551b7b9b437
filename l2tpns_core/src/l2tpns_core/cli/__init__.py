"""The command-line interface: grammar and commands, the daemon's end of it, and the shell."""
