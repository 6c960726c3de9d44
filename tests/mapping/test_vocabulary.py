"""Mistakes in a mapping, as its author sees them: where, in which rule, and which word is the nearest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from braze_etl.config.loading import Config
from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.mapping import mapping_mistakes
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config

BEGINNING = "source: {uri: export}\namplitude: {region: US}\nmapping:\n"
OPEN = "users.messages.email.Open"

Load: TypeAlias = Callable[..., Config[Settings]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a configuration whose mapping section is *section*, beside a mapping file of *beside*."""
    monkeypatch.chdir(tmp_path)

    def loaded(section: str, beside: str | None = None, **environ: str) -> Config[Settings]:
        lines = "".join(f"  {line}\n" for line in section.splitlines())
        Path("config.yaml").write_text(BEGINNING + lines, encoding="utf-8")
        if beside is not None:
            Path("mapping.yaml").write_text(beside, encoding="utf-8")
        return load_config(Path("config.yaml"), environ, examine=mapping_mistakes)

    return loaded


def mistakes(load: Load, section: str, beside: str | None = None, **environ: str) -> list[str]:
    """The lines of the error, without the line that counts them."""
    with pytest.raises(ConfigError) as caught:
        load(section, beside, **environ)
    assert caught.value.exit_code == 2
    assert "config check" in caught.value.remedy
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


WORDS = [
    # event types
    (
        "rules: [{events: users.messages.email.Opne, name: x}]",
        f"rule 1: there is no event type users.messages.email.Opne; the nearest is {OPEN}",
    ),
    (
        "rules: [{rule: shorter names, events: [behaviour], name: x}]",
        "rule 'shorter names': there is no event type behaviour; the nearest is behavior",
    ),
    (
        "choose: {include: [users.behaviors.Purchases]}",
        "choose: there is no event type users.behaviors.Purchases; the nearest is users.behaviors.Purchase",
    ),
    (
        "choose: {exclude: [{events: engagment}]}",
        "choose: there is no event type engagment; the nearest is engagement",
    ),
    (
        "choose: {exclude: [{events: ['*', '!users.messages.email.Opne']}]}",
        f"choose: there is no event type users.messages.email.Opne; the nearest is {OPEN}",
    ),
    # fields
    (
        "rules: [{drop: ['*', '!campaign_*']}]",
        "rule 1: !campaign_* excludes nothing here: only event types and values can",
    ),
    (
        "choose: {exclude: [{where: {machine_opened: true}}]}",
        "choose: there is no field machine_opened; the nearest is machine_open",
    ),
    (
        "choose: {exclude: [{where: {propertis.source: x}}]}",
        "choose: there is no field propertis; the nearest is properties",
    ),
    (
        "rules: [{drop: [campaign_nam]}]",
        "rule 1: there is no field campaign_nam; the nearest is campaign_name",
    ),
    ("rules: [{keep: campain_id}]", "rule 1: there is no field campain_id; the nearest is campaign_id"),
    ("rules: [{add: time_zone}]", "rule 1: there is no field time_zone; the nearest is timezone"),
    (
        "rules: [{rename: {campaign_nam: Campaign}}]",
        "rule 1: there is no field campaign_nam; the nearest is campaign_name",
    ),
    ("rules: [{copy: {currencies: c}}]", "rule 1: there is no field currencies; the nearest is currency"),
    (
        "rules: [{values: {device_clas: {a: b}}}]",
        "rule 1: there is no field device_clas; the nearest is device_class",
    ),
    (
        "rules: [{parse: {message_extra: ''}}]",
        "rule 1: there is no field message_extra; the nearest is message_extras",
    ),
    (
        "privacy: {drop: [email_adress]}",
        "privacy: there is no field email_adress; the nearest is email_address",
    ),
    # names
    (
        "rules: [{name: 'Mail: {titel}'}]",
        "rule 1: there is no field titel; the nearest is title",
    ),
    (
        "rules: [{name: '{campaign_nme:-x}'}]",
        "rule 1: there is no field campaign_nme; the nearest is campaign_name",
    ),
    (
        "rules: [{name: 'Mail {campaign_name}'}]",
        "rule 1: campaign_name may be null; say what stands for it then: {campaign_name:-none}",
    ),
    ("rules: [{name: 'Mail {title'}]", "rule 1: a brace is open in 'Mail {title'; write {field:-text}"),
    ("rules: [{name: ''}]", "rule 1: Amplitude refuses events that are called ''"),
    ("rules: [{name: $identify}]", "rule 1: Amplitude refuses events that are called '$identify'"),
    (
        "rules: [{rename: {'*': '{name}'}}]",
        "rule 1: '{name}' knows {field} and {property} only",
    ),
    # privacy
    (
        "privacy: {drop: device_id}",
        "privacy: device_id can't be under drop: no event can do without it, see identity and suppress",
    ),
    (
        "privacy: {drop: dev*_id}",
        (
            "privacy: device_id, which dev*_id matches, can't be under drop: no event can do without it, see "
            "identity and suppress"
        ),
    ),
    (
        "privacy: {hash: time, salt: s}",
        "privacy: time can't be under hash: it is no property, and not sent as it is",
    ),
    (
        "privacy: {hash: email_address}",
        "privacy: hash needs a salt from the environment, such as salt: ${BRAZE_ETL_SALT}",
    ),
    # tests
    (
        f"tests: [{{event_type: {OPEN}, record: {{}}, not_sent: not_selectd}}]",
        "tests: there is no reason not_selectd; the nearest is not_selected",
    ),
    (
        "tests: [{event_type: users.messages.email.Opn, record: {}, not_sent: held}]",
        f"tests: there is no event type users.messages.email.Opn; the nearest is {OPEN}",
    ),
]


