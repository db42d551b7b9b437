"""BGP: what is announced, and ExaBGP, which speaks it (manual, "Routing")."""
