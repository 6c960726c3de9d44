"""A folder and S3 behind one small port: list, open, put and delete objects by key."""

from braze_etl.storage._access import StoreAccess
from braze_etl.storage._caller import Caller, find_caller
from braze_etl.storage._owner import close_to_others, make_file, make_folder
from braze_etl.storage._uri import open_store, server_time
from braze_etl.storage.conditional import ConditionalStore, Version, open_conditional_store, try_etags
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.port import Page, Store, StoredObject

__all__ = [
    "Caller",
    "ConditionalStore",
    "FolderStore",
    "Page",
    "Store",
    "StoreAccess",
    "StoredObject",
    "Version",
    "close_to_others",
    "find_caller",
    "make_file",
    "make_folder",
    "open_conditional_store",
    "open_store",
    "server_time",
    "try_etags",
]
