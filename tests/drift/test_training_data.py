"""Data for training: which tokens carry loss, what happens to long examples, and which items are refused."""

import inspect
import json
import os
import tempfile

import pytest
import torch
import training_world as tw
from PIL import Image

from drift.errors import DataError, TrainingError
from drift.training import worker
from drift.training.batches import IGNORED, collate
from drift.training.config import InjectionConfig, TrainingConfig, TrainingJob
from drift.training.conversations import Conversation, Turn, read_conversations
from drift.training.data import ConversationDataset, encode
from drift.training.pixels import PixelFile
from drift.training.turns import segments


def image(tmp_path, width=8, height=8):
    path = tmp_path / f"{width}x{height}.png"
    Image.new("RGB", (width, height)).save(path)
    return path


def test_loss_is_on_the_reply_and_its_end_alone(tmp_path):
    """A 16x8 image is a 2x4 grid, 2 merged tokens; written out by hand."""
    turns = (Turn("user", "<image>sum 3 4 think"), Turn("assistant", "<think> 3 + 4 = 7 </think> answer 7"))
    example = encode(tw.processor(), Conversation("x", turns, (image(tmp_path, 16),)))
    prompt = "<|im_start|> user <|vision_start|> <|image_pad|> <|image_pad|> <|vision_end|> sum 3 4 think <|im_end|>"
    prompt += " <|im_start|> assistant"
    reply = "<think> 3 + 4 = 7 </think> answer 7 <|im_end|>"
    assert example["input_ids"].tolist() == tw.ids(prompt) + tw.ids(reply)
    assert example["labels"].tolist() == [IGNORED] * len(prompt.split()) + tw.ids(reply)
    assert example["mm_token_type_ids"].tolist() == [int(i == tw.ids("<|image_pad|>")[0]) for i in example["input_ids"]]
    assert example["image_grid_thw"].tolist() == [[1, 2, 4]]


def test_every_reply_of_a_conversation_carries_loss(tmp_path):
    """Two replies, a system prompt and an image in the second question; a reply's own `<image>` is only text."""
    turns = (
        Turn("system", "answer"),
        Turn("user", "sum 1 2"),
        Turn("assistant", "3"),
        Turn("user", "<image>sum 2 2"),
        Turn("assistant", "4"),
    )
    conversation = Conversation("x", turns, (image(tmp_path),))
    found = segments(tw.processor(), conversation)
    assert [(s.is_reply, s.images) for s in found] == [(False, 0), (True, 0), (False, 1), (True, 0)]
    example = encode(tw.processor(), conversation)
    kept = example["labels"][example["labels"] != IGNORED].tolist()
    assert kept == tw.ids("3 <|im_end|> 4 <|im_end|>")
    assert example["mm_token_type_ids"].sum() == 1


def test_the_segments_together_are_what_the_processor_writes(tmp_path):
    processor = tw.processor()
    turns = (Turn("user", "<image>sum 3 4"), Turn("assistant", "7"))
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "sum 3 4"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "7"}]},
    ]
    written = "".join(segment.text for segment in segments(processor, Conversation("x", turns, ())))
    assert written == processor.apply_chat_template(messages, tokenize=False)


def test_a_template_that_rewrites_a_reply_is_refused(tmp_path):
    """Some templates drop the text before `</think>`: the loss would be on a reply that is not there."""
    processor = tw.processor()
    processor.chat_template = tw.TEMPLATE.replace("{{ c['text'] }}", "{{ c['text'].split('</think>')[-1] }}")
    turns = (Turn("user", "sum 3 4"), Turn("assistant", "<think> 3 </think> 7"))
    with pytest.raises(DataError, match="drops part of reply 1"):
        segments(processor, Conversation("x", turns, ()))


def test_a_batch_is_padded_on_the_right_and_masks_its_padding(tmp_path):
    processor = tw.processor()
    small, large = image(tmp_path), image(tmp_path, 16)
    one = encode(processor, Conversation("a", (Turn("user", "<image>sum"), Turn("assistant", "7")), (small,)))
    two = encode(processor, Conversation("b", (Turn("user", "sum 3 4"), Turn("assistant", "7")), ()))
    three = encode(processor, Conversation("c", (Turn("user", "<image>sum"), Turn("assistant", "7")), (large,)))
    batch = collate([one, two, three], pad_id=0)
    lengths = [len(x["input_ids"]) for x in (one, two, three)]
    assert batch["attention_mask"].sum(1).tolist() == lengths
    assert batch["input_ids"].shape == (3, max(lengths))
    padding = batch["attention_mask"] == 0
    assert (batch["input_ids"][padding] == 0).all()
    assert (batch["labels"][padding] == IGNORED).all()
    assert batch["mm_token_type_ids"].sum(1).tolist() == [1, 0, 2]
    assert torch.equal(batch["pixel_values"], torch.cat([one["pixel_values"], three["pixel_values"]]))


