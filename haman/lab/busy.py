"""A check command for ExaBGP's healthcheck: fails while HAProxy takes too many full handshakes.

`python -m haman.lab.busy RATE` asks the stats socket of this node for SslFrontendKeyRate (HAProxy
management guide, 9.3, `show info`: keys computed for clients in the last second, which is what a full
handshake costs) and exits with 1 if it is RATE or above, 0 if it is below. A proxy that gives no answer is
dead, which the usual check would find too: exit 1, with the reason.
"""

import socket
import sys

SOCKET = "/run/haproxy/admin.sock"
FIELD = "SslFrontendKeyRate: "
ANSWER_S = 2.0


def rate(text: str) -> int:
    """Full handshakes in the last second, from the answer to `show info`.

    Raises:
        ValueError: the answer does not say.
    """
    for line in text.splitlines():
        if line.startswith(FIELD):
            return int(line.removeprefix(FIELD))
    raise ValueError(f"the answer has no {FIELD.strip(': ')}")


def asked(path: str) -> str:
    """What HAProxy answers to `show info`."""
    with socket.socket(socket.AF_UNIX) as stats:
        stats.settimeout(ANSWER_S)
        stats.connect(path)
        stats.sendall(b"show info\n")
        with stats.makefile() as answer:
            return answer.read()


def main(words: list[str]) -> int:
    """Whether the node is busy, as an exit status."""
    limit = float(words[0])
    try:
        found = rate(asked(words[1] if len(words) > 1 else SOCKET))
    except (OSError, ValueError) as error:
        print(f"HAProxy does not say how busy it is: {error}")
        return 1
    print(f"{found} full handshakes in the last second, of {limit:g}")
    return int(found >= limit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
