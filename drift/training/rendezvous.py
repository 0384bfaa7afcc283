"""Where the nodes of one training find each other, read from what their engine tells them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drift.errors import TrainingError

_PORTS = range(20000, 30000)


@dataclass(frozen=True)
class Rendezvous:
    """A meeting of torchrun's agents, one a node.

    Attributes:
        endpoint: host:port that one of the nodes answers; empty where there is one node.
        name: tells the meeting from another at the same place.
        everywhere: put before a command, it runs it on every node; empty where the engine itself has started this on
            each of them.
    """

    nodes: int = 1
    endpoint: str = ""
    name: str = ""
    everywhere: tuple[str, ...] = ()

    def torchrun(self, processes: int) -> list[str]:
        """The arguments of torchrun for a node's share of `processes`."""
        if self.nodes == 1:
            return ["--standalone", "--nproc-per-node", str(processes)]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", self.endpoint, "--rdzv-id", self.name]
        return ["--nnodes", str(self.nodes), "--nproc-per-node", str(processes // self.nodes), *meeting]


def rendezvous(environ: Mapping[str, str], nodes: int) -> Rendezvous:
    """The meeting of `nodes` nodes in a SLURM job, or as torchrun's own PET_ variables have it.

    Raises:
        TrainingError: the environment names no meeting, or one of another size.
    """
    if nodes == 1:
        return Rendezvous()
    if "PET_RDZV_ENDPOINT" in environ:
        found, endpoint = environ.get("PET_NNODES", "1"), environ["PET_RDZV_ENDPOINT"]
        meeting = Rendezvous(nodes, endpoint, environ.get("PET_RDZV_ID", "drift"))
    elif "SLURM_JOB_NODELIST" in environ:
        found = environ["SLURM_JOB_NUM_NODES"]
        meeting = _slurm(environ, nodes)
    else:
        raise TrainingError(
            f"{nodes} nodes in one training, and neither SLURM_JOB_NODELIST nor PET_RDZV_ENDPOINT says where they "
            "meet; start it by launcher=slurm, or take one node"
        )
    if found != str(nodes):
        raise TrainingError(f"the training wants {nodes} nodes and the engine has given it {found}")
    return meeting


def _slurm(environ: Mapping[str, str], nodes: int) -> Rendezvous:
    """A step of the job with a task a node; it shares what the step that this runs in was given."""
    job = environ["SLURM_JOB_ID"]
    share = [f"--cpus-per-task={environ['SLURM_CPUS_PER_TASK']}"] if "SLURM_CPUS_PER_TASK" in environ else []
    step = ("srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", *share)
    port = _PORTS[int(job) % len(_PORTS)]
    host = first_host(environ["SLURM_JOB_NODELIST"])
    return Rendezvous(nodes, f"{host}:{port}", f"drift-{job}", (*step, "--kill-on-bad-exit=1"))


def first_host(nodes: str) -> str:
    """The first host of SLURM's short list: gpu-003 of "gpu-[003-004,9],x1"."""
    prefix, numbers, suffix = re.match(r"([^,\[]*)(?:\[([^\]]*)\])?([^,\[]*)", nodes).groups()  # type: ignore[union-attr]
    return prefix + re.split("[-,]", numbers or "")[0] + suffix
