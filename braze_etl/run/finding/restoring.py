"""What to ask of S3 so that archived files can be read again."""

from __future__ import annotations

from braze_etl.checkpoint import BacklogLine
from braze_etl.uri import S3Place, parse_uri

_ARCHIVED = "Contents[?StorageClass=='GLACIER' || StorageClass=='DEEP_ARCHIVE'].Key"
_REQUEST = '{"Days":7,"GlacierJobParameters":{"Tier":"Bulk"}}'


def restore_command(source: str, archived: BacklogLine) -> str | None:
    """A command line that restores the archived files below *source* for 7 days, at the lowest price.

    None when there are none. A restore in bulk takes up to 48 hours (Amazon S3 User Guide, "Archive retrieval
    options"); it costs by file and by GB.
    """
    place = parse_uri(source)
    if not archived.files or not isinstance(place, S3Place):
        return None
    bucket = place.bucket
    return (
        f"aws s3api list-objects-v2 --bucket {bucket} --prefix '{place.prefix}' --query \"{_ARCHIVED}\""
        " --output text | tr '\\t' '\\n' | while read -r key; do"
        f" aws s3api restore-object --bucket {bucket} --key \"$key\" --restore-request '{_REQUEST}'; done"
    )
