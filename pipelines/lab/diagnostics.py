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
    texts = [(_digits(item), responses.get(item.index, "")) for item in items]
    right = sum(text.replace(THINK, " ").split()[: len(digits)] == digits for digits, text in texts)
    closed = sum(END_THINK in text for _, text in texts)
    return {"transcription": 100 * right / len(items), "closed": 100 * closed / len(items)}


def _digits(item: Item) -> list[str]:
    """The digits in the picture; an icon's name stands behind them in the column and apart from them in a chain."""
    return [word for word in item.fields["digits"].split() if word.isdigit()]
