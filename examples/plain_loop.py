"""Extract a prior and inject it in a plain PyTorch loop: three steps on stand-in text.

    python examples/plain_loop.py Qwen/Qwen2.5-VL-7B-Instruct deepseek-ai/DeepSeek-R1-Distill-Qwen-7B prior

A model may be a folder or a hub id. At 7B one GPU of 80 GB holds the weights, the gradients and this SGD in bf16.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from drift import GradientInjector, ReasoningPrior
from drift.hub import checkpoint_folder


def main() -> None:
    """Three biased steps; prints where they went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mllm")
    parser.add_argument("expert")
    parser.add_argument("prior", type=Path, help="folder to write the prior to, or one that holds it")
    args = parser.parse_args()

    is_there = (args.prior / "prior.json").is_file()
    prior = ReasoningPrior.load(args.prior) if is_there else ReasoningPrior.extract(args.mllm, args.expert, args.prior)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint_folder(args.mllm), dtype="auto")
    model.to("cuda" if torch.cuda.is_available() else "cpu").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    injector = GradientInjector(prior, scale="adaptive", alpha=-1.0).attach(model)
    for share in injector.coverage():
        print("moved   " if share.is_covered else "left out", share, f"({share.reason})")

    torch.manual_seed(0)
    for step in range(3):
        tokens = torch.randint(3, model.config.get_text_config().vocab_size, (2, 16), device=model.device)
        loss = model(input_ids=tokens, labels=tokens).loss  # in earnest: your own batches
        loss.backward()
        injector.apply()  # after the backward pass, before clipping
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen = injector.metrics()
        print(f"step {step}: loss {loss:.3f}, cosine {seen['cosine']:+.3f}, injected {seen['injected_share']:.3f}")
    print(f"w_eff {injector.w_eff():.6f} of Delta")


if __name__ == "__main__":
    main()
