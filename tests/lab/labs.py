"""Small labs for tests, each in a checkout of its own."""

import shutil
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "lab"

TWO = """
name: {name}
mgmt: {{skip-when-unused: true}}
topology:
  kinds:
    linux: {{network-mode: none}}
  nodes:
    a:
      kind: linux
      image: haman-lab
      binds: ["processes.toml:/etc/lab/processes.toml:ro"]
      exec:
        - ip address add 10.99.0.1/24 dev eth1
        - sh -c 'until [ -d /run/lab/logs ]; do sleep 0.1; done; kill -HUP 1'
    b:
      kind: linux
      image: haman-lab
      env: {{COLOUR: blue}}
      sysctls: {{net.ipv4.ip_forward: 1}}
      exec: ["ip address add 10.99.0.2/24 dev eth1"]
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""

PROCESSES = """
[[process]]
name = "sleeper"
command = ["sleep", "1000"]
runtime_directory = "sleeper"
restart_delay_s = 0.1
"""


SLACK = 10
"""A machine that runs other things too stalls for tens of milliseconds; a mechanism that does not
work misses its bound by seconds. How fast it is, is measured in the benchmark."""


def announcing(tree: Path) -> Path:
    """The shipped anycast lab in a checkout of its own, with patient BFD; its topology's path.

    Three lost packets of 50 ms are soon lost on a machine that runs other things too.
    """
    (tree / ".git").mkdir(parents=True)
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / "anycast.clab.yml"
    for file in (tree / "lab/nodes/anycast").glob("*/haman.toml"):
        text = file.read_text()
        assert "bfd = { interval_ms = 50, " in text
        file.write_text(text.replace("bfd = { interval_ms = 50, ", "bfd = { interval_ms = 300, "))
    return path


def checkout(folder: Path, name: str = "two") -> Path:
    """A folder that looks like a checkout, with a topology of two nodes; the topology's path."""
    (folder / ".git").mkdir(parents=True)
    (folder / "processes.toml").write_text(PROCESSES)
    path = folder / f"{name}.clab.yml"
    path.write_text(TWO.format(name=name))
    return path


def make_key(path: Path) -> None:
    path.write_text("key\n")


def quiet(_: str) -> None:
    return None
