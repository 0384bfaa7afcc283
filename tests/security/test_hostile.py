"""Files that somebody made on purpose: each is read, or refused by an error of ours, soon and in little memory.

Quick by default; FUZZ=100000 asks for as many inputs a reader (`make fuzz`).
"""

import json
import struct
import tempfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hostile import JSON, MANY, SEED, TEXT, neighbours, or_refused
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError, DataError, DriftError
from drift.images import open_rgb
from drift.safetensors_io import Shard
from drift.training.conversations import read_conversations
from pipelines.errors import StoreError
from pipelines.store import MANIFEST, Store

MARK = "f" * 64


@pytest.fixture(scope="module")
def place() -> Path:
    return Path(tempfile.mkdtemp())


def safetensors(header: bytes, data: bytes, length: int | None = None) -> bytes:
    """A file by the format, its stated header length apart from the true one where it is given."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "F99"]) | JSON,
        "shape": st.lists(st.integers(-2, 5) | st.just(2**62), max_size=3) | JSON,
        "data_offsets": st.tuples(st.integers(-4, 40), st.integers(-4, 40)) | JSON,
    }
)
HEADER = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRY | JSON, max_size=3) | JSON


@MANY
@given(header=HEADER, data=st.binary(max_size=40), length=st.none() | st.integers(0, 2**64 - 1), seed=SEED)
def test_a_header_of_safetensors(place: Path, header: Any, data: bytes, length: int | None, seed: int) -> None:
    path = place / "model.safetensors"
    for each in neighbours(json.dumps(header).encode(), seed):
        path.write_bytes(safetensors(each, data, length))
        with or_refused(path.name, CheckpointError):
            shard = Shard(path)
            for name, spec in shard.specs.items():
                assert shard.read_slice(name, 0, spec.numel).numel() == spec.numel


@MANY
@given(content=st.binary(max_size=200), seed=SEED)
def test_any_bytes_for_safetensors(place: Path, content: bytes, seed: int) -> None:
    path = place / "any.safetensors"
    for each in neighbours(content, seed):
        path.write_bytes(each)
        with or_refused(path.name, CheckpointError):
            assert Shard(path).specs is not None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[" * 200_000, "corrupt header"),
        (b'{"a":' + b"9" * 5000 + b"}", "corrupt header"),
        (b'{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}', "not supported"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}}', "corrupt header"),
        (b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', "corrupt header"),
        (b'{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}', "corrupt header"),
        (b'{"__metadata__":[],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', "its metadata"),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            "'a' ends at byte 4 and 'b' begins at 0",
        ),
        (b'{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[3,4]}}', "'the header' ends at byte 0 and 'a' begins at 3"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(header, b"\0" * 4))
    with pytest.raises(CheckpointError, match=message):
        Shard(path)


def test_bytes_after_the_last_tensor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 5))
    with pytest.raises(CheckpointError, match="is too long: expected"):
        Shard(path)


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", 5, None])
def test_an_index_that_leaves_its_folder_is_refused(tmp_path: Path, shard: object) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="expected a file beside it"):
        Checkpoint(tmp_path)


@MANY
@given(
    content=JSON | st.fixed_dictionaries({"weight_map": JSON | st.dictionaries(st.text(max_size=4), JSON)}), seed=SEED
)
def test_an_index_of_shards(place: Path, content: Any, seed: int) -> None:
    (place / "indexed").mkdir(exist_ok=True)
    for each in neighbours(json.dumps(content).encode(), seed):
        (place / "indexed" / "model.safetensors.index.json").write_bytes(each)
        with pytest.raises(DriftError):
            Checkpoint(place / "indexed")


TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "gpt", "x"]) | JSON, "content": st.just("<image>") | TEXT | JSON}
)
ITEM = st.fixed_dictionaries(
    {"messages": st.lists(TURN | JSON, max_size=4) | JSON},
    optional={"images": st.lists(TEXT | JSON, max_size=3) | JSON},
)


@MANY
@given(content=st.lists(ITEM | JSON, max_size=3) | JSON, seed=SEED)
def test_training_data(place: Path, content: Any, seed: int) -> None:
    path = place / "train.json"
    for each in neighbours(json.dumps(content).encode(), seed):
        path.write_bytes(each)
        with or_refused(path.name, DataError):
            for conversation in read_conversations(path):
                assert conversation.turns[-1].role == "assistant"
                assert all(turn.content.encode() for turn in conversation.turns if turn.role == "assistant")


@pytest.mark.parametrize("image", ["/etc/hostname", "../train.json", "a/../../x.png"])
def test_a_picture_outside_the_data_is_refused(tmp_path: Path, image: str) -> None:
    turns = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "train.json").write_text(json.dumps([{"messages": turns, "images": [image]}]))
    with pytest.raises(DataError, match=r"item 0: image .* lies outside"):
        read_conversations(tmp_path / "train.json")


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b""])
def test_training_data_that_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "train.json").write_bytes(text)
    with pytest.raises(DataError, match="is not JSON"):
        read_conversations(tmp_path / "train.json")


def png(width: int, height: int) -> bytes:
    """The head of a picture of that size, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_bomb_is_refused_before_it_is_unpacked(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="no readable image"):
        open_rgb(BytesIO(png(*size)))


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_an_odd_picture_is_a_picture(size: tuple[int, int]) -> None:
    stream = BytesIO()
    Image.new("L", size).save(stream, "PNG")
    assert open_rgb(stream).size == size


@MANY
@pytest.mark.filterwarnings("ignore")
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]),
    at=st.integers(0, 400),
    junk=st.binary(max_size=8),
    seed=SEED,
)
def test_a_broken_picture(kind: str, at: int, junk: bytes, seed: int) -> None:
    stream = BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 60)).save(stream, kind)
    data = stream.getvalue()
    for each in neighbours(data[:at] + junk + data[at + len(junk) :], seed):
        with or_refused("no readable image", DataError):
            assert open_rgb(BytesIO(each)).mode == "RGB"


MANIFEST_LIKE = st.fixed_dictionaries(
    {
        "stage": st.just("toy") | JSON,
        "fingerprint": st.just(MARK) | JSON,
        "values": st.just({}) | JSON,
        "files": st.just({"data.txt": {"size": 5, "sha256": "0"}}) | JSON,
    },
    optional={"seal": JSON, "links": JSON},
)


@MANY
@given(content=MANIFEST_LIKE | JSON, seed=SEED)
def test_a_manifest(place: Path, content: Any, seed: int) -> None:
    folder = Store(place).path("toy", MARK)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.txt").write_text("hello")
    for each in neighbours(json.dumps(content).encode(), seed):
        (folder / MANIFEST).write_bytes(each)
        with pytest.raises(StoreError):
            Store(place).take("toy", MARK, {})


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/hostname"])
def test_a_manifest_that_lists_files_outside_its_folder_is_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.txt").write_text("x")
    folder = Store(tmp_path).path("toy", MARK)
    folder.mkdir(parents=True)
    files = {name: {"size": 1, "sha256": "0"}}
    (folder / MANIFEST).write_text(json.dumps({"stage": "toy", "fingerprint": MARK, "values": {}, "files": files}))
    with pytest.raises(StoreError, match="is missing"):
        Store(tmp_path).find("toy", MARK)
