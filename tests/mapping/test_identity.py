from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from braze_etl.mapping.identity import IdentityRules, People, is_left_out
from braze_etl.mapping.presets import load_preset
from braze_etl.model import Reason, Verdict

REFUSED = [
    "anonymous", "unknown", "undefined", "LMY47D", "lmy47d", "Anonymous", "UNDEFINED",
    "00000000-0000-0000-0000-000000000000",
]  # fmt: skip
SHORT_REFUSED = ["nil", "none", "null", "n/a", "na", "{}", "0", "-1", "None", "N/A"]


@pytest.fixture(scope="module")
def rules() -> IdentityRules:
    return IdentityRules(**asdict(load_preset("native").identity))


def rules_with(rules: IdentityRules, **changes: Any) -> IdentityRules:
    return replace(rules, **changes)


def reason(outcome: Any) -> Reason:
    assert isinstance(outcome, Verdict)
    assert outcome.detail
    return outcome.reason


def test_both_ids_are_sent_when_both_are_there(rules: IdentityRules) -> None:
    found = rules.resolve("customer-1", "device-1", "braze-1")
    assert found == {"user_id": "customer-1", "device_id": "device-1"}


@pytest.mark.parametrize("absent", [None, ""])
def test_null_and_empty_are_absent(rules: IdentityRules, absent: str | None) -> None:
    assert rules.resolve("customer-1", absent, None) == {"user_id": "customer-1"}
    assert rules.resolve(absent, "device-1", None) == {"device_id": "device-1"}
    assert reason(rules.resolve(absent, absent, "64d2f0c1a2b3c4d5e6f70819")) is Reason.NO_IDENTITY


@pytest.mark.parametrize("user", [*REFUSED, *SHORT_REFUSED, "abcd", "x" * 1025, 12345, True, ["a"], {"a": 1}])
def test_a_user_id_that_amplitude_refuses_is_never_replaced_by_the_device(
    rules: IdentityRules, user: Any
) -> None:
    assert reason(rules.resolve(user, "device-1", None)) is Reason.INVALID_USER_ID


@pytest.mark.parametrize("user", ["\0" * 8, "abc\0\0\0", "anonymous\0"])
def test_ids_are_judged_without_the_nul_characters_that_no_request_has(
    rules: IdentityRules, user: str
) -> None:
    assert reason(rules.resolve(user, None, None)) is Reason.INVALID_USER_ID


@pytest.mark.parametrize("user", SHORT_REFUSED)
def test_reserved_words_are_refused_under_a_lower_minimum_too(rules: IdentityRules, user: str) -> None:
    assert reason(rules_with(rules, min_length=1).resolve(user, None, None)) is Reason.INVALID_USER_ID


def test_ids_as_long_as_amplitude_allows_pass(rules: IdentityRules) -> None:
    for value in ("12345", "x" * 1024):
        assert rules.resolve(value, value, None) == {"user_id": value, "device_id": value}


@pytest.mark.parametrize("device", [*REFUSED, "abcd", "x" * 1025, "[REDACTED]", 12345])
def test_a_refused_device_id_is_left_out_beside_a_good_user_id(rules: IdentityRules, device: Any) -> None:
    found = rules.resolve("customer-1", device, None)
    assert found == {"user_id": "customer-1"}
    assert isinstance(found, dict)
    assert is_left_out(device, found)


@pytest.mark.parametrize("device", [None, "", "device-1"])
def test_nothing_is_left_out_when_there_was_no_device_or_a_good_one(
    rules: IdentityRules, device: str | None
) -> None:
    found = rules.resolve("customer-1", device, None)
    assert isinstance(found, dict)
    assert not is_left_out(device, found)


@pytest.mark.parametrize("device", [*REFUSED, "abcd", "x" * 1025, 12345])
def test_a_refused_device_id_alone_is_quarantined(rules: IdentityRules, device: Any) -> None:
    assert reason(rules.resolve(None, device, None)) is Reason.INVALID_DEVICE_ID


def test_a_masked_id_is_quarantined_because_it_would_merge_all_users(rules: IdentityRules) -> None:
    assert reason(rules.resolve("[REDACTED]", "device-1", None)) is Reason.REDACTED_IDENTITY
    assert reason(rules.resolve(None, "[REDACTED]", None)) is Reason.REDACTED_IDENTITY


def test_a_masked_id_is_named_so_even_when_it_is_shorter_than_the_minimum(rules: IdentityRules) -> None:
    strict = rules_with(rules, min_length=20)
    assert reason(strict.resolve("[REDACTED]", None, None)) is Reason.REDACTED_IDENTITY


def test_brazes_own_id_is_used_only_when_asked_for_and_only_without_another(rules: IdentityRules) -> None:
    asked = rules_with(rules, anonymous="braze_id")
    assert asked.resolve(None, "", "64d2f0c1a2b3c4d5e6f70819") == {
        "device_id": "braze:64d2f0c1a2b3c4d5e6f70819"
    }
    assert asked.resolve(None, "device-1", "64d2f0c1") == {"device_id": "device-1"}
    assert asked.resolve("customer-1", None, "64d2f0c1") == {"user_id": "customer-1"}
    assert reason(asked.resolve(None, None, None)) is Reason.NO_IDENTITY
    assert reason(asked.resolve(None, None, "[REDACTED]")) is Reason.REDACTED_IDENTITY
    assert reason(asked.resolve(None, None, "x" * 1024)) is Reason.INVALID_DEVICE_ID


def test_a_detail_never_repeats_a_persons_id(rules: IdentityRules) -> None:
    outcome = rules.resolve("ann@" + "x" * 1100, None, None)
    assert isinstance(outcome, Verdict)
    assert "ann@" not in outcome.detail


class _Table:
    def find(self, key: str) -> str | None:
        return None


def test_a_table_has_a_decisive_version_only_where_it_decides_what_is_filtered() -> None:
    """By Braze's user id, a table that lets everybody pass still tells who has no identity."""
    of_users = People(table=_Table(), table_version="monday")
    assert of_users.decisive_version == ""
    assert replace(of_users, missing="quarantine").decisive_version == ""
    assert replace(of_users, missing="filter").decisive_version == "monday"
    assert replace(of_users, key="user_id").decisive_version == "monday"
    assert People(missing="filter").decisive_version == ""
