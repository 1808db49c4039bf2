"""Mappings: reading what users have, checking every row, sealing the plan."""

from bulklink.mapping.checked import Checked, check
from bulklink.mapping.input.files import Format, Source, sources
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.plan_stats import PlanShape
from bulklink.mapping.plan_writer import PLAN, digest
from bulklink.mapping.rejects import REJECTS
from bulklink.mapping.schema import DuplicateRow, Fault, InputFile, Reading, RefusedRow

__all__ = [
    "PLAN",
    "REJECTS",
    "Checked",
    "DuplicateRow",
    "Fault",
    "Format",
    "InputFile",
    "PlanShape",
    "Reading",
    "RefusedRow",
    "SealedPlan",
    "Source",
    "Stop",
    "UnknownRow",
    "check",
    "digest",
    "sources",
]
