"""A hub of one's own on this disk: the published repositories cut small, where huggingface_hub looks for them.

Every checkpoint is a sharded folder of the real class with seeded random weights, under the names and with the index
that the hub has; the SFT data name their pictures by path, as the release's do; benchmarks are tables of their
published columns. Checkpoints are made once.
"""

import csv
import hashlib
import io
import json
import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from evaluation.benchmarks import get_benchmark
from evaluation.data.splits import Split, split_of
from evaluation.data.tsv import encode_image, load_items, write_rows
from pipelines.rehearsal.cut import cut
from pipelines.rehearsal.facts import Facts, facts
from pipelines.rehearsal.tokenizers import write_tokenizer

_SHARD = "4MB"  # several shards, as a checkpoint of 15 GB has
_WHOLE = ".whole"
_CANDIDATES = 48  # of a benchmark's items, so that some are on either side of its split
_BAR = 14


def commit_of(repo: str) -> str:
    """Stands for the commit that a repository would be locked at."""
    return hashlib.sha1(repo.encode(), usedforsecurity=False).hexdigest()


def snapshot_folder(cache: Path, repo: str, revision: str, kind: str = "model") -> Path:
    """Where huggingface_hub keeps a repository's files at a commit."""
    return cache / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / revision


def write_model(cache: Path, repo: str, revision: str) -> Path:
    """The cut checkpoint of a repository, in the hub's layout; its folder."""
    folder = snapshot_folder(cache, repo, revision)
    if not (folder / _WHOLE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_checkpoint(facts(repo), cut(facts(repo).config), folder)
        (folder / _WHOLE).touch()
    return folder


def write_checkpoint(known: Facts, config: Mapping[str, Any], folder: Path) -> None:
    """A checkpoint folder of a repository's kind and of the size that `config` says, its weights drawn by its name."""
    _write_weights(known, json.dumps(config, indent=1), folder)
    _write_processor(known, folder)


def _write_weights(known: Facts, config: str, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    (folder / "config.json").write_text(config)
    torch.manual_seed(int(commit_of(known.repo)[:8], 16))
    kind: Any = AutoModelForImageTextToText if known.preprocessor else AutoModelForCausalLM
    dtype = getattr(torch, known.config["torch_dtype"])
    model = kind.from_config(AutoConfig.from_pretrained(folder), dtype=dtype)
    model.save_pretrained(folder, max_shard_size=_SHARD)
    for ours, theirs in known.spelled.items():
        _respell(folder, ours, theirs)
    (folder / "config.json").write_text(config)  # in the hub's spelling, not in this transformers' own


def _respell(folder: Path, ours: str, theirs: str) -> None:
    """Tensors as the hub has called them since before this transformers: another prefix, in shards and index."""
    from safetensors.torch import load_file, save_file

    def spelled(name: str) -> str:
        return theirs + name.removeprefix(ours) if name.startswith(ours) else name

    for shard in folder.glob("*.safetensors"):
        tensors = {spelled(name): tensor for name, tensor in load_file(shard).items()}
        save_file(tensors, shard, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = {spelled(name): shard for name, shard in content["weight_map"].items()}
    index.write_text(json.dumps(content, indent=1))


def _write_processor(known: Facts, folder: Path) -> None:
    for name, fields in (("preprocessor_config.json", known.preprocessor), ("processor_config.json", known.processor)):
        if fields:
            (folder / name).write_text(json.dumps(fields, indent=1))
    if known.tokenizer:
        write_tokenizer(known.tokenizer, folder)


def write_data(folder: Path, examples: int, repeats: int = 1) -> None:
    """SFT data as the release has them: a JSON of sharegpt messages whose pictures are named by path.

    Args:
        repeats: how often a reply says its line of eleven letters.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(examples):
        name = f"images/{number}.png"
        (folder / name).write_bytes(strip(str(number)))
        asked = "<image>Which number is in the picture?"
        said = f"<think>{f'I see {number}. ' * repeats}</think> \\boxed{{{number}}}"
        talk = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        rows.append({"messages": talk, "images": [name]})
    (folder / "train.json").write_text(json.dumps(rows, indent=1))


def strip(text: str) -> bytes:
    """A picture so long and low that every family sees it in few tokens, and like no other text's."""
    image, drawn = Image.new("RGB", (280, 28), "white"), random.Random(text)
    canvas = ImageDraw.Draw(image)
    for left in range(0, image.width, _BAR):
        canvas.rectangle((left, 0, left + _BAR, image.height), fill=(drawn.randrange(256),) * 3)
    canvas.text((4, 8), text, fill="white")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def write_benchmarks(folder: Path, names: Sequence[str], items: int, real: Path | None) -> None:
    """A table for each benchmark: the first items of its repository's files in `real`, else made-up ones.

    Args:
        items: at least so many are to be reported on; a question more is for choosing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        benchmark = get_benchmark(name)
        source, whole = real / name.removesuffix("_MINI").lower() if real else None, folder / "whole.tsv"
        if source and source.is_dir() and benchmark.converter:
            benchmark.convert(source, whole)
        else:
            write_rows(whole, [_row(name, number) for number in range(_CANDIDATES)])
        rows = list(islice(_rows(whole), _CANDIDATES))
        write_rows(whole, rows)
        kept = _on_both_sides(split_of(load_items(whole, benchmark), benchmark), items)
        write_rows(folder / benchmark.tsv, [row for row in rows if row["index"] in kept])
        whole.unlink()


def _on_both_sides(split: Split, items: int) -> set[str]:
    """The items of one question to choose on, and of as many to report on as hold the items."""
    chosen_on, reported = set(sorted(split.validation, key=len)[0]), set[str]()
    for question in sorted(split.test, key=len):
        if len(reported) < items:
            reported |= set(question)
    return chosen_on | reported


def _rows(table: Path) -> Iterator[Mapping[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with table.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream, delimiter="\t")


def _row(name: str, number: int) -> Mapping[str, str]:
    """A question in the columns that any of the benchmarks wants; three in a row are a group of WeMath."""
    group, step = divmod(number, 3)
    is_hallusion = name == "HallusionBench"
    return {
        "index": f"VD_figure_{group}_{step}_{number}" if is_hallusion else f"made-up-{number}",  # on no kept list
        "question": f"Is {number} in the picture of {name}?",
        "image": encode_image(strip(f"{name} {number}")),  # no two tables hold one picture: a choice would have seen it
        **dict(zip("ABCD", (f"{number}", "1", "2", "3"), strict=True)),
        "answer": "yes" if is_hallusion else "A",
        "answer_option": "A",
        "question_type": "multi_choice",
        "answer_type": "text",
        "ID": str(group),
        "key": ("2steps_1", "2steps_2", "2steps_multi")[step],
        "category": "VD",
        "l2-category": "figure",  # HallusionBench's
        "l2_category": "figure",  # MMStar's
    }
