"""Merge a reasoning expert into an MLLM without training, and open the result as any other model.

    python examples/merge.py Qwen/Qwen2.5-VL-7B-Instruct deepseek-ai/DeepSeek-R1-Distill-Qwen-7B Qwen/Qwen2.5-7B merged

A model may be a folder or a hub id. At 7B it takes minutes on a CPU, a few hundred MB of memory and 17 GB of disk.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from drift.merging import merge_checkpoints


def main() -> None:
    """TIES with the coefficients of the paper's Table 9, then one forward pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mllm")
    parser.add_argument("expert")
    parser.add_argument("base", help="the text model that both were tuned from")
    parser.add_argument("out", type=Path, help="folder to write; must not exist")
    parser.add_argument("--method", default="ties", help="ties, dare_ties, task_arithmetic, layer_swap, ...")
    args = parser.parse_args()

    summary = merge_checkpoints(args.method, args.out, mllm=args.mllm, expert=args.expert, base=args.base)
    print(f"{summary.merged} tensors merged, {summary.copied} copied, with {summary.hyperparameters}")
    for warning in summary.warnings:
        print("note:", warning)
    model = AutoModelForImageTextToText.from_pretrained(summary.folder, dtype="auto").eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[3, 4, 5]])).logits
    print(f"{type(model).__name__} opens; the next token would be {int(logits[0, -1].argmax())}")


if __name__ == "__main__":
    main()
