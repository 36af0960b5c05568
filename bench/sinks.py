"""Sinks that cost as little as a sink can: `python -m bench.sinks` prints its two ports as JSON and serves."""

import asyncio
import json
import sys

_BODY = (
    b'{"account_sid":"AC","api_version":"2010-04-01","body":"","date_created":null,"date_sent":null,'
    b'"date_updated":null,'
    b'"direction":"outbound-api","error_code":null,"error_message":null,"from":"+15005550006",'
    b'"messaging_service_sid":null,"num_media":"0","num_segments":"1","price":null,"price_unit":"USD",'
    b'"sid":"SM00000000000000000000000000000000","status":"queued","subresource_uris":{},"to":"+886912345678","uri":""}'
)
_CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class HttpSink(asyncio.Protocol):
    """Answers 201 with a Message to whatever has a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(None, 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(_CREATED)  # type: ignore[attr-defined]


class SmtpSink(asyncio.Protocol):
    """Says yes to everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""
        self.is_data = False
        transport.write(b"220 sink\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        write = self.transport.write  # type: ignore[attr-defined]
        while True:
            if self.is_data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                self.buffer, self.is_data = self.buffer[end + 5 :], False
                write(b"250 ok\r\n")
                continue
            line, newline, rest = self.buffer.partition(b"\r\n")
            if not newline:
                return
            self.buffer = rest
            verb = line[:4].upper()
            if verb == b"DATA":
                self.is_data = True
                write(b"354 go on\r\n")
            elif verb == b"EHLO":
                write(b"250-sink\r\n250 SIZE 10000000\r\n")
            else:
                write(b"250 ok\r\n")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    http = await loop.create_server(HttpSink, "127.0.0.1", 0)
    smtp = await loop.create_server(SmtpSink, "127.0.0.1", 0)
    ports = {"http": http.sockets[0].getsockname()[1], "smtp": smtp.sockets[0].getsockname()[1]}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(serve())
