"""BGP through an unmodified ExaBGP: its configuration, a closed command grammar, the relay, the driver."""
