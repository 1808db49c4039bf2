"""Headers: missing headers, those of Zoho's own exports, and files without headers."""

from __future__ import annotations

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import MappingCase, csv_of

ROW = "5843104000000424163,5843104000000424671,5843104000000433001,5843104000004382122"
ZOHO = MappingOptions(op=Op.LINK, preset="zoho")


def _renamed(*columns: tuple[str, str]) -> MappingOptions:
    return MappingOptions(op=Op.LINK, columns=columns)


CASES = {
    "zoho": MappingCase(
        content=csv_of(ROW, header="Record Id,Contact Owner.id,Contact Name.id,Deal Name.id"),
        error=(
            "no columns contact_id, owner_id, message_id and deal_id",
            "--preset zoho",
            "--column 'contact_id=Contact Name.id' --column 'owner_id=Contact Owner.id'"
            " --column 'message_id=Record Id' --column 'deal_id=Deal Name.id'",
        ),
        fixed_options=ZOHO,
    ),
    "zoho-contacts": MappingCase(
        content=csv_of(ROW, header="Record Id,Contact Owner.id,message_id,Deal Name.id"),
        error=("no columns contact_id, owner_id and deal_id", "'contact_id=Record Id'"),
        fixed_options=ZOHO,
    ),
    "zoho-deals": MappingCase(
        content=csv_of(ROW, header="Contact Name.id,Owner.id,message_id,Record Id"),
        error=("--preset zoho", "'deal_id=Record Id'"),
        fixed_options=ZOHO,
    ),
    "likeliest-by-words": MappingCase(
        content=csv_of(
            f"{ROW},x,y", header="Contact,Mailbox Owner Id,E-Mail Id,Potential Id,Owner,Deal Name"
        ),
        error=(
            "--column contact_id=Contact --column 'owner_id=Mailbox Owner Id'"
            " --column 'message_id=E-Mail Id' --column 'deal_id=Potential Id'",
        ),
        fixed_options=_renamed(
            ("contact_id", "Contact"),
            ("owner_id", "Mailbox Owner Id"),
            ("message_id", "E-Mail Id"),
            ("deal_id", "Potential Id"),
        ),
    ),
    "invisible-in-a-header": MappingCase(
        content=csv_of(ROW, header="contact_id,owner_id,message_id,\u200eThe Deal ID"),
        error=("--column 'deal_id=The Deal ID'",),
        fixed_options=_renamed(("deal_id", "The Deal ID")),
    ),
    "nothing-similar": MappingCase(
        content=csv_of(ROW, header="contact_id,owner_id,a,b"),
        error=("no columns message_id and deal_id", "headers are 'contact_id', 'owner_id', 'a'"),
    ),
    "no-headers": MappingCase(
        content=f"{ROW}\n{ROW}\n",
        error=("no headers: its first line holds the id '5843104000000424163'", "contact_id,"),
    ),
    "one-line-without-headers": MappingCase(content=f"{ROW}\n", error=("has no headers",)),
    "no-op": MappingCase(
        content=csv_of(ROW),
        options=MappingOptions(op=None),
        error=("There is no column op", "--op link"),
        fixed_options=MappingOptions(op=Op.LINK),
    ),
    "old-workbook": MappingCase(
        content=b"\xd0\xcf\x11\xe0",
        name="mapping.xls",
        error=("save it without a password, as .xlsx or as CSV",),
    ),
}
