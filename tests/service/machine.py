"""A Debian tree booted with real systemd in systemd-nspawn: what the scenarios drive."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

BOOT_S = 60


class Machine:
    """A context manager: inside it the tree runs. Changes go into an overlay that is thrown away.

    Args:
        tree: a Debian tree with systemd; stays as it is.
        scratch: a folder for the overlay.
    """

    def __init__(self, tree: Path, scratch: Path) -> None:
        self.root = scratch / "root"
        self._tree = tree
        self._scratch = scratch
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        for name in ("root", "upper", "work"):
            (self._scratch / name).mkdir(parents=True)
        layers = f"lowerdir={self._tree},upperdir={self._scratch}/upper,workdir={self._scratch}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", self.root], check=True)
        return self

    def boot(self) -> None:
        """Start the tree's own init; returns when it has come up."""
        command = ["systemd-nspawn", "-D", self.root, "--boot", "--register=no", "--keep-unit", "--private-network"]
        # Without bpf DeviceAllow= is silently not enforced.
        command += ["-M", f"edgepose{os.getpid()}", "--system-call-filter=bpf", "--console=read-only"]
        command += ["--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON"]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self._scratch / "boot.log").open("wb") as log:
            self._nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            eventually("the tree's init starts", self._find_init, BOOT_S)
            eventually("the tree is up", lambda: self.out("systemctl", "is-system-running") == "running", BOOT_S)
        except AssertionError as error:
            said = (self._scratch / "boot.log").read_text(errors="replace")[-500:]
            raise AssertionError(f"{error}: {said}") from None

    def _find_init(self) -> bool:
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._init = int(children[0]) if children else 0
        return bool(children) and Path(f"/proc/{self._init}/comm").read_text().startswith("systemd")

    def run(self, *command: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree, as root; stdout and stderr come together."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        try:
            return subprocess.run(
                ["nsenter", "-t", str(self._init), "-a", "env", "-i", path, "HOME=/root", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(map(str, command))}: not done in {timeout_s:.0f} s") from None

    def out(self, *command: str) -> str:
        """What a command prints, without the last line break."""
        return self.run(*command).stdout.strip()

    def do(self, *command: str) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}: {done.stdout[-1500:]}"
        return done.stdout.strip()

    def property(self, unit: str, name: str) -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.out("systemctl", "show", "--property", name, "--value", unit)

    def main_pid(self, unit: str = "edge-pose.service") -> int:
        """The unit's main process, numbered as inside the tree; 0 if it does not run."""
        return int(self.property(unit, "MainPID") or 0)

    def signal(self, name: str, pid: int) -> None:
        """Send a signal to a process of the tree."""
        assert pid > 0, "there is no such process"
        self.do("sh", "-c", f"kill -{name} {pid}")

    def journal(self, unit: str = "edge-pose.service", *more: str) -> str:
        """The unit's log."""
        return self.out("journalctl", "--unit", unit, "--no-pager", "--output", "cat", *more)

    def files(self) -> set[str]:
        """Every file of the tree's disk by path, without what the system itself makes while it runs."""
        listing = self.out(
            *("find", "/", "-xdev", "(", "-path", "/var/log", "-o", "-path", "/root", "-o", "-path", "/tmp", ")"),  # noqa: S108 -- the tree's
            *("-prune", "-o", "-print"),
        )
        return set(listing.splitlines())

    def path(self, path: str) -> Path:
        """A file of the tree, as seen from outside; once booted with what is mounted in there."""
        return (Path(f"/proc/{self._init}/root") if self._init else self.root) / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Make a file in the tree."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)  # nspawn shuts its init down
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait(10)
        subprocess.run(["umount", "--lazy", self.root], check=False)
        shutil.rmtree(self._scratch, ignore_errors=True)


def eventually(what: str, condition: Callable[[], bool], timeout_s: float) -> float:
    """Wait until a condition holds; returns how long it took.

    Raises:
        AssertionError: it does not in time.
    """
    start_s = time.monotonic()
    while time.monotonic() - start_s < timeout_s:
        if condition():
            return time.monotonic() - start_s
        time.sleep(0.25)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
