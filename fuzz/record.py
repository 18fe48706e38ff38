"""Records what clients send as inputs of the target `frames`: a proxy between clients and a broker.

    python3 fuzz/record.py LISTEN_PORT BROKER_PORT FOLDER

The broker must advertise LISTEN_PORT. Each connection becomes one input, and each request that is new (its API, version and
length) another one.
"""

import hashlib
import os
import socket
import struct
import sys
import threading

LONGEST = 4096
PIECES = 40


def keep(folder, data):
    with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as file:
        file.write(data)


def exactly(source, count):
    found = b""
    while len(found) < count:
        part = source.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def requests(source, target, folder, seen):
    pieces = []
    try:
        while True:
            head = exactly(source, 4)
            frame = exactly(source, struct.unpack(">i", head)[0])
            target.sendall(head + frame)
            if len(frame) > LONGEST:
                continue
            piece = struct.pack(">H", len(frame)) + frame
            kind = (frame[:4], len(frame))
            if kind not in seen:
                seen.add(kind)
                keep(folder, piece)
            if len(pieces) < PIECES:
                pieces.append(piece)
    except (EOFError, OSError):
        pass
    if len(pieces) > 1:
        keep(folder, b"".join(pieces))
    target.close()


def answers(source, target):
    try:
        while part := source.recv(1 << 16):
            target.sendall(part)
    except OSError:
        pass
    target.close()


def main():
    listen, broker, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.makedirs(folder, exist_ok=True)
    seen = set()
    server = socket.create_server(("127.0.0.1", listen))
    while True:
        client, _ = server.accept()
        upstream = socket.create_connection(("127.0.0.1", broker))
        threading.Thread(target=requests, args=(client, upstream, folder, seen), daemon=True).start()
        threading.Thread(target=answers, args=(upstream, client), daemon=True).start()


main()
