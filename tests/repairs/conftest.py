"""The models with a known backdoor that all tests of checks after training share."""

from tests.after.conftest import trained, trained_folder

__all__ = ["trained", "trained_folder"]
