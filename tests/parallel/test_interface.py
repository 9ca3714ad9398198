"""The network interface by which a host reaches another, asked of the kernel."""

import sys

import pytest

from elfs.parallel import interface
from elfs.parallel.interface import interface_to

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.1.1"])
def test_this_host_is_reached_by_loopback(host: str) -> None:
    assert interface_to(host, is_far=False) == "lo"


def test_others_are_not_reached_by_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Debian a host's own name is 127.0.1.1 there, and its address elsewhere."""
    monkeypatch.setattr(interface, "_own_address", lambda target: "127.0.0.1" if target == "gpu0" else None)
    assert interface_to("gpu0", is_far=True) is None
    asked: list[str] = []

    def interface_of(address: str) -> str:
        asked.append(address)
        return "eth7"

    monkeypatch.setattr(interface, "_interface_of", interface_of)
    monkeypatch.setattr(interface, "_own_address", lambda target: "127.0.0.1" if target == "gpu0" else "10.0.0.3")
    assert interface_to("gpu0", is_far=True) == "eth7"
    assert asked == ["10.0.0.3"]


def test_nothing_is_told_of_a_host_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interface_to("no-such-host.invalid", is_far=True) is None
    assert interface._interface_of("192.0.2.77") is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert interface_to("localhost", is_far=False) is None
