"""Made-up records of runs: every number is a plain function of the arguments."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Record:
    """What a report reads of a run."""

    path: Path
    scenario: dict
    summary: dict
    rounds: list
    clients: list
    labels: dict = field(default_factory=dict)


def scenario(rule="mean", seed=0, rounds=6, adversary=True, name="demo", **server):
    attacked = {
        "clients": [1, 3],
        "schedule": {"first": 2, "last": 4, "every": 1, "rounds": None},
        "poison": {"name": "backdoor", "target": 2, "trigger": {"name": "patch", "size": 3}},
        "attack": [{"name": "boost", "factor": 10}],
    }
    return {
        "name": name,
        "seed": seed,
        "rounds": rounds,
        "data": {"dataset": {"name": "digits"}, "partition": {"name": "iid"}},
        "model": {"name": "mlp"},
        "clients": {"total": 6, "per_round": 6},
        "server": {
            "preaggregators": [],
            "aggregator": {"name": rule},
            "postaggregators": [],
            "lr": 1.0,
            **server,
        },
        "adversary": attacked if adversary else None,
    }


def run(
    root=Path("runs"), rule="mean", seed=0, *, rounds=6, asr=0.9, accuracy=0.8, weights=True,
    caught=False, twin=True, adversary=True, clients=6, flags=(), failures=None, name="demo",
    durability=None, labels=None, norms=True, server=None,
):  # fmt: skip
    """A run of 6 clients, 1 and 3 malicious, acting in rounds 2 to 4."""
    records, rows = [], []
    for number in range(rounds + 1):
        acting = [c for c in (1, 3) if adversary and 2 <= number <= 4]
        share = number / rounds if rounds else 1.0
        records.append(
            {
                "round": number,
                "accuracy": accuracy * (0.5 + 0.5 * share),
                "loss": 1.0,
                "attack_success_rate": None if asr is None else asr * share,
                "robust_accuracy": None,
                "num_clients": clients if number else 0,
                "num_malicious": len(acting) if number else 0,
                "num_failed": 0,
                "update_norm": 1.0,
            }
        )
        for client in range(clients if number else 0):
            zero = caught and client in acting
            rows.append(
                {
                    "round": number,
                    "client": client,
                    "malicious": adversary and client in (1, 3),
                    "acting": client in acting,
                    "num_examples": 10,
                    "norm": (10.0 if client in acting else 1.0 + client) if norms else None,
                    "weight": (0.0 if zero else 1 / clients) if weights else None,
                    "loss": 0.5,
                    "failed": None,
                }
            )
    identity = f"{abs(hash((rule, seed, name))) % 16**8:08x}"
    detected = None
    if weights and adversary:
        rate = 1.0 if caught else 0.0
        detected = {"precision": rate, "recall": rate, "false_positive_rate": 0.0, "auc": 0.5}
    summary = {
        "name": name,
        "hash": identity,
        "seed": seed,
        "engine": "inprocess",
        "device": "cpu",
        "rounds": rounds,
        "accuracy": accuracy,
        "accuracy_per_class": [0.5, None, 0.9],
        "attack_success_rate": asr,
        "robust_accuracy": None,
        "detection": detected,
        "clean_twin": {
            "hash": "00000000",
            "accuracy": accuracy + 0.02,
            "attack_success_rate": None if asr is None else 0.01,
            "accuracy_drop": 0.02,
        }
        if twin
        else None,
        "durability": durability,
        "certified": None,
        "failures": failures or {},
        "flags": list(flags),
        "seconds": 12.0,
        "parameters_sha256": "ab" * 32,
    }
    tree = scenario(rule, seed, rounds, adversary, name, **(server or {}))
    path = Path(root) / f"{name}-{rule}-{seed}"
    return Record(path, tree, summary, records, rows, labels or {})


def summary(**changes):
    """The summary of a plain run with some keys changed."""
    return {**run().summary, "hash": None, **changes}
