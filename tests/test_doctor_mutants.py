"""Each rule of the doctor is needed: without it, a case of test_doctor.py has another result."""

import pytest
from test_doctor import CASES, TEXTS, doctor

EXPLAINED = [name for name, rule in doctor.RULES.items() if rule["says"]]


def misjudged() -> list[str]:
    """The cases whose exit code or findings are not as they should be."""
    wrong = []
    for case, (facts, code, names, _) in CASES.items():
        try:
            result, findings = doctor.diagnose(doctor.Facts(**facts))
        except StopIteration:  # not even a verdict
            result, findings = -1, []
        if (result, [finding.id for finding in findings]) != (code, names):
            wrong.append(case)
    return wrong


def unexplained() -> list[str]:
    """The texts that do not get their rule, or not only that."""
    return [text for text, rule, _ in TEXTS if [x.id for x in doctor.explain(text)] != [rule]]


def test_with_all_rules_nothing_is_wrong():
    assert misjudged() == []
    assert unexplained() == []


@pytest.mark.parametrize(
    "rules, name", [(x, y) for x in ("VERDICTS", "PROBLEMS") for y in vars(doctor)[x]]
)
def test_each_verdict_and_problem_is_needed(monkeypatch, rules, name):
    monkeypatch.delitem(getattr(doctor, rules), name)
    assert misjudged()


@pytest.mark.parametrize("name", EXPLAINED)
def test_each_text_is_needed(monkeypatch, name):
    monkeypatch.setitem(doctor.RULES, name, {**doctor.RULES[name], "says": ""})
    assert unexplained()


@pytest.mark.parametrize("name", sorted(doctor.FATAL))
def test_each_fatal_problem_changes_an_exit_code(monkeypatch, name):
    monkeypatch.setattr(doctor, "FATAL", doctor.FATAL - {name})
    codes = [(doctor.diagnose(doctor.Facts(**case[0]))[0], case[1]) for case in CASES.values()]
    assert [result for result, code in codes if result != code]
