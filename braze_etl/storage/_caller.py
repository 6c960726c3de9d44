"""As whom an object store sees this job."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from braze_etl.deadline import Exchange
from braze_etl.storage._access import StoreAccess


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose the credentials are, and where they come from.

    `name` is the ARN where AWS told it (`confirmed`), else the beginning of the access key's id; `method` is
    boto3's word: `env`, `assume-role-with-web-identity`, `iam-role`.
    """

    name: str
    method: str
    confirmed: bool


def find_caller(bucket: str, access: StoreAccess) -> Caller:
    """Ask AWS STS whose the credentials for that bucket are; everybody has the right to (GetCallerIdentity).

    Another server than AWS's (`endpoint_url`) has no STS that is known: there, nobody is asked, unless
    `AWS_ENDPOINT_URL_STS` names one. Raises `StoreError`.
    """
    from botocore.exceptions import NoCredentialsError

    from braze_etl.storage._s3_client import session_for
    from braze_etl.storage._s3_errors import MOST, Request, explained

    session = session_for(access)
    with explained(Request("sts:GetCallerIdentity", bucket), Exchange(most=MOST)):
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        method = str(credentials.method)
        if access.endpoint_url and not os.environ.get("AWS_ENDPOINT_URL_STS"):
            key = str(credentials.get_frozen_credentials().access_key)
            return Caller(f"{key[:4]}...", method, confirmed=False)
        # Even the global endpoint of STS needs some region's name to sign with.
        region = access.region or session.get_config_variable("region") or "us-east-1"
        client: Any = session.create_client("sts", region_name=region)
        return Caller(client.get_caller_identity()["Arn"], method, confirmed=True)
