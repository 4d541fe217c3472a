"""`list`, `describe`, `schema`: every plug-in reads well."""

import importlib
import json

import pytest
import yaml

import fedsim
from fedsim import attacks
from fedsim.cli.catalogue import PLACES, paper
from fedsim.cli.docstrings import parse
from fedsim.cli.parameters import parameters, yaml_line
from fedsim.registry import plugins
from fedsim.scenario import Scenario


def everything():
    for kind in PLACES:
        importlib.import_module(f"fedsim.{kind}")
        yield from plugins(kind)


ALL = pytest.mark.parametrize("plugin", list(everything()), ids=lambda plugin: plugin.name)


def test_the_kinds_are_those_of_the_package():
    assert set(PLACES) == set(fedsim._KINDS)


def test_names_are_unique_across_kinds():
    names = [plugin.name for plugin in everything()]
    assert len(set(names)) == len(names)


@ALL
def test_a_plugin_names_its_paper_and_what_it_returns(plugin):
    doc = parse(plugin.function)
    assert doc.summary.endswith("."), "the first line is a sentence"
    assert paper(doc), "needs a Paper line (or Folklore)"


@ALL
def test_a_plugin_can_be_described(cli, plugin):
    result = cli("describe", plugin.name)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{plugin.name}: ")
    assert f"Paper: {parse(plugin.function).headings['Paper'][:10]}" in result.stdout
    for parameter in parameters(plugin):
        assert f"  {parameter.name}: {parameter.kind}; " in result.stdout
    assert ">>>" not in result.stdout


@ALL
def test_the_yaml_line_is_valid(plugin):
    chosen = yaml.safe_load(yaml_line(plugin, plugin.name))
    assert chosen.pop("name") == plugin.name
    plugin.choose(chosen)


@pytest.mark.parametrize("name", attacks.names())
def test_an_attack_s_example_grants_what_it_needs(cli, name):
    example = cli("describe", name).stdout.rpartition("In a scenario:")[2]
    adversary = yaml.safe_load(example)["adversary"]
    tree = {
        "name": "example",
        "rounds": 1,
        "model": {"name": "mlp"},
        "clients": {"total": 4, "per_round": 4, "training": {"lr": 0.1}},
        "adversary": {"clients": 1, **adversary},
    }
    assert Scenario.model_validate(tree).adversary.attack[0].name == name


@ALL
def test_an_args_block_names_real_parameters(plugin):
    known = {parameter.name for parameter in parameters(plugin)} | set(plugin.takes)
    assert set(parse(plugin.function).arguments) <= known


def test_describe_in_full(cli):
    text = cli("describe", "dba").stdout
    assert "  size: a whole number ≥ 1; required\n" in text
    assert "  part: a whole number in [0, 3] | null; default null\n" in text
    assert "trigger: {name: dba, size: 4, gap: 2, shift: 0, thickness: 1}" in text


def test_describe_a_function_of_the_users(cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        '''"""Mine."""
from fedsim.aggregators import aggregators
from fedsim.strict import Count


def plain(updates, *, keep: float = 0.5, label: str):
    """The first row."""
    return updates[0]


@aggregators.statistic
def registered_rule(updates, *, f: Count):
    """The last row.

    Paper: Folklore.
    """
    return updates[-1]
'''
    )
    plain = cli("describe", f"{file}:plain").stdout
    assert "a function that is not registered" in plain
    assert "  keep: a number; default 0.5\n" in plain
    registered = cli("describe", f"{file}:registered_rule").stdout
    assert "one of the aggregators; a statistic, (updates (n, d)) → update (d,)" in registered
    assert f"server: {{aggregator: {{name: '{file}:registered_rule', f: 1}}}}" in registered


def test_describe_a_function_with_an_impossible_parameter(cli, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("def rule(updates, *, name: str):\n    return updates[0]\n")
    result = cli("describe", f"{file}:rule")
    assert result.exit_code == 2
    assert result.stderr == f"{file}:rule: a parameter cannot be called 'name'\n"


def test_describe_a_file_that_is_not_there(cli, tmp_path):
    result = cli("describe", f"{tmp_path}/no.py:rule")
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/no.py:rule: {tmp_path}/no.py is not a file\n"


def test_list_names_everything_once(cli):
    lines = cli("list").stdout.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names == [plugin.name for plugin in everything()]
    assert [line for line in lines if line and line[0] != " "] == list(PLACES)


def test_list_of_one_kind(cli):
    text = cli("list", "triggers").stdout
    assert text.startswith("triggers\n")
    assert "Xie et al." in text
    assert "aggregators" not in text


def test_list_as_markdown(cli):
    lines = cli("list", "--markdown", "triggers", "models").stdout.splitlines()
    assert lines[:2] == ["| triggers | what it returns | paper |", "|---|---|---|"]
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines if line)


def test_schema_is_json(cli):
    assert json.loads(cli("schema").stdout)["type"] == "object"


def test_docstring_with_everything():
    def rule():
        r"""The mean.

        u = Σ w_i u_i.

        Paper: One et al., 2020,
        arXiv:1.
        Differs: nothing much;
            but this.

        Args:
            first: share
                in [0, 1].
            second (int): another.

        Raises:
            ValueError: if not.

        After.

        >>> 1
        1
        """

    doc = parse(rule)
    assert doc.summary == "The mean."
    assert doc.text == "u = Σ w_i u_i.\n\n\n\n\nAfter." or "After." in doc.text
    assert doc.headings == {
        "Paper": "One et al., 2020, arXiv:1.",
        "Differs": "nothing much; but this.",
        "Raises": "ValueError: if not.",
    }
    assert doc.arguments == {"first": "share in [0, 1].", "second": "another."}
