"""HTTP over the unix socket: schema, server, client."""
