"""PDFs with known text, for the tests of crates/documents.

Writes crates/documents/tests/fixtures/*.pdf and truth.json: for each file its paragraphs in reading order, its tables row by row, and the
passwords it needs. Lines are placed here, word by word or character by character, so the truth does not come from any reader.

Needs Python 3.11 with reportlab 4 and fpdf2 2.8, and the fonts Liberation Serif and Noto Sans CJK.
Run: python oracles/documents_corpus.py
"""

import json
import pathlib

import fpdf
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

OUT = pathlib.Path(__file__).parent.parent / "crates/documents/tests/fixtures"
SERIF = "/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf"
SERIF_BOLD = "/usr/share/fonts/truetype/liberation/LiberationSerif-Bold.ttf"
CJK = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
CJK_BOLD = "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"
W, H = A4

ENGLISH = [
    "The landlord lets the premises to the tenant for a period of twelve months beginning on the first day of March. Rent is payable in "
    "advance on the third working day of each month by transfer to the account named in the annex.",
    "If the tenant fails to pay within fourteen days after the due date, the landlord may charge default interest at five percentage points "
    "above the base rate. The right to claim further damages remains unaffected by this provision.",
    "The deposit amounts to three monthly rents without operating costs. It is kept apart from the landlord's own assets in an interest-bearing "
    "account, and the interest is due to the tenant when the lease ends.",
    "Either party may terminate this agreement with three months' notice to the end of a quarter. Notice must be given in writing and signed by "
    "hand; an electronic message does not satisfy this requirement.",
    "Minor repairs up to one hundred and twenty euros each are borne by the tenant, as long as all such repairs in one year do not exceed six "
    "percent of the annual rent. Everything beyond that is the landlord's affair.",
    "The tenant may sublet single rooms only with the consent of the landlord, who shall not withhold it without an important reason lying in "
    "the person of the subtenant or in an excessive number of occupants.",
    "At the end of the lease the premises are to be returned swept clean, with all keys, including those that the tenant had made at his own "
    "expense. A record of the handover is drawn up and signed by both sides.",
    "Should any provision of this agreement be or become invalid, the validity of the remaining provisions is not affected. The parties shall "
    "replace the invalid provision by one that comes closest to its economic purpose.",
]
CHINESE = [
    "出租方将位于城东区建设路二十八号的房屋出租给承租方使用，租赁期限为十二个月，自三月一日起计算。租金应当在每月第三个工作日之前以银行转账方式支付到附件所列的账户。",
    "承租方逾期支付租金超过十四日的，出租方有权按照基准利率上浮五个百分点收取违约金。出租方因此遭受的其他损失，仍可另行主张赔偿，不受本条约定的限制。",
    "押金数额为三个月的租金，不包括水电、燃气和物业管理等费用。出租方应当将押金与自有资金分开存放，所产生的利息在租赁关系结束时归承租方所有。",
    "任何一方均可提前三个月书面通知对方，在季度末解除本合同。通知应当由当事人亲笔签名，以电子邮件、短信或者其他电子形式发出的通知不符合本条的要求。",
    "单项金额不超过八百元的小额维修费用由承租方承担，但一年之内累计不得超过年租金的百分之六。超出部分以及房屋主体结构的维修，由出租方负责并承担全部费用。",
    "未经出租方同意，承租方不得将房屋全部或者部分转租给第三人。出租方没有正当理由的，不得拒绝承租方转租个别房间的请求，但次承租人人数明显过多的除外。",
    "租赁期满，承租方应当将房屋打扫干净后交还，并交回全部钥匙，包括承租方自费配制的钥匙。双方应当共同制作交接记录，并由双方签字确认，各执一份。",
    "本合同的任何条款无效或者被撤销的，不影响其他条款的效力。双方应当协商以最接近原条款经济目的的有效条款予以替代，协商不成的，提交仲裁委员会裁决。",
]
TABLE_EN = [
    ["Item", "Unit", "Price", "Due"],
    ["Rent of the flat", "month", "850.00", "3rd day"],
    ["Heating and water", "month", "145.50", "3rd day"],
    ["Garage", "month", "60.00", "3rd day"],
    ["Deposit", "once", "2,550.00", "handover"],
]
TABLE_ZH = [
    ["项目", "单位", "金额", "期限"],
    ["房屋租金", "每月", "3200元", "第三日"],
    ["物业管理费", "每季", "960元", "季初"],
    ["车位费", "每月", "450元", "第三日"],
    ["押金", "一次", "9600元", "交房日"],
]


class Reportlab:
    """Places text with reportlab; y grows upward there, downward here."""

    def __init__(self, path, regular, bold, **options):
        self.c = canvas.Canvas(str(path), pagesize=A4, **options)
        self.regular, self.bold = regular, bold

    def width(self, text, size, bold=False):
        return pdfmetrics.stringWidth(text, self.bold if bold else self.regular, size)

    def text(self, x, y, text, size, bold=False):
        self.c.setFont(self.bold if bold else self.regular, size)
        self.c.drawString(x, H - y, text)

    def line(self, x0, y0, x1, y1):
        self.c.setLineWidth(0.6)
        self.c.line(x0, H - y0, x1, H - y1)

    def page(self):
        self.c.showPage()

    def save(self):
        self.c.save()


