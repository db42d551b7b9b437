"""L2TPv2 (RFC 2661) as an LNS speaks it, without sockets or clocks.

`endpoint.Endpoint` takes control datagrams and the time and hands back tunnels; a tunnel gives
events (`events`) and datagrams. `data` and `sequencing` are for the data messages of a plane.
"""
