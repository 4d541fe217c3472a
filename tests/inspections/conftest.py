"""Models with a known backdoor, as all checks after training are tried on."""

from tests.after.conftest import trained, trained_folder

__all__ = ["trained", "trained_folder"]
