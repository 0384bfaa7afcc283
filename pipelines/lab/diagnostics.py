"""Why a lab score is what it is: whether the digits were copied right, and whether the reasoning was closed."""

from collections.abc import Mapping, Sequence

from evaluation.data.tsv import Item

THINK, END_THINK = "<think>", "</think>"


def diagnose(items: Sequence[Item], responses: Mapping[str, str]) -> dict[str, float]:
    """Shares in percent: `closed` (responses with `</think>`) and `transcription` (the chain opens with the digits).

    Empty for benchmarks that are not the lab's: they have no column `digits`.
    """
    if not items or not all("digits" in item.fields for item in items):
        return {}
    # An icon's name stands behind the digits in the column, and apart from them in a chain.
    shown = [[word for word in item.fields["digits"].split() if word.isdigit()] for item in items]
    texts = [(digits, responses.get(item.index, "")) for digits, item in zip(shown, items, strict=True)]
    right = sum(text.replace(THINK, " ").split()[: len(digits)] == digits for digits, text in texts)
    closed = sum(END_THINK in text for _, text in texts)
    return {"transcription": 100 * right / len(items), "closed": 100 * closed / len(items)}
