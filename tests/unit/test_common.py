"""The shared vocabulary: numbers, validation and messages as in Temporal's SDK."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import temporalio.api.common.v1
import temporalio.api.workflow.v1
import temporalio.common
import temporalio.exceptions
import temporalio.types
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

import perdure.common
import perdure.exceptions
import perdure.types
from perdure import _times
from perdure._search_attributes import _warn_on_deprecated_search_attributes
from perdure.api.common.v1 import Payload
from perdure.api.common.v1 import RetryPolicy as RetryPolicyMessage
from perdure.api.json import to_json_dict
from perdure.common import (
    AutoUpgradeVersioningOverride,
    MetricMeter,
    OneTimeVersioningOverride,
    PinnedVersioningOverride,
    Priority,
    RawValue,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
    _arg_or_args,
    _arg_unset,
    _type_hints_from_func,
)


@pytest.mark.parametrize("name", ["common", "exceptions"])
def test_enumerations_have_temporals_members_and_numbers(name: str) -> None:
    theirs = getattr(temporalio, name)
    ours = getattr(perdure, name)
    enums = [
        v
        for v in vars(theirs).values()
        if isinstance(v, type) and issubclass(v, enum.Enum) and v.__module__ == theirs.__name__
    ]
    assert enums
    for their_enum in enums:
        our_enum = getattr(ours, their_enum.__name__)
        assert {m.name: m.value for m in our_enum} == {m.name: m.value for m in their_enum}


def test_every_public_name_of_temporals_is_here() -> None:
    for theirs, ours in ((temporalio.common, perdure.common), (temporalio.types, perdure.types)):
        names = {
            name
            for name, value in vars(theirs).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == theirs.__name__
        }
        assert names - set(vars(ours)) == set()


def test_types_are_usable_in_annotations() -> None:
    assert perdure.types.CallableAsyncNoParam[int]
    assert perdure.types.MethodSyncOrAsyncSingleParam[str, int, float]


POLICIES: list[dict[str, Any]] = [
    {},
    {"initial_interval": timedelta(milliseconds=1), "backoff_coefficient": 1.5, "maximum_attempts": 3},
    {"maximum_interval": timedelta(seconds=7), "non_retryable_error_types": ["A", "B"]},
    {"maximum_attempts": 1, "initial_interval": timedelta(seconds=-1)},
]


@pytest.mark.parametrize("fields", POLICIES)
def test_retry_policies_give_temporals_messages(fields: dict[str, Any]) -> None:
    policy = RetryPolicy(**fields)
    ours, theirs = RetryPolicyMessage(), temporalio.api.common.v1.RetryPolicy()
    policy.apply_to_proto(ours)
    temporalio.common.RetryPolicy(**fields).apply_to_proto(theirs)
    assert to_json_dict(ours) == MessageToDict(theirs)
    assert vars(RetryPolicy.from_proto(ours)) == vars(temporalio.common.RetryPolicy.from_proto(theirs))


@pytest.mark.parametrize(
    "fields",
    [
        {"initial_interval": timedelta(seconds=-1)},
        {"backoff_coefficient": 0.5},
        {"maximum_interval": timedelta(seconds=-1)},
        {"maximum_interval": timedelta(milliseconds=1)},
        {"maximum_attempts": -1},
    ],
)
def test_invalid_retry_policies_are_refused_in_temporals_words(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as theirs:
        temporalio.common.RetryPolicy(**fields).apply_to_proto(temporalio.api.common.v1.RetryPolicy())
    message = RetryPolicyMessage()
    with pytest.raises(ValueError) as ours:
        RetryPolicy(**fields).apply_to_proto(message)
    assert str(ours.value) == str(theirs.value)
    assert message == RetryPolicyMessage()


def test_versioning_overrides_give_temporals_messages() -> None:
    def overrides(module: Any) -> list[Any]:
        version = module.WorkerDeploymentVersion("deployment", "build.1")
        return [
            module.PinnedVersioningOverride(version),
            module.AutoUpgradeVersioningOverride(),
            module.OneTimeVersioningOverride(version),
        ]

    assert [type(o) for o in overrides(perdure.common)] == [
        PinnedVersioningOverride,
        AutoUpgradeVersioningOverride,
        OneTimeVersioningOverride,
    ]
    for ours, theirs in zip(overrides(perdure.common), overrides(temporalio.common), strict=True):
        assert to_json_dict(ours._to_proto()) == MessageToDict(theirs._to_proto())


def test_deployment_versions_have_a_canonical_form() -> None:
    version = WorkerDeploymentVersion.from_canonical_string("name.build.1")
    assert version == WorkerDeploymentVersion("name", "build.1")
    assert version.to_canonical_string() == "name.build.1"
    assert WorkerDeploymentVersion._from_proto(version._to_proto()) == version
    with pytest.raises(ValueError, match="Cannot parse version string: name"):
        WorkerDeploymentVersion.from_canonical_string("name")


def test_priorities_are_checked_and_survive() -> None:
    for fields in ({}, {"priority_key": 2}, {"fairness_key": "k", "fairness_weight": 0.5}):
        priority = Priority(**fields)
        assert Priority._from_proto(priority._to_proto()) == priority
        assert to_json_dict(priority._to_proto()) == MessageToDict(temporalio.common.Priority(**fields)._to_proto())
    assert Priority._from_proto(None) is Priority.default
    with pytest.raises(ValueError, match="positive"):
        Priority(priority_key=0)
    with pytest.raises(TypeError, match="integer"):
        Priority(priority_key="1")  # type: ignore[arg-type]


def test_raw_values_pickle() -> None:
    value = RawValue(Payload({"encoding": b"e"}, b"data"))
    assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(TypeError, match="Expected bytes state"):
        value.__setstate__("x")
    with pytest.raises(ValueError, match="Bad version prefix"):
        value.__setstate__(b"2")


A = SearchAttributeKey.for_int("a")
B = SearchAttributeKey.for_keyword_list("b")


def test_typed_search_attributes_are_a_sorted_collection() -> None:
    attributes = TypedSearchAttributes([SearchAttributePair(B, ["x"]), SearchAttributePair(A, 1)])
    assert [pair.key.name for pair in attributes] == ["a", "b"]
    assert len(attributes) == 2
    assert attributes[A] == 1
    assert attributes.get(SearchAttributeKey.for_text("a")) is None
    assert attributes.get(SearchAttributeKey.for_text("a"), "no") == "no"
    assert A in attributes
    assert SearchAttributeKey.for_text("a") not in attributes
    assert attributes.updated(SearchAttributePair(A, 2))[A] == 2
    assert len(TypedSearchAttributes.empty) == 0
    assert B.origin_value_type.__name__ == "Sequence"
    with pytest.raises(KeyError):
        attributes[SearchAttributeKey.for_bool("a")]
    with pytest.raises(ValueError, match="Duplicate search attribute entries found for key a"):
        TypedSearchAttributes([SearchAttributePair(A, 1), SearchAttributePair(A, 2)])


def test_updates_name_key_and_value() -> None:
    update = A.value_set(3)
    assert (update.key, update.value) == (A, 3)
    assert A.value_unset().value is None


@pytest.mark.parametrize("values", [[], ["a"], ["a", "b"], [1], [1.5], [datetime(2024, 1, 1, tzinfo=UTC)], [1, 2]])
def test_types_of_untyped_values_are_guessed_like_temporals(values: Any) -> None:
    ours = SearchAttributeKey._guess_from_untyped_values("n", values)
    theirs = temporalio.common.SearchAttributeKey._guess_from_untyped_values("n", values)
    assert (ours and ours.indexed_value_type) == (theirs and theirs.indexed_value_type)


def test_a_guessed_boolean_is_one() -> None:
    assert SearchAttributeKey._guess_from_untyped_values("n", [True]) == SearchAttributeKey.for_bool("n")


def test_dictionaries_of_search_attributes_are_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="Dictionary-based search attributes are deprecated"):
        _warn_on_deprecated_search_attributes({"a": [1]})
    _warn_on_deprecated_search_attributes(TypedSearchAttributes([SearchAttributePair(A, 1)]))


def test_the_noop_meter_takes_everything() -> None:
    meter = MetricMeter.noop.with_additional_attributes({"a": 1})
    meter.create_counter("c", "what", "unit").add(1)
    meter.create_histogram("h").record(1)
    meter.create_histogram_float("h").record(1.5)
    meter.create_histogram_timedelta("h").record(timedelta(seconds=1))
    meter.create_gauge("g").set(1)
    gauge = meter.create_gauge_float("g", "what", "unit").with_additional_attributes({})
    gauge.set(1.5, {"b": "c"})
    assert (gauge.name, gauge.description, gauge.unit) == ("g", "what", "unit")


def test_either_arg_or_args() -> None:
    assert _arg_or_args(_arg_unset, [1, 2]) == [1, 2]
    assert _arg_or_args(None, []) == [None]
    with pytest.raises(ValueError, match="Cannot have arg and args"):
        _arg_or_args(1, [2])


def _plain(a: int, b: str | None = None) -> float:
    return 0.0


def _untyped(a, b: int):  # type: ignore[no-untyped-def]
    return None


def _star(a: int, *b: int) -> None:
    return None


def _keyword(*, a: int) -> int:
    return a


class _Callable:
    def __call__(self, a: int) -> str:
        return ""

    def method(self, a: int) -> str:
        return ""


@pytest.mark.parametrize(
    "func", [_plain, _untyped, _star, _keyword, _Callable(), _Callable, _Callable().method, _Callable.method, lambda: 1]
)
def test_hints_of_functions_are_temporals(func: Callable[..., Any]) -> None:
    theirs = temporalio.common._type_hints_from_func(func)
    if func is _untyped:
        assert theirs == ([None, int], None)  # an unannotated parameter passes there for one of type None
        assert _type_hints_from_func(func) == (None, None)
    else:
        assert _type_hints_from_func(func) == theirs


NS = st.integers(-(2**62), 2**62)


@given(NS)
def test_times_and_durations_keep_their_microseconds(ns: int) -> None:
    whole = ns // 1000 * 1000
    assert _times.duration_to_ns(_times.duration_from_ns(ns)) == whole
    assert _times.time_to_ns(_times.time_from_ns(ns)) == whole
    assert _times.time_to_ns(_times.time_from_ns(ns).replace(tzinfo=None)) == whole
    assert _times.optional_time_to_ns(_times.optional_time_from_ns(ns)) == whole
    assert _times.optional_duration_to_ns(_times.optional_duration_from_ns(ns)) == whole


def test_absent_times_stay_absent() -> None:
    assert _times.optional_time_to_ns(None) is None
    assert _times.optional_time_from_ns(None) is None
    assert _times.optional_duration_to_ns(None) is None
    assert _times.optional_duration_from_ns(None) is None
