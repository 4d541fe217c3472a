"""The lines a run tells while it runs."""

import logging

import pytest

from fedsim.cli.progress import ConsoleProgress, LogLines


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def record(number, accuracy=0.5, success=None):
    return {"round": number, "accuracy": accuracy, "attack_success_rate": success}


def test_text_of_a_sweep(clock):
    progress = ConsoleProgress(clock=clock)
    progress.cell_started(0, 3, {"seed": "0"}, 10, 0)
    progress.round_done(record(0))
    for number in range(1, 6):
        clock.now += 2
        progress.round_done(record(number, 0.75, 0.125))
    expected = "cell 1/3 (seed=0), round 5/10, accuracy 75.0%, attack success 12.5%, 0:00:50 left"
    assert progress.text() == expected


def test_text_of_a_single_run_has_no_cell(clock):
    progress = ConsoleProgress(clock=clock)
    progress.cell_started(0, 1, {}, 4, 0)
    progress.round_done(record(0))
    assert progress.text() == "round 0/4, accuracy 50.0%"


def test_a_round_that_was_not_evaluated_keeps_the_scores(clock):
    progress = ConsoleProgress(clock=clock)
    progress.cell_started(0, 1, {}, 2, 0)
    progress.round_done(record(0, 0.25))
    clock.now += 1
    progress.round_done(record(1, None))
    assert progress.text() == "round 1/2, accuracy 25.0%, 0:00:01 left"


def test_rounds_and_cells_that_were_there_cost_no_time(clock):
    progress = ConsoleProgress(clock=clock)
    progress.cell_finished(0, {}, reused=True)
    progress.cell_started(1, 2, {}, 10, 8)
    clock.now += 3
    progress.round_done(record(9))
    assert progress.text() == "cell 2/2, round 9/10, accuracy 50.0%, 0:00:03 left"


def test_cells_that_tell_no_rounds_count_when_they_finish(clock):
    progress = ConsoleProgress(clock=clock)
    progress.cell_started(0, 2, {}, 10, 0)
    progress.cell_started(1, 2, {}, 10, 0)
    clock.now += 30
    progress.cell_finished(0, {}, reused=False)
    assert progress.text().endswith("0:00:30 left")


def test_at_most_a_line_in_five_seconds(clock, capsys):
    progress = ConsoleProgress(clock=clock)
    progress.cell_started(0, 1, {}, 20, 0)
    for number in range(21):
        progress.round_done(record(number))
        clock.now += 1
    told = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["round 0/20", "round 5/20", "round 10/20", "round 15/20", "round 20/20"]


def test_verbose_tells_every_round(clock, capsys):
    progress = ConsoleProgress(verbose=True, clock=clock)
    progress.cell_started(0, 1, {}, 3, 0)
    for number in range(4):
        progress.round_done(record(number))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_on_a_terminal_a_bar_lives_and_goes(clock, monkeypatch, capsys):
    monkeypatch.setattr("fedsim.cli.progress.is_live", lambda: True)
    with ConsoleProgress(verbose=True, clock=clock) as progress:
        progress.cell_started(0, 1, {}, 3, 0)
        progress.round_done(record(0))
        progress.message("[bold]kept as it is")
        progress.cell_finished(0, {}, reused=False)
    captured = capsys.readouterr()
    assert "[bold]kept as it is" in captured.err
    assert "round 0/3, accuracy 50.0%" in captured.err
    assert captured.out == ""


def test_nobody_reading_stops_no_run(clock, monkeypatch):
    def echo(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("click.echo", echo)
    progress = ConsoleProgress(verbose=False, clock=clock)
    progress.cell_started(0, 1, {}, 3, 0)
    progress.round_done(record(0))
    progress.round_done(record(1))


def test_the_log_is_told_in_lines(clock, capsys):
    log = logging.getLogger("fedsim.test")
    told = LogLines(ConsoleProgress(clock=clock), debug=False)
    log.addHandler(told)
    log.propagate = False
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("cell %d failed", 3)
    assert capsys.readouterr().err == "cell 3 failed\n"
    told.debug = True
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("cell %d failed", 3)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_starts_up_is_told_and_other_facts_are_not(clock, capsys, monkeypatch):
    log = logging.getLogger("fedsim")
    told = LogLines(ConsoleProgress(clock=clock), debug=False)
    monkeypatch.setattr(log, "handlers", [told])
    before = log.level
    log.setLevel(logging.INFO)  # as within a run
    log.info("from round 0 of 3")
    logging.getLogger("fedsim.start").info("starting Ray")
    log.warning("round 1 is repeated")
    log.setLevel(before)
    assert capsys.readouterr().err == "starting Ray\nround 1 is repeated\n"


@pytest.mark.parametrize("variable", [("CI", "true"), ("TERM", "dumb")])
def test_a_ci_and_a_dumb_terminal_get_lines(monkeypatch, variable):
    from fedsim.cli.progress import is_live

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_live()
    monkeypatch.setenv(*variable)
    assert not is_live()
