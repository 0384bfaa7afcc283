"""One fine-tuning job in this process: SFT or DRIFT through transformers' Trainer on DeepSpeed ZeRO.

`run_job` fills `job.out` with a checkpoint that from_pretrained opens, metrics.jsonl, injection.json, and summary.json,
which is written last: its existence means that the work is complete. Run again it goes on from the last complete
checkpoint, and on one process the result is the uninterrupted one bit for bit. The loss, the loop and the optimizer are
transformers' own; the bias on the gradient is drift.injection's.
"""

import dataclasses
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.processing_utils import ProcessorMixin
from transformers.utils.logging import disable_progress_bar

from drift.config import identity_of
from drift.errors import TrainingError
from drift.injection import GradientInjector, RunObserver
from drift.injection.shards import rank, world_size
from drift.prior import ReasoningPrior
from drift.processing import load_processor, save_processor, set_pixel_limits, sizes_by_area
from drift.scaling import WITHOUT_GRADIENT
from drift.sources import open_source
from drift.training import distributed, kernels
from drift.training.batches import Packer, collate, has_reply
from drift.training.checkpoints import CHECKPOINTS, find_resume_point
from drift.training.config import TrainingJob, TrainingResult
from drift.training.conversations import read_conversations
from drift.training.data import ConversationDataset
from drift.training.disk import FINAL, SUMMARY, is_disk_full, publish, require_space
from drift.training.division import divide, identity
from drift.training.model import add_tokens, check_saved, freeze, load_model
from drift.training.order import LengthGroupedSampler, fill
from drift.training.pace import Tokens
from drift.training.progress import (
    Recorder,
    cut_metrics,
    read_metrics,
    require_same_job,
)

log = logging.getLogger(__name__)

OnMetrics = Callable[[Mapping[str, Any]], None]


class GuardedTrainer(Trainer):
    """transformers' Trainer that stops at the first loss that is not finite and skips work nobody reads."""

    _weight = 1.0
    tokens: Tokens
    order: LengthGroupedSampler | None = None
    _decays: Sequence[float] = ()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The model's own loss, known to be finite on every rank; 0 of a blank pass, whose mean there is none of.

        Raises:
            TrainingError: it is NaN or infinite; names the optimizer step.
        """
        self.tokens.add(inputs)
        if not has_reply(inputs):
            inputs |= {"num_items_in_batch": 1}  # the sum in place of the mean
        result: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._weight != 1:
            result = (result[0] * self._weight, *result[1:]) if return_outputs else result * self._weight
        loss = result[0] if return_outputs else result
        if distributed.is_true_anywhere(~torch.isfinite(loss.detach())):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} of {self.state.max_steps}; "
                f"lower learning_rate or |alpha|, or look at the last lines of metrics.jsonl"
            )
        return result

    def get_train_dataloader(self) -> DataLoader:
        """Every process gets equally many batches of an epoch: blank examples fill up the last ones."""
        loader, ranks = super().get_train_dataloader(), world_size()
        return fill(loader, self.args.per_device_train_batch_size * ranks) if ranks > 1 else loader

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order

    def get_batch_samples(self, *step: Any) -> tuple[list[Any], Any]:
        """The passes of the next step; where some are blank, the others weigh more, as if these were not there."""
        passes, items = super().get_batch_samples(*step)
        if world_size() > 1 and not self.model_accepts_loss_kwargs:
            filled = distributed.total(sum(map(has_reply, passes)))
            self._weight = world_size() * len(passes) / filled
        return passes, items

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        """The optimizer, whose weight decays are remembered."""
        optimizer = super().create_optimizer(*arguments)
        self._decays = [group["weight_decay"] for group in optimizer.param_groups]
        return optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        engine: Any = self.model_wrapped
        if checkpoint is not None and engine.load_universal_checkpoint():
            distributed.mend_loaded(engine.optimizer.optimizer, self._decays)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: counting them walks over every parameter at every step."""
        return 0

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Inside a checkpoint nothing: DeepSpeed's own files hold the weights, a second copy would never be read."""
        if not _internal_call:
            super().save_model(output_dir)


