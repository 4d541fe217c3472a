"""Processes that take tasks in turn: one that dies takes its task with it, no more."""

import multiprocessing
import os

from fedsim.jobs import DIED, Jobs


def tenfold(task):
    if task == 1:
        os._exit(7)
    return task * 10


def test_a_process_that_dies_fails_its_task_alone():
    with Jobs(1, tenfold) as jobs:
        begun = []
        assert dict(jobs.results([0, 1, 2], begun.append)) == {0: 0, 1: DIED, 2: 20}
        assert dict(jobs.results([3], begun.append)) == {0: 30}
        assert begun == [0, 1, 2, 0]
    assert multiprocessing.active_children() == []