@pytest.mark.parametrize(("section", "words"), WORDS)
def test_a_word_that_stands_for_nothing_is_named_with_its_rule_and_the_nearest_word(
    load: Load, section: str, words: str
) -> None:
    assert mistakes(load, section) == [f"line 4: {words}"]


@pytest.mark.parametrize(("section", "words"), WORDS)
def test_in_a_mapping_file_the_file_is_named_too(load: Load, section: str, words: str) -> None:
    assert mistakes(load, "file: mapping.yaml", f"# words\n{section}\n") == [f"mapping.yaml line 2: {words}"]


SHAPES = [
    ("prest: raw", "mapping.prest is not known; the nearest known key is mapping.preset"),
    (
        "rules: [{renames: {a: b}}]",
        "mapping.rules[0].renames is not known; the nearest known key is mapping.rules[0].rename",
    ),
    (
        "choose: {excludes: []}",
        "mapping.choose.excludes is not known; the nearest known key is mapping.choose.exclude",
    ),
    (
        "choose: {include: [{were: {}}]}",
        "mapping.choose.include[0].were is not known; the nearest known key is mapping.",
    ),
    ("preset: nativ", "mapping.preset must be 'native' or 'raw', not 'nativ'"),
    ("unknown_types: keep", "mapping.unknown_types must be 'send' or 'hold', not 'keep'"),
    (
        "identity: {anonymous: brazeid}",
        "mapping.identity.anonymous must be 'drop', 'device' or 'braze_id', not 'brazeid'",
    ),
    ("rules: [{lift: devices}]", "mapping.rules[0].lift must be 'device' or 'location', not 'devices'"),
    (
        "time: {max_future: 30}",
        "mapping.time.max_future is wrong: 30 is no duration; write a number and s, m, h or d, such as 48h",
    ),
    ("rules: [{set: {a: .nan}}]", "mapping.rules[0].set.a is wrong: JSON has no number nan"),
    (
        "rules: [{set: {a: 9007199254740993}}]",
        "mapping.rules[0].set.a is wrong: 9007199254740993 lies beyond 2^53, where JSON loses digits",
    ),
    (
        f"rules: [{{values: {{esp: {{a: {'x' * 1025}}}}}}}]",
        "mapping.rules[0].values.esp.a is wrong: the text has 1025 characters; Amplitude takes 1024",
    ),
    ("tests: [{event_type: x, record: {}}]", "mapping.tests[0] is wrong: give one of event and not_sent"),
    ("rules: [{drop: a, drop: b}]", "mapping.rules[0].drop is given twice"),
]


