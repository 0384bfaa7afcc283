"""What comes from outside is pinned, checked and linked: hub revisions, hub datasets, local folders."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from drift.errors import DataError
from pipelines import compose, revisions
from pipelines.errors import ConfigError, StageError
from pipelines.stage import Runtime
from pipelines.stages import DataParams, ModelParams
from pipelines.stages.data import make_data, write_sharegpt
from pipelines.stages.models import make_model


def test_a_name_is_locked_at_the_first_fetch_and_read_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(revisions, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr(revisions, "_ask_hub", lambda repo, kind: asked.append(repo) or "c" * 40)
    config = compose.load(["profile=paper"])
    offline = revisions.resolve(config, online=False)
    assert offline.data.revision == "locked"
    assert asked == []
    online = revisions.resolve(config, online=True)
    assert (online.data.revision, online.pair.base.revision) == ("c" * 40, "c" * 40)
    assert online.pair.mllm.revision == config.pair.mllm.revision
    count = len(asked)
    assert revisions.resolve(config, online=False) == online
    assert len(asked) == count


def test_a_name_that_was_never_locked_is_refused_by_the_stage(tmp_path: Path) -> None:
    params = ModelParams("mllm", "qwen2_5_vl", "", "hub", None, "some/model", "locked")
    with pytest.raises(StageError, match="some/model has no resolved revision"):
        make_model(params, Runtime(tmp_path), {}, tmp_path)


def test_offline_and_not_cached_names_repository_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = ModelParams("mllm", "qwen2_5_vl", "", "hub", None, "some/model", "d" * 40)
    with pytest.raises(StageError, match=f"some/model@{'d' * 40} can't be had"):
        make_model(params, Runtime(tmp_path, offline=True), {}, tmp_path)


def test_a_hub_that_can_not_be_reached_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(revisions, "LOCK", tmp_path / "lock.json")
    with pytest.raises(ConfigError, match=r"Qwen/\S+ is not locked and the hub can't be asked: .*Pin it in conf/"):
        revisions.resolve(compose.load(["profile=paper"]), online=True)
    assert not revisions.LOCK.exists()


def test_a_folder_is_what_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    before = revisions.folder_digest(tmp_path)
    (tmp_path / "a.txt").write_text("y")
    assert revisions.folder_digest(tmp_path) != before


def test_a_local_checkpoint_is_what_its_files_are_and_one_that_is_gone_is_refused_by_its_stage(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    config = compose.load(["profile=paper", "pair.source=folder", f"pair.mllm.repo={tmp_path / 'mine'}"])
    first = revisions.resolve(config, online=False).pair
    (tmp_path / "mine" / "config.json").write_text('{"a": 1}')
    second = revisions.resolve(config, online=False).pair
    assert first.mllm.revision != second.mllm.revision
    assert second.expert == config.pair.expert
    params = ModelParams("expert", "qwen2", "", "folder", None, second.expert.repo, second.expert.revision)
    with pytest.raises(DataError, match="DeepSeek-R1-Distill-Qwen-7B is no folder"):
        make_model(params, Runtime(tmp_path), {}, tmp_path / "out")


def test_a_checkpoint_of_another_family_than_the_pair_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "llava_next"}')
    params = ModelParams("mllm", "qwen2_5_vl", "", "folder", None, str(tmp_path / "mine"), "digest")
    with pytest.raises(DataError, match=r"is a llava_next checkpoint, pair\.family asks for qwen2_5_vl"):
        make_model(params, Runtime(tmp_path), {}, tmp_path / "out")


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"suite\.root must be given: suite\.root="):
        compose.load(["suite=real"])
    with pytest.raises(ConfigError, match=r"suite\.root is empty"):
        revisions.resolve(compose.load(["suite=real", "suite.root="]), online=False)
    with pytest.raises(ConfigError, match=r"suite\.root is /no/such/folder, which is no folder"):
        revisions.resolve(compose.load(["suite=real", "suite.root=/no/such/folder"]), online=False)


TALK = [{"role": "user", "content": "<image>sum ?"}, {"role": "assistant", "content": "\\boxed{3}"}]


def picture(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def as_parquet(hub: Path, images: list[Any], kind: Any = None) -> None:
    from datasets import Dataset, Features, List, Value

    message = {"role": Value("string"), "content": Value("string")}
    features = Features({"messages": List(message), "images": List(kind)}) if kind else None
    Dataset.from_list([{"messages": TALK, "images": [i]} for i in images], features).to_parquet(
        str(hub / "train-00000-of-00001.parquet")
    )


def as_json(hub: Path, images: list[Any], name: str = "tl_4k.json") -> None:
    (hub / name).write_text(json.dumps([{"messages": TALK, "images": [image]} for image in images]))


def repository(folder: Path, form: str) -> Path:
    """Three rows whose pictures are (row, 0, 0), in one of the forms that repositories have."""
    from datasets import Image as ImageFeature

    hub, named = folder / "hub", [f"pictures/{row}.png" for row in range(3)]
    (hub / "pictures").mkdir(parents=True)
    whole = [picture(row) for row in range(3)]
    if form in ("pictures", "bytes", "dicts with bytes"):
        (hub / "pictures").rmdir()
        rows = {
            "pictures": [Image.open(io.BytesIO(data)) for data in whole],
            "bytes": whole,
            "dicts with bytes": [{"bytes": data, "path": "elsewhere/0.png"} for data in whole],
        }[form]
        as_parquet(hub, rows, ImageFeature() if form == "pictures" else None)
        return hub
    for name, data in zip(named, whole, strict=True):
        (hub / name).write_bytes(data)
    if form == "paths in parquet":
        as_parquet(hub, named)
    elif form == "paths in JSON, which the pictures outnumber":
        (hub / "dataset_info.json").write_text("{}")
        as_json(hub, named)
    else:
        as_json(hub, [{"bytes": None, "path": name} for name in named])
    return hub


@pytest.mark.parametrize(
    "form",
    [
        "pictures",
        "bytes",
        "dicts with bytes",
        "dicts with paths",
        "paths in parquet",
        "paths in JSON, which the pictures outnumber",
    ],
)
def test_a_hub_dataset_becomes_sharegpt_json_and_images_in_whatever_form_it_has_them(tmp_path: Path, form: str) -> None:
    write_sharegpt(repository(tmp_path, form), tmp_path / "out")
    examples = json.loads((tmp_path / "out" / "train.json").read_text())
    assert [example["messages"] for example in examples] == [TALK] * 3
    pixels = []
    for example in examples:
        with Image.open(tmp_path / "out" / example["images"][0]) as image:
            pixels.append(image.getpixel((0, 0)))
    assert pixels == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_a_file_of_the_hub_s_cache_is_read_through_its_link(tmp_path: Path) -> None:
    """A snapshot is links to ../../blobs, so that a path inside it leads to a file outside."""
    hub = repository(tmp_path, "dicts with paths")
    (hub / "pictures" / "1.png").rename(tmp_path / "blob")
    (hub / "pictures" / "1.png").symlink_to(tmp_path / "blob")
    write_sharegpt(hub, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "000001_0.png").is_file()


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ("../secret.png", "that stays inside it"),
        ("a/../../secret.png", "that stays inside it"),
        ("{root}/secret.png", "that stays inside it"),
        ("", "expected bytes, or a path"),
        ("pictures/9.png", "no such file; were its pictures packed, unpack them and use data=folder"),
        ("https://example.com/0.png", "no such file"),
        ("pictures/torn.png", "no readable image"),
        ("pictures/text.png", "no readable image"),
    ],
)
def test_an_image_that_can_not_be_had_is_refused_with_row_and_path(tmp_path: Path, image: str, fault: str) -> None:
    hub = repository(tmp_path, "paths in parquet")
    (tmp_path / "secret.png").write_bytes(picture(0))
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (hub / "pictures" / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1000])
    (hub / "pictures" / "text.png").write_text("no picture")
    image = image.format(root=tmp_path)
    as_parquet(hub, ["pictures/0.png", image])
    with pytest.raises(DataError, match=f"row 1, image {image!r}: .*{fault}"):
        write_sharegpt(hub, tmp_path / "out")


def test_images_that_are_none_are_refused_by_their_type(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    as_parquet(tmp_path / "hub", [7])
    with pytest.raises(DataError, match=r"images are List\(.*int64.*\); expected lists of pictures, bytes or paths"):
        write_sharegpt(tmp_path / "hub", tmp_path / "out")


def test_a_hub_dataset_without_messages_is_refused_with_its_columns(tmp_path: Path) -> None:
    from datasets import Dataset

    (tmp_path / "hub").mkdir()
    Dataset.from_list([{"question": "?"}]).to_parquet(str(tmp_path / "hub" / "train-0.parquet"))
    with pytest.raises(DataError, match="no column images, messages; it has question"):
        write_sharegpt(tmp_path / "hub", tmp_path / "out")


def test_a_local_folder_is_linked_not_copied_and_must_hold_the_examples(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    (source / "images").mkdir(parents=True)
    (source / "images" / "a.png").write_bytes(b"png")
    params = DataParams("folder", None, str(source), "digest")
    with pytest.raises(DataError, match=r"has no train\.json"):
        make_data(params, Runtime(tmp_path), {}, tmp_path / "first")
    (source / "train.json").write_text("[{}, {}]")
    assert make_data(params, Runtime(tmp_path), {}, tmp_path / "out") == {"examples": 2}
    assert (tmp_path / "out" / "images" / "a.png").is_symlink()
