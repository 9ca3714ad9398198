"""Several hosts in one: network namespaces joined by a cable that can be slow, for processes that each have a name."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


def is_root(command: str) -> bool:
    """Return whether a shell command goes through where its namespaces of mounts and networks are its own."""
    with suppress(OSError):
        words = ["unshare", "--mount", "--net", "--uts", "sh", "-c", command]
        return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0
    return False


@dataclass(frozen=True)
class Hosts:
    """Two hosts with an address each.

    Attributes
    ----------
    names, addresses : tuple of str
        Network namespace and IPv4 address of each.
    """

    names: tuple[str, str]
    addresses: tuple[str, str]

    def first(self, number: int) -> str:
        """Return the Python with which a process moves to a host."""
        return (
            "import ctypes, os, platform, socket\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            f"assert libc.setns(os.open('/run/netns/{self.names[number]}', os.O_RDONLY), 0x40000000) == 0\n"
            "assert libc.unshare(0x04000000) == 0\n"  # a name of its own
            f"socket.sethostname('{self.names[number]}')\n"
            "platform._uname_cache = None\n"
        )

    def slow_down(self) -> None:
        """Let the cable carry 2 Mbit/s each way, and what waits wait up to 0.4 s."""
        for name in self.names:
            limit = ("tbf", "rate", "2mbit", "burst", "4kb", "latency", "400ms")
            run("tc", "-n", name, "qdisc", "add", "dev", "cable", "root", *limit)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)


@contextmanager
def two_hosts(mark: int) -> Iterator[Hosts]:
    """Join two network namespaces by a pair of virtual Ethernet devices; `mark` keeps them apart from others."""
    hosts = Hosts((f"elfs-{mark}-a", f"elfs-{mark}-b"), ("10.77.0.1", "10.77.0.2"))
    try:
        for name in hosts.names:
            run("ip", "netns", "add", name)
        cable = ("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", hosts.names[1])
        run("ip", "-n", hosts.names[0], *cable)
        for name, address in zip(hosts.names, hosts.addresses, strict=True):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                run("ip", "-n", name, "link", "set", device, "up")
        yield hosts
    finally:
        for name in hosts.names:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "delete", name)
