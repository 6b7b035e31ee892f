"""What the router beside the nodes needs, from the nodes' own configuration: text for FRR and BIRD."""
