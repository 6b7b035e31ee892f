"""The same decisions in coarse steps: whole fleets, and what other policies make of the same load.

A fleet is some clusters, as sites are: the network spreads clients over clusters that announce, each
cluster over its nodes. Peers are those of one cluster, which is as large as a mesh may be. Quiet
nodes cost nothing: only those near their limits are sampled, judged and asked.

    scenario  nodes, clients and what happens to them: a TOML file
    node      one node and its proxy        cluster  who gets how much, and who is lively
    policies  naive, hysteresis, weight: what scripts do     core  haman's own core
    fleet     clients, events, a run        evidence  what a run came to, policies beside each other
"""
