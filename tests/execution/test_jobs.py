"""Processes that take tasks in turn: one that dies takes its task with it, no more."""

import multiprocessing
import os

from fedsim.jobs import Jobs


def tenfold(task):
    if task == 1:
        os._exit(7)
    return task * 10


def test_a_process_that_dies_fails_its_task_alone():
    with Jobs(1, tenfold) as jobs:
        assert dict(jobs.results([0, 1, 2])) == {0: 0, 1: None, 2: 20}
        assert dict(jobs.results([3])) == {0: 30}
    assert multiprocessing.active_children() == []
