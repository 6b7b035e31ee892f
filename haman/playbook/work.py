"""Commands and files of tasks: what is done on a node itself."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from haman.playbook import shell
from haman.playbook.commands import SLACK_S, Commands, Told, done, failed
from haman.playbook.facts import Act
from haman.playbook.hosts import Tell
from haman.playbook.model import Download, Reload, Restart, Run, Upload
from haman.playbook.parameters import render
from haman.playbook.script import HERE, Restore, Revert

SOURCE_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class OnNode:
    """Does what needs a shell on a node, or on this machine.

    Attributes:
        commands: runs commands.
        facts: by node, what text may be filled with; HERE's for all others.
    """

    commands: Commands
    facts: Mapping[str, Mapping[str, str]]

    def text(self, text: str, node: str, *, quoted: bool = False, **more: str) -> str:
        """Fill a text in for a node."""
        facts = self.facts.get(node, self.facts[HERE])
        return render(text, {**facts, **more}, quoted=quoted)

    def do(
        self,
        act: Act,
        work: Run | Revert | Restart | Reload | Upload | Restore | Download,
        tell: Tell,
    ) -> Told:
        """Do a task; commands are begun once only."""
        node = act.task.node
        if act.only_looks:
            return self.commands.settle(act.task, act.attempt) or failed("it was not begun")
        match work:
            case Upload():
                return self._upload(act, work, tell)
            case Download():
                return self._download(act, work)
            case Restore(upload=upload, key=key):
                kept = self.commands.place(act.task).kept(key)
                return self._once(act, shell.restore(kept, self.text(upload.to, node)), tell)
            case Run(command=command):
                pass
            case Revert(run=run):
                command = run.undo
            case Restart() | Reload():
                command = work.command or _systemctl(work)
        return self._once(act, self.text(command, node, quoted=True), tell)

    def _once(self, act: Act, command: str, tell: Tell) -> Told:
        task = act.task
        return self.commands.once(task, act.attempt, command, settles=act.settles, tell=tell)

    def _upload(self, act: Act, work: Upload, tell: Tell) -> Told:
        task = act.task
        source = Path(self.text(work.source, task.node)).expanduser()
        try:
            with source.open("rb") as file:
                content = file.read(SOURCE_BYTES_MAX + 1)
        except OSError as error:
            return failed(f"{source} cannot be read: {error.strerror}")
        if len(content) > SOURCE_BYTES_MAX:
            return failed(f"{source} is larger than {SOURCE_BYTES_MAX} bytes")
        if act.settles and (settled := self.commands.settle(task, act.attempt)) is not None:
            return settled
        to = self.text(work.to, task.node)
        place = self.commands.place(task)
        temporary = str(Path(to).with_name(f".{Path(to).name}.{place.run}"))
        received = self.commands.hosts.run(
            task.node, shell.receive(temporary), task.timeout_s + SLACK_S, given=content
        )
        if received.status:
            return failed(f"{to}: {received.last_line or f'status {received.status}'}")
        if received.output.split()[:1] != [hashlib.sha256(content).hexdigest()]:
            return failed(f"{to}: what arrived is not what was sent")
        validate = self.text(work.validate, task.node, quoted=True, file=temporary)
        arrival = shell.Arrival(
            temporary, to, place.kept(task.key), work.mode, work.owner, validate
        )
        return self._once(replace(act, settles=False), shell.put(arrival), tell)

    def _download(self, act: Act, work: Download) -> Told:
        task = act.task
        source, to = self.text(work.source, task.node), Path(self.text(work.to, task.node))
        status, content = self.commands.hosts.fetch(
            task.node, f"cat {shlex.quote(source)}", task.timeout_s, work.bytes_max
        )
        if status:
            return failed(content.decode(errors="replace").strip() or f"status {status}")
        draft = to.with_name(f".{to.name}.new")
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_bytes(content)
            draft.replace(to)
        except OSError as error:
            return failed(f"{to}: {error.strerror}")
        return done(f"{len(content)} bytes")


def _systemctl(work: Restart | Reload) -> str:
    verb = "reload" if isinstance(work, Reload) else "restart"
    unit = shlex.quote(work.unit)
    return f"systemctl {verb} {unit} && systemctl is-active --quiet {unit}"
