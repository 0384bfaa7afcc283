"""The mutations: a file, a fragment of it, what it becomes, and the tests that are meant to notice.

A fragment stands once in its file. The tests are pytest's words: files, and `-k` expressions that keep a run short.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One small fault."""

    file: str
    old: str
    new: str
    tests: str


SCALING = "tests/drift/test_scaling.py"
METHODS = "tests/drift/test_merging_methods.py"
PRIOR = "tests/drift/test_prior.py"
GEOMETRY = "tests/drift/test_geometry.py"
INJECTION = "tests/drift/test_injection_module.py"
CHECKPOINTS = "tests/drift/test_checkpoints.py"
FILES = "tests/drift/test_files.py"
CONFIG = "tests/drift/test_config.py tests/drift/test_training_data.py -k config"
TRAINING = "tests/drift/test_training_runs.py -k"
STATISTICS = "tests/evaluation/test_statistics.py"
GENERATE = "tests/evaluation/test_generate.py"
ENGINES = "tests/evaluation/test_engines.py"
DOWNLOAD = "tests/evaluation/test_download.py"
PLAN = "tests/pipelines/test_plan.py -k each_world_draws"
STORE = "tests/pipelines/test_store.py"
VERIFY = "tests/pipelines/test_verify.py"
LEASE = "tests/pipelines/test_lease.py"
DATA = "tests/drift/test_training_data.py"
FINGERPRINT = "tests/pipelines/test_fingerprint.py"
GATES = "tests/drift/test_gates.py"
SYMBOLIC = "tests/evaluation/test_symbolic.py"
MIX = "tests/pipelines/test_distil.py"
RULES = "tests/pipelines/test_distil_filter.py"
STALE = "tests/pipelines/test_staleness.py"
RANGES = "tests/pipelines/test_ranges.py -k learning_rate"

