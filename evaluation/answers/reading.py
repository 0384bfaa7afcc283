"""What a careful reader takes a multiple-choice response to say: the shared part of every `semantic` mode.

A boxed answer is a statement: when it is no option and no closing phrase follows, the response chose none, whatever
else its text mentions. Letters come before meanings, meanings (an option's value) before mentions.
"""

from collections.abc import Mapping

from evaluation.answers.equality import same_answer
from evaluation.answers.final import final_answer
from evaluation.answers.letters import bare_letter, choose, leading_letter, option_by_text, phrase_letter, unbraced
from evaluation.answers.text import marked_answers, own_answer, plain, without_refuted

_LONGEST = 200


def read_option(text: str, options: Mapping[str, str]) -> tuple[str | None, str | None, str]:
    """(letter, text, rule) of the answer part `text` of a response to a question with `options` (letter -> text).

    The letter is of the option chosen, None for none; the text what the response said, None when nothing can be read.
    """
    if marked := marked_answers(text):
        inside, rule = marked[0]
        letter = _letter(inside, options) or by_meaning(inside, options)
        if not any("\\" in option for option in options.values()):
            letter = letter or option_by_text(plain(inside), options)
        letter = letter or phrase_letter(plain(text.rpartition(inside)[2]), list(options))
        return letter, letter or inside[:_LONGEST], rule
    letters = list(options)
    own = own_answer(plain(text))
    if letter := bare_letter(own, letters):
        return letter, letter, "bare_letter"
    if letter := phrase_letter(without_refuted(own), letters):
        return letter, letter, "phrase"
    closing = final_answer(text)
    if closing and (letter := _letter(closing[0], options) or by_meaning(closing[0], options)):
        return letter, letter, f"{closing[1]}_value"
    if found := choose(text, options):
        return found[0], *found
    return None, closing[0][:_LONGEST] if closing and closing[1] != "copula" else None, "no_option"


def by_meaning(answer: str, options: Mapping[str, str]) -> str | None:
    """The only option that means the same as `answer`."""
    found = [letter for letter, option in options.items() if same_answer(option, answer)]
    return found[0] if len(found) == 1 else None


def _letter(text: str, options: Mapping[str, str]) -> str | None:
    letters, short = list(options), unbraced(plain(text))
    return (
        bare_letter(short, letters)
        or bare_letter(short.upper(), letters)
        or leading_letter(short, letters)
        or phrase_letter(short, letters)
    )
