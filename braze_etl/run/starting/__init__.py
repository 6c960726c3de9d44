"""Where a pipeline begins: a look at a source, and the configuration that follows from it."""

from braze_etl.run.starting.choosing import Group, group_of
from braze_etl.run.starting.found import Survey, TypeSurvey
from braze_etl.run.starting.surveying import survey
from braze_etl.run.starting.writing import Choices, configuration, first_hour

__all__ = ["Choices", "Group", "Survey", "TypeSurvey", "configuration", "first_hour", "group_of", "survey"]
