"""Measures each reading rule on published verdicts: `python benchmarks/bench_reader.py [benchmarks folder] [out.md]`.

Sources are the benchmarks' own published outputs (MathVista, MATH-V, LogicVista) and the answers that VLMEvalKit's
judges judged. Per rule: how many responses it decided, how often the verdict is the published one, and how often the
answer read is the one that the publisher's extraction read, where that is stored. A rule under 95% on its verdicts has
no place among the rules: what it would decide is left to a judge. Then, for each judged pair of models, the accuracies
by judge and by rules, and the bias of their difference.
"""

import ast
import csv
import gzip
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.answers.letters import fold
from evaluation.benchmarks import get_benchmark
from evaluation.benchmarks.logicvista import question_options
from evaluation.data.markdown import markdown
from evaluation.data.tsv import Item, parse_choices
from evaluation.judging.scoring import score
from evaluation.judging.verdicts import Verdict

LETTERS = "ABCDEFGHIJ"
# Their answers don't stand in the text: code that must be run, cut responses, no response at all.
NOT_IN_TEXT = ("gpt4_2shot_code", "instruct_blip2_vicuna_13b", "random_guess")
_SCORED: dict[tuple[str, str, str], list[Verdict]] = {}
MODELS = ("llava_next", "llava_next_dart_0.9")


@dataclass(frozen=True)
class Answers:
    """A file of published answers: items, responses, published verdicts, published extractions ("" for none)."""

    source: str
    benchmark: str
    name: str
    items: list[Item]
    responses: dict[str, str]
    correct: dict[str, bool]
    extracted: dict[str, str]

    def item(self, index: str) -> Item:
        """The item of an index."""
        return next(item for item in self.items if item.index == index)

    def verdicts(self, mode: str) -> list[Verdict]:
        """Our verdicts in `mode`, scored once."""
        key = (self.source, self.name, mode)
        if key not in _SCORED:
            _SCORED[key] = score(get_benchmark(self.benchmark), self.items, self.responses, mode)
        return _SCORED[key]


def mathvista(root: Path) -> Iterator[Answers]:
    """MathVista's files whose answers stand in the text, the items that the published extraction commits on."""
    for path in sorted((root / "mathvista" / "outputs").glob("*.json")):
        name = path.stem.removeprefix("output_")
        if name not in NOT_IN_TEXT:
            records = json.loads(path.read_text(encoding="utf-8"))
            kept = {key: r for key, r in records.items() if commits(r) and r["response"]}
            yield Answers(
                "MathVista",
                "MathVista_MINI",
                name,
                [mathvista_item(key, record) for key, record in kept.items()],
                {key: record["response"] for key, record in kept.items()},
                {key: bool(record["true_false"]) for key, record in kept.items()},
                {key: str(record["extraction"] or "") for key, record in kept.items()},
            )


def mathvista_item(key: str, record: dict[str, Any]) -> Item:
    """A stored record of MathVista as an item."""
    options = dict(zip(LETTERS, record["choices"] or [], strict=False))
    fields = {name: str(record[name]) for name in ("question_type", "answer_type", "precision")}
    return Item(key, record["question"], record["answer"], options, fields=fields)


