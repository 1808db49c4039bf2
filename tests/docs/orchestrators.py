"""Files of docs/orchestrators.md."""

from __future__ import annotations

from tests.docs.reference import ROOT

FOLDER = ROOT / "docs" / "examples" / "orchestrators"
PROGRAMS = {
    "airflow_dag.py": "apache-airflow",
    "prefect_flow.py": "prefect",
    "dagster_job.py": "dagster",
}
"""The package that each example needs."""
