"""A function that was written in a notebook, as a file that scenarios can name."""

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib import import_module
from math import isfinite
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

HEAD = '"""A function of a notebook, with what it uses, written down by fedsim."""\n'


def as_file(function: Callable[..., Any], folder: Path) -> str:
    """`file.py:function` for a plain function: its own file, or one written into `folder`.

    Written are the function, the functions beside it that it calls, and the imports and plain
    values that they use.

    Raises: ValueError where it is no plain function, or uses what cannot be written down.
    """
    if not isinstance(function, FunctionType) or "<" in function.__qualname__:
        raise ValueError(f"{function!r} must be a function of a module or a notebook, with a name")
    file = Path(inspect.unwrap(function).__code__.co_filename)
    if file.suffix == ".py" and file.is_file() and function.__module__ != "__main__":
        return f"{file.resolve()}:{function.__name__}"
    parts: dict[str, str] = {}
    _collect(function, parts)
    text = HEAD + "\n".join(parts.values())
    digest = sha256(text.encode()).hexdigest()[:8]
    path = folder / f"{function.__name__}-{digest}.py"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"{path.resolve()}:{function.__name__}"


def _collect(function: FunctionType, parts: dict[str, str]) -> None:
    """Put the text of `function` into `parts`, after the text of every name that it uses."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        name = function.__name__
        raise ValueError(f"{name}: its source is not at hand. Put it into a .py file") from None
    bare = inspect.unwrap(function)
    for name in _names(bare, source):
        is_known = name in parts or name == function.__name__
        if not is_known and name in bare.__globals__:
            _write(name, bare.__globals__[name], bare, parts)
    parts.pop(function.__name__, None)  # to the end: what its head uses stands before it
    parts[function.__name__] = f"\n\n{source}"


def _names(function: FunctionType, source: str) -> Iterator[str]:
    """The global names that the function uses: in its head, then in its body."""
    [head] = ast.parse(source).body
    if isinstance(head, ast.FunctionDef):
        for part in (*head.decorator_list, head.args, *filter(None, [head.returns])):
            yield from (node.id for node in ast.walk(part) if isinstance(node, ast.Name))
    yield from _loaded(function.__code__)


def _loaded(code: CodeType) -> Iterator[str]:
    """The globals that `code` loads, that of functions within it included."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _loaded(inner)


def _write(name: str, value: object, user: FunctionType, parts: dict[str, str]) -> None:
    module = getattr(value, "__module__", None)
    if isinstance(value, ModuleType):
        parts[name] = f"import {value.__name__} as {name}"
    elif isinstance(value, FunctionType) and module == user.__module__:
        parts[name] = ""  # so that two functions that call one another end
        _collect(value, parts)
        if name != value.__name__:
            del parts[name]
            parts[name] = f"{name} = {value.__name__}"
    elif (text := _literal(value)) is not None:
        parts[name] = f"{name} = {text}"
    elif module not in (None, "__main__") and (known := getattr(value, "__name__", None)):
        parts[name] = f"from {module} import {known} as {name}"
    elif (place := _exported(name, value)) is not None:
        parts[name] = f"from {place} import {name}"
    else:
        what = f"uses '{name}', which cannot be written to a file"
        raise ValueError(f"{user.__name__} {what}. Put the rule into a .py file")


def _literal(value: object) -> str | None:
    """The text of a plain value; None where none would give it back."""
    if isinstance(value, float):
        return f"float({str(float(value))!r})" if not isfinite(value) else repr(float(value))
    try:
        return repr(value) if ast.literal_eval(repr(value)) == value else None
    except (ValueError, SyntaxError, TypeError, RuntimeError):
        return None


def _exported(name: str, value: object) -> str | None:
    """A module of typing or jaxtyping and its like that holds `value` as `name`."""
    for module in ("typing", "jaxtyping", "collections.abc", "pydantic"):
        if getattr(import_module(module), name, None) is value:
            return module
    return None
