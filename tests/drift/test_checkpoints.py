"""A checkpoint is read by slices without loss, written whole or not at all, and refused when it is broken."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import drift.writer
from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError
from drift.safetensors_io import TensorSpec
from drift.writer import MAX_SHARD_BYTES, Writer


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Tensors that are in memory, streamed one by one."""
    specs = [TensorSpec(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]
    with Writer(folder, specs, max_shard_bytes=max_shard_bytes) as writer:
        for name, tensor in tensors.items():
            writer.append(name, tensor)


DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {f"t{i}": torch.randn(3 + i, 5, generator=generator).to(DTYPES[i % 3]) for i in range(7)}
    return made | {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "steps": torch.arange(9)}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def folder(tmp_path):
    write_checkpoint(tmp_path / "whole", tensors())
    return tmp_path / "whole"


def test_what_is_written_is_what_safetensors_reads(folder):
    assert equal(load_file(folder / "model.safetensors"), tensors())


def test_what_safetensors_writes_is_what_is_read(tmp_path):
    save_file(tensors(), tmp_path / "model.safetensors")
    checkpoint = Checkpoint(tmp_path)
    assert equal({name: checkpoint.read(name) for name in checkpoint.names}, tensors())


@pytest.mark.parametrize("limit", [1, 100, 10_000])
def test_shards_of_any_size_hold_the_same_tensors(limit, tmp_path):
    write_checkpoint(tmp_path / "m", tensors(), max_shard_bytes=limit)
    checkpoint = Checkpoint(tmp_path / "m")
    assert equal({name: checkpoint.read(name) for name in tensors()}, tensors())
    sizes = [sum(spec.nbytes for spec in shard.specs.values()) for shard in checkpoint.shards]
    assert all(size <= limit or len(shard.specs) == 1 for size, shard in zip(sizes, checkpoint.shards, strict=True))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_slice_is_the_slice_of_the_flattened_tensor(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slice") / "m"
    write_checkpoint(folder, tensors())
    name = data.draw(st.sampled_from(list(tensors())))
    flat = tensors()[name].reshape(-1)
    start = data.draw(st.integers(0, flat.numel()))
    stop = data.draw(st.integers(start, flat.numel()))
    assert torch.equal(Checkpoint(folder).read_slice(name, start, stop), flat[start:stop])


def test_a_slice_reads_only_its_bytes(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "m", {"t": torch.arange(1000, dtype=torch.float32)})
    checkpoint, read, counted = Checkpoint(tmp_path / "m"), os.preadv, []
    monkeypatch.setattr(os, "preadv", lambda f, views, at: counted.append(read(f, views, at)) or counted[-1])
    checkpoint.read_slice("t", 10, 25)
    assert sum(counted) == 15 * 4


def test_a_slice_outside_the_tensor_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"slice \[10, 16\) is outside 't0' of 15 elements"):
        Checkpoint(folder).read_slice("t0", 10, 16)


def test_a_truncated_shard_names_the_file_and_both_sizes(folder):
    path = folder / "model.safetensors"
    size = path.stat().st_size
    os.truncate(path, size - 10)
    with pytest.raises(
        CheckpointError, match=rf"model.safetensors is truncated: expected {size} bytes, found {size - 10}"
    ):
        Checkpoint(folder)


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_file_cut_inside_its_header_is_refused(folder, length):
    os.truncate(folder / "model.safetensors", length)
    with pytest.raises(CheckpointError, match=r"truncated or no safetensors file|corrupt header"):
        Checkpoint(folder)


def rewrite_header(path, edit):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    text = json.dumps(edit(json.loads(raw[8 : 8 + length]))).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [3, 6], "data_offsets": [0, 60]}, r"'t0' of shape \(3, 6\) takes 72 bytes.*says 60"),
        ({"dtype": "F33", "shape": [3, 5], "data_offsets": [0, 60]}, "'t0' has dtype 'F33'.*did you mean 'F32'"),
        ({"dtype": "F32", "shape": [3, 5], "data_offsets": [60, 0]}, "'t0' lies at bytes 60 to 0"),
        ({"dtype": "F32", "shape": [3, 5]}, "the entry of 't0' is"),
    ],
)
def test_a_corrupt_header_entry_is_named(folder, entry, message):
    rewrite_header(folder / "model.safetensors", lambda header: header | {"t0": entry})
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(folder)