@pytest.mark.parametrize(("section", "words"), SHAPES)
def test_keys_and_values_that_are_none_are_named(load: Load, section: str, words: str) -> None:
    assert any(found.startswith(f"line 4: {words}") for found in mistakes(load, section))
    beside = mistakes(load, "file: mapping.yaml", section)
    assert any(found.startswith(f"mapping.yaml line 1: {words}") for found in beside)


def test_an_empty_name_of_a_property_is_a_mistake(load: Load) -> None:
    for section in ("{rename: {esp: ''}}", "{copy: {esp: ''}}", "{set: {'': 1}}"):
        (words,) = mistakes(load, f"rules: [{section}]")
        assert "at least 1 character" in words


def test_all_mistakes_come_at_once_and_in_the_order_of_their_lines(load: Load) -> None:
    section = "rules:\n- {drop: esb}\n- rule: second\n  rename:\n    ipp_pool: x\n  name: '{tittle}'\n"
    assert mistakes(load, section) == [
        "line 5: rule 1: there is no field esb; the nearest is esp",
        "line 8: rule 'second': there is no field ipp_pool; the nearest is ip_pool",
        "line 9: rule 'second': there is no field tittle; the nearest is title",
    ]


@pytest.mark.parametrize(
    "section",
    [
        "{fields: new_field, rules: [{drop: new_field}], privacy: {drop: new_field.key}}",
        "{send: users.new.Type, rules: [{events: users.new.Type, name: x}]}",
        "rules: [{events: 'users.new.*', drop: 'new_*'}]",
        "rules: [{events: users.behaviors.CustomEvent, name: '{name}'}]",
        "rules: [{name: '{platform:-none}', rename: {'properties.*': '{field} {property}'}}]",
        "choose: {exclude: [{where: {properties.anything: 1}}]}",
        "privacy: {drop: [pii, email_address, 'x*'], hash: [external_user_id], salt: s}",
    ],
)
def test_what_is_new_can_be_made_known_and_globs_may_stand_for_what_is_to_come(
    load: Load, section: str
) -> None:
    assert load(section).unset == {}


def test_a_key_stands_in_the_section_or_in_the_file(load: Load) -> None:
    words = mistakes(load, "file: mapping.yaml\npreset: raw\n", "send: '*'\npreset: native\n")
    assert words == ["mapping.yaml line 2: mapping.preset is given here and in the configuration, line 5"]
    mapping = load("file: mapping.yaml\npreset: raw\n", "send: users.UserOrphan\n").settings.mapping
    assert (mapping.preset, mapping.send) == ("raw", ("users.UserOrphan",))


def test_a_mapping_file_names_no_other_one(load: Load) -> None:
    words = mistakes(load, "file: mapping.yaml", "preset: raw\nfile: other.yaml\n")
    assert words == ["mapping.yaml line 2: file is not known in a mapping file"]


def test_a_mapping_file_that_is_not_there_is_named(load: Load) -> None:
    assert mistakes(load, "preset: raw\nfile: nowhere.yaml") == [
        "line 5: mapping.file: nowhere.yaml can't be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: raw\nrules: [", "mapping.yaml line 2: no valid YAML: "),
        ("preset: raw\n\tsend: x\n", "mapping.yaml line 2: no valid YAML: "),
        ("choose: {exclude: [{where: {name: !debug}}]}", "mapping.yaml line 1: no valid YAML: "),
        ("- preset\n", "mapping.yaml line 1: the file must be a mapping of keys to values"),
        ("native", "mapping.yaml line 1: the file must be a mapping of keys to values"),
    ],
)
def test_bad_yaml_in_a_mapping_file_has_its_line(load: Load, text: str, words: str) -> None:
    (found,) = mistakes(load, "file: mapping.yaml", text)
    assert found.startswith(words)


