"""A DNS server on a free port, which knows a few names."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class DNSServer:
    """``records``: (name, type) -> texts, as a zone file has them. Names in ``silent`` are never answered, names in
    ``broken`` with SERVFAIL."""

    address: str = ""
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def txt(self, name: str, *texts: str) -> None:
        """Set the text records of ``name``; each may be longer than one string of DNS."""
        pieces = [[text[at : at + 200] for at in range(0, len(text), 200)] for text in texts]
        self.records[name, "TXT"] = [" ".join(f'"{piece}"' for piece in each) for each in pieces]

    def answer(self, data: bytes) -> bytes | None:
        request = dns.message.from_wire(data)
        question = request.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        response = dns.message.make_response(request)
        response.flags |= dns.flags.RA
        if name in self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", kind, texts))
        elif all(known != name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


@contextmanager
def dns_server() -> Iterator[DNSServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        server = DNSServer(f"127.0.0.1:{listening.getsockname()[1]}")

        def serve() -> None:
            while data := listening.recvfrom(4096):
                if data[0] == b"end":
                    return
                if (answer := server.answer(data[0])) is not None:
                    listening.sendto(answer, data[1])

        thread = threading.Thread(target=serve, name="DNS")
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"end", listening.getsockname())
            thread.join()
