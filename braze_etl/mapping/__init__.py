"""From a Currents record to an Amplitude event, as a plan made of data.

An `EventMapping` is a preset (YAML in `presets/`) with the project's `MappingSection`. It gives a `TypePlan`
for each Currents event type, plain data, and a plan is carried out by a `Mapper`, or by code generated from
it. A record becomes an event, or a `Verdict` with its reason; no record raises.
"""
