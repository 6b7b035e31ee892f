"""What of a configuration may change while the agent runs.

Engine and controller both ask here before they take over a new file: the engine first, and the
controller is told to read it only when the engine has accepted it.
"""

from haman.config.model import Config


def fixed_for_life(old: Config, new: Config) -> tuple[str, ...]:
    """Name the keys that differ and cannot change without a restart; () = reload away."""
    pairs = {
        "node.name": (old.node.name, new.node.name),
        "cluster.name": (old.cluster.name, new.cluster.name),
        "cluster.listen": (old.cluster.listen, new.cluster.listen),
        "cluster.key_file": (bool(old.cluster.key_file), bool(new.cluster.key_file)),
        "state.directory": (old.state.directory, new.state.directory),
        "state.recording_mib": (old.state.recording_mib, new.state.recording_mib),
        "api": (old.api, new.api),
        "engine.realtime_priority": (old.engine.realtime_priority, new.engine.realtime_priority),
    }
    return tuple(key for key, (was, will) in pairs.items() if was != will)
