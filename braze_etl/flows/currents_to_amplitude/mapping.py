"""The mapping in force, by its rules alone or with its lists of people; and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from braze_etl.config.loading import Config
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.people import load_people
from braze_etl.mapping.vocabulary import differences, mistakes, unknown_types


def mapping_mistakes(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The words for types and fields that stand for nothing, each with its path in the configuration."""
    for path, words in mistakes(settings.mapping):
        yield ("mapping", *path), words
    for number, words in unknown_types(settings.mapping, settings.budget.stop):
        yield ("budget", "stop", number), f"budget.stop: {words}"


def failed_tests(config: Config[Settings]) -> list[str]:
    """Run the tests that stand in the mapping; a line for each that fails."""
    mapping, section = load_mapping(config.settings), config.settings.mapping
    failed = []
    for number, example in enumerate(section.tests):
        if found := differences(example, mapping):
            name = example.test or example.event_type
            failed.append(f"  {config.places['mapping', 'tests', number]}: {name}: {'; '.join(found)}")
    return failed


def load_mapping(settings: Settings, people: People | None = None) -> EventMapping:
    """The mapping in force by its rules alone: for whoever only asks what becomes of a type."""
    return EventMapping.load(settings.mapping, people, min_id_length=settings.amplitude.min_id_length)


def open_mapping(settings: Settings) -> EventMapping:
    """The mapping in force with its lists and tables of people: for whoever judges records.

    Errors are those of `load_people`.
    """
    people = load_people(settings.mapping, settings.source.access())
    return load_mapping(settings, people)
