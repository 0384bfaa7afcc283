"""The laboratory's language: problems over short lists of digits, their questions, chains of thought and answers.

Everything is arithmetic modulo 10 on single digits, read left to right. A problem is words only; whoever writes it out
shows the digits as a text list or as an image. No torch and no tokenizer in here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

FOLDS = ("sum", "sub", "max", "min")
SYMBOLS = {"sum": "+", "sub": "-", "max": "max", "min": "min"}
OPERATORS = {symbol: operator for operator, symbol in SYMBOLS.items()}
ANY: Mapping[str, float] = {"fold": 0.40, "calc": 0.25, "cnt": 0.10, "next": 0.25}
# To tell whether two digits are equal is learnt slowest: with .10 of counting an expert still guesses "yes" or "no".
DRILL: Mapping[str, float] = {"fold": 0.35, "calc": 0.20, "cnt": 0.25, "next": 0.20}
WORDS = (
    *(str(d) for d in range(10)),
    *(".", "+", "-", "=", ";", "?", "yes", "no"),
    *("list", "user", "assistant", "system", "think"),
    *("read", "pos", "icon", "calc", "cnt", "next"),
    *FOLDS,
    "\\boxed{",
    "}",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `question` ends in "?" and never says "think"; `icon` is the glyph an image of it must show."""

    task: str
    digits: tuple[int, ...]
    question: str
    answer: str
    chain: str = ""
    icon: str | None = None


def apply_fold(operator: str, left: int, right: int) -> int:
    """`left operator right` modulo 10, for an operator of FOLDS."""
    if operator == "sum":
        return (left + right) % 10
    if operator == "sub":
        return (left - right) % 10
    return max(left, right) if operator == "max" else min(left, right)


def _walk(digits: Sequence[int], operators: Sequence[str]) -> tuple[str, int]:
    """The running chain "3 + 8 = 1 + 5 = 6" and its last value; one operator per step."""
    value, words = digits[0], [str(digits[0])]
    for operator, digit in zip(operators, digits[1:], strict=True):
        value = apply_fold(operator, value, digit)
        words += [SYMBOLS[operator], str(digit), "=", str(value)]
    return " ".join(words), value


def _listed(digits: Sequence[int]) -> str:
    return " ".join(map(str, digits))


def fold(digits: Sequence[int], operator: str) -> Problem:
    """3 8 5, `sum ?`: the chain is "3 8 5 . 3 + 8 = 1 + 5 = 6"."""
    walk, value = _walk(digits, [operator] * (len(digits) - 1))
    return Problem("fold", tuple(digits), f"{operator} ?", str(value), f"{_listed(digits)} . {walk}")


def icon_fold(digits: Sequence[int], operator: str) -> Problem:
    """The question is "?": the operator is a glyph in the image, and the chain names it, "3 8 5 . sum . 3 + ..."."""
    walk, value = _walk(digits, [operator] * (len(digits) - 1))
    chain = f"{_listed(digits)} . {operator} . {walk}"
    return Problem("icon-fold", tuple(digits), "?", str(value), chain, operator)


def calc(digits: Sequence[int], operators: Sequence[str]) -> Problem:
    """3 8 5, `calc + - ?`: the chain is "3 8 5 . 3 + 8 = 1 - 5 = 6"; operators are "sum" or "sub"."""
    walk, value = _walk(digits, operators)
    question = f"calc {' '.join(SYMBOLS[o] for o in operators)} ?"
    return Problem("calc", tuple(digits), question, str(value), f"{_listed(digits)} . {walk}")


def count(digits: Sequence[int], wanted: int) -> Problem:
    """3 8 3, `cnt 3 ?`: the chain is "3 8 3 . 3 yes 1 ; 8 no 1 ; 3 yes 2"."""
    steps, total = [], 0
    for digit in digits:
        total += digit == wanted
        steps.append(f"{digit} {'yes' if digit == wanted else 'no'} {total}")
    return Problem("cnt", tuple(digits), f"cnt {wanted} ?", str(total), f"{_listed(digits)} . {' ; '.join(steps)}")


def following(digits: Sequence[int]) -> Problem:
    """3 5 7 (arithmetic progression), `next ?`: the chain is "3 5 7 . 5 - 3 = 2 ; 7 - 5 = 2 ; 7 + 2 = 9"."""
    step = (digits[1] - digits[0]) % 10
    parts = [f"{b} - {a} = {step}" for a, b in pairwise(digits)]
    value = (digits[-1] + step) % 10
    parts.append(f"{digits[-1]} + {step} = {value}")
    return Problem("next", tuple(digits), "next ?", str(value), f"{_listed(digits)} . {' ; '.join(parts)}")


