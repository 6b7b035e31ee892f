"""Whatever stands in the file, the reader answers with problems."""

from hypothesis import given, settings
from hypothesis import strategies as st

from haman.config.reader import check, parse

WORDS = """
node name site cluster key_file listen peer addresses proxy kind socket probe address soft hard
recover saturation resource tls ceiling unit vip interface vrid version group unicast_peers
advert_interval_ms auth_password_file bgp neighbor local_address router_id anycast prefixes
reduced_weights api engine lease_s x
"""
KEYS = st.sampled_from(WORDS.split())
LEAVES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.text(max_size=8),
    st.sampled_from(["10.0.0.1", "10.0.0.1/24", "fd00::1/64", "10.0.0.1:80", "haproxy", "/a", ""]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_no_tables_raise(tables: dict[str, object]) -> None:
    config, found = check(tables, hostname="lb1")
    assert (config is None) == bool(found)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    config, found = parse(text, hostname="lb1")
    assert (config is None) == bool(found)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["vip", "cluster", "proxy", "saturation", "bgp", "anycast"]), VALUES)
def test_no_section_raises(section: str, value: object) -> None:
    check({section: value}, hostname="lb1")
    check({section: [value, value]}, hostname="lb1")
