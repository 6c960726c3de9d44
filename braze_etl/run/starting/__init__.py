"""Where a pipeline begins: a look at a source, and the configuration that follows from it."""

from braze_etl.run.starting.choosing import Group, group_of
from braze_etl.run.starting.surveying import Survey, TypeSurvey, survey
from braze_etl.run.starting.writing import Choices, configuration

__all__ = ["Choices", "Group", "Survey", "TypeSurvey", "configuration", "group_of", "survey"]
