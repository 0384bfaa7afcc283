"""What the injection costs: plain SFT, the release's way, and our two semantics, in turn, on two ranks under ZeRO-2.

    python benchmarks/bench_injection.py                 # 10M, 50M and 200M parameters, two CPU ranks
    python benchmarks/bench_injection.py --device cuda   # one GPU, an LM of the size of Qwen2.5-VL-7B, CUDA events

The release's way is a tensor hook per parameter with a full copy of Delta on every rank, written here from the paper's
description; `micro_batch` (the tables run it) computes the same without the copy; `step` reads the averaged gradient.
"apply" is what each adds at the optimizer step, "w_eff" what a log line costs under SFT, under DRIFT, and where Delta
is read from disk for it. Times are taken in one process that changes way at every step, so that a busy machine hits all
alike; memory is taken in a process of its own for each way. CPU seconds are the process's own.
"""

import argparse
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from drift import GradientInjector, ReasoningPrior, RunObserver
from drift.choices import Semantics

OURS: tuple[Semantics, ...] = ("step", "micro_batch")  # the tables run micro_batch
WAYS = ("plain", "release", *OURS)
PARTS = ("apply step", "apply micro_batch", "w_eff SFT", "w_eff DRIFT", "w_eff read")


@dataclass(frozen=True)
class Size:
    """One model: a Qwen2 with this many layers and widths."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int = 8192


SIZES = {
    "10M": Size(8, 256, 1024, 8, 2),
    "50M": Size(12, 512, 2048, 8, 2),
    "200M": Size(16, 1024, 3072, 16, 4),
    "7B": Size(28, 3584, 18944, 28, 4, 152064),
}


def build(size: Size, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A randomly initialised model, created on its device."""
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        tie_word_embeddings=True,
    )
    with device:
        return Qwen2ForCausalLM._from_config(config, dtype=dtype).train()


def write_prior(size: Size, folder: Path) -> None:
    """A prior in bf16 between two random models, on disk as training reads it."""
    for seed, name in enumerate(("mllm", "expert")):
        torch.manual_seed(seed)
        model = build(size, torch.device("cpu"), torch.bfloat16)
        # Fresh biases are all zero; a zero Delta is 0/0 in the release's way, and DeepSpeed then skips the step.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, std=0.02)
        model.save_pretrained(folder / name)
    ReasoningPrior.extract(folder / "mllm", folder / "expert", folder / "prior")


def release_hooks(
    parameters: Mapping[str, nn.Parameter], prior: ReasoningPrior, alpha: float = -1.0
) -> Callable[[], list[Any]]:
    """The release's way: every rank keeps every Delta on the host and biases each local gradient in a hook."""
    deltas = {name: prior.read(name, dtype=torch.bfloat16) for name in prior.names}

    def hook(delta: Tensor) -> Callable[[Tensor], Tensor]:
        def bias(gradient: Tensor) -> Tensor:
            local = delta.to(gradient.device, gradient.dtype)
            norms = gradient.norm() * local.norm()
            cosine = (gradient * local).sum() / norms
            return gradient + alpha * (1 + cosine) / 2 * gradient.norm() / local.norm() * local

        return bias

    return lambda: [parameters[name].register_hook(hook(delta)) for name, delta in deltas.items()]


class Clock:
    """CPU seconds, wall seconds, and on a GPU the device's milliseconds by CUDA events."""

    def __init__(self, device: torch.device) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []

    def __enter__(self) -> "Clock":
        if self._events:
            torch.cuda.synchronize()
            self._events[0].record()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self._events:
            self._events[1].record()
            torch.cuda.synchronize()
        self.cpu, self.wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self.device = self._events[0].elapsed_time(self._events[1]) / 1e3 if self._events else self.cpu

    def row(self, way: str) -> dict[str, Any]:
        """What was measured, labelled."""
        return {"way": way, "cpu": self.cpu, "wall": self.wall, "device": self.device}