def alternating(digits: Sequence[int]) -> Problem:
    """3 5 8 0 (two steps by turns), `next ?`: "3 5 8 0 . 5 - 3 = 2 ; 8 - 5 = 3 ; 0 - 8 = 2 ; 0 + 3 = 3".

    A hundred progressions of a length become a thousand; one step repeated, a progression's chain, is among them.
    """
    steps = [(b - a) % 10 for a, b in pairwise(digits)]
    parts = [f"{b} - {a} = {step}" for (a, b), step in zip(pairwise(digits), steps, strict=True)]
    step = steps[-2:][0]
    value = (digits[-1] + step) % 10
    parts.append(f"{digits[-1]} + {step} = {value}")
    return Problem("turns", tuple(digits), "next ?", str(value), f"{_listed(digits)} . {' ; '.join(parts)}")


def reading(digits: Sequence[int]) -> Problem:
    """`read ?`: the answer is the digits, "3 8 5"."""
    return Problem("read", tuple(digits), "read ?", _listed(digits))


def position(digits: Sequence[int], place: int) -> Problem:
    """`pos k ?`: the answer is the k-th digit, counted from 1."""
    return Problem("pos", tuple(digits), f"pos {place} ?", str(digits[place - 1]))


def icon_name(digits: Sequence[int], operator: str) -> Problem:
    """`icon ?`: the answer is the name of the glyph in the image."""
    return Problem("icon", tuple(digits), "icon ?", operator, icon=operator)


def problem_id(problem: Problem) -> str:
    """What is asked of which digits, however it is posed: "3 8 5 + +" is a fold in words, its glyph, and the calc."""
    words, steps = problem.question.split()[:-1], len(problem.digits) - 1
    if problem.task in ("fold", "icon-fold"):
        words = [SYMBOLS[problem.icon or words[0]]] * steps
    elif problem.task == "calc":
        words = words[1:]
    return " ".join([_listed(problem.digits), *words])


def draw_digits(rng: Random, n: int) -> tuple[int, ...]:
    """n digits, uniform and independent."""
    return tuple(rng.randrange(10) for _ in range(n))


def draw_signs(rng: Random, n: int) -> list[str]:
    """The n operators of a calc, + or - with equal chance."""
    return [rng.choice(("sum", "sub")) for _ in range(n)]


def draw_count(rng: Random, n: int) -> Problem:
    """A count over n digits, each of them the wanted one with chance one half, so that "yes" and "no" are as common."""
    wanted = rng.randrange(10)
    return count([wanted if rng.random() < 0.5 else rng.randrange(10) for _ in range(n)], wanted)


def draw_following(rng: Random, n: int) -> Problem:
    """An arithmetic progression of n digits modulo 10, first digit and step uniform."""
    first, step = rng.randrange(10), rng.randrange(10)
    return following([(first + step * i) % 10 for i in range(n)])


def draw_alternating(rng: Random, n: int) -> Problem:
    """n digits with two steps by turns, first digit and steps uniform."""
    first, steps = rng.randrange(10), (rng.randrange(10), rng.randrange(10))
    digits = accumulate((steps[i % 2] for i in range(n - 1)), lambda digit, step: (digit + step) % 10, initial=first)
    return alternating(list(digits))


# Task -> a problem over n digits. Digits, operators and places are uniform, and independent of each other.
DRAWS: dict[str, Callable[[Random, int], Problem]] = {
    "fold": lambda rng, n: fold(draw_digits(rng, n), rng.choice(FOLDS)),
    "calc": lambda rng, n: calc(draw_digits(rng, n), draw_signs(rng, n - 1)),
    "cnt": draw_count,
    "next": draw_following,
    "turns": draw_alternating,
    "read": lambda rng, n: reading(draw_digits(rng, n)),
    "pos": lambda rng, n: position(draw_digits(rng, n), rng.randrange(1, n + 1)),
    "icon": lambda rng, n: icon_name(draw_digits(rng, n), rng.choice(FOLDS)),
    "icon-fold": lambda rng, n: icon_fold(draw_digits(rng, n), rng.choice(FOLDS)),
}


def draw_any(rng: Random, lengths: Sequence[int], weights: Mapping[str, float] = ANY) -> Problem:
    """Any reasoning task (fold .40, calc .25, cnt .10, next .25) over a length drawn from `lengths`."""
    n = rng.choice(lengths)
    return DRAWS[rng.choices(tuple(weights), tuple(weights.values()))[0]](rng, n)


def text_prompt(problem: Problem, think: bool) -> str:
    """What a user types when the digits are text: "list 3 8 5 . sum ? think"."""
    return f"list {_listed(problem.digits)} . {asked(problem, think)}"


def asked(problem: Problem, think: bool) -> str:
    """The question, with the word "think" when a chain of thought is wanted."""
    return f"{problem.question} think" if think else problem.question


def reply(problem: Problem, think: bool) -> str:
    """What the assistant should say: "<think> COT </think> \\boxed{ ANS }", or the box alone."""
    boxed = f"\\boxed{{ {problem.answer} }}"
    return f"<think> {problem.chain} </think> {boxed}" if think else boxed
