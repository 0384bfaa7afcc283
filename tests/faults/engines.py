"""The engines of a campaign: each starts what places work, says how a run asks for it, and can lose a node."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
_REMOTE = ("launcher.threads=1",)


class Local:
    """This machine's own workers; it has no node to lose."""

    name, node, words = "local", "", ("launcher=local",)
    above = ""  # the name of a process that its workers, not those of this machine itself, are below
    quiet_seconds = 10.0  # within which everything must have ended after a kill of the scheduler
    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        """Nothing has to be started."""

    def queue(self) -> list[str]:
        """The jobs that go on by design when the scheduler is killed."""
        return []

    def lose_node(self, pid: int) -> None:
        """Ends the node that a worker runs on, as a power cut would."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends what the constructor has started."""


class Slurm(Local):
    """slurmctld and two slurmd. A lost node comes back, as one that was booted again would."""

    name, node, words, above = "slurm", "slurmd", ("launcher=slurm", *_REMOTE), "slurmstepd"

    def __init__(self, folder: Path) -> None:
        self._script, self._folder = ROOT / "tests" / "slurm_cluster.sh", folder / "slurm-cluster"
        self.environment = {"SLURM_CONF": str(self._folder / "slurm.conf")}
        self._call(str(self._script), "start", str(self._folder))

    def _call(self, *command: str) -> str:
        # To a file, not a pipe: the daemons keep their outputs open.
        with open(self._folder.with_suffix(".out"), "w+") as output:
            subprocess.run(command, env=os.environ | self.environment, stdout=output, stderr=output, check=True)
            output.seek(0)
            return output.read()

    def queue(self) -> list[str]:
        return self._call("squeue", "--noheader", "--format", "%i").split()

    def lose_node(self, pid: int) -> None:
        """slurmd and all below its step; then slurmd is started again."""
        node = psutil.Process(pid).environ()["SLURMD_NODENAME"]
        step = next(parent for parent in psutil.Process(pid).parents() if "slurmstepd" in parent.name())
        daemon = psutil.Process(int((self._folder / f"slurmd-{node}.pid").read_text()))
        for process in (daemon, step, *step.children(recursive=True)):
            process.kill()
        time.sleep(3)
        self._call("slurmd", "-N", node)

    def stop(self) -> None:
        self._call("scancel", "--me")
        self._call(str(self._script), "stop", str(self._folder))


class Ray(Local):
    """Three raylets, two of which have cores. A lost one is replaced by another."""

    name, node, above = "ray", "raylet", "raylet"
    quiet_seconds = 30.0  # Ray itself must notice that the driver is gone

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._cluster.add_node(num_cpus=2) for _ in range(2)]
        self.words = ("launcher=ray", f"launcher.options.address='{self._cluster.address}'", *_REMOTE)

    def lose_node(self, pid: int) -> None:
        parents = {parent.pid for parent in psutil.Process(pid).parents()}
        node = next(node for node in self._nodes if _raylet(node) in parents)
        os.kill(_raylet(node), signal.SIGKILL)
        self._nodes = [other for other in self._nodes if other is not node] + [self._cluster.add_node(num_cpus=2)]

    def stop(self) -> None:
        self._cluster.shutdown()


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


ENGINES = {engine.name: engine for engine in (Local, Slurm, Ray)}
