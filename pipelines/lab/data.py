"""The files of a world: chain-of-thought data as sharegpt JSON with PNGs, and eight benchmarks as VLMEvalKit TSVs.

`train.json` has the form of DRIFT-TL-Distill-4K: `messages` (user with "<image>", assistant with <think> and \\boxed{})
and `images`, paths relative to the file. The TSVs have that kit's columns plus `category` (the task) and `digits` (what
the image shows), which only diagnostics read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from tqdm import tqdm

from drift.errors import DataError, closest
from drift.files import write_jsonl
from evaluation.data.tsv import encode_image, write_rows
from pipelines.lab.config import SPLITS, WorldConfig, sub_seed
from pipelines.lab.images import draw_strip, encode_png, load_pool
from pipelines.lab.language import Problem, asked, reply
from pipelines.lab.mixes import LONG, course_of, draw_exercises, draw_reasoning
from pipelines.lab.parting import draw_fitting, fitting
from pipelines.lab.suites import GROUPED, SUITES, Row, draw_suite


def write_sft_data(config: WorldConfig, out: Path, *, direct: float = 0.0) -> None:
    """Writes train.json and images/*.png: `sft_items` reasoning problems over two to six digits, with their chains.

    `direct` adds that share of as many again, of what the MLLM was taught to answer without a chain.
    """
    records = [sft_record(*drawn) for drawn in _draw_problems(config, config.sft_items, "sft data", out)]
    records += _write_direct(config, out, len(records), round(direct * config.sft_items))
    (out / "train.json").write_text(json.dumps(records, indent=1) + "\n")


def write_questions(config: WorldConfig, out: Path) -> None:
    """Writes questions.jsonl and images/*.png: problems as of the SFT data, to be answered by a teacher.

    Section 4.1: about 11K questions for 4K filtered examples.
    """
    drawn = _draw_problems(config, config.sft_items * 11 // 4, "questions", out)
    records = ({"question": asked(each, think=True), "answer": each.answer, "image": image} for each, image in drawn)
    write_jsonl(out / "questions.jsonl", records)


def _draw_problems(config: WorldConfig, count: int, purpose: str, out: Path) -> Iterator[tuple[Problem, str]]:
    """So many reasoning problems, each with the strip that shows it, written below `out`."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    seed = sub_seed(config.seed, purpose)
    rng, pixels, pool = Random(seed), np.random.default_rng(seed), load_pool("sft")
    fits, reasoning = fitting(config, "train"), course_of(config).reasoning
    for number in tqdm(range(count), desc=f"{config.name} {config.seed} {purpose}", mininterval=2.0):
        problem = draw_fitting(lambda: draw_reasoning(rng, LONG, reasoning), fits)
        image = f"images/{number:05d}.png"
        (out / image).write_bytes(encode_png(draw_strip(problem, pool, pixels)))
        yield problem, image


def _write_direct(config: WorldConfig, out: Path, first: int, n: int) -> list[dict[str, list]]:
    """n images, numbered from `first`, and their records: the MLLM's own direct questions, over the SFT's drawings."""
    seed = sub_seed(config.seed, "direct sft data")
    rng, pixels, pool = Random(seed), np.random.default_rng(seed), load_pool("sft")
    mix = [row for row in course_of(config).images if not row.think]
    records = []
    for number, exercise in enumerate(draw_exercises(mix, rng, n, fitting(config, "train")), start=first):
        image = f"images/{number:05d}.png"
        (out / image).write_bytes(encode_png(draw_strip(exercise.problem, pool, pixels)))
        records.append(sft_record(exercise.problem, image, think=False))
    return records


def sft_record(problem: Problem, image: str, *, think: bool = True) -> dict[str, list]:
    """One sharegpt record: the image, the question with "think", the chain and the box; or question and box alone."""
    return {
        "messages": [
            {"role": "user", "content": f"<image>{asked(problem, think)}"},
            {"role": "assistant", "content": reply(problem, think)},
        ],
        "images": [image],
    }


def write_benchmarks(config: WorldConfig, split: str, out: Path) -> None:
    """Writes the eight TSVs of one split into `out`, one file per suite.

    Raises:
        DataError: `split` is neither "validation" nor "test".
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; {closest(split, SPLITS)}")
    names = (*SUITES, GROUPED)
    for name in tqdm(names, desc=f"{config.name} {config.seed} {split} suites", mininterval=2.0):
        rows = [_line(i, row, grouped=name == GROUPED) for i, row in enumerate(draw_suite(config, split, name))]
        write_rows(out / f"{name}.tsv", rows)


def _line(index: int, row: Row, *, grouped: bool) -> dict[str, str]:
    """One row of a TSV; `grouped` adds WeMath's columns ID and key."""
    problem = row.problem
    texts = {"question": problem.question, "answer": problem.answer, "category": problem.task, "digits": shown(problem)}
    line = {"index": str(index), "image": encode_image(encode_png(row.strip))} | texts
    return line | {"ID": row.group, "key": row.key} if grouped else line


def shown(problem: Problem) -> str:
    """What the image shows, in order: "3 8 5", or "3 8 5 sum" with a glyph."""
    digits = " ".join(map(str, problem.digits))
    return digits if problem.icon is None else f"{digits} {problem.icon}"
