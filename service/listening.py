"""Where a process listens."""

import errno
import socket


class ListenError(OSError):
    """The address cannot be listened on."""


def listen_on(host: str, port: int, *, setting: str) -> socket.socket:
    """Return a socket that listens on a host and a port, which a setting names.

    Raises
    ------
    ListenError
        If the port is taken or the host is not one of this machine's; the message says what to do.
    """
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"port {port} is in use: stop what runs there, or set {setting}") from error
        reason = str(error.strerror).partition(" (while")[0]  # the rest names the address once more
        raise ListenError(f"cannot listen on {host}:{port}: {reason}") from error
