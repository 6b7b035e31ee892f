"""Labs: topology, runtimes, drills, prober."""
