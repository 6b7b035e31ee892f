"""HAProxy versions that are not at hand: answers in the shape that their documentation gives.

Made from the management guides of 2.4, 2.8 and 3.0 (names and order of fields, and which are new),
not recorded from running programs; 2.6 is the real one in the other tests.
"""

import pytest

from haman.proxies.answers import Answer
from haman.proxies.haproxy import parse

# 2.4: Nbproc is still there; the columns of SSL frontends are the newest ones, at the end.
V24 = """Name: HAProxy
Version: 2.4.22-f8e3218
Release_date: 2023/02/14
Nbthread: 4
Nbproc: 1
Process_num: 1
Pid: 812
Uptime: 0d 0h01m12s
Uptime_sec: 72
Maxconn: 4000
Hard_maxconn: 4000
CurrConns: 21
CumConns: 917
MaxSslConns: 0
CurrSslConns: 12
Run_queue: 1
Idle_pct: 97
node: lb1
Stopping: 0
Jobs: 25
Unstoppable Jobs: 1
PoolFailed: 0

# pxname,svname,qcur,qmax,scur,smax,slim,stot,conn_tot,type,mode,h1_open_conns,ssl_sess,ssl_reused_sess,ssl_failed_handshake,
web,FRONTEND,,,12,30,4000,800,700,0,http,12,40,25,2,
plain,FRONTEND,,,9,30,4000,800,150,0,http,9,0,0,0,

"""

# 2.8: Start_time_sec and others are new; stats sockets may be bound to several threads groups.
V28 = """Name: HAProxy
Version: 2.8.5-aaba8d0
Release_date: 2023/12/07
Nbthread: 8
Nbproc: 1
Process_num: 1
Pid: 42
Uptime: 1d 2h03m04s
Uptime_sec: 93784
Start_time_sec: 1701993600
Maxconn: 100000
Ulimit-n: 200063
CurrConns: 4711
CumConns: 99120
Run_queue: 0
Tasks: 44
Idle_pct: 62
node: lb-2.example
Stopping: 0
PoolFailed: 1
BuildInfo: 2.8.5-aaba8d0
Warnings: 0
MaxconnReached: 3

# pxname,svname,type,conn_tot,agg_server_status,used_conn_cur,ssl_sess,ssl_reused_sess,ssl_failed_handshake,quic_rxbuf_full,h2_open_connections,
web,FRONTEND,0,90000,,,60000,29000,17,0,88,

"""

# 3.0: no Nbproc; fields of the memory profile and several proxies' guids are new.
V30 = '''Name: HAProxy
Version: 3.0.2-1ppa1~jammy
Release_date: 2024/06/14
Nbthread: 2
Pid: 7
Uptime: 0d 0h00m01s
Memmax_MB: 0
Maxconn: 1000
CurrConns: 0
CumConns: 1
Run_queue: 0
node: edge
Stopping: 1
PoolFailed: 0
NiceBandwidth: 0

# pxname,svname,type,proto,conn_tot,ssl_sess,ssl_reused_sess,ssl_failed_handshake,guid,
"web, the",FRONTEND,0,,5,3,2,0,"a, ""guid""",

'''


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            V24,
            Answer(812, "2.4.22-f8e3218", False, 4, 21, 4000, 40, 25, 850, 2, 1, pool_failed=0),
        ),
        (
            V28,
            Answer(
                42,
                "2.8.5-aaba8d0",
                False,
                8,
                4711,
                100000,
                60000,
                29000,
                90000,
                17,
                0,
                pool_failed=1,
            ),
        ),
        (V30, Answer(7, "3.0.2-1ppa1~jammy", True, 2, 0, 1000, 3, 2, 5, 0, 0, pool_failed=0)),
    ],
    ids=["2.4", "2.8", "3.0"],
)
def test_other_versions(text, answer) -> None:
    assert parse(text) == answer


def test_2_2_has_no_columns_of_tls_and_says_so() -> None:
    columns = V24.replace(",ssl_sess,ssl_reused_sess,ssl_failed_handshake,", ",")
    rows = columns.replace("40,25,2,", "").replace("9,0,0,0,", "9,").replace("2.4.22", "2.2.9")
    answer = parse(rows)
    assert (answer.full, answer.resumed, answer.failed) == (None, None, None)
    assert answer.accepted == 850
    assert "2.4 and later do" in answer.missing["tls"]
