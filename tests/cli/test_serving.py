"""What a worker does before it serves."""

import gc

from authserver.cli import serving


def test_what_is_loaded_is_looked_at_no_more_by_the_garbage_collector() -> None:
    """No request shall wait for a walk through every library that is loaded."""
    loaded = [["a list that the collector tracks"]]

    try:
        serving.keep_for_good()
        tracked = [found for found in gc.get_objects() if found is loaded]
        frozen = gc.get_freeze_count()
    finally:
        gc.unfreeze()

    assert (tracked, frozen > 1_000) == ([], True)
    assert [found for found in gc.get_objects() if found is loaded] == [loaded]


def test_garbage_made_later_is_collected_as_ever() -> None:
    """The positive control: only what was there before is kept."""
    try:
        serving.keep_for_good()
        later: list[object] = []
        later.append(later)
        del later
        found = gc.collect()
    finally:
        gc.unfreeze()

    assert found >= 1
