"""MathVista's mapping of a stray answer to an option: Levenshtein's distance, ties to the first."""

from hypothesis import example, given
from hypothesis import strategies as st

from evaluation.benchmarks.mathvista import nearest_option, official_verdict
from evaluation.data.tsv import Item


def distance(left: str, right: str) -> int:
    """The textbook table, row by row."""
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]


# Few letters, so that equal distances are common; an accent and a lone surrogate count as one letter each.
texts = st.text(alphabet="abA é\ud800", max_size=8)


@given(texts, st.lists(texts, min_size=1, max_size=5))
@example("", ["a", "b"])
@example("ab", ["ba", "aa", "ab "])
def test_the_nearest_option_is_the_first_at_the_textbook_distance(text, options):
    distances = [distance(text, option) for option in options]
    assert nearest_option(text, options) == options[distances.index(min(distances))]


def test_a_text_of_any_length_is_mapped_by_its_first_2000_letters():
    item = Item("0", "Which?", "A", {"A": "x" * 1990, "B": "y" * 1999})
    assert official_verdict(item, "x" * 2_000 + "y" * 5_000)