def engine_of(model: nn.Module) -> Any:
    """ZeRO-2 in fp32 with torch's AdamW, as the lab trains."""
    import deepspeed

    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": 2, "reduce_bucket_size": 10_000_000, "allgather_bucket_size": 10_000_000},
        "zero_allow_untested_optimizer": True,
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def rank_main(arguments: argparse.Namespace) -> None:
    """One rank: time the ways in turn, or measure the memory of one of them."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    model = build(SIZES[arguments.size], torch.device("cpu"), torch.float32)
    prior = ReasoningPrior.load(arguments.folder / "prior")
    engine = engine_of(model)
    tokens = torch.randint(0, 8192, (1, arguments.sequence))
    ways = WAYS if arguments.way == "all" else (arguments.way,)
    rows = _time_ways(engine, model, prior, tokens, ways, arguments.repeats)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    selected = sum(prior.numel(name) for name in prior.names)
    total = sum(parameter.numel() for parameter in model.parameters())
    result = {"rows": rows, "peak": memory, "selected": selected, "total": total, "size": arguments.size}
    (arguments.folder / f"{arguments.way}-{dist.get_rank()}.json").write_text(json.dumps(result))
    if engine.skipped_steps:
        raise SystemExit(f"{engine.skipped_steps} steps were skipped as not finite; their times mean nothing")
    dist.barrier()


def _time_ways(
    engine: Any, model: nn.Module, prior: ReasoningPrior, tokens: Tensor, ways: tuple[str, ...], repeats: int
) -> list[dict[str, Any]]:
    """One row per step and way, the first of each dropped, and rows of what ours does beside the step.

    The order rotates: what a step leaves in caches and allocator falls on each way in turn.
    """
    register = release_hooks(dict(model.named_parameters()), prior) if "release" in ways else list
    watcher, rows = RunObserver(prior).attach(engine), []
    for repeat in range(repeats + 1):
        for way in ways[repeat % len(ways) :] + ways[: repeat % len(ways)]:
            handles = register() if way == "release" else []
            injector = TimedInjector(prior, way).attach(engine) if way in OURS else None
            dist.barrier()
            with Clock(torch.device("cpu")) as clock:
                engine.backward(engine(input_ids=tokens, labels=tokens).loss)
                engine.step()
            for handle in handles:
                handle.remove()
            found = [clock.row(way)]
            if injector is not None:
                found += [injector.clock.row(f"apply {way}"), *_time_log_lines(engine, prior, watcher, injector)]
                injector.detach()
            rows += found if repeat else []
    return rows


def _time_log_lines(engine: Any, prior: ReasoningPrior, sft: RunObserver, drift: RunObserver) -> list[dict[str, Any]]:
    """What w_eff costs an SFT and a DRIFT that hold their slices of Delta, and one that reads them for it."""
    ways = {
        "w_eff SFT": sft.w_eff,
        "w_eff DRIFT": drift.w_eff,
        "w_eff read": partial(RunObserver(prior).attach, engine),
    }
    rows = []
    for way, measure in ways.items():
        dist.barrier()
        with Clock(torch.device("cpu")) as clock:
            measure()
        rows.append(clock.row(way))
    return rows


class TimedInjector(GradientInjector):
    """An injector that times its own part of every step."""

    def __init__(self, prior: ReasoningPrior, semantics: str) -> None:
        super().__init__(prior, semantics=semantics)
        self.clock = Clock(torch.device("cpu"))

    def _apply(self) -> None:
        with self.clock:
            super()._apply()


def launch(arguments: argparse.Namespace, folder: Path, size: str, way: str, repeats: int) -> list[dict[str, Any]]:
    """Both ranks' results."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, __file__, "--rank", "--folder", str(folder), "--size", size, "--way", way]
    command += ["--repeats", str(repeats), "--sequence", str(arguments.sequence)]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        logs = [stack.enter_context((folder / f"{way}-{rank}.log").open("w")) for rank in range(2)]
        ranks = [
            subprocess.Popen(command, env={**shared, "RANK": str(r), "LOCAL_RANK": str(r)}, stdout=log, stderr=log)
            for r, log in enumerate(logs)
        ]
        codes = [process.wait() for process in ranks]
    if any(codes):
        raise SystemExit((folder / f"{way}-0.log").read_text()[-3000:])
    return [json.loads((folder / f"{way}-{rank}.json").read_text()) for rank in range(2)]


def summarise(rows: list[dict[str, Any]], key: str) -> dict[str, tuple[float, float, float]]:
    """Median, lowest and highest of every way's values."""
    values = {way: [row[key] for row in rows if row["way"] == way] for way in (*WAYS, *PARTS)}
    return {way: (statistics.median(v), min(v), max(v)) for way, v in values.items() if v}


def table(rows: list[dict[str, Any]], key: str, title: str) -> list[str]:
    """Markdown rows of medians, ranges and ratios to plain."""
    summary = summarise(rows, key)
    plain = summary["plain"][0]
    return [
        f"| {title} | {way} | {middle:.3f} | {low:.3f} to {high:.3f} | {middle / plain:.3f} |"
        for way, (middle, low, high) in summary.items()
    ]


