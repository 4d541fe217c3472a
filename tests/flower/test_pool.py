"""What the pool tells while its workers start, from workers that come when they are told to."""

import logging

import pytest
from flwr.app import Message
from torch import zeros

from fedsim.flower import pool
from fedsim.flower._private import identify_process, set_message_id
from fedsim.flower.messages import model_record, order_message
from fedsim.flower.pool import Event, News, Pool
from fedsim.simulation import Visit


class Fake:
    """A worker that is ready after `delay` looks at it, and done at once."""

    def __init__(self, delay):
        self.delay, self.message = delay, None

    def learn(self, model):
        pass

    def give(self, message):
        self.message = message

    def end(self):
        pass

    def hear(self):
        self.delay -= 1
        if self.delay == 0:
            return [Event(self, News.READY)]
        if self.delay < 0 and self.message is not None:
            order, self.message = self.message, None
            return [Event(self, News.DONE, Message(order.content, reply_to=order))]
        return []


class Fakes:
    """A crew whose workers need one after the other of `delays` to be ready."""

    name = "fakes"

    def __init__(self, *delays):
        self.delays = list(delays)

    def share(self, model):
        return model

    def hire(self):
        return Fake(self.delays.pop(0))

    def shortage(self):
        return " (too few)"

    def wait(self, workers, seconds):
        return [event for worker in workers for event in worker.hear()]

    def close(self):
        pass


def told(caplog, crew, rounds=1):
    identify_process()
    record = model_record(zeros(2), zeros(0))
    with caplog.at_level(logging.INFO, logger="fedsim"):
        workers = Pool(crew, 2, limit=None)
        for _ in range(rounds):
            orders = [order_message(record, Visit(k, 1, acting=False)) for k in range(3)]
            for k, order in enumerate(orders):
                set_message_id(order, f"m{k}")
            replies = workers.run(orders)
            assert {r.metadata.reply_to_message_id for r in replies} == {"m0", "m1", "m2"}
        workers.close()
    return [
        (record.levelname, record.getMessage().split(" after ")[0]) for record in caplog.records
    ]


def test_a_start_is_told_while_it_happens(caplog):
    lines = told(caplog, Fakes(1, 2), rounds=3)
    assert lines == [("INFO", "starting 2 fakes"), ("INFO", "2 fakes ready")]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_worker_that_does_not_come_is_told_and_the_others_go_on(caplog, monkeypatch, rounds):
    monkeypatch.setattr(pool, "SLOW_START", 0.0)
    lines = told(caplog, Fakes(1, 10**9), rounds)
    assert lines[0] == ("INFO", "starting 2 fakes")
    assert set(lines[1:]) == {("WARNING", "1 of 2 fakes are ready")}
    assert caplog.records[1].getMessage().endswith(" s (too few)")
