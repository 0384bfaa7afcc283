"""group_by_length: every example once an epoch, in steps of similar length, in an order that seed and epoch decide."""

import random

import training_world as tw

from drift.config import identity_of
from drift.training.order import LengthGroupedSampler

BATCH = 8
LENGTHS = random.Random(0).choices(range(20, 2000), k=403)


def order(seed=42, epoch=0):
    sampler = LengthGroupedSampler(LENGTHS, BATCH, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def spread(examples):
    """The mean over steps of the longest's length less the shortest's."""
    steps = [[LENGTHS[n] for n in examples[start : start + BATCH]] for start in range(0, len(examples), BATCH)]
    return sum(max(step) - min(step) for step in steps) / len(steps)


def test_an_epoch_sees_every_example_once_the_longest_first():
    for epoch in range(3):
        assert sorted(order(epoch=epoch)) == list(range(len(LENGTHS)))
        assert LENGTHS[order(epoch=epoch)[0]] == max(LENGTHS)


def test_the_examples_of_a_step_are_of_similar_length():
    shuffled = random.Random(1).sample(range(len(LENGTHS)), len(LENGTHS))
    assert spread(order()) < 0.15 * spread(shuffled)


def test_seed_and_epoch_decide_the_order():
    assert order() == order()
    assert order(epoch=1) != order() != order(seed=44)


def test_a_training_without_them_is_named_as_before_there_were_such_switches():
    switches = {"group_by_length", "packing"}
    assert not switches & identity_of(tw.settings()).keys()
    assert switches <= identity_of(tw.settings(group_by_length=True, packing=True)).keys()
