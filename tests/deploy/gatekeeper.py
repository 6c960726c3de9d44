"""A server in front of S3 that lets through what the policies allow, and remembers which rights were used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from urllib.parse import parse_qs, unquote, urlsplit

from tests.deploy.policies import Grant, Need, allowed
from tests.front import Asked, Front, Reply, refusal
from tests.serving import serving

_DENIED = refusal(403, "AccessDenied", "no identity-based policy allows it")


class Gatekeeper(Front):
    """Speaks S3's protocol for the server at *behind*; `used` and `refused` are rights."""

    def __init__(self, behind: str, given: Sequence[Grant]) -> None:
        super().__init__(behind)
        self.given = given
        self.used: set[Need] = set()
        self.refused: set[Need] = set()

    def answer(self, asked: Asked) -> Reply:
        """Judge a request, and pass it on if it may be."""
        if not self._may(needs(asked)):
            return _DENIED
        reply = self.pass_on(asked)
        if reply.status == 404 and asked.method == "GET" and not self._may_know(asked.target):
            return _DENIED
        sealed = dict(reply.headers).get("x-amz-server-side-encryption-aws-kms-key-id")
        if asked.method == "GET" and sealed and not self._may([Need("kms:Decrypt", sealed)]):
            return _DENIED
        return reply

    def _may(self, asked: Sequence[Need]) -> bool:
        missing = {need for need in asked if not allowed(need, self.given)}
        self.refused |= missing
        self.used |= set(asked)
        return not missing

    def _may_know(self, target: str) -> bool:
        """S3 says 404 to those who may list, and 403 to all others; such a request carries no prefix."""
        bucket = urlsplit(target).path.lstrip("/").partition("/")[0]
        return allowed(Need("s3:ListBucket", _arn(bucket)), self.given)


def gatekeeper(behind: str, given: Sequence[Grant]) -> AbstractContextManager[Gatekeeper]:
    """A gatekeeper that is up for the length of the block."""
    return serving(Gatekeeper(behind, given))


def needs(asked: Asked) -> list[Need]:
    """The rights that S3 asks for (Service Authorization Reference, "Actions for Amazon S3")."""
    url = urlsplit(asked.target)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    query = parse_qs(url.query, keep_blank_values=True)
    of_bucket, of_object = _arn(bucket), _arn(f"{bucket}/{key}")
    match asked.method, bool(key):
        case "GET", False if "list-type" in query:
            return [Need("s3:ListBucket", of_bucket, query.get("prefix", [None])[0])]
        case "GET", False if "lifecycle" in query:
            return [Need("s3:GetLifecycleConfiguration", of_bucket)]
        case "GET", True if not query:
            return [Need("s3:GetObject", of_object)]
        case "PUT", True if not query:
            return [Need("s3:PutObject", of_object), *_of_writing(of_object, asked.headers)]
        case "DELETE", True if not query:
            return [Need("s3:DeleteObject", of_object)]
    raise AssertionError(f"no policy speaks of {asked.method} {asked.target}")


def _of_writing(of_object: str, headers: dict[str, str]) -> Iterator[Need]:
    if "if-match" in headers:
        yield Need("s3:GetObject", of_object)
    if headers.get("x-amz-server-side-encryption") == "aws:kms":
        yield Need("kms:GenerateDataKey", headers["x-amz-server-side-encryption-aws-kms-key-id"])


def _arn(what: str) -> str:
    return f"arn:aws:s3:::{what}"
