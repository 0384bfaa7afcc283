"""The filter keeps what is whole, well formed, right and new, and says of all else why it is left out."""

import io
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from drift.errors import DataError
from drift.training.conversations import read_conversations
from evaluation.data.tsv import Item
from pipelines.distil.asking import answered
from pipelines.distil.config import FilterConfig, Language, Length, MixConfig, Near, PictureLimits, Sampling
from pipelines.distil.filtering import index_benchmarks, run_filter, select
from pipelines.distil.funnel import REJECTS, Rejects, Row, some_rejects
from pipelines.distil.intake import QUESTIONS, take
from pipelines.distil.mixing import mix
from pipelines.distil.records import Question, read_questions, read_records
from pipelines.distil.rules import Sample, first_fault
from pipelines.distil.sets import read_set, writing

GOOD = "<think>The sides are 3 and 4, so the third one is 5.</think>\nIt is \\boxed{5}."
ONE = FilterConfig(processes=1)


def sample(response: str, answer: str = "5", reason: str = "stop", options: dict[str, str] | None = None) -> Sample:
    return Sample(Question("0", "How long is it?", answer, options=options or {}), 0, response, reason)


def fault(given: Sample, config: FilterConfig = ONE) -> str:
    found = first_fault(given, config)
    return "" if found is None else f"{found[0]}: {found[1].reason}"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (GOOD, ""),
        ("  ", "whole: empty"),
        (GOOD + "<|im_start|>user", "whole: markup"),
        ("<think>As the <image> shows, 3 and 4.</think>\\boxed{5}", "whole: markup"),
        ("It is 5.", "format: no <think>"),
        ("<think>a<think>b</think>\\boxed{5}", "format: several <think>"),
        ("<think>3, 4</think> so 5", "format: no \\boxed"),
        ("<think>\\boxed{4}?</think>\\boxed{5}", "format: several \\boxed"),
        ("\\boxed{5} <think>the sides are 3 and 4</think>", "format: order"),
        ("Well, <think>3 and 4</think> \\boxed{5}", "format: order"),
        ("<think>3 and 4 make \\boxed{5}</think> as I said", "format: order"),
        ("<think> </think> it is \\boxed{5}, I am sure", "format: no thoughts"),
        ("<think>3 and 4 make </think> \\boxed{5", "format: broken \\boxed"),
        ("<think>3 and 4 make </think> \\boxed{ }", "format: broken \\boxed"),
        ("<think>3, 4</think>\\boxed{5}", "length: short"),
        ("<think>两条直角边是三和四，所以斜边是五</think>\\boxed{5}", "language: other script"),
        ("<think>" + "Wait, the sides are 3 and 4 and not 5 and 6. " * 9 + "</think>\\boxed{5}", "repetition: loop"),
        ("<think>" + "12" * 60 + "</think>\\boxed{5}", "repetition: loop"),
        (GOOD.replace("{5}", "{6}"), "correct: wrong"),
    ],
)  # fmt: skip
def test_each_rule_names_what_it_drops(response, expected):
    assert fault(sample(response)) == expected


def test_an_answer_that_was_cut_is_left_out_even_where_it_looks_whole():
    assert fault(sample(GOOD, reason="length")) == "whole: cut"


@pytest.mark.parametrize(
    ("gold", "boxed", "is_right"),
    [("0.5", "\\frac{1}{2}", True), ("12 cm", "12", True), ("12", "120 mm", False), ("1,200", "1200", True),
     ("2", "12", False), ("x+1", "1+x", True), ("3, 4", "4, 3", True)],
)  # fmt: skip
def test_an_answer_is_right_by_its_value_and_never_by_its_letters(gold, boxed, is_right):
    assert (fault(sample(GOOD.replace("{5}", f"{{{boxed}}}"), gold)) == "") is is_right


@pytest.mark.parametrize(
    ("gold", "boxed", "is_right"),
    [("B", "B", True), ("B", "(B)", True), ("B", "5 cm", True), ("B", "A", False), ("5 cm", "B", True),
     ("5 cm", "A. 4 cm", False)],
)  # fmt: skip
def test_an_option_is_right_by_its_letter_or_by_its_text(gold, boxed, is_right):
    asked = sample(GOOD.replace("{5}", f"{{{boxed}}}"), gold, options={"A": "4 cm", "B": "5 cm"})
    assert (fault(asked) == "") is is_right


