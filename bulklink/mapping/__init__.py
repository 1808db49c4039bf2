"""Mappings: reading what users have, checking every row, sealing the plan."""

from bulklink.mapping.checked import Checked, check
from bulklink.mapping.digest import digest
from bulklink.mapping.plan import SealedPlan, UnknownRow
from bulklink.mapping.refusing import REJECTS
from bulklink.mapping.sealing import PLAN
from bulklink.mapping.shape import PlanShape
from bulklink.mapping.sources import Format, Source, sources
from bulklink.mapping.stop import Stop
from bulklink.mapping.values import DuplicateRow, Fault, InputFile, Reading, RefusedRow

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
