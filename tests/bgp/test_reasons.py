"""Why a session is not up, in an operator's words; and the configuration that ExaBGP is given."""

import pytest

from haman.bgp.configuration import RefusedError, compose, read_passwords, uncarried
from haman.bgp.diagnosis import Finding
from haman.bgp.messages import SessionReport
from haman.bgp.reasons import reasons, session_word
from haman.bgp.watching import AGAIN_S, SETTLE_S, Watch
from haman.config.model import Anycast, Bgp
from tests.bgp.rig import neighbor

TOR = neighbor()
BGP = Bgp(local_as=65001, router_id="10.0.1.2", neighbor=(TOR,))
S = 1_000_000_000


def went_down(reason: str) -> SessionReport:
    return SessionReport("10.0.1.1", "down", "IDLE", 1, f"peer reset, message [{reason}]", 1, 1, 1)


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("notification received (2,2)", "wrong-as", "refuses AS 65001"),
        ("notification sent (2,2)", "wrong-as", "not of AS 65000"),
        ("notification sent (4,0)", "hold-timer-expired", "nothing was heard from 10.0.1.1 for 9"),
        ("notification received (4,0)", "hold-timer-expired", "did not hear this node"),
        ("notification sent (1,1)", "not-bgp", "not BGP"),
        ("notification received (6,1)", "notification", "maximum number of prefixes"),
        ("notification received (6,2)", "notification", "administrative shutdown"),
        ("notification received (6,3)", "notification", "no longer a neighbor"),
        ("notification sent (6,3)", "notification", "changed here"),
        ("notification received (6,4)", "notification", "administrative reset"),
        ("notification received (6,5)", "notification", "connection rejected"),
        ("notification received (6,10)", "notification", "BFD down"),
        ("notification received (6,99)", "notification", "cease (NOTIFICATION 6/99)"),
        ("notification received (99,0)", "notification", "code 99"),
        ("notification sent (3,1)", "notification", "this node ended the session"),
        ("closing connection", "connection-lost", "without a NOTIFICATION"),
    ],
)
def test_exabgps_reasons_become_words(reason: str, code: str, words: str) -> None:
    (found,) = reasons(BGP, TOR, went_down(reason), None, 0)
    assert found.code == code
    assert words in found.text


@pytest.mark.parametrize(
    ("finding", "more", "code", "words"),
    [
        (Finding.ADDRESS_MISSING, {}, "address-missing", "10.0.1.2 is not on this host"),
        (Finding.NO_ROUTE, {}, "no-route", "cannot be reached"),
        (Finding.REFUSED, {}, "tcp-refused", "refuses TCP"),
        (Finding.SILENT, {}, "no-answer", "demands a password"),
        (Finding.SILENT, {"password_file": "/p"}, "no-answer", "password differs"),
        (Finding.SILENT_NEAR, {"password_file": "/p"}, "no-answer", "answers ARP"),
        (Finding.ANSWERS, {"password_file": "/p"}, "password-not-set-there", "without a password"),
        (Finding.ANSWERS, {"ttl_security": True}, "ttl-security-not-set-there", "TTL security"),
        (Finding.ANSWERS_TTL, {}, "answers-ttl-255", "ttl_security = true"),
        (Finding.ANSWERS, {}, "closed-by-router", "does not know 10.0.1.2"),
    ],
)
def test_findings_become_words(finding: Finding, more: dict, code: str, words: str) -> None:
    found = reasons(BGP, neighbor(**more), went_down("closing connection"), finding, 0)
    assert found[0].code == code
    assert words in found[0].text


def test_words_for_sessions() -> None:
    assert session_word(None, None) == "connecting"
    assert session_word(SessionReport("10.0.1.1"), None) == "connecting"
    assert session_word(SessionReport("10.0.1.1", "down"), Finding.ADDRESS_MISSING) == "idle"
    assert session_word(SessionReport("10.0.1.1", "up"), None) == "up"
    assert session_word(went_down("closing connection"), None) == "down"
    assert reasons(BGP, TOR, SessionReport("10.0.1.1", "up"), None, 2) == ()
    assert [r.code for r in reasons(BGP, TOR, SessionReport("10.0.1.1", "up"), None, 3)] == [
        "flapping"
    ]


def test_nobody_asks_why_before_exabgp_should_have_had_a_connection() -> None:
    watch = Watch(TOR, 0)
    assert not watch.puzzling(100 * S)  # nothing is known of it
    watch.heard(SessionReport("10.0.1.1", "down", "IDLE"), BGP, 0, 0)
    assert not watch.puzzling(int(SETTLE_S * S) - 1)
    assert watch.puzzling(int(SETTLE_S * S))
    watch.explained(Finding.REFUSED, int(SETTLE_S * S))
    assert not watch.puzzling(int((SETTLE_S + AGAIN_S) * S) - 1)
    assert watch.puzzling(int((SETTLE_S + AGAIN_S) * S))
    # A NOTIFICATION explains itself, and ExaBGP waits before it tries again.
    notified = SessionReport("10.0.1.1", "down", "IDLE", 1, "notification sent (2,2)", 3, 0, 3)
    watch.heard(notified, BGP, 20 * S, 0)
    assert not watch.puzzling(30 * S)
    assert watch.puzzling(40 * S)
    assert [r.code for r in watch.report(BGP, 30 * S).reasons] == ["wrong-as"]
    watch.heard(SessionReport("10.0.1.1", "up", "ESTABLISHED", 1, "", 4, 1, 3), BGP, 41 * S, 0)
    assert not watch.puzzling(100 * S)