def commits(record: dict[str, Any]) -> bool:
    """Whether the published extraction names an option or a number, rather than being mapped by edit distance."""
    extraction = str(record.get("extraction") or "").strip()
    if record["question_type"] != "multi_choice":
        return record.get("prediction") is not None
    marked = any(f"({letter})" in extraction.upper() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return marked or extraction in record["choices"] or extraction in LETTERS[: len(record["choices"])]


def math_v(root: Path) -> Iterator[Answers]:
    """MATH-V's files."""
    lines = (root / "mathvision" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    items = [
        Item(r["id"], r["question"], r["answer"], dict(zip("ABCDE", r["options"], strict=False)))
        for r in map(json.loads, lines)
    ]
    for path in sorted((root / "mathvision" / "outputs").glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        responses = {r["id"]: r["response"] for r in records}
        own = [item for item in items if item.index in responses]
        yield Answers("MATH-V", "MathVision", path.stem, own, responses, {r["id"]: r["correct"] for r in records}, {})


def logicvista(root: Path) -> Iterator[Answers]:
    """LogicVista's files."""
    data = json.loads((root / "logicvista" / "dataset.json").read_text(encoding="utf-8"))
    items = [Item(key, record["question"], record["answer"]) for key, record in data.items()]
    for path in sorted((root / "logicvista" / "verdicts").glob("*.csv")):
        name = path.name.removesuffix("-accuracy-results.csv")
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        yield Answers(
            "LogicVista",
            "LogicVista",
            name,
            items,
            {row["id"]: row[f"{name} answer raw"] for row in rows},
            {row["id"]: row["match?"] == "1" for row in rows},
            {row["id"]: ", ".join(ast.literal_eval(row[f"{name} answer extracted"])) for row in rows},
        )


def judged(root: Path) -> Iterator[Answers]:
    """The answers that the toolkit's judges judged."""
    for path in sorted((root / "judged").glob("*/*.jsonl.gz")):
        table = path.name.removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            records = [json.loads(line) for line in stream]
        benchmark = "MathVerse_MINI_Vision_Only" if table.startswith("MathVerse") else table
        items = {str(record["index"]): judged_item(record) for record in records}
        yield Answers(
            f"judged {table}",
            benchmark,
            path.parent.name,
            list(items.values()),
            {str(record["index"]): str(record["prediction"]) for record in records},
            {str(record["index"]): judged_right(items[str(record["index"])], record) for record in records},
            {str(record["index"]): str(record.get("res") or record.get("extract") or "") for record in records},
        )


def judged_right(item: Item, record: dict[str, Any]) -> bool:
    """The stored verdict; MathVision's files hold the judge's extraction, which the toolkit's rule then compares."""
    for name in ("score", "hit"):
        if record.get(name) is not None:
            return bool(record[name])
    return score(get_benchmark("MathVision"), [item], {item.index: str(record["res"])}, "vlmevalkit")[0].correct is True


def judged_item(record: dict[str, Any]) -> Item:
    """A judged record as an item; empty option cells are no options."""
    options = {letter: str(record[letter]) for letter in LETTERS if str(record.get(letter, "")).strip()}
    if not options and record.get("choices"):
        options = dict(zip(LETTERS, parse_choices(record["choices"]), strict=False))
    fields = {name: str(value) for name, value in record.items()}
    return Item(str(record["index"]), record["question"], str(record["answer"]), options, fields=fields)


def is_in_text(item: Item, response: str, extraction: str) -> bool:
    """Whether the option that a publisher's extraction names stands in the response, by its letter or its text."""
    options = item.options or question_options(item.question)
    named = [letter for letter in re.findall(r"[A-Z]", extraction.upper()) if letter in options]
    if (not item.options and item.fields.get("answer_type")) or len(extraction) > 4 or len(named) != 1:
        return True  # a value, a text or several letters
    letter, text = named[0], fold(options[named[0]])
    is_lettered = re.search(
        rf"(?<![A-Za-z]){letter}(?![A-Za-z])", response, 0 if response != response.lower() else re.I
    )
    return is_lettered is not None or (bool(text) and text in fold(response))


def rules_table(files: Sequence[Answers], mode: str) -> list[dict[str, object]]:
    """A row for each source and rule: decided, and right in percent by verdict and by extraction.

    A published extraction may name an option of which the response has neither letter nor text; `where it stands in the
    text` leaves such verdicts out.
    """
    cells: dict[tuple[str, str], list[tuple[bool, bool | None, bool]]] = defaultdict(list)
    for answers in files:
        for verdict in answers.verdicts(mode):
            key = verdict.index
            same = verdict.correct == answers.correct[key]
            read = answers.extracted.get(key)
            rule = "unmatched" if verdict.unmatched else verdict.rule
            is_theirs = not read or is_in_text(answers.item(key), answers.responses[key], read)
            cells[answers.source.split()[0], rule].append(
                (same, _same_text(verdict.extraction, read) if read else None, same or is_theirs)
            )
    rows = []
    for (source, rule), outcomes in sorted(cells.items()):
        texts = [text for _, text, _ in outcomes if text is not None]
        verdicts = [same for same, _, _ in outcomes]
        shown = [same for same, _, is_shown in outcomes if is_shown]
        rows.append(
            {
                "source": source,
                "rule": rule,
                "decided": len(verdicts),
                "verdict": f"{100 * sum(verdicts) / len(verdicts):.1f}",
                "verdict, where it stands in the text": f"{100 * sum(shown) / max(1, len(shown)):.1f}",
                "extraction": f"{100 * sum(texts) / len(texts):.1f}" if texts else "",
            }
        )
    return rows


def files_table(files: Sequence[Answers], mode: str) -> list[dict[str, object]]:
    """A row for each file: agreement with the published verdicts, in `mode`, and the most that could be had."""
    rows = []
    for answers in files:
        verdicts = answers.verdicts(mode)
        same = sum(verdict.correct == answers.correct[verdict.index] for verdict in verdicts)
        decided = [verdict for verdict in verdicts if not verdict.unmatched]
        agreed = sum(verdict.correct == answers.correct[verdict.index] for verdict in decided)
        rows.append(
            {
                "source": answers.source,
                "file": answers.name,
                "n": len(verdicts),
                "agreement": f"{100 * same / len(verdicts):.2f}",
                "ceiling": f"{100 * (1 - _contradicted(answers, verdicts) / len(verdicts)):.2f}",
                "decided": len(decided),
                "agreement of decided": f"{100 * agreed / max(1, len(decided)):.2f}",
            }
        )
    return rows


def _contradicted(answers: Answers, verdicts: Sequence[Verdict]) -> int:
    """Disagreements in which the published extraction names what the response does not hold."""
    different = [v.index for v in verdicts if v.correct != answers.correct[v.index]]
    read = {key: answers.extracted.get(key, "") for key in different}
    return sum(
        bool(said) and not is_in_text(answers.item(key), answers.responses[key], said) for key, said in read.items()
    )


def bias_table(files: Sequence[Answers], mode: str) -> list[dict[str, object]]:
    """A row for each judged table: both models' accuracies by judge and by rules, and the bias of the difference.

    The bias is taken over the items that the rules decide for both models; what they leave is a judge's.
    """
    rows = []
    by_table: dict[str, dict[str, Answers]] = defaultdict(dict)
    for answers in files:
        by_table[answers.source.removeprefix("judged ")][answers.name] = answers
    for table, pair in by_table.items():
        ours = {model: {v.index: v for v in pair[model].verdicts(mode)} for model in MODELS}
        shared = [k for k in ours[MODELS[0]] if k in ours[MODELS[1]]]
        kept = [k for k in shared if not any(ours[model][k].unmatched or ours[model][k].conflict for model in MODELS)]
        row: dict[str, object] = {"table": table, "n": len(shared), "decided in both": len(kept)}
        for name, keys in (("all", shared), ("decided", kept)):
            judge = [100 * sum(pair[model].correct[k] for k in keys) / len(keys) for model in MODELS]
            rules = [100 * sum(bool(ours[model][k].correct) for k in keys) / len(keys) for model in MODELS]
            row[f"judge, {name}"] = f"{judge[0]:.1f} -> {judge[1]:.1f}"
            row[f"rules, {name}"] = f"{rules[0]:.1f} -> {rules[1]:.1f}"
            row[f"bias, {name}"] = f"{rules[1] - rules[0] - judge[1] + judge[0]:+.2f}"
        rows.append(row)
    return rows


def _same_text(ours: str | None, theirs: str) -> bool:
    return (ours or "").strip(" ().").casefold() == theirs.strip(" ().").casefold()


def main(words: Sequence[str]) -> int:
    """Prints the three tables in the semantic mode, and writes them where a file is named."""
    root = Path(words[0] if words else os.environ["DRIFT_BENCHMARKS"])
    published = [*mathvista(root), *math_v(root), *logicvista(root)]
    asked = list(judged(root))
    text = "\n\n".join(
        (
            "# Reading rules against published verdicts",
            "`python benchmarks/bench_reader.py`, mode semantic. MATH-V's verdicts are its published rule's.",
            markdown(rules_table([*published, *asked], "semantic")),
            markdown(files_table([*published, *asked], "semantic")),
            markdown(bias_table(asked, "semantic")),
        )
    )
    sys.stdout.write(text + "\n")
    if len(words) > 1:
        Path(words[1]).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
