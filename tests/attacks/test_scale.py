"""Updates in another unit: an attack that reckons with their spread sends the same rows in it."""

import pytest
import torch

import fedsim

DIRECTIONS = [{"direction": name} for name in ("unit", "std", "sign")]
HIDING = [
    ("little_is_enough", {"z": 0.7}),
    *(("min_max", parameters) for parameters in DIRECTIONS),
    *(("min_sum", parameters) for parameters in DIRECTIONS),
    ("inner_product_manipulation", {}),
    ("mimic", {}),
    ("fang_trimmed_mean", {}),
]
SEARCHING = [("adaptive", {"objective": goal}) for goal in ("deviation", "backdoor")]
RANGE = {torch.float32: (-100, -60, 64, 100), torch.float64: (-900, -520, 530, 900)}
CASES = [
    (name, parameters, dtype, power)
    for dtype, powers in RANGE.items()
    for power in powers
    for name, parameters in HIDING + (SEARCHING if dtype == torch.float32 else [])
]


@pytest.mark.parametrize(("name", "parameters", "dtype", "power"), CASES)
def test_squares_that_overflow_or_vanish_change_nothing(name, parameters, dtype, power):
    generator = torch.Generator().manual_seed(0)
    own, benign = torch.randn(10, 6, generator=generator, dtype=dtype).split([3, 7])
    unit = 2.0**power
    parameters = {"aggregate": "median", **parameters}
    expected = fedsim.craft(name, own, benign=benign, **parameters)
    sent = fedsim.craft(name, unit * own, benign=unit * benign, **parameters)
    torch.testing.assert_close(sent / unit, expected, rtol=1e-3, atol=1e-5)
