"""Measures the data pipeline: `python benchmarks/bench_data.py [DRIFT_BENCHMARKS] [items=N]`, JSON lines.

`pictures`: how often the near-duplicate rule misses a copy of a LogicVista or We-Math picture that was packed anew,
resized, padded or cropped, and how often it takes a picture of one benchmark for one of the other's, which share none.
`words`: how often it misses a question with one word or all numbers changed, and takes one benchmark's for another's.
`filter`: seconds and peak memory of filtering 11,000 answers with all rules against MATH-V's testmini in two processes;
the questions have real pictures, answers and boxes. Target: under 120 s on 2 cores.
"""

import io
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from evaluation.data.tsv import Item
from pipelines.distil.asking import answered
from pipelines.distil.config import FilterConfig, PictureLimits
from pipelines.distil.filtering import index_benchmarks, run_filter
from pipelines.distil.funnel import Rejects
from pipelines.distil.intake import QUESTIONS, take
from pipelines.distil.pictures import PictureIndex, crop_marks, marks_of
from pipelines.distil.records import read_questions, read_records
from pipelines.distil.sets import writing
from pipelines.distil.wording import WordingIndex, wording_of

CONFIG = FilterConfig(processes=2)
Change = Callable[[Image.Image], Image.Image]
_PAGE = "white"


def pictures(root: Path) -> dict[str, list[bytes]]:
    """The files' bytes, by benchmark."""
    folders = {"LogicVista": root / "logicvista" / "images", "We-Math": root / "wemath" / "images"}
    return {name: [path.read_bytes() for path in sorted(folder.iterdir())] for name, folder in folders.items()}


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """Without these shares of its width and height."""
    return lambda image: image.crop(
        (
            int(image.width * left),
            int(image.height * top),
            image.width - int(image.width * right),
            image.height - int(image.height * bottom),
        )
    )


def resized(wide: float, high: float) -> Change:
    """By these factors."""
    return lambda image: image.resize((max(8, int(image.width * wide)), max(8, int(image.height * high))))


