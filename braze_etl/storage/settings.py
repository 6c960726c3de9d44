"""How to reach a store, apart from where it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """What S3 needs besides a URI; a folder needs none of it.

    `role_arn` is assumed through STS with the credentials of the environment, and with `external_id` if set.
    What is written is encrypted with the KMS key `kms_key_id`, or as the bucket has it by default. With
    `requester_pays`, the account of this job is charged for what it asks of the bucket.
    """

    endpoint_url: str | None = None
    region: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    kms_key_id: str | None = None
    requester_pays: bool = False
