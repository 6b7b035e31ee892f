"""One file per proxy: its counters and its ceilings."""
