"""Inputs that somebody made on purpose: what JSON may hold, and the neighbours of a file.

A reader gets a hundred inputs in the tests and FUZZ=100000 in `make fuzz`. To draw one takes hypothesis longer than to
read it, so of many inputs it draws one in fifty; the others are its neighbours, by a seed that it draws too.
"""

import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from drift.errors import DriftError

_ASKED = int(os.environ.get("FUZZ", "100"))
EACH = min(50, max(1, _ASKED // 1000))  # neighbours of an input, itself included
MANY = settings(
    max_examples=-(-_ASKED // EACH),
    deadline=2000 * EACH,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=_ASKED <= 100,  # the tests' hundred are the same each time
)
SEED = st.integers(0, 2**32)
TEXT = st.text(max_size=8) | st.sampled_from(["", "\ud800", "\0", "nan", "9" * 400, "../x.png", "a" * 300 + ".png"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[\]|\{\}|[^\t\n",:{}\[\]]+')
_PUT = (
    b"null", b"true", b"-1", b"0", b"7", b"1e999", b"NaN", b"9" * 400, b'""', b'"\\ud800"', b'"\\u0000"', b"[]", b"{}",
    b"[" * 500, b'"../x"', b'"' + b"a" * 300 + b'"', b"\t", b"\n", b'"', b",", b"\xff", b"\0", b"",
)  # fmt: skip


def neighbours(data: bytes, seed: int) -> Iterator[bytes]:
    """The input, and others in which some values or bytes are replaced."""
    yield data
    chance = random.Random(seed)
    for _ in range(EACH - 1):
        changed = data
        for _ in range(chance.randrange(1, 4)):
            found = list(_VALUE.finditer(changed)) if chance.random() < 0.7 else []
            start, stop = chance.choice(found).span() if found else _span(chance, len(changed))
            put = chance.choice(_PUT) if chance.random() < 0.8 else chance.randbytes(chance.randrange(5))
            changed = changed[:start] + put + changed[stop:]
        yield changed


@contextmanager
def or_refused(name: str, by: type[DriftError]) -> Iterator[None]:
    """What the block reads is read, or refused by an error that names the file."""
    try:
        yield
    except by as error:
        if name not in str(error):
            raise AssertionError(f"an error that names no {name}") from error


def _span(chance: random.Random, size: int) -> tuple[int, int]:
    start = chance.randrange(size + 1)
    return start, min(size, start + chance.randrange(9))
