"""A Slurm cluster of two nodes on this machine, for the drills: its own daemons, in a directory of its own.

Nothing of the machine's own Slurm or munge is touched: `SLURM_CONF` and a socket of our own lead to it. Tried
with Debian 12's Slurm 22.05, as root, without systemd.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
_PATIENCE_SECONDS = 60.0
_SETTINGS = """\
ClusterName=drills
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
# A requeued job may start again after cred_expire and a second, 121 by default; 5 is the least.
AuthInfo=socket={home}/munge.socket,cred_expire=5
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=requeue_delay=1,batch_sched_delay=1,sched_interval=2,bf_interval=2
JobRequeue=1
KillWait=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {size}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {size}
PartitionName=low  Nodes=n1,n2 Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""
_SIZE = "CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=8000"
"""CPUs that there are not: the drills' jobs do next to nothing, or few train at a time."""
_NULL_DEVICE = os.makedev(1, 3)


def what_is_missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    missing = [name for name in PROGRAMS if not _program(name)]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons start jobs as root, and this is another user"


@dataclass
class SlurmCluster:
    """A cluster that runs."""

    home: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    has_gpus: bool = False
    """Made-up ones, two a node; a container may not let us."""

    @property
    def settings(self) -> Path:
        """What `SLURM_CONF` names."""
        return self.home / "slurm.conf"

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints. Raises: subprocess.CalledProcessError."""
        done = subprocess.run(words, env=self._environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """Of a job, as squeue has it; empty once it is gone."""
        found = [line.split("|") for line in self.ask("squeue", "-h", "-r", "-o", "%i|%T").splitlines()]
        return next((state for number, state in found if number == job), "")

    def node(self, job: str) -> str:
        """Where a job runs."""
        return self.ask("squeue", "-h", "-j", job, "-o", "%N")

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        self._start(name, "slurmd", "-D", "-f", str(self.settings), "-N", name)

    def kill_node(self, name: str) -> None:
        """A node is gone in an instant, with all that ran on it; Slurm is told, or it would take minutes."""
        for pid in _of_jobs(self.settings, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.daemons[name].kill()
        self.daemons.pop(name).wait()
        self.ask("scontrol", "update", f"nodename={name}", "state=down", "reason=drill")

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with (self.home / f"{name}.out").open("ab") as said:
            self.daemons[name] = subprocess.Popen(
                [_program(program), *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.settings)}

    def start(self) -> None:
        """Write its settings and start its daemons. Raises: TimeoutError, if its nodes do not come up."""
        for name in ("state", "spool-n1", "spool-n2"):
            (self.home / name).mkdir(parents=True)
        key = self.home / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        host, size = socket.gethostname(), _SIZE
        with contextlib.suppress(PermissionError):
            # A GPU has to be a device file: null devices with the names of GPUs will do.
            devices = [self.home / f"nvidia{number}" for number in range(4)]
            for device in devices:
                os.mknod(device, stat.S_IFCHR | 0o666, _NULL_DEVICE)
            lines = [f"NodeName=n{1 + at // 2} Name=gpu File={one}" for at, one in enumerate(devices)]
            (self.home / "gres.conf").write_text("\n".join(lines) + "\n")
            size, self.has_gpus = f"{_SIZE} Gres=gpu:2", True
        self.settings.write_text(
            _SETTINGS.format(
                home=self.home, host=host, user=getpass.getuser(), ports=_free_ports(3), size=size
            )
        )
        (self.home / "cgroup.conf").write_text("CgroupAutomount=no\n")
        paths = {name: self.home / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._start(
            "munged",
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={paths['socket']}",
            f"--pid-file={paths['pid']}",
            f"--log-file={paths['log']}",
            f"--seed-file={paths['seed']}",
        )
        _wait(lambda: paths["socket"].exists(), self._said)
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.settings))
        self.start_node("n1")
        self.start_node("n2")
        _wait(lambda: self._idle() == 2, self._said)

    def close(self) -> None:
        """End its jobs and its daemons, each by its own identity."""
        with contextlib.suppress(subprocess.CalledProcessError, OSError):
            self.ask("scancel", f"--user={getpass.getuser()}")
        for pid in _of_jobs(self.settings):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _idle(self) -> int:
        try:
            return self.ask("sinfo", "-h", "-p", "low", "-N", "-o", "%t").split().count("idle")
        except subprocess.CalledProcessError:
            return 0

    def _said(self) -> str:
        logs = sorted([*self.home.glob("*.out"), *self.home.glob("*.log")])
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in logs)


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _of_jobs(settings: Path, node: str = "") -> list[int]:
    """The processes of a cluster's jobs, on one node or all, and who looks after them there."""
    found: dict[int, None] = {}
    logs = {str(log) for log in settings.parent.glob(f"slurmd-{node or '*'}.log")}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            # One that waits for a controller that is gone has no job's process below it any more.
            if process.name() == "slurmstepd" and logs & {file.path for file in process.open_files()}:
                found[process.pid] = None
                continue
            environment = process.environ()
            here = environment.get("SLURMD_NODENAME", "")
            if environment.get("SLURM_CONF") != str(settings) or not here or node not in ("", here):
                continue
            parents = [one for one in process.parents() if one.name() == "slurmstepd"]
            found |= dict.fromkeys([*(one.pid for one in parents), process.pid])
    return list(found)


def _wait(happened: Callable[[], bool], said: Callable[[], str]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(said())
        time.sleep(0.1)
