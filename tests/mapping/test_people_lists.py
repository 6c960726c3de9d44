from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from braze_etl.errors import AccessDeniedError, ConfigError, StoreError, UsageError
from braze_etl.mapping.id_cache import IdCache, Make, cache_folder
from braze_etl.mapping.lookup import LookupColumns, open_lookup
from braze_etl.mapping.people import add_to_list, load_people, load_suppression
from braze_etl.mapping.settings import MappingSection
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.opening import Located
from braze_etl.storage.settings import StoreAccess
from tests.s3_server import Bucket

LOCAL = StoreAccess()
CSV = "anna,1001\nbert,1002\n"


@pytest.fixture
def cache(tmp_path: Path) -> IdCache:
    return IdCache(tmp_path / "cache")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The copies that were made, so that a test can say that one was not."""
    built: list[str] = []
    made = IdCache._make

    def spy(cache: IdCache, source: Located, version: str, copy: Path, make: Make) -> None:
        built.append(source.key)
        made(cache, source, version, copy, make)

    monkeypatch.setattr(IdCache, "_make", spy)
    return built


def upload(bucket: Bucket, key: str, content: bytes) -> str:
    boto3.client("s3", endpoint_url=bucket.endpoint_url).put_object(Bucket=bucket.name, Key=key, Body=content)
    return f"{bucket.uri}/{key}"


def database(folder: Path) -> Path:
    """The rows of `CSV` as a SQLite file."""
    path = folder / "ids.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE ids (braze TEXT PRIMARY KEY, amplitude TEXT)")
        connection.execute("INSERT INTO ids VALUES ('anna', '1001'), ('bert', '1002')")
    return path


def access(bucket: Bucket) -> StoreAccess:
    return StoreAccess(endpoint_url=bucket.endpoint_url)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))


class TestTheSuppressList:
    @pytest.mark.parametrize("form", ["{}", "file://{}"])
    def test_is_read_from_a_file(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "no mail.txt"
        path.write_bytes(b"\xef\xbb\xbfanna\r\n# gone\r\nbert\r\n")
        people = load_suppression(form.format(path), LOCAL)
        assert [people.covers(id_) for id_ in ("anna", "bert", "carl")] == [True, True, False]

    def test_is_read_from_a_bucket(self, bucket: Bucket) -> None:
        uri = upload(bucket, "privacy/list.txt", b"anna\n")
        assert load_suppression(uri, access(bucket)).covers("anna")

    def test_that_is_not_there_is_a_mistake_of_the_configuration(
        self, bucket: Bucket, tmp_path: Path
    ) -> None:
        for uri, of in ((str(tmp_path / "absent"), LOCAL), (f"{bucket.uri}/absent", access(bucket))):
            with pytest.raises(ConfigError, match="there is no suppress list") as caught:
                load_suppression(uri, of)
            assert "nothing is sent" in caught.value.remedy
            assert caught.value.exit_code == 2

    def test_that_is_out_of_reach_ends_the_run(self, bucket: Bucket) -> None:
        with pytest.raises(StoreError) as caught:
            load_suppression("s3://bucket-that-nobody-has/list", access(bucket))
        assert caught.value.exit_code == 1

    def test_that_may_not_be_read_ends_the_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "list.txt").write_text("anna\n")

        def denied(*_: object, **__: object) -> None:
            raise AccessDeniedError("no rights")

        monkeypatch.setattr(FolderStore, "open", denied)
        with pytest.raises(StoreError, match="can't be read: no rights"):
            load_suppression(str(tmp_path / "list.txt"), LOCAL)

    def test_with_a_mistake_is_named_with_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_bytes(b"anna\n\xff\xfe\n")
        with pytest.raises(ConfigError, match=r"list.txt: .*\n  line 2 is no text in UTF-8"):
            load_suppression(str(tmp_path / "list.txt"), LOCAL)

    def test_is_copied_once_for_each_version(
        self, tmp_path: Path, cache: IdCache, builds: list[str], bucket: Bucket
    ) -> None:
        path = tmp_path / "list.txt"
        path.write_text("anna\n")
        for _ in range(2):
            assert load_suppression(str(path), LOCAL, cache=cache).covers("anna")
        assert builds == ["list.txt"]
        add_to_list(str(path), "bert")
        assert load_suppression(str(path), LOCAL, cache=cache).covers("bert")
        for content in (b"carl\n", b"dora\n"):
            uri = upload(bucket, "list.txt", content)
            people = load_suppression(uri, access(bucket), cache=cache)
            assert [people.covers(id_) for id_ in ("carl", "dora")] == [
                content[:1] == b"c",
                content[:1] == b"d",
            ]
        assert len(list(cache.folder.glob("*.sqlite"))) == 2

    def test_of_the_same_size_and_time_is_another_list_all_the_same(
        self, tmp_path: Path, cache: IdCache
    ) -> None:
        """As of an image whose build gives each file one time, or of `cp -p`."""
        for name in ("anna", "bert"):
            (tmp_path / "new.txt").write_text(f"{name}\n")
            os.utime(tmp_path / "new.txt", (1, 1))
            (tmp_path / "new.txt").replace(tmp_path / "list.txt")
            assert load_suppression(str(tmp_path / "list.txt"), LOCAL, cache=cache).covers(name)

    def test_takes_another_entry_at_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("anna")
        add_to_list(str(path), "bert")
        add_to_list(str(path), "carl")
        assert path.read_text() == "anna\nbert\ncarl\n"
        with pytest.raises(UsageError, match="not on this machine") as caught:
            add_to_list("s3://bucket/list.txt", "bert")
        assert "bert" in caught.value.remedy


class TestTheLookUpTable:
    def test_of_a_csv_file_is_made_once_for_each_version(
        self, tmp_path: Path, cache: IdCache, builds: list[str]
    ) -> None:
        path = tmp_path / "ids.csv"
        path.write_text(CSV)
        for _ in range(2):
            with open_lookup(str(path), LOCAL, cache=cache) as table:
                assert table.find("bert") == "1002"
        assert builds == ["ids.csv"]
        path.write_text("anna,2001\n")
        with open_lookup(str(path), LOCAL, cache=cache) as table:
            assert (table.find("anna"), table.find("bert")) == ("2001", None)
        assert len(list(cache.folder.glob("*.sqlite"))) == 1

    def test_is_made_anew_for_other_columns(self, tmp_path: Path, cache: IdCache) -> None:
        path = tmp_path / "ids.csv"
        path.write_text("braze,amplitude,crm\nb1,a1,c1\n")
        for column, found in (("amplitude", "a1"), ("crm", "c1")):
            columns = LookupColumns("people", "braze", column)
            with open_lookup(str(path), LOCAL, columns, cache) as table:
                assert table.find("b1") == found
        assert len(list(cache.folder.glob("*.sqlite"))) == 2

    def test_of_a_sqlite_file_is_used_where_it_lies(self, tmp_path: Path, cache: IdCache) -> None:
        database(tmp_path)
        with open_lookup(f"file://{tmp_path}/ids.db", LOCAL, cache=cache) as table:
            assert table.find("anna") == "1001"
        assert not cache.folder.exists()

    @pytest.mark.parametrize("kind", ["csv", "sqlite"])
    def test_in_a_bucket_is_fetched_once_for_each_etag(
        self, kind: str, tmp_path: Path, bucket: Bucket, cache: IdCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = CSV.encode()
        if kind == "sqlite":
            content = database(tmp_path).read_bytes()
        uri = upload(bucket, "ids/table", content)
        with open_lookup(uri, access(bucket), cache=cache) as table:
            assert table.find("anna") == "1001"
        with monkeypatch.context() as patch:
            patch.setattr(IdCache, "_make", None)
            with open_lookup(uri, access(bucket), cache=cache) as table:
                assert table.find("bert") == "1002"
        upload(bucket, "ids/table", b"anna,2001\n")
        with open_lookup(uri, access(bucket), cache=cache) as table:
            assert table.find("anna") == "2001"
        (copy,) = cache.folder.glob("*.sqlite")
        assert copy.stat().st_mode & 0o777 == 0o600
        assert cache.folder.stat().st_mode & 0o777 == 0o700
        assert not list(cache.folder.glob(".*"))

    def test_is_made_once_when_several_want_it_at_the_same_time(
        self, tmp_path: Path, cache: IdCache, builds: list[str]
    ) -> None:
        path = tmp_path / "ids.csv"
        path.write_text("".join(f"user-{number},{number}\n" for number in range(20_000)))

        def one(number: int) -> str | None:
            with open_lookup(str(path), LOCAL, cache=cache) as table:
                return table.find(f"user-{number}")

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(one, range(4))) == ["0", "1", "2", "3"]
        assert builds == ["ids.csv"]

    def test_whose_copy_broke_off_leaves_nothing_of_it(self, tmp_path: Path, cache: IdCache) -> None:
        """By a process that was killed: nobody removes what it has written but the next one."""
        path = tmp_path / "ids.csv"
        path.write_text(CSV)
        open_lookup(str(path), LOCAL, cache=cache).close()
        (copy,) = cache.folder.glob("*.sqlite")
        copy.with_name(f".{copy.name}.{2**22 + 1}").write_text(CSV)
        copy.with_name(f".{copy.name}.{2**22 + 1}-journal").write_text(CSV)
        open_lookup(str(path), LOCAL, cache=cache).close()
        assert sorted(each.suffix for each in cache.folder.iterdir()) == [".lock", ".sqlite"]

    @pytest.mark.parametrize("name", ["rows", "ROWS", "temp.rows", 'a "b"'])
    def test_of_a_csv_file_may_have_any_name(self, tmp_path: Path, cache: IdCache, name: str) -> None:
        (tmp_path / "ids.csv").write_text(f"braze,amplitude\n{CSV}")
        columns = LookupColumns(name, "braze", "amplitude")
        with open_lookup(str(tmp_path / "ids.csv"), LOCAL, columns, cache) as table:
            assert table.find("bert") == "1002"

    def test_that_is_not_there_is_a_mistake_of_the_configuration(
        self, tmp_path: Path, bucket: Bucket, cache: IdCache
    ) -> None:
        for uri, of in ((str(tmp_path / "absent"), LOCAL), (f"{bucket.uri}/absent", access(bucket))):
            with pytest.raises(ConfigError, match="there is no look-up table"):
                open_lookup(uri, of, cache=cache)

    def test_in_a_bucket_is_named_by_its_uri_when_it_has_a_mistake(
        self, bucket: Bucket, cache: IdCache
    ) -> None:
        uri = upload(bucket, "ids.csv", b"anna,1\nanna,2\n")
        with pytest.raises(ConfigError, match=f"{uri} gives one key two values, in lines 1 and 2"):
            open_lookup(uri, access(bucket), cache=cache)
        assert [path.suffix for path in cache.folder.iterdir()] == [".lock"]

    def test_finds_no_place_for_its_copy(self, tmp_path: Path) -> None:
        (tmp_path / "ids.csv").write_text(CSV)
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="can't be written") as caught:
            open_lookup(str(tmp_path / "ids.csv"), LOCAL, cache=IdCache(tmp_path / "file" / "cache"))
        assert "XDG_CACHE_HOME" in caught.value.remedy

    def test_is_copied_to_the_users_cache(self) -> None:
        assert cache_folder({"XDG_CACHE_HOME": "/var/cache"}) == Path("/var/cache/braze_etl")
        for unset in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
            assert cache_folder(unset) == Path.home() / ".cache" / "braze_etl"

    def test_is_not_copied_for_a_user_without_a_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless(_: Path) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "expanduser", homeless)
        with pytest.raises(ConfigError, match="no home folder") as caught:
            cache_folder({})
        assert "XDG_CACHE_HOME" in caught.value.remedy


class TestPeople:
    def test_are_those_that_the_mapping_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        (tmp_path / "list.txt").write_text("anna\n")
        with closing(sqlite3.connect(tmp_path / "ids.db")) as connection, connection:
            connection.execute("CREATE TABLE a (k TEXT PRIMARY KEY, v TEXT)")
            connection.execute("CREATE TABLE b (v TEXT, k TEXT UNIQUE)")
            connection.execute("INSERT INTO b VALUES ('1001', '64f0')")
        lookup = {"uri": str(tmp_path / "ids.db"), "table": "b", "key_column": "k", "value_column": "v"}
        section = {
            "privacy": {"suppress": str(tmp_path / "list.txt")},
            "identity": {"lookup": {**lookup, "key": "user_id", "missing": "filter"}},
        }
        people = load_people(MappingSection.model_validate(section), LOCAL)
        assert (people.key, people.missing) == ("user_id", "filter")
        assert people.suppressed is not None
        assert people.suppressed.covers("anna")
        assert people.table is not None
        assert people.table.find("64f0") == "1001"

    def test_a_table_has_another_version_with_another_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        path = tmp_path / "ids.csv"
        section = MappingSection.model_validate(
            {"identity": {"lookup": {"uri": str(path), "missing": "filter"}}}
        )
        versions = []
        for content in (CSV, CSV, "anna,2001\n"):
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
            versions.append(load_people(section, LOCAL).decisive_version)
        assert versions[0] == versions[1] != versions[2]
        assert versions[0]

    def test_are_nobody_where_it_names_none(self) -> None:
        people = load_people(MappingSection(), LOCAL)
        assert (people.suppressed, people.table) == (None, None)
