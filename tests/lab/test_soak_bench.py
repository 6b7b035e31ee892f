"""What the table of storms is made of."""

from haman.lab.jitter_bench import Heard
from haman.lab.soak_bench import Storm, summed_up, to_markdown


def test_a_storm_is_summed_up_by_percentiles_of_what_was_off() -> None:
    heard = Heard((*[10_100] * 98, 12_000, 35_000), 3)
    assert summed_up(heard, 10, 600.0) == Storm(10, 600.0, 101, (0.1, 2.0, 25.0), 3)


def test_the_table_has_a_line_for_each_interval() -> None:
    storms = (Storm(100, 602.0, 6_021, (0.02, 0.4, 1.5), 0), Storm(10, 602.0, 60_210, (0, 0, 9), 7))
    lines = to_markdown(storms).splitlines()
    assert lines[2:] == [
        "| 10 min, adverts every 100 ms | 6,021 | 0.02 / 0.40 / 1.50 ms | 0 |",
        "| 10 min, adverts every 10 ms | 60,210 | 0.00 / 0.00 / 9.00 ms | 7 |",
    ]
