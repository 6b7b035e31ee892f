"""The pure heart of haman: no I/O, no clock, no randomness, no third-party import.

Every engine here has the same surface: `step(input, now_ns) -> outputs`, `deadline_ns` (an instant
or None), and a frozen `snapshot()`. Inputs and events are past-tense facts, actions are
imperatives, both are frozen dataclasses. Instants are monotonic nanoseconds unless a name says
wall clock.
"""
