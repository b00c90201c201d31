"""Settings come from flags, environment and file, in this order; what is wrong is named, what is secret is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from collab.access.configuration import ApiKey, Issuer
from collab.access.credentials import Authenticator
from collab.access.rules import Access
from collab.names import RoomKey
from collab.records.declaration import declaration
from collab.server.config.load import SettingsError, options, unknown_variables, unread_variables
from collab.server.config.settings import Settings
from collab.server.config.settings import given as settings_of_a_command

ROOT = Path(__file__).parents[4]
WEBHOOK_SECRET = "whsec_" + "QUFB" * 8
SECRET = "a secret of the tests, of more than 32 bytes"
PUBLIC_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def read(
    folder: Path,
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str | None] | None = None,
) -> Settings:
    config = None
    if toml is not None:
        config = folder / "collab.toml"
        config.write_text(toml)
    return Settings.load(flags=flags or {}, environ=environ or {}, config=config)


def test_everything_has_a_default_and_they_are_those_of_the_class(tmp_path: Path) -> None:
    assert read(tmp_path) == Settings()
    assert (Settings().host, Settings().port, Settings().is_open) == ("127.0.0.1", 8000, True)
    assert Settings().max_message_bytes == 16 * 1024 * 1024
    assert not Settings().compression


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    toml, environ = (
        "port = 1\nhost = '127.0.0.2'\nlog_level = 'debug'",
        {"COLLAB_PORT": "2", "COLLAB_HOST": "127.0.0.3"},
    )
    assert read(tmp_path, toml).port == 1
    assert read(tmp_path, toml, environ).port == 2
    settings = read(tmp_path, toml, environ, {"port": "3", "host": None})
    assert (settings.port, settings.host, settings.log_level) == (3, "127.0.0.3", "debug")


def test_the_environment_names_the_file_unless_the_flag_does(tmp_path: Path) -> None:
    for name, port in (("one", 1), ("two", 2)):
        (tmp_path / f"{name}.toml").write_text(f"port = {port}")
    environ = {"COLLAB_CONFIG": str(tmp_path / "one.toml")}
    assert Settings.load(environ=environ).port == 1
    assert Settings.load(environ=environ, config=tmp_path / "two.toml").port == 2


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    assert read(tmp_path, "data = 'db'\npages = '/srv/pages'") == Settings(
        data=str(tmp_path / "db"), pages="/srv/pages"
    )
    assert read(tmp_path, "data = 'db'", {"COLLAB_DATA": "here"}).data == "here"


def test_text_becomes_numbers_switches_and_lists(tmp_path: Path) -> None:
    environ = {
        "COLLAB_PORT": "0",
        "COLLAB_FLUSH_LONGEST": "0.5",
        "COLLAB_COMPRESSION": "true",
        "COLLAB_ACCESS_LOG": "1",
        "COLLAB_ALLOWED_ORIGINS": "https://a.example, http://localhost:5173,",
        "COLLAB_HOST": "",
    }
    assert read(tmp_path, environ=environ) == Settings(
        port=0,
        flush_longest=0.5,
        compression=True,
        access_log=True,
        allowed_origins=["https://a.example", "http://localhost:5173"],
    )


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("prot = 8000", "unknown setting prot; did you mean port?"),
        ("[server]\nport = 1", "unknown setting server"),
        ("port = '8000'", "port: Expected `int`"),
        ("port = 70000", "port: Expected `int` <= 65535"),
        ("port = true", "port: Expected `int`"),
        ("compression = 1", "compression: Expected `bool`"),
        ("log_level = 'loud'", "log_level: Invalid enum value"),
        ("heartbeat_seconds = 60", "heartbeat_seconds: Expected `float` <= 25"),
        ("allowed_origins = 'https://a.example'", "allowed_origins: Expected `array`"),
        ("allowed_origins = ['https://a.example/']", "allowed_origins"),
        ("allowed_origins = ['*.example.com']", "allowed_origins"),
        ("trusted_proxies = ['10.0.0.0/99']", "trusted_proxies"),
        ("flush_shortest = 0.9", "flush_shortest must be at most flush_longest"),
        ("port =", "not TOML"),
        ("[[keys]]\nkey = 'k'", "missing required field `rules` (in keys[0])"),
        ("[[keys]]\nkey = 'short'\nrules = {}", "key needs at least 16 characters (in keys[0])"),
        ("[[keys]]\nkey_sha265 = 'x'\nrules = {}", "unknown field `key_sha265` (in keys[0]); did you mean key_sha256?"),
        ("[[keys]]\nkey = '0123456789abcdef'\nrules = {'a/*' = 'all'}", "in keys[0].rules"),
        ("[keys]\nkey = '0123456789abcdef'\nrules = {}", "keys: Expected `array`"),
        ("[[issuers]]\nissuer = 'i'", "missing required field `algorithm`"),
        ("[[issuers]]\nissuer = 'i'\naudience = 'a'\nalgorithm = 'none'", "Invalid enum value 'none'"),
        ("[[issuers]]\nissuer = 'i'\naudience = 'a'\nalgorithm = 'HS256'\nsecret = 'x'", "32 bytes (in issuers[0])"),
        ("jwt_secret = 'short'", "32 bytes"),
        ("api_key = 'short'", "16 characters"),
        ("jwt_secret_file = 'missing'", "jwt_secret_file missing: No such file"),
        ("jwt_secret_file = 7", "jwt_secret_file must be a path"),
        ("inspect_secret = 'short'", "inspect_secret needs at least 32 bytes"),
        ("inspect = 'yes'", "inspect: Expected `bool`"),
        ("inspct = true", "unknown setting inspct; did you mean inspect?"),
        (f"jwt_secret = '{'x' * 40}'\ninspect_secret = '{'x' * 40}'", "must not be a credential of clients"),
        (f"api_key = '{'x' * 40}'\ninspect_secret = '{'x' * 40}'", "must not be a credential of clients"),
        (
            f"inspect_secret = '{'x' * 40}'\n[[keys]]\nkey_sha256 = '{sha256(b'x' * 40).hexdigest()}'\nrules = {{}}",
            "must not be a credential of clients",
        ),
        ("jwt_secret_file = 'collab.toml'\njwt_secret = 'x'", "both jwt_secret and jwt_secret_file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, toml: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, toml)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"COLLAB_PORT": "tcp://10.0.0.1:80"}, "COLLAB_PORT: Expected `int`"),
        ({"COLLAB_PORT": "8000.5"}, "COLLAB_PORT: Expected `int`"),
        ({"COLLAB_COMPRESSION": "perhaps"}, "COLLAB_COMPRESSION: Expected `bool`"),
        ({"COLLAB_KEYS": "not json"}, "COLLAB_KEYS: not JSON"),
        ({"COLLAB_KEYS": '[{"key": "0123456789abcdef"}]'}, "COLLAB_KEYS: Object missing required field `rules`"),
        ({"COLLAB_JWT_SECRET_FILE": "/nowhere"}, "No such file"),
        ({"COLLAB_JWT_SECRET_FILE": "/nowhere", "COLLAB_JWT_SECRET": "x"}, "both"),
        ({"COLLAB_CONFIG": "/nowhere/collab.toml"}, "/nowhere/collab.toml: No such file"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(tmp_path: Path, environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, environ=environ)
    assert complaint in str(error.value)


def test_a_database_is_the_record_wherever_it_is_set(tmp_path: Path) -> None:
    url = "postgresql://u:s3cret@h/db"
    (tmp_path / "url").write_text(url + "\n")
    for settings in (
        read(tmp_path, f"database = '{url}'"),
        read(tmp_path, "database_file = 'url'"),
        read(tmp_path, environ={"COLLAB_DATABASE": url}),
        read(tmp_path, environ={"COLLAB_DATABASE_FILE": str(tmp_path / "url")}),
        read(tmp_path, flags={"database": url}),
    ):
        assert settings.location == url
        assert "s3cret" not in repr(settings)
        assert Settings.from_json(settings.to_json()).location == url
    assert read(tmp_path, flags={"data": "here"}).location == "here"


@pytest.mark.parametrize("text", ["mysql://h/db", "s3cret", "postgresql://[::1/db", "postgresql:h"])
def test_a_database_that_is_no_url_of_postgresql_is_an_error_that_repeats_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="database must be like postgresql://") as error:
        Settings(database=text)
    assert text not in str(error.value)


@pytest.mark.parametrize("variable", ["COLLAB_DATABASE", "COLLAB_DATABASE_FILE"])
def test_an_empty_database_does_not_mean_another_one(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is set but empty"):
        Settings.from_env({variable: ""})


def test_what_is_wrong_in_a_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--max-message-bytes: Expected `int` >= 1024"):
        read(tmp_path, flags={"max_message_bytes": "5"})


def test_a_variable_that_names_nothing_is_noticed() -> None:
    environ = {
        "COLLAB_PROT": "1",
        "COLLAB_PORT": "1",
        "COLLAB_CONFIG": "x",
        "COLLAB_JWT_SECRET_FILE": "x",
        "COLLAB_PORT_FILE": "x",
        "OTHER": "1",
    }
    assert unknown_variables(Settings, environ) == [
        "COLLAB_PORT_FILE names no setting; did you mean COLLAB_PORT?",
        "COLLAB_PROT names no setting; did you mean COLLAB_PORT?",
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("COLLAB_JWT_SECRETS", "COLLAB_JWT_SECRET"), ("COLLAB_APIKEY", "COLLAB_API_KEY"), ("COLLAB_ISSUER", "_ISSUERS")],
)
def test_a_misspelt_credential_does_not_make_a_server_open(
    variable: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {variable: SECRET}
    with pytest.raises(SettingsError, match=f"{variable} names no setting; did you mean .*{meant}"):
        Settings.from_env(environ)
    assert not caplog.messages
    assert Settings.from_env(environ, open=True).is_open, "who says that it is meant is only told"
    assert Settings.from_env({**environ, "COLLAB_OPEN": "true"}).is_open
    assert not Settings.from_env(environ, api_key="k" * 16).is_open
    assert len(caplog.messages) == 3


@pytest.mark.parametrize(
    "variable",
    ["JWT_SECRET", "API_KEY", "JWT_SECRET_FILE", "API_KEY_FILE", "KEYS", "ISSUERS", "CONFIG", "ALLOWED_HOSTS", "OPEN"],
)
@pytest.mark.parametrize("text", ["", " "])
def test_a_variable_about_who_may_come_in_that_is_empty_is_an_error(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"COLLAB_{variable} is set but empty"):
        Settings.from_env({f"COLLAB_{variable}": text})


def test_a_program_reads_the_environment_and_the_file_and_has_the_last_word(tmp_path: Path) -> None:
    file = tmp_path / "collab.toml"
    file.write_text(f"jwt_secret = '{SECRET}'\nport = 9000\nhistory_days = 3")
    environ = {"COLLAB_CONFIG": str(file), "COLLAB_PORT": "9001"}
    settings = Settings.from_env(environ, history_days=4, data=tmp_path)
    assert (settings.jwt_secret, settings.port, settings.history_days) == (SECRET, 9001, 4)
    assert settings.data == str(tmp_path)


def test_a_program_may_write_tables_as_dicts() -> None:
    key = {"key": "k" * 16, "rules": {"*/*": "read"}}
    assert Settings(keys=[key]) == Settings(keys=[ApiKey(key="k" * 16, rules={"*/*": "read"})])  # type: ignore[list-item]
    tasks = Settings(collections={"tasks": {"indexes": ["status"]}}).collections["tasks"]  # type: ignore[dict-item]
    assert list(tasks.indexes) == ["status"]
    assert (
        Settings.from_env({}, webhooks=[{"name": "w", "url": "https://a.example/", "secret": WEBHOOK_SECRET}])
        .webhooks[0]
        .name
        == "w"
    )


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"port": "8000"}, "port: Expected `int`, got `str`"),
        ({"port": True}, "port: Expected `int`, got `bool`"),
        ({"port": 70000}, "port: Expected `int` <= 65535"),
        ({"compression": "no"}, "compression: Expected `bool`"),
        ({"allowed_hosts": "app.example.com"}, "allowed_hosts: Expected `array`"),
        ({"data": None}, "data: Expected `str`"),
        ({"jwt_secret": b"x" * 32}, "jwt_secret: Expected `str"),
        ({"keys": [{"key": "k" * 16}]}, "keys: Object missing required field `rules`"),
        ({"keys": [{"key": "k" * 16, "rule": {}}]}, "unknown field `rule` (in keys[0]); did you mean rules?"),
        ({"collections": {"tasks": {"feilds": {}}}}, "did you mean fields?"),
        ({"open": True, "api_key": "k" * 16}, "open applies to servers without credentials"),
    ],
)
def test_what_a_program_gives_is_checked_as_what_an_operator_writes(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Settings(**values)


def test_variables_that_nothing_has_read_are_told(tmp_path: Path) -> None:
    file = tmp_path / "collab.toml"
    file.write_text("history_days = 3")
    environ = {"COLLAB_JWT_SECRET": SECRET, "COLLAB_CONFIG": str(file), "COLLAB_PORT": "9000", "COLLAB_DATA": "data"}
    assert unread_variables(Settings, Settings(port=8001), environ) == [
        "COLLAB_CONFIG is set, but nothing has read it",
        "COLLAB_JWT_SECRET is set, but nothing has read it",
    ]
    assert unread_variables(Settings, Settings.from_env(environ), environ) == []
    assert unread_variables(Settings, Settings(), {"HOME": "/", "COLLAB_LOG_LEVEL": "info"}) == []


def test_credentials_are_read_from_tables_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "issuer.pem").write_text(PUBLIC_KEY)
    settings = read(
        tmp_path,
        """
        [[keys]]
        key = "an-api-key-00001"
        project = "acme"
        user_id = "robot"
        rules = { "tasks/private" = "none", "tasks/*" = "write" }

        [[issuers]]
        issuer = "https://login.example.com"
        audience = "collab"
        algorithm = "ES256"
        public_key_file = "issuer.pem"
        projects = ["team-*"]
        rules = { "documents/*" = "read" }

        [[issuers]]
        issuer = "dev"
        audience = "collab"
        algorithm = "HS256"
        secret_file = "secret"
        """,
    )
    assert not settings.is_open
    assert settings.issuers[0].public_key == PUBLIC_KEY.rstrip("\n")
    assert settings.issuers[1].secret == SECRET
    identity = Authenticator(settings.all_keys, settings.all_issuers).authenticate("an-api-key-00001", 0.0)
    assert [identity.access_to(RoomKey("acme", "tasks", name)) for name in ("private", "x")] == [
        Access.NONE,
        Access.WRITE,
    ]


def test_credentials_are_read_from_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key-from-a-file\n")
    environ = {
        "COLLAB_API_KEY_FILE": str(tmp_path / "key"),
        "COLLAB_JWT_SECRET": SECRET,
        "COLLAB_KEYS": '[{"key": "0123456789abcdef", "project": "acme", "rules": {"*/*": "read"}}]',
    }
    settings = read(tmp_path, "[[keys]]\nkey = 'the one in the file'\nrules = {}", environ)
    assert settings.api_key == "a-key-from-a-file"
    assert [key.project for key in settings.all_keys] == ["acme", "default"]
    assert [issuer.issuer for issuer in settings.all_issuers] == ["collab"]


COLLECTIONS = """
strict_collections = true

