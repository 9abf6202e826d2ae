"""A function in a process of its own: it may hang, die or spoil its process, and nobody else notices."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from eurosat_core.data.batches import worker_context


class NoAnswerError(Exception):
    """Nothing came back. why: `late`, `died` or `raised`. figures: what is to be said about it."""

    def __init__(self, why: str, **figures: Any) -> None:
        super().__init__(f"{why}: {figures}")
        self.why = why
        self.figures = figures


def ask(function: Callable[..., Any], *arguments: Any, seconds: float, anew: bool = False) -> Any:
    """What a function returns in a process of its own, which is killed when its time is over.

    anew: in one that starts from nothing, as a worker does, and not from the fork server, which has torch loaded.

    Raises `NoAnswerError` when it raised, died, or was too late.
    """
    context: Any = multiprocessing.get_context("spawn") if anew else worker_context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            process.kill()
            raise NoAnswerError("late", seconds=seconds)
        answer = ours.recv()
    except EOFError:
        process.join(timeout=5)
        raise NoAnswerError("died", status=process.exitcode) from None
    finally:
        ours.close()
        process.join(timeout=3)
        if process.is_alive():
            process.kill()
            process.join(timeout=3)
    if isinstance(answer, NoAnswerError):
        raise answer
    return answer


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The process's work. What libraries print must not stand among the answers of the command line."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer = tried(function, *arguments)
    connection.send(answer)
    connection.close()


def tried(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or a `NoAnswerError` about what it raised."""
    try:
        return function(*arguments)
    except Exception as error:
        return NoAnswerError("raised", kind=type(error).__name__, error=first_line(error))


def first_line(error: BaseException) -> str:
    """What an error says, without what libraries add to it."""
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
