"""Several nodes that are one LNS: who decides, and how the others come to know what it knows.

Everything here but `transport` is told the time and returns datagrams and events. docs/cluster.md
says how it works.
"""
