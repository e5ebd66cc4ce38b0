"""A Word document and an Excel workbook with known content, for the tests of crates/documents.

Writes crates/documents/tests/fixtures/lease.docx and lease.xlsx.
Needs python-docx 1.1 and openpyxl 3.1. Run: python oracles/documents_office.py
"""

import datetime
import pathlib

import docx
import openpyxl
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn

OUT = pathlib.Path(__file__).parent.parent / "crates/documents/tests/fixtures"


def word():
    d = docx.Document()
    d.add_heading("Lease Agreement 房屋租赁合同", 0)
    d.add_heading("1. Rent", 1)
    p = d.add_paragraph("The rent is due ")
    p.add_run("monthly").bold = True
    p.add_run("; 租金按月支付 & <so on>.")
    d.add_paragraph("keys of the door", style="List Bullet")
    d.add_paragraph("the garage", style="List Bullet")
    d.add_paragraph("first the rent", style="List Number")
    d.add_paragraph("then the costs", style="List Number")
    t = d.add_table(rows=3, cols=2)
    for row, cells in zip(t.rows, [("Item", "Price"), ("Rent", "850"), ("押金", "2550")]):
        for cell, text in zip(row.cells, cells):
            cell.text = text
    p = d.add_paragraph("See the ")
    link = OxmlElement("w:hyperlink")
    link.set(qn("r:id"), d.part.relate_to("https://example.org/register", RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
    run, text = OxmlElement("w:r"), OxmlElement("w:t")
    text.text = "register"
    run.append(text)
    link.append(run)
    p._p.append(link)
    p.add_run(" of the court.")
    # A tracked deletion: not part of the text.
    deleted, run, text = OxmlElement("w:del"), OxmlElement("w:r"), OxmlElement("w:delText")
    text.text = "DELETED"
    run.append(text)
    deleted.append(run)
    p._p.append(deleted)
    d.save(OUT / "lease.docx")


def excel():
    w = openpyxl.Workbook()
    s = w.active
    s.title = "费用 2024"
    s["B2"], s["C2"], s["D2"] = "项目", "金额", "日期"
    s["B3"], s["C3"], s["D3"] = "租金", 3200.5, datetime.date(2024, 3, 1)
    s["B5"], s["C5"], s["D5"] = "a|b", True, "<x> & y"
    w.create_sheet("Empty")
    t = w.create_sheet("Numbers")
    t.append(["n", "value"])
    t.append([1, 0.1 + 0.2])
    w.save(OUT / "lease.xlsx")


word()
excel()
