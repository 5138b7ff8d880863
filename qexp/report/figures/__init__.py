"""The figures of a report: functions from values to a `Drawing`."""
