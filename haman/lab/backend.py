"""The lab's back end: echoes on TCP 7000, answers HTTP on TCP 8080 with its node's name."""

import asyncio
import os
import socket

ECHO_PORT = 7000
HTTP_PORT = 8080
REQUEST_BYTES_MAX = 64 * 1024


class Echo(asyncio.Protocol):
    """Sends back what it receives; stops reading while the client does not read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        no_delay(transport)

    def data_received(self, data: bytes) -> None:
        """Return it."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """The client is slow."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.transport.resume_reading()


class Http(asyncio.Protocol):
    """Answers every request head with 200; requests carry no body, connections are kept alive."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        no_delay(transport)

    def data_received(self, data: bytes) -> None:
        """Answer once for each complete head."""
        *heads, self.pending = (self.pending + data).split(b"\r\n\r\n")
        if len(self.pending) > REQUEST_BYTES_MAX:
            self.transport.abort()
        elif heads:
            self.transport.write(self.answer * len(heads))


def no_delay(transport: asyncio.Transport) -> None:
    """Small answers leave at once."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def answer(node: str) -> bytes:
    """The whole HTTP answer of a node."""
    body = f"{node}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(node: str) -> None:
    """Serve both ports on all addresses until cancelled."""
    loop = asyncio.get_running_loop()
    echo = await loop.create_server(Echo, "0.0.0.0", ECHO_PORT, backlog=1024)
    ready = answer(node)
    http = await loop.create_server(lambda: Http(ready), "0.0.0.0", HTTP_PORT, backlog=1024)
    async with echo, http:
        await asyncio.gather(echo.serve_forever(), http.serve_forever())


if __name__ == "__main__":
    asyncio.run(serve(os.uname().nodename))
