"""VRRP version 3 (RFC 9568) and version 2 (RFC 3768) for IPv4 and IPv6, without any I/O.

`packet`: bytes ↔ `Advertisement`. `messages`: what goes into a virtual router and what comes out.
`router`: the state machine of one virtual router. `group`: virtual routers that move together;
whoever runs virtual routers runs groups, of one member if need be.
"""
