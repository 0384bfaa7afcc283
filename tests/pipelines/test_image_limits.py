"""Image limits belong to the family: what a plan asks for, each published image processor takes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import published
import pytest
from PIL import Image

from drift.errors import CheckpointError
from drift.families import FAMILIES
from drift.processing import load_processor, save_processor, set_pixel_limits, sizes_by_area
from drift.training.conversations import read_conversations
from drift.training.data import ConversationDataset, encode, fit_area
from pipelines import compose, plan
from pipelines.errors import ConfigError
from pipelines.overrides import choices

PAIRS = sorted(set(choices(compose.CONF / "pair")) - {"qwen2_5_vl_counting"})  # which is a lab's alone
QWEN = ("qwen2_vl", "qwen2_5_vl")


@pytest.fixture(scope="session", params=published.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    return {name: published.save(name, root / name) for name in published.FAMILIES}


def example(folder: Path, size: tuple[int, int]) -> Path:
    """train.json with one picture of (width, height)."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size).save(folder / "0.png")
    talk = [{"role": "user", "content": "<image>sum ?"}, {"role": "assistant", "content": "3"}]
    (folder / "train.json").write_text(json.dumps([{"messages": talk, "images": ["0.png"]}]))
    return folder / "train.json"


def seen(processor: Any, example: Any) -> tuple[int, tuple[int, ...]]:
    """Image tokens, and the shape of what the vision tower gets."""
    tokens = int((example["input_ids"] == processor.tokenizer.convert_tokens_to_ids(processor.image_token)).sum())
    return tokens, tuple(example["pixel_values"].shape)


