"""On a program's PYTHONPATH: refuses every connection beyond this machine, and writes it to $REFUSED_CONNECTIONS."""

import ipaddress
import os
import socket
import traceback


def refuse_beyond(where: object) -> None:
    host = where[0] if isinstance(where, tuple) else where
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost") or host == socket.gethostname():
        return
    try:
        local = ipaddress.ip_address(host.split("%")[0]).is_loopback or host == "0.0.0.0"
    except ValueError:
        local = False
    if not local:
        with open(os.environ["REFUSED_CONNECTIONS"], "a") as log:
            log.write(f"{where}\n{''.join(traceback.format_stack(limit=12))}\n")
        raise OSError(f"no network in this test: {where}")


def guard(owner: object, name: str, place: int) -> None:
    real = getattr(owner, name)

    def guarded(*arguments, **options):
        if not (isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX):
            refuse_beyond(arguments[place] if len(arguments) > place else options.get("host"))
        return real(*arguments, **options)

    setattr(owner, name, guarded)


guard(socket.socket, "connect", 1)
guard(socket.socket, "connect_ex", 1)
guard(socket.socket, "sendto", -1)
guard(socket, "getaddrinfo", 0)
guard(socket, "gethostbyname", 0)
