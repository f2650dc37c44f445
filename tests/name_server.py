"""A name server that knows one address, whatever it is asked. Run as a program: python name_server.py ADDRESS"""

import socket
import sys

HEADER = 12
A, IN = 1, 1


def answer(query: bytes, address: str) -> bytes:
    """The reply (RFC 1035): the question again, and one A record where an A record was asked for."""
    end = query.index(b"\0", HEADER) + 5  # the name, its type and its class
    kind = int.from_bytes(query[end - 4 : end - 2], "big")
    record = b"\xc0\x0c" + A.to_bytes(2, "big") + IN.to_bytes(2, "big") + (0).to_bytes(4, "big") + b"\0\4"
    records = [record + socket.inet_aton(address)] if kind == A else []
    header = query[:2] + b"\x81\x80\0\1" + len(records).to_bytes(2, "big") + bytes(4)
    return header + query[HEADER:end] + b"".join(records)


if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((sys.argv[1], 53))
        while True:
            query, asker = server.recvfrom(512)
            server.sendto(answer(query, sys.argv[1]), asker)
