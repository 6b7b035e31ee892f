"""haman comes to fresh nodes, that have an sshd and a proxy and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import agent, lab
from haman.lab.kernel import wait_until
from tests.lab.labs import quiet
from tests.playbook.labs import SHIPPED

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("sshd"),
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]

NODES = {"n1": "10.99.0.11", "n2": "10.99.0.12"}
NODE = """
    {name}:
      kind: linux
      image: haman-lab
      binds:
        - nodes/sshd_config:/etc/lab/sshd_config:ro
        - nodes/sshd.sh:/etc/lab/sshd.sh:ro
        - processes.toml:/etc/lab/processes.toml:ro
        - ../.lab/fresh/keys/ssh:/etc/lab/ssh:ro
      exec:
        - ip address add {address}/24 dev eth1
        - sh -c 'kill -HUP 1'
"""
TOPOLOGY = """
name: fresh
topology:
  nodes:
    switch:
      kind: linux
      image: haman-lab
      exec:
        - ip link add name br0 type bridge stp_state 0 mcast_snooping 0
        - ip link set dev eth1 master br0
        - ip link set dev eth2 master br0
        - ip link set dev eth3 master br0
        - ip link set dev br0 up
    client:
      kind: linux
      image: haman-lab
      binds: ["../.lab/fresh/keys/ssh:/etc/lab/ssh:ro"]
      exec: ["ip address add 10.99.0.10/24 dev eth1"]
{nodes}
  links:
    - endpoints: ["switch:eth1", "client:eth1"]
    - endpoints: ["switch:eth2", "n1:eth1"]
    - endpoints: ["switch:eth3", "n2:eth1"]
"""
CONFIG = """
[node]
name = "{name}"
[cluster]
name = "fresh"
key_file = "/etc/haman/cluster.key"
listen = "{address}:4710"
[[cluster.peer]]
name = "{peer}"
addresses = ["{peer_address}:4710"]
[proxy]
kind = "process"
process = "sleep"
[[vip]]
name = "web"
interface = "eth1"
vrid = 7
priority = {priority}
addresses = ["10.99.0.100/24"]
advert_interval_ms = 200
[api]
group = "root"
"""
PROXY = """
[[process]]
name = "proxy"
command = ["sleep", "1000"]
"""
START = "setsid haman agent -c /etc/haman/haman.toml >/run/haman.log 2>&1 </dev/null &"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    tree = tmp_path_factory.mktemp("fresh") / "tree"
    (tree / ".git").mkdir(parents=True)
    folder = Path(shutil.copytree(SHIPPED, tree / "lab"))
    sshd_alone = (SHIPPED / "nodes/lb-processes.toml").read_text().partition("# For playbooks;")[2]
    (folder / "processes.toml").write_text(f"# {sshd_alone}{PROXY}")
    path = folder / "fresh.clab.yml"
    nodes = "".join(NODE.format(name=name, address=address) for name, address in NODES.items())
    path.write_text(TOPOLOGY.replace("{nodes}", nodes))
    try:
        running = lab.up(path, make_cluster_key, say=quiet)
        host_key = (tree / ".lab/fresh/keys/ssh/host_key.pub").read_text()
        known = "".join(f"{address} {host_key}" for address in NODES.values())
        (tree / ".lab/fresh/keys/ssh/known_hosts").write_text(known)
        yield running
    finally:
        lab.down(path)


def install(fresh: lab.Lab, folder: Path, configs: Path, *more: str) -> tuple[int, str]:
    hosts = [f"--host={name}=root@{address}" for name, address in NODES.items()]
    values = {
        "configs": str(configs),
        "key": str(folder / "cluster.key"),
        "user": "root",  # the tests' environment is root's alone
        "install": "command -v haman",
        "unit": "true",
        "start": START,
        "stop": "kill $(pgrep -o -f 'haman agent -c')",
    }
    words = [f"--set={name}={value}" for name, value in values.items()]
    known = "--known-hosts=/etc/lab/ssh/known_hosts"
    command = ["haman", "playbook", "run", "install", *hosts, *words, known, *more]
    command += ["-i", "/etc/lab/ssh/client_key", "--journal", str(folder / "runs")]
    done = fresh.runtime.exec("client", command, timeout_s=60)
    return done.returncode, done.stdout + done.stderr


def configs_in(folder: Path) -> Path:
    configs = folder / "configs"
    configs.mkdir()
    for place, (name, address) in enumerate(NODES.items()):
        peer, peer_address = next((n, a) for n, a in NODES.items() if n != name)
        text = CONFIG.format(
            name=name,
            address=address,
            peer=peer,
            peer_address=peer_address,
            priority=150 - 50 * place,
        )
        (configs / f"{name}.toml").write_text(text)
    make_cluster_key(folder / "cluster.key")
    return configs


def test_a_configuration_with_a_mistake_leaves_nothing(fresh: lab.Lab, tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    (configs / "n1.toml").write_text("[node]\nnmae = 'n1'\n")
    status, said = install(fresh, tmp_path, configs)
    assert status == 1
    assert "did you mean name?" in said
    for node in NODES:
        left = fresh.runtime.exec(node, ["ls", "-A", "/etc/haman"]).stdout
        assert left == ""
        assert agent.status(fresh.runtime, node) is None


def test_two_fresh_nodes_become_a_pair(fresh: lab.Lab, tmp_path: Path) -> None:
    status, said = install(fresh, tmp_path, configs_in(tmp_path))
    assert status == 0, said

    def served() -> bool:
        told = agent.status(fresh.runtime, "n2")
        return told is not None and [s.holders for s in told.services] == [("n1",)]

    assert wait_until(served, 20), fresh.runtime.exec("n2", ["haman", "status"]).stdout
    key = fresh.runtime.exec("n1", ["stat", "-c", "%a", "/etc/haman/cluster.key"]).stdout
    assert key.strip() == "640"
    # What the cluster knows of itself is enough to go on without a list of hosts.
    command = ["haman", "playbook", "run", "rolling-restart", "--check", "--set", "command=true"]
    command += ["--ssh", "root@10.99.0.11", "--known-hosts", "/etc/lab/ssh/known_hosts"]
    done = fresh.runtime.exec("client", [*command, "-i", "/etc/lab/ssh/client_key"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok n1 may leave now" in " ".join(done.stdout.split())
