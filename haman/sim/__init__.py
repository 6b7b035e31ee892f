"""The cluster, simulated: real cores over a model of network, hosts, routers and clients.

A run is a pure function of its seed: virtual time, one source of randomness per concern, no thread,
no clock. It has two phases. In the first, faults happen; in the second they have ended, and what is
left must heal. Checkers stand outside and know the truth, which no node does.

    options   what a seed makes of cluster, timers, network and load
    faults    what goes wrong, when, for how long
    world     builds all, runs both phases, tells the outcome
    host      one machine: clock, processes, kernel, proxy; engine and controller around the cores
    checkers  what must hold; shrink makes a failing schedule small
    fleet     the same decisions in coarse steps, for thousands of nodes and for other policies
"""
