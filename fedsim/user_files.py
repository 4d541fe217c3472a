"""Python files of the user, which are run only where a scenario or a command names one."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

USER_MODULE = "fedsim_user_"
"""How the names of their modules begin."""


def load_module(path: Path) -> ModuleType:
    """The module of `path`, run once for each content: no stale bytecode is read, none is left.

    Its `__sha256__` is the digest of that content.

    Raises: ValueError, one line, if it cannot be read or does not run to its end.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    module_name = f"{USER_MODULE}{digest[:16]}_{path.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module = sys.modules[module_name] = ModuleType(module_name)
    module.__file__ = str(path)
    vars(module)["__sha256__"] = digest
    try:
        exec(compile(content, path, "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        sys.modules.pop(module_name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    return module
