"""Who is malicious, who acts, who is drawn."""

from collections import Counter

import pytest

from fedsim.scenario import Scenario
from fedsim.simulation.roles import attackers, draw_cohort, last_attack_round, pool


def scenario(adversary=None, *, total=20, per_round=5, rounds=30, seed=0):
    return Scenario.model_validate(
        {
            "name": "roles",
            "seed": seed,
            "rounds": rounds,
            "model": {"name": "mlp"},
            "clients": {"total": total, "per_round": per_round, "training": {"lr": 0.1}},
            "adversary": adversary,
        }
    )


def test_without_an_adversary_nobody_is_malicious():
    cohort = draw_cohort(scenario(), 1)
    assert (len(cohort.clients), cohort.malicious, cohort.acting) == (5, frozenset(), frozenset())


def test_a_cohort_is_sorted_without_repeats_and_the_same_every_time():
    for round_ in range(1, 31):
        clients = draw_cohort(scenario(), round_).clients
        assert list(clients) == sorted(set(clients))
        assert clients == draw_cohort(scenario(), round_).clients
    assert len({draw_cohort(scenario(), r).clients for r in range(1, 31)}) > 25


def test_every_client_is_drawn_about_equally_often():
    counts = Counter(
        c for r in range(1, 2001) for c in draw_cohort(scenario(rounds=2000), r).clients
    )
    assert len(counts) == 20
    # Binomial(2000, 1/4): mean 500, standard deviation 19.4; five of them is far out.
    assert all(abs(count - 500) < 97 for count in counts.values())


def test_ids_keep_their_order_and_numbers_are_drawn_once():
    assert pool(scenario({"clients": [7, 3, 11]}), 4) == (7, 3, 11)
    drawn = scenario({"clients": 6})
    assert len(pool(drawn, 1)) == 6
    assert pool(drawn, 1) == pool(drawn, 9)


@pytest.mark.parametrize(("fraction", "expected"), [(0.2, 4), (0.12, 2), (0.13, 3), (1.0, 20)])
def test_a_fraction_is_of_all_clients_to_the_nearest(fraction, expected):
    assert len(pool(scenario({"fraction": fraction}), 1)) == expected


def test_a_redrawn_pool_changes_from_round_to_round():
    redrawn = scenario({"clients": 6, "schedule": {"pool": "redrawn"}})
    assert len({pool(redrawn, r) for r in range(1, 11)}) > 5


def test_forced_attackers_enter_first_and_only_in_their_rounds():
    forced = scenario(
        {"clients": [1, 2, 3], "schedule": {"first": 5, "last": 9, "every": 2, "forced": True}}
    )
    for round_ in range(1, 31):
        cohort = draw_cohort(forced, round_)
        if round_ in (5, 7, 9):
            assert cohort.acting == {1, 2, 3}
        else:
            assert cohort.acting == frozenset()
        assert len(cohort.clients) == 5
    assert last_attack_round(forced) == 9
    assert any(draw_cohort(forced, r).malicious for r in range(10, 31)), "dormant ones may be drawn"


def test_unforced_attackers_act_when_drawn():
    drawn = scenario({"clients": 10})
    counts = [len(draw_cohort(drawn, r).acting) for r in range(1, 31)]
    assert 0 < sum(counts) < 150
    assert all(
        draw_cohort(drawn, r).acting
        == frozenset(draw_cohort(drawn, r).clients) & set(pool(drawn, r))
        for r in range(1, 31)
    )


def test_in_turns_the_kth_round_belongs_to_the_kth_attacker():
    turns = scenario(
        {
            "clients": [9, 4, 6],
            "schedule": {"rounds": [12, 14, 20], "turns": "each", "forced": True},
        }
    )
    acting = {r: draw_cohort(turns, r).acting for r in range(1, 31)}
    assert {r: set(a) for r, a in acting.items() if a} == {12: {9}, 14: {4}, 20: {6}}
    assert attackers(turns, 13) == ()


def test_a_repeated_round_draws_another_cohort():
    assert draw_cohort(scenario(), 3, 0).clients != draw_cohort(scenario(), 3, 1).clients
