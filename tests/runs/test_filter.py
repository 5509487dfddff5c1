"""The filter language."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.runs.filter import All, Compare, Either, Has, Not, Tagged, Word, filter_runs, parse_filter
from workbench.runs.keys import keys_of, resolve_key, sort_runs
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.errors import UserError


def summary(name: str, hex_digits: str, **changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "path": Path(f"/runs/20261101-120000-{name}-{hex_digits}"),
        "status": RunStatus.FINISHED,
        "name": name,
        "created": datetime(2026, 11, 1, 12, 0),
        "tags": (),
        "note": "",
        "archived": False,
        "recipe": {},
        "metrics": {},
        "progress": None,
        "process": None,
        "ended": None,
        **changes,
    }
    return RunSummary(**values)


A = summary(
    "lite iter",
    "aaaa",
    tags=("Table1", "two words"),
    recipe={
        "seed": 2,
        "pseudo_label.labelled_fraction": 0.1,
        "pseudo_label.strategy": "iterative",
        "model.backbone": "resnet152",
        "model.dropout": 0.5,
        "pseudo_label.noise.dropout": 0.2,
        "finetune.layers": ["layer4", "head"],
        "augmentation.flip": True,
        "optimizer.learning_rate": 1e-4,
    },
    metrics={
        "test.accuracy": 0.85,
        "val.accuracy": 0.9,
        "teacher.test.accuracy": 0.8,
        "test.loss": float("nan"),
    },
)
B = summary(
    "full",
    "bbbb",
    status=RunStatus.LIVE,
    created=datetime(2026, 10, 31, 23, 59),
    archived=True,
    recipe={"seed": 10, "model.backbone": "mobilenet_v2", "augmentation.flip": False, "old_key": "x=1"},
    metrics={"test.accuracy": 0.92},
)
RUNS = [A, B]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", RUNS),
        ("  ", RUNS),
        ("pseudo.labelled_fraction=0.1 and test.accuracy>0.84", [A]),
        ("pseudo.labelled_fraction=0.1 and test.accuracy>0.85", []),
        ("test.accuracy>=85%", RUNS),
        ("test.accuracy>=0.85 test.accuracy<90%", [A]),
        ("accuracy>.9", [B]),
        ("teacher.accuracy<=0.8", [A]),
        ("labelled_fraction=10%", [A]),
        ("lr=0.0001", [A]),
        ("backbone=RESNET152", [A]),
        ("backbone==resnet152", [A]),
        ("backbone~net_v2", [B]),
        ("backbone!=resnet152", [B]),
        ("layers=head", [A]),
        ("layers~layer", [A]),
        ("layers!=head", []),
        ("layers!=layer1", [A]),
        ("flip=true", [A]),
        ("flip=false", [B]),
        ("seed<10", [A]),
        ("seed=2 or seed=10", RUNS),
        ("seed=2 and seed=10", []),
        ("not seed=2", [B]),
        ("not not seed=2", [A]),
        ("NOT (seed=2 OR seed=10)", []),
        ("seed=2 or seed=10 and full", RUNS),
        ("(seed=2 or seed=10) and full", [B]),
        ("strategy!=iterative", []),
        ("not strategy=iterative", [B]),
        ("status=live", [B]),
        ("status!=live", [A]),
        ("tag:table1", [A]),
        ("tag:table", []),
        ('tag:"two words"', [A]),
        ("has:pseudo", [A]),
        ("has:pseudo_label.noise", [A]),
        ("has:teacher.accuracy", [A]),
        ("not has:pseudo", [B]),
        ("lite", [A]),
        ("BBBB", [B]),
        ("table", [A]),
        ('"lite iter"', [A]),
        ('name="lite iter"', [A]),
        ("name=lite", []),
        ("name~lite", [A]),
        ('old_key="x=1"', [B]),
        (r'old_key="x\=1"', [B]),
        ("created>2026-10-31", [A]),
        ("created>=2026-10-31", RUNS),
        ("created=2026-10-31", [B]),
        ("created!=2026-10-31", [A]),
        ("created<2026-11", [B]),
        ("created<=2026-11", RUNS),
        ("created=2026", RUNS),
        ("created=2026-10-31T23:59", [B]),
        ("created>2026-11-01", []),
        ("archived=true", [B]),
        ("loss<1", []),
        ("loss>1", []),
        ("backbone>5", []),
        ("ended<2026", []),
        ('name="and"', []),
    ],
)
def test_a_filter_chooses_the_runs_it_says(text: str, expected: list[RunSummary]) -> None:
    assert filter_runs(text, RUNS) == expected


def test_words_next_to_each_other_bind_as_and_does() -> None:
    assert parse_filter("a b or not c") == Either((All((Word("a"), Word("b"))), Not(Word("c"))))
    assert parse_filter("has:a tag:b x>=1") == All((Has("a", 1), Tagged("b"), Compare("x", ">=", "1", 13)))


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("seed=", 6, "a value after ="),
        ("seed= and x", 7, "a value after ="),
        ("=1", 1, "a condition"),
        ("seed=1 and", 11, "a condition"),
        ("(seed=1", 8, "a closing parenthesis"),
        ("seed=1)", 7, "and, or, or the end"),
        ("seed=1 =2", 8, "and, or, or the end"),
        ("0.1<seed<2", 9, "and, or, or the end"),
        ('name="open', 6, "a closing quote"),
        ("a ! b", 3, "a word"),
        ("()", 2, "a condition"),
        ("not", 4, "a condition"),
        ("has:", 5, "a key right after has:"),
        ("tag: x", 6, "a tag right after tag:"),
        ("or", 1, "a condition"),
        ("seed=)", 6, "a value after ="),
    ],
)
def test_a_mistake_is_told_with_its_column_and_what_was_expected(
    text: str, column: int, expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        filter_runs(text, RUNS)
    assert caught.value.where == f"filter, column {column}"
    assert f"expected {expected}" in caught.value.what
    assert caught.value.hint.endswith("^")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bakbone=x", "did you mean backbone"),
        ("test.acuracy>1", "did you mean test.accuracy"),
        ("zzzqqq=1", "no key 'zzzqqq'"),
        ("has:zzzqqq", "no key"),
        ("noise.dropot=1", "did you mean noise.dropout"),
        ("status=running", "allowed: queued, starting, live, stalled"),
        ("created>yesterday", "is no date"),
        ("created=2026-13", "is no date"),
        ("created<9999", "is no date"),
        ("seed>many", "is no number or date"),
        ("a\x1b[31m=1", r"\\x1b"),
        ("rate=1", "no key"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_told(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        filter_runs(text, RUNS)
    assert "\x1b" not in str(caught.value)


def test_a_key_of_the_schema_is_known_before_any_run_has_it() -> None:
    assert filter_runs("optimizer.layer_decay=0.7", []) == []
    assert filter_runs("rounds>2", RUNS) == []
    with pytest.raises(UserError, match="no key"):
        filter_runs("old_key=1", [A])


def test_a_short_key_that_fits_several_lists_them() -> None:
    known = keys_of([summary("x", "cccc", recipe={"one.thing": 1, "two.thing": 2})])
    with pytest.raises(UserError, match=r"one\.thing, two\.thing"):
        resolve_key("thing", known, where="filter")


def test_nesting_and_length_are_capped() -> None:
    assert filter_runs("(" * 32 + "seed=2" + ")" * 32, RUNS) == [A]
    for text in ("(" * 33 + "seed=2" + ")" * 33, "not " * 1000 + "seed=2", "(" * 4000):
        with pytest.raises(UserError, match="at most 32"):
            filter_runs(text, RUNS)
    with pytest.raises(UserError, match="4096"):
        filter_runs("a" * 5000, RUNS)
    assert filter_runs(" or ".join(["seed=2"] * 400), RUNS) == [A]


pieces = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "(",
        ")",
        "=",
        "!=",
        "<",
        ">=",
        "~",
        '"',
        "'",
        "\\",
        "has:",
        "tag:",
        "seed",
        "0.1",
        "!",
        "%",
        "2026-11-01",
        "created",
        "status",
        "live",
        "test.accuracy",
        " ",
        "\n",
        "\x00",
        "\ud800",
        "１",
        "٣",
        "1e999",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(pieces | st.text(max_size=3), max_size=14).map("".join)
    | st.lists(pieces, max_size=14).map(" ".join)
)
def test_any_text_is_a_filter_or_one_clear_message(text: str) -> None:
    try:
        chosen = filter_runs(text, RUNS)
    except UserError:
        return
    assert [run for run in RUNS if run in chosen] == chosen


@given(st.sampled_from(["seed=2", "full", "has:pseudo", "backbone~net", "loss<1"]))
def test_a_filter_and_its_contrary_part_the_runs(text: str) -> None:
    fits, others = filter_runs(text, RUNS), filter_runs(f"not ({text})", RUNS)
    assert sorted(run.name for run in fits + others) == ["full", "lite iter"]


def test_sorting_puts_runs_without_a_value_last_either_way() -> None:
    c = summary("none", "cccc")
    assert sort_runs([c, A, B], "accuracy") == [A, B, c]
    assert sort_runs([c, A, B], "-accuracy") == [B, A, c]
    assert sort_runs([A, B], "name") == [B, A]
    assert sort_runs([A, B], "-created") == [A, B]
    assert sort_runs([B, A], "layers") == [A, B]
    assert sort_runs([B, A, c], "loss")[0] == A
    with pytest.raises(UserError, match="no key"):
        sort_runs([A], "-zzzqqq")
