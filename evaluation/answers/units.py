"""Units with their dimension and an exact factor to its base: a closed vocabulary, in words, symbols and Chinese.

A table of our own instead of pint: these few spellings are all that answers use, factors are exact fractions, nothing
is guessed from prefixes ("min" is no milli-inch), and reading a unit costs one look-up whatever the text is.
"""

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """A unit: quantities are comparable where `dimension` and `power` are equal, after multiplying by `factor`."""

    dimension: str
    power: int
    factor: Fraction


# dimension -> factor to the base unit -> spellings, without a plural's s.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter metre 米", "1/10": "dm decimeter decimetre 分米", "1/100": "cm centimeter centimetre 厘米",
        "1/1000": "mm millimeter millimetre 毫米", "1000": "km kilometer kilometre 千米 公里",
        "0.0254": "in inch inches", "0.3048": "ft foot feet", "0.9144": "yd yard", "1609.344": "mile mi",
    },
    "mass": {
        "1": "g gram 克", "1/1000": "mg milligram 毫克", "1000": "kg kilogram 千克 公斤", "1000000": "tonne 吨",
        "28.349523125": "oz ounce", "453.59237": "lb lbs",
    },
    "time": {
        "1": "s sec second 秒", "60": "min mins minute 分钟", "3600": "h hr hrs hour 小时", "86400": "day 天",
        "604800": "week 周",
    },
    "month": {"1": "month 月", "12": "year yr 年"},
    "angle": {"1": "° deg degree 度"},
    "celsius": {"1": "°C celsius ℃"},
    "fahrenheit": {"1": "°F fahrenheit ℉"},
    "count": {"1": "个 只 条 人 本 次 种 张 颗 块"},
    "percent": {"1": "% percent percentage pct"},
    "dollar": {"1": "$ dollar USD US$", "1/100": "cent ¢"},
    "euro": {"1": "€ euro EUR"},
    "pound": {"1": "£ pound GBP", "1/100": "pence"},
    "yuan": {"1": "¥ yuan RMB 元"},
    "rupee": {"1": "₹ rupee"},
    "speed": {"1": "m/s", "5/18": "km/h kmh kph", "0.44704": "mph"},
}  # fmt: skip
_LITRES = {"1/1000": "l L liter litre 升", "1/1000000": "ml mL milliliter millilitre 毫升"}
_CASED = {"L", "mL", "°C", "°F", "USD", "EUR", "GBP", "RMB", "US$"}
# Words after a number that name nothing to compare.
BLANK = frozenset(
    (
        "unit",
        "units",
        "square units",
        "cubic units",
        "sq units",
        "square unit",
        "cubic unit",
        "in total",
        "total",
        "altogether",
    )
)
_POWERS = {"²": 2, "³": 3, "2": 2, "3": 3, "": 1}
_PREFIXED = {"square ": 2, "sq ": 2, "sq. ": 2, "cubic ": 3, "平方": 2, "立方": 3, "": 1}


def _spellings() -> dict[str, Unit]:
    found = {}
    for dimension, scales in _TABLE.items():
        for factor, names in scales.items():
            for name in names.split():
                found[name] = Unit(dimension, 1, Fraction(factor))
                if len(name) > 2 and name.isascii() and name.isalpha() and name not in _CASED:
                    found[f"{name}s"] = found[name]
    for factor, names in _LITRES.items():
        for name in names.split():
            found[name] = Unit("length", 3, Fraction(factor))
            if len(name) > 2:
                found[f"{name}s"] = found[name]
    return found


_UNITS = _spellings()
_NAMES = "|".join(re.escape(name) for name in sorted(_UNITS, key=len, reverse=True))
_PREFIXES = "|".join(re.escape(prefix) for prefix in _PREFIXED if prefix)
UNIT = rf"(?:{_PREFIXES})?(?:{_NAMES})(?:\s?\^\s?\{{?[23]\}}?|[23²³](?!\d))?(?![A-Za-z])"
_PARTS = re.compile(rf"(?P<prefix>{_PREFIXES})?(?P<name>{_NAMES})\s?\^?\s?\{{?(?P<power>[23²³]?)\}}?", re.I)
CURRENCY = r"US\$|[$€£¥₹]"


def unit_of(text: str) -> Unit | None:
    """The unit that `text` spells, None for any other text."""
    match = _PARTS.fullmatch(text.strip().rstrip("."))
    if match is None:
        return None
    name = match.group("name")
    unit = _UNITS.get(name) or _UNITS.get(name.lower())
    if unit is None:
        return None
    power = _PREFIXED[(match.group("prefix") or "").lower()] * _POWERS[match.group("power") or ""]
    return Unit(unit.dimension, unit.power * power, unit.factor**power)
