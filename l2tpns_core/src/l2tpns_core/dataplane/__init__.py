"""The data plane: what moves subscribers' packets between the L2TP socket and the TUN device."""
