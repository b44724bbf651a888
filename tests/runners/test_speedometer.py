"""Agent-steps of training a second, with a clock that is set by hand."""

import pytest

from mf_pmd.runners.speedometer import Speedometer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_playing_and_learning_count_and_tests_do_not(clock):
    meter = Speedometer(clock)
    clock.now = 100.0  # assembling a run is not training
    meter.tick()
    clock.now = 102.0  # 2 s of playing
    meter.add(600)
    assert meter.read() is None  # nobody has learnt from it yet
    clock.now = 105.0  # 3 s of learning, then a test of 50 s
    meter.tick()
    clock.now = 156.0  # 1 s of logging and saving is not training either
    meter.tick()
    clock.now = 157.0
    meter.add(600)
    clock.now = 162.0
    meter.tick()
    # 600 in 5 s and 600 in 6 s
    assert meter.read() == pytest.approx(1200 / 11)
    assert meter.read() is None


def test_readings_start_afresh(clock):
    meter = Speedometer(clock)
    for seconds, steps in ((1.0, 10), (2.0, 10), (4.0, 10)):
        meter.tick()
        meter.add(steps)
        clock.now += seconds
        if seconds == 2.0:
            assert meter.read() == pytest.approx(10 / 1.0)
    meter.tick()
    assert meter.read() == pytest.approx(20 / 6.0)


def test_a_clock_that_stands_still_gives_no_speed(clock):
    meter = Speedometer(clock)
    meter.tick()
    meter.add(5)
    meter.tick()
    assert meter.read() is None
