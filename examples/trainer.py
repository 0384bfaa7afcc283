"""Inject a prior in a transformers Trainer; its own log gets cosine, injected share and w_eff.

    python examples/trainer.py Qwen/Qwen2.5-VL-7B-Instruct deepseek-ai/DeepSeek-R1-Distill-Qwen-7B out

A model may be a folder or a hub id. On several GPUs start it by torchrun or accelerate, with the Trainer's own
`deepspeed` or `fsdp` arguments: the injection follows. The paper's own run is
`python -m pipelines.run method=drift profile=paper`.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, Trainer, TrainingArguments

from drift import GradientInjector, ReasoningPrior
from drift.hub import checkpoint_folder


def examples(vocabulary: int, count: int = 16) -> list[dict[str, list[int]]]:
    """Stand-in text; in earnest your own dataset and collator."""
    tokens = torch.randint(3, vocabulary, (count, 16), generator=torch.Generator().manual_seed(0)).tolist()
    return [{"input_ids": row, "labels": row} for row in tokens]


def main() -> None:
    """Four steps, two lines in the Trainer's log, and the model saved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mllm")
    parser.add_argument("expert")
    parser.add_argument("out", type=Path, help="folder for the prior and the trained model")
    args = parser.parse_args()

    prior = ReasoningPrior.extract(args.mllm, args.expert, args.out / "prior")
    model = AutoModelForImageTextToText.from_pretrained(checkpoint_folder(args.mllm), dtype="auto")
    arguments = TrainingArguments(
        output_dir=str(args.out / "model"),
        max_steps=4,
        logging_steps=2,
        learning_rate=1e-4,
        per_device_train_batch_size=2,
        save_strategy="no",
        report_to="none",
    )
    trainer = Trainer(model, arguments, train_dataset=examples(model.config.get_text_config().vocab_size))
    GradientInjector(prior, scale="adaptive", alpha=-1.0).attach(trainer)  # covers every parameter, or raises
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
