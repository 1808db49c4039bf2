"""Mappings: reading the user's files, checking every row, sealing the plan."""

from bulklink.mapping.checked import CheckedMapping, check
from bulklink.mapping.input.files import InputFormat, Source, find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.plan_stats import PlanStats
from bulklink.mapping.plan_writer import PLAN_FILE, digest
from bulklink.mapping.rejects import REJECTS_FILE
from bulklink.mapping.schema import DuplicateRow, InputFile, MappingOptions, RefusedRow, RowFault

__all__ = [
    "PLAN_FILE",
    "REJECTS_FILE",
    "CheckedMapping",
    "DuplicateRow",
    "InputFile",
    "InputFormat",
    "MappingOptions",
    "PlanStats",
    "PlanningStop",
    "RefusedRow",
    "RowFault",
    "SealedPlan",
    "Source",
    "UnknownRow",
    "check",
    "digest",
    "find_sources",
]