MUTATIONS = (
    # The method.
    Mutation("drift/scaling.py", ".clamp(-1.0, 1.0)", "", SCALING),
    Mutation("drift/scaling.py", "(1.0 + cosine(grad_norm, dot", "(1.0 - cosine(grad_norm, dot", SCALING),
    Mutation(
        "drift/scaling.py", "cosine(grad_norm, dot, delta_norm)) / 2.0", "cosine(grad_norm, dot, delta_norm))", SCALING
    ),
    Mutation("drift/scaling.py", "cosine(grad_norm, -dot", "cosine(grad_norm, dot", SCALING),
    Mutation("drift/scaling.py", "return _ratio(grad_norm, delta_norm)", "return grad_norm", SCALING),
    Mutation(
        "drift/scaling.py", '"linear": lambda progress: 1.0 - progress', '"linear": lambda progress: 1.0', SCALING
    ),
    Mutation("drift/scaling.py", "total_steps), 1.0))", "total_steps), 9.0))", SCALING),
    Mutation("drift/merging/primitives.py", "alpha=weights[1]", "alpha=weights[0]", METHODS),
    Mutation("drift/merging/primitives.py", 'f"{seed}/{model}/{name}"', 'f"{model}/{name}"', METHODS),
    Mutation("drift/merging/primitives.py", 'f"{seed}/{model}/{name}"', 'f"{seed}/{name}"', METHODS),
    Mutation("drift/merging/primitives.py", "generator.advance(first)", "generator.advance(0)", METHODS),
    Mutation(
        "drift/merging/primitives.py",
        "copysign(torch.ones(()), torch.add(*deltas))",
        "sign(torch.add(*deltas))",
        METHODS,
    ),
    Mutation("drift/merging/primitives.py", "whole / kept", "kept / whole", METHODS),
    Mutation("drift/merging/primitives.py", "return 1.0 - t, t", "return t, 1.0 - t", METHODS),
    Mutation("drift/merging/primitives.py", "2.0 * cosine / (1.0 + cosine)", "cosine", METHODS),
    Mutation("drift/merging/primitives.py", "min(deltas[0].shape) // 2", "min(deltas[0].shape)", METHODS),
    Mutation("drift/deltas.py", "if self.sign > 0 else (origin, theirs)", "if True else (origin, theirs)", PRIOR),
    Mutation("drift/deltas.py", "ours if self.base is None else", "ours if True else", PRIOR),
    Mutation("drift/deltas.py", 'f"{seed}:{name}"', 'f"{name}"', PRIOR),
    Mutation("drift/deltas.py", "math.sqrt(moments.delta) / norm", "1.0", PRIOR),
    Mutation(
        "drift/deltas.py", "if not math.isfinite(moments.mllm", "if False and not math.isfinite(moments.mllm", PRIOR
    ),
    Mutation("drift/prior.py", 'if kind == "hierarchical" and base is None:', "if False:", PRIOR),
    Mutation("drift/geometry.py", '"relative_l2": l2 / norm_a', '"relative_l2": l2 / norm_b', GEOMETRY),
    Mutation("drift/geometry.py", "inner / (norm_a * norm_b)", "inner / norm_a", GEOMETRY),
    Mutation("drift/sources.py", '("num_attention_heads", "num_key_value_heads")', '("num_attention_heads",)', PRIOR),
    Mutation("drift/sources.py", "if mllm.shape(name) != other.shape(name):", "if False:", PRIOR),
    Mutation("drift/sources.py", 'if "lm_head" in groups and mllm.is_tied:', "if False:", PRIOR),
    Mutation(
        "drift/injection/bias.py", "[torch.dot(g, g), torch.dot(g, d)]", "[torch.dot(g, d), torch.dot(g, g)]", INJECTION
    ),
    Mutation(
        "drift/injection/bias.py", "delta[start:stop], alpha=factor", "delta[start:stop], alpha=-factor", INJECTION
    ),
    Mutation("drift/training/gates.py", "(self._scale * self.left * self", "(self.left * self", GATES),
    Mutation("drift/training/gates.py", "loss = divergence - config.weight * taken", "loss = divergence", GATES),
    Mutation("drift/training/gates.py", "(expert - base).view(shape)", "(base - expert).view(shape)", GATES),
    # Files and checkpoints.
    Mutation("drift/safetensors_io.py", "if end != size:", "if end > size:", "tests/security/test_hostile.py"),
    Mutation("drift/safetensors_io.py", "if last - first != spec.nbytes:", "if False:", CHECKPOINTS),
    Mutation("drift/safetensors_io.py", "if not 0 <= start <= stop <= spec.numel:", "if False:", CHECKPOINTS),
    Mutation("drift/files.py", "lines = lines[:-1]", "lines = lines[:]", FILES),
    Mutation("drift/files.py", "part.unlink(missing_ok=True)", "pass", FILES),
    # Training.
    Mutation("drift/training/trainer.py", "data_seed=config.seed", "data_seed=0", f"{TRAINING} seed"),
    Mutation("drift/training/trainer.py", "        seed=config.seed", "        seed=0", f"{TRAINING} seed"),
    Mutation("drift/training/config.py", "self.save_steps % self.logging_steps == 0", "True", CONFIG),
    Mutation("drift/training/config.py", "learning_rate: Positive", "learning_rate: float", RANGES),
    Mutation("drift/config.py", "return math.isfinite(value) and is_above", "return is_above", RANGES),
    Mutation("drift/config.py", "value > self.low or", "value >= self.low or", RANGES),
    Mutation("drift/training/pixels.py", "stat.S_IMODE(found.st_mode) & 0o077", "False", f"{DATA} -k image_tensors"),
    Mutation("drift/training/pixels.py", "found.st_uid != os.geteuid()", "False", f"{DATA} -k image_tensors"),
    # Measuring.
    Mutation("evaluation/statistics.py", "z * z / (4 * n * n)", "z * z / (2 * n * n)", STATISTICS),
    Mutation("evaluation/statistics.py", "(a == 1) & (b == 0)", "(a == 1)", STATISTICS),
    Mutation(
        "evaluation/statistics.py",
        "difference = b - a\n    rng = np.random.default_rng(seed)",
        "difference = b - a\n    rng = np.random.default_rng(0)",
        STATISTICS,
    ),
    Mutation(
        "evaluation/statistics.py",
        "for position, group in enumerate(groups)",
        "for position, group in enumerate(map(str, range(len(groups))))",
        STATISTICS,
    ),
    Mutation("evaluation/statistics.py", 'method="holm"', 'method="bonferroni"', STATISTICS),
    Mutation("evaluation/statistics.py", "np.std(values, ddof=1)", "np.std(values)", STATISTICS),
    Mutation("evaluation/engines/transformers.py", "[str(settings.seed), *(", "[*(", f"{ENGINES} -k sampling"),
    Mutation(
        "evaluation/engines/transformers.py",
        "if settings.do_sample:\n                torch.manual_seed",
        "if False:\n                torch.manual_seed",
        f"{ENGINES} -k sampling",
    ),
    Mutation(
        "evaluation/engines/generate.py", "if request is None or found != expected:", "if request is None:", GENERATE
    ),
    Mutation("evaluation/engines/generate.py", "if len(by_index) < len(requests):", "if False:", GENERATE),
    Mutation("evaluation/data/download.py", "if md5 is not None and found != md5:", "if False:", DOWNLOAD),
    Mutation("evaluation/data/download.py", '"ab" if start else "wb"', '"wb"', DOWNLOAD),
    Mutation(
        "evaluation/data/download.py", "except requests.exceptions.ChunkedEncodingError", "except KeyError", DOWNLOAD
    ),
    Mutation("evaluation/answers/equality.py", "and not is_set:", "and False:", SYMBOLIC),
    Mutation("evaluation/answers/equality.py", "all(_close(ratio, ratios[0]) for ratio in ratios)", "True", SYMBOLIC),
    # The pipeline.
    Mutation("pipelines/plan.py", '{"seed": chosen.seed + config.seed}', '{"seed": chosen.seed}', PLAN),
    Mutation(
        "pipelines/plan.py",
        "_DRAWS_APART * chosen.draw if chosen.is_drawn else 0",
        "0",
        "tests/pipelines/test_plan.py -k draw",
    ),
    Mutation("pipelines/distil/mixing.py", 'f"{seed}\\0{what}', 'f"{what}', MIX),
    Mutation("pipelines/distil/mixing.py", "sorted(by_lot[:wanted])", "sorted(places)[:wanted]", MIX),
    Mutation("pipelines/distil/rules.py", 'sample.finish_reason == "length"', "False", RULES),
    Mutation("pipelines/distil/rules.py", "not opened < closed < box.start()", "False", RULES),
    Mutation("pipelines/staleness.py", "self.digest if is_same else MIXED", "self.digest", STALE),
    Mutation("pipelines/staleness.py", 'if record["was"] == made else made', "", STALE),
    Mutation("pipelines/staleness.py", '"stale" if made else "unknown"', '"unknown"', STALE),
    Mutation("pipelines/retention.py", "alive[_kind(call)] < self", "0 < self", "tests/pipelines/test_retention.py"),
    Mutation(
        "pipelines/plan.py", "chosen.seed + config.seed if chosen.is_drawn", "chosen.seed if chosen.is_drawn", PLAN
    ),
    Mutation("pipelines/plan.py", "seed=config.train.seed + config.seed", "seed=config.train.seed", PLAN),
    Mutation(
        "pipelines/plan.py", "merge.seed + seed if row.is_drawn(values)", "merge.seed if row.is_drawn(values)", PLAN
    ),
    Mutation("pipelines/plan.py", "replace(world.counting(*sizes), seed=seed)", "world.counting(*sizes)", PLAN),
    Mutation("pipelines/fingerprint.py", "sort_keys=True", "sort_keys=False", FINGERPRINT),
    Mutation("pipelines/fingerprint.py", '"version": version', '"version": 0', FINGERPRINT),
    Mutation("pipelines/integrity.py", 'if found != recorded["sha256"]:', "if False:", STORE),
    Mutation("pipelines/integrity.py", "for name in found.keys() - manifest", "for name in manifest", STORE),
    Mutation("pipelines/integrity.py", "{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}", "{stat.st_ino}", STORE),
    Mutation("pipelines/integrity.py", "if name not in (PACE, SUMMARY)}", "}", STORE),
    Mutation(
        "pipelines/manifests.py", "if manifest.get(SEAL, seal_of(manifest)) != seal_of(manifest):", "if False:", STORE
    ),
    Mutation("pipelines/store.py", "if made_from.get(name) != inputs[name].content:", "if False:", STORE),
    Mutation("pipelines/store.py", "if is_part(path.name):", "if False:", STORE),
    Mutation("pipelines/store.py", "if path.is_symlink():\n            raise", "if False:\n            raise", STORE),
    Mutation("pipelines/verify.py", "record.unlink(missing_ok=True)", "pass", VERIFY),
    Mutation("pipelines/report/committed.py", "statistics.fmean(values)), (", "max(values)), (", VERIFY),
    Mutation("pipelines/lease.py", "now - self._seen[2] < self.expiry", "True", LEASE),
    Mutation(
        "pipelines/scheduler.py",
        "key in self.damaged or key in",
        "key in",
        "tests/pipelines/test_damage.py -k flipped",
    ),
)
