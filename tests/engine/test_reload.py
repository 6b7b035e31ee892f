"""Reading the configuration beside the loop: each wish counts, and none ends the engine."""

import select
import threading

from haman.config.model import Config
from haman.engine.reload import Loaded, Reload


def collected(reload: Reload) -> Loaded:
    assert select.select([reload], [], [], 5)[0], "nothing was read within 5 s"
    return reload.collect()


def test_a_wish_during_a_reading_is_fulfilled_by_another():
    begun, go_on = threading.Event(), threading.Event()
    found = [(None, ("the first text is wrong",)), (Config(), ())]

    def load():
        begun.set()
        assert go_on.wait(5)
        return found.pop(0)

    reload = Reload(load, lambda: None)
    reload.begin()
    assert begun.wait(5)
    reload.begin()
    reload.begin()
    go_on.set()
    assert collected(reload).problems == ("the first text is wrong",)
    assert collected(reload).config == Config()
    assert not found
    assert not select.select([reload], [], [], 0)[0]


def test_a_reader_that_fails_is_a_problem_of_the_reload(capfd):
    def load():
        raise ZeroDivisionError("of the reader")

    reload = Reload(load, lambda: None)
    reload.begin()
    loaded = collected(reload)
    assert loaded.config is None
    assert "ZeroDivisionError" in loaded.problems[0]
    assert "Traceback" in capfd.readouterr().err
