"""Playbooks, a drill, and a run of one on a pair, half way and at its end."""

from haman.api import runs

RESTART = runs.Offer(
    kind="playbook",
    name="rolling-restart",
    file="rolling-restart",
    about="Restart the proxy of every node, one node at a time, drained first.",
    words=(
        "On each node, one at a time, those that hold a VIP last:",
        "      (only if all others are in service, and N−1 holds without it)",
        "   1. drain, until it serves nothing",
        "   2. wait for clients to leave: wait for at most 0 connections, within 300 s",
        "   3. restart the proxy: restart by `systemctl restart haproxy`",
        "   4. undrain",
        "      (it must serve again as before within 60 s, and nothing may get worse for 5 s)",
        "",
        "If a step fails, it takes back what was done on that node and on all before it, last one first.",
        "If the cluster gets worse than it was at the start, what was done is taken back.",
    ),
    parameters=(
        runs.Parameter("command", "command", "systemctl restart haproxy", "restarts the proxy"),
        runs.Parameter("drain_s", "number", "300", "how long clients may take to leave", min=1),
    ),
    takes_out=True,
)
EVACUATE = runs.Offer(
    kind="playbook",
    name="evacuate-site",
    file="evacuate-site",
    about="Take all nodes of a site out of service, one by one, if the others can carry the load.",
    words=("On each node, one at a time:", "   1. drain, until it serves nothing"),
    parameters=(runs.Parameter("site", about="which site"),),
    takes_out=True,
    stays_out=True,
)
SUPPORT = runs.Offer(
    kind="playbook",
    name="collect-support",
    file="collect-support",
    about="Fetch from every node what is needed to understand a problem, without its secrets.",
    words=("On each node, 8 at once:", "   1. collect"),
)
BROKEN = runs.Offer(
    kind="playbook", name="own-thing", file="own-thing", problems=("step[1].do: there is no rum",)
)
CRASH = runs.Offer(
    kind="drill",
    name="proxy-crash",
    file="lab/drills/proxy-crash.toml",
    about="The active node's proxy dies: the other node serves at once.",
    words=("  +2 s  kill haproxy on lb1", "", "What must come of it:", "  holder: web lb2"),
    takes_out=True,
    nodes=("lb1",),
    lab="pair",
)
OFFERS = (SUPPORT, EVACUATE, BROKEN, RESTART, CRASH)

TITLES = (
    "may leave: everybody else serves",
    "drain, until it serves nothing",
    "wait for clients to leave",
    "restart the proxy",
    "undrain",
    "serves again, and nothing is worse",
)
RUN = "rolling-restart-20261120-101500-00c6"
LAID_OUT = runs.LaidOut(
    RUN,
    f"/root/.local/state/haman/runs/{RUN}.jsonl",
    tuple(
        runs.Lane(
            node,
            tuple(runs.Task(f"{node}/{place}", title) for place, title in enumerate(TITLES, 1)),
        )
        for node in ("lb2", "lb1", "lb3")
    ),
)


def done(key: str, seconds: float, text: str = "") -> tuple[runs.Line, ...]:
    return runs.Begun(key), runs.Ended(key, "done", text, seconds)


HALF_WAY: tuple[runs.Line, ...] = (
    LAID_OUT,
    *done("lb2/1", 0.1),
    *done("lb2/2", 1.4, "lb2: drained"),
    *done("lb2/3", 12.0),
    *done("lb2/4", 0.8),
    *done("lb2/5", 0.1, "lb2: back in service"),
    *done("lb2/6", 5.2, "for 5 s"),
    *done("lb1/1", 0.1),
    *done("lb1/2", 2.3, "lb1: drained"),
    *done("lb1/3", 31.0),
    runs.Begun("lb1/4"),
    runs.Ended("lb1/4", "failed", "the command ended with status 1", 0.7),
    runs.Begun("lb1/4", 2),
    runs.Said("lb1/4", "Restarting haproxy: configuration file is valid"),
    runs.Said("lb1/4", "waiting for 412 connections of the old workers to end, at most 30 s"),
)
TO_THE_END: tuple[runs.Line, ...] = (
    *HALF_WAY,
    runs.Ended("lb1/4", "failed", "the command ended with status 1: port 443 is in use", 0.7, 2),
    runs.Finished(
        "stopped",
        ok=False,
        text="lb1, restart the proxy: the command ended with status 1: port 443 is in use",
        resume=f"haman playbook resume {RUN}",
    ),
    runs.Reported("# rolling-restart: stopped\n\n- nodes lb2, lb1, lb3", {"verdict": "stopped"}),
)