def run_job(job: TrainingJob, on_metrics: OnMetrics | None = None) -> TrainingResult:
    """Trains until `job.out` is complete, from wherever an earlier start left it.

    Args:
        job: see TrainingJob; `job.processes` must be the number of processes that run this together.
        on_metrics: called on rank 0 with each line of metrics.jsonl.
    Raises:
        DriftError: bad data, model or prior; a loss that is not finite; a full disk; a folder begun with another job.
    """
    if (job.out / SUMMARY).is_file():
        shutil.rmtree(job.out / CHECKPOINTS, ignore_errors=True)
        return TrainingResult(**json.loads((job.out / SUMMARY).read_text()))
    distributed.start_process_group()
    if world_size() != job.processes:
        raise TrainingError(
            f"the job wants {job.processes} processes and {world_size()} run it; "
            f"start it by drift.training.launch or by torchrun"
        )
    job.out.mkdir(parents=True, exist_ok=True)
    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        return _run(job, on_metrics)
    except (OSError, RuntimeError) as error:  # safetensors and torch.save report a full disk as RuntimeError or OSError
        if not is_disk_full(error):
            raise
        free = shutil.disk_usage(job.out).free
        raise TrainingError(
            f"no space left at {job.out} ({free / 1e6:.1f} MB free); free some and start again: "
            f"it goes on from the last complete checkpoint"
        ) from error
    finally:
        unset_hf_deepspeed_config()


def _run(job: TrainingJob, on_metrics: OnMetrics | None) -> TrainingResult:
    # What must be equal for a run to be gone on with; folders may have moved, processes may be fewer or more.
    require_same_job(job.out, {"training": identity(job.training), "injection": identity_of(job.injection)})
    require_space(job)
    start = find_resume_point(job.out, job.training.zero_stage)
    set_seed(job.training.seed)
    # These come before the model: under ZeRO-3 from_pretrained asks them whether to partition what it loads.
    arguments = _arguments(job, start.is_universal)
    processor = load_processor(job.model, job.training.image_backend)
    original_size = dict(processor.image_processor.size)
    if sizes_by_area(processor):  # the data set limits the pictures of other families
        set_pixel_limits(processor, min_pixels=job.training.image_min_pixels, max_pixels=job.training.image_max_pixels)
    kernels.check(job.training, job.model)
    model = load_model(job.model, job.training)
    add_tokens(model, processor, job.training.add_tokens)
    freeze(model, job.model, job.training)
    dataset = _dataset(job, processor)
    trainer = _trainer(job, model, arguments, dataset, processor)
    observer = _observer(job, trainer)
    if rank() == 0:
        cut_metrics(job.out, start.step)
        shutil.rmtree(job.out / FINAL, ignore_errors=True)
    if start.folder is not None:
        log.info("going on after step %d", start.step)
    recorder = Recorder(job.out, observer, on_metrics, start.seconds, trainer.tokens)
    trainer.add_callback(recorder)
    trainer.train(resume_from_checkpoint=str(start.folder) if start.folder else None)
    processor.image_processor.size = original_size
    return _finish(job, trainer, processor, observer, dataset, recorder)


def _arguments(job: TrainingJob, is_universal: bool = False) -> TrainingArguments:
    """transformers' arguments; whatever they and DeepSpeed both hold is set here alone."""
    config, on_cpu = job.training, not torch.cuda.is_available()
    division = divide(config, job.processes)
    return TrainingArguments(
        output_dir=str(job.out / CHECKPOINTS),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.scheduler,
        warmup_steps=config.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        max_grad_norm=config.max_grad_norm,
        per_device_train_batch_size=division.per_device,
        gradient_accumulation_steps=division.accumulation,
        optim="adamw_torch" if config.optimizer == "adamw" else config.optimizer,
        bf16=config.precision == "bf16",
        activation_checkpointing=config.gradient_checkpointing,
        deepspeed=distributed.zero_config(config, job.model, is_universal),
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu else "nccl",
        dataloader_pin_memory=not on_cpu,
        dataloader_num_workers=config.dataloader_workers,
        use_liger_kernel=config.fused_cross_entropy,
        liger_kernel_config=kernels.FUSED_CROSS_ENTROPY if config.fused_cross_entropy else None,
        save_strategy="steps" if config.save_steps else "no",
        save_steps=max(config.save_steps, 1),
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        seed=config.seed,
        data_seed=config.seed,
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
    )


