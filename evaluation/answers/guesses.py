"""What a published extraction, which must name an option, takes for the answer where a careful reader would not.

Rules go from the option's own words to likeness, and from the end of the text to its beginning.
"""

import re
from collections.abc import Iterator, Mapping

from evaluation.answers import letters as found_by
from evaluation.answers.final import closing
from evaluation.answers.text import sentences

_HEAD = 2_000


def guesses(said: str, options: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(letter, rule, words), the likeliest first."""
    names = list(options)
    if not found_by.marked_letters(said, names) and (labelled := found_by.label(said, names)):
        yield labelled[0], "leading_letter", said
    if (value := closing(said)) and (letter := _by_part(value.text, options)):
        yield letter, "option_part", value.evidence
    for part in reversed(sentences(said)[-3:]):
        found = (
            (found_by.option_by_text(part, options), "option_text"),
            (_only(found_by.marked_letters(part, names)), "last_marked"),
            (found_by.option_by_value(part, options), "option_value"),
            (found_by.option_by_words(part, options), "option_words"),
            (_only(found_by.options_inflected(part, options)), "option_form"),
        )
        yield from ((letter, rule, part) for letter, rule in found if letter)
    for letter, rule in (
        (found_by.option_by_text(said[:_HEAD], options), "option_text"),
        (found_by.option_by_likeness(said, options), "likeness"),
        (found_by.standing_letter(said, names), "only_letter"),
    ):
        if letter:
            yield letter, rule, said


def _only(letters: list[str]) -> str | None:
    return letters[0] if len(letters) == 1 else None


def _by_part(value: str, options: Mapping[str, str]) -> str | None:
    """The only option that a stated value is a part of (`July` of `July and August`)."""
    words = set(found_by.fold(value).split())
    found = [k for k, option in options.items() if words <= set(re.findall(r"[^\W\d_]+", found_by.fold(option)))]
    return found[0] if len(found) == 1 and len(value) > 3 else None
