"""Trainings in parallel on a CPU: one process per training, with one thread each.

Threads of one process would wait for each other, because a step of a small network is a thousand short calls from Python. On
two cores, two processes take 1.6 times as many steps (experiments/real_tasks).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event

import torch

from fsod.errors import UserError

Tell = Callable[[int, int], None]
"""Called with steps done and in all, 0 while that is not known. It raises ``Stopped`` where the training is to end."""

Training = Callable[[Tell], None]
"""Keeps what comes out in files of its own."""

POLL_S = 0.2


class Stopped(Exception):
    """The user asked to stop."""


def at_once(device: torch.device) -> bool:
    """Whether ``train_side_by_side`` runs trainings at the same time; else one comes after the other."""
    return device.type == "cpu" and torch.get_num_threads() > 1 and sys.platform.startswith("linux")


def train_side_by_side(
    trainings: Sequence[Training], device: torch.device, tell: Tell, stopping: Callable[[], bool]
) -> None:
    """Runs trainings to their end, or until ``stopping`` says yes.

    Args:
        trainings: each gets a process where they run ``at_once``.
        device: that they use.
        tell: told the sum of their steps.
        stopping: asked again and again.

    Raises:
        UserError: a process was killed; and whatever a training raises.
    """
    done = [(0, 0)] * len(trainings)

    def told(number: int, steps: tuple[int, int]) -> None:
        done[number] = steps
        if known := [total for _, total in done if total]:
            tell(sum(d for d, _ in done), round(sum(known) / len(known) * len(done)))

    if not at_once(device):
        _one_by_one(trainings, told, stopping)
        return
    # forked, so that the trainings travel as they are; with one thread, as OpenMP's threads do not survive a fork
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    processes: list[multiprocessing.process.BaseProcess] = []
    listening: dict[Connection, int] = {}
    for training in trainings:
        # one after the other: a process that had the sender of a later one would keep that one's end from being heard of
        receiver, sender = context.Pipe(duplex=False)
        processes.append(context.Process(target=_work, args=(training, sender, stop), daemon=True))
        processes[-1].start()
        sender.close()
        listening[receiver] = len(listening)
    try:
        while listening:
            if stopping():
                stop.set()
            for connection in wait(list(listening), POLL_S):
                assert isinstance(connection, Connection)
                try:
                    news = connection.recv()
                except EOFError:
                    number = listening.pop(connection)
                    processes[number].join()
                    if code := processes[number].exitcode:
                        raise UserError(
                            f"a process of the training ended with status {code} (killed, or out of memory?); the same "
                            "command goes on"
                        ) from None
                    continue
                if isinstance(news, BaseException):
                    raise news
                told(listening[connection], news)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _one_by_one(
    trainings: Sequence[Training], told: Callable[[int, tuple[int, int]], None], stopping: Callable[[], bool]
) -> None:
    for number, training in enumerate(trainings):

        def tell(done: int, total: int, number: int = number) -> None:
            told(number, (done, total))
            if stopping():
                raise Stopped

        try:
            training(tell)
        except Stopped:
            return


def _work(training: Training, sender: Connection, stop: Event) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent says when
    torch.set_num_threads(1)
    parent = os.getppid()

    def tell(done: int, total: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # the parent was killed, so nobody waits for the result
        sender.send((done, total))
        if stop.is_set():
            raise Stopped

    try:
        training(tell)
    except Stopped:
        return
    except Exception as error:  # noqa: BLE001 (raised again where it is heard of)
        sender.send(error)
