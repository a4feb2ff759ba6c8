"""A program that plays the data plane: answers on its status socket; files in its home say how it behaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path


def port() -> int:
    """That of the settings, else the last one."""
    known = Path("plane.json")
    url = json.loads(known.read_text())["url"] if known.exists() else ""
    return int(os.getenv("KERNOS_PLANE__PORT", "0")) or int(url.rpartition(":")[2] or 0)


def main() -> None:
    home = Path(sys.argv[sys.argv.index("--home") + 1])
    (home / "starts").open("a").write("start\n")
    if (home / "die").exists():
        sys.exit("I was told to die")
    if (home / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.chdir(home / "plane")
    web = socket.create_server((os.getenv("KERNOS_PLANE__HOST", ""), port()))
    Path("plane.sock").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("plane.sock")
        server.listen()
        while True:
            with server.accept()[0] as connection:
                ask = json.loads(connection.makefile().readline())["ask"]
                wanted = Path("wanted.json")
                generation = json.loads(wanted.read_text())["generation"] if wanted.exists() else 0
                answer = {
                    "generation": generation,
                    "pid": os.getpid(),
                    "url": f"http://127.0.0.1:{web.getsockname()[1]}",
                    "refused_requests": 1 if ask == "reload" else 0,
                }
                if (home / "mute").exists():
                    answer = {"no": "status"}
                connection.sendall(json.dumps(answer).encode() + b"\n")


main()
