"""One rank of the injection's matrix: trains every case of a list and writes what came out.

`launch` starts WORLD of these on free ports; a test reads `<case>.pt` from the folder.
"""

import logging
import os
import pickle
import socket
import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from injection_cases import LEARNING_RATE, WORLD, Case, batches, build_model, build_prior, choices
from torch import Tensor, nn

from drift.training.worker import leave

log = logging.getLogger(__name__)

SETTINGS = {"lr": LEARNING_RATE, "weight_decay": 0.0}


def launch(cases: list[Case], folder: Path, timeout: float = 280.0, ranks: int = WORLD) -> None:
    """Run the cases on `ranks` gloo processes; raises with their output if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(folder)]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in range(ranks):
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with (folder / f"rank{rank}.log").open("w") as log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(codes):
        logs = [(folder / f"rank{rank}.log").read_text()[-3000:] for rank in range(ranks)]
        raise RuntimeError(f"exit codes {codes}\n" + "\n".join(logs))


def train(case: Case, folder: Path) -> dict[str, Any]:
    """Weights and metrics of one case."""
    from drift import GradientInjector

    if case.backend == "accelerator":
        return trainers().run_accelerator(case)
    if case.backend.startswith("trainer"):
        return trainers().run_trainer(case, folder, engine_config(case) if "zero" in case.backend else None)
    model = build_model(case.tied)
    prior = build_prior(model, case.groups, case.rank)
    injector = GradientInjector(prior, **choices(case)) if case.inject else None
    run = _run_engine if case.backend.startswith("zero") else _run_torch
    return run(case, model, injector, folder)


def trainers() -> ModuleType:
    """The Trainer's and accelerate's runs, imported only where they are needed: transformers' Trainer takes seconds."""
    return import_module("injection_trainers")


def _run_torch(case: Case, model: nn.Module, injector: Any, folder: Path) -> dict[str, Any]:
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    outer = model
    if case.backend == "fsdp2":
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
    else:
        outer = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(outer.parameters(), **SETTINGS)
    if injector:
        injector.attach(outer)
    for step in batches(case.accumulation):
        for index, tokens in enumerate(step[dist.get_rank()]):
            last = index == case.accumulation - 1
            if case.backend == "fsdp2":
                model.set_requires_gradient_sync(last)
            with nullcontext() if last or case.backend == "fsdp2" else outer.no_sync():
                (outer(input_ids=tokens, labels=tokens).loss / case.accumulation).backward()
        if injector:
            injector.apply()
        if case.clip:
            torch.nn.utils.clip_grad_norm_(outer.parameters(), case.clip)
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: _whole(parameter) for name, parameter in model.named_parameters()}
    return {"weights": weights, **_observed(injector)}


def _whole(parameter: Tensor) -> Tensor:
    tensor = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
    return tensor.detach().clone()


def _observed(injector: Any) -> dict[str, Any]:
    if injector is None:
        return {}
    w_eff = injector.w_eff()
    seen = {"w_eff": w_eff, "table": injector.layer_table(), "metrics": injector.metrics()}
    seen |= {"covered": injector.covered, "expected": injector.expected, "state": injector.state_dict()}
    injector.detach()
    return seen


def engine_config(case: Case) -> dict[str, Any]:
    """DeepSpeed's settings of one case."""
    zero: dict[str, Any] = {"stage": int(case.backend[-1]), "reduce_bucket_size": 5000, "allgather_bucket_size": 5000}
    zero |= {"stage3_param_persistence_threshold": 0} if zero["stage"] == 3 else {}
    zero |= {"round_robin_gradients": True} if case.round_robin else {}
    zero |= {"offload_optimizer": {"device": "cpu", "pin_memory": False}} if case.offload else {}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": case.accumulation,
        "gradient_clipping": case.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    if case.bf16:
        config |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
    return config


def _build_engine(case: Case, model: nn.Module) -> Any:
    import deepspeed

    # Two parameter groups, so that a rank's partition is more than one flat range.
    whole = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": whole}, {"params": [p for p in model.parameters() if p.ndim == 1]}]
    optimizer = torch.optim.AdamW(groups, **SETTINGS)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=engine_config(case))[0]


def _run_engine(case: Case, model: nn.Module, injector: Any, folder: Path) -> dict[str, Any]:
    engine = _build_engine(case, model)
    if injector:
        injector.attach(engine)
    for number, step in enumerate(batches(case.accumulation)):
        if case.resume and number == 2:
            engine, injector = _resume(case, engine, injector, folder / f"{case.name}.checkpoint")
        for tokens in step[dist.get_rank()]:
            engine.backward(engine(input_ids=tokens, labels=tokens).loss)
            engine.step()
    weights = _gathered(case, engine)
    seen = _observed(injector)
    engine.destroy()
    return {"weights": weights, **seen}


def _resume(case: Case, engine: Any, injector: Any, folder: Path) -> tuple[Any, Any]:
    """Save, throw everything away, and go on in a new engine whose weights start out wrong."""
    from drift import GradientInjector

    engine.save_checkpoint(str(folder))
    state = injector.state_dict()
    injector.detach()
    engine.destroy()
    model = build_model(case.tied)
    prior = build_prior(model, case.groups, case.rank)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    fresh = _build_engine(case, model)
    fresh.load_checkpoint(str(folder))
    again = GradientInjector(prior, **choices(case))
    again.load_state_dict(state)
    return fresh, again.attach(fresh)


def _gathered(case: Case, engine: Any) -> dict[str, Tensor]:
    import deepspeed

    parameters = list(engine.module.parameters())
    with deepspeed.zero.GatheredParameters(parameters, enabled=case.backend == "zero3"):
        return {name: p.detach().float().clone() for name, p in engine.module.named_parameters()}


def main() -> None:
    """Train the folder's cases in turn."""
    import deepspeed

    folder = Path(sys.argv[1])
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    for case in pickle.loads((folder / "cases.pickle").read_bytes()):
        try:
            result = train(case, folder)
        except BaseException:
            log.exception("%s failed", case.name)
            raise
        if dist.get_rank() == 0:
            torch.save(result, folder / f"{case.name}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    leave(0)
