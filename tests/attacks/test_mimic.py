"""Mimic: whom it copies, and that the warm-up finds the direction of most variance."""

import copy

import pytest
import torch

import fedsim
from fedsim.attacks import attacks
from fedsim.attacks.mimic import mimic
from fedsim.types import AdversaryView


def view(benign, state=None, seed=5, m=2, ids=None):
    generator = torch.Generator().manual_seed(seed)
    own = torch.full((m, benign.shape[1]), 99.0, dtype=benign.dtype)
    known = {"state": state or {}, "generator": generator, "benign_ids": ids}
    return AdversaryView(own, m + len(benign), torch.zeros(3), benign, **known)


def stretched(h=20, d=30, seed=0, along=5.0):
    """Rows that vary most along the first coordinate."""
    rows = torch.randn(h, d, generator=torch.Generator().manual_seed(seed))
    rows[:, 0] *= along
    return rows


def test_a_given_client_is_copied_and_nothing_is_remembered():
    benign = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows, state = mimic(view(benign), client=1)
    assert rows.tolist() == [[3.0, 4.0]] * 2
    assert not state
    rows += 1
    assert benign.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_client_that_is_not_there_is_told():
    with pytest.raises(ValueError, match=r"^mimic: client 2 needs 3 benign rows; got 2$"):
        mimic(view(torch.zeros(2, 3)), client=2)


def test_a_given_client_is_known_by_its_id():
    benign = torch.tensor([[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]])
    given = view(benign, ids=(4, 7, 9))
    assert mimic(given, client=7)[0].tolist() == [[3.0, 4.0]] * 2
    for absent in (1, 8, 12):
        rows, state = mimic(given, client=absent)
        assert rows.tolist() == [[50.0, 60.0]] * 2, "the one that stands out stands in for it"
        assert mimic(view(benign, state, ids=(4, 7, 9)), client=7)[0].tolist() == [[3.0, 4.0]] * 2


@pytest.mark.parametrize("client", [None, 3])
def test_with_nobody_to_copy_own_rows_go_out(client):
    given = view(torch.empty(0, 3), state={"rounds": torch.tensor(4)})
    rows, state = mimic(given, client=client)
    assert torch.equal(rows, given.own)
    assert state == given.state


@pytest.mark.parametrize("seed", range(5))
def test_the_client_that_stands_out_is_copied_from_the_first_round(seed):
    benign = torch.randn(10, 50, generator=torch.Generator().manual_seed(seed))
    benign[3] *= 20
    assert torch.equal(mimic(view(benign, seed=seed))[0], benign[3].repeat(2, 1))


def test_the_warm_up_is_the_update_of_the_paper_step_by_step():
    state, mean, z = {}, torch.zeros(30), None
    for t in range(4):
        benign = stretched(seed=t)
        if z is None:
            z = torch.randn(30, generator=torch.Generator().manual_seed(5))
            z /= z.norm()
        rows, state = mimic(view(benign, state), warmup=3)
        if t < 3:
            mean = t / (t + 1) * mean + benign.mean(dim=0) / (t + 1)
            v = sum((x - mean) * ((x - mean) @ z) for x in benign)
            z = t / (t + 1) * z + v / v.norm() / (t + 1)
            z /= z.norm()
        assert int(state["rounds"]) == min(t + 1, 3)
        torch.testing.assert_close(state["mean"], mean)
        torch.testing.assert_close(state["direction"], z)
        if t < 3:
            copied = (benign @ z).abs().argmax()
        assert torch.equal(rows[0], benign[copied])
        assert state.get("client") == (None if t < 2 else copied)


def test_power_iteration_finds_the_direction_of_most_variance():
    state = {}
    for t in range(15):
        _, state = mimic(view(stretched(seed=t), state), warmup=15)
    assert state["direction"][0].abs() > 0.95
    assert state["direction"].norm() == pytest.approx(1, abs=1e-6)


def test_the_same_client_is_copied_in_every_round_after_the_warm_up():
    """The paper's claim: one client is over-represented all along."""
    clients, state, copied = stretched(h=12, along=10.0), {}, []
    for t in range(20):
        noise = torch.randn(clients.shape, generator=torch.Generator().manual_seed(t))
        benign = clients + 0.3 * noise
        rows, state = mimic(view(benign, state), warmup=5)
        copied.append(int((benign - rows[0]).norm(dim=1).argmin()))
    assert set(copied[5:]) == {int(clients[:, 0].abs().argmax())}


def test_a_client_is_copied_whenever_it_is_in_the_cohort_though_others_stand_out():
    clients, state, copied = stretched(h=12, along=10.0), {}, []
    favourite = int(clients[:, 0].abs().argmax())
    for t in range(30):
        draws = torch.Generator().manual_seed(t)
        ids = tuple(torch.randperm(12, generator=draws)[:7].sort().values.tolist())
        if t < 3:
            ids = tuple(range(12))
        benign = clients[list(ids)] + 0.1 * torch.randn(len(ids), 30, generator=draws)
        loud = t % 2 * (t > 3)
        benign[-1] *= 1 + 100 * loud  # louder than any, for a round
        rows, state = mimic(view(benign, state, ids=ids), warmup=3)
        copied.append((ids[int((benign - rows[0]).norm(dim=1).argmin())], ids, loud))
    late = copied[3:]
    assert all(who == favourite for who, ids, _ in late if favourite in ids)
    assert all(who == ids[-1] for who, ids, loud in late if loud and favourite not in ids)
    assert len([ids for _, ids, _ in late if favourite in ids]) in range(5, 25)


def test_a_finished_warm_up_stays_as_it_is():
    _, state = mimic(view(stretched()), warmup=1)
    before = copy.deepcopy(state)
    _, after = mimic(view(stretched(seed=1), state), warmup=1)
    assert after == state
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_state_passed_in_is_not_changed():
    _, state = mimic(view(stretched()))
    before = copy.deepcopy(state)
    mimic(view(stretched(seed=1), state))
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_the_generator_alone_decides_where_it_starts():
    first, again, other = (mimic(view(stretched(), seed=s))[1]["direction"] for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30, 1e30])
def test_equal_or_extreme_rows_leave_no_nan(value, dtype):
    state = {}
    for benign in (torch.full((3, 4), value, dtype=dtype), value * stretched(3, 4).to(dtype)):
        rows, state = mimic(view(benign, state))
        assert (rows[0] == benign).all(dim=1).any()
        assert state["direction"].isfinite().all()
        assert state["direction"].norm() == pytest.approx(1, abs=1e-5)
        assert rows.dtype == state["direction"].dtype == dtype


def test_benign_rows_must_be_known():
    with pytest.raises(ValueError, match="mimic needs knowledge 'benign'"):
        fedsim.craft("mimic", torch.zeros(1, 3))
    assert fedsim.craft("mimic", torch.zeros(1, 1), benign=torch.tensor([[7.0]])).item() == 7


@pytest.mark.parametrize("wrong", [{"client": -1}, {"client": 1.5}, {"warmup": 0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"mimic: {next(iter(wrong))}"):
        attacks.build("mimic", **wrong)
