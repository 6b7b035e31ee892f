"""The engine process: real-time, tiny, owner of the addresses."""