class Fpdf:
    """Places text with fpdf2, which embeds subsets of OpenType fonts."""

    def __init__(self, path, regular, bold):
        self.path = path
        self.p = fpdf.FPDF(unit="pt", format=(W, H))
        self.p.set_creation_date(__import__("datetime").datetime(2026, 1, 1))
        self.p.add_font("regular", "", regular, collection_font_number=2)
        self.p.add_font("bold", "", bold, collection_font_number=2)
        self.p.add_page()

    def font(self, size, bold):
        self.p.set_font("bold" if bold else "regular", size=size)

    def width(self, text, size, bold=False):
        self.font(size, bold)
        return self.p.get_string_width(text)

    def text(self, x, y, text, size, bold=False):
        self.font(size, bold)
        self.p.text(x, y, text)

    def line(self, x0, y0, x1, y1):
        self.p.set_line_width(0.6)
        self.p.line(x0, y0, x1, y1)

    def page(self):
        self.p.add_page()

    def save(self):
        self.p.output(str(self.path))


def lines(pen, text, width, size, chinese):
    """Breaks as typesetters do: at spaces with some words hyphenated, or anywhere but before closing marks."""
    if chinese:
        out, line = [], ""
        for c in text:
            if pen.width(line + c, size) > width and c not in "，。；、！？）":
                out.append(line)
                line = c
            else:
                line += c
        return out + [line]
    out, line = [], ""
    for word in text.split(" "):
        if pen.width((line + " " + word).strip(), size) <= width:
            line = (line + " " + word).strip()
            continue
        # Long words are broken in the middle where that fills the line.
        cut = len(word) // 2
        head = word[:cut] + "-"
        if len(word) > 8 and word.isalpha() and pen.width(line + " " + head, size) <= width:
            out.append(line + " " + head)
            line = word[cut:]
        else:
            out.append(line)
            line = word
    return out + [line]


def paragraph(pen, x, y, width, text, size, chinese, justify=True):
    rows = lines(pen, text, width, size, chinese)
    for i, row in enumerate(rows):
        last = i + 1 == len(rows)
        if justify and not last and not chinese and " " in row:
            words = row.split(" ")
            free = width - sum(pen.width(w, size) for w in words)
            gap = free / (len(words) - 1)
            at = x
            for word in words:
                pen.text(at, y, word, size)
                at += pen.width(word, size) + gap
        elif justify and not last and chinese:
            free = width - sum(pen.width(c, size) for c in row)
            gap = free / max(len(row) - 1, 1)
            at = x
            for c in row:
                pen.text(at, y, c, size)
                at += pen.width(c, size) + gap
        else:
            pen.text(x, y, row, size)
        y += size * 1.4
    return y + size * 0.8


def table(pen, x, y, widths, rows, size, ruled):
    height = size * 1.7
    for i, row in enumerate(rows):
        at = x
        for cell, width in zip(row, widths):
            pen.text(at + 4, y + i * height + size * 1.2, cell, size)
            at += width
    end, right = y + len(rows) * height, x + sum(widths)
    if ruled:
        for i in range(len(rows) + 1):
            pen.line(x, y + i * height, right, y + i * height)
        at = x
        for width in [*widths, 0]:
            pen.line(at, y, at, end)
            at += width
    return end + size * 1.6


def one_column(pen, texts, tab, chinese, title, heading):
    truth, size = [], 11
    pen.text(72, 80, title, 20, True)
    truth.append({"heading": title})
    y = 115
    for i, text in enumerate(texts):
        if i == 4:
            pen.text(72, y + 6, heading, 14, True)
            truth.append({"heading": heading})
            y += 32
        y = paragraph(pen, 72, y, W - 144, text, size, chinese)
        truth.append({"text": text})
        if i == 1:
            y = table(pen, 72, y - 8, [150, 80, 80, 100], tab, size, True)
            truth.append({"table": tab})
    pen.text(W / 2, H - 40, "1", 9)
    truth.append({"text": "1"})
    return truth