def test_image_tensors_of_other_sizes_are_grown_with_zeros():
    """LLaVA-NeXT: (images, patches, ...) with another number of patches in each example."""
    rows = [{"input_ids": torch.tensor([1]), "labels": torch.tensor([1]), "x": torch.ones(1, n, 2)} for n in (1, 3)]
    grown = collate(rows, pad_id=0)["x"]
    assert grown.shape == (2, 3, 2)
    assert grown.sum((1, 2)).tolist() == [2, 6]


@pytest.fixture
def conversations(tmp_path):
    return read_conversations(tw.save_data(tmp_path, 3))


def test_overlong_examples_are_cut_dropped_or_refused_as_asked_and_counted(conversations):
    """22, 23 and 23 tokens: the images of 8x8, 16x8 and 8x16 pixels have 1, 2 and 2 merged tokens."""
    full = ConversationDataset(conversations, tw.processor(), tw.settings())
    assert [len(full[n]["input_ids"]) for n in range(3)] == [22, 23, 23]
    cut = ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=22))
    assert [len(cut[n]["labels"]) for n in range(3)] == [22, 22, 22]
    assert (cut.counts().examples, cut.counts().truncated, cut.counts().dropped) == (3, 2, 0)
    assert torch.equal(cut[1]["pixel_values"], full[1]["pixel_values"])
    dropped = ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=22, overlong="drop"))
    assert (dropped.counts().examples, dropped.counts().dropped) == (1, 2)
    with pytest.raises(DataError, match=r"item 1 has 23 tokens, more than cutoff_len 22"):
        ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=22, overlong="error"))
    with pytest.raises(DataError, match="no example is left: 3 of 3 exceed 4 tokens"):
        ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=4, overlong="drop"))
    with pytest.raises(DataError, match="cuts through its images"):
        ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=3))
    with pytest.raises(DataError, match="no reply is left within cutoff_len 8"):
        ConversationDataset(conversations, tw.processor(), tw.settings(cutoff_len=8))


def test_images_beyond_the_caches_limit_are_read_again_the_same(conversations):
    kept = ConversationDataset(conversations, tw.processor(), tw.settings())
    read_again = ConversationDataset(conversations, tw.processor(), tw.settings(image_cache_gb=0))
    for n in range(3):
        assert {k: v.tolist() for k, v in kept[n].items()} == {k: v.tolist() for k, v in read_again[n].items()}


def test_image_tensors_lie_where_no_other_user_can_reach(conversations, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = tmp_path / f"drift-{os.geteuid()}"
    ConversationDataset(conversations, tw.processor(), tw.settings())
    assert place.stat().st_mode & 0o777 == 0o700
    assert not list(place.iterdir())
    place.chmod(0o755)
    with pytest.raises(TrainingError, match=rf"{place} is drwxr-xr-x of user \d+, expected drwx------"):
        ConversationDataset(conversations, tw.processor(), tw.settings())
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match=r"is lrwxrwxrwx of user"):
        ConversationDataset(conversations, tw.processor(), tw.settings())


def test_a_folder_for_image_tensors_that_is_another_users_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user = os.geteuid() + 1
    (tmp_path / f"drift-{user}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(TrainingError, match=rf"of user {user - 1}, expected drwx------ of user {user}: .* TMPDIR"):
        PixelFile(1e6, "x")


def test_both_spellings_of_sharegpt_say_the_same(tmp_path):
    image(tmp_path)
    turns = [("user", "<image>sum"), ("assistant", "7")]
    one = {"messages": [{"role": r, "content": c} for r, c in turns], "images": ["8x8.png"]}
    two = {
        "conversations": [{"from": {"user": "human", "assistant": "gpt"}[r], "value": c} for r, c in turns],
        "images": ["8x8.png"],
    }
    (tmp_path / "train.json").write_text(json.dumps([one, two]))
    first, second = read_conversations(tmp_path / "train.json")
    assert (first.turns, first.images) == (second.turns, second.images)


ASK, REPLY = {"role": "user", "content": "<image>sum"}, {"role": "assistant", "content": "7"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"train.json is not JSON"),
        ({}, "holds a dict, not a list"),
        ([], "holds no examples"),
        ([3], "item 0 is a int"),
        ([{"images": []}], "item 0 has no messages"),
        ([{"messages": [ASK], "images": ["8x8.png"]}], "item 0 has no answer: its last message is the user's"),
        ([{"messages": [ASK, REPLY], "images": []}], "1 <image> marks before its answers but images \\[\\]"),
        ([{"messages": [ASK, REPLY], "images": ["no.png"]}], "item 0: no image at .*no.png"),
        ([{"messages": [ASK, {"role": "assistant", "content": " "}]}], "message 1 \\(assistant\\) has no text"),
        ([{"messages": [{"role": "tool", "content": "x"}, REPLY]}], "has role 'tool'; known: user"),
    ],
)
def test_bad_items_are_refused_by_name(tmp_path, content, message):
    image(tmp_path)
    path = tmp_path / "train.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_conversations(path)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "8x8.png").write_text("not an image")
    (tmp_path / "train.json").write_text(json.dumps([{"messages": [ASK, REPLY], "images": ["8x8.png"]}]))
    with pytest.raises(DataError, match=r"item 0: .*8x8.png is no readable image"):
        encode(tw.processor(), read_conversations(tmp_path / "train.json")[0])


