"""What a worker does before it serves."""

import gc
from collections.abc import Iterator

import pytest

from authserver.cli import serving


@pytest.fixture
def kept_for_good() -> Iterator[list[list[str]]]:
    """A list that was loaded before, with the garbage collector as a worker has it; afterwards as it was."""
    loaded, before = [["a list that the collector tracks"]], gc.get_threshold()
    serving.keep_for_good()
    yield loaded
    gc.unfreeze()
    gc.set_threshold(*before)


def tracked(wanted: object) -> int:
    """Return how often the garbage collector knows this object."""
    return sum(found is wanted for found in gc.get_objects())


def test_what_is_loaded_is_looked_at_no_more_by_the_garbage_collector(kept_for_good: list[list[str]]) -> None:
    """No request shall wait for a walk through every library that is loaded."""
    while_serving = tracked(kept_for_good)

    gc.unfreeze()

    assert (while_serving, tracked(kept_for_good)) == (0, 1)


@pytest.mark.usefixtures("kept_for_good")
def test_garbage_made_later_is_collected_as_ever() -> None:
    """The positive control: only what was there before is kept."""
    later: list[object] = []
    later.append(later)
    del later

    assert gc.collect() >= 1


@pytest.mark.usefixtures("kept_for_good")
def test_everything_is_looked_at_seldom_and_what_is_young_as_often_as_ever() -> None:
    """Ten thousand kept clients take a tenth of a second to look at, in which nobody is answered."""
    young, middle, old = gc.get_threshold()

    assert (young > 0, middle, old) == (True, 10, serving.OLD_ROUNDS)
