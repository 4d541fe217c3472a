"""What every partition promises; a registered partition without a row fails the suite."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.partitions import partitions

ROWS = {
    "iid": [{}],
    "dirichlet": [{"alpha": 1e-3}, {"alpha": 0.5}, {"alpha": 1e6}],
    "shards": [{}, {"per_client": 5}],
    "by_class": [{"classes_per_client": 1}, {"classes_per_client": 2}],
    "label_skew": [{"q": 0.0}, {"q": 0.5}, {"q": 1.0}],
    "quantity_skew": [{"alpha": 1e-3}, {"alpha": 1.0}],
}
CASES = [
    pytest.param(name, parameters, id=f"{name}-{parameters}")
    for name, rows in ROWS.items()
    for parameters in rows
]
WITH_MIN_SIZE = ("dirichlet", "quantity_skew")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def labels_of(count, num_classes, seed=0):
    """Labels of which the first ones show every class."""
    random = torch.randint(num_classes, (count,), generator=seeded(seed))
    random[:num_classes] = torch.arange(num_classes)
    return random


def test_every_partition_has_a_row():
    assert set(ROWS) == set(partitions.names())


@pytest.mark.parametrize(("name", "parameters"), CASES)
@given(
    num_clients=st.integers(1, 30),
    spare=st.integers(0, 200),
    num_classes=st.integers(2, 12),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_every_sample_has_one_owner(name, parameters, num_clients, spare, num_classes, seed):
    labels = labels_of(max(num_clients, num_classes) + spare, num_classes, seed)
    parts = partitions.build(name, **parameters)(labels, num_clients, seeded(seed))
    assert len(parts) == num_clients
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(labels)))
    for part in parts:
        assert part.dtype == torch.long
        assert len(part) >= 1
        assert torch.equal(part, part.sort().values)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_the_generator_alone_decides(name, parameters):
    labels, partition = labels_of(300, 10), partitions.build(name, **parameters)
    torch.manual_seed(1)
    first = partition(labels, 12, seeded(7))
    before = torch.random.get_rng_state()
    again = pickle.loads(pickle.dumps(partition))(labels, 12, seeded(7))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = partition(labels, 12, seeded(8))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_labels_are_left_alone_and_may_have_gaps(name, parameters):
    labels = labels_of(60, 4) * 100 + 3
    kept = labels.clone()
    parts = partitions.build(name, **parameters)(labels, 6, seeded())
    assert torch.equal(labels, kept)
    assert sum(map(len, parts)) == 60


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_as_many_clients_as_samples_get_one_each(name, parameters):
    parts = partitions.build(name, **parameters)(labels_of(20, 4), 20, seeded())
    assert [len(part) for part in parts] == [1] * 20


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_more_clients_than_samples_is_refused_with_the_numbers(name, parameters):
    partition = partitions.build(name, **parameters)
    with pytest.raises(ValueError, match=r"8 clients .* need 8 samples; got 7$"):
        partition(labels_of(7, 4), 8, seeded())
    with pytest.raises(ValueError, match="at least 1 client; got 0"):
        partition(labels_of(7, 4), 0, seeded())


@pytest.mark.parametrize("name", WITH_MIN_SIZE)
@given(
    alpha=st.floats(1e-300, 1e300),
    num_clients=st.integers(1, 20),
    min_size=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_min_size_is_reached_for_any_alpha(name, alpha, num_clients, min_size, seed):
    labels = labels_of(180, 5, seed)
    partition = partitions.build(name, alpha=alpha, min_size=min_size)
    parts = partition(labels, num_clients, seeded(seed))
    assert min(map(len, parts)) >= min_size
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(180))


@pytest.mark.parametrize("name", WITH_MIN_SIZE)
def test_a_min_size_that_cannot_be_is_refused_with_the_numbers(name):
    with pytest.raises(ValueError, match="10 clients with at least 7 each need 70 samples; got 69"):
        partitions.build(name, alpha=1.0, min_size=7)(labels_of(69, 3), 10, seeded())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("dirichlet", {}),
        ("dirichlet", {"alpha": 0}),
        ("dirichlet", {"alpha": float("nan")}),
        ("dirichlet", {"alpha": 1.0, "min_size": 0}),
        ("dirichlet", {"alpha": "0.5"}),
        ("shards", {"per_client": 0}),
        ("by_class", {"classes_per_client": 0}),
        ("label_skew", {"q": 1.1}),
        ("quantity_skew", {"alpha": -1.0}),
        ("iid", {"alpha": 1.0}),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters):
    with pytest.raises(ValueError, match=f"^{name}: "):
        partitions.build(name, **parameters)