def test_a_job_survives_json_and_unknown_keys_are_refused(tmp_path):
    job = TrainingJob(
        model=tmp_path / "m",
        data=tmp_path / "d.json",
        out=tmp_path / "o",
        prior=tmp_path / "p",
        training=TrainingConfig(epochs=7, add_tokens=("<a>",)),
        injection=InjectionConfig("gradnorm", alpha=-0.3, group_alpha={"mlp": -0.1}),
    )
    job.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == job
    fields = json.loads((tmp_path / "job.json").read_text())
    fields["training"]["learning_rat"] = 1
    (tmp_path / "job.json").write_text(json.dumps(fields))
    with pytest.raises(
        TrainingError, match="unknown key 'learning_rat' in TrainingConfig; did you mean 'learning_rate'"
    ):
        TrainingJob.read(tmp_path / "job.json")


def test_all_errors_of_a_config_come_at_once(tmp_path):
    with pytest.raises(TrainingError, match=r"epochs is 0, expected at least 1; unknown precision 'fp16'"):
        TrainingConfig(epochs=0, precision="fp16")
    with pytest.raises(TrainingError, match="save_steps is 7, expected a multiple of logging_steps 5"):
        TrainingConfig(save_steps=7, logging_steps=5)
    with pytest.raises(TrainingError, match="did you mean 'gradnorm'"):
        InjectionConfig(scale="grad_norm")
    with pytest.raises(TrainingError, match="alpha is 'abc', expected a number or auto"):
        InjectionConfig(alpha="abc")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="unknown alpha_schedule 'cosin'; did you mean 'cosine'"):
        InjectionConfig(alpha_schedule="cosin")
    with pytest.raises(
        TrainingError,
        match=r"group_alpha is .*nan.*, expected a finite number.*unknown group_alpha 'mpl'; did you mean 'mlp'",
    ):
        InjectionConfig(group_alpha={"mpl": -1.0, "attn": float("nan")})
    with pytest.raises(TrainingError, match="no prior folder is given"):
        TrainingJob(tmp_path, tmp_path, tmp_path, injection=InjectionConfig("adaptive"))


def test_the_injection_of_a_job_reaches_the_injector_whole(tmp_path, monkeypatch):
    """Field by field, and with the same default semantics where nothing is said."""
    from drift import GradientInjector
    from drift.training import trainer

    given = {}
    monkeypatch.setattr(trainer.ReasoningPrior, "load", lambda folder: folder)
    monkeypatch.setattr(trainer.GradientInjector, "attach", lambda self, target: self)
    monkeypatch.setattr(trainer.GradientInjector, "__init__", lambda self, prior, **options: given.update(options))
    injection = InjectionConfig("gradnorm", -0.3, "step", True, "linear", {"mlp": -0.1})
    trainer._observer(TrainingJob(tmp_path, tmp_path, tmp_path, tmp_path, injection=injection), None)
    monkeypatch.undo()
    assert given.pop("start") is None  # which only pull reads
    assert InjectionConfig(**given) == injection
    parameters = inspect.signature(GradientInjector.__init__).parameters
    assert set(given) < set(parameters)
    assert parameters["semantics"].default == InjectionConfig().semantics == "micro_batch"


def test_the_worker_reports_an_error_as_one_line_and_status_2(tmp_path, caplog):
    """Before any heavy import; the line is also left beside the job for whoever launched it."""
    assert worker.main([str(tmp_path / "absent.json"), "--local_rank=0"]) == 2
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("TrainingError: can't read the job")
    assert (tmp_path / "error.txt").read_text().startswith("TrainingError: can't read the job")
    assert worker.main([]) == 2
