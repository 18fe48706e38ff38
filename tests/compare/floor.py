"""What it costs to send a file's cached bytes over loopback, by the system calls that could do it: `python3 tests/compare/floor.py`.

CPU is the sender's, in microseconds for as many bytes as a record takes in the comparison with Kafka. The receiver is a process of
its own that reads and forgets.
"""

import argparse
import json
import mmap
import os
import socket
import tempfile
import time

RECORD_BYTES = 107
PIECE_BYTES = 1 << 20
TIMES = 5


def forget(address):
    with socket.create_connection(address) as stream:
        buffer = bytearray(1 << 17)
        while stream.recv_into(buffer):
            pass


def copied(file, size, stream):
    """As the broker does it: read into memory, and written from there."""
    buffer = bytearray(PIECE_BYTES)
    for at in range(0, size, PIECE_BYTES):
        os.preadv(file, [buffer], at)
        stream.sendall(buffer)


def sendfile(file, size, stream):
    """As Kafka does it."""
    at = 0
    while at < size:
        at += os.sendfile(stream.fileno(), file, at, PIECE_BYTES)


def mapped(file, size, stream):
    """From a mapping of the file, which safe code cannot have: who cuts the file ends the process."""
    with mmap.mmap(file, size, prot=mmap.PROT_READ) as memory, memoryview(memory) as view:
        for at in range(0, size, PIECE_BYTES):
            stream.sendall(view[at : at + PIECE_BYTES])


def cost_us(way, file, size):
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = os.fork()
        if receiver == 0:
            forget(server.getsockname())
            os._exit(0)
        stream, _ = server.accept()
    with stream:
        begun = time.process_time()
        way(file, size, stream)
        took = time.process_time() - begun
    os.waitpid(receiver, 0)
    return took / (size / RECORD_BYTES) * 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=220, help="size of the file; 220 holds two million records")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryFile() as file:
        for _ in range(args.mib):
            file.write(os.urandom(PIECE_BYTES))
        file.flush()
        ways = (copied, sendfile, mapped)
        # In turn, so that what else the machine does comes upon all of them.
        rounds = [[cost_us(way, file.fileno(), args.mib * PIECE_BYTES) for way in ways] for _ in range(TIMES)]
    for way, *costs in zip(ways, *rounds):
        costs.sort()
        least, median, most = costs[0], costs[TIMES // 2], costs[-1]
        if args.json:
            print(json.dumps({"figure": f"{way.__name__}, CPU us a record", "median": median, "least": least, "most": most}))
        else:
            print(f"{way.__name__:<10} {median:.4f} us a record, {least:.4f} to {most:.4f}")


main()
