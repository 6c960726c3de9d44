"""What a bucket's lifecycle rules say of how long its objects live."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef


def shortest_lifetime(client: S3Client, bucket: str, prefix: str) -> timedelta | None:
    """How long the first to go of the objects below *prefix* live, by the rules that hold for each of them.

    None where there is no such rule; boto3's errors come as they are.
    """
    rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    days = [rule["Expiration"].get("Days") for rule in rules if _deletes_below(rule, prefix)]
    return min((timedelta(days=each) for each in days if each), default=None)


def _deletes_below(rule: LifecycleRuleOutputTypeDef, prefix: str) -> bool:
    if rule["Status"] != "Enabled" or "Expiration" not in rule:
        return False
    where = rule.get("Filter", {})
    if where.keys() - {"Prefix"}:
        return False  # by tags or sizes: it is not known which objects that means
    covered = where.get("Prefix", rule.get("Prefix", ""))
    return prefix.startswith(covered) or covered.startswith(prefix)
