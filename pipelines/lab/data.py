"""The files of a world: chain-of-thought data as sharegpt JSON with PNGs, and eight benchmarks as VLMEvalKit TSVs.

`train.json` has the form of DRIFT-TL-Distill-4K: `messages` (user with "<image>", assistant with <think> and \\boxed{})
and `images`, paths relative to the file. The TSVs have that kit's columns plus `category` (the task) and `digits` (what
the image shows), which only diagnostics read.
"""

import json
from pathlib import Path
from random import Random

import numpy as np
from tqdm import tqdm

from drift.errors import DataError, closest
from evaluation.data.tsv import encode_image, write_rows
from pipelines.lab.config import SPLITS, WorldConfig, sub_seed
from pipelines.lab.images import draw_strip, encode_png, load_pool
from pipelines.lab.language import Problem, asked, on_other_digits, reply
from pipelines.lab.mixes import LONG, course_of, draw_exercises, draw_reasoning
from pipelines.lab.parting import draw_fitting, fitting
from pipelines.lab.suites import GROUPED, SUITES, Row, draw_suite

# Section 4.1: of 11K rationales the filter kept about 4K.
WRONG = 7 / 11


def write_sft_data(config: WorldConfig, out: Path, *, unfiltered: bool = False, direct: float = 0.0) -> None:
    """Writes train.json and images/*.png: `sft_items` reasoning problems over two to six digits, with their chains.

    `unfiltered` adds as many again, `WRONG` of them with the chain of misread digits and its wrong answer; `direct`
    adds that share of as many again, of what the MLLM was taught to answer without a chain.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    records = _write_records(config, out, "sft data", 0, wrong=0.0)
    if unfiltered:
        records += _write_records(config, out, "unfiltered sft data", len(records), wrong=WRONG)
    records += _write_direct(config, out, len(records), round(direct * config.sft_items))
    (out / "train.json").write_text(json.dumps(records, indent=1) + "\n")


def _write_records(config: WorldConfig, out: Path, purpose: str, first: int, wrong: float) -> list[dict[str, list]]:
    """`sft_items` images, numbered from `first`, and their records; a share `wrong` is answered wrongly.

    With a share of 0 nothing is drawn for it.
    """
    seed = sub_seed(config.seed, purpose)
    rng, pixels, pool = Random(seed), np.random.default_rng(seed), load_pool("sft")
    records, fits, reasoning = [], fitting(config, "train"), course_of(config).reasoning
    for number in tqdm(range(config.sft_items), desc=f"{config.name} {config.seed} {purpose}", mininterval=2.0):
        problem = draw_fitting(lambda: draw_reasoning(rng, LONG, reasoning), fits)
        image = f"images/{first + number:05d}.png"
        (out / image).write_bytes(encode_png(draw_strip(problem, pool, pixels)))
        is_wrong = wrong > 0 and rng.random() < wrong
        records.append(sft_record(misread(problem, rng) if is_wrong else problem, image))
    return records


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


def misread(problem: Problem, rng: Random) -> Problem:
    """The problem over its digits misread, one or as many as it takes for the answer to come out wrong."""
    digits, seen = list(problem.digits), problem
    while seen.answer == problem.answer:
        digits[rng.randrange(len(digits))] = rng.randrange(10)
        seen = on_other_digits(problem, digits)
    return seen


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