def two_columns(pen, texts, tab, chinese, title, heading):
    """A title across, the left column, the right column with a table that only alignment shows, a last paragraph across."""
    truth, size = [], 10
    column = (W - 120 - 24) / 2
    left, right = 60, 60 + column + 24
    pen.text(60, 70, title, 18, True)
    truth.append({"heading": title})
    y = 100
    for i, text in enumerate(texts[:4]):
        y = paragraph(pen, left, y, column, text, size, chinese)
        truth.append({"text": text})
    lowest, y = y, 100
    for i, text in enumerate(texts[4:7]):
        if i == 1:
            pen.text(right, y + 4, heading, 12, True)
            truth.append({"heading": heading})
            y += 24
        y = paragraph(pen, right, y, column, text, size, chinese)
        truth.append({"text": text})
        if i == 0:
            y = table(pen, right, y - 6, [90, 42, 52, 46], tab, 9, False)
            truth.append({"table": tab})
    y = paragraph(pen, 60, max(lowest, y) + 20, W - 120, texts[7], size, chinese)
    truth.append({"text": texts[7]})
    return truth


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    pdfmetrics.registerFont(TTFont("Serif", SERIF))
    pdfmetrics.registerFont(TTFont("Serif-Bold", SERIF_BOLD))
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    truth = {}

    def make(name, pen, layout, texts, tab, chinese, title, heading, **more):
        truth[name] = {"blocks": layout(pen, texts, tab, chinese, title, heading), "chinese": chinese, **more}
        pen.save()

    english = ("Lease Agreement", "Termination and return")
    chinese = ("房屋租赁合同", "合同的解除与交还")
    fixed = {"invariant": 1}
    make("en-one.pdf", Reportlab(OUT / "en-one.pdf", "Helvetica", "Helvetica-Bold", **fixed), one_column, ENGLISH, TABLE_EN, False, *english)
    make("en-two.pdf", Reportlab(OUT / "en-two.pdf", "Serif", "Serif-Bold", **fixed), two_columns, ENGLISH, TABLE_EN, False, *english)
    make("zh-one.pdf", Fpdf(OUT / "zh-one.pdf", CJK, CJK_BOLD), one_column, CHINESE, TABLE_ZH, True, *chinese)
    make("zh-two.pdf", Fpdf(OUT / "zh-two.pdf", CJK, CJK_BOLD), two_columns, CHINESE, TABLE_ZH, True, *chinese)
    # A font that is not in the file, read through a predefined CMap.
    make("zh-cid.pdf", Reportlab(OUT / "zh-cid.pdf", "STSong-Light", "STSong-Light", **fixed), two_columns, CHINESE, TABLE_ZH, True, *chinese)

    # The same page turned: by the file's /Rotate, and by its own matrix.
    turned = Reportlab(OUT / "en-rotated.pdf", "Helvetica", "Helvetica-Bold", **fixed)
    turned.c.setPageRotation(90)
    turned.c.saveState()
    turned.c.translate(W, 0)
    turned.c.rotate(90)
    blocks = []
    y = 60
    for text in ENGLISH[:3]:
        # On the turned page the width is the height; y is measured from its own top.
        rows = lines(turned, text, 480, 11, False)
        for row in rows:
            turned.c.setFont("Helvetica", 11)
            turned.c.drawString(72, W - y, row)
            y += 15.4
        y += 9
        blocks.append({"text": text})
    turned.c.restoreState()
    turned.c.showPage()
    turned.save()
    truth["en-rotated.pdf"] = {"blocks": blocks, "chinese": False}

    # Encrypted (AES 128), an empty page and a page that is a picture only; a list; a link; ligatures.
    from reportlab.lib import pdfencrypt

    locked = Reportlab(OUT / "locked.pdf", "Helvetica", "Helvetica-Bold", encrypt=pdfencrypt.StandardEncryption("open", strength=128), **fixed)
    paragraph(locked, 72, 100, W - 144, ENGLISH[0], 11, False)
    locked.page()
    locked.save()
    truth["locked.pdf"] = {"blocks": [{"text": ENGLISH[0]}], "chinese": False, "password": "open"}

    mixed = Reportlab(OUT / "mixed.pdf", "Serif", "Serif-Bold", **fixed)
    y = paragraph(mixed, 72, 100, W - 144, "The agent \ufb01led the \ufb02oor plan.", 11, False)
    for item in ["• keys of the front door and of the cellar, all of which are to be returned when the lease ends, whoever had them made and paid",
                 "• the garage", "1. first the rent", "2. then the costs"]:
        rows = lines(mixed, item, 300, 11, False)
        for i, row in enumerate(rows):
            mixed.text(72 if i == 0 else 80, y, row, 11)
            y += 15.4
    y += 12
    mixed.text(72, y, "See the register of the court for details.", 11)
    x = 72 + mixed.width("See the ", 11)
    mixed.c.linkURL("https://example.org/register", (x, H - y - 2, x + mixed.width("register", 11), H - y + 9))
    mixed.page()
    mixed.page()
    from PIL import Image, ImageDraw

    picture = Image.new("L", (300, 400), 255)
    ImageDraw.Draw(picture).rectangle((50, 50, 250, 350), outline=0, width=3)
    from reportlab.lib.utils import ImageReader

    mixed.c.drawImage(ImageReader(picture), 0, 0, W, H)
    mixed.page()
    mixed.save()
    truth["mixed.pdf"] = {
        "blocks": [
            {"text": "The agent filed the floor plan."},
            {"item": "- keys of the front door and of the cellar, all of which are to be returned when the lease ends, whoever had them made and paid"},
            {"item": "- the garage"}, {"item": "1. first the rent"}, {"item": "2. then the costs"},
            {"text": "See the register of the court for details."},
        ],
        "chinese": False,
    }
    (OUT / "truth.json").write_text(json.dumps(truth, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