def test_a_session_that_went_and_came_between_two_reports_is_told_twice() -> None:
    watch = Watch(TOR, 0)
    (up,) = watch.heard(SessionReport("10.0.1.1", "up", "", 1, "", 1, 1, 0), BGP, 0, 0)
    assert up.type == "bgp-session-up"
    again = SessionReport("10.0.1.1", "up", "", 2, "notification received (6,4)", 2, 2, 1)
    assert [e.type for e in watch.heard(again, BGP, S, 0)] == [
        "bgp-session-down",
        "bgp-session-up",
    ]
    assert watch.heard(again, BGP, 2 * S, 0) == ()


def test_what_a_router_said_when_it_ended_the_session_outlasts_its_silence() -> None:
    """A session that is shut down there is refused without a word from then on."""
    watch = Watch(TOR, 0)
    watch.heard(SessionReport("10.0.1.1", "up", "", 1, "", 1, 1, 0), BGP, 0, 0)
    watch.heard(went_down("notification received (6,2)"), BGP, S, 0)
    watch.heard(went_down("closing connection"), BGP, 2 * S, 0)
    watch.explained(Finding.ANSWERS, 3 * S)
    first, second = watch.report(BGP, 4 * S).reasons
    assert "shut down there" in first.text
    assert second.code == "closed-by-router"
    # The next time it went down without such a word, that is history.
    watch.heard(SessionReport("10.0.1.1", "up", "", 5, "", 2, 2, 1), BGP, 5 * S, 0)
    lost = SessionReport("10.0.1.1", "down", "", 6, "closing connection", 2, 2, 2)
    watch.heard(lost, BGP, 6 * S, 0)
    assert [r.code for r in watch.report(BGP, 7 * S).reasons] == ["connection-lost"]


def test_a_relay_that_was_out_of_reach_has_not_lost_its_sessions_again() -> None:
    watch = Watch(TOR, 0)
    counted = SessionReport("10.0.1.1", "up", "", 1, "", 5, 5, 4)
    (up,) = watch.heard(counted, BGP, 0, 0)
    assert up.type == "bgp-session-up"
    watch.lost()
    watch.lost()
    assert watch.heard(counted, BGP, S, 0) == ()
    assert watch.report(BGP, S).reasons == ()
    # Another relay counts from the beginning.
    watch.lost()
    assert watch.heard(SessionReport("10.0.1.1", "up", "", 1, "", 1, 1), BGP, S, 0) == ()
    watch.lost()
    (down,) = watch.heard(SessionReport("10.0.1.1", "connected", "", 1, "", 1), BGP, S, 0)
    assert down.type == "bgp-session-down"


def test_what_is_written_is_quoted_or_refused(tmp_path) -> None:
    text = compose(BGP, tmp_path, {"tor1": "a;b {c}#d\\e"})
    assert 'md5-password "a;b {c}#d\\\\e";' in text
    assert "graceful-restart disable;" in text
    with pytest.raises(RefusedError, match="cannot be given this path"):
        compose(BGP, tmp_path / "with; space", {})


def test_password_files_that_cannot_be_used_are_named(tmp_path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name, words in (("missing", "No such file"), ("empty", "is empty")):
        with pytest.raises(RefusedError, match=words):
            read_passwords([neighbor(password_file=str(tmp_path / name))])
    for wrong in ('a"b', "a'b", "a\nb", "é", "x" * 81):
        (tmp_path / "wrong").write_text(wrong)
        with pytest.raises(RefusedError, match=r"tor1\.password_file") as refused:
            read_passwords([neighbor(password_file=str(tmp_path / "wrong"))])
        assert wrong not in str(refused.value)
    (tmp_path / "good").write_text("secret \r\n")
    good = neighbor(password_file=str(tmp_path / "good"))
    assert read_passwords([good, neighbor("tor2", 2)]) == {"tor1": "secret "}


def test_prefixes_without_a_session_of_their_family() -> None:
    services = (Anycast("edge", ("192.0.2.1/32", "2001:db8::1/128")),)
    assert uncarried(BGP, services) == ("2001:db8::1/128",)
    six = Bgp(local_as=1, router_id="10.0.1.2", neighbor=(TOR, neighbor("v6", six=True)))
    assert uncarried(six, services) == ()
