"""By which network interface a host reaches another: gloo goes by the host's own name, which often leads to itself."""

import socket
import struct
import sys
from contextlib import suppress

__all__ = ["interface_to"]

_ELSEWHERE = "198.51.100.1"
"""An address that nobody has; who asks the kernel for the way there gets the default one, and nothing is sent."""

_GET_ADDRESS = 0x8915  # Linux's SIOCGIFADDR


def interface_to(host: str, *, is_far: bool) -> str | None:
    """Return the network interface by which this host reaches another. Nothing is sent.

    Parameters
    ----------
    host : str
        Name or IPv4 address of the other host, which may be this one.
    is_far : bool
        Whether some are on other hosts: then loopback does not count; if `host` leads there, the way out does.

    Returns
    -------
    str or None
        None where it cannot be told: another system than Linux, IPv6 alone, no way there.
    """
    if sys.platform != "linux":
        return None
    address = _own_address(host)
    if address is not None and address.startswith("127.") and is_far:
        address = _own_address(_ELSEWHERE)
    return None if address is None else _interface_of(address)


def _own_address(target: str) -> str | None:
    """Return the address under which packets to a target would leave."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))
        return str(probe.getsockname()[0])
    return None


def _interface_of(address: str) -> str | None:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # one without an IPv4 address
                found = fcntl.ioctl(any_socket.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    return None
