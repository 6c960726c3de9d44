"""What a bucket's lifecycle rules say of how long its objects can be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef

ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes from which an object has to be restored before it can be read."""
_NO_RULES: Final = "NoSuchLifecycleConfiguration"


def shortest_lifetime(client: S3Client, bucket: str, prefix: str) -> timedelta | None:
    """How long the first to go of the objects below *prefix* can be read, by the rules that hold for each.

    Zero for a rule with a date: from that day on, S3 takes every object as soon as it is there. None where
    there is no such rule; boto3's errors come as they are.
    """
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == _NO_RULES:
            return None
        raise
    ends = (end for rule in rules if _holds_below(rule, prefix) for end in _ends(rule))
    return min(ends, default=None)


def _holds_below(rule: LifecycleRuleOutputTypeDef, prefix: str) -> bool:
    where = rule.get("Filter", {})
    if rule["Status"] != "Enabled" or where.keys() - {"Prefix"}:
        return False  # by tags or sizes: it is not known which objects that means
    covered = where.get("Prefix", rule.get("Prefix", ""))
    return prefix.startswith(covered) or covered.startswith(prefix)


def _ends(rule: LifecycleRuleOutputTypeDef) -> Iterator[timedelta]:
    """When the rule deletes an object, and when it archives it."""
    archiving = (each for each in rule.get("Transitions", []) if each.get("StorageClass") in ARCHIVES)
    for action in (rule.get("Expiration", {}), *archiving):
        # Without both it only clears away marks of deleted versions.
        if "Date" in action or "Days" in action:
            yield timedelta(days=action.get("Days", 0))