def padded(image: Image.Image) -> Image.Image:
    """With a white margin of a tenth."""
    page = Image.new("RGB", (image.width * 6 // 5, image.height * 6 // 5), _PAGE)
    page.paste(image, (image.width // 10, image.height // 10))
    return page


def anyhow(image: Image.Image) -> Image.Image:
    """Each side cut by up to 5%, then made smaller."""
    return resized(0.7, 0.7)(cropped(*(random.random() * 0.05 for _ in range(4)))(image))


CHANGES: dict[str, tuple[Change, int]] = {  # and the quality of the JPEG that it is packed as
    "JPEG 30": (lambda image: image, 30),
    "half": (resized(0.5, 0.5), 95),
    "double": (resized(2.0, 2.0), 95),
    "stretched by 1.2": (resized(1.0, 1.2), 95),
    "margin of 10%": (padded, 95),
    "each side cut by 3%": (cropped(0.03, 0.03, 0.03, 0.03), 95),
    "each side cut by 5%": (cropped(0.05, 0.05, 0.05, 0.05), 95),
    "two sides cut by 5%": (cropped(0.05, 0.05, 0.0, 0.0), 95),
    "sides cut by 0 to 5%, x 0.7, JPEG 50": (anyhow, 50),
    "each side cut by 10% (beyond the tolerance)": (cropped(0.1, 0.1, 0.1, 0.1), 95),
}


def packed(data: bytes, change: Change, quality: int) -> bytes:
    """The picture, changed, as a JPEG."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        drawn = image.convert("RGBA")
    page = Image.new("RGBA", drawn.size, _PAGE)
    page.alpha_composite(drawn)
    change(page.convert("RGB")).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def measure_pictures(root: Path) -> Iterator[dict[str, object]]:
    """Misses of each change, and false alarms between the benchmarks."""
    random.seed(0)
    found = pictures(root)
    indices = {}
    for name, files in found.items():
        indices[name] = PictureIndex(CONFIG.near)
        for place, data in enumerate(files):
            indices[name].add(str(place), crop_marks(data, CONFIG.near.crops))
    total = sum(map(len, found.values()))
    for label, (change, quality) in CHANGES.items():
        missed = taken = 0
        for name, files in found.items():
            other = next(index for key, index in indices.items() if key != name)
            for place, data in enumerate(files):
                marks = marks_of(packed(data, change, quality))
                missed += str(place) not in indices[name].find(marks)
                taken += any(True for _ in other.find(marks))
        yield {"pictures": label, "n": total, "missed": missed, "taken_for_another_s": taken}


def questions(root: Path) -> dict[str, list[str]]:
    """Of four benchmarks."""
    logic = json.loads((root / "logicvista" / "dataset.json").read_text())
    vision = (root / "mathvision" / "test.jsonl").read_text().splitlines()
    return {
        "LogicVista": [each["question"] for each in logic.values()],
        "We-Math": [each["question"] for each in json.loads((root / "wemath" / "testmini.json").read_text())],
        "MATH-V": [json.loads(line)["question"] for line in vision],
        "MathVerse": [r["question"] for r in json.loads((root / "mathverse" / "testmini_text_only.json").read_text())],
    }


def one_word(text: str) -> str:
    """A word more, less, or another one."""
    words = text.split()
    place = random.randrange(len(words))
    words[place : place + random.choice((0, 1))] = random.choice(([], ["indeed"])) or ["thing"]
    return " ".join(words)


def other_numbers(text: str) -> str:
    """Every digit another one, and more white space."""
    return "  ".join("".join(str((int(c) + 3) % 10) if c.isdecimal() else c for c in text).split())


def measure_words(root: Path) -> Iterator[dict[str, object]]:
    """Misses of each change, and false alarms between the benchmarks, of questions with enough words."""
    random.seed(0)
    found = questions(root)
    size = CONFIG.alike.permutations
    indices: dict[str, WordingIndex] = {}
    for name, texts in found.items():
        indices[name] = WordingIndex(CONFIG.alike)
        for place, text in enumerate(texts):
            if indices[name].is_telling(wording := wording_of(text, size)):
                indices[name].add(f"{place}", wording)
    for name, texts in found.items():
        telling = [text for text in texts if indices[name].is_telling(wording_of(text, size))]
        others = [index for key, index in indices.items() if key != name]
        line: dict[str, object] = {"words": name, "n": len(telling), "too_short": len(texts) - len(telling)}
        for label, change in (("one_word", one_word), ("other_numbers", other_numbers)):
            line[f"missed_{label}"] = sum(indices[name].find(wording_of(change(t), size)) is None for t in telling)
        line["taken_for_another_s"] = sum(any(o.find(wording_of(t, size)) for o in others) for t in telling)
        yield line


def write_source(root: Path, folder: Path, count: int) -> None:
    """Questions with real pictures and answers; two in five boxes hold another question's answer."""
    rng = random.Random(0)
    lines = [json.loads(line) for line in (root / "mathvision" / "test.jsonl").read_text().splitlines()]
    files = [data for each in pictures(root).values() for data in each]
    for place, data in enumerate(files):
        (folder / f"{place}.png").write_bytes(data)
    vocabulary = sorted({word for line in lines for word in line["question"].split()})
    with (folder / "q.jsonl").open("w") as stream:
        for number in range(count):
            gold, said = lines[number % len(lines)]["answer"], lines[number % len(lines)]["answer"]
            if rng.random() < 0.4:
                said = rng.choice(lines)["answer"]
            thoughts = " ".join(rng.choices(vocabulary, k=250))
            asked = f"Figure {number}: {' '.join(rng.choices(vocabulary, k=25))}?"
            reply = f"<think>{thoughts}</think> So it is \\boxed{{{said}}}."
            turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
            record = {"messages": turns, "answer": gold, "images": [f"{number % len(files)}.png"]}
            stream.write(json.dumps(record) + "\n")


def benchmark_items(root: Path) -> Iterator[tuple[str, Item]]:
    """MATH-V's testmini with its pictures."""
    for line in (root / "mathvision" / "testmini.jsonl").read_text().splitlines():
        record = json.loads(line)
        picture = (root / "mathvision" / record["image"]).read_bytes()
        yield record["id"], Item(record["id"], record["question"], record["answer"], {}, (picture,))


def measure_filter(root: Path, count: int) -> dict[str, object]:
    """Seconds and memory of taking in and filtering so many answers."""
    with tempfile.TemporaryDirectory() as name:
        source, taken = Path(name) / "source", Path(name) / "taken"
        source.mkdir()
        write_source(root, source, count)
        clock = time.perf_counter()
        take(read_records(source), source, PictureLimits(), taken)
        took = time.perf_counter() - clock
        known = index_benchmarks(CONFIG, benchmark_items(root))
        with writing(Path(name) / "set") as writer, (Path(name) / "rejects.jsonl").open("wb") as stream:
            given = answered(read_questions(taken / QUESTIONS), None)
            rows = run_filter(CONFIG, given, taken, known, lambda s: writer.add_sample(s, taken), Rejects(stream))
        whole = time.perf_counter() - clock
        peaks = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        used = sum(os.times()[:4])
    return {
        "filter": count,
        "seconds": round(whole, 1),
        "of_them_taking_in": round(took, 1),
        "processor_seconds": round(used, 1),
        "peak_mb": peaks[0],
        "largest_child_mb": peaks[1],
        "kept": writer.count,
        "funnel": [asdict(row) for row in rows],
    }


def main(words: Sequence[str]) -> int:
    """Prints the lines."""
    count = next((int(word.removeprefix("items=")) for word in words if word.startswith("items=")), 11_000)
    folders = [word for word in words if not word.startswith("items=")]
    root = Path(folders[0] if folders else os.environ["DRIFT_BENCHMARKS"])
    for line in (*measure_pictures(root), *measure_words(root)):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps(measure_filter(root, count)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