def test_a_missing_shard_is_named(tmp_path):
    write_checkpoint(tmp_path / "m", tensors(), max_shard_bytes=200)
    (tmp_path / "m" / "model-00002-of-00005.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"no file .*model-00002-of-00005.safetensors; the checkpoint is incomplete"
    ):
        Checkpoint(tmp_path / "m")


def test_an_index_that_misplaces_a_tensor_is_refused(tmp_path):
    write_checkpoint(tmp_path / "m", tensors(), max_shard_bytes=200)
    index = tmp_path / "m" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["t0"] = "model-00003-of-00005.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(
        CheckpointError, match=r"places 't0' in model-00003-of-00005.safetensors, which does not hold it"
    ):
        Checkpoint(tmp_path / "m")


def test_a_folder_without_safetensors_says_what_it_found(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor its index \(found: pytorch_model.bin\)"):
        Checkpoint(tmp_path)


def test_a_peft_adapter_is_no_checkpoint_and_says_how_to_become_one(tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"it is a PEFT adapter: load it on its base .*merge_and_unload"):
        Checkpoint(tmp_path)


def test_an_unknown_tensor_names_the_closest(folder):
    with pytest.raises(CheckpointError, match=r"no tensor 'scalr' in .*; did you mean 'scalar'"):
        Checkpoint(folder).spec("scalr")


def spec(name="t", shape=(4,), dtype=torch.float32):
    return TensorSpec(name, shape, dtype)


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail():
        with Writer(tmp_path / "m", [spec()]) as writer:
            writer.append("t", torch.ones(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_tensor_is_never_published(tmp_path):
    def stop_early():
        with Writer(tmp_path / "m", [spec(), spec("u")]) as writer:
            writer.append("t", torch.ones(4))
            writer.append("u", torch.ones(3))

    with pytest.raises(CheckpointError, match="1 of 2 tensors were not written in full; first: 'u', 3 of 4 elements"):
        stop_early()
    assert not (tmp_path / "m").exists()


def test_a_killed_run_goes_on_after_its_last_finished_tensor(tmp_path):
    specs = [spec("a"), spec("b"), spec("c")]

    def killed():
        with Writer(tmp_path / "m", specs, resume_key="seed 0") as writer:
            writer.append("a", torch.full((4,), 1.0))
            writer.append("b", torch.full((2,), 9.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not (tmp_path / "m").exists()
    with Writer(tmp_path / "m", specs, resume_key="seed 0") as writer:
        assert writer.done == {"a"}
        writer.append("b", torch.full((4,), 2.0))
        writer.append("c", torch.full((4,), 3.0))
    assert [Checkpoint(tmp_path / "m").read(n)[0].item() for n in "abc"] == [1.0, 2.0, 3.0]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["model.safetensors"]


def test_a_run_with_another_key_starts_over(tmp_path):
    def killed():
        with Writer(tmp_path / "m", [spec("a"), spec("b")], resume_key="seed 0") as writer:
            writer.append("a", torch.zeros(4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    with Writer(tmp_path / "m", [spec("a"), spec("b")], resume_key="seed 1") as writer:
        assert writer.done == frozenset()
        writer.append("a", torch.ones(4))
        writer.append("b", torch.ones(4))


def test_a_full_disk_is_refused_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(drift.writer.shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(CheckpointError, match=r"not enough disk .*: 4,000,000 bytes are needed, 1,000 are free"):
        Writer(tmp_path / "m", [spec(shape=(1000, 1000))]).__enter__()
    assert list(tmp_path.iterdir()) == []


class Usage:
    free = 1000


def test_a_folder_in_use_is_not_overwritten(folder):
    with pytest.raises(CheckpointError, match="exists and is not empty; remove it"):
        write_checkpoint(folder, tensors())
    assert equal(load_file(folder / "model.safetensors"), tensors())


def test_too_much_or_unannounced_data_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has 4 elements, got 5"), Writer(tmp_path / "m", [spec()]) as writer:
        writer.append("t", torch.ones(5))
    with pytest.raises(CheckpointError, match="'u' was not announced"), Writer(tmp_path / "m", [spec()]) as writer:
        writer.append("u", torch.ones(4))


def test_a_blob_of_the_hub_s_cache_is_not_hashed_again(tmp_path):
    name = "ab" * 32
    (tmp_path / "blobs").mkdir()
    write_checkpoint(tmp_path / "m", {"t": torch.ones(3)})
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "blobs" / name)
    (tmp_path / "m" / "model.safetensors").symlink_to(tmp_path / "blobs" / name)
    assert Checkpoint(tmp_path / "m").fingerprint() == {"model.safetensors": name}
