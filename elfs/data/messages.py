"""What a process and its workers send each other: pickles over a socket, and arrays in memory that all share."""

import ctypes
import pickle
import socket
import struct
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple, TypeVar

__all__ = ["SharedPickle", "fill", "receive", "send", "in_shared_memory"]

_ALIGNMENT = 64
_LENGTH = struct.Struct("<q")

Buffer = TypeVar("Buffer")


class SharedPickle(NamedTuple):
    """A pickle whose arrays lie in shared memory.

    Attributes
    ----------
    pickled : bytes
        Everything but the arrays.
    memory : ctypes array of unsigned bytes
        The arrays. It can be given to a new process.
    places : list of tuple of int
        First byte of each array, and one past its last.
    """

    pickled: bytes
    memory: "ctypes.Array[ctypes.c_ubyte]"
    places: list[tuple[int, int]]

    def load(self) -> Any:
        """Return what was pickled.

        Returns
        -------
        Any
            Its NumPy arrays are read-only, and copied for nobody.
        """
        whole = memoryview(self.memory).cast("B").toreadonly()
        return pickle.loads(self.pickled, buffers=[whole[start:stop] for start, stop in self.places])


def in_shared_memory(context: BaseContext, thing: Any) -> SharedPickle:
    """Pickle something for processes to come.

    Parameters
    ----------
    context : BaseContext
        How the processes are started.
    thing : Any
        Can be pickled.

    Returns
    -------
    SharedPickle
        For the arguments of a process.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    views, places, end = [buffer.raw() for buffer in buffers], [], 0
    for view in views:
        places.append((end, end + len(view)))
        end += -(-len(view) // _ALIGNMENT) * _ALIGNMENT
    memory = context.RawArray(ctypes.c_ubyte, max(1, end))
    whole = memoryview(memory).cast("B")
    for (start, stop), view in zip(places, views, strict=True):
        whole[start:stop] = view
    return SharedPickle(pickled, memory, places)


def send(connection: socket.socket, thing: Any) -> None:
    """Send something that can be pickled.

    Parameters
    ----------
    connection : socket
        Its other end calls `receive`.
    thing : Any
        The message.

    Raises
    ------
    ConnectionError
        If the other end is closed.
    """
    data = pickle.dumps(thing)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> Any:
    """Return what was sent.

    Parameters
    ----------
    connection : socket
        Its other end, which is trusted, calls `send`.

    Returns
    -------
    Any
        The message.

    Raises
    ------
    ConnectionError
        If the other end is closed.
    TimeoutError
        If it stops for longer than the socket's timeout.
    """
    (length,) = _LENGTH.unpack(fill(connection, bytearray(_LENGTH.size)))
    return pickle.loads(fill(connection, bytearray(length)))


def fill(connection: socket.socket, buffer: Buffer) -> Buffer:
    """Receive as many bytes as a buffer holds.

    Parameters
    ----------
    connection : socket
        Its other end sends them.
    buffer : bytearray or ndarray of uint8
        Where they go.

    Returns
    -------
    bytearray or ndarray of uint8
        The buffer.

    Raises
    ------
    ConnectionError
        If the other end is closed before that.
    TimeoutError
        If it stops for longer than the socket's timeout.
    """
    view, done = memoryview(buffer), 0  # type: ignore[arg-type]
    while done < len(view):
        count = connection.recv_into(view[done:])
        if not count:
            raise ConnectionResetError("the other end is closed")
        done += count
    return buffer
