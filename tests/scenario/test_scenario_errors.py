"""Every error line, verbatim."""

import pytest
from conftest_scenario import MINIMAL