def bench_size(arguments: argparse.Namespace, size: str) -> list[str]:
    """Markdown lines of one size: times from one launch, memory from one launch per way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prior(SIZES[size], folder)
        results = launch(arguments, folder, size, "all", arguments.repeats)
        rows = [row for result in results for row in result["rows"]]
        measured = () if arguments.times_only else WAYS
        peaks = {way: [r["peak"] for r in launch(arguments, folder, size, way, 1)] for way in measured}
    selected = results[0]["selected"]
    lines = [*table(rows, "cpu", f"{size}: CPU s a step"), *table(rows, "wall", f"{size}: wall s a step")]
    plain = statistics.median(peaks["plain"]) if peaks else 0.0
    for way in peaks:
        middle, low, high = statistics.median(peaks[way]) / 1e6, min(peaks[way]) / 1e6, max(peaks[way]) / 1e6
        grown = middle - plain / 1e6
        lines.append(f"| {size}: peak MB a rank | {way} | {middle:.0f} | {low:.0f} to {high:.0f} | {grown:+.0f} MB |")
    shard = selected * 2 / 2 / 1e6
    lines.append(f"| {size}: Delta in bf16, MB | shard / whole | {shard:.0f} / {2 * shard:.0f} | | |")
    return lines


def bench_device(arguments: argparse.Namespace, size: str) -> list[str]:
    """One device, plain PyTorch with SGD in bf16: a step with the injection and without, in turn."""
    device = torch.device(arguments.device)
    model = build(SIZES[size], device, torch.bfloat16)
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    prior = RandomPrior(model)
    tokens = torch.randint(0, SIZES[size].vocabulary, (1, arguments.sequence), device=device)
    rows = []
    for repeat in tqdm(range(arguments.repeats + 1)):
        for way in ("plain", *OURS):
            inner = Clock(device)
            injector = GradientInjector(prior, semantics=way).attach(model) if way in OURS else None
            with Clock(device) as clock:
                model(input_ids=tokens, labels=tokens).loss.backward()
                if injector is not None:
                    with inner:
                        injector.apply()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if injector is not None:
                injector.detach()
            if repeat:
                rows += [clock.row(way), *([inner.row(f"apply {way}")] if way in OURS else [])]
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    return [*table(rows, "device", f"{size}: device s a step"), f"| {size}: peak GB | all | {peak:.1f} | | |"]


class RandomPrior:
    """Deltas drawn when they are read, for a model too big to write twice to disk for a benchmark."""

    def __init__(self, model: nn.Module) -> None:
        self.groups, self.dtype, self._device = ("attn", "mlp"), torch.bfloat16, next(model.parameters()).device
        marks = ("self_attn", ".mlp.")
        self._shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if any(mark in n for mark in marks)}
        self.names = list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """The parameter's shape."""
        return self._shapes[name]

    def norm(self, name: str) -> float:
        """The expected norm of a Gaussian of this size."""
        return 0.01 * torch.Size(self._shapes[name]).numel() ** 0.5

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Gaussian of deviation 0.01."""
        return (0.01 * torch.randn(stop - start, device=self._device)).to(dtype)

    def held(self, name: str, start: int, stop: int, device: torch.device) -> Tensor:
        """The same, in bf16."""
        return self.read_slice(name, start, stop, dtype=self.dtype).to(device)


def main() -> None:
    """Run, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--single", action="store_true", help="one process on --device, as on a GPU")
    parser.add_argument("--times-only", action="store_true", help="leave the memory out, three launches a size")
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help="append the table to this file")
    for flag, kind in (("--folder", Path), ("--size", str), ("--way", str)):
        parser.add_argument(flag, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        return rank_main(arguments)
    alone = arguments.single or arguments.device != "cpu"
    sizes = arguments.sizes or (["7B"] if alone else ["10M", "50M", "200M"])
    lines = [f"\n`python benchmarks/{' '.join([Path(__file__).name, *sys.argv[1:]])}`, {_machine(arguments.device)}\n"]
    lines += ["| what | way | median | range | against plain |", "| --- | --- | --- | --- | --- |"]
    for size in sizes:
        lines += bench_device(arguments, size) if alone else bench_size(arguments, size)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        with arguments.write.open("a", encoding="utf-8") as file:
            file.write(text)


def _machine(device: str) -> str:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return f"{name}, {os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
