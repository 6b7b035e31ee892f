"""Reports between nodes: codec, authentication, paths, freshness."""
