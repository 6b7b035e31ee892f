"""Who held an address, when."""

from haman.lab.tenure import (
    AddressChanged,
    Tenure,
    dual_ns,
    final_holders,
    tenures,
    unheld_ns,
)

VIP = "10.77.0.100"


def changes(*rows: tuple[int, str, bool]) -> list[AddressChanged]:
    return [AddressChanged(at, node, VIP, present) for at, node, present in rows]


def test_a_move_is_two_spans() -> None:
    spans = tenures(
        changes((0, "a", True), (100, "a", False), (110, "b", True)), VIP, start_ns=10, end_ns=200
    )
    assert spans == (Tenure("a", 10, 100), Tenure("b", 110, 200))
    assert unheld_ns(spans, 10, 200) == 10
    assert dual_ns(spans, 10, 200) == 0
    assert final_holders(spans, 200) == ("b",)


def test_overlap_counts_as_dual() -> None:
    spans = tenures(
        changes((0, "a", True), (100, "b", True), (130, "a", False)), VIP, start_ns=10, end_ns=200
    )
    assert dual_ns(spans, 10, 200) == 30
    assert unheld_ns(spans, 10, 200) == 0


def test_two_holders_in_the_end_are_both_named() -> None:
    spans = tenures(changes((0, "a", True), (100, "b", True)), VIP, start_ns=10, end_ns=200)
    assert final_holders(spans, 200) == ("a", "b")


def test_other_addresses_do_not_count() -> None:
    other = AddressChanged(0, "a", "10.77.0.11", present=True)
    assert tenures([other], VIP, 0, 10) == ()


def test_an_address_that_nobody_has_is_unheld_all_the_time() -> None:
    assert unheld_ns((), 0, 50) == 50
    assert final_holders((), 50) == ()


def test_a_return_to_the_same_node_is_two_spans() -> None:
    spans = tenures(
        changes((0, "a", True), (20, "a", False), (30, "a", True)), VIP, start_ns=0, end_ns=50
    )
    assert spans == (Tenure("a", 0, 20), Tenure("a", 30, 50))