def _dataset(job: TrainingJob, processor: ProcessorMixin) -> ConversationDataset:
    """The encoded data.

    Raises:
        TrainingError: ZeRO-3 on several processes with images in some examples only: a rank whose batch has none would
            skip the vision tower and wait for ever for the others to gather its weights.
    """
    config = job.training
    name = hashlib.sha256(str(job.out.resolve()).encode()).hexdigest()[:16]
    dataset = ConversationDataset(read_conversations(job.data), processor, config, name)
    with_images, without = dataset.image_shares()
    if config.zero_stage == 3 and job.processes > 1 and with_images and without:
        raise TrainingError(
            f"zero_stage 3 on {job.processes} processes needs images in all examples or in none; "
            f"found {with_images} with and {without} without; choose zero_stage 2"
        )
    return dataset


def _trainer(
    job: TrainingJob,
    model: PreTrainedModel,
    arguments: TrainingArguments,
    dataset: ConversationDataset,
    processor: ProcessorMixin,
) -> GuardedTrainer:
    tokenizer, config = processor.tokenizer, job.training
    # Padding is masked out of attention and loss, so the end token serves where there is no padding token.
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    collator = Packer(model) if config.packing else partial(collate, pad_id=pad_id)
    trainer = GuardedTrainer(model=model, args=arguments, train_dataset=dataset, data_collator=collator)
    trainer.tokens = Tokens()
    if config.group_by_length:
        trainer.order = LengthGroupedSampler(dataset.lengths(), config.global_batch, config.seed)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _observer(job: TrainingJob, trainer: GuardedTrainer) -> RunObserver | None:
    """The injection, or for plain SFT with a prior something that only measures w_eff; attached before training."""
    if job.prior is None:
        return None
    prior = ReasoningPrior.load(job.prior)
    if job.injection.scale == "none":
        return RunObserver(prior).attach(trainer)
    settings = dataclasses.asdict(job.injection)
    if job.injection.scale in WITHOUT_GRADIENT:
        settings["semantics"] = "step"  # Delta once a step, however many passes a process makes
    start = open_source(job.model) if job.injection.scale == "pull" else None
    return GradientInjector(prior, **settings, start=start).attach(trainer)


def _finish(
    job: TrainingJob,
    trainer: GuardedTrainer,
    processor: ProcessorMixin,
    observer: RunObserver | None,
    dataset: ConversationDataset,
    recorder: Recorder,
) -> TrainingResult:
    """The final files, summary.json last; then the checkpoints go. Collective: every rank helps to gather weights."""
    table = observer.layer_table() if observer is not None else []
    covered, expected = (observer.covered, observer.expected) if isinstance(observer, GradientInjector) else (0, 0)
    trainer.save_model(str(job.out / FINAL))
    if observer is not None:
        observer.detach()
    counts, last = dataset.counts(), read_metrics(job.out)[-1]
    result = TrainingResult(
        steps=trainer.state.global_step,
        loss=last["loss"],
        w_eff=last["w_eff"],
        covered=covered,
        expected=expected,
        examples=counts.examples,
        truncated=counts.truncated,
        unboxed=counts.unboxed,
        dropped=counts.dropped,
        tokens=counts.tokens * job.training.epochs,
        seconds=recorder.seconds(),
    )
    if rank() == 0:
        save_processor(processor, job.out / FINAL)
        (job.out / FINAL / "training_args.bin").unlink()
        check_saved(job.out / FINAL, job.model)
        injection = {"covered": f"{covered}/{expected}", **identity_of(job.injection), "layers": table}
        (job.out / FINAL / "injection.json").write_text(json.dumps(injection, indent=2) + "\n")
        (job.out / FINAL / SUMMARY).write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
        publish(job.out, job.out / CHECKPOINTS)
    distributed.barrier()
    return result
