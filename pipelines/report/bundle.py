"""Every verdict behind a report's scores, and a lab's items and answers, so that results stand without a store.

`verdicts/world<seed>.parquet` has a line per table row, item and protocol: no text, so it may be shared whatever the
benchmark. `items/` has questions, pictures and responses of the lab's own worlds alone, and as many as fit
`TEXT_LIMIT`: the headline tables first, table by table. A published benchmark's text is its owners'.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from pipelines.layout import ITEMS, VERDICTS
from pipelines.report.layers import Answered, Verdicts, answered, changed
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source

TEXT_LIMIT = 12_000_000  # characters of responses, some 3 MB packed
HEADLINES = ("table2", "table3", "table6")  # whose texts come first


@dataclass
class Harvest:
    """What one pass over the distinct scores of all tables brings in.

    Attributes:
        verdicts: score -> a line per column, item and protocol.
        answers: score -> a line per column and item: the response, and what each protocol read in it.
        derived: protocol -> score -> the score as a source under that protocol.
        changes: protocol -> how many verdicts it gives otherwise than the configured one, and of how many.
    """

    verdicts: dict[str, pyarrow.Table] = field(default_factory=dict)
    answers: dict[str, pyarrow.Table] = field(default_factory=dict)
    derived: dict[str, dict[str, Source]] = field(default_factory=dict)
    changes: dict[str, tuple[int, int]] = field(default_factory=dict)
    configured: set[str] = field(default_factory=set)
    asked: dict[tuple[str, str], Answered] = field(default_factory=dict)
    left: int = TEXT_LIMIT

    def add(self, each: Answered, scratch: Path) -> None:
        """Takes in a score that is not in yet."""
        mark = each.score.mark
        if mark in self.verdicts:
            return
        verdicts = each.verdicts()
        self.configured.add(each.protocol)
        said = {column: each.said(column) for column in each.columns}
        self.verdicts[mark] = pyarrow.Table.from_pylist(list(_verdict_lines(each, verdicts, said)))
        for protocol in verdicts:
            known, of = self.changes.get(protocol, (0, 0))
            count = sum(map(len, verdicts[protocol].values()))
            self.changes[protocol] = known + changed(verdicts, each.protocol, protocol), of + count
            self.derived.setdefault(protocol, {})[mark] = each.under(protocol, verdicts, scratch)
        size = sum(len(record["response"]) for records in said.values() for record in records.values())
        if each.items.is_world and size <= self.left:
            self.left -= size
            self.answers[mark] = pyarrow.Table.from_pylist(list(_answer_lines(each, verdicts, said)))
            self.asked |= {(each.items.mark, column): each for column in each.columns}

    def under(self, protocol: str, evidence: Evidence) -> Evidence:
        """The table by another protocol."""
        known = self.derived[protocol]
        scores = {cell.artifacts["score"] for cell in evidence.cells if "score" in cell.artifacts}
        changed = {name: known.get(evidence.sources[name].mark, evidence.sources[name]) for name in scores}
        return replace(evidence, sources={**evidence.sources, **changed})

    def differs(self, protocol: str, evidence: Evidence) -> bool:
        """Whether a protocol changes anything in a table."""
        return self.under(protocol, evidence).sources != evidence.sources


def harvest(tables: Sequence[Evidence], scratch: Path) -> Harvest:
    """One pass over the tables; `scratch` holds scores under other protocols while the report is made."""
    found = Harvest()
    for evidence in sorted(tables, key=lambda each: each.table.name not in HEADLINES):
        for _, _, each in answered(evidence):
            found.add(each, scratch)
    return found


def write_bundle(tables: Sequence[Evidence], found: Harvest, out: Path) -> None:
    """`verdicts/` and, where texts may be shared, `items/`."""
    worlds: dict[int, list[pyarrow.Table]] = {}
    for evidence in tables:
        for row, seed, each in answered(evidence):
            lines = found.verdicts[each.score.mark]
            place = {"row": f"{evidence.table.name}/{row}", "seed": seed, "score": each.score.mark[:20]}
            for name, value in reversed(place.items()):
                lines = lines.add_column(0, name, pyarrow.array([value] * len(lines)))
            worlds.setdefault(seed, []).append(lines)
    for seed, parts in worlds.items():
        _write(parts, out / VERDICTS / f"world{seed}.parquet")
    if found.answers:
        marked = [t.add_column(0, "score", pyarrow.array([m[:20]] * len(t))) for m, t in found.answers.items()]
        _write(marked, out / ITEMS / "answers.parquet")
        questions, images = _questions(found.asked)
        _write([pyarrow.Table.from_pylist(questions)], out / ITEMS / "questions.parquet")
        pictures = [{"sha256": mark, "png": content} for mark, content in images.items()]
        _write([pyarrow.Table.from_pylist(pictures)], out / ITEMS / "images.parquet")


def _verdict_lines(each: Answered, verdicts: Verdicts, said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for protocol, columns in verdicts.items():
        for column, records in columns.items():
            parts = {item.index: item.fields.get("key", "") for item in each.asked(column)}
            for record in records:
                response = said[column].get(record["index"], {})
                yield {
                    "benchmark": column,
                    "item": record["index"],
                    "group": record["group"] or "",
                    "part": parts[record["index"]],
                    "protocol": protocol,
                    "correct": record["correct"],
                    "unmatched": bool(record.get("unmatched")) and record["correct"] is False,
                    "cut": response.get("finish_reason") == "length",
                }


def _answer_lines(each: Answered, verdicts: Verdicts, said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for column in each.columns:
        for place, item in enumerate(each.asked(column)):
            response = said[column].get(item.index, {})
            line = {"items": each.items.mark[:20], "benchmark": column, "item": item.index}
            line |= {"response": response.get("response"), "tokens": response.get("tokens")}
            for protocol in verdicts:
                record = verdicts[protocol][column][place]
                line |= {f"{protocol}_{key}": record[key] for key in ("rule", "extraction")}
            yield line


def _questions(asked: Mapping[tuple[str, str], Answered]) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """A line per question that was put, and each picture once, by its hash."""
    lines, images = [], dict[str, bytes]()
    for (mark, column), each in asked.items():
        said = each.said(column)
        for item in each.asked(column):
            hashes = [sha256(image).hexdigest() for image in item.images]
            images |= dict(zip(hashes, item.images, strict=True))
            line = {"items": mark[:20], "benchmark": column, "item": item.index, "images": hashes}
            asked_as = said.get(item.index, {}).get("prompt", item.question)
            lines.append(line | {"question": asked_as, "gold": item.answer, "group": item.group or ""})
    return lines, images


def _write(parts: Sequence[pyarrow.Table], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    table = pyarrow.concat_tables(parts, promote_options="permissive")
    parquet.write_table(table, path, compression="zstd", compression_level=15)