def test_a_rule_that_is_not_named_does_not_apply():
    assert fault(sample("It is 5."), replace(ONE, rules=("whole", "length", "language"), length=Length(least=1))) == ""


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: FilterConfig(rules=("format", "format")), "filter.rules is .*each once"),
        (lambda: FilterConfig(rules=("from",)), "filter.rules is .* expected some of whole, format"),
        (lambda: FilterConfig(language=Language(least=2.0)), "filter.language.least is 2.0, expected a share"),
        (lambda: Sampling(samples=2, temperature=0.0), "sampling.samples is 2, expected 1 with temperature 0"),
        (lambda: Sampling(prompt="Answer!"), "sampling.prompt is 'Answer!', expected a text with {question} in it"),
    ],
)
def test_configs_that_mean_nothing_are_refused(config, message):
    with pytest.raises(DataError, match=message):
        config()


def test_one_of_several_right_answers_is_taken_as_asked_and_by_the_seed():
    samples = [replace(sample(GOOD + "!" * n), number=k) for k, n in enumerate((2, 0, 5, 0))]
    taken = {how: select(samples, replace(ONE, select=how)).number for how in ("shortest", "longest", "first")}
    assert taken == {"shortest": 1, "longest": 2, "first": 0}
    draws = [select(samples, replace(ONE, select="random", seed=seed)).number for seed in range(20)]
    assert len(set(draws)) > 1
    assert draws == [select(samples, replace(ONE, select="random", seed=seed)).number for seed in range(20)]


