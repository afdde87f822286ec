"""The grammar of list filters: what it accepts, what it means, and how it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.common.v1 import Payload
from perdure.store.visibility import (
    And,
    Between,
    Compare,
    Field,
    In,
    IsNull,
    Not,
    Or,
    StartsWith,
    matches,
    parse_query,
)
from tests.store.builders import record, run_key, search_attributes

TYPES = {
    "Customer": "Keyword",
    "Amount": "Int",
    "Price": "Double",
    "Note": "Text",
    "Tags": "KeywordList",
    "Paid": "Bool",
    "Due": "Datetime",
    "Odd name": "Keyword",
}

WORKFLOW_ID = Field("WorkflowId", "Keyword")
START = Field("StartTime", "Datetime")
CUSTOMER = Field("Customer", "Keyword")
STATUS = Field("ExecutionStatus", "Keyword")
DIVISION = IsNull(Field("TemporalNamespaceDivision", "Keyword"))


def where(text: str) -> Any:
    """The filter alone, without the implicit condition on the division."""
    expression = parse_query(text, TYPES).where
    if isinstance(expression, And) and expression.items[-1] == DIVISION:
        rest = expression.items[:-1]
        return rest[0] if len(rest) == 1 else And(rest)
    return expression


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("WorkflowId = 'a'", Compare(WORKFLOW_ID, "=", "a")),
        ('WorkflowId = "a"', Compare(WORKFLOW_ID, "=", "a")),
        ("`WorkflowId`='a'", Compare(WORKFLOW_ID, "=", "a")),
        ("`Odd name` = 'a'", Compare(Field("Odd name", "Keyword"), "=", "a")),
        ("WorkflowId <> 'a'", Compare(WORKFLOW_ID, "!=", "a")),
        ("WorkflowId = 'it''s'", Compare(WORKFLOW_ID, "=", "it's")),
        (r"WorkflowId = 'it\'s'", Compare(WORKFLOW_ID, "=", "it's")),
        ("WorkflowId = 'and'", Compare(WORKFLOW_ID, "=", "and")),
        ("WorkflowId = ''", Compare(WORKFLOW_ID, "=", "")),
        ("WorkflowId in ('a','b')", In(WORKFLOW_ID, ("a", "b"))),
        ("WorkflowId NOT IN ('a')", Not(In(WORKFLOW_ID, ("a",)))),
        ("WorkflowId starts_with 'a'", StartsWith(WORKFLOW_ID, "a")),
        ("WorkflowId NOT STARTS_WITH 'a'", Not(StartsWith(WORKFLOW_ID, "a"))),
        ("Customer IS NULL", IsNull(CUSTOMER)),
        ("Customer is not null", Not(IsNull(CUSTOMER))),
        ("Amount BETWEEN 1 AND -2", Between(Field("Amount", "Int"), 1, -2)),
        ("Amount NOT BETWEEN 1 AND 2", Not(Between(Field("Amount", "Int"), 1, 2))),
        ("Price > 1.5e3", Compare(Field("Price", "Double"), ">", 1500.0)),
        ("Paid = TRUE", Compare(Field("Paid", "Bool"), "=", True)),
        ("StartTime = 5", Compare(START, "=", 5)),
        ("StartTime >= '1970-01-01T00:00:01.5Z'", Compare(START, ">=", 1_500_000_000)),
        ("StartTime < '1970-01-01T01:00:00.000000001+01:00'", Compare(START, "<", 1)),
        ("ExecutionStatus = 'Running'", Compare(STATUS, "=", 1)),
        ("ExecutionStatus = 7", Compare(STATUS, "=", 7)),
        ("ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW'", Compare(STATUS, "=", 6)),
        ("ExecutionStatus IN ('Paused', 'TimedOut')", In(STATUS, (8, 7))),
        ("ExecutionDuration > '1h30m'", Compare(Field("ExecutionDuration", "Int"), ">", 5_400_000_000_000)),
        ("ExecutionDuration > '01:30:00'", Compare(Field("ExecutionDuration", "Int"), ">", 5_400_000_000_000)),
        ("ExecutionDuration > '1.5s'", Compare(Field("ExecutionDuration", "Int"), ">", 1_500_000_000)),
        ("ExecutionDuration > 10", Compare(Field("ExecutionDuration", "Int"), ">", 10)),
        ("BuildIds = 'x'", Compare(Field("BuildIds", "KeywordList"), "=", "x")),
        ("TemporalWorkflowId = 'a'", Compare(WORKFLOW_ID, "=", "a")),
        ("SchedulePaused = true", Compare(Field("TemporalSchedulePaused", "Bool"), "=", True)),
        ("ScheduleId = 's'", Compare(WORKFLOW_ID, "=", "temporal-sys-scheduler:s")),
        (
            "WorkflowId = 'a' OR WorkflowId = 'b' AND NOT Customer = 'c'",
            Or(
                (
                    Compare(WORKFLOW_ID, "=", "a"),
                    And((Compare(WORKFLOW_ID, "=", "b"), Not(Compare(CUSTOMER, "=", "c")))),
                )
            ),
        ),
        (
            "((WorkflowId = 'a' OR WorkflowId = 'b')) AND Customer = 'c'",
            And(
                (
                    Or((Compare(WORKFLOW_ID, "=", "a"), Compare(WORKFLOW_ID, "=", "b"))),
                    Compare(CUSTOMER, "=", "c"),
                )
            ),
        ),
        ("", DIVISION),
        ("  \n ", DIVISION),
        ("ORDER BY StartTime", DIVISION),
    ],
)
def test_parse(text: str, expression: Any) -> None:
    assert where(text) == expression


def test_naming_the_division_drops_the_implicit_condition() -> None:
    query = parse_query("TemporalNamespaceDivision = 'x'", {})
    assert query.where == Compare(Field("TemporalNamespaceDivision", "Keyword"), "=", "x")


def test_order_and_group() -> None:
    query = parse_query("Customer = 'a' GROUP BY ExecutionStatus ORDER BY StartTime DESC, Customer asc", TYPES)
    assert query.group_by == STATUS
    assert query.order_by == ((START, True), (CUSTOMER, False))


def test_custom_attribute_wins_over_an_alias() -> None:
    assert parse_query("ScheduleId = 's'", {"ScheduleId": "Keyword"}).where == And(
        (Compare(Field("ScheduleId", "Keyword"), "=", "s"), DIVISION)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("WorkflowId", "it ends where an operator such as"),
        ("WorkflowId =", "it ends where a value of WorkflowId was expected"),
        ("WorkflowId = a", "the value a of WorkflowId needs quotes: 'a'"),
        ("WorkflowId = 'a", "the quote at character 14 is not closed"),
        ("WorkflowId = 'a' Customer", "'Customer' at character 18 where AND, OR or the end was expected"),
        ("WorkflowId = 1", "1 is not a value of WorkflowId, which is of type Keyword"),
        ("= 'a'", "'=' at character 1 where the name of a search attribute was expected"),
        ("WorkflowId ; 'a'", "';' at character 12 has no meaning here"),
        ("Missing = 1", "'Missing' is not a search attribute of this namespace"),
        ("Amount = 'a'", "'a' is not a value of Amount, which is of type Int"),
        ("Amount STARTS_WITH 'a'", "Amount is of type Int, which has no operator STARTS_WITH"),
        ("Tags < 'a'", "Tags is of type KeywordList, which has no operator <"),
        ("Note IN ('a')", "Note is of type Text, which has no operator IN"),
        ("Note = '!'", "has no words to search for"),
        ("Paid = 'true'", "'true' is not a value of Paid, which is of type Bool"),
        ("StartTime = '2026'", "'2026' is not a datetime"),
        ("StartTime = '2026-02-30T00:00:00Z'", "is not a datetime: day "),
        ("ExecutionDuration > '5 parsecs'", "is not a duration"),
        ("ExecutionStatus = 'Nope'", "'Nope' is not an ExecutionStatus (they are Running"),
        ("ExecutionStatus = 99", "99 is not an ExecutionStatus"),
        ("ExecutionStatus < 'Running'", "which has no operator <"),
        ("WorkflowId LIKE 'a%'", "LIKE is not supported"),
        ("WorkflowId = 'a' LIMIT 5", "LIMIT is not supported"),
        ("upper(WorkflowId) = 'A'", "'upper' is not a search attribute"),
        ("WorkflowId('A') = 1", "functions such as WorkflowId() are not supported"),
        ("(WorkflowId = 'a'", "it ends where ) was expected"),
        ("WorkflowId IN ()", "where a value of WorkflowId was expected"),
        ("WorkflowId IN ('a'", "it ends where ) was expected"),
        ("Amount BETWEEN 1 OR 2", "'OR' at character 18 where AND was expected"),
        ("Amount IS 5", "'5' at character 11 where NULL was expected"),
        ("GROUP BY Amount", "GROUP BY Amount is not supported"),
        ("GROUP BY ExecutionStatus, Customer", "GROUP BY takes one search attribute"),
        ("ORDER BY Note", "ORDER BY Note is not supported"),
        ("(" * 300 + "WorkflowId = 'a'" + ")" * 300, "nested more than 200 deep"),
    ],
)
def test_refusals_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_query(text, TYPES)
    assert str(caught.value).startswith("invalid query: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from("WorkflwIdAmunt=<>!'\"`() ,ANDORINT1.5-"), max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_query(text, TYPES)
    except ValueError as error:
        assert str(error).startswith("invalid query: ")


RECORD = record(
    run_key(),
    1_000,
    close_time=5_000,
    search_attributes=search_attributes(
        Customer=("Keyword", "alice"),
        Amount=("Int", 7),
        Price=("Double", 1.5),
        Note=("Text", "Very urgent, please"),
        Tags=("KeywordList", ["red", "blue"]),
        Paid=("Bool", True),
        Due=("Datetime", "2026-01-01T00:00:00Z"),
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Customer = 'alice'", True),
        ("Customer < 'alf'", False),
        ("Customer STARTS_WITH 'al'", True),
        ("Amount >= 7 AND Amount <= 7", True),
        ("Amount IN (1, 7)", True),
        ("Price < 2", True),
        ("Note = 'URGENT never'", True),
        ("Note != 'later'", True),
        ("Note = 'urg'", False),
        ("Tags = 'red'", True),
        ("Tags != 'red'", False),
        ("Tags IN ('green', 'blue')", True),
        ("Tags NOT IN ('green')", True),
        ("Paid = true", True),
        ("Paid != true", False),
        ("Due > '2025-12-31T23:59:59Z'", True),
        ("ExecutionDuration = 4000", True),
        ("ParentWorkflowId IS NULL", True),
        ("RootWorkflowId = 'workflow-1'", True),
        # Nothing is known of an unset attribute, so neither a test of it nor its negation holds.
        ("`Odd name` = 'x'", False),
        ("NOT `Odd name` = 'x'", False),
        ("`Odd name` != 'x'", False),
        ("`Odd name` = 'x' OR Customer = 'alice'", True),
        ("`Odd name` IS NULL", True),
    ],
)
def test_matches(text: str, expected: bool) -> None:
    assert matches(parse_query(text, TYPES), RECORD) is expected


@pytest.mark.parametrize("data", [b"", b"null", b"{", b"[]", b"5", b'"text"', b"[1]", b"true"])
@pytest.mark.parametrize("kind", sorted(set(TYPES.values())))
def test_values_of_another_type_count_as_unset_or_match_nothing(data: bytes, kind: str) -> None:
    encoded = msgspec.msgpack.encode({"X": Payload({"encoding": b"json/plain"}, data)})
    item = record(run_key(), search_attributes=encoded)
    unset = matches(parse_query("X IS NULL", {"X": kind}), item)
    held = matches(parse_query("X IS NOT NULL", {"X": kind}), item)
    assert unset is not held
    if data in (b"", b"null", b"{", b"[]"):
        assert unset