[collections.tasks]
indexes = ["status", ["team", "profile.city"]]
content = { body = "text" }
[collections.tasks.fields]
required = ["title"]
properties.title = { type = "string" }

[collections.cards]
mapped = { in = "boards", root = "cards" }
"""


def test_collections_are_read_from_tables(tmp_path: Path) -> None:
    settings = read(tmp_path, COLLECTIONS)
    tasks = settings.collections["tasks"]
    assert settings.strict_collections
    assert tasks.fields == {"required": ["title"], "properties": {"title": {"type": "string"}}}
    assert tasks.index_paths() == ((("status",),), (("team",), ("profile", "city")))
    assert tasks.content == {"body": "text"}
    assert settings.collections["cards"].mapped is not None
    assert Settings.from_json(settings.to_json()) == settings


def test_collections_are_read_from_the_environment_too(tmp_path: Path) -> None:
    environ = {"COLLAB_COLLECTIONS": '{"tasks": {"indexes": ["status", ["team", "createdAt"]]}}'}
    assert read(tmp_path, environ=environ).collections["tasks"].indexes == ["status", ["team", "createdAt"]]


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("[collections.tasks]\nfieldz = {}", "fieldz"),
        ("[collections.tasks]\nfields = { type = 'objekt' }", "not a JSON Schema"),
        ("[collections.tasks]\ncontent = { body = 'video' }", "collections"),
        ("[collections.'a/b']\nindexes = []", "name must be"),
        ("[collections.tasks]\nindexes = [['team', 'total', 'team']]", "has the member team twice"),
        ("[collections.tasks]\nindexes = [[]]", "collections"),
        ("[collections.a]\nmapped = { in = 'a', root = 'r' }", "mapped itself"),
        ("collections = 'tasks'", "collections"),
    ],
)
def test_what_is_wrong_in_a_declaration_is_named(tmp_path: Path, toml: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read(tmp_path, toml)


def test_no_error_and_no_representation_quotes_a_secret(tmp_path: Path) -> None:
    canary = "canary7f3a9c"
    told = []
    for toml in (
        f"api_key = '{canary}'",
        f"jwt_secret = '{canary}'",
        f"jwt_secret = ['{canary}']",
        f"[[keys]]\nkey = '{canary}'\nrules = {{}}",
        f"[[keys]]\nkey_sha256 = '{canary}'\nrules = {{}}",
        f"[[issuers]]\nissuer = 'i'\naudience = 'a'\nalgorithm = 'HS256'\nsecret = '{canary}'",
        f"[[issuers]]\nissuer = 'i'\naudience = 'a'\nalgorithm = 'RS256'\npublic_key = '{canary}'",
    ):
        with pytest.raises(SettingsError) as error:
            read(tmp_path, toml)
        told += [str(error.value), repr(error.value)]
    settings = Settings(
        api_key=canary * 2,
        jwt_secret=canary * 4,
        keys=[ApiKey(key=canary * 2, rules={})],
        issuers=[Issuer(issuer="i", audience="a", algorithm="HS256", secret=canary * 4)],
    )
    told += [repr(settings), str(settings), repr(settings.all_keys), repr(settings.all_issuers)]
    assert canary not in " ".join(told)


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(0, 65535),
    "data": st.text(min_size=1),
    "pages": st.none() | st.text(),
    "bytes_per_second": st.floats(0, 1e12),
    "compression": st.booleans(),
    "allowed_origins": st.lists(st.sampled_from(["*", "https://a.example"])),
    "api_key": st.none() | st.text(min_size=16),
    "jwt_secret": st.none() | st.text("abc", min_size=32),
    "keys": st.lists(st.builds(ApiKey, key=st.text(min_size=16), rules=st.just({"b/*": "read", "a/*": "none"}))),
}


@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_settings_travel_as_json(changes: dict[str, Any]) -> None:
    settings = Settings(**changes)
    back = Settings.from_json(settings.to_json())
    assert back == settings
    for key, same in zip(settings.keys, back.keys, strict=True):
        assert list(key.rules) == list(same.rules), "rules are read in order"


def test_json_of_another_version_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `later`"):
        Settings.from_json('{"later": 1}')


def test_every_option_is_described_and_documented() -> None:
    documented = (ROOT / "docs" / "deploying.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", documented, re.MULTILINE))
    for option in options(Settings):
        assert option.description.endswith("."), option.name
        assert option.name in rows, f"docs/deploying.md does not tell of {option.name}"
        if option.default not in (None, [], {}):
            assert rows[option.name].strip() == _as_documented(option.default), option.name
    assert set(rows) == {option.name for option in options(Settings)}


def _as_documented(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, int | float):
        return f"{default / 1024**2:g} MiB" if default >= 1024**2 else f"{default:g}"
    return f"`{default}`"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"redis": "redis://h"}, "redis makes this server a node of a cluster, and nodes need a PostgreSQL"),
        ({"redis": "http://h", "database": "postgresql://h/d"}, "redis must be like redis://host:6379"),
        ({"redis": "", "database": "postgresql://h/d"}, "redis must be like"),
        ({"redis": "redis://", "database": "postgresql://h/d"}, "redis must be like"),
        ({"workers": 2}, "more than one worker needs a PostgreSQL `database` and `redis`"),
        ({"workers": 2, "database": "postgresql://h/d"}, "more than one worker needs"),
        ({"workers": 0}, "workers: Expected `int` >= 1"),
        ({"node_url": "10.0.0.5:8000"}, "node_url must be like http://"),
        ({"node_url": "http://10.0.0.5/?a=b"}, "node_url must be like http://"),
    ],
)
def test_a_node_without_what_it_needs_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Settings(**values)


def test_contents_are_not_searched_where_nobody_reads_them() -> None:
    pages = {"pages": declaration(search_content=True)}
    assert Settings(collections=pages).collections == pages
    with pytest.raises(ValueError, match="search_content of pages needs content_event_seconds, which is 0"):
        Settings(collections=pages, content_event_seconds=0)


@pytest.mark.parametrize("redis", ["redis://h:6379/1", "rediss://user:secret@h", "unix:///run/redis.sock"])
def test_a_node_may_use_each_kind_of_redis(redis: str) -> None:
    assert Settings(redis=redis, database="postgresql://h/d", node_url="http://10.0.0.5:8000").redis == redis


def test_variables_that_a_module_sets_fill_in_what_its_command_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_HISTORY_DAYS", "5")
    with settings_of_a_command(Settings(port=9000, history_days=5.0)):
        monkeypatch.setenv("COLLAB_JWT_SECRET", SECRET)  # as load_dotenv() does
        monkeypatch.setenv("COLLAB_PORT", "7000")
        told = Settings.from_env(max_subscriptions=7)
    assert (told.jwt_secret, told.port, told.history_days, told.max_subscriptions) == (SECRET, 9000, 5.0, 7)
    assert not told.is_open