def test_an_empty_mapping_file_is_no_mistake(load: Load) -> None:
    assert load("file: mapping.yaml", "").settings.mapping.preset == "native"


def test_a_salt_that_the_environment_owes_is_missed_only_by_who_needs_the_mapping(load: Load) -> None:
    section = "privacy: {hash: pii, salt: '${PRIVACY_SALT}'}"
    config = load(section)
    assert config.unset == {("mapping", "privacy", "salt"): "PRIVACY_SALT"}
    config.require("amplitude")
    with pytest.raises(ConfigError) as caught:
        config.require("mapping")
    assert "line 4: mapping.privacy.salt needs the environment variable PRIVACY_SALT" in caught.value.message
    salted = load(section, PRIVACY_SALT="very-secret").require("mapping").mapping.privacy
    assert salted.salt.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(salted)


def test_no_mistake_repeats_the_salt(load: Load) -> None:
    words = mistakes(load, "privacy: {hash: emial, drop: id, salt: very-secret, x: 1}\nprest: raw")
    words += mistakes(load, "privacy: {hash: emial, drop: id, salt: very-secret}")
    words += mistakes(load, "privacy: {salt: [very-secret]}")
    words += mistakes(load, "privacy: {salt: very-secret, salt: very-secret}")
    assert len(words) >= 5
    assert "very-secret" not in " ".join(words)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("choose: {exclude: [{where: {app_id: []}}]}", "at least 1 item"),
        ("choose: {exclude: [{}]}", "it names neither events nor where"),
        ("rules: [{events: [], name: x}]", "at least 1 item"),
        ("choose: {exclude: [{where: {language: no}}]}", "YAML takes no for False; put it in quotes"),
        ("choose: {exclude: [{where: {campaign_id: 0123}}]}", "YAML takes 0123 for 83"),
        ("choose: {exclude: [{where: {send_id: 12:30:45}}]}", "YAML takes 12:30:45 for 45045"),
        ("choose: {exclude: [{where: {campaign_id: 12345678901234567890123}}]}", "in quotes"),
        ("rules: &x [{set: *x}]", "an alias stands inside of what it names"),
        ("time: {min: 2020-13-01}", "mapping.time.min can't be read: YAML takes it for a timestamp"),
        ("identity: {flag_above: !!int abc}", "can't be read"),
        ("rules: [{parse: {'*_extras': 'x '}}]", "parse takes the names of fields, and *_extras is a glob"),
        ("fields: ['brand_*']", "fields takes names, and brand_* is a glob"),
        ("privacy: {drop: name}", "all custom events would be one"),
        (
            f"tests: [{{event_type: {OPEN}, record: {{campaign_nam: x}}, not_sent: not_selected}}]",
            "tests: there is no field campaign_nam; the nearest is campaign_name",
        ),
        (
            f"tests: [{{event_type: {OPEN}, record: {{}}, event: {{event_propertys: {{}}}}}}]",
            "tests: no event has the key event_propertys; the nearest is event_properties",
        ),
    ],
)
def test_what_would_silently_mean_something_else_is_a_mistake(section: str, words: str, load: Load) -> None:
    assert any(words in line for line in mistakes(load, section))


def test_a_type_that_the_budget_can_not_stop_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BEGINNING + "  preset: native\nbudget: {per_month: 10, stop: ['!engagment']}\n")
    with pytest.raises(ConfigError, match=r"budget\.stop: there is no event type engagment"):
        load_config(path, {}, examine=mapping_mistakes)
