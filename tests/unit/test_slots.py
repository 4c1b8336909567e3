"""The launcher's slots: never more at once than there are, and the smallest turn first."""

import threading
import time
from pathlib import Path

import pytest

from noctuary.sandbox.launcher import Launcher, _Slots


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_more_run_at_once_than_there_are_slots(count: int) -> None:
    slots, running, most = _Slots(count), [], []

    def work(turn: float) -> None:
        with slots.taken((turn,)):
            running.append(turn)
            most.append(len(running))
            time.sleep(0.001)
            running.remove(turn)

    threads = [threading.Thread(target=work, args=(n / 7 % 1,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert len(most) == 60
    assert max(most) <= count


def test_who_waits_with_the_smallest_turn_comes_first() -> None:
    slots, order = _Slots(1), []

    def work(turn: float) -> None:
        with slots.taken((turn,)):
            order.append(turn)

    with slots.taken(()):
        threads = [threading.Thread(target=work, args=(turn,)) for turn in (3.0, 1.0, 2.0)]
        for thread in threads:
            thread.start()
        while len(slots._waiting) < 3:
            time.sleep(0.001)
    for thread in threads:
        thread.join(timeout=30)
    assert order == [1.0, 2.0, 3.0]


def test_a_launcher_hands_out_as_many_slots_as_it_has(tmp_path: Path) -> None:
    launcher, came = Launcher(2, tmp_path / "launcher.log"), threading.Event()

    def third() -> None:
        with launcher.slot():
            came.set()

    waiting = threading.Thread(target=third)
    with launcher.slot():
        with launcher.slot((1.0,)):
            waiting.start()
            assert not came.wait(timeout=0.1)
        waiting.join(timeout=30)
        assert came.is_set()


def test_a_slot_comes_free_when_its_work_fails() -> None:
    slots = _Slots(1)
    with pytest.raises(ValueError, match="work"), slots.taken(()):
        raise ValueError("work")
    with slots.taken(()):
        pass
