"""MMStar: a letter among options."""

from evaluation.benchmarks.base import lettered

BENCHMARKS = (lettered("MMStar", "e1ecd2140806c1b1bbf54b43372efb9e", ("category", "l2_category")),)
