"""The line between a supervisor and its processes."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from cloaca_django.engine import tether


@pytest.fixture
def ends():
    ours, theirs = tether.pair()
    other = tether.Line(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_messages_arrive_in_order_and_one_by_one(ends):
    ours, other = ends
    worker = uuid.uuid4()
    assert ours.send(stop=1)
    assert ours.send(worker=worker)
    assert other.receive() == [{"stop": 1}, {"worker": str(worker)}]


def test_a_message_that_comes_in_pieces_is_put_together(ends):
    ours, other = ends
    ours.socket.sendall(b'{"stop"')
    assert other.receive() == []
    ours.socket.sendall(b': 1}\n{"st')
    assert other.receive() == [{"stop": 1}]
    ours.socket.sendall(b'op": 2}\n')
    assert other.receive() == [{"stop": 2}]


def test_a_large_report_arrives_whole(ends):
    ours, other = ends
    live = [[at, str(uuid.uuid4())] for at in range(20_000)]
    sender = threading.Thread(target=other.send, kwargs={"live": live})
    sender.start()
    received = []
    while not received:
        received = ours.receive()
    sender.join(10)
    assert received == [{"live": live}]


def test_two_threads_never_mix_their_messages(ends, together):
    ours, other = ends

    def send():
        for _ in range(50):
            ours.send(text="x" * 500)

    def receive():
        received = []
        while len(received) < 100:
            received += other.receive()
        return received

    assert together(send, send, receive)[2] == [{"text": "x" * 500}] * 100


def test_the_end_of_the_other_side_is_told(ends):
    ours, other = ends
    ours.close()
    assert other.receive() is None
    assert list(other.messages()) == []
    assert other.send(live=[]) is False


def test_nothing_follows_a_message_that_nobody_read_to_its_end(ends):
    ours, _ = ends
    ours.socket.settimeout(0.05)
    assert ours.send(text="x" * 10_000_000) is False
    assert ours.send(stop=1) is False


def test_nothing_to_read_is_no_end(ends):
    ours, _ = ends
    ours.socket.settimeout(0.01)
    assert ours.receive() == []


def test_a_process_takes_its_line_over_once_and_hands_it_to_nobody(monkeypatch):
    ours, theirs = tether.pair()
    worker = uuid.uuid4()
    with theirs:
        found = tether.environment(theirs, worker)[tether.ENVIRONMENT]
        # What a new process gets: a number that it may inherit.
        number = os.dup(theirs.fileno())
        os.set_inheritable(number, True)
        monkeypatch.setenv(tether.ENVIRONMENT, found.replace(f"{theirs.fileno()}:", f"{number}:"))
    assert tether.is_supervised()
    line, inherited = tether.inherited()
    assert inherited == worker
    assert not os.get_inheritable(line.socket.fileno())
    assert not tether.is_supervised()
    assert tether.inherited() is None
    line.send(worker=worker)
    assert ours.receive() == [{"worker": str(worker)}]
    line.close()
    ours.close()