# 1600x1200 pixels, worked out by hand. Qwen-VL: whole patches of 28, 588x420 under 262144, 1596x1204 as they are; a row
# for each 14x14. LLaVA-NeXT: one thumbnail and four tiles of 336 either way, of a picture of 591x443 in training; 576
# features, 36 of 48 rows that are not padding, and the end of each row. Idefics2: four quarters and the whole, 64 each.
TRAINED = {
    "qwen2_vl": (315, (1260, 1176)),
    "qwen2_5_vl": (315, (1260, 1176)),
    "llava_next": (576 + 36 * 48 + 36, (1, 5, 3, 336, 336)),
    "idefics2": (5 * 64, (1, 5, 3, 443, 591)),
}
ANSWERED = {
    "qwen2_vl": (43 * 57, (4 * 43 * 57, 1176)),
    "qwen2_5_vl": (43 * 57, (4 * 43 * 57, 1176)),
    "llava_next": (576 + 36 * 48 + 36, (1, 5, 3, 336, 336)),
    "idefics2": (5 * 64, (1, 5, 3, 735, 980)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_planned_for_a_pair_s_training_and_answers_its_image_processor_takes(
    pair: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    config = compose.load(["profile=paper", f"pair={pair}"])
    family = config.pair.family
    training, settings = plan.train(config).params.training, plan.generate(config).params.engine.settings
    assert training.image_max_pixels == 262144
    conversations = read_conversations(example(tmp_path, (1600, 1200)))
    processor = load_processor(folders[family], "pil")
    set_pixel_limits(processor, **settings.pixel_limits)
    assert seen(processor, encode(processor, conversations[0])) == ANSWERED[family]
    processor = load_processor(folders[family], "pil")
    if sizes_by_area(processor):
        set_pixel_limits(processor, max_pixels=training.image_max_pixels)
    dataset = ConversationDataset(conversations, processor, replace(training, add_tokens=()))
    assert seen(processor, dataset[0]) == TRAINED[family]
    if family == "llava_next":
        assert dataset[0]["image_sizes"].tolist() == [[443, 591]]


@pytest.mark.parametrize("pair", ["llava_next_dart", "idefics2_metamath"])
@pytest.mark.parametrize("profile", ["lab", "paper"])
def test_a_limit_that_a_family_can_not_take_is_refused_when_it_is_planned(pair: str, profile: str) -> None:
    config = compose.load([f"profile={profile}", f"pair={pair}", "engine.settings.max_pixels=1048576"])
    sized = {"llava_next": "grid", "idefics2": "edges"}[config.pair.family]
    message = (
        rf"engine\.settings\.max_pixels=1048576, .* pair\.family {config.pair.family} is sized by {sized}, not by "
    )
    with pytest.raises(ConfigError, match=rf"{message}area; say engine\.settings\.max_pixels=null"):
        plan.score(config)


def test_the_engine_takes_its_areas_from_the_pair_where_nobody_says_otherwise() -> None:
    def limits(*words: str) -> dict[str, int]:
        return compose.load(["profile=paper", *words]).engine.settings.pixel_limits

    assert limits() == {"min_pixels": 1280 * 28 * 28, "max_pixels": 16384 * 28 * 28}
    assert limits("engine.settings.max_pixels=2007040")["max_pixels"] == 2007040
    assert limits("pair=idefics2_metamath") == limits("pair=llava_next_dart") == {}
    assert all(compose.load([f"pair={pair}"]).engine.settings.pixel_limits == {} for pair in PAIRS)


def test_the_table_of_families_says_what_their_image_processors_do(family: str, folders: dict[str, Path]) -> None:
    assert (FAMILIES[family].sized_by == "area") == sizes_by_area(load_processor(folders[family], "pil"))
    assert FAMILIES[FAMILIES[family].text].sized_by == ""


def test_edge_lengths_are_not_taken_for_an_area(folders: dict[str, Path]) -> None:
    """Idefics2's size has Qwen-VL's two keys; a floor of 1003520 there is an edge, gigabytes for one picture."""
    processor = load_processor(folders["idefics2"], "pil")
    with pytest.raises(CheckpointError, match=r"Idefics2ImageProcessorPil is sized by .*, not by area"):
        set_pixel_limits(processor, min_pixels=1003520, max_pixels=12845056)
    out = processor(text=["<image>"], images=[Image.new("RGB", (640, 480))], return_tensors="pt")
    assert out["pixel_values"].nbytes < 20e6


def test_without_limits_a_training_sees_pictures_as_they_are(
    family: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    training = replace(compose.load(["profile=lab"]).train, cutoff_len=32768)
    assert (training.image_min_pixels, training.image_max_pixels) == (None, None)
    conversations = read_conversations(example(tmp_path, (1600, 1200)))
    processor = load_processor(folders[family], "pil")
    assert seen(processor, ConversationDataset(conversations, processor, training)[0]) == ANSWERED[family]


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((1600, 1200), {"max_pixels": 262144}, (591, 443)),
        ((640, 480), {"max_pixels": 262144}, (591, 443)),
        ((512, 512), {"max_pixels": 262144}, (512, 512)),
        ((10, 20), {"min_pixels": 800}, (20, 40)),
        ((10, 20), {"min_pixels": 100, "max_pixels": 300}, (10, 20)),
        ((4000, 1), {"max_pixels": 100}, (632, 1)),
    ],
)
def test_a_picture_is_brought_into_an_area_at_its_own_aspect_ratio(
    size: tuple[int, int], limits: dict[str, int], expected: tuple[int, int]
) -> None:
    """The factor is the root of the ratio of areas, and sides are cut to whole pixels; no side vanishes."""
    image = Image.new("RGB", size)
    fitted = fit_area(image, **limits)
    assert fitted.size == expected
    assert (fitted is image) == (size == expected)
    assert math.prod(expected) <= limits.get("max_pixels", math.inf) or 1 in expected


@pytest.mark.parametrize("name", QWEN)
def test_pillow_serves_a_folder_as_the_hub_lays_it_out_and_what_is_saved_reads_back_the_same(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Qwen's folders keep areas as min_pixels and max_pixels, and the template in chat_template.json."""
    processor = load_processor(folders[name], "pil")
    size = dict(processor.image_processor.size)
    assert (size["shortest_edge"], size["longest_edge"]) == (3136, 12845056)
    assert processor.image_processor.patch_size == 14
    template = json.loads((folders[name] / "chat_template.json").read_text())["chat_template"]
    assert processor.chat_template == template
    save_processor(processor, tmp_path)
    again = load_processor(tmp_path, "pil")
    picture = Image.effect_noise((640, 480), 50).convert("RGB")
    call: dict[str, Any] = {"text": ["<|image_pad|>"], "images": [picture], "return_tensors": "pt"}
    first, second = processor(**call), again(**call)
    assert all((first[key] == second[key]).all() for key in first)
    assert again.chat_template == template
