"""The one place where an error becomes a line on stderr and an exit code."""

import os
import select
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any, TextIO

import click


class OneLine(click.Group):
    """The commands, listed in the order they were added; nothing but one line tells an error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order they were added."""
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command and give it `--debug`, which every command knows."""
        text = "Show the traceback of an error."
        debug = click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_remember, help=text
        )
        cmd.params.append(debug)
        super().add_command(cmd, name)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        """Run the command that `args` name and leave Python with its exit code."""
        self._main_shell_completion({}, "fedsim")
        arguments = list(sys.argv[1:] if args is None else args)
        code = 0
        try:
            with _stoppable(), self.make_context("fedsim", arguments.copy()) as context:
                self.invoke(context)
            sys.stdout.flush()
        except click.exceptions.Exit as done:
            code = done.exit_code
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # SystemExit: a user's file
            code = self._tell(error, arguments)
        sys.exit(code)

    def _tell(self, error: BaseException, arguments: list[str]) -> int:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            return 0
        name = next((argument for argument in arguments if argument in self.commands), None)
        place = f"fedsim {name}" if name else "fedsim"
        is_usage = isinstance(error, click.ClickException | KeyboardInterrupt)
        debug = "--debug" in arguments and not is_usage
        if debug:
            traceback.print_exception(error)
        line, code = _line_and_code(error, place, arguments)
        if not debug or code != 3:
            click.echo(one_line(line), err=True)
        return code


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM too, stop the block in order; a second one stops it at once.

    Where Ctrl-C is ignored already (`nohup`, a shell's `&`), it stays so.
    """
    signals = [signal.SIGINT, signal.SIGTERM] if current_thread() is main_thread() else []
    before = {number: signal.getsignal(number) for number in signals}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]

    def stop(*_: object) -> None:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _remember(context: click.Context, option: click.Parameter, value: bool) -> None:
    context.meta[str(option.name)] = value


def one_line(text: str) -> str:
    """The lines of `text` as one."""
    return " ".join(part.strip() for part in text.splitlines() if part.strip())


def _line_and_code(error: BaseException, place: str, arguments: list[str]) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return f"{place}: interrupted.{_way_on(arguments)}", 130
    if isinstance(error, click.ClickException):
        return f"{place}: {_usage(error)}", 2

    from fedsim.errors import FedsimError

    if isinstance(error, FedsimError):
        return str(error), error.exit_code
    text = f"{type(error).__name__}: {error}".rstrip(". :")
    return f"{place}: internal error: {text}. Run again with --debug for the traceback.", 3


def _usage(error: click.ClickException) -> str:
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        hint = error.param.opts[-1] if error.param else error.param_hint
        return f"{hint}: {error.message}"
    return error.format_message()


def _way_on(arguments: list[str]) -> str:
    """The command that goes on where an interrupted `run` or `resume` stopped."""
    if arguments[0] not in {"run", "resume"}:
        return ""
    again = [argument for argument in arguments if argument != "--force"]
    if arguments[0] == "run" and "--resume" not in again:
        again.append("--resume")
    return f" Go on with: {shlex.join(['fedsim', *again])}"


def _reader_has_gone() -> bool:
    """Whether stdout or stderr is a pipe that nobody reads; what is left then goes nowhere."""
    unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
    for stream in unread:  # else Python complains when it flushes them at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(unread)


def _is_unread(stream: TextIO) -> bool:
    if sys.platform == "win32":
        return False
    try:
        watch = select.poll()
        watch.register(stream.fileno(), 0)
    except OSError:  # not a file of the system
        return False
    return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in watch.poll(0))