def drawing(seed: int, side: int = 240) -> Image.Image:
    """A figure of lines and circles on a white page."""
    rng = random.Random(seed)
    page = Image.new("RGB", (side, side * 3 // 4), "white")
    pen = ImageDraw.Draw(page)
    for _ in range(6):
        x, y = rng.randrange(20, side - 20), rng.randrange(20, side * 3 // 4 - 20)
        pen.line([(x, y), (rng.randrange(side), rng.randrange(side * 3 // 4))], fill="black", width=3)
        pen.ellipse([x - 15, y - 15, x + 15, y + 15], outline="black", width=2)
    return page


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


LADDER = "A ladder of 13 m leans on a wall, its foot 5 m away. How high does it reach?"
BENCHMARK = Item("b7", LADDER, "12", {}, (encoded(drawing(1)),))


def filtered(tmp_path: Path, records: list[dict], config: FilterConfig, *items: Item) -> tuple[list[str], Path]:
    """The names that a filter keeps of records, and the folder of its funnel and rejects."""
    source, taken = tmp_path / "source", tmp_path / "taken"
    source.mkdir()
    for record in records:
        for name, data in record.pop("files", {}).items():
            (source / name).write_bytes(data)
    (source / "q.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    take(read_records(source), source, PictureLimits(), taken)
    benchmarks = index_benchmarks(config, [(f"Bench {item.index}", item) for item in items]) if items else None
    kept: list[str] = []
    with (tmp_path / REJECTS).open("wb") as stream:
        answers = answered(read_questions(taken / QUESTIONS), None)
        run_filter(config, answers, taken, benchmarks, lambda s: kept.append(s.question.name), Rejects(stream))
    return kept, tmp_path / REJECTS


def asked(name: str, question: str, picture: Image.Image | bytes | None = None, **fields: object) -> dict:
    data = picture if isinstance(picture, bytes | None) else encoded(picture)
    files = {} if data is None else {f"{name}.png": data}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": GOOD}]
    return {"id": name, "messages": messages, "answer": "5", "images": list(files), "files": files, **fields}


def test_a_benchmark_s_question_is_found_also_with_other_numbers_spaces_and_words(tmp_path):
    records = [
        asked("same", LADDER),
        asked("spaced", LADDER.replace(" ", "  ").upper() + "\n"),
        asked("numbers", LADDER.replace("13", "17").replace("5", "8.5")),
        asked("reworded", LADDER.replace("How high", "And how high")),
        asked("other", "A square of side 3 has a circle inside. What share of the square does the circle cover?"),
        asked("short", "How high does it reach?"),
    ]
    kept, rejects = filtered(tmp_path, records, replace(ONE, rules=("contamination",)), BENCHMARK)
    assert kept == ["other", "short"]
    assert [each["reason"] for each in some_rejects(rejects)] == [
        "question: exact", "question: exact", "question: numbers", "question: near"
    ]  # fmt: skip
    assert {each["found"] for each in some_rejects(rejects)} == {"is Bench b7"}


def test_a_benchmark_s_picture_is_found_also_recompressed_resized_cropped_and_padded(tmp_path):
    figure = drawing(1)
    wide, high = figure.size
    cut = (int(wide * 0.05), int(high * 0.05), int(wide * 0.97), int(high * 0.96))
    padded = Image.new("RGB", (wide + 60, high + 40), "white")
    padded.paste(figure, (25, 10))
    copies = {
        "same": encoded(figure),
        "recompressed": encoded(figure, "JPEG", quality=30),
        "smaller": encoded(figure.resize((wide // 2, high // 2))),
        "larger": encoded(figure.resize((wide * 2, high * 3))),
        "cropped": encoded(figure.crop(cut), "JPEG", quality=50),
        "padded": encoded(padded),
    }
    records = [asked(name, "What is x?", data) for name, data in copies.items()]
    records += [asked(f"other {seed}", "What is x?", drawing(seed)) for seed in range(2, 12)]
    kept, rejects = filtered(tmp_path, records, replace(ONE, rules=("contamination",)), BENCHMARK)
    assert kept == [f"other {seed}" for seed in range(2, 12)]
    assert {each["reason"] for each in some_rejects(rejects)} == {"picture"}


def test_a_question_is_kept_once_where_words_numbers_and_picture_are_the_same(tmp_path):
    figure, text = drawing(1), "How long is the side x of the triangle with the sides 3 and 4 as drawn?"
    records = [
        asked("first", text, figure),
        asked("again", text.lower(), encoded(figure, "JPEG", quality=40)),
        asked("other numbers", text.replace("3", "6"), figure),
        asked("other question", "What is the area?", figure),
        asked("other picture", text, drawing(2)),
        asked("no picture", text),
        asked("no picture again", text),
    ]
    kept, rejects = filtered(tmp_path, records, replace(ONE, rules=("duplicates",)))
    assert kept == ["first", "other numbers", "other question", "other picture", "no picture"]
    assert [(each["reason"], each["found"]) for each in some_rejects(rejects)] == [
        ("same question and picture", "is 000000"), ("same question", "is 000005")
    ]  # fmt: skip


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header asks for 40,000 x 40,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_every_broken_record_is_counted_under_its_own_reason_and_none_stops_the_others(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    pictures = {
        "good.png": encoded(drawing(1)), "dot.png": encoded(Image.new("L", (1, 1))), "bomb.png": bomb(),
        "torn.png": encoded(drawing(1))[:200], "text.png": b"no picture",
        "wide.png": encoded(Image.new("L", (20_000, 40))), "thread.png": encoded(Image.new("L", (8000, 8))),
    }  # fmt: skip
    for name, data in pictures.items():
        (source / name).write_bytes(data)
    (tmp_path / "outside.png").write_bytes(pictures["good.png"])
    plain = {"question": "How many?", "answer": "3"}
    said = {"role": "assistant", "content": GOOD}
    lines = [
        json.dumps({**plain, "image": "good.png"}),
        '{"question": "torn', "[1, 2]", '"text"',
        *(json.dumps({**plain, "image": name}) for name in pictures if name != "good.png"),
        *(json.dumps({**plain, "image": name}) for name in ("gone.png", "../outside.png", "/etc/hostname.png")),
        json.dumps({**plain, "image": 7}),
        json.dumps({**plain, "answer": "  "}), json.dumps({"answer": "3"}),
        json.dumps({**plain, "question": "<image> and <image>?", "image": "good.png"}),
        json.dumps({"messages": [{"role": "tool", "content": "x"}, said], "answer": "5"}),
        json.dumps({"messages": [{"role": "user", "content": "x"}, said, said], "answer": "5"}),
        json.dumps({"messages": "none", "answer": "5"}),
        '{"question": "\\ud800", "answer": "3"}',
    ]  # fmt: skip
    (source / "q.jsonl").write_text("\n".join(lines) + "\n")
    taken = take(read_records(source), source, PictureLimits(), tmp_path / "taken")
    reasons = Counter(each["reason"] for each in some_rejects(tmp_path / "taken" / REJECTS))
    assert (taken.records, taken.questions) == (len(lines), 1)
    assert reasons == {
        "json": 3, "image too small": 1, "image bomb": 1, "image unreadable": 2, "image too large": 1,
        "image too long": 1, "image missing": 1, "image outside": 2, "images": 1, "answer empty": 1,
        "question empty": 1, "marks": 1, "role": 1, "turns": 1, "record": 1, "text": 1,
    }  # fmt: skip


def test_a_folder_with_several_kinds_of_tables_or_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no table but nothing; expected one kind of .parquet, .jsonl"):
        list(read_records(tmp_path))
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "b.tsv").write_text("index\n")
    with pytest.raises(DataError, match=r"several kinds of tables .*or a pattern"):
        list(read_records(tmp_path))
    assert [raw.place for raw in read_records(tmp_path, "*.jsonl")] == ["a.jsonl:1"]


def test_parquet_tsv_and_json_lists_say_the_same_as_json_lines(tmp_path):
    import base64

    import pyarrow
    from pyarrow.parquet import write_table

    data = encoded(drawing(1))
    rows = [{"problem": "How many?", "ground_truth": "3", "choices": ["2", "3"], "image": data}]
    cell = base64.b64encode(data).decode()
    for folder in ("parquet", "tsv", "json"):
        (tmp_path / folder).mkdir()
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "parquet" / "a.parquet")
    (tmp_path / "tsv" / "a.tsv").write_text(f"index\tquestion\tanswer\tA\tB\timage\n0\tHow many?\t3\t2\t3\t{cell}\n")
    (tmp_path / "json" / "a.json").write_text(json.dumps([{**rows[0], "image": cell}]))
    found = [next(iter(read_records(tmp_path / folder))) for folder in ("parquet", "tsv", "json")]
    for raw in found:
        assert raw.pictures == (data,)
        assert raw.question is not None
        assert (raw.question.question, raw.question.answer) == ("How many?", "3")
        assert raw.question.options == {"A": "2", "B": "3"}


def test_two_processes_keep_what_one_keeps_and_the_funnel_adds_up(tmp_path):
    records = [asked(f"q{n}", f"How long is the side x of triangle {n}?", drawing(n % 7)) for n in range(80)]
    for n, record in enumerate(records):
        if n % 3 == 0:
            record["answer"] = "7"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    copies = json.loads(json.dumps([{**r, "files": None} for r in records]))
    again = [{**copy, "files": record["files"]} for copy, record in zip(copies, records, strict=True)]
    one, rejects = filtered(tmp_path / "one", records, ONE, BENCHMARK)
    two, others = filtered(tmp_path / "two", again, replace(ONE, processes=2), BENCHMARK)
    assert one == two
    assert rejects.read_bytes() == others.read_bytes()
    assert len(one) + len(rejects.read_text().splitlines()) == 80


def test_the_funnel_says_what_each_step_left_and_why(tmp_path):
    from pipelines.distil.funnel import funnel

    counts = {("format", "order"): 1, ("format", "no <think>"): 3, ("correct", "wrong"): 2}
    assert funnel(10, ["format", "length", "correct"], counts) == [
        Row("format", 6, 3, "no <think>"), Row("format", 6, 1, "order"), Row("length", 6, 0, ""),
        Row("correct", 4, 2, "wrong"),
    ]  # fmt: skip


def some_set(folder: Path, count: int) -> Path:
    folder.mkdir()
    (folder / "p.png").write_bytes(encoded(drawing(1)))
    with writing(folder) as writer:
        for n in range(count):
            asked = Question(str(n), f"Question {n}?", "5", ("p.png",))
            writer.add_sample(Sample(asked, 0, GOOD, "stop"), folder)
    return folder


def test_a_set_is_read_by_the_training(tmp_path):
    folder = some_set(tmp_path / "set", 3)
    conversations = read_conversations(folder / "train.json")
    assert [each.turns[0].content for each in conversations] == [f"<image>Question {n}?" for n in range(3)]
    assert {each.turns[1].content for each in conversations} == {GOOD}
    assert all(image.is_file() for each in conversations for image in each.images)


def test_a_mix_is_the_filtered_examples_and_as_many_unfiltered_ones_and_the_seed_draws_it(tmp_path):
    filtered_set = some_set(tmp_path / "hq", 6)
    questions = [Question(f"{n:02d}", f"Question {n}?", "5") for n in range(20)]

    def mixed(name: str, config: MixConfig) -> list[str]:
        answers = [(q, [Sample(q, 0, "  " if n == 19 else f"reply {n}", "stop")]) for n, q in enumerate(questions)]
        with writing(tmp_path / name) as writer:
            counts = mix(config, filtered_set, answers, tmp_path, writer)
        replies = [record["messages"][-1]["content"] for record in read_set(tmp_path / name)]
        assert (counts.filtered, counts.unfiltered) == (replies.count(GOOD), len(replies) - replies.count(GOOD))
        return replies

    first = mixed("a", MixConfig(unfiltered=1.0, seed=1))
    assert first[:6] == [GOOD] * 6
    assert len(first) == 12
    assert "  " not in mixed("all", MixConfig(filtered=1, unfiltered=19.0))
    assert mixed("b", MixConfig(unfiltered=1.0, seed=1)) == first
    assert mixed("c", MixConfig(unfiltered=1.0, seed=2)) != first
    assert set(first[6:]) <= set(mixed("d", MixConfig(unfiltered=2.0, seed=1))), "a larger mix holds the smaller one"
    assert mixed("e", MixConfig(filtered=2)) == [GOOD] * 2
    with pytest.raises(DataError, match="a mix of 24 answers was asked for, and there are 19"):
        mixed("f", MixConfig(unfiltered=4.0))


def test_only_the_last_bit_counts_where_no_bit_may_differ(tmp_path):
    config = replace(ONE, rules=("contamination",), near=Near(bits=0.0, crops=()))
    records = [asked("same", "What is x?", drawing(1)), asked("cut", "What is x?", drawing(1).crop((0, 0, 200, 150)))]
    assert filtered(tmp_path, records, config, BENCHMARK)[0] == ["cut"]
