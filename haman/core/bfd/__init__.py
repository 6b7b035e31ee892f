"""BFD, asynchronous mode over one hop (RFC 5880, RFC 5881), for IPv4 and IPv6, without any I/O.

`packet`: bytes ↔ `ControlPacket`. `messages`: what goes into a session and what comes out.
`session`: the state machine of one session. `transitions`: its table.

Left out, and said so on the wire: authentication (packets that carry it are discarded and counted),
the Echo function (required min echo RX is 0), Demand mode of our own (a neighbour's is honoured).
"""
