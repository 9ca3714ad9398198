"""What happens to the images of one task, in a worker process or in this one."""

import pickle
import signal
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elfs.data.hashing import NO_CONTENT
from elfs.data.messages import SharedPickle, receive, send
from elfs.data.samples import Outcome

__all__ = ["NOWHERE", "Decode", "Decoded", "DecodedTask", "Failure", "as_bytes", "decode_here", "serve"]

NOWHERE = -1
"""Where a worker is between tasks."""


class Decoded(NamedTuple):
    """One image.

    Attributes
    ----------
    image : Tensor
        Of the same shape and dtype for all.
    remarks : list of str
        What is to be said about it.
    content : int
        Number that equal pictures share (`elfs.data.hashing`); `NO_CONTENT` where nobody asked.
    """

    image: Tensor
    remarks: list[str]
    content: int = NO_CONTENT


class Failure(NamedTuple):
    """Why there is no image.

    Attributes
    ----------
    outcome : Outcome
        Anything but OK.
    reason : str
        In one line, for people.
    """

    outcome: Outcome
    reason: str


class DecodedTask(NamedTuple):
    """What became of one task.

    Attributes
    ----------
    positions : list of int
        Where there is an image, ascending.
    images : Tensor of shape (len(positions), ...)
        Stacked; of shape (0,) if there is none.
    failures : list of tuple of int and Failure
        The other positions, ascending.
    remarks : dict of int to list of str
        What is to be said about images, by position; those of which there is nothing to say are absent.
    contents : list of int
        Of each image, the number that equal pictures share.
    """

    positions: list[int]
    images: Tensor
    failures: list[tuple[int, Failure]]
    remarks: dict[int, list[str]]
    contents: list[int]


Decode = Callable[[int], Decoded | Failure]
"""From a position to an image. For workers it can be pickled."""


def decode_here(decode: Decode, start: int, stop: int) -> DecodedTask:
    """Do one task in this process, where an image that hangs or kills cannot be helped.

    Parameters
    ----------
    decode : Decode
        What to do at each position.
    start, stop : int
        First position, and one past the last.

    Returns
    -------
    DecodedTask
        Of these positions.
    """
    return _decode(decode, start, stop, frozenset(), lambda _: None)


def _decode(decode: Decode, start: int, stop: int, lost: frozenset[int], begin: Callable[[int], None]) -> DecodedTask:
    found, images, failures, remarks, contents = [], [], [], {}, []
    for position in range(start, stop):
        if position in lost:
            continue
        begin(position)
        result = decode(position)
        if isinstance(result, Failure):
            failures.append((position, result))
        else:
            found.append(position)
            images.append(result.image)
            contents.append(result.content)
            if result.remarks:
                remarks[position] = result.remarks
    begin(NOWHERE)
    return DecodedTask(found, torch.stack(images) if images else torch.empty(0), failures, remarks, contents)


def as_bytes(images: Tensor) -> Any:
    """Return the memory of contiguous images as one run of bytes."""
    return images.view(-1).view(torch.uint8).numpy()


def serve(connection: socket.socket, place: Any, shared: SharedPickle) -> None:
    """Do tasks until the connection is closed; a thread sends one result while the next is made."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it ends its workers
    torch.set_num_threads(1)
    decode: Decode | None = None

    def begin(position: int) -> None:
        place[1] = position

    with connection, suppress(ConnectionError), ThreadPoolExecutor(max_workers=1) as sender:
        sent: Future[None] | None = None
        while True:
            place[0], start, stop, lost = receive(connection)
            result: DecodedTask | Exception
            try:
                if decode is None:
                    decode = shared.load()
                result = _decode(decode, start, stop, lost, begin)
            except Exception as error:
                result = _portable(error)
            if sent is not None:
                sent.result()
            sent = sender.submit(_send_result, connection, result)


def _send_result(connection: socket.socket, result: DecodedTask | Exception) -> None:
    """Send an error, or a header and the bytes of the images after it."""
    if isinstance(result, Exception):
        send(connection, result)
        return
    found, images, failures, remarks, contents = result
    send(connection, (found, failures, remarks, contents, tuple(images.shape), images.dtype))
    if images.numel():
        connection.sendall(as_bytes(images))


def _portable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or another that says the same if it cannot be pickled."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"\nin a worker process:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"in a worker process:\n{text}")
    return error
